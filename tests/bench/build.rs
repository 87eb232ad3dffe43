//! Builds the kernel programs of the benchmark into `OUT_DIR`, from where they are embedded.

use std::{env, fs, path::PathBuf};

use anyhow::{Context as _, Result};
use aya_build::{Package, Toolchain};

/// The toolchain that `cargo xtask setup` links; docs/toolchain.md.
const TOOLCHAIN: &str = "weir-bpf";
const OBJECTS: [&str; 3] = ["bench_driver", "bench_lookup", "bench_textbook"];

fn main() -> Result<()> {
    let out = PathBuf::from(env::var_os("OUT_DIR").context("OUT_DIR is not set")?);
    aya_build::build_ebpf(
        [Package { name: "weir-bench-ebpf", root_dir: "ebpf", ..Package::default() }],
        Toolchain::Custom(TOOLCHAIN),
    )
    .context("building the eBPF programs failed; `cargo xtask setup` installs what they need")?;
    if env::var_os("AYA_BUILD_SKIP").is_some() {
        // Lints need the files, not what is in them.
        for object in OBJECTS {
            fs::write(out.join(object), []).with_context(|| format!("write {object}"))?;
        }
    }
    Ok(())
}
