use proptest::prelude::*;

use super::*;

const LIMIT: Limit = Limit { requests: 60, per: Per::Minute, burst: 6 };

fn node(name: &str, limits: &[Limit]) -> Node {
    Node { name: name.into(), limits: limits.to_vec(), near: 0.8, ..Node::default() }
}

fn domains(key: &str, level: Level) -> Vec<Domain> {
    vec![Domain { name: "api".into(), levels: [(key.to_owned(), level)].into() }]
}

fn any(node: Node) -> Level {
    Level { any: Some(Box::new(node)), ..Level::default() }
}

fn descriptor(entries: &[(&str, &str)]) -> Descriptor {
    let entries = entries.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
    Descriptor { entries, hits: None }
}

fn charge(
    store: &Store,
    domains: &[Domain],
    descriptors: &[Descriptor],
    hits: u32,
    now: u64,
) -> Vec<Charged> {
    let plan = Plan::new(domains, descriptors.iter().map(|descriptor| ("api", descriptor)), hits);
    plan.answers(&store.charge(plan.asks(), now))
}

fn admits(store: &Store, domains: &[Domain], descriptors: &[Descriptor], now: u64) -> bool {
    charge(store, domains, descriptors, 1, now).iter().all(|charged| !charged.answer.over)
}

#[test]
fn the_exact_value_comes_before_the_longest_beginning_before_any() {
    let level = Level {
        exact: [("gold".to_owned(), node("exact", &[LIMIT]))].into(),
        prefixes: vec![
            ("go-".to_owned(), node("longer", &[LIMIT])),
            ("go".to_owned(), node("shorter", &[LIMIT])),
        ],
        any: Some(Box::new(Node {
            levels: [("route".to_owned(), any(node("inner", &[LIMIT])))].into(),
            ..node("any", &[])
        })),
    };
    let domains = domains("consumer", level);
    let name = |entries: &[(&str, &str)]| {
        domains[0].find(&descriptor(entries).entries).map(|node| node.name.to_string())
    };
    for (entries, want) in [
        (&[("consumer", "gold")][..], Some("exact")),
        (&[("consumer", "go-x")], Some("longer")),
        (&[("consumer", "gopher")], Some("shorter")),
        (&[("consumer", "else")], Some("any")),
        (&[("consumer", "else"), ("route", "r")], Some("inner")),
        (&[("consumer", "gold"), ("route", "r")], None), // no way back to `any`, as in Envoy's service
        (&[("client", "x")], None),
        (&[], None),
    ] {
        assert_eq!(name(entries).as_deref(), want, "{entries:?}");
    }
}

#[test]
fn each_value_has_its_own_budget_and_tells_its_state() {
    let (store, domains) = (Store::new(1000), domains("consumer", any(node("api/consumer", &[LIMIT]))));
    let (one, other) = ([descriptor(&[("consumer", "one")])], [descriptor(&[("consumer", "other")])]);
    for remaining in (0..6).rev() {
        let [charged] = &charge(&store, &domains, &one, 1, 0)[..] else { panic!() };
        let state = charged.answer.state.as_ref().unwrap();
        assert_eq!((state.limit, state.window, state.remaining), (60, 60, remaining));
        assert_eq!(charged.answer.near, remaining <= 1, "80 % of 6 are 4.8");
        assert_eq!(state.reset, Duration::from_secs(6 - remaining));
    }
    let [refused] = &charge(&store, &domains, &one, 1, 250_000)[..] else { panic!() };
    assert!(refused.answer.over && refused.answer.near);
    assert_eq!(refused.retry_after, Some(Duration::from_millis(750)));
    assert!(admits(&store, &domains, &other, 0));
    assert!(!admits(&store, &domains, &one, 999_999));
    assert!(admits(&store, &domains, &one, 1_000_000));
    assert!(!admits(&store, &domains, &one, 1_000_000));
}

#[test]
fn a_look_charges_nothing_and_many_hits_are_charged_together() {
    let (store, domains) = (Store::new(1000), domains("consumer", any(node("q", &[LIMIT]))));
    let one = descriptor(&[("consumer", "one")]);
    let look = [Descriptor { hits: Some(0), ..one.clone() }];
    let four = [Descriptor { hits: Some(4), ..one.clone() }];
    let over = |descriptors: &[Descriptor]| charge(&store, &domains, descriptors, 1, 0)[0].answer.over;
    assert!((0..100).all(|_| !over(&look)));
    assert!(!over(&four));
    assert!(over(&four), "two are left");
    assert!(!over(&[Descriptor { hits: Some(2), ..one.clone() }]), "and were not charged");
    assert!(over(&look), "the next would be refused");
    let too_many = [Descriptor { hits: Some(7), ..one }];
    assert_eq!(charge(&store, &domains, &too_many, 1, 1 << 40)[0].retry_after, None, "never admitted");
}

#[test]
fn nothing_is_charged_if_one_refuses_unless_that_is_in_shadow() {
    let hour = Limit { requests: 10, per: Per::Hour, burst: 2 };
    let shadow = Node { shadow: true, ..node("shadow", &[hour]) };
    let levels = [
        ("both".to_owned(), any(node("both", &[LIMIT, hour]))),
        ("minute".to_owned(), any(node("minute", &[LIMIT]))),
        ("shadow".to_owned(), any(shadow)),
        ("free".to_owned(), any(Node { unlimited: true, ..node("free", &[]) })),
    ];
    let domains = [Domain { name: "api".into(), levels: levels.into() }];
    let store = Store::new(1000);
    let (both, minute) = (descriptor(&[("both", "x")]), descriptor(&[("minute", "x")]));
    let (shadow, free) = (descriptor(&[("shadow", "x")]), descriptor(&[("free", "x")]));
    let left = |descriptor: &Descriptor| {
        let look = Descriptor { hits: Some(0), ..descriptor.clone() };
        charge(&store, &domains, &[look], 1, 0)[0].answer.state.as_ref().map(|state| state.remaining)
    };
    for _ in 0..2 {
        assert!(admits(&store, &domains, &[both.clone(), minute.clone(), free.clone()], 0));
    }
    let refused = charge(&store, &domains, &[minute.clone(), both.clone()], 1, 0);
    assert_eq!(refused.iter().map(|charged| charged.answer.over).collect::<Vec<_>>(), [false, true]);
    assert_eq!((left(&minute), left(&both), left(&free)), (Some(4), Some(0), None));
    for _ in 0..3 {
        let charged = charge(&store, &domains, &[shadow.clone(), minute.clone()], 1, 0);
        assert!(!charged[1].answer.over && charged[0].answer.shadow);
    }
    assert_eq!((left(&minute), left(&shadow)), (Some(1), Some(0)));
    assert!(!admits(&store, &domains, &[minute.clone(), minute], 0), "both together are too many");
}

#[test]
fn the_store_is_bounded_under_ten_million_keys() {
    let store = Store::new(10_000);
    let limit = Limit { requests: 100, per: Per::Hour, burst: 100 };
    let ask = |key: String| Ask {
        key,
        name: "q".into(),
        need: limit.cost(1),
        cost: limit.cost(1),
        depth: limit.depth(),
        group: 0,
        enforced: true,
    };
    let mut admitted: u64 = 0;
    for key in 0..10_000_000_u64 {
        admitted += u64::from(store.charge(&[ask(key.to_string())], key)[0].wait == 0);
    }
    assert!(store.keys() <= 10_000 + SHARDS_FOR_TEST);
    assert!(store.shared() > 9_900_000);
    // Those without a place share 64 budgets; the first 10 000 have their own.
    assert!((10_000..10_000 + 64 * 102 + 100).contains(&admitted), "{admitted}");
    let later = 3_600_000_000 * 2;
    assert_eq!(store.charge(&[ask("new".to_owned())], later)[0].wait, 0);
    let before = store.shared();
    (0..5000_u64).for_each(|key| _ = store.charge(&[ask(format!("n{key}"))], later + 200_000 + key));
    assert_eq!(store.shared(), before, "who owes nothing gives its place up");
}

const SHARDS_FOR_TEST: usize = 64;

#[test]
fn no_request_asks_for_more_than_there_is_time_for() {
    let (store, domains) = (Store::new(1000), domains("consumer", any(node("q", &[LIMIT]))));
    let many: Vec<_> = (0..1000).map(|value| descriptor(&[("consumer", &value.to_string())])).collect();
    let charged = charge(&store, &domains, &many, 1, 0);
    assert_eq!(charged.len(), 1000);
    assert_eq!(charged.iter().filter(|charged| charged.answer.state.is_some()).count(), DESCRIPTORS_MAX);
}

#[test]
fn keys_cannot_be_made_to_look_like_others() {
    let key = |entries: &[(&str, &str)]| key("api", &descriptor(entries).entries, Per::Hour);
    assert_ne!(key(&[("a", "x|b=1:y")]), key(&[("a", "x"), ("b", "y")]));
    assert_eq!(key(&[("a", "x")]), "api|hour|a=1:x");
    let long = "ä".repeat(1000);
    assert_eq!(key(&[("a", &long)]).len(), "api|hour|a=256:".len() + 256);
}

proptest! {
    /// The oracle counts: no window, wherever it begins, admits more than its requests and the burst.
    #[test]
    fn no_window_admits_more_than_its_requests_and_the_burst(
        requests in 1_u64..40,
        share in 1_u64..=100,
        second in prop::bool::ANY,
        pauses in prop::collection::vec((0_u64..2_000_000, 1_u32..4), 1..400),
    ) {
        let per = if second { Per::Second } else { Per::Minute };
        let burst = (requests * share / 100).max(1);
        let limit = Limit { requests, per, burst };
        let (store, domains) = (Store::new(1000), domains("k", any(node("q", &[limit]))));
        let mut now = 0;
        let mut admitted: Vec<(u64, u64)> = Vec::new();
        for (pause, hits) in pauses {
            now += if second { pause / 10 } else { pause };
            let one = [Descriptor { hits: Some(hits), ..descriptor(&[("k", "v")]) }];
            let over = charge(&store, &domains, &one, 1, now)[0].answer.over;
            if !over {
                admitted.push((now, u64::from(hits)));
            } else if u64::from(hits) <= burst {
                // It is refused only if the oracle's bucket, which leaks in real time, is too full.
                let owed = owed(&admitted, now, limit);
                prop_assert!(owed + f64::from(hits) > float(burst) - 0.01, "{owed} owed");
            }
        }
        for (from, _) in &admitted {
            let within = |at: &u64| (*from..from + per.seconds() * 1_000_000).contains(at);
            let sum: u64 = admitted.iter().filter(|(at, _)| within(at)).map(|(_, hits)| hits).sum();
            prop_assert!(sum <= requests + burst, "{sum} of {limit:?}");
        }
    }
}

/// A bucket that leaks, in requests.
fn owed(admitted: &[(u64, u64)], now: u64, limit: Limit) -> f64 {
    let rate = float(limit.requests) / float(limit.per.seconds() * 1_000_000);
    let (level, last) = admitted.iter().fold((0.0_f64, 0), |(level, last), (at, hits)| {
        ((level - float(at - last) * rate).max(0.0) + float(*hits), *at)
    });
    (level - float(now - last) * rate).max(0.0)
}

#[expect(clippy::cast_precision_loss, reason = "an oracle")]
fn float(number: u64) -> f64 {
    number as f64
}
