use std::{fs, os::unix::fs::MetadataExt as _, thread, time::Duration};

use weir_tests::{host::Host, traffic::Traffic};

use crate::{FIRST, QUEUED, agent_of, configure, install, not_run, set_up};

/// CAP_NET_ADMIN, CAP_PERFMON and CAP_BPF, by their numbers in capability.h.
const CAPABILITIES: u64 = 1 << 12 | 1 << 38 | 1 << 39;
const PER_SECOND: u32 = 1000;
const A_WHILE: Duration = Duration::from_millis(500);

#[test]
fn a_new_host_is_in_shadow_then_enforces_what_it_is_told() {
    if not_run("installation") {
        return;
    }
    let (pair, host) = set_up();
    let traffic = Traffic::start(&pair, &["eth0"], PER_SECOND).unwrap();
    let said = install(&host, FIRST);
    assert!(!said.contains("does not run yet"), "{said}\n{}", host.journal());
    assert_eq!(host.run("systemctl is-enabled weir").unwrap().trim(), "enabled");
    assert_eq!(host.run("systemctl is-active weir").unwrap().trim(), "active");
    confined(&host);
    owned(&host);
    assert!(host.run("weir status").unwrap().contains("shadow"));

    // The first hour: what would be dropped, and by what.
    configure(&host, "shadow");
    host.run("systemctl reload weir").unwrap();
    wait_for(&host, "weir explain 198.51.100.7", "shadow mode: listed by feed bad");
    thread::sleep(A_WHILE);
    let flows = traffic.stop().unwrap();
    assert!(flows.iter().all(|flow| flow.listed.min(flow.clean) + QUEUED >= flow.sent), "{flows:?}");
    println!("installed, in shadow: {flows:?}");

    configure(&host, "enforce");
    host.run("systemctl reload weir").unwrap();
    wait_for(&host, "weir status", "mode         enforce");
    let traffic = Traffic::start(&pair, &["eth0"], PER_SECOND).unwrap();
    thread::sleep(A_WHILE);
    refused(&host);
    // A stop does not detach.
    host.run("systemctl stop weir").unwrap();
    thread::sleep(A_WHILE);
    println!("enforced, reloaded, stopped: {:?}", traffic.stop_without_a_gap().unwrap());
    assert!(!host.file("/run/weir").exists(), "the socket's directory is left");
}

/// A file that is not valid is refused, by `systemctl reload` too, and at a start that is not tried again.
fn refused(host: &Host) {
    fs::write(host.file("/etc/weir/weir.yaml"), "interfaces: [{name: eth0, mode: fast}]\n").unwrap();
    assert!(!host.output("systemctl reload weir").unwrap().status.success());
    assert!(host.journal().contains("weir.yaml"), "{}", host.journal());
    assert_eq!(host.run("systemctl is-active weir").unwrap().trim(), "active");
    assert!(!host.output("systemctl restart weir").unwrap().status.success());
    let state = host.run("systemctl show --property ActiveState,ExecMainStatus weir").unwrap();
    assert!(state.contains("ActiveState=failed") && state.contains("ExecMainStatus=64"), "{state}");
    configure(host, "enforce");
    host.run("systemctl start weir").unwrap();
}

/// The process has the user and the three capabilities of the unit, and no way to more.
fn confined(host: &Host) {
    let id = agent_of(host);
    let status = fs::read_to_string(host.file(&format!("/proc/{id}/status"))).unwrap();
    let value = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or_else(|| unreachable!("no {name} in {status}")).trim().to_owned()
    };
    let user = host.run("id --user weir").unwrap().trim().to_owned();
    assert_ne!(user, "0");
    assert_eq!(value("Uid"), [user.as_str(); 4].join("\t"));
    for set in ["CapPrm", "CapEff", "CapBnd", "CapAmb", "CapInh"] {
        let capabilities = u64::from_str_radix(&value(set), 16).unwrap();
        assert_eq!(capabilities & !CAPABILITIES, 0, "{set}: {capabilities:x}");
    }
    assert_eq!(u64::from_str_radix(&value("CapBnd"), 16).unwrap(), CAPABILITIES);
    assert_eq!((value("NoNewPrivs").as_str(), value("Seccomp").as_str()), ("1", "2"));
    // What other programs have pinned it does not see, and it has nothing else to write to.
    let mounts = fs::read_to_string(host.file(&format!("/proc/{id}/mountinfo"))).unwrap();
    let mine = mounts
        .lines()
        .find(|line| line.contains(" /run/weir-bpf/weir "))
        .unwrap_or_else(|| unreachable!("{mounts}"));
    assert!(mine.contains(" /weir /run/weir-bpf/weir rw"), "{mine}");
    assert!(mounts.lines().any(|line| line.contains(" / / ro")), "{mounts}");
}

fn owned(host: &Host) {
    let (user, group) = (number(host, "--user"), number(host, "--group"));
    for (path, mode, owner) in [
        ("/run/weir", 0o40750, user),
        ("/run/weir/weir.sock", 0o140_660, user),
        ("/var/lib/weir", 0o40750, user),
        ("/sys/fs/bpf/weir", 0o40750, user),
        ("/etc/weir", 0o40770, 0),
        ("/etc/weir/weir.yaml", 0o100_640, 0),
    ] {
        let it = fs::metadata(host.file(path)).unwrap_or_else(|error| unreachable!("{path}: {error}"));
        assert_eq!((it.mode(), it.uid(), it.gid()), (mode, owner, group), "{path}: {:o}", it.mode());
    }
}

fn number(host: &Host, of: &str) -> u32 {
    host.run(&format!("id {of} weir")).unwrap().trim().parse().unwrap()
}

fn wait_for(host: &Host, command: &str, want: &str) {
    let deadline = std::time::Instant::now() + weir_tests::patience::seconds(20);
    loop {
        let said = host.run(command).unwrap();
        if said.contains(want) {
            return;
        }
        assert!(
            std::time::Instant::now() < deadline,
            "`{command}` does not say `{want}`: {said}\n{}",
            host.journal()
        );
        thread::sleep(Duration::from_millis(50));
    }
}
