//! Attaching and detaching: every mode, what stands in its way, and interfaces that come and go.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::{
    fs,
    net::Ipv4Addr,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use aya::programs::{
    LinkOrder, SchedClassifier, TcAttachType, Xdp, XdpMode,
    tc::{SchedClassifierLinkId, TcAttachOptions},
};
use aya_obj::programs::XdpAttachType;
use nix::sys::signal::Signal;
use weir::datapath::Pins;
use weir_tests::{
    agent::{Agent, binary},
    frame::{Frame, Sight, tpid},
    namespace::{Namespace, Pair},
    traffic::Traffic,
    wire::{Receiver, Wire},
};

const PER_SECOND: u32 = 2000;
const PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(300);

fn agent(pair: &Pair, interfaces: &[(&str, &str)]) -> Agent {
    let agent = Agent::new(binary().unwrap(), &pair.server).unwrap();
    agent.write("bad.netset", format!("{}\n", Traffic::LISTED)).unwrap();
    configure(&agent, interfaces);
    agent
}

fn configure(agent: &Agent, interfaces: &[(&str, &str)]) {
    let list: Vec<_> =
        interfaces.iter().map(|(name, mode)| format!("{{name: {name}, mode: {mode}}}")).collect();
    let (list, directory) = (list.join(", "), agent.directory().display());
    agent
        .configure(&format!(
            "enforce: enforce
interfaces: [{list}]
feeds: [{{name: bad, path: {directory}/bad.netset, action: drop}}]
listen: {{metrics: 127.0.0.1:9646}}
tables: {{limiter: 8MiB}}
"
        ))
        .unwrap();
}

fn attached(agent: &Agent, interface: &str, mode: &str) -> bool {
    let labels = [("interface", interface), ("mode", mode)];
    agent.metrics().unwrap().sum("weir_interface_attached", &labels) > 0.5
}

fn wait_until(agent: &Agent, what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "not in time: {what}\n{}", agent.log());
        thread::sleep(Duration::from_millis(10));
    }
}

/// Runs an agent that must not start, and returns what it says.
fn refusal(agent: &Agent) -> String {
    let output = agent.weir(&["run"]).unwrap();
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{message}");
    message
}

/// Our programs, pinned by an agent and unknown to any other: as foreign as any.
struct Foreign {
    xdp: Xdp,
    tcx: SchedClassifier,
}

impl Foreign {
    /// Loads them in another BPF filesystem, so that nothing of them is among the agent's pins.
    fn load(namespace: &Namespace) -> Self {
        let load = || {
            let directory = tempfile::tempdir()?;
            let pins = Pins::new(directory.path());
            pins.create()?;
            let sizes = weir_common::map::Sizes { v4_bits: 17, v6_bits: 10, limiter_bits: 17 };
            weir::datapath::Datapath::open(&pins, pins.lock()?, sizes, 1)?;
            let xdp = Xdp::from_pin(pins.program(), XdpAttachType::Interface)?;
            let tcx = SchedClassifier::from_pin(pins.tcx_program())?;
            pins.remove()?;
            nix::mount::umount(directory.path())?;
            Ok(Self { xdp, tcx })
        };
        namespace.run(load).unwrap()
    }

    fn attach_tcx(&mut self, pair: &Pair) -> SchedClassifierLinkId {
        let options = TcAttachOptions::TcxOrder(LinkOrder::default());
        let attach = || Ok(self.tcx.attach_with_options(Pair::INTERFACE, TcAttachType::Ingress, options)?);
        pair.server.run(attach).unwrap()
    }
}

/// Returns the number of the XDP program of an interface.
fn xdp_of(pair: &Pair, interface: &str) -> Option<String> {
    let output = pair.server.command("ip").args(["link", "show", "dev", interface]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.split("prog/xdp id ").nth(1)?.split(' ').next().map(str::to_owned)
}

#[test]
fn a_foreign_program_is_named_and_left_alone_and_tcx_judges_behind_it() {
    let pair = Pair::new().unwrap();
    pair.bridge(&["eth0"]).unwrap();
    let mut foreign = Foreign::load(&pair.server);
    pair.server.run(|| Ok(foreign.xdp.attach("eth0", XdpMode::Driver)?)).unwrap();
    let before = xdp_of(&pair, "eth0").unwrap();
    let mut agent = agent(&pair, &[("eth0", "native")]);
    for mode in ["native", "generic"] {
        configure(&agent, &[("eth0", mode)]);
        let message = refusal(&agent);
        for want in ["attach eth0", &format!("{mode}: program {before} `weir`"), "was left alone"] {
            assert!(message.contains(want), "no `{want}` in: {message}");
        }
        // Whose it is: this process holds it.
        assert!(message.contains(&format!("held by process {}", std::process::id())), "{message}");
    }
    // With auto TCX judges behind it.
    configure(&agent, &[("eth0", "auto")]);
    agent.start().unwrap();
    assert!(attached(&agent, "eth0", "tcx"));
    assert!(agent.log().contains(&format!("native: program {before} `weir`")), "{}", agent.log());
    let traffic = Traffic::start(&pair, &["eth0"], PER_SECOND).unwrap();
    thread::sleep(PAUSE);
    println!("behind a foreign XDP program: {:?}", traffic.stop_without_a_gap().unwrap());
    assert_eq!(xdp_of(&pair, "eth0").unwrap(), before, "the foreign program was touched");
    // Once it is gone, a reload takes the better place.
    drop(foreign);
    wait_until(&agent, "the foreign program is gone", || xdp_of(&pair, "eth0").is_none());
    let traffic = Traffic::start(&pair, &["eth0"], PER_SECOND).unwrap();
    agent.signal(Signal::SIGHUP).unwrap();
    wait_until(&agent, "native", || attached(&agent, "eth0", "native"));
    thread::sleep(PAUSE);
    println!("from tcx to native: {:?}", traffic.stop_without_a_gap().unwrap());
}

#[test]
fn tcx_runs_beside_other_programs() {
    let pair = Pair::new().unwrap();
    pair.bridge(&["eth0"]).unwrap();
    let mut foreign = Foreign::load(&pair.server);
    foreign.attach_tcx(&pair);
    let count = |foreign: &SchedClassifier| foreign.info().unwrap().run_count();
    fs::write("/proc/sys/kernel/bpf_stats_enabled", "1").unwrap();
    let mut agent = agent(&pair, &[("eth0", "tcx")]);
    agent.start().unwrap();
    let before = count(&foreign.tcx);
    let traffic = Traffic::start(&pair, &["eth0"], PER_SECOND).unwrap();
    thread::sleep(PAUSE);
    let [flow] = traffic.stop_without_a_gap().unwrap()[..] else { unreachable!("one interface") };
    let after = count(&foreign.tcx);
    fs::write("/proc/sys/kernel/bpf_stats_enabled", "0").unwrap();
    println!("{flow:?}; the program behind ours saw {}", after - before);
    // What passes goes on to it, what is dropped does not: ours is in front, though it came later.
    let seen = usize::try_from(after - before).unwrap();
    assert!((flow.sent..flow.sent + 50).contains(&seen), "{seen} of {}", flow.sent);
    agent.stop().unwrap();
    assert!(agent.weir(&["unload"]).unwrap().status.success());
    let (_, left) =
        pair.server.run(|| Ok(SchedClassifier::query_tcx("eth0", TcAttachType::Ingress)?)).unwrap();
    assert_eq!(left.len(), 1, "the foreign program was touched, or ours is left");
}

#[test]
fn refusals_name_the_cause_and_the_mend() {
    let pair = Pair::new().unwrap();
    // The client sends on four queues, the server receives on one.
    pair.add_cable("eth1", 4).unwrap();
    pair.server.ip("tuntap add tun0 mode tun\nlink set tun0 up\nlink add br0 type bridge").unwrap();
    let agent = agent(&pair, &[]);
    for (interface, mode, wants) in [
        (
            "eth1",
            "native",
            &[
                "attach eth1: native: too few queues",
                "XDP expects number of rx queues",
                "ethtool -L eth1 rx N",
                "mode: generic",
            ][..],
        ),
        ("br0", "native", &["attach br0: native: the driver (bridge) cannot run XDP", "mode: generic"]),
        ("tun0", "auto", &["attach tun0: its frames have no Ethernet header"]),
        ("eth7", "auto", &["attach eth7: no such interface", "`ip link`"]),
    ] {
        configure(&agent, &[(interface, mode)]);
        let message = refusal(&agent);
        for want in wants {
            assert!(message.contains(want), "no `{want}` in: {message}");
        }
    }
}

#[test]
fn auto_takes_the_next_mode_and_says_why() {
    let pair = Pair::new().unwrap();
    pair.add_cable("eth1", 4).unwrap();
    pair.bridge(&["eth0", "eth1"]).unwrap();
    let mut agent = agent(&pair, &[("eth0", "auto"), ("eth1", "auto")]);
    agent.start().unwrap();
    assert!(attached(&agent, "eth0", "native") && attached(&agent, "eth1", "generic"));
    let log = agent.log();
    assert!(log.contains("native: too few queues"), "{log}");
    let status = agent.weir(&["status"]).unwrap();
    let status = String::from_utf8_lossy(&status.stdout);
    assert!(status.contains("eth0 (native)") && status.contains("eth1 (generic)"), "{status}");
}

/// In TCX the stack has moved an outer tag out of the frame. Of a long frame only the beginning is
/// where a program can read directly: a packet socket fills it like that, and native XDP has it in
/// several buffers.
#[test]
fn native_generic_and_tcx_find_sources_behind_tags_and_in_long_frames() {
    let pair = Pair::with_mtu(9000).unwrap();
    pair.bridge(&["eth0"]).unwrap();
    let frames = |source: Ipv4Addr| {
        let frame = || Frame::new().destination_mac(Pair::ELSEWHERE).ipv4(source, Pair::SERVER.v4).udp(1, 53);
        [
            frame(),
            frame().vlan(tpid::VLAN, 5),
            frame().vlan(tpid::QINQ, 5),
            frame().vlan(tpid::QINQ, 5).vlan(tpid::VLAN, 6),
            frame().vlan(tpid::QINQ_OLD, 5).vlan(tpid::VLAN, 6),
            frame().payload(&[7; 8000]),
            frame().vlan(tpid::VLAN, 5).payload(&[7; 8000]),
            frame().vlan(tpid::QINQ, 5).vlan(tpid::VLAN, 6).payload(&[7; 8000]),
        ]
    };
    for mode in ["native", "generic", "tcx"] {
        let mut agent = agent(&pair, &[("eth0", mode)]);
        agent.start().unwrap();
        let receiver = || Receiver::start(Pair::BEHIND, |frame| Some(Sight::of(frame)?.source));
        let receiver = pair.server.run(receiver).unwrap();
        let wire = pair.client.run(|| Wire::open("eth0")).unwrap();
        for source in [Traffic::LISTED, Traffic::CLEAN] {
            for frame in frames(source) {
                wire.send(&frame.build()).unwrap();
            }
        }
        let arrivals = receiver.stop().unwrap();
        assert_eq!(arrivals.packets(&Traffic::LISTED.into()), 0, "{mode}");
        assert_eq!(arrivals.packets(&Traffic::CLEAN.into()), 8, "{mode}");
        let dropped = agent.metrics().unwrap().sum("weir_packets_total", &[("reason", "feed")]);
        assert!((dropped - 8.0).abs() < 0.5, "{mode}: {dropped} of 8 were dropped for the list");
        assert!(agent.weir(&["unload"]).unwrap().status.success());
    }
}

#[test]
fn tcx_is_refused_where_packets_have_no_length() {
    let pair = Pair::new().unwrap();
    let agent = agent(&pair, &[("eth0", "tcx")]);
    pair.server.ip("link set eth0 gro_max_size 131072").unwrap();
    let message = refusal(&agent);
    assert!(message.contains("tcx: GRO makes packets of up to 131072 bytes"), "{message}");
    assert!(message.contains("gro_max_size 65536"), "{message}");
}

#[test]
fn unload_leaves_nothing_of_native_generic_and_tcx() {
    let interfaces = [("eth0", "native"), ("eth1", "generic"), ("eth2", "tcx")];
    let pair = Pair::new().unwrap();
    pair.add_cable("eth1", 1).unwrap();
    pair.add_cable("eth2", 1).unwrap();
    pair.bridge(&["eth0", "eth1", "eth2"]).unwrap();
    let mut agent = agent(&pair, &interfaces);
    agent.start().unwrap();
    let traffic = Traffic::start(&pair, &["eth0", "eth1", "eth2"], PER_SECOND).unwrap();
    thread::sleep(PAUSE);
    println!("all modes: {:?}", traffic.stop_without_a_gap().unwrap());
    let status = agent.weir(&["status"]).unwrap();
    let status = String::from_utf8_lossy(&status.stdout);
    assert!(interfaces.iter().all(|(name, mode)| status.contains(&format!("{name} ({mode})"))), "{status}");
    // With an agent at work, and at once.
    let output = agent.weir(&["unload"]).unwrap();
    assert!(output.status.success(), "{output:?}");
    for interface in ["eth0", "eth1", "eth2"] {
        assert_eq!(xdp_of(&pair, interface), None, "{interface}");
        let query = || Ok(SchedClassifier::query_tcx(interface, TcAttachType::Ingress)?);
        assert_eq!(pair.server.run(query).unwrap().1.len(), 0, "{interface}");
    }
    assert!(!pair.server.run(|| Ok(Path::new("/sys/fs/bpf/weir").exists())).unwrap(), "pins are left");
    // And the agent does not put it back.
    let traffic = Traffic::start(&pair, &["eth0", "eth1", "eth2"], PER_SECOND).unwrap();
    thread::sleep(Duration::from_secs(4));
    for flow in traffic.stop().unwrap() {
        assert_eq!((flow.listed, flow.clean), (flow.sent, flow.sent), "attached again");
    }
}

#[test]
fn an_interface_that_is_made_anew_is_attached_again() {
    let pair = Pair::new().unwrap();
    pair.add_cable("eth1", 1).unwrap();
    pair.bridge(&["eth0", "eth1"]).unwrap();
    let mut agent = agent(&pair, &[("eth0", "auto"), ("eth1", "auto")]);
    agent.start().unwrap();
    let traffic = Traffic::start(&pair, &["eth0"], PER_SECOND).unwrap();
    let mut reloads = 0.0;
    for _ in 0..3 {
        pair.server.ip("link delete eth1").unwrap();
        wait_until(&agent, "gone", || {
            !attached(&agent, "eth1", "native")
                && agent.metrics().unwrap().sum("weir_interface_attached", &[]) > 0.5
        });
        // A reload meanwhile goes without it.
        agent.signal(Signal::SIGHUP).unwrap();
        reloads += 1.0;
        let reloaded = || agent.metrics().unwrap().sum("weir_config_reloads_total", &[("result", "ok")]);
        wait_until(&agent, "reloaded", || reloaded() > reloads - 0.5);
        pair.add_cable("eth1", 1).unwrap();
        let made = Instant::now();
        wait_until(&agent, "back", || attached(&agent, "eth1", "native"));
        println!("attached {:?} after it was made", made.elapsed());
        pair.server.ip("link set eth1 master br0").unwrap();
        // A bridge takes a port into service when it gets to it, later where the machine is busy.
        let said = |name: &str| fs::read_to_string(format!("/sys/class/net/eth1/{name}")).unwrap_or_default();
        // BR_STATE_FORWARDING
        let forwards = || pair.server.run(|| Ok(said("brport/state").trim() == "3")).unwrap();
        wait_until(&agent, "a port of the bridge", forwards);
        // Until the kernel has noticed the other end, which it may do once a second, what is sent is lost.
        let sends =
            || pair.client.run(|| Ok(said("carrier").trim() == "1" && said("operstate").trim() == "up"));
        wait_until(&agent, "the other end of the cable", || sends().unwrap());
        let again = Traffic::start(&pair, &["eth1"], PER_SECOND).unwrap();
        thread::sleep(PAUSE / 2);
        println!("eth1: {:?}", again.stop_without_a_gap().unwrap());
    }
    println!("eth0 meanwhile: {:?}", traffic.stop_without_a_gap().unwrap());
    let log = agent.log();
    assert_eq!(log.matches("the interface is gone").count(), 3, "{log}");
    // Its packets go on being counted where they were.
    let metrics = agent.metrics().unwrap();
    assert!(metrics.sum("weir_packets_total", &[("interface", "eth1"), ("reason", "feed")]) > 500.0);
}

#[test]
fn a_program_that_somebody_takes_off_is_put_back() {
    let pair = Pair::new().unwrap();
    let mut agent = agent(&pair, &[("eth0", "native")]);
    agent.start().unwrap();
    let detach = "link detach pinned /sys/fs/bpf/weir/v";
    let detach = format!("{detach}{}/links/eth0", weir_common::ABI_VERSION);
    let status = pair.server.command("bpftool").args(detach.split(' ')).status().unwrap();
    assert!(status.success(), "bpftool {detach}");
    // It may be back before anybody looks.
    let noticed = || agent.metrics().unwrap().sum("weir_drift_total", &[("map", "link")]) > 0.5;
    wait_until(&agent, "put back", noticed);
    assert!(xdp_of(&pair, "eth0").is_some());
}
