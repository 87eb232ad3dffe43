use std::{
    fs,
    net::Ipv4Addr,
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;
use weir_tests::{
    namespace::{Namespace, Pair},
    patience,
    peers::{self, Exabgp},
};

use super::{Asked, started, wait_for_packets};

const BLACKHOLE: &str = "community [ 65535:666 ]";
const FEED: &str = "{name: bgp, bgp: {hold: 6s}, action: drop}";

/// A source that is told what exabgp writes into a file.
struct Told {
    asked: Asked,
    directory: TempDir,
    lines: usize,
}

impl Told {
    fn new() -> Self {
        Self { asked: Asked::new(FEED), directory: TempDir::new().unwrap(), lines: 0 }
    }

    fn command(&self) -> String {
        // The standard output stays open: exabgp takes a process that closes it for dead.
        format!("cat >> {}", self.directory.path().join("lines").display())
    }

    /// Hands on what is new until this is listed.
    fn wait_for(&mut self, namespace: &Namespace, want: &[&str], told_by: &[&Exabgp]) {
        let deadline = Instant::now() + patience::seconds(40);
        let inlet = self.asked.source.inlet().unwrap();
        loop {
            let text = fs::read_to_string(self.directory.path().join("lines")).unwrap_or_default();
            // The last line may be half of one.
            let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
            for line in whole.lines().skip(self.lines) {
                inlet.try_send(line.to_owned()).unwrap();
                self.lines += 1;
            }
            self.asked.ask(namespace).unwrap();
            if self.asked.listed() == want {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "{:?} rather than {want:?}\n{text}\n{:?}",
                self.asked.listed(),
                told_by.iter().map(|peer| peer.log()).collect::<Vec<_>>()
            );
            thread::sleep(Duration::from_millis(50));
        }
    }
}

#[test]
fn routes_come_and_go_with_their_session() {
    let namespace = Namespace::new().unwrap();
    let mut told = Told::new();
    let Some(listener) = Exabgp::listen(&namespace, &told.command()).unwrap() else {
        peers::missing("bgp::routes_come_and_go_with_their_session", "exabgp");
        return;
    };
    let routes = format!(
        "route 203.0.113.66/32 next-hop 192.0.2.1 {BLACKHOLE};
         route 198.51.100.0/24 next-hop 192.0.2.1;
         route 0.0.0.0/1 next-hop 192.0.2.1 {BLACKHOLE};
         route 2001:db8:bad::/48 next-hop 2001:db8::1 {BLACKHOLE};"
    );
    let flows = "route drop { match { source 198.51.100.7/32; } then { discard; } }
        route slow { match { source 198.51.100.8/32; destination 0.0.0.0/0; } then { rate-limit 9600; } }
        route narrow { match { source 198.51.100.9/32; protocol tcp; destination-port =443; } then { discard; } }
        route v6 { match { source 2001:db8:bad:1::/64; } then { discard; } }";
    let mut speaker = Exabgp::speak(&namespace, &routes, flows).unwrap().unwrap();
    let all = [
        "198.51.100.7/32",
        "2001:db8:bad:1::/64",
        "2001:db8:bad::/48",
        "203.0.113.66/32",
        "~198.51.100.8/32",
    ];
    told.wait_for(&namespace, &all, &[&listener, &speaker]);
    assert_eq!((told.asked.rejected.unselected, told.asked.rejected.too_wide), (1, 1));

    // The session ends, and another one begins with less: what is missing goes when all has been told.
    let less = format!("route 203.0.113.66/32 next-hop 192.0.2.1 {BLACKHOLE};");
    let other = "route drop { match { source 198.51.100.77/32; } then { discard; } }";
    speaker.say(&less, other).unwrap();
    told.wait_for(&namespace, &["198.51.100.77/32", "203.0.113.66/32"], &[&listener, &speaker]);

    // It ends for good: everything stands for a while, and then goes.
    speaker.stop().unwrap();
    thread::sleep(Duration::from_secs(2));
    told.wait_for(&namespace, &["198.51.100.77/32", "203.0.113.66/32"], &[&listener, &speaker]);
    let held = Instant::now();
    told.wait_for(&namespace, &[], &[&listener, &speaker]);
    assert!(held.elapsed() < patience::seconds(30), "{:?}", held.elapsed());
}

#[test]
fn a_route_becomes_a_dropped_packet() {
    let pair = Pair::new().unwrap();
    let agent = started(&pair, FEED);
    let receive = agent.command(&["feeds", "receive", "bgp"]);
    // As exabgp's configuration would have it, with the environment of this agent.
    let variables = receive
        .get_envs()
        .filter_map(|(name, value)| Some(format!("{}={} ", name.to_str()?, value?.to_str()?)));
    let words = std::iter::once(receive.get_program()).chain(receive.get_args());
    let words: Vec<_> = words.map(|word| word.to_str().unwrap()).collect();
    let command = format!("{}{}", variables.collect::<String>(), words.join(" "));
    let Some(mut listener) = Exabgp::listen(&pair.server, &command).unwrap() else {
        peers::missing("bgp::a_route_becomes_a_dropped_packet", "exabgp");
        return;
    };
    let [listed, other] = [Ipv4Addr::new(203, 0, 113, 66), Ipv4Addr::new(198, 51, 100, 7)];
    let routes = format!("route {listed}/32 next-hop 192.0.2.1 {BLACKHOLE};");
    let mut speaker = Exabgp::speak(&pair.server, &routes, "").unwrap().unwrap();
    wait_for_packets(&pair, &agent, listed, true);
    wait_for_packets(&pair, &agent, other, false);
    let flow = format!("route drop {{ match {{ source {other}/32; }} then {{ discard; }} }}");
    speaker.say("", &flow).unwrap();
    wait_for_packets(&pair, &agent, other, true);
    wait_for_packets(&pair, &agent, listed, false);
    // The session is held, and then it is over.
    speaker.stop().unwrap();
    wait_for_packets(&pair, &agent, other, true);
    wait_for_packets(&pair, &agent, other, false);
    // The same where exabgp itself ends, and has no time to say so.
    speaker.say(&routes, "").unwrap();
    wait_for_packets(&pair, &agent, listed, true);
    listener.kill().unwrap();
    wait_for_packets(&pair, &agent, listed, true);
    wait_for_packets(&pair, &agent, listed, false);
}
