use std::{
    fs,
    net::Ipv4Addr,
    thread,
    time::{Duration, Instant},
};

use weir_tests::{frame::Frame, host::Host, namespace::Pair, patience, traffic::Traffic, wire::Wire};

use crate::{FIRST, QUEUED, SECOND, agent_of, configure, install, not_run, set_up};

const PER_SECOND: u32 = 2000;
const A_WHILE: Duration = Duration::from_millis(500);
/// Has used up its burst.
const DEBTOR: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 99);
const BURST: u32 = 600;

/// A host with the first version, which enforces.
fn enforcing() -> (Pair, Host) {
    let (pair, host) = set_up();
    install(&host, FIRST);
    configure(&host, "enforce");
    host.run("systemctl restart weir").unwrap();
    (pair, host)
}

fn spend(pair: &Pair) {
    let wire = pair.client.run(|| Wire::open(Pair::INTERFACE)).unwrap();
    let frame =
        Frame::new().destination_mac(Pair::ELSEWHERE).ipv4(DEBTOR, Pair::SERVER.v4).udp(4000, 443).build();
    for _ in 0..BURST {
        wire.send(&frame).unwrap();
    }
}

/// Returns what the debtor has used of its burst.
fn debt(host: &Host) -> f64 {
    let said = host.run(&format!("weir explain {DEBTOR}")).unwrap();
    let used = said.split("https: ").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok());
    used.unwrap_or_else(|| unreachable!("no limit in: {said}"))
}

#[test]
fn upgraded_under_traffic_and_nothing_is_forgotten() {
    if not_run("upgrade") {
        return;
    }
    let (pair, host) = enforcing();
    host.run("weir ban 203.0.113.7 --for 1h").unwrap();
    spend(&pair);
    let before = (agent_of(&host), debt(&host));
    let traffic = Traffic::start(&pair, &["eth0"], PER_SECOND).unwrap();
    thread::sleep(A_WHILE);
    install(&host, SECOND);
    thread::sleep(A_WHILE);
    let flows = traffic.stop_without_a_gap().unwrap();
    println!("{FIRST} to {SECOND}: {flows:?}; debt {} and then {}", before.1, debt(&host));
    assert!(host.run("dpkg-query --show weir").unwrap().contains(SECOND));
    assert_ne!(agent_of(&host), before.0, "the old agent still runs");
    assert!(host.run("weir bans").unwrap().contains("203.0.113.7"));
    // At one a second some of it has been earned back since.
    assert!(before.1 > 550.0 && debt(&host) > 400.0, "{} and then {}", before.1, debt(&host));
    let config = fs::read_to_string(host.file("/etc/weir/weir.yaml")).unwrap();
    assert!(config.contains("enforce: enforce"), "the administrator's configuration is gone: {config}");
    assert!(host.journal().contains("adopted=true"), "{}", host.journal());
}

#[test]
fn an_agent_that_hangs_is_started_anew_without_a_gap() {
    if not_run("watchdog") {
        return;
    }
    let (pair, host) = set_up();
    install(&host, FIRST);
    configure(&host, "enforce");
    let folder = host.file("/etc/systemd/system/weir.service.d");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("soon.conf"), "[Service]\nWatchdogSec=2\n").unwrap();
    // As docs/install.md has it: a key that only root and the agent can read.
    let example =
        fs::read_to_string(host.file("/usr/share/doc/weir/deploy/systemd/credentials.conf")).unwrap();
    fs::write(folder.join("credentials.conf"), example).unwrap();
    fs::create_dir_all(host.file("/etc/weir/credentials")).unwrap();
    fs::write(host.file("/etc/weir/credentials/crowdsec.key"), "secret").unwrap();
    host.run("systemctl daemon-reload").unwrap();
    host.run("systemctl restart weir").unwrap();
    let hung = agent_of(&host);
    let credential =
        format!("nsenter --target {hung} --mount cat /run/credentials/weir.service/crowdsec.key");
    assert_eq!(host.run(&credential).unwrap(), "secret");

    let traffic = Traffic::start(&pair, &["eth0"], PER_SECOND).unwrap();
    // Twice the time: one that works is left alone.
    thread::sleep(Duration::from_secs(4));
    assert_eq!(agent_of(&host), hung, "{}", host.journal());
    host.run(&format!("kill -STOP {hung}")).unwrap();
    let deadline = Instant::now() + patience::seconds(30);
    while agent_of(&host) == hung
        || host.run("systemctl show --property SubState weir").unwrap().trim() != "SubState=running"
    {
        assert!(Instant::now() < deadline, "{}", host.journal());
        thread::sleep(Duration::from_millis(100));
    }
    println!("hung, and started anew: {:?}", traffic.stop_without_a_gap().unwrap());
    assert_eq!(host.run("systemctl show --property NRestarts --value weir").unwrap().trim(), "1");
}

#[test]
fn removed_under_traffic_nothing_is_left_in_the_kernel_and_purged_nothing_on_disk() {
    if not_run("removal") {
        return;
    }
    let (pair, host) = enforcing();
    host.run("weir ban 203.0.113.7").unwrap();
    let files = host.run("dpkg --listfiles weir").unwrap();
    let dropped = Traffic::start(&pair, &["eth0"], PER_SECOND).unwrap();
    thread::sleep(A_WHILE);
    dropped.stop_without_a_gap().unwrap();
    let traffic = Traffic::start(&pair, &["eth0"], PER_SECOND).unwrap();
    thread::sleep(A_WHILE);
    host.run("dpkg --remove weir").unwrap();
    thread::sleep(A_WHILE);
    let flow = traffic.stop().unwrap()[0];
    // None of the listed before, all after, and of the others all.
    assert!(flow.clean + QUEUED >= flow.sent && flow.listed > 0 && flow.listed < flow.sent, "{flow:?}");
    println!("removed: {flow:?}");
    let pinned: Vec<_> =
        fs::read_dir(host.file("/sys/fs/bpf")).unwrap().flatten().map(|it| it.file_name()).collect();
    assert!(!pinned.iter().any(|name| name == "weir"), "{pinned:?}");
    let links = pair
        .server
        .run(|| Ok(std::process::Command::new("ip").args(["-details", "link"]).output()?))
        .unwrap();
    assert!(!String::from_utf8_lossy(&links.stdout).contains("xdp"), "{links:?}");
    for path in ["/usr/bin/weir", "/run/weir", "/run/weir-bpf", "/usr/lib/systemd/system/weir.service"] {
        assert!(!host.file(path).exists(), "{path} is left");
    }
    // What is the administrator's, or cannot be had again, is purged only.
    assert!(host.file("/etc/weir/weir.yaml").exists() && host.file("/var/lib/weir").exists());

    fs::remove_file(host.file("/etc/weir/bad.netset")).unwrap();
    host.run("dpkg --purge weir").unwrap();
    let own = |path: &&str| path.contains("weir");
    for path in files
        .lines()
        .filter(own)
        .chain(["/var/lib/weir", "/etc/systemd/system/multi-user.target.wants/weir.service"])
    {
        assert!(fs::symlink_metadata(host.file(path)).is_err(), "{path} is left");
    }
}
