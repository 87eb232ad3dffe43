use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use serde_json::{Value, json};

use super::decisions::Decisions;
use crate::feed::source::FetchError;

/// How often it is reported, as CrowdSec's own bouncers do.
const WINDOW: Duration = Duration::from_mins(30);

/// What became of the packets of listed sources since the agent started. Whoever counts them sets it.
#[derive(Debug, Default)]
pub struct Usage {
    packets: AtomicU64,
    bytes: AtomicU64,
    processed: AtomicU64,
}

impl Usage {
    /// Sets how many packets and bytes were dropped because of this feed, and how many packets were
    /// looked at, each since the agent started.
    pub fn set(&self, packets: u64, bytes: u64, processed: u64) {
        self.packets.store(packets, Relaxed);
        self.bytes.store(bytes, Relaxed);
        self.processed.store(processed, Relaxed);
    }

    fn totals(&self) -> [u64; 3] {
        [&self.packets, &self.bytes, &self.processed].map(|count| count.load(Relaxed))
    }
}

/// Reports to the LAPI what is done with its decisions (`POST /v1/usage-metrics`, CrowdSec 1.6.3).
#[derive(Debug)]
pub(super) struct Reporter {
    name: String,
    started: SystemTime,
    since: SystemTime,
    usage: Arc<Usage>,
    /// What was reported already.
    reported: [u64; 3],
    sent: [u64; 3],
    /// It has been said that the server takes none.
    told: bool,
}

impl Reporter {
    pub(super) fn new(feed: &str) -> Self {
        let now = SystemTime::now();
        Self {
            name: feed.to_owned(),
            started: now,
            since: now,
            usage: Arc::default(),
            reported: [0; 3],
            sent: [0; 3],
            told: false,
        }
    }

    pub(super) fn usage(&self) -> Arc<Usage> {
        Arc::clone(&self.usage)
    }

    /// Returns the report, if it is time for one.
    pub(super) fn due(&mut self, decisions: &Decisions, now: SystemTime) -> Option<Vec<u8>> {
        let window = now.duration_since(self.since).unwrap_or_default();
        if window < WINDOW {
            return None;
        }
        self.since = now;
        self.sent = self.usage.totals();
        serde_json::to_vec(&self.page(decisions, window, now)).ok()
    }

    pub(super) fn taken(&mut self) {
        self.reported = self.sent;
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

    fn page(&self, decisions: &Decisions, window: Duration, now: SystemTime) -> Value {
        let mut items = Vec::new();
        for ((origin, v6), count) in decisions.by_origin() {
            let labels = json!({"origin": origin, "ip_type": if v6 { "ipv6" } else { "ipv4" }});
            items.push(json!({"name": "active_decisions", "value": count, "unit": "ip", "labels": labels}));
        }
        let [packets, bytes, processed] = [0, 1, 2].map(|i: usize| {
            self.sent.get(i).zip(self.reported.get(i)).map_or(0, |(now, then)| now.saturating_sub(*then))
        });
        // Who decided is not counted packet by packet.
        for (name, value, unit) in
            [("dropped", packets, "packet"), ("dropped", bytes, "byte"), ("processed", processed, "packet")]
        {
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
                "meta": {"window_size_seconds": window.as_secs(), "utc_now_timestamp": seconds(now)},
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

    #[test]
    fn a_report_says_what_bouncers_say() {
        let config = config::Crowdsec {
            http: super::super::super::tests::http("http://127.0.0.1:8080"),
            origins: Vec::new(),
            scenarios_containing: Vec::new(),
            usage_metrics: true,
        };
        let mut decisions = Decisions::new(&config, Guards::default());
        let text = r#"{"new":[
            {"id":1,"origin":"cscli","scope":"Ip","type":"ban","value":"198.51.100.7","duration":"4h"},
            {"id":2,"origin":"CAPI","scope":"Ip","type":"ban","value":"198.51.100.8","duration":"4h"},
            {"id":3,"origin":"CAPI","scope":"Range","type":"ban","value":"2001:db8::/48","duration":"4h"},
            {"id":4,"origin":"CAPI","scope":"Ip","type":"captcha","value":"198.51.100.9","duration":"4h"}]}"#;
        decisions.apply(Answer::parse(text.as_bytes(), true).unwrap(), true, SystemTime::now());
        let mut reporter = Reporter::new("crowd");
        assert!(reporter.due(&decisions, SystemTime::now()).is_none(), "not at once");
        let later = reporter.started + WINDOW;
        reporter.usage().set(100, 6000, 5000);
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
        // Nothing is lost when it does not get through, and nothing is told twice when it does.
        reporter.refused(&FetchError::new("status", "is not there (404)"));
        assert!(reporter.due(&decisions, later).is_none());
        reporter.usage().set(150, 9000, 6000);
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
    }
}
