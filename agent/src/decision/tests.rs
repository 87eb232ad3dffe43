use std::time::Duration;

use super::*;
use crate::decision::{
    quota::QuotaAnswer,
    rules::Condition,
    source::{Ban, Pressure},
    verdict::QuotaState,
};

fn policy(rules: &[(&str, &str, Option<Verdict>)]) -> Policy {
    let rule = |(name, when, then): &(&str, &str, Option<Verdict>)| Rule {
        name: (*name).into(),
        when: Condition::compile(when).unwrap(),
        then: *then,
        score: 5.0,
        retry_after: None,
        shadow: false,
    };
    Policy { rules: rules.iter().map(rule).collect(), ..Policy::default() }
}

fn request() -> Request {
    Request::of(Client { address: "203.0.113.9".parse().unwrap(), direct: true })
}

fn charged(over: bool, shadow: bool) -> Charged {
    let state = QuotaState {
        name: "api/client".into(),
        limit: 10,
        window: 60,
        remaining: u64::from(!over),
        reset: Duration::from_secs(3),
    };
    Charged {
        answer: QuotaAnswer { over, near: over, shadow, state: Some(state) },
        name: Some("api/client".into()),
        retry_after: over.then_some(Duration::from_secs(1)),
    }
}

fn decide(policy: &Policy, source: &Source, charged: &[Charged]) -> (String, String) {
    let decision = conclude(policy, before_quotas(policy, &request(), source), charged);
    let would = decision.would.map(|(verdict, why)| format!("{} {why}", verdict.as_str()));
    (format!("{} {}", decision.verdict.as_str(), decision.why), would.unwrap_or_default())
}

#[test]
fn the_first_word_wins_in_the_order_of_the_pipeline() {
    let denies = policy(&[("no", "true", Some(Verdict::Deny))]);
    let scores = policy(&[("counts", "true", None)]);
    let allows = policy(&[("yes", "true", Some(Verdict::Allow))]);
    let clean = Source::default();
    let ban = Some(Ban { shadow: false, left: None });
    let banned = Source { ban, ..Source::default() };
    let allowed = Source { listed: Listed::Allow, ban, ..Source::default() };
    let listed = Source { listed: Listed::Drop, ..Source::default() };
    let softly = Source { list_shadow: true, ..listed.clone() };
    let partner = Source { listed: Listed::Partner, ..Source::default() };
    let exempt = Policy { partners_unlimited: true, ..Policy::default() };
    let shadow = Policy { shadow: true, ..Policy::default() };
    let (over, would) = ([charged(true, false)], [charged(true, true)]);
    for (policy, source, charged, want, hint) in [
        (&denies, &allowed, &over[..], "allow allowed", ""),
        (&allows, &banned, &over, "deny banned", ""),
        (&allows, &listed, &over, "deny listed", ""),
        (&denies, &softly, &over, "deny rule:no", ""),
        (&scores, &softly, &[], "allow clean", "deny listed"),
        (&denies, &clean, &over, "deny rule:no", ""),
        (&allows, &clean, &over, "allow rule:yes", ""),
        (&scores, &clean, &over, "throttle quota:api/client", ""),
        (&scores, &clean, &would, "allow clean", "throttle quota:api/client"),
        (&scores, &clean, &[], "allow clean", ""),
        (&scores, &partner, &over, "throttle quota:api/client", ""),
        (&exempt, &partner, &over, "allow clean", ""),
        (&exempt, &clean, &over, "throttle quota:api/client", ""),
        (&shadow, &clean, &over, "allow clean", "throttle quota:api/client"),
    ] {
        assert_eq!(decide(policy, source, charged), (want.to_owned(), hint.to_owned()), "{source:?}");
    }
}

#[test]
fn scores_and_the_state_of_quotas_are_told() {
    let policy = policy(&[("counts", "true", None), ("again", "request.direct", None)]);
    let source = Source { risk: 2.0, ..Source::default() };
    let standing = before_quotas(&policy, &request(), &source);
    let decision = conclude(&policy, standing.clone(), &[Charged::default(), charged(false, false)]);
    assert!((decision.score - 12.0).abs() < 1e-9);
    assert_eq!(decision.quota.map(|quota| quota.remaining), Some(1));
    let decision = conclude(&policy, standing, &[charged(false, false), charged(true, false)]);
    assert_eq!(decision.retry_after, Some(Duration::from_secs(1)));
    assert_eq!(decision.quota.map(|quota| quota.remaining), Some(0));
}

#[test]
fn whoever_has_done_too_much_is_refused_and_rules_may_add() {
    let thresholds = risk::Thresholds { challenge_at: 40.0, throttle_at: 60.0, shadow: false };
    let scores = Policy { thresholds: Some(thresholds), ..policy(&[("counts", "true", None)]) };
    let allows = Policy { thresholds: Some(thresholds), ..policy(&[("yes", "true", Some(Verdict::Allow))]) };
    let risky = |risk| Source { risk, ..Source::default() };
    let over = [charged(true, false)];
    assert_eq!(decide(&scores, &risky(34.0), &[]).0, "allow clean");
    assert_eq!(decide(&scores, &risky(35.0), &[]).0, "challenge risk");
    assert_eq!(decide(&scores, &risky(60.0), &over).0, "throttle risk");
    assert_eq!(decide(&allows, &risky(60.0), &over).0, "allow rule:yes");
    let shadow = risk::Thresholds { shadow: true, ..thresholds };
    let shadow = Policy { thresholds: Some(shadow), ..Policy::default() };
    let (found, would) = decide(&shadow, &risky(60.0), &[]);
    assert_eq!((&*found, &*would), ("allow clean", "throttle risk"));
    assert_eq!(decide(&shadow, &risky(60.0), &over).0, "throttle quota:api/client");
}

fn by(shadow: bool, source: &Source) -> Decision {
    let thresholds = risk::Thresholds { challenge_at: 40.0, throttle_at: 60.0, shadow: false };
    let policy = Policy { shadow, thresholds: Some(thresholds), ..Policy::default() };
    conclude(&policy, before_quotas(&policy, &request(), source), &[])
}

#[test]
fn what_is_in_force_goes_before_what_would_be() {
    let ban = |shadow| Some(Ban { shadow, left: Some(Duration::from_secs(9)) });
    let clean = Source::default();
    let (deny, allow) = (Verdict::Deny, Verdict::Allow);
    for (source, verdict, why, would) in [
        (clean.clone(), allow, Why::Clean, None),
        (Source { ban: ban(false), ..clean.clone() }, deny, Why::Banned, None),
        (Source { ban: ban(true), ..clean.clone() }, allow, Why::Clean, Some(Why::Banned)),
        (Source { ban: ban(true), listed: Listed::Drop, ..clean.clone() }, deny, Why::Listed, None),
        (
            Source { listed: Listed::Drop, list_shadow: true, ..clean.clone() },
            allow,
            Why::Clean,
            Some(Why::Listed),
        ),
        (
            Source { listed: Listed::Drop, list_shadow: true, risk: 70.0, ..clean.clone() },
            Verdict::Throttle,
            Why::Risk,
            None,
        ),
        (
            Source { ban: ban(true), pressure: Pressure::Over, ..clean.clone() },
            Verdict::Throttle,
            Why::OverLimit,
            None,
        ),
        (Source { ban: ban(false), rule_allows: true, ..clean }, allow, Why::Allowed, None),
    ] {
        let decision = by(false, &source);
        let found = (decision.verdict, decision.why, decision.would.map(|(_, why)| why));
        assert_eq!(found, (verdict, why, would), "{source:?}");
        assert_eq!(by(true, &source).verdict, allow, "{source:?}");
    }
}

#[test]
fn whoever_is_refused_is_told_when_to_come_again() {
    let left = Some(Duration::from_millis(1500));
    let refused = Decision { retry_after: left, ..Decision::of(Verdict::Deny, Why::Banned) };
    assert!(refused.headers().contains(&("retry-after", "2".to_owned())));
    assert_eq!(Decision { retry_after: left, ..Decision::allow(Why::Clean) }.retry_seconds(), None);
}

/// What a decision costs: `cargo test --release -p weir --lib -- --ignored --nocapture ten_rules`.
#[test]
#[ignore = "a measurement"]
fn ten_rules_and_two_quotas() {
    use crate::decision::quota::{Descriptor, Domain, Level, Limit, Node, Per, Plan, Store};
    let rules = [
        "request.path.startsWith('/admin') && !inNetwork(request.client, '10.0.0.0/8')",
        "request.method == 'TRACE'",
        "request.headers['user-agent'].contains('sqlmap')",
        "request.path.matches('^/[a-z]+[.]php$')",
        "source.listed == 'suspicious' && request.path.startsWith('/login')",
        "'tor' in source.lists",
        "source.over && request.method == 'POST'",
        "source.risk > 50",
        "request.host.endsWith('.internal')",
        "request.consumer == '' && request.path.startsWith('/v2/')",
    ];
    let rules: Vec<_> = rules.iter().map(|when| (*when, *when, Some(Verdict::Deny))).collect();
    let policy = policy(&rules);
    let node = Node {
        name: "api/client".into(),
        limits: vec![Limit { requests: 1_000_000, per: Per::Second, burst: 1_000_000 }],
        near: 0.8,
        ..Node::default()
    };
    let level = Level { any: Some(Box::new(node)), ..Level::default() };
    let levels = [("client".to_owned(), level.clone()), ("consumer".to_owned(), level)].into();
    let domains = [Domain { name: "api".into(), levels }];
    let descriptor = |key: &str| Descriptor { entries: vec![(key.to_owned(), "x".to_owned())], hits: None };
    let descriptors = [descriptor("client"), descriptor("consumer")];
    let (store, source, request) = (Store::new(10_000), Source::default(), request());
    let rounds = 100_000_u32;
    let time = |what: &str, mut run: Box<dyn FnMut(u64) + '_>| {
        let started = std::time::Instant::now();
        (0..u64::from(rounds)).for_each(&mut *run);
        println!("{what}: {:?} each", started.elapsed() / rounds);
    };
    time("ten rules", Box::new(|_| assert!(!before_quotas(&policy, &request, &source).settled)));
    time(
        "two quotas",
        Box::new(|now| {
            let plan = Plan::new(&domains, descriptors.iter().map(|descriptor| ("api", descriptor)), 1);
            let charged = plan.answers(&store.charge(plan.asks(), now * 1000));
            assert!(charged.iter().all(|charged| !charged.answer.over));
        }),
    );
}
