use std::time::Duration;

use serde_json::json;

use super::*;

fn now() -> SystemTime {
    time("2026-06-01T00:00:00Z").unwrap()
}

fn indicator(id: &str, modified: &str, more: &Value) -> Value {
    let mut object = json!({
        "type": "indicator", "spec_version": "2.1", "id": format!("indicator--{id}"),
        "created": "2026-01-01T00:00:00.000Z", "modified": modified,
        "pattern": format!("[ipv4-addr:value = '192.0.2.{id}']"), "pattern_type": "stix",
        "valid_from": "2026-01-01T00:00:00Z",
    });
    for (name, value) in more.as_object().unwrap() {
        object[name] = value.clone();
    }
    object
}

fn listed(indicators: &Indicators) -> Vec<u32> {
    let mut numbers: Vec<_> =
        indicators.intake.ledger().listing().entries.v4.iter().map(|(bits, _)| bits & 255).collect();
    numbers.sort_unstable();
    numbers
}

#[test]
fn the_newest_version_counts() {
    let mut indicators = Indicators::new(0, Guards::default());
    let early = "2026-02-01T00:00:00.000Z";
    let late = "2026-02-01T00:00:00.001Z";
    let other = json!({"pattern": "[ipv4-addr:value IN ('192.0.2.101','192.0.2.102')]"});
    assert!(indicators.object(indicator("1", late, &other), now()));
    assert!(!indicators.object(indicator("1", early, &json!({})), now()), "an older one");
    assert_eq!(listed(&indicators), [101, 102]);
    assert!(!indicators.object(indicator("1", early, &json!({"revoked": true})), now()));
    assert!(indicators.object(indicator("1", "2026-02-02T00:00:00Z", &json!({"revoked": true})), now()));
    assert!(!indicators.object(indicator("1", late, &json!({})), now()), "it stays revoked");
    assert_eq!(listed(&indicators), [0u32; 0]);
}

#[test]
fn times_begin_and_end() {
    let mut indicators = Indicators::new(0, Guards::default());
    let modified = "2026-02-01T00:00:00Z";
    let soon = json!({"valid_from": "2026-06-01T00:00:10Z", "valid_until": "2026-06-01T00:00:20Z"});
    assert!(!indicators.object(indicator("1", modified, &soon), now()));
    let over = json!({"valid_until": "2026-05-31T23:59:59Z"});
    assert!(!indicators.object(indicator("2", modified, &over), now()));
    assert!(
        indicators.object(indicator("3", modified, &json!({"valid_until": "2026-06-02T00:00:00Z"})), now())
    );
    assert!(!indicators.object(indicator("4", modified, &json!({"valid_until": "some day"})), now()));
    assert_eq!(listed(&indicators), [3]);
    assert_eq!(indicators.next(), Some(now() + Duration::from_secs(10)));
    assert!(!indicators.pass(now() + Duration::from_secs(9)));
    assert!(indicators.pass(now() + Duration::from_secs(10)));
    assert_eq!((listed(&indicators), indicators.next()), (vec![1, 3], None));
    assert!(indicators.pass(now() + Duration::from_secs(20)));
    assert_eq!(listed(&indicators), [3]);
    // One that waits is revoked meanwhile.
    let mut indicators = Indicators::new(0, Guards::default());
    indicators.object(indicator("1", modified, &json!({"valid_from": "2026-06-01T00:00:10Z"})), now());
    indicators.object(indicator("1", "2026-03-01T00:00:00Z", &json!({"revoked": true})), now());
    assert!(!indicators.pass(now() + Duration::from_mins(1)));
}

#[test]
fn what_does_not_count_is_counted() {
    let mut indicators = Indicators::new(50, Guards::default());
    let modified = "2026-02-01T00:00:00Z";
    for (id, more) in [
        ("1", json!({"confidence": 49})),
        ("2", json!({"confidence": 50})),
        ("3", json!({"pattern_type": "snort", "pattern": "alert ip"})),
        ("4", json!({"pattern": "[domain-name:value = 'bad.example']"})),
        ("5", json!({"pattern": "[ipv4-addr:value = '192.0.2.5' AND file:name = 'x']"})),
        ("6", json!({"confidence": "high"})),
        ("7", json!({"pattern": "[ipv4-addr:value ISSUBSET '0.0.0.0/0' OR ipv4-addr:value = '192.0.2.7']"})),
        ("8", json!({"pattern_type": null, "spec_version": "2.0"})),
    ] {
        indicators.object(indicator(id, modified, &more), now());
    }
    indicators.object(json!({"type": "malware", "id": "malware--1"}), now());
    indicators.object(json!(5), now());
    assert_eq!(listed(&indicators), [2, 7, 8]);
    let Fetched::Ledger(_, rejected) = indicators.fetched().unwrap() else { panic!() };
    assert_eq!((rejected.unselected, rejected.lines, rejected.too_wide), (4, 1, 1));
}
