//! Three gateways and a Redis of Debian, on a network of their own: what one bans all drop.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use weir_tests::{
    agent::{Agent, binary},
    control::Control,
    frame::{Frame, Sight},
    namespace::{Namespace, Pair},
    patience,
    peers::{Program, missing},
    wire::{Receiver, Wire},
};

const PASSWORD: &str = "0123456789abcdef";
const REDIS: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 254);
const HONEST: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 77);
/// How long it may take until all do what one does.
const SOON_SECONDS: u64 = 1;
/// How long it may take until a broken connection is noticed, and made anew.
const LATER_SECONDS: u64 = 20;

struct Gateway {
    pair: Pair,
    agent: Agent,
}

struct Fleet {
    hub: Namespace,
    redis: Option<Program>,
    directory: tempfile::TempDir,
    gateways: Vec<Gateway>,
}

impl Fleet {
    /// Builds one of three; nothing: there is no Redis.
    fn new() -> Result<Option<Self>> {
        let hub = Namespace::new()?;
        hub.ip(&format!("link add br0 type bridge\nlink set br0 up\naddress add {REDIS}/24 dev br0\n"))?;
        let directory = tempfile::Builder::new().prefix("fleet-").tempdir()?;
        let mut fleet = Self { hub, redis: None, directory, gateways: Vec::new() };
        if !fleet.start_redis()? {
            return Ok(None);
        }
        for name in ["a", "b", "c"] {
            let gateway = fleet.gateway(name)?;
            fleet.gateways.push(gateway);
        }
        for (number, _) in fleet.gateways.iter().enumerate() {
            fleet.wait(LATER_SECONDS, "all are connected", || fleet.connected(number));
        }
        Ok(Some(fleet))
    }

    /// A Redis that knows nothing, and a user for the gateways.
    fn start_redis(&mut self) -> Result<bool> {
        let Some(program) = Program::find("redis-server") else { return Ok(false) };
        let users = self.directory.path().join("users");
        fs::write(
            &users,
            format!(
                "user default off\nuser weir on >{PASSWORD} ~weir:fleet:* +@all -@dangerous\nuser admin on >{PASSWORD} ~* +@all\n"
            ),
        )?;
        let address = REDIS.to_string();
        let users = users.display().to_string();
        let arguments = ["--bind", &address, "--save", "", "--appendonly", "no", "--aclfile", &users];
        let at = Some((REDIS, 6379).into());
        self.redis = Some(Program::start(&self.hub, &program, &arguments, self.directory.path(), at)?);
        Ok(true)
    }

    fn gateway(&self, name: &str) -> Result<Gateway> {
        let pair = Pair::new()?;
        let number = self.gateways.len() + 1;
        self.hub.ip(&format!(
            "link add g{number} type veth peer name fleet0 netns {}\nlink set g{number} master br0 up\n",
            pair.server.path().display()
        ))?;
        pair.server.ip(&format!("address add 10.9.0.{number}/24 dev fleet0\nlink set fleet0 up\n"))?;
        let mut agent = Agent::new(binary()?, &pair.server)?;
        let password = agent.write("password", format!("{PASSWORD}\n"))?;
        fs::set_permissions(&password, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
        agent.configure(&format!(
            "enforce: enforce
interfaces: [{{name: {}}}]
listen: {{metrics: {}}}
l7:
  fleet: {{redis: 'redis://{REDIS}:6379', user: weir, password_file: {}, name: {name}}}
",
            Pair::INTERFACE,
            Agent::METRICS,
            password.display(),
        ))?;
        agent.start()?;
        Ok(Gateway { pair, agent })
    }

    /// Waits for something, and fails the test where it does not come.
    fn wait(&self, seconds: u64, what: &str, is_so: impl Fn() -> bool) -> Duration {
        let started = Instant::now();
        while !is_so() {
            assert!(started.elapsed() < patience::seconds(seconds), "not so: {what}\n{}", self.why());
            thread::sleep(Duration::from_millis(5));
        }
        started.elapsed()
    }

    fn why(&self) -> String {
        let logs = self.gateways.iter().map(|gateway| gateway.agent.log());
        let bans = self.gateways.iter().map(|gateway| gateway.weir(&["bans"]));
        logs.chain(bans).collect::<Vec<_>>().join("\n----\n")
    }

    fn connected(&self, number: usize) -> bool {
        self.gateways[number].count("weir_fleet_connected", &[]) == 1
    }

    /// Returns how many entries of the stream say this.
    fn entries(&self, action: &str) -> usize {
        let text = self.redis_cli(&["--json", "XRANGE", "weir:fleet:bans", "-", "+"]);
        text.matches(&format!("\"action\",\"{action}\"")).count()
    }

    fn redis_cli(&self, arguments: &[&str]) -> String {
        let program = Program::find("redis-cli").unwrap();
        let host = REDIS.to_string();
        let login = ["-h", &host, "--user", "admin", "--pass", PASSWORD, "--no-auth-warning"];
        let mut command = Program::command(&self.hub, &program, &[&login[..], arguments].concat());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Gateway {
    fn weir(&self, arguments: &[&str]) -> String {
        let output = self.agent.weir(arguments).unwrap();
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    }

    /// Runs a command that must succeed.
    fn order(&self, arguments: &[&str]) {
        let output = self.agent.weir(arguments).unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}\n{}", self.agent.log());
    }

    /// Returns the rule of an address, as the control API has it.
    fn rule(&self, address: &str) -> Option<String> {
        let mut control = Control::connect(&self.agent.socket()).ok()?;
        let (status, body) = control.request("GET", &format!("/v1/rules/{address}"), "").ok()?;
        (status == 200).then_some(body)
    }

    fn count(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        self.agent.metrics().map_or(0, |metrics| metrics.count(name, labels))
    }

    /// Sends ten frames from each of two sources, and returns how many of each got past the kernel.
    fn deliver(&self, source: &str) -> [usize; 2] {
        let sources = [source.parse().unwrap(), HONEST];
        let server = &self.pair.server;
        let receiver =
            server.run(|| Receiver::start(Pair::INTERFACE, |frame| Some(Sight::of(frame)?.source))).unwrap();
        let wire = self.pair.client.run(|| Wire::open(Pair::INTERFACE)).unwrap();
        for source in sources {
            let frame = Frame::new().ipv4(source, Pair::SERVER.v4).udp(4000, 53).build();
            (0..10).for_each(|_| wire.send(&frame).unwrap());
        }
        assert!(receiver.wait_for(&IpAddr::V4(HONEST), 10, patience::seconds(5)));
        let arrivals = receiver.stop().unwrap();
        sources.map(|source| arrivals.packets(&IpAddr::V4(source)))
    }
}

fn state(agent: &Agent) -> String {
    fs::read_to_string(Path::new(agent.directory()).join("state/fleet.json")).unwrap_or_default()
}

#[test]
fn what_one_bans_all_drop_within_a_second() {
    let Some(fleet) = Fleet::new().unwrap() else { return missing("fleet", "redis-server") };
    let [a, b, c] = &fleet.gateways[..] else { panic!("three") };
    for (number, last) in (1_u8..=5).enumerate() {
        let address = format!("203.0.113.{last}");
        let started = Instant::now();
        a.order(&["ban", &address, "--for", "10m", "--note", "too loud"]);
        fleet.wait(SOON_SECONDS, "banned at b and c", || {
            [b, c].iter().all(|gateway| gateway.rule(&address).is_some())
        });
        println!("ban {number}: {:?} with the command", started.elapsed());
    }
    for gateway in [a, b, c] {
        assert_eq!(gateway.deliver("203.0.113.1"), [0, 10]);
    }
    let rule = b.rule("203.0.113.1").unwrap();
    assert!(rule.contains("fleet:a") && rule.contains("too loud"), "{rule}");
    // Nobody says again what he has heard.
    assert_eq!(fleet.entries("ban"), 5);
    assert_eq!(b.count("weir_fleet_entries_total", &[("direction", "out"), ("result", "ban")]), 0);
    assert!(state(&b.agent).contains("\"place\":\""), "{}", state(&b.agent));

    a.order(&["unban", "203.0.113.1"]);
    let gone =
        |address: &'static str| move || [a, b, c].iter().all(|gateway| gateway.rule(address).is_none());
    fleet.wait(SOON_SECONDS, "lifted at b and c", gone("203.0.113.1"));
    assert_eq!(c.deliver("203.0.113.1"), [10, 10]);
    // Whoever complains, complains somewhere.
    c.order(&["unban", "203.0.113.2"]);
    fleet.wait(SOON_SECONDS, "lifted at a and b", gone("203.0.113.2"));

    // What an operator has said of it here stands.
    b.order(&["allow", "203.0.113.20", "--for", "10m"]);
    a.order(&["ban", "203.0.113.20", "--for", "10m"]);
    fleet.wait(SOON_SECONDS, "banned at c", || c.rule("203.0.113.20").is_some());
    fleet.wait(SOON_SECONDS, "heard at b", || {
        b.count("weir_fleet_entries_total", &[("direction", "in"), ("result", "stands")]) == 1
    });
    assert_eq!(b.deliver("203.0.113.20"), [10, 10]);
    // Shorter than before, in the same words.
    a.order(&["ban", "203.0.113.3", "--for", "2s"]);
    fleet.wait(SOON_SECONDS + 5, "ended everywhere", gone("203.0.113.3"));

    // One for proxies and one in shadow mode.
    a.order(&["ban", "203.0.113.30", "--for", "10m", "--proxy-only"]);
    a.order(&["ban", "203.0.113.31", "--for", "10m", "--shadow"]);
    fleet.wait(SOON_SECONDS, "banned at c's proxies", || c.rule("203.0.113.30").is_some());
    assert_eq!(c.deliver("203.0.113.30"), [10, 10]);
    assert!(c.rule("203.0.113.31").is_none());
    // Somebody writes nonsense into the stream.
    fleet.redis_cli(&["XADD", "weir:fleet:bans", "*", "origin", "x", "action", "ban", "prefix", "0.0.0.0/0"]);
    fleet.redis_cli(&["XADD", "weir:fleet:bans", "*", "\u{1}", "\u{2}"]);
    fleet.wait(SOON_SECONDS, "passed over", || {
        b.count("weir_fleet_entries_total", &[("direction", "in"), ("result", "malformed")]) == 2
    });
    a.order(&["ban", "203.0.113.40", "--for", "10m"]);
    fleet.wait(SOON_SECONDS, "banned at b", || b.rule("203.0.113.40").is_some());
}

#[test]
fn who_was_cut_off_catches_up() {
    let Some(fleet) = Fleet::new().unwrap() else { return missing("fleet", "redis-server") };
    let [a, b, c] = &fleet.gateways[..] else { panic!("three") };
    a.order(&["ban", "203.0.113.1", "203.0.113.2", "--for", "10m"]);
    fleet.wait(SOON_SECONDS, "banned at c", || c.rule("203.0.113.2").is_some());
    let resyncs = c.count("weir_fleet_resyncs_total", &[]);
    fleet.hub.ip("link set g3 down").unwrap();
    a.order(&["ban", "203.0.113.3", "--for", "10m"]);
    a.order(&["unban", "203.0.113.2"]);
    c.order(&["ban", "203.0.113.4", "--for", "10m"]);
    // It goes on alone.
    assert_eq!(c.deliver("203.0.113.4"), [0, 10]);
    fleet.wait(LATER_SECONDS, "it is known", || !fleet.connected(2));
    assert!(c.rule("203.0.113.2").is_some() && c.rule("203.0.113.3").is_none());
    assert!(b.rule("203.0.113.3").is_some() && b.rule("203.0.113.4").is_none());
    fleet.hub.ip("link set g3 up").unwrap();
    let took = fleet.wait(LATER_SECONDS, "all are the same", || {
        let has = |gateway: &Gateway, last: u8| gateway.rule(&format!("203.0.113.{last}")).is_some();
        [a, b, c]
            .iter()
            .all(|gateway| has(gateway, 1) && !has(gateway, 2) && has(gateway, 3) && has(gateway, 4))
    });
    println!("healed: {took:?}");
    assert_eq!(fleet.entries("ban"), 4);
    // It has read on where it was.
    assert_eq!(c.count("weir_fleet_resyncs_total", &[]), resyncs);
}

#[test]
fn a_redis_that_has_forgotten_all_learns_it_again() {
    let Some(mut fleet) = Fleet::new().unwrap() else { return missing("fleet", "redis-server") };
    let [a, b, _] = &fleet.gateways[..] else { panic!("three") };
    a.order(&["ban", "203.0.113.1", "203.0.113.2", "--for", "10m"]);
    b.order(&["ban", "203.0.113.3", "--for", "10m"]);
    let banned = |gateway: &Gateway| -> Vec<u8> {
        (1..=9).filter(|last| gateway.rule(&format!("203.0.113.{last}")).is_some()).collect()
    };
    let all =
        |fleet: &Fleet, expected: &[u8]| fleet.gateways.iter().all(|gateway| banned(gateway) == expected);
    fleet.wait(SOON_SECONDS, "all have all", || all(&fleet, &[1, 2, 3]));
    // One gateway is away, one lifts a ban that nobody hears of.
    fleet.gateways[0].agent.stop().unwrap();
    drop(fleet.redis.take());
    fleet.gateways[1].order(&["unban", "203.0.113.3"]);
    fleet.wait(LATER_SECONDS, "it is known", || !fleet.connected(2));
    fleet.start_redis().unwrap();
    fleet.wait(LATER_SECONDS, "connected", || fleet.connected(1) && fleet.connected(2));
    fleet.wait(LATER_SECONDS, "lifted at c", || banned(&fleet.gateways[2]) == [1, 2]);
    assert_eq!(fleet.gateways[2].deliver("203.0.113.1"), [0, 10]);
    fleet.gateways[0].agent.start().unwrap();
    fleet.wait(LATER_SECONDS, "connected", || fleet.connected(0));
    fleet.wait(LATER_SECONDS, "a has said all", || fleet.entries("all") == 3);
    thread::sleep(Duration::from_millis(500));
    assert!(all(&fleet, &[1, 2]), "{}", fleet.why());
    assert_eq!(fleet.entries("ban"), 2);
    fleet.gateways[0].order(&["unban", "203.0.113.1"]);
    fleet.wait(SOON_SECONDS, "lifted", || all(&fleet, &[2]));
    // All is lost while everybody is there.
    fleet.redis_cli(&["FLUSHALL"]);
    fleet.wait(LATER_SECONDS, "published anew", || fleet.entries("ban") == 1 && all(&fleet, &[2]));
}

#[test]
fn whoever_is_too_far_behind_takes_all_anew() {
    let Some(mut fleet) = Fleet::new().unwrap() else { return missing("fleet", "redis-server") };
    fleet.gateways[0].order(&["ban", "203.0.113.1", "203.0.113.2", "--for", "10m"]);
    fleet.wait(SOON_SECONDS, "banned at c", || fleet.gateways[2].rule("203.0.113.2").is_some());
    fleet.gateways[2].agent.stop().unwrap();
    fleet.gateways[0].order(&["unban", "203.0.113.1"]);
    fleet.gateways[0].order(&["ban", "203.0.113.3", "--for", "10m"]);
    fleet.gateways[0].order(&["ban", "203.0.113.4", "--for", "1s"]);
    fleet.wait(SOON_SECONDS, "published", || fleet.entries("ban") == 4);
    fleet.redis_cli(&["XTRIM", "weir:fleet:bans", "MAXLEN", "0"]);
    thread::sleep(Duration::from_secs(2));
    fleet.gateways[2].agent.start().context("start c").unwrap();
    let c = &fleet.gateways[2];
    fleet.wait(LATER_SECONDS, "as a", || {
        let has = |last: u8| c.rule(&format!("203.0.113.{last}")).is_some();
        !has(1) && has(2) && has(3) && !has(4)
    });
    assert_eq!(c.count("weir_fleet_resyncs_total", &[]), 1);
}

#[test]
fn the_last_word_is_kept_for_who_is_away() {
    let Some(mut fleet) = Fleet::new().unwrap() else { return missing("fleet", "redis-server") };
    let author = |fleet: &Fleet, number: usize, address: &str| {
        let rule = fleet.gateways[number].rule(address).unwrap_or_default();
        ["fleet:a", "fleet:b", "operator"]
            .into_iter()
            .find(|author| rule.contains(author))
            .unwrap_or("nobody")
    };
    // Two have banned it; the longer one is lifted.
    fleet.gateways[0].order(&["ban", "203.0.113.1", "--for", "10m"]);
    fleet.wait(SOON_SECONDS, "a's at c", || author(&fleet, 2, "203.0.113.1") == "fleet:a");
    fleet.gateways[1].order(&["ban", "203.0.113.1", "--for", "20m"]);
    fleet.wait(SOON_SECONDS, "b's at c", || author(&fleet, 2, "203.0.113.1") == "fleet:b");
    fleet.gateways[1].order(&["unban", "203.0.113.1"]);
    fleet.wait(SOON_SECONDS, "a's again", || author(&fleet, 2, "203.0.113.1") == "fleet:a");
    assert_eq!(author(&fleet, 0, "203.0.113.1"), "operator");
    // Its ban is lifted elsewhere while it is away, and it does not make it again.
    fleet.gateways[0].order(&["ban", "203.0.113.2", "203.0.113.3", "--for", "10m"]);
    fleet.wait(SOON_SECONDS, "a's at b and c", || {
        author(&fleet, 1, "203.0.113.3") == "fleet:a" && author(&fleet, 2, "203.0.113.3") == "fleet:a"
    });
    fleet.gateways[0].agent.stop().unwrap();
    fleet.gateways[2].order(&["unban", "203.0.113.2"]);
    fleet.wait(SOON_SECONDS, "lifted at b", || author(&fleet, 1, "203.0.113.2") == "nobody");
    fleet.gateways[0].agent.start().unwrap();
    fleet.wait(LATER_SECONDS, "connected", || fleet.connected(0));
    fleet.wait(SOON_SECONDS, "lifted at a", || author(&fleet, 0, "203.0.113.2") == "nobody");
    thread::sleep(Duration::from_millis(300));
    for number in 0..3 {
        assert_eq!(author(&fleet, number, "203.0.113.2"), "nobody", "{number}\n{}", fleet.why());
    }
    assert_eq!(author(&fleet, 0, "203.0.113.3"), "operator");
    assert_eq!(author(&fleet, 1, "203.0.113.3"), "fleet:a");
}
