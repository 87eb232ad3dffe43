//! A MISP feed: `manifest.json` names events, each of which is a file `UUID.json` beside it.
//!
//! Only events whose timestamp changed are read again. What counts of an event are the attributes
//! `ip-src`, `ip-dst`, `ip-src|port` and `ip-dst|port` that are meant for detection (`to_ids`).

/// What an event names.
mod event;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use serde_json::Value;
use tokio::task::JoinSet;
use url::Url;

use self::event::Event;
use super::{
    FetchError, Fetched,
    http::{Client, Request},
    intake::is_too_wide,
};
use crate::{
    config::{self, Feed, Guards},
    feed::Parsed,
};

/// Events that are too many: the largest public feed has some 2,000.
const EVENTS_MAX: usize = 50_000;
/// Events that are asked for side by side.
const SIDE_BY_SIDE: usize = 4;

/// A feed, and its events as they were last read.
#[derive(Debug)]
pub struct Misp {
    client: Arc<Client>,
    base: Url,
    guards: Guards,
    etag: Option<String>,
    events: BTreeMap<String, Kept>,
    /// Events that the manifest has and the server has not.
    missing: usize,
    /// All that is known has been told.
    told: bool,
}

/// An event of some time.
#[derive(Debug)]
struct Kept {
    timestamp: String,
    event: Event,
}

impl Misp {
    /// Returns a feed that has not been asked yet.
    ///
    /// # Errors
    /// [`FetchError`] where it can never be asked.
    pub fn new(http: &config::Http, feed: &Feed) -> Result<Self, FetchError> {
        let error = |why| FetchError::new("protocol", format!("misp is no URL: {why}"));
        let mut base = Url::parse(&http.url).map_err(error)?;
        base.set_fragment(None);
        let path = base.path();
        let path = path.strip_suffix("manifest.json").unwrap_or(path).trim_end_matches('/').to_owned();
        base.set_path(&format!("{path}/"));
        let mut http = http.clone();
        http.url = base.to_string();
        Ok(Self {
            client: Arc::new(Client::new(&http, &feed.guards)?),
            base,
            guards: feed.guards,
            etag: None,
            events: BTreeMap::new(),
            missing: 0,
            told: false,
        })
    }

    /// Reads the manifest, and of the events those that changed.
    ///
    /// # Errors
    /// [`FetchError`] where the server does not answer, or not with a MISP feed. What was read of
    /// events until then need not be read again.
    pub async fn fetch(&mut self) -> Result<Fetched, FetchError> {
        let mut request = Request::get(self.page("manifest.json"));
        request.headers.extend(self.etag.clone().map(|etag| ("if-none-match", etag)));
        let reply = self.client.send(&request).await?;
        if reply.status == 304 {
            return Ok(Fetched::Unchanged);
        }
        let manifest = self.manifest(&reply.body)?;
        let before = self.events.len();
        self.events.retain(|uuid, _| manifest.contains_key(uuid));
        self.told &= before == self.events.len();
        let known = |uuid: &str, timestamp: &str| {
            self.events.get(uuid).is_some_and(|kept| kept.timestamp == timestamp)
        };
        let wanted: Vec<_> =
            manifest.into_iter().filter(|(uuid, timestamp)| !known(uuid, timestamp)).collect();
        // Also if not all of it can be read now.
        self.told &= wanted.is_empty();
        self.read(wanted).await?;
        // Only now: an event that could not be had would not be asked for again.
        self.etag = match self.missing {
            0 => reply.header("etag").filter(|etag| etag.len() < 1024).map(str::to_owned),
            _ => None,
        };
        if std::mem::replace(&mut self.told, true) { Ok(Fetched::Unchanged) } else { Ok(self.listed()) }
    }

    /// Has all events be told again; those that did not change need not be read.
    pub fn forget(&mut self) {
        self.etag = None;
        self.told = false;
    }

    /// Returns the events of a manifest and when each changed last.
    fn manifest(&self, body: &[u8]) -> Result<HashMap<String, String>, FetchError> {
        let error = |why: &str| {
            let page = self.page("manifest.json");
            FetchError::new("protocol", format!("{page}: is no manifest of a MISP feed: {why}; look at misp"))
        };
        let manifest: HashMap<String, Value> =
            serde_json::from_slice(body).map_err(|why| error(&why.to_string()))?;
        if manifest.len() > EVENTS_MAX {
            let message = format!(
                "{}: names {} events, more than {EVENTS_MAX}",
                self.page("manifest.json"),
                manifest.len()
            );
            return Err(FetchError::new("size", message));
        }
        let mut events = HashMap::new();
        for (uuid, about) in manifest {
            // It becomes part of a URL.
            if !uuid.chars().all(|c| c.is_ascii_hexdigit() || c == '-') || !(8..=64).contains(&uuid.len()) {
                return Err(error("the name of an event is no UUID"));
            }
            let timestamp = match about.get("timestamp") {
                Some(Value::String(text)) => text.clone(),
                Some(Value::Number(number)) => number.to_string(),
                _ => return Err(error("an event has no timestamp")),
            };
            events.insert(uuid, timestamp);
        }
        Ok(events)
    }

    async fn read(&mut self, wanted: Vec<(String, String)>) -> Result<(), FetchError> {
        let asked = wanted.len();
        let mut wanted = wanted.into_iter();
        let mut running = JoinSet::new();
        let (mut bytes, mut missing, mut last) = (0u64, 0, None);
        loop {
            while running.len() < SIDE_BY_SIDE
                && let Some((uuid, timestamp)) = wanted.next()
            {
                let (client, page) = (Arc::clone(&self.client), self.page(&format!("{uuid}.json")));
                running.spawn(async move { (uuid, timestamp, client.send(&Request::get(page)).await) });
            }
            let Some(done) = running.join_next().await else { break };
            // It panicked, or the agent stops.
            let stopped =
                |_| FetchError::new("protocol", "reading an event broke off; it is asked again later");
            let (uuid, timestamp, reply) = done.map_err(stopped)?;
            let body = match reply {
                Ok(reply) => reply.body,
                // Publishers write the manifest before the events, or forget one.
                Err(error) if error.cause == "status" => {
                    missing += 1;
                    last = Some(error);
                    continue;
                }
                Err(error) => return Err(error),
            };
            bytes += body.len() as u64;
            if bytes > self.guards.bytes {
                let message = format!(
                    "{}: its events are larger than {} bytes; see guards.bytes",
                    self.base, self.guards.bytes
                );
                return Err(FetchError::new("size", message));
            }
            match Event::parse(&body) {
                Ok(event) => _ = self.events.insert(uuid, Kept { timestamp, event }),
                Err(why) => {
                    let page = self.page(&format!("{uuid}.json"));
                    return Err(FetchError::new("protocol", format!("{page}: is no MISP event: {why}")));
                }
            }
        }
        self.missing = missing;
        match last {
            Some(error) if missing == asked => Err(error),
            _ => Ok(()),
        }
    }

    /// Returns what all events name together.
    fn listed(&self) -> Fetched {
        let mut parsed = Parsed::default();
        parsed.rejected.lines = self.missing;
        for (uuid, kept) in &self.events {
            let event = &kept.event;
            parsed.rejected.lines += event.malformed;
            parsed.rejected.unselected += event.unselected;
            if let (None, Some(text)) = (&parsed.first_rejected, &event.first_malformed) {
                parsed.first_rejected = Some((1, format!("{uuid}: {text}")));
            }
            for network in &event.networks {
                parsed.everything |= network.prefix_len() == 0;
                if is_too_wide(&self.guards, network) {
                    parsed.rejected.too_wide += 1;
                } else {
                    parsed.entries.push(*network);
                }
            }
        }
        Fetched::List(parsed)
    }

    fn page(&self, name: &str) -> Url {
        let mut url = self.base.clone();
        let path = format!("{}{name}", url.path());
        url.set_path(&path);
        url
    }
}

/// Any file of an event.
#[cfg(any(test, feature = "fuzz"))]
pub(crate) fn fuzz(input: &[u8]) {
    _ = event::Event::parse(input);
}

#[cfg(test)]
mod tests {
    use super::{super::tests, *};

    fn misp(url: &str) -> Misp {
        let http = tests::http(url);
        Misp::new(&http, &tests::feed(config::Source::Misp(http.clone()))).unwrap()
    }

    #[test]
    fn files_are_beside_the_manifest() {
        for url in ["https://h/feed", "https://h/feed/", "https://h/feed/manifest.json"] {
            assert_eq!(misp(url).page("manifest.json").as_str(), "https://h/feed/manifest.json", "{url}");
        }
    }

    #[test]
    fn a_manifest_names_events_and_their_times() {
        let misp = misp("https://h/feed");
        let text = r#"{"5f3c1a2b-0000-4000-8000-000000000001": {"timestamp": "1700000000", "info": "x"},
            "5f3c1a2b-0000-4000-8000-000000000002": {"timestamp": 1700000001}}"#;
        let events = misp.manifest(text.as_bytes()).unwrap();
        assert_eq!(events["5f3c1a2b-0000-4000-8000-000000000001"], "1700000000");
        assert_eq!(events["5f3c1a2b-0000-4000-8000-000000000002"], "1700000001");
        assert!(misp.manifest(b"{}").unwrap().is_empty());
        for text in [
            "[]",
            "<html>",
            r#"{"../../etc/passwd": {"timestamp": 1}}"#,
            r#"{"5f3c1a2b": {}}"#,
            r#"{"5f3c1a2b": 5}"#,
            r#"{"": {"timestamp": 1}}"#,
        ] {
            assert_eq!(misp.manifest(text.as_bytes()).unwrap_err().cause, "protocol", "{text}");
        }
    }
}
