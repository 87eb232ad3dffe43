use weir_tests::namespace::Pair;

use crate::{BANNED, LISTED, has, json, send, started, text, weir};

#[test]
fn a_ban_is_told_with_its_author_its_end_and_its_way_out() {
    let pair = Pair::new().unwrap();
    let mut agent = started(&pair, "");
    weir(&agent, &["ban", "203.0.113.0/24", "--for", "1h", "--note", "a scraper"]);
    weir(&agent, &["ban", "203.0.113.7", "--proxy-only", "--for", "forever"]);
    send(&pair, BANNED, 443, 30);
    let told = weir(&agent, &["explain", "203.0.113.7"]);
    has(
        &told,
        &[
            "dropped (ban): banned",
            "ban of 203.0.113.0/24 for ",
            "by operator since 2",
            ": a scraper",
            "at proxies: ban of 203.0.113.7/32 without an end",
            "risk 0.0: challenged from 40",
            "sampled packets, the last ",
            ": drop (ban)",
            "`weir unban 203.0.113.0/24` lifts the ban",
            "the ban ends by itself in ",
            "`weir unban 203.0.113.7/32` lifts the ban",
            "`weir allow 203.0.113.7` lets it pass",
        ],
    );
    let it = json(&agent, &["explain", "::ffff:203.0.113.7"]);
    assert_eq!((&it["address"], &it["verdict"]), (&"203.0.113.7".into(), &"drop".into()));
    assert_eq!((&it["rule"]["prefix"], &it["rule"]["by"]), (&"203.0.113.0/24".into(), &"operator".into()));
    assert!((3500..=3600).contains(&it["rule"]["seconds_left"].as_u64().unwrap()), "{it}");
    assert_eq!(it["agent"]["recent"]["events"].as_u64(), Some(30), "{it}");

    // Without an agent the kernel enforces on, and what only the agent knows is said to be unknown.
    agent.stop().unwrap();
    let told = weir(&agent, &["explain", "203.0.113.7"]);
    has(
        &told,
        &["dropped (ban): banned", "by operator", ": a scraper", "are not known: no agent answers at "],
    );
    assert!(!told.contains("risk 0"), "{told}");
}

#[test]
fn a_list_is_told_with_its_entry_its_age_and_its_end() {
    let pair = Pair::new().unwrap();
    let agent = started(&pair, "");
    send(&pair, LISTED, 53, 7);
    let told = weir(&agent, &["explain", "198.51.100.7"]);
    has(
        &told,
        &[
            "dropped (feed): listed by feed bad",
            "feed bad (drop, scanner) has it as 198.51.100.7/32 since 2",
            "Z; confirmed ",
            "7 dropped",
            "it is in feed bad: add it to `allow`, or set the feed to `enforce: shadow`",
            "feed bad lapses in ",
            " unless it is confirmed",
            "`weir allow 198.51.100.7` lets it pass, whatever lists say",
        ],
    );
    let it = json(&agent, &["explain", "198.51.100.7"]);
    assert_eq!(it["lists"][0]["prefixes"][0], "198.51.100.7/32");
    assert_eq!(it["class_packets"]["drop"], 7);
    // What would change it does, and is then what is told.
    weir(&agent, &["allow", "198.51.100.7", "--note", "ours"]);
    has(
        &weir(&agent, &["explain", "198.51.100.7"]),
        &["allowed by a manual rule", "`weir unban 198.51.100.7/32`"],
    );
    let own = weir(&agent, &["explain", "172.16.5.9"]);
    has(&own, &["passes (allow)", "protected: allow", "no list and no ban cuts it off"]);
    has(&weir(&agent, &["explain", &Pair::SERVER.v4.to_string()]), &["protected: own address"]);
}

#[test]
fn of_a_prefix_it_is_told_what_its_addresses_get() {
    let pair = Pair::new().unwrap();
    let agent = started(&pair, "");
    weir(&agent, &["ban", "203.0.113.0/29", "--note", "a scraper"]);
    weir(&agent, &["allow", "203.0.113.1", "--note", "ours"]);
    weir(&agent, &["ban", "203.0.113.9", "--proxy-only"]);
    let it = json(&agent, &["explain", "203.0.113.0/24"]);
    let shares: Vec<_> = it["verdicts"].as_array().unwrap().iter().collect();
    let share = |verdict: &str, reason: &str| {
        let found = shares.iter().find(|share| share["verdict"] == verdict && share["reason"] == reason);
        found.map_or(0, |share| share["addresses"].as_u64().unwrap())
    };
    assert_eq!((share("pass", "clean"), share("drop", "ban"), share("pass", "allow")), (248, 7, 1), "{it}");
    assert_eq!(it["rules"].as_array().unwrap().len(), 3, "{it}");
    let told = weir(&agent, &["explain", "203.0.113.0/24"]);
    has(
        &told,
        &[
            "248 addresses: pass (clean); the first is 203.0.113.8",
            "7 addresses: dropped (ban); the first is 203.0.113.0",
            "ban of 203.0.113.0/29 ",
            "at proxies: ban of 203.0.113.9/32 ",
            "`weir explain ADDRESS`",
        ],
    );
    let listed = json(&agent, &["explain", "198.51.0.0/16"]);
    assert_eq!((&listed["feeds"][0]["feed"], &listed["feeds"][0]["inside"]), (&"bad".into(), &1.into()));
    let listed_by = listed["verdicts"].as_array().unwrap().iter().find(|share| share["verdict"] == "drop");
    assert_eq!(listed_by.unwrap()["addresses"], 1, "{listed}");
    // Wider, nobody is asked for each address, and lists and rules are told all the same.
    let wide = weir(&agent, &["explain", "198.0.0.0/8"]);
    has(&wide, &["too many addresses", "feed bad: 1 of its entries inside"]);
    let wrong = agent.weir(&["explain", "203.0.113.7/24"]).unwrap();
    assert_eq!(wrong.status.code(), Some(64));
    has(&text(&wrong), &["write 203.0.113.0/24"]);
}

#[test]
fn a_debt_is_told_with_when_it_is_paid() {
    let pair = Pair::new().unwrap();
    let agent = started(&pair, "");
    send(&pair, crate::CLEAN, 443, 15);
    let it = json(&agent, &["explain", "192.0.2.77", "--port", "443/udp"]);
    let limit = &it["limits"][0];
    assert_eq!((&limit["limit"], &limit["over"]), (&"per-source".into(), &false.into()), "{it}");
    assert!(limit["soft"].as_bool().unwrap(), "{it}");
    send(&pair, crate::CLEAN, 443, 40);
    let it = json(&agent, &["explain", "192.0.2.77"]);
    let limit = &it["limits"][0];
    assert!(limit["over"].as_bool().unwrap() && limit["admitted_in"].as_f64().unwrap() > 0.0, "{it}");
    send(&pair, crate::CLEAN, 443, 40);
    has(
        &weir(&agent, &["explain", "192.0.2.77"]),
        &[
            "dropped by limits",
            "over limit per-source on https",
            "`weir allow 192.0.2.77`",
            "over, admitted again in ",
            "limit per-source admits it again after ",
        ],
    );
    let net = &it["limits"][1];
    assert!(net["shadow"].as_bool().unwrap() && net["used"].as_f64().unwrap() > 15.0, "{it}");
    // A port on which no limit stands.
    let it = json(&agent, &["explain", "192.0.2.77", "--port", "53/udp"]);
    assert_eq!(it["limits"].as_array().unwrap().len(), 0, "{it}");
}
