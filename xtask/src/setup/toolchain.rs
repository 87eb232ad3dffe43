use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use super::{step, version::Version};
use crate::{
    pins::{DEBIAN_SYSROOT, DEBIAN_TOOLCHAIN, NIGHTLY, RUSTC, TARGET, TOOLCHAIN},
    sh,
};

/// A compiler that can make the kernel program.
pub(super) struct Toolchain {
    pub(super) release: Version,
    pub(super) llvm: Version,
    sysroot: PathBuf,
    core: Core,
}

/// Where `core` for the kernel program comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Core {
    /// Comes compiled with the compiler.
    Compiled,
    /// Is compiled with the kernel program, which only a nightly compiler does.
    Source,
}

impl Toolchain {
    pub(super) fn detail(&self) -> String {
        let core = match self.core {
            Core::Compiled => "compiled",
            Core::Source => "from source, nightly",
        };
        format!("{TOOLCHAIN} at {}, core for {TARGET} {core}", self.sysroot.display())
    }

    /// Looks at the compiler at `rustc`; nothing if it cannot make the kernel program.
    fn at(rustc: &Path) -> Option<Self> {
        let rustc = rustc.to_str()?;
        let sysroot = PathBuf::from(sh::output(sh::command(rustc).args(["--print", "sysroot"]))?);
        let verbose = sh::output(sh::command(rustc).arg("-vV"))?;
        let (release, llvm) = (field(&verbose, "release")?, field(&verbose, "LLVM version")?);
        let core = core(&sysroot, release.contains("nightly"))?;
        let (release, llvm) = (Version::find(release)?, Version::find(llvm)?);
        release.at_least(&Version::find(RUSTC)?).then_some(Self { release, llvm, sysroot, core })
    }
}

/// Returns the packages of the distribution that bring a toolchain, unless one is there.
pub(super) fn packages() -> Vec<&'static str> {
    if chosen().or_else(linkable).is_some() { Vec::new() } else { DEBIAN_TOOLCHAIN.to_vec() }
}

/// Makes [`TOOLCHAIN`] name a compiler that can make the kernel program.
pub(super) fn ensure() -> Result<Toolchain> {
    if let Some(toolchain) = chosen() {
        return Ok(toolchain);
    }
    if !has_rustup() {
        bail!(
            "the first rustc in PATH cannot compile for {TARGET}: install rustup, or Debian's {} and have {} \
             first in PATH, then run `cargo xtask setup` again",
            DEBIAN_TOOLCHAIN.join(", "),
            Path::new(DEBIAN_SYSROOT).join("bin").display()
        );
    }
    let toolchain = match linkable() {
        Some(toolchain) => toolchain,
        None => install_nightly()?,
    };
    let link = ["toolchain", "link", TOOLCHAIN];
    step::run(
        &format!("naming the toolchain at {} {TOOLCHAIN}", toolchain.sysroot.display()),
        sh::command("rustup").args(link).arg(&toolchain.sysroot),
    )?;
    chosen().with_context(|| {
        format!("{TOOLCHAIN} still cannot compile for {TARGET}; docs/toolchain.md shows how by hand")
    })
}

/// Returns the compiler that agent/build.rs will call, if it is fit: aya-build asks rustup for it,
/// and takes the one in PATH where there is no rustup.
fn chosen() -> Option<Toolchain> {
    let rustc = if has_rustup() { rustc_of(TOOLCHAIN)? } else { sh::find("rustc")? };
    Toolchain::at(&rustc)
}

/// Returns a compiler of this machine that is fit but has not got the name.
fn linkable() -> Option<Toolchain> {
    if !has_rustup() {
        return None;
    }
    let debian = Path::new(DEBIAN_SYSROOT).join("bin/rustc");
    Toolchain::at(&debian).or_else(|| nightlies().iter().find_map(|name| Toolchain::at(&rustc_of(name)?)))
}

fn install_nightly() -> Result<Toolchain> {
    let words = ["toolchain", "install", NIGHTLY, "--profile", "minimal", "--component", "rust-src"];
    step::run(&format!("installing {NIGHTLY} with rust-src"), sh::command("rustup").args(words))?;
    linkable().with_context(|| {
        format!("{NIGHTLY} cannot compile for {TARGET}; docs/toolchain.md shows how by hand")
    })
}

fn has_rustup() -> bool {
    sh::find("rustup").is_some()
}

fn rustc_of(toolchain: &str) -> Option<PathBuf> {
    sh::output(sh::command("rustup").args(["which", "--toolchain", toolchain, "rustc"])).map(PathBuf::from)
}

fn nightlies() -> Vec<String> {
    let list = sh::output(sh::command("rustup").args(["toolchain", "list"])).unwrap_or_default();
    let names = list.lines().filter_map(|line| line.split_whitespace().next());
    names.filter(|name| name.starts_with("nightly")).map(str::to_owned).collect()
}

/// Returns where `core` comes from, the way aya-build decides it: a nightly compiler compiles it.
fn core(sysroot: &Path, nightly: bool) -> Option<Core> {
    let libraries = sysroot.join("lib/rustlib");
    if nightly {
        return libraries.join("src/rust/library/Cargo.lock").is_file().then_some(Core::Source);
    }
    let mut files = libraries.join(TARGET).join("lib").read_dir().ok()?.flatten();
    files.any(|file| file.file_name().to_string_lossy().starts_with("libcore-")).then_some(Core::Compiled)
}

/// Returns a line of `rustc -vV`.
fn field<'a>(verbose: &'a str, name: &str) -> Option<&'a str> {
    verbose.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn fields_of_the_compiler_are_found() {
        let verbose = "rustc 1.96.0\nbinary: rustc\nrelease: 1.96.0\nLLVM version: 22.1.8\n";
        assert_eq!(field(verbose, "release"), Some("1.96.0"));
        assert_eq!(field(verbose, "LLVM version"), Some("22.1.8"));
        assert_eq!(field(verbose, "host"), None);
    }

    #[test]
    fn core_is_compiled_on_stable_and_from_source_on_nightly() {
        let sysroot = std::env::temp_dir().join(format!("weir-sysroot-{}", std::process::id()));
        let (source, compiled) = (
            sysroot.join("lib/rustlib/src/rust/library"),
            sysroot.join("lib/rustlib").join(TARGET).join("lib"),
        );
        fs::create_dir_all(&source).unwrap();
        fs::create_dir_all(&compiled).unwrap();
        assert_eq!(core(&sysroot, false), None);
        assert_eq!(core(&sysroot, true), None);
        fs::write(source.join("Cargo.lock"), "").unwrap();
        assert_eq!(core(&sysroot, true), Some(Core::Source));
        assert_eq!(core(&sysroot, false), None, "a stable compiler does not compile core");
        fs::write(compiled.join("libcore-0123.rlib"), "").unwrap();
        assert_eq!(core(&sysroot, false), Some(Core::Compiled));
        fs::remove_dir_all(&sysroot).unwrap();
    }
}
