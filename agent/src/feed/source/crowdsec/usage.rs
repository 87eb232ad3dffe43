use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use serde_json::{Value, json};

use super::decisions::Decisions;
use crate::feed::source::FetchError;

/// What became of the packets of listed sources. Whoever counts them sets it.
#[derive(Debug, Default)]
pub struct Usage(Mutex<Counted>);

/// Counts that go on, from wherever they began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Packets that were dropped because of the feed.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Packets that were looked at, of whatever source.
    pub processed: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counted {
    /// Where they stood at first: what came before is not for this source to tell.
    first: Option<Totals>,
    now: Totals,
}

impl Usage {
    /// Sets how far the counts are.
    pub fn set(&self, now: Totals) {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counted.first.get_or_insert(now);
        counted.now = now;
    }

    fn counted(&self) -> Counted {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Totals {
    /// Returns what was added since. Counts that began anew have added nothing, rather than all.
    fn since(self, then: Self) -> Self {
        Self {
            packets: self.packets.saturating_sub(then.packets),
            bytes: self.bytes.saturating_sub(then.bytes),
            processed: self.processed.saturating_sub(then.processed),
        }
    }
}

/// Reports to the LAPI what is done with its decisions (`POST /v1/usage-metrics`, CrowdSec 1.6.3).
#[derive(Debug)]
pub(super) struct Reporter {
    name: String,
    interval: Duration,
    started: SystemTime,
    /// When it was reported last, or tried.
    since: Instant,
    usage: Arc<Usage>,
    /// What was reported already.
    reported: Option<Totals>,
    sent: Totals,
    /// It has been said that the server takes none.
    told: bool,
}

impl Reporter {
    pub(super) fn new(feed: &str, interval: Duration) -> Self {
        Self {
            name: feed.to_owned(),
            interval,
            started: SystemTime::now(),
            since: Instant::now(),
            usage: Arc::default(),
            reported: None,
            sent: Totals::default(),
            told: false,
        }
    }

    pub(super) fn usage(&self) -> Arc<Usage> {
        Arc::clone(&self.usage)
    }

    /// Returns the report, if it is time for one.
    pub(super) fn due(&mut self, decisions: &Decisions, now: Instant) -> Option<Vec<u8>> {
        let window = now.saturating_duration_since(self.since);
        if window < self.interval {
            return None;
        }
        self.since = now;
        let Counted { first, now } = self.usage.counted();
        self.sent = now;
        let added = now.since(self.reported.or(first).unwrap_or_default());
        serde_json::to_vec(&self.page(decisions, window, added)).ok()
    }

    pub(super) fn taken(&mut self) {
        self.reported = Some(self.sent);
        self.told = false;
    }

    pub(super) fn refused(&mut self, error: &FetchError) {
        if !self.told {
            tracing::info!(
                feed = self.name,
                cause = error.cause,
                "LAPI takes no usage metrics (it does since CrowdSec 1.6.3): {error}; decisions are not affected"
            );
            self.told = true;
        }
    }

    fn page(&self, decisions: &Decisions, window: Duration, added: Totals) -> Value {
        let mut items = Vec::new();
        for ((origin, v6), count) in decisions.by_origin() {
            let labels = json!({"origin": origin, "ip_type": if v6 { "ipv6" } else { "ipv4" }});
            items.push(json!({"name": "active_decisions", "value": count, "unit": "ip", "labels": labels}));
        }
        // Who decided is not counted packet by packet.
        for (name, value, unit) in [
            ("dropped", added.packets, "packet"),
            ("dropped", added.bytes, "byte"),
            ("processed", added.processed, "packet"),
        ] {
            if value > 0 {
                let labels = if name == "dropped" { json!({"remediation": "ban"}) } else { json!({}) };
                items.push(json!({"name": name, "value": value, "unit": unit, "labels": labels}));
            }
        }
        let (system, release) = system();
        json!({"remediation_components": [{
            "name": self.name,
            "type": "weir",
            "version": env!("CARGO_PKG_VERSION"),
            "feature_flags": [],
            "utc_startup_timestamp": seconds(self.started),
            "os": {"name": system, "version": release},
            "metrics": [{
                "meta": {"window_size_seconds": window.as_secs(), "utc_now_timestamp": seconds(SystemTime::now())},
                "items": items,
            }],
        }]})
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Returns name and release of the kernel.
fn system() -> (String, String) {
    let word = |word: &std::ffi::OsStr| word.to_string_lossy().into_owned();
    nix::sys::utsname::uname().map_or_else(
        |_| ("Linux".to_owned(), String::new()),
        |system| (word(system.sysname()), word(system.release())),
    )
}

#[cfg(test)]
mod tests {
    use super::{super::decisions::Answer, *};
    use crate::config::{self, Guards};

    const WINDOW: Duration = Duration::from_mins(30);

    fn totals(packets: u64, bytes: u64, processed: u64) -> Totals {
        Totals { packets, bytes, processed }
    }

    #[test]
    fn a_report_says_what_bouncers_say() {
        let config = config::Crowdsec {
            http: super::super::super::tests::http("http://127.0.0.1:8080"),
            origins: Vec::new(),
            scenarios_containing: Vec::new(),
            usage_interval: Some(WINDOW),
        };
        let mut decisions = Decisions::new(&config, Guards::default());
        let text = r#"{"new":[
            {"id":1,"origin":"cscli","scope":"Ip","type":"ban","value":"198.51.100.7","duration":"4h"},
            {"id":2,"origin":"CAPI","scope":"Ip","type":"ban","value":"198.51.100.8","duration":"4h"},
            {"id":3,"origin":"CAPI","scope":"Range","type":"ban","value":"2001:db8::/48","duration":"4h"},
            {"id":4,"origin":"CAPI","scope":"Ip","type":"captcha","value":"198.51.100.9","duration":"4h"}]}"#;
        decisions.apply(Answer::parse(text.as_bytes(), true).unwrap(), true, SystemTime::now());
        let mut reporter = Reporter::new("crowd", WINDOW);
        assert!(reporter.due(&decisions, Instant::now()).is_none(), "not at once");
        let later = reporter.since + WINDOW;
        // Of an agent before.
        reporter.usage().set(totals(7000, 8000, 9000));
        reporter.usage().set(totals(7100, 14_000, 14_000));
        let page: Value = serde_json::from_slice(&reporter.due(&decisions, later).unwrap()).unwrap();
        let component = &page["remediation_components"][0];
        assert_eq!((&component["type"], &component["name"]), (&json!("weir"), &json!("crowd")));
        assert!(component["utc_startup_timestamp"].as_u64().unwrap() > 1_600_000_000);
        assert_eq!(component["metrics"][0]["meta"]["window_size_seconds"], 1800);
        let items = component["metrics"][0]["items"].as_array().unwrap();
        let find = |name: &str, unit: &str, label: &str, of: &str| {
            let found = items.iter().filter(|item| item["name"] == name && item["unit"] == unit);
            found
                .filter(|item| item["labels"][label] == of)
                .map(|item| item["value"].as_u64().unwrap())
                .sum::<u64>()
        };
        assert_eq!(find("active_decisions", "ip", "origin", "CAPI"), 3);
        assert_eq!(find("active_decisions", "ip", "ip_type", "ipv6"), 1);
        assert_eq!(find("dropped", "packet", "remediation", "ban"), 100);
        assert_eq!(find("dropped", "byte", "remediation", "ban"), 6000);
        let processed = items.iter().find(|item| item["name"] == "processed").unwrap();
        assert_eq!((&processed["value"], &processed["unit"]), (&json!(5000), &json!("packet")));
        // Nothing is lost when it does not get through, and nothing is told twice when it does.
        reporter.refused(&FetchError::new("status", "is not there (404)"));
        assert!(reporter.due(&decisions, later).is_none());
        reporter.usage().set(totals(7150, 17_000, 15_000));
        let page: Value = serde_json::from_slice(&reporter.due(&decisions, later + WINDOW).unwrap()).unwrap();
        let dropped = |page: &Value| {
            let items = page["remediation_components"][0]["metrics"][0]["items"].as_array().unwrap();
            items.iter().find(|item| item["name"] == "dropped").map(|item| item["value"].as_u64().unwrap())
        };
        assert_eq!(dropped(&page), Some(150));
        reporter.taken();
        let page: Value =
            serde_json::from_slice(&reporter.due(&decisions, later + WINDOW * 2).unwrap()).unwrap();
        assert_eq!(dropped(&page), None);
        // Counts that begin anew have lost their beginning; none is told that was told before.
        reporter.usage().set(totals(10, 600, 100));
        reporter.due(&decisions, later + WINDOW * 3).unwrap();
        reporter.taken();
        reporter.usage().set(totals(15, 900, 110));
        let page: Value =
            serde_json::from_slice(&reporter.due(&decisions, later + WINDOW * 4).unwrap()).unwrap();
        assert_eq!(dropped(&page), Some(5));
    }
}
