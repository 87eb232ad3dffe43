//! The decisions of a CrowdSec LAPI, as its bouncers get them: all at the start, then what changed.
//!
//! The contract is `pkg/models/localapi_swagger.yaml` of CrowdSec, 1.4 to 1.7. The server remembers for
//! each API key what it has told, so that a key belongs to one agent.

/// What was decided.
mod decisions;
/// How long things take in Go.
pub(crate) mod duration;
/// What is reported back.
mod usage;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use url::Url;

pub use self::usage::{Totals, Usage};
use self::{
    decisions::{Answer, Decisions},
    usage::Reporter,
};
use super::{
    FetchError, Fetched,
    http::{Client, Request},
};
use crate::{
    config::{self, Feed},
    feed::clock,
};

/// All is asked for again after so long, whatever was told meanwhile: two agents with one key take
/// decisions from each other.
const WHOLE: Duration = Duration::from_hours(1);
/// All is asked for again no sooner, where only a doubt is to be settled.
const DOUBT: Duration = Duration::from_mins(1);
/// A server that could not be reached for so long may have forgotten what it has told.
const GAP: Duration = Duration::from_mins(5);

/// A LAPI and what it has told.
#[derive(Debug)]
pub struct Crowdsec {
    client: Client,
    base: Url,
    filters: Vec<(&'static str, String)>,
    decisions: Decisions,
    progress: Progress,
    reporter: Option<Reporter>,
}

/// How far the server's words have arrived.
#[derive(Debug, Default)]
struct Progress {
    /// When all was asked for, and had.
    whole: Option<Instant>,
    /// When something was had.
    last: Option<Instant>,
    /// Something that the server has told may not have arrived.
    lost: bool,
    /// It is not clear whether something ended.
    doubt: bool,
}

impl Progress {
    fn wants_whole(&self, now: Instant) -> bool {
        let since = |then: Option<Instant>| then.map(|then| now.saturating_duration_since(then));
        let older = |age: Option<Duration>, bound| age.is_none_or(|age| age >= bound);
        self.lost
            || older(since(self.whole), WHOLE)
            || older(since(self.last), GAP)
            || self.doubt && older(since(self.whole), DOUBT)
    }

    fn arrived(&mut self, whole: bool, doubt: bool, now: Instant) {
        self.last = Some(now);
        self.lost = false;
        self.doubt = doubt || self.doubt && !whole;
        if whole {
            self.whole = Some(now);
        }
    }

    fn failed(&mut self, cause: &str) {
        // Only then is it sure that the server has told nothing.
        self.lost |= !matches!(cause, "connect" | "status" | "auth" | "tls");
    }
}

impl Crowdsec {
    /// Returns a LAPI that has not been asked yet.
    ///
    /// # Errors
    /// [`FetchError`] where it can never be asked.
    pub fn new(config: &config::Crowdsec, feed: &Feed) -> Result<Self, FetchError> {
        let mut base = Url::parse(&config.http.url)
            .map_err(|error| FetchError::new("protocol", format!("crowdsec.url is no URL: {error}")))?;
        base.set_query(None);
        base.set_fragment(None);
        let mut filters = vec![("scopes", "ip,range".to_owned()), ("dedup", "false".to_owned())];
        for (name, words) in
            [("origins", &config.origins), ("scenarios_containing", &config.scenarios_containing)]
        {
            if !words.is_empty() {
                filters.push((name, words.join(",")));
            }
        }
        Ok(Self {
            client: Client::new(&config.http, &feed.guards)?,
            base,
            filters,
            decisions: Decisions::new(config, feed.guards),
            progress: Progress::default(),
            reporter: config.usage_interval.map(|interval| Reporter::new(&feed.name, interval)),
        })
    }

    /// Asks for what changed, or for all.
    ///
    /// # Errors
    /// [`FetchError`] where the server does not answer, or not as a LAPI does.
    pub async fn fetch(&mut self) -> Result<Fetched, FetchError> {
        let whole = self.progress.wants_whole(Instant::now());
        let answer = match self.ask(whole).await {
            Ok(answer) => answer,
            Err(error) => {
                self.progress.failed(error.cause);
                return Err(error);
            }
        };
        let applied = self.decisions.apply(answer, whole, clock::steady());
        self.progress.arrived(whole, applied.doubt, Instant::now());
        self.report().await;
        if applied.changed || whole { self.decisions.fetched() } else { Ok(Fetched::Unchanged) }
    }

    /// Has it tell all again.
    pub fn forget(&mut self) {
        self.progress = Progress::default();
    }

    /// Returns where to note what became of the packets of listed sources; nothing: nobody is told.
    #[must_use]
    pub fn usage(&self) -> Option<Arc<Usage>> {
        self.reporter.as_ref().map(Reporter::usage)
    }

    async fn ask(&self, whole: bool) -> Result<Answer, FetchError> {
        let mut url = self.page("decisions/stream");
        url.query_pairs_mut().append_pair("startup", if whole { "true" } else { "false" });
        url.query_pairs_mut().extend_pairs(&self.filters);
        let reply = self.client.send(&Request::get(url)).await?;
        Answer::parse(&reply.body, whole).map_err(|why| {
            let place = self.page("decisions/stream");
            FetchError::new(
                "protocol",
                format!("{place}: does not answer as a LAPI does: {why}; look at crowdsec.url"),
            )
        })
    }

    async fn report(&mut self) {
        let url = self.page("usage-metrics");
        let Some(reporter) = &mut self.reporter else { return };
        let Some(body) = reporter.due(&self.decisions, Instant::now()) else { return };
        let request = Request { method: "POST", body: Some(body), ..Request::get(url) };
        match self.client.send(&request).await {
            Ok(_) => reporter.taken(),
            Err(error) => reporter.refused(&error),
        }
    }

    /// Returns the URL of a page of version 1. That of the server may have the version in it.
    fn page(&self, name: &str) -> Url {
        let mut url = self.base.clone();
        let path = url.path().trim_end_matches('/');
        let path = path.strip_suffix("/v1").unwrap_or(path);
        let path = format!("{path}/v1/{name}");
        url.set_path(&path);
        url
    }
}

#[cfg(any(test, feature = "fuzz"))]
pub(crate) use decisions::fuzz;

#[cfg(test)]
mod tests {
    use super::{super::tests, *};

    #[test]
    fn all_is_asked_for_when_something_may_be_lost() {
        let start = Instant::now();
        let later = |seconds| start + Duration::from_secs(seconds);
        let mut progress = Progress::default();
        assert!(progress.wants_whole(start), "at the start");
        progress.arrived(true, false, start);
        assert!(!progress.wants_whole(later(10)));
        progress.arrived(false, false, later(10));
        progress.failed("connect");
        assert!(!progress.wants_whole(later(20)), "it was not reached");
        assert!(progress.wants_whole(later(311)), "for long");
        progress.failed("timeout");
        assert!(progress.wants_whole(later(20)), "what it told did not arrive");
        progress.arrived(true, false, later(20));
        progress.arrived(false, true, later(30));
        assert!(!progress.wants_whole(later(40)), "a doubt can wait");
        assert!(progress.wants_whole(later(81)));
        progress.arrived(true, false, later(81));
        progress.arrived(false, false, later(140));
        assert!(!progress.wants_whole(later(145)), "the doubt is settled");
        (0..15).for_each(|n| progress.arrived(false, false, later(n * 290)));
        assert!(progress.wants_whole(later(3700)), "once an hour");
    }

    #[test]
    fn pages_are_below_the_server() {
        for (url, want) in [
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080/v1/usage-metrics"),
            ("http://127.0.0.1:8080/", "http://127.0.0.1:8080/v1/usage-metrics"),
            ("https://x.example/lapi/?a=b", "https://x.example/lapi/v1/usage-metrics"),
            ("https://x.example/v1/", "https://x.example/v1/usage-metrics"),
        ] {
            let crowdsec = config::Crowdsec {
                http: tests::http(url),
                origins: vec!["cscli".to_owned()],
                scenarios_containing: Vec::new(),
                usage_interval: Some(Duration::from_mins(30)),
            };
            let feed = tests::feed(config::Source::Crowdsec(crowdsec.clone()));
            let source = Crowdsec::new(&crowdsec, &feed).unwrap();
            assert_eq!(source.page("usage-metrics").as_str(), want);
            assert!(source.usage().is_some());
            let silent = config::Crowdsec { usage_interval: None, ..crowdsec };
            assert!(Crowdsec::new(&silent, &feed).unwrap().usage().is_none());
        }
    }
}
