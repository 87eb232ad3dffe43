//! From packets over a limit to bans that double: the kernel tells of them, the ladder adds them up.

use std::{
    net::{IpAddr, Ipv4Addr},
    thread,
    time::{Duration, Instant},
};

use weir_tests::{
    agent::{Agent, binary},
    control::Control,
    frame::{Frame, Sight},
    namespace::Pair,
    patience,
    wire::{Receiver, Wire},
};

const LOUD: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 7);
/// Another one.
const LOUD_TOO: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 9);
const CALM: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 8);
const ENFORCE: &str = "mode: enforce
    ban: {first: 2s, most: 6s, forget: 5s}";
/// How long it takes at most until somebody who floods is banned.
const BAN_SECONDS: u64 = 15;

struct Stand {
    pair: Pair,
    agent: Agent,
}

/// What the control API has of a ban.
#[derive(Debug)]
struct Ban {
    lasts: u64,
    text: String,
}

impl Stand {
    fn new(mode: &str, rest: &str) -> Self {
        let pair = Pair::new().unwrap();
        let mut agent = Agent::new(binary().unwrap(), &pair.server).unwrap();
        agent
            .configure(&format!(
                "enforce: enforce
interfaces: [{{name: {}}}]
services: [{{name: dns, ports: [53/udp]}}]
limits: [{{name: each, service: dns, packets: {{rate: 20/s, burst: 10}}}}]
events: {{per_second: 1000}}
listen: {{metrics: {}}}
l7:
  escalation:
    {mode}
    half_life: 10s
    weights: {{limit: 1}}
    challenge_at: 10
    throttle_at: 20
    ban_at: 40
{rest}",
                Pair::INTERFACE,
                Agent::METRICS,
            ))
            .unwrap();
        agent.start().unwrap();
        Self { pair, agent }
    }

    fn flood(&self) -> [usize; 2] {
        self.flood_from(LOUD)
    }

    /// One source floods, another one is below its limit, for half a second. Returns how many frames of
    /// either arrived.
    fn flood_from(&self, source: Ipv4Addr) -> [usize; 2] {
        let server = &self.pair.server;
        let receiver =
            server.run(|| Receiver::start(Pair::INTERFACE, |frame| Some(Sight::of(frame)?.source))).unwrap();
        let wire = self.pair.client.run(|| Wire::open(Pair::INTERFACE)).unwrap();
        let frame = |source| Frame::new().ipv4(source, Pair::SERVER.v4).udp(4000, 53).build();
        let (loud, calm) = (frame(source), frame(CALM));
        for _ in 0..5 {
            (0..20).for_each(|_| wire.send(&loud).unwrap());
            wire.send(&calm).unwrap();
            thread::sleep(Duration::from_millis(100));
        }
        assert!(receiver.wait_for(&IpAddr::V4(CALM), 5, patience::seconds(5)));
        let arrivals = receiver.stop().unwrap();
        [source, CALM].map(|source| arrivals.packets(&IpAddr::V4(source)))
    }

    /// Floods until there is a ban, and returns it.
    fn flood_until_banned(&self) -> Ban {
        let deadline = Instant::now() + patience::seconds(BAN_SECONDS);
        loop {
            let [loud, calm] = self.flood();
            // Of 100 in half a second, no more than the burst and what is earned meanwhile.
            assert!(calm == 5 && loud <= 40, "{loud} {calm}");
            if let Some(ban) = self.ban() {
                return ban;
            }
            assert!(Instant::now() < deadline, "no ban\n{}", self.agent.get("/metrics").unwrap().1);
        }
    }

    fn ban(&self) -> Option<Ban> {
        let mut control = Control::connect(&self.agent.socket()).unwrap();
        let (status, text) = control.request("GET", &format!("/v1/rules/{LOUD}"), "").unwrap();
        let number = |key: &str| -> u64 {
            let rest = text.split_once(&format!("\"{key}\":")).unwrap().1;
            rest.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
        };
        (status == 200).then(|| Ban { lasts: number("until") - number("since"), text: text.clone() })
    }

    fn wait_for_end(&self) {
        while self.ban().is_some() {
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn count(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        self.agent.metrics().unwrap().count(name, labels)
    }
}

/// An end is written down a second late at most.
fn lasts_about(ban: &Ban, seconds: u64) -> bool {
    (seconds..=seconds + 1).contains(&ban.lasts)
}

#[test]
fn a_flood_is_throttled_then_banned_for_longer_each_time() {
    let stand = Stand::new(ENFORCE, "");
    let ban = stand.flood_until_banned();
    assert!(ban.text.contains("\"by\":\"escalation\"") && lasts_about(&ban, 2), "{ban:?}");
    assert!(stand.count("weir_escalation_offences_total", &[("cause", "limit")]) >= 40);
    let risk = |address: Ipv4Addr| {
        let mut control = Control::connect(&stand.agent.socket()).unwrap();
        control.request("GET", &format!("/v1/risk/{address}"), "").unwrap().1
    };
    assert!(risk(CALM).contains("\"risk\":0.0,") && !risk(LOUD).contains("\"risk\":0.0,"), "{}", risk(LOUD));
    stand.wait_for_end();
    // Who goes on is banned for twice as long, and then for as long as it can be.
    for expected in [4, 6, 6] {
        let ban = stand.flood_until_banned();
        assert!(lasts_about(&ban, expected), "{expected}: {ban:?}");
        assert_eq!(stand.flood(), [0, 5]);
        stand.wait_for_end();
    }
    assert_eq!(stand.count("weir_escalation_bans_total", &[("result", "kernel")]), 4);
    // Who stops is let in again, and forgiven after a while.
    thread::sleep(Duration::from_secs(6));
    let wire = stand.pair.client.run(|| Wire::open(Pair::INTERFACE)).unwrap();
    wire.send(&Frame::new().ipv4(LOUD, Pair::SERVER.v4).udp(4000, 53).build()).unwrap();
    assert!(stand.ban().is_none());
    let ban = stand.flood_until_banned();
    assert!(lasts_about(&ban, 2), "{ban:?}");
}

#[test]
fn in_shadow_mode_nobody_is_dropped_for_it() {
    let stand = Stand::new("mode: shadow", "");
    let ban = stand.flood_until_banned();
    assert!(ban.text.contains("\"shadow\":true"), "{ban:?}");
    let [loud, _] = stand.flood();
    assert!(loud >= 10, "{loud}");
    assert!(stand.count("weir_escalation_bans_total", &[("result", "shadow")]) >= 1);
}

#[test]
fn who_must_not_be_cut_off_is_not() {
    let stand = Stand::new(ENFORCE, "partners: [203.0.113.0/24]\n");
    let deadline = Instant::now() + patience::seconds(BAN_SECONDS);
    while stand.count("weir_escalation_bans_total", &[("result", "refused")]) == 0 {
        assert!(Instant::now() < deadline, "never refused: {}", stand.agent.log());
        stand.flood();
    }
    assert!(stand.ban().is_none());
}

#[test]
fn no_more_bans_are_made_than_the_cap_and_that_is_told() {
    let stand = Stand::new("mode: enforce\n    ban: {per_minute: 1}", "");
    stand.flood_until_banned();
    let capped = || stand.count("weir_escalation_bans_total", &[("result", "capped")]);
    let deadline = Instant::now() + patience::seconds(BAN_SECONDS);
    while capped() == 0 {
        assert!(Instant::now() < deadline, "never capped: {}", stand.agent.log());
        stand.flood_from(LOUD_TOO);
    }
    assert_eq!(stand.count("weir_escalation_bans_total", &[("result", "kernel")]), 1);
    assert_eq!(stand.count("weir_alerts", &[("kind", "ban_cap")]), 1);
}
