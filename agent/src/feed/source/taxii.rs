//! The indicators of a TAXII 2.1 collection (OASIS, 10 June 2021, sections 3.4 and 5.4).
//!
//! At first the whole collection is read, page by page, then what was added since. What a server
//! removes it does not tell; therefore all is read again once a day.

use std::time::{Duration, Instant, SystemTime};

use serde::Deserialize;
use serde_json::Value;
use url::Url;

use super::{
    FetchError, Fetched,
    http::{Client, Reply, Request},
    stix::Indicators,
};
use crate::config::{self, Feed, Guards};

const MEDIA_TYPE: &str = "application/taxii+json;version=2.1";
/// Objects that are asked for at once; servers give as many as they like.
const LIMIT: &str = "1000";
/// Pages that are too many: whoever gives so many gives the same one again and again.
const PAGES_MAX: usize = 20_000;
const WHOLE: Duration = Duration::from_hours(24);

/// A collection, and what was read of it.
#[derive(Debug)]
pub struct Taxii {
    client: Client,
    objects: Url,
    min_confidence: u8,
    guards: Guards,
    interval: Duration,
    indicators: Indicators,
    /// When the server got the last object that was read, in its own words.
    added_after: Option<String>,
    whole: Option<Instant>,
    asked: Option<Instant>,
}

/// A page of objects. One without any may be `{}`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Envelope {
    more: bool,
    next: Option<String>,
    objects: Vec<Value>,
}

impl Taxii {
    /// Returns a collection that has not been asked yet.
    ///
    /// # Errors
    /// [`FetchError`] where it can never be asked.
    pub fn new(config: &config::Taxii, feed: &Feed) -> Result<Self, FetchError> {
        let error = |why| FetchError::new("protocol", format!("taxii.collection is no URL: {why}"));
        let mut objects = Url::parse(&config.http.url).map_err(error)?;
        objects.set_query(None);
        objects.set_fragment(None);
        let path = objects.path().trim_end_matches('/');
        let path = path.strip_suffix("/objects").unwrap_or(path);
        objects.set_path(&format!("{path}/objects/"));
        Ok(Self {
            client: Client::new(&config.http, &feed.guards)?,
            objects,
            min_confidence: config.min_confidence,
            guards: feed.guards,
            interval: feed.interval,
            indicators: Indicators::new(config.min_confidence, feed.guards),
            added_after: None,
            whole: None,
            asked: None,
        })
    }

    /// Reads what was added, or all.
    ///
    /// # Errors
    /// [`FetchError`] where the server does not answer, or not as TAXII does.
    pub async fn fetch(&mut self) -> Result<Fetched, FetchError> {
        let passed = self.indicators.pass(SystemTime::now());
        // What waited for its time needs no server.
        if passed && self.asked.is_some_and(|asked| asked.elapsed() < self.interval) {
            return self.indicators.fetched();
        }
        self.asked = Some(Instant::now());
        if self.whole.is_none_or(|whole| whole.elapsed() >= WHOLE) {
            // Beside what is known: it counts until all has been read.
            let mut all = Indicators::new(self.min_confidence, self.guards);
            let (_, last) = self.read(&mut all, None).await?;
            (self.indicators, self.added_after) = (all, last);
            self.whole = Some(Instant::now());
            return self.indicators.fetched();
        }
        let mut known = self.indicators.clone();
        let (changed, last) = self.read(&mut known, self.added_after.clone()).await?;
        self.indicators = known;
        self.added_after = last.or(self.added_after.take());
        if changed || passed { self.indicators.fetched() } else { Ok(Fetched::Unchanged) }
    }

    /// Has all be read again.
    pub fn forget(&mut self) {
        self.whole = None;
        self.asked = None;
    }

    /// Waits until the next indicator comes that waits for its time.
    pub async fn news(&self) {
        match self.indicators.next() {
            Some(next) => {
                let pause = next.duration_since(SystemTime::now()).unwrap_or_default();
                tokio::time::sleep(pause).await;
            }
            None => std::future::pending().await,
        }
    }

    /// Reads all pages. Returns whether something came of it, and when the last object was added.
    async fn read(
        &self,
        indicators: &mut Indicators,
        mut added_after: Option<String>,
    ) -> Result<(bool, Option<String>), FetchError> {
        let (mut changed, mut next, mut last) = (false, None, None);
        for _ in 0..PAGES_MAX {
            let reply = self.client.send(&self.request(added_after.as_deref(), next.as_deref())).await?;
            let page = self.page(&reply)?;
            for object in page.objects {
                changed |= indicators.object(object, SystemTime::now());
            }
            if indicators.seen() as u64 > self.guards.entries {
                let message = format!("has more than {} indicators; see guards.entries", self.guards.entries);
                return Err(self.error("size", &message));
            }
            let added = reply.header("x-taxii-date-added-last").filter(|added| added.len() < 100);
            let advanced = added.is_some() && added != added_after.as_deref();
            last = added.map(str::to_owned).or(last);
            match page.next {
                _ if !page.more => return Ok((changed, last)),
                Some(page) if Some(&page) != next.as_ref() || advanced => next = Some(page),
                // Without a name for the next page it is the one after this time.
                None if advanced => (next, added_after) = (None, last.clone()),
                _ => return Err(self.error("protocol", "says that there is more, but not where")),
            }
        }
        Err(self.error("protocol", "has pages without an end"))
    }

    fn request(&self, added_after: Option<&str>, next: Option<&str>) -> Request {
        let mut url = self.objects.clone();
        let mut query = url.query_pairs_mut();
        query.append_pair("limit", LIMIT).append_pair("match[type]", "indicator");
        // The page that follows belongs to the same question.
        for (name, value) in [("added_after", added_after), ("next", next)] {
            if let Some(value) = value {
                query.append_pair(name, value);
            }
        }
        drop(query);
        Request { headers: vec![("accept", MEDIA_TYPE.to_owned())], ..Request::get(url) }
    }

    fn page(&self, reply: &Reply) -> Result<Envelope, FetchError> {
        let kind = reply.header("content-type").unwrap_or_default().to_ascii_lowercase();
        if !kind.is_empty() && !kind.contains("json") {
            let message = format!("answers with {kind}, not with TAXII; look at taxii.collection");
            return Err(self.error("protocol", &message));
        }
        serde_json::from_slice(&reply.body)
            .map_err(|error| self.error("protocol", &format!("does not answer as TAXII does: {error}")))
    }

    fn error(&self, cause: &'static str, message: &str) -> FetchError {
        FetchError::new(cause, format!("{}: {message}", self.objects))
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests, *};

    fn taxii(url: &str) -> Taxii {
        let config = config::Taxii { http: tests::http(url), min_confidence: 0 };
        let feed = tests::feed(config::Source::Taxii(config.clone()));
        Taxii::new(&config, &feed).unwrap()
    }

    #[test]
    fn the_objects_of_the_collection_are_asked_for() {
        for url in [
            "https://h/api/collections/1",
            "https://h/api/collections/1/",
            "https://h/api/collections/1/objects/",
        ] {
            let taxii = taxii(url);
            let request = taxii.request(Some("2026-01-01T00:00:00.000001Z"), Some("a b"));
            assert_eq!(
                request.url,
                "https://h/api/collections/1/objects/?limit=1000&match%5Btype%5D=indicator\
                 &added_after=2026-01-01T00%3A00%3A00.000001Z&next=a+b"
            );
            assert_eq!(request.headers, [("accept", MEDIA_TYPE.to_owned())]);
        }
    }

    #[test]
    fn an_envelope_may_be_empty() {
        let reply = |body: &str, kind: &str| Reply {
            status: 200,
            headers: vec![("content-type".to_owned(), kind.to_owned())],
            body: body.as_bytes().to_vec(),
        };
        let taxii = taxii("https://h/api/collections/1/");
        let empty = taxii.page(&reply("{}", MEDIA_TYPE)).unwrap();
        assert!(!empty.more && empty.objects.is_empty());
        for (body, kind) in [("<html>", "text/html"), ("[", MEDIA_TYPE), ("5", MEDIA_TYPE), ("", "")] {
            assert_eq!(taxii.page(&reply(body, kind)).unwrap_err().cause, "protocol");
        }
    }
}
