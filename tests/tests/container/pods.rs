//! Pods at work, with the rights that their manifests ask for and no others.

use std::{fs, net::Ipv4Addr, thread, time::Duration};

use nix::{
    errno::Errno,
    mount::{MntFlags, MsFlags, mount, umount2},
    sys::statfs::{BPF_FS_MAGIC, statfs},
};
use serde_json::Value;
use weir_tests::{
    frame::Frame,
    namespace::Pair,
    traffic::Traffic,
    wire::{self, Wire},
};

use crate::{
    image::Store,
    manifests::resource,
    node::{Node, Pod},
    seccomp::Runtime,
    settings::bits,
    tools::Kubectl,
};

const CAPABILITIES: &str = "overlays/capabilities";
const LISTED: Ipv4Addr = Traffic::LISTED;
const BANNED: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 66);
const DEBTOR: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 99);
const PACKETS: usize = 10;
const PAUSE: Duration = Duration::from_millis(300);

/// What every test needs.
struct Cluster {
    store: Store,
    node: Node,
    resources: Vec<Value>,
    unload: Vec<Value>,
}

impl Cluster {
    /// Returns nothing where a program is missing, and says so. The node has the ConfigMap as it is shipped.
    fn find(test: &str, overlay: &str) -> Option<Self> {
        let kubectl = Kubectl::find(test)?;
        let (store, node) = (Store::find(test)?, Node::find(test)?);
        let [resources, unload] = [overlay, "unload"].map(|folder| kubectl.resources(folder));
        node.apply(&resources, |_, text| text.to_owned());
        Some(Self { store, node, resources, unload })
    }

    fn set(&self) -> &Value {
        resource(&self.resources, "DaemonSet", "weir")
    }

    /// Has the node see the ConfigMap with other words in weir.yaml.
    fn edit(&self, edits: &[(&str, &str)]) {
        self.node.apply(&self.resources, |name, text| edited(name, text, edits));
    }
}

fn edited(name: &str, text: &str, edits: &[(&str, &str)]) -> String {
    if name != "weir.yaml" {
        return text.to_owned();
    }
    edits.iter().fold(text.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from} is not in {text}");
        text.replace(from, to)
    })
}

const ENFORCE: (&str, &str) = ("enforce: shadow", "enforce: enforce");

/// Sends packets from each source, and returns how many arrive.
fn deliver<const N: usize>(node: &Node, sources: [Ipv4Addr; N]) -> [usize; N] {
    wire::deliver(&node.pair, &sources, 53, PACKETS).unwrap().try_into().unwrap()
}

fn status(id: u32, field: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {field}")).trim().to_owned()
}

#[test]
fn three_capabilities_protect_a_node() {
    let Some(cluster) = Cluster::find("three_capabilities_protect_a_node", CAPABILITIES) else { return };
    cluster.edit(&[ENFORCE]);
    let image = cluster.store.build("1.0.0");
    let mut pod = cluster.node.start(cluster.set(), "containers", &image);
    pod.wait_ready();
    assert_eq!(cluster.node.value("weir_interface_attached", &[("interface", "eth0")]), 1);
    assert_eq!(deliver(&cluster.node, [LISTED, Traffic::CLEAN]), [0, PACKETS]);
    // It has what the manifest asks for: these, and no way to more.
    let id = pod.id();
    let wanted = bits(&["CAP_BPF", "CAP_NET_ADMIN", "CAP_PERFMON"].map(str::to_owned));
    let set = |name: &str| u64::from_str_radix(&status(id, name), 16).unwrap();
    assert_eq!(set("CapBnd"), wanted);
    for name in ["CapPrm", "CapEff", "CapInh", "CapAmb"] {
        assert_eq!(set(name) & !wanted, 0, "{name} {:x}", set(name));
    }
    assert_eq!(status(id, "NoNewPrivs"), "1");
    assert_eq!(status(id, "Seccomp"), "2");
    // Its files cannot be changed, and there is nothing with which to.
    let root = format!("/proc/{id}/root");
    for path in ["new", "etc/nsswitch.conf", "etc/weir/weir.yaml"] {
        let written = fs::File::options().append(true).create(true).open(format!("{root}/{path}"));
        assert_eq!(written.unwrap_err().raw_os_error(), Some(Errno::EROFS as i32), "{path}");
    }
    for shell in ["sh", "/bin/sh", "/bin/bash", "/busybox/sh"] {
        assert!(!pod.exec(&[shell, "-c", "true"]).status.success(), "{shell}");
    }
    // What people type into `kubectl exec`.
    assert!(pod.said(&["weir", "status"]).contains("eth0"), "{}", pod.said(&["weir", "status"]));
    assert!(pod.said(&["weir", "explain", &LISTED.to_string()]).contains("drop"));
    // The socket is on the node, for proxies and for people there.
    assert!(cluster.node.host("/run/weir/weir.sock").exists());
    assert_eq!(pod.stop(), Some(0));
}

#[test]
fn a_config_map_is_taken_up_and_a_bad_one_is_refused() {
    const TEST: &str = "a_config_map_is_taken_up_and_a_bad_one_is_refused";
    let Some(cluster) = Cluster::find(TEST, CAPABILITIES) else { return };
    let (node, image) = (&cluster.node, cluster.store.build("1.0.0"));
    let mut pod = node.start(cluster.set(), "containers", &image);
    pod.wait_ready();
    // As it is shipped it drops nothing, and says what it would.
    let all = [LISTED, BANNED, Traffic::CLEAN];
    assert_eq!(deliver(node, all), [PACKETS; 3]);
    assert_eq!(node.value("weir_packets_total", &[("reason", "feed"), ("verdict", "drop")]), 0);
    cluster.edit(&[ENFORCE]);
    pod.wait("it is enforced", |_| deliver(node, all) == [0, PACKETS, PACKETS]);
    let refused = [("result", "refused")];
    cluster.edit(&[("enforce: shadow", "enforce: perhaps")]);
    pod.wait("it is refused", |_| node.value("weir_config_reloads_total", &refused) == 1);
    pod.wait("it says where", |pod| pod.log().contains("weir.yaml:3"));
    assert_eq!(deliver(node, all), [0, PACKETS, PACKETS]);
    // The list beside it changes: what was refused is not refused once more.
    node.apply(&cluster.resources, |name, text| match name {
        "bad.netset" => format!("{text}{BANNED}\n"),
        _ => text.replace("enforce: shadow", "enforce: perhaps"),
    });
    pod.wait("the list is in force", |_| deliver(node, all) == [0, 0, PACKETS]);
    assert_eq!(node.value("weir_config_reloads_total", &refused), 1);
    // It was never restarted for any of this.
    assert_eq!(pod.said(&["weir", "policy", "history"]).matches("watch").count(), 1);
    assert_eq!(pod.stop(), Some(0));
}

/// Uses up the burst of a source.
fn spend(pair: &Pair) {
    let wire = pair.client.run(|| Wire::open(Pair::INTERFACE)).unwrap();
    let frame = Frame::new().ipv4(DEBTOR, Pair::SERVER.v4).udp(4000, 443).build();
    for _ in 0..600 {
        wire.send(&frame).unwrap();
    }
}

/// Returns what the debtor has used of its burst.
fn debt(pod: &Pod<'_>) -> f64 {
    let said = pod.said(&["weir", "explain", &DEBTOR.to_string()]);
    let used = said.split("https: ").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok());
    used.unwrap_or_else(|| panic!("no limit in: {said}"))
}

#[test]
fn an_update_lets_nothing_through_and_forgets_no_ban_and_no_debt() {
    const TEST: &str = "an_update_lets_nothing_through_and_forgets_no_ban_and_no_debt";
    const PER_SECOND: u32 = 2000;
    let Some(cluster) = Cluster::find(TEST, CAPABILITIES) else { return };
    let node = &cluster.node;
    node.pair.bridge(&[Pair::INTERFACE]).unwrap();
    cluster.edit(&[ENFORCE, ("{rate: 1000/s, burst: 2000}", "{rate: 1/s, burst: 600}")]);
    let [old, new] = ["1.0.0", "1.0.1"].map(|version| cluster.store.build(version));
    assert_ne!(old.config["Labels"], new.config["Labels"]);
    let mut pod = node.start(cluster.set(), "containers", &old);
    pod.wait_ready();
    pod.said(&["weir", "ban", &BANNED.to_string(), "--for", "1h"]);
    spend(&node.pair);
    assert!(debt(&pod) > 550.0, "{}", debt(&pod));
    let traffic = Traffic::start(&node.pair, &[Pair::INTERFACE], PER_SECOND).unwrap();
    thread::sleep(PAUSE);
    for image in [&new, &old, &new] {
        assert_eq!(pod.stop(), Some(0));
        // A kubelet takes its time.
        thread::sleep(PAUSE);
        pod = node.start(cluster.set(), "containers", image);
        pod.wait_ready();
    }
    thread::sleep(PAUSE);
    let flows = traffic.stop_without_a_gap().unwrap();
    println!("updated, and back, and again: {flows:?}; debt {}", debt(&pod));
    let dropped = node.value("weir_packets_total", &[("reason", "feed")]);
    assert_eq!(dropped, flows[0].sent as u64, "counted once each");
    assert!(pod.said(&["weir", "bans"]).contains(&BANNED.to_string()));
    assert!(pod.said(&["weir", "explain", &BANNED.to_string()]).contains("drop"));
    // At one a second some of it has been earned back since.
    assert!(debt(&pod) > 400.0, "{}", debt(&pod));
    assert_eq!(pod.stop(), Some(0));
}

#[test]
fn deleted_agents_enforce_on_until_they_are_unloaded() {
    let Some(cluster) = Cluster::find("deleted_agents_enforce_on_until_they_are_unloaded", CAPABILITIES)
    else {
        return;
    };
    cluster.edit(&[ENFORCE]);
    let (node, image) = (&cluster.node, cluster.store.build("1.0.0"));
    let mut pod = node.start(cluster.set(), "containers", &image);
    pod.wait_ready();
    assert_eq!(pod.stop(), Some(0));
    assert_eq!(deliver(node, [LISTED, Traffic::CLEAN]), [0, PACKETS]);
    assert!(node.is_pinned());
    // Twice: a node may be restarted before the work is done everywhere.
    for said in ["detached from eth0", "nothing was loaded"] {
        let set = resource(&cluster.unload, "DaemonSet", "weir-unload");
        let (code, log) = node.start(set, "initContainers", &image).end();
        assert!(code == Some(0) && log.contains(said), "{code:?}: {log}");
    }
    assert!(!node.is_pinned());
    assert_eq!(deliver(node, [LISTED, Traffic::CLEAN]), [PACKETS; 2]);
}

#[test]
fn a_privileged_agent_mounts_a_bpf_filesystem_for_its_node() {
    const TEST: &str = "a_privileged_agent_mounts_a_bpf_filesystem_for_its_node";
    let Some(cluster) = Cluster::find(TEST, "overlays/privileged") else { return };
    cluster.edit(&[ENFORCE]);
    let (node, image) = (&cluster.node, cluster.store.build("1.0.0"));
    let is_there = || Ok(statfs("/sys/fs/bpf")?.filesystem_type() == BPF_FS_MAGIC);
    // A node on which nobody mounts it, and where mounts are shared, as systemd has them.
    node.pair
        .server
        .run(|| {
            umount2("/sys/fs/bpf", MntFlags::MNT_DETACH)?;
            let nothing = None::<&str>;
            Ok(mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_SHARED, nothing)?)
        })
        .unwrap();
    assert!(!node.pair.server.run(is_there).unwrap());
    let mut pod = node.start(cluster.set(), "containers", &image);
    pod.wait_ready();
    assert!(node.pair.server.run(is_there).unwrap(), "the mount has not reached the node");
    assert_eq!(deliver(node, [LISTED, Traffic::CLEAN]), [0, PACKETS]);
    assert_eq!(pod.stop(), Some(0));
    // What it has mounted and pinned there outlives it.
    assert!(node.is_pinned());
    assert_eq!(deliver(node, [LISTED, Traffic::CLEAN]), [0, PACKETS]);
    let mut pod = node.start(cluster.set(), "containers", &image);
    pod.wait_ready();
    assert!(pod.log().contains("\"adopted\":true"), "{}", pod.log());
}

/// As docs/kubernetes.md says of CRI-O.
#[test]
fn a_profile_that_refuses_bpf_is_told() {
    let Some(mut cluster) = Cluster::find("a_profile_that_refuses_bpf_is_told", CAPABILITIES) else { return };
    cluster.node.runtime = Runtime::CriO;
    let image = cluster.store.build("1.0.0");
    let (code, log) = cluster.node.start(cluster.set(), "containers", &image).end();
    assert!(code == Some(1) && log.contains("Operation not permitted"), "{code:?}: {log}");
}

/// As the table of docs/kubernetes.md says: there is none to spare.
#[test]
fn each_capability_is_needed() {
    let Some(cluster) = Cluster::find("each_capability_is_needed", CAPABILITIES) else { return };
    let image = cluster.store.build("1.0.0");
    let place = "/spec/template/spec/containers/0/securityContext/capabilities/add";
    let all = cluster.set().pointer(place).unwrap().as_array().unwrap().clone();
    assert_eq!(all.len(), 3, "{all:?}");
    for one in &all {
        let mut set = cluster.set().clone();
        *set.pointer_mut(place).unwrap() = all.iter().filter(|other| *other != one).cloned().collect();
        let (code, log) = cluster.node.start(&set, "containers", &image).end();
        assert!(code == Some(1) && log.contains("weir: load the program"), "without {one}: {code:?}: {log}");
    }
}
