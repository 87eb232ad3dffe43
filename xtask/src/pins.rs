//! Every name and version of the toolchain. docs/toolchain.md says why these, and how to raise them.

/// The rustup toolchain that compiles the kernel program; agent/build.rs names it too.
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
/// The fuzzer.
pub(crate) const FUZZ: &str = "0.13.2";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sh;

    #[test]
    fn documentation_names_the_same_versions() {
        let doc = std::fs::read_to_string(sh::root().join("docs/toolchain.md")).unwrap();
        let llvm = format!("LLVM {LLVM}");
        let others = [TOOLCHAIN, TARGET, RUSTC, NIGHTLY, BPF_LINKER, &llvm, DEBIAN_LLVM, NEXTEST, DENY, FUZZ];
        for pin in others.into_iter().chain(DEBIAN_TOOLCHAIN) {
            assert!(doc.contains(&format!("`{pin}`")), "docs/toolchain.md does not name `{pin}`");
        }
    }

    #[test]
    fn build_script_names_the_same_toolchain() {
        let script = std::fs::read_to_string(sh::root().join("agent/build.rs")).unwrap();
        assert!(script.contains(&format!("{TOOLCHAIN:?}")));
    }
}
