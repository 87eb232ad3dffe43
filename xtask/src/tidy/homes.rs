use super::{File, Tree, Violation, source};

/// Names that only their homes may use, within a scope.
struct Home {
    rule: &'static str,
    /// Segments of paths. With `!` at the end: macros.
    names: &'static [&'static str],
    /// Where the rule holds; the whole tree if empty.
    scope: &'static [&'static str],
    homes: &'static [&'static str],
    mend: &'static str,
}

const DATAPATH: &str = "agent/src/datapath";
const KERNEL: &str = "ebpf/src";
const TESTS: &str = "tests";
const BENCH_KERNEL: &str = "tests/bench/ebpf";

const HOMES: [Home; 9] = [
    Home {
        rule: "one door to the kernel",
        names: &["aya", "aya_obj"],
        scope: &[],
        homes: &[DATAPATH, TESTS],
        mend: "reach the kernel through agent/src/datapath",
    },
    Home {
        rule: "kernel crates stay in the kernel program",
        names: &["aya_ebpf"],
        scope: &[],
        homes: &[KERNEL, BENCH_KERNEL],
        mend: "move this to ebpf/src",
    },
    Home {
        rule: "one build of the kernel program",
        names: &["aya_build"],
        scope: &[],
        homes: &["agent/build.rs", "tests/bench/build.rs"],
        mend: "use the object that agent/build.rs embeds",
    },
    Home {
        rule: "one door to the proxies",
        names: &["tonic", "envoy_types", "spop"],
        scope: &[],
        homes: &["agent/src/proxy", TESTS],
        mend: "speak the protocols of proxies in agent/src/proxy",
    },
    Home {
        rule: "one place where a verdict becomes an action",
        names: &[
            "xdp_action",
            "tcx_action_base",
            "TCX_NEXT",
            "TCX_PASS",
            "TCX_DROP",
            "TCX_REDIRECT",
            "TC_ACT_OK",
            "TC_ACT_PIPE",
            "TC_ACT_SHOT",
            "TC_ACT_STOLEN",
            "TC_ACT_UNSPEC",
        ],
        scope: &[],
        homes: &["ebpf/src/main.rs", TESTS],
        mend: "return a Verdict; ebpf/src/main.rs turns it into an action",
    },
    Home {
        rule: "one place that counts",
        names: &["COUNTERS", "CLASS_COUNTERS", "LIMIT_COUNTERS"],
        scope: &[KERNEL],
        homes: &["ebpf/src/account.rs", "ebpf/src/maps.rs"],
        mend: "let ebpf/src/account.rs count at the exit",
    },
    Home {
        rule: "no log in the kernel",
        names: &["aya_log", "aya_log_ebpf", "error!", "warn!", "info!", "debug!", "trace!", "bpf_printk!"],
        scope: &[KERNEL],
        homes: &[],
        mend: "count a reason or send an event in ebpf/src/account.rs",
    },
    Home {
        rule: "no LRU map",
        names: &[
            "LruHashMap",
            "LruPerCpuHashMap",
            "BPF_MAP_TYPE_LRU_HASH",
            "BPF_MAP_TYPE_LRU_PERCPU_HASH",
            "BPF_F_NO_COMMON_LRU",
        ],
        scope: &[KERNEL],
        homes: &[],
        mend: "it forgets what matters under a flood; use a map of lines, see common/src/line.rs",
    },
    Home {
        rule: "few places with unsafe code",
        names: &["unsafe"],
        scope: &[],
        homes: &["common/src/line.rs", KERNEL, DATAPATH, TESTS],
        mend: "use a safe interface, or put the unsafe part behind one in agent/src/datapath",
    },
];

/// Finds names outside their homes.
pub(super) fn check(tree: &Tree) -> Vec<Violation> {
    tree.rust().flat_map(check_file).collect()
}

fn check_file(file: &File) -> Vec<Violation> {
    let names = match source::names(&file.text) {
        Ok(names) => names,
        Err(error) => {
            let line = error.span().start().line;
            return vec![file.violation(line, "Rust source", format!("cannot be read: {error}"))];
        }
    };
    let foreign: Vec<_> = HOMES.iter().filter(|home| home.is_closed_to(file)).collect();
    let mut violations = Vec::new();
    for name in &names {
        for home in foreign.iter().filter(|home| home.names.iter().any(|word| name.has(word))) {
            let mend = format!("`{}`: {}", name.path.join("::"), home.mend);
            violations.push(file.violation(name.line, home.rule, mend));
        }
    }
    violations
}

impl Home {
    fn is_closed_to(&self, file: &File) -> bool {
        let holds = self.scope.is_empty() || self.scope.iter().any(|scope| file.is_in(scope));
        holds && !self.homes.iter().any(|home| file.is_in(home))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the lines that are against the rules when `text` stands at `path`.
    fn lines(path: &str, text: &str) -> Vec<usize> {
        check(&Tree::of(&[(path, text)])).iter().map(|violation| violation.line).collect()
    }

    /// Checks that `text` is caught at each of `bad`, and passes at each of `good`.
    fn holds(text: &str, bad: &[&str], good: &[&str]) {
        for path in bad {
            assert_eq!(lines(path, &format!("\n{text}")), [2], "{text} at {path}");
        }
        for path in good {
            assert_eq!(lines(path, text), [0usize; 0], "{text} at {path}");
        }
    }

    #[test]
    fn aya_has_one_door() {
        let good =
            ["agent/src/datapath.rs", "agent/src/datapath/load.rs", "tests/src/kernel.rs", "README.md"];
        holds("use aya::Ebpf;", &["agent/src/app.rs", "common/src/map.rs", "xtask/src/main.rs"], &good);
        holds("// aya::Ebpf", &[], &["agent/src/app.rs"]);
        holds(
            "use aya_ebpf::maps;",
            &["common/src/map.rs"],
            &["ebpf/src/maps.rs", "tests/bench/ebpf/src/bin/driver.rs"],
        );
        holds(
            "use aya_build::Toolchain;",
            &["agent/src/app.rs", "tests/bench/src/main.rs"],
            &["agent/build.rs", "tests/bench/build.rs"],
        );
    }

    #[test]
    fn proxies_have_one_door() {
        holds("use tonic::Status;", &["agent/src/decision.rs"], &["agent/src/proxy/ext_authz.rs"]);
    }

    #[test]
    fn verdicts_become_actions_in_one_place() {
        for text in ["fn f() { xdp_action::XDP_DROP }", "fn f() { TC_ACT_SHOT }", "use bindings::TCX_NEXT;"] {
            holds(text, &["ebpf/src/stage/limit.rs", "agent/src/app.rs"], &["ebpf/src/main.rs"]);
        }
    }

    #[test]
    fn counting_has_one_place() {
        let text = "fn f() { COUNTERS.get_ptr_mut(0) }";
        let good = ["ebpf/src/account.rs", "ebpf/src/maps.rs", "agent/src/telemetry.rs"];
        holds(text, &["ebpf/src/stage.rs", "ebpf/src/stage/limit.rs"], &good);
    }

    #[test]
    fn kernel_does_not_log() {
        holds("fn f() { info!(x, y) }", &["ebpf/src/main.rs"], &["agent/src/app.rs"]);
        holds("use aya_log_ebpf as log;", &["ebpf/src/main.rs"], &[]);
        holds("fn panic(info: &Info) {}", &[], &["ebpf/src/main.rs"]);
    }

    #[test]
    fn kernel_forgets_nothing() {
        holds("static BANS: LruHashMap<u32, u32>;", &["ebpf/src/maps.rs"], &["tests/benches/textbook.rs"]);
        holds("static BANS: HashMap<u32, u32>;", &[], &["ebpf/src/maps.rs"]);
    }

    #[test]
    fn unsafe_code_has_few_places() {
        let good =
            ["common/src/line.rs", "ebpf/src/kernel.rs", "agent/src/datapath/mmap.rs", "tests/src/netns.rs"];
        holds("fn f() { unsafe { g() } }", &["common/src/table.rs", "agent/src/main.rs"], &good);
        holds("#![forbid(unsafe_code)]", &[], &["common/src/table.rs"]);
    }

    #[test]
    fn unreadable_source_is_told() {
        assert_eq!(lines("common/src/map.rs", "fn f() {\n"), [1]);
    }
}
