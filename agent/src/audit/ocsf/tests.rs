use std::{collections::BTreeSet, sync::Arc};

use super::*;
use crate::{
    audit::entry::{Decision, Done},
    config::{Enforce, audit::Addresses},
    decision::{Verdict, Why},
    rules::samples,
};

fn lines(context: &Context, actor: Actor, what: What) -> Vec<Value> {
    let mut lines = Vec::new();
    context.write(&Entry { at: SystemTime::now(), actor, what }, |line| {
        lines.push(serde_json::from_str(&line).unwrap());
    });
    lines
}

fn everything() -> Vec<What> {
    let listing = Listing {
        entries: Arc::new(["192.0.2.0/24".parse().unwrap()].into_iter().collect()),
        ..Listing::default()
    };
    let feed = |change| What::Feed(Feed { name: "bad".to_owned(), change, listing: listing.clone() });
    let rules = vec![samples::rule("203.0.113.7/32"), samples::rule("2001:db8::/48")];
    let why = Why::Rule("scraper".into());
    vec![
        What::Started,
        What::Stopped,
        What::Unloaded { detached: vec!["eth0".to_owned()] },
        What::Policy(Policy {
            file: "/etc/weir/weir.yaml".into(),
            digest: Some("00".to_owned()),
            version: Some(3),
            returns_to: Some(1),
            publication: 7,
            enforce: Enforce::Enforce,
            entries: [1, 2],
            feeds: 1,
            limits: 1,
        }),
        What::PolicyRefused { file: "/etc/weir/weir.yaml".into(), why: "1 problem".to_owned() },
        feed(FeedChange::Changed { added: 1, removed: 0, changes: 1 }),
        feed(FeedChange::Refused { cause: "shrunk".to_owned(), held: true }),
        feed(FeedChange::Refused { cause: "format".to_owned(), held: false }),
        feed(FeedChange::Accepted),
        feed(FeedChange::Expired),
        feed(FeedChange::Removed),
        What::Rules(Done::Set, rules.clone()),
        What::Rules(Done::Lifted, rules.clone()),
        What::Rules(Done::Ended, rules),
        What::RulesRefused {
            action: "ban",
            rules: 2,
            first: Some("203.0.113.7/32".parse().unwrap()),
            status: 409,
            why: "meets 203.0.113.0/24".to_owned(),
        },
        What::Forbidden { operation: "PUT /v1/rules".to_owned() },
        What::Decision(Decision {
            client: "203.0.113.7".parse().unwrap(),
            verdict: Verdict::Challenge,
            why,
            surface: "http",
        }),
        What::Own(Own::Opened { before: None, after: super::super::chain::Link::default(), kept_from: 1 }),
        What::Own(Own::Recovered { torn: 7, tampered: Some("the end is cut off".to_owned()) }),
        What::Own(Own::Lost { entries: 3, since: SystemTime::now() }),
    ]
}

#[test]
fn every_line_has_what_the_schema_requires() {
    let context = Context::new(Arc::new(Naming::Plain));
    let mut codes = BTreeSet::new();
    for what in everything() {
        let count = what.lines();
        let lines = lines(&context, Actor::Peer { uid: 0, pid: 7 }, what);
        assert_eq!(lines.len(), count);
        for line in lines {
            let number = |name: &str| line[name].as_u64().unwrap_or_else(|| panic!("no {name} in {line}"));
            let class = number("class_uid");
            assert_eq!(number("category_uid"), class / 1000, "{line}");
            assert_eq!(number("type_uid"), class * 100 + number("activity_id"), "{line}");
            assert!((1..=5).contains(&number("severity_id")) && number("time") > 1_600_000_000_000);
            assert_eq!(line["metadata"]["version"], VERSION);
            assert_eq!(line["metadata"]["product"]["name"], "weir");
            assert!(!line["message"].as_str().unwrap().is_empty());
            let required: &[&str] = match class {
                1008 => &["log_name"],
                3004 => &["entity"],
                4001 => &["src_endpoint", "action_id", "disposition_id"],
                6002 => &["app"],
                6003 => &["actor", "api", "src_endpoint"],
                other => panic!("class {other}"),
            };
            for name in required {
                assert!(!line[*name].is_null(), "no {name} in {line}");
            }
            codes.insert(line["metadata"]["event_code"].as_str().unwrap().to_owned());
        }
    }
    // docs/audit.md has them all.
    let docs = include_str!("../../../../docs/audit.md");
    for code in codes {
        assert!(docs.contains(&format!("`{code}`")), "docs/audit.md does not name `{code}`");
    }
}

#[test]
fn pseudonymous_lines_tell_no_address_and_no_words() {
    let state = tempfile::tempdir().unwrap();
    let names = Naming::new(Addresses::Pseudonymous { prefixes: false }, state.path()).unwrap();
    let context = Context::new(Arc::new(names));
    for what in everything() {
        for line in lines(&context, Actor::Agent, what) {
            let text = line.to_string();
            assert!(!text.contains("203.0.113") && !text.contains("2001:db8"), "{text}");
        }
    }
}

#[test]
fn a_ban_is_a_refusal_with_its_author_and_its_end() {
    let context = Context::new(Arc::new(Naming::Plain));
    let rule = crate::rules::Rule {
        until: Some(2_000_000_000),
        note: "scraper".to_owned(),
        ..samples::rule("203.0.113.7/32")
    };
    let [line] =
        &lines(&context, Actor::Certificate("ops".to_owned()), What::Rules(Done::Set, vec![rule]))[..]
    else {
        panic!("one line")
    };
    assert_eq!((&line["class_uid"], &line["type_uid"]), (&json!(4001), &json!(400_105)));
    assert_eq!((&line["action_id"], &line["disposition_id"]), (&json!(2), &json!(6)));
    assert_eq!(line["src_endpoint"]["ip"], "203.0.113.7");
    assert_eq!(line["firewall_rule"]["desc"], "scraper");
    assert_eq!(line["actor"]["user"]["name"], "ops");
    assert_eq!(line["expiration_time"], 2_000_000_000_000_u64);
}
