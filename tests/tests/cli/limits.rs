use std::net::Ipv4Addr;

use weir_tests::namespace::Pair;

use crate::{has, json, send, started, weir};

#[test]
fn debtors_are_told_by_name_the_largest_first() {
    let pair = Pair::new().unwrap();
    let agent = started(&pair, "");
    // So many that the slow limit of their network has them all.
    for (last, packets) in [(1, 5), (2, 60), (3, 15)] {
        send(&pair, Ipv4Addr::new(203, 0, 113, last), 443, packets);
    }
    let it = json(&agent, &["limits", "--top", "3"]);
    let debtors = it["debtors"].as_array().unwrap();
    assert_eq!(debtors.len(), 3, "{it}");
    assert_eq!(
        (&debtors[0]["source"], &debtors[0]["limit"]),
        (&"203.0.113.2".into(), &"per-source".into()),
        "{it}"
    );
    assert_eq!(&debtors[1]["source"], "203.0.113.3", "{it}");
    let all = json(&agent, &["limits"]);
    let net = all["debtors"].as_array().unwrap().iter().find(|it| it["limit"] == "per-net").unwrap();
    assert_eq!(&net["source"], "203.0.113.0/24", "{all}");
    assert!(net["used"].as_f64().unwrap() > 20.0, "{all}");
    let limit = &all["limits"][0];
    assert_eq!(
        (&limit["limit"], &limit["key"], &limit["soft_from"]),
        (&"per-source".into(), &"source".into(), &0.5.into())
    );
    let packets = &limit["packets"];
    assert!(packets["dropped"].as_u64().unwrap() >= 38 && packets["near"].as_u64().unwrap() >= 10, "{all}");
    assert_eq!(all["table"]["bytes"], 8 << 20);
    assert_eq!(all["table"]["looked_at"], 1.0);
    assert!(all["table"]["owing"].as_u64().unwrap() >= 3, "{all}");
    has(
        &weir(&agent, &["limits"]),
        &[
            "per-source",
            "packets 1/s burst 20; soft from 50 %",
            "per-net (shadow)",
            "/24 /64",
            "valve  0 of 65536",
            "203.0.113.2",
        ],
    );
}

#[test]
fn they_are_told_without_an_agent_too() {
    let pair = Pair::new().unwrap();
    let mut agent = started(&pair, "");
    send(&pair, Ipv4Addr::new(203, 0, 113, 2), 443, 60);
    agent.kill().unwrap();
    has(&weir(&agent, &["limits"]), &["203.0.113.2", "per-source"]);
    weir(&agent, &["unload"]);
    let output = agent.weir(&["limits"]).unwrap();
    assert_eq!(output.status.code(), Some(1));
    has(&crate::text(&output), &["weir is not loaded"]);
}
