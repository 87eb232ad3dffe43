use super::{
    File, Tree, Violation,
    source::{self, Name},
};

const RULE: &str = "pure code does no I/O and reads no clock";

/// Code that gives the same answer for the same arguments, in the kernel, in the agent and in a test.
const PURE: [&str; 3] = ["common/src", "agent/src/policy", "agent/src/decision"];

/// Modules that touch the world.
const MODULES: [&str; 8] =
    ["std::fs", "std::io", "std::process", "std::env", "std::os", "std::thread", "tokio", "notify"];

/// Types and macros that do, wherever they are imported from. Addresses of `std::net` do not.
const WORDS: [&str; 14] = [
    "Instant",
    "SystemTime",
    "TcpListener",
    "TcpStream",
    "UdpSocket",
    "UnixListener",
    "UnixStream",
    "UnixDatagram",
    "ToSocketAddrs",
    "print!",
    "println!",
    "eprint!",
    "eprintln!",
    "dbg!",
];

/// Finds I/O and clocks in pure code. Its tests may have them.
pub(super) fn check(tree: &Tree) -> Vec<Violation> {
    let pure = tree.rust().filter(|file| PURE.iter().any(|place| file.is_in(place)) && !file.is_in_tests());
    pure.flat_map(check_file).collect()
}

fn check_file(file: &File) -> Vec<Violation> {
    // What cannot be read is told by `homes`.
    let names = source::names(&file.text).unwrap_or_default();
    let impure = names.iter().filter(|name| !name.test && touches_world(name));
    impure.map(|name| file.violation(name.line, RULE, mend(name))).collect()
}

fn touches_world(name: &Name) -> bool {
    MODULES.iter().any(|module| name.starts(module)) || WORDS.iter().any(|word| name.has(word))
}

fn mend(name: &Name) -> String {
    format!(
        "`{}`: let the caller do it and pass the result, as `now` is passed to the limiter",
        name.path.join("::")
    )
}

impl File {
    /// Returns true for a file that holds nothing but tests.
    fn is_in_tests(&self) -> bool {
        self.path.ends_with("/tests.rs") || self.path.contains("/tests/")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(path: &str, text: &str) -> Vec<usize> {
        check(&Tree::of(&[(path, text)])).iter().map(|violation| violation.line).collect()
    }

    #[test]
    fn world_is_out_of_reach_of_pure_code() {
        for text in [
            "use std::{fs, fmt};",
            "use std::time::{Duration, Instant};",
            "fn f() { std::process::exit(1) }",
            "use std::net::{IpAddr, UdpSocket};",
            "use tokio::sync::watch;",
            "fn f() { SystemTime::now() }",
            "fn f() { println!(\"x\") }",
        ] {
            for path in ["common/src/gcra.rs", "agent/src/policy/compile.rs", "agent/src/decision.rs"] {
                assert_eq!(lines(path, text), [1], "{text} in {path}");
            }
            assert_eq!(lines("agent/src/feed/file.rs", text), [0usize; 0], "{text}");
        }
    }

    #[test]
    fn pure_code_may_calculate_and_test() {
        for text in [
            "use core::{net::IpAddr, time::Duration};",
            "use std::{collections::BTreeMap, net::Ipv4Addr};",
            "// std::fs\nfn f(env: u32, process: u32) {}",
            "const V: &str = env!(\"CARGO_PKG_VERSION\");",
            "#[cfg(test)]\nmod tests {\n    use std::fs;\n}",
        ] {
            assert_eq!(lines("common/src/gcra.rs", text), [0usize; 0], "{text}");
        }
        assert_eq!(lines("agent/src/policy/tests.rs", "use std::fs;"), [0usize; 0]);
    }
}
