use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::feed::Listing;

fn config() -> config::Crowdsec {
    config::Crowdsec {
        http: super::super::super::tests::http("http://127.0.0.1:8080"),
        origins: Vec::new(),
        scenarios_containing: Vec::new(),
        usage_interval: None,
    }
}

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)
}

fn apply(decisions: &mut Decisions, text: &str, whole: bool) -> Applied {
    decisions.apply(Answer::parse(text.as_bytes(), whole).unwrap(), whole, now())
}

fn listing(decisions: &Decisions) -> Listing {
    decisions.intake.ledger().listing()
}

fn rejected(decisions: &Decisions) -> crate::feed::Rejected {
    match decisions.fetched().unwrap() {
        Fetched::Ledger(_, rejected) => rejected,
        other @ (Fetched::Unchanged | Fetched::Text(..) | Fetched::List(_)) => panic!("{other:?}"),
    }
}

#[test]
fn decisions_come_and_go() {
    let mut decisions = Decisions::new(&config(), Guards::default());
    // As Debian's LAPI 1.4.6 writes it.
    let text = r#"{"deleted":null,"new":[{"duration":"9m59.819236694s","id":2,"origin":"cscli","scenario":"manual 'captcha' from 'test'","scope":"Range","type":"captcha","value":"203.0.113.0/28"},{"duration":"3h59m58.819234841s","id":1,"origin":"cscli","scenario":"manual 'ban' from 'test'","scope":"Ip","type":"ban","value":"198.51.100.7"}]}"#;
    assert!(apply(&mut decisions, text, true).changed);
    assert_eq!(listing(&decisions).entries.v4, [(0xc633_6407, 32)]);
    assert_eq!(listing(&decisions).throttled.v4, [(0xcb00_7100, 28)]);
    assert_eq!(decisions.intake.ledger().next_end(), Some(now() + Duration::from_mins(10)));
    let nothing = Applied { changed: false, doubt: false };
    for text in [r#"{"deleted":null,"new":null}"#, r#"{"new":[]}"#, "{}", r#"{"deleted":[]}"#] {
        assert_eq!(apply(&mut decisions, text, false), nothing, "{text}");
    }
    let text = r#"{"deleted":[{"duration":"-1.015192402s","id":1,"origin":"cscli","scenario":"manual 'ban' from 'test'","scope":"Ip","type":"ban","value":"198.51.100.7"}],"new":null}"#;
    assert_eq!(apply(&mut decisions, text, false), Applied { changed: true, doubt: false });
    assert_eq!(listing(&decisions).len(), 1);
    // All anew: what is not in it is gone.
    assert!(
        apply(&mut decisions, r#"{"new":[],"deleted":[]}"#, true).changed || listing(&decisions).is_empty()
    );
    assert!(listing(&decisions).is_empty());
}

#[test]
fn what_is_no_address_or_no_ban_is_counted() {
    let mut decisions = Decisions::new(&config(), Guards::default());
    let text = r#"{"new":[
        {"id":1,"scope":"ip","type":"BAN","value":"192.0.2.1","duration":"1h"},
        {"id":2,"scope":"RANGE","type":"Throttle","value":"2001:db8:1::/48","duration":"1h"},
        {"id":3,"scope":"Country","type":"ban","value":"XX","duration":"1h"},
        {"id":4,"scope":"Ip","type":"custom","value":"192.0.2.4","duration":"1h"},
        {"id":5,"scope":"Ip","type":"ban","value":"nonsense","duration":"1h"},
        {"id":6,"scope":"Ip","type":"ban","value":"192.0.2.6","duration":"soon"},
        {"id":7,"scope":"Ip","type":"ban","value":"192.0.2.7","duration":"-5s"},
        {"id":8,"scope":"Range","type":"ban","value":"0.0.0.0/0","duration":"1h"},
        {"id":9,"scope":"Ip","type":"ban","value":"192.0.2.9","duration":"1h","simulated":true},
        {"id":10}]}"#;
    apply(&mut decisions, text, true);
    assert_eq!(listing(&decisions).entries.v4, [(0xc000_0201, 32)]);
    assert_eq!(listing(&decisions).throttled.v6.len(), 1);
    let rejected = rejected(&decisions);
    assert_eq!((rejected.lines, rejected.too_wide, rejected.unselected), (2, 1, 4));
}

#[test]
fn filters_count_here_too() {
    let filtered = config::Crowdsec {
        origins: vec!["CAPI".to_owned(), "lists".to_owned()],
        scenarios_containing: vec!["ssh".to_owned()],
        ..config()
    };
    let mut decisions = Decisions::new(&filtered, Guards::default());
    let text = r#"{"new":[
        {"id":1,"origin":"capi","scenario":"crowdsecurity/SSH-bf","scope":"Ip","type":"ban","value":"192.0.2.1","duration":"1h"},
        {"id":2,"origin":"cscli","scenario":"crowdsecurity/ssh-bf","scope":"Ip","type":"ban","value":"192.0.2.2","duration":"1h"},
        {"id":3,"origin":"CAPI","scenario":"crowdsecurity/http-probing","scope":"Ip","type":"ban","value":"192.0.2.3","duration":"1h"}]}"#;
    apply(&mut decisions, text, true);
    assert_eq!(listing(&decisions).entries.v4, [(0xc000_0201, 32)]);
}

#[test]
fn several_decisions_about_one_address_are_independent() {
    let mut decisions = Decisions::new(&config(), Guards::default());
    let text = r#"{"new":[
        {"id":1,"scenario":"a","scope":"Ip","type":"ban","value":"192.0.2.1","duration":"1h"},
        {"id":2,"scenario":"b","scope":"Ip","type":"ban","value":"192.0.2.1","duration":"2h"}]}"#;
    apply(&mut decisions, text, true);
    let one = r#"{"deleted":[{"id":1,"scenario":"a","scope":"Ip","type":"ban","value":"192.0.2.1","duration":"-1s"}]}"#;
    let applied = apply(&mut decisions, one, false);
    assert_eq!(applied, Applied { changed: true, doubt: true });
    assert_eq!(listing(&decisions).len(), 1, "the other still stands");
    // Without numbers, by what it says: all that say so.
    let all = r#"{"deleted":[{"scope":"Ip","type":"ban","value":"192.0.2.1"}],
        "new":[{"id":3,"scope":"Ip","type":"captcha","value":"192.0.2.1","duration":"1h"}]}"#;
    assert!(apply(&mut decisions, all, false).changed);
    assert_eq!((listing(&decisions).entries.len(), listing(&decisions).throttled.len()), (0, 1));
}

#[test]
fn what_is_no_lapi_is_told() {
    for text in [
        "null",
        "[]",
        "<html>",
        "",
        r#"{"message":"maintenance"}"#,
        r#"{"new":5}"#,
        r#"{"new":[{"id":"x"}]}"#,
    ] {
        assert!(Answer::parse(text.as_bytes(), false).is_err(), "{text}");
    }
    assert!(Answer::parse(b"{}", true).is_err());
}

proptest! {
    /// Whatever comes in which order: what is listed is what the last answer that named a number said.
    #[test]
    fn deltas_lead_to_what_the_server_has(
        steps in proptest::collection::vec((0i64..12, 1u8..6, any::<bool>(), any::<bool>()), 1..60),
    ) {
        let mut decisions = Decisions::new(&config(), Guards::default());
        let mut server: BTreeMap<i64, (u8, bool)> = BTreeMap::new();
        apply(&mut decisions, r#"{"new":null}"#, true);
        for (id, value, ban, remove) in steps {
            let id = id + 1;
            let decision = |value: u8, ban: bool, duration: &str| {
                let kind = if ban { "ban" } else { "captcha" };
                format!(r#"{{"id":{id},"scope":"Ip","type":"{kind}","value":"192.0.2.{value}","duration":"{duration}"}}"#)
            };
            let text = match server.remove(&id) {
                Some((value, ban)) if remove => format!(r#"{{"deleted":[{}]}}"#, decision(value, ban, "-1s")),
                _ => {
                    server.insert(id, (value, ban));
                    format!(r#"{{"new":[{}],"deleted":null}}"#, decision(value, ban, "4h"))
                }
            };
            apply(&mut decisions, &text, false);
            let of = |ban: bool| {
                let mut values: Vec<_> =
                    server.values().filter(|(_, b)| *b == ban).map(|(v, _)| (0xc000_0200 + u32::from(*v), 32)).collect();
                values.sort_unstable();
                values
            };
            let listing = listing(&decisions);
            let sorted = |list: &[(u32, u8)]| { let mut list = list.to_vec(); list.sort_unstable(); list };
            prop_assert_eq!(sorted(&listing.entries.v4), of(true));
            prop_assert_eq!(sorted(&listing.throttled.v4), of(false));
        }
    }
}
