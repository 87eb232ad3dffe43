//! Builds the kernel program into `OUT_DIR/weir_xdp`, which the agent embeds.

use std::{env, fs, path::PathBuf};

use anyhow::{Context as _, Result};
use aya_build::{Package, Toolchain};

/// The toolchain that `cargo xtask setup` links; docs/toolchain.md.
const TOOLCHAIN: &str = "weir-bpf";

fn main() -> Result<()> {
    let object = PathBuf::from(env::var_os("OUT_DIR").context("OUT_DIR is not set")?).join("weir_xdp");
    aya_build::build_ebpf(
        [Package { name: "weir-ebpf", root_dir: "../ebpf", ..Package::default() }],
        Toolchain::Custom(TOOLCHAIN),
    )
    .context("building the eBPF program failed; `cargo xtask setup` installs what it needs")?;
    if env::var_os("AYA_BUILD_SKIP").is_some() {
        // Lints need the file, not what is in it.
        fs::write(&object, []).with_context(|| format!("write {}", object.display()))?;
    }
    Ok(())
}
