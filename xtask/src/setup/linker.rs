use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use super::{apt, step, toolchain::Toolchain, version::Version};
use crate::{
    pins::{BPF_LINKER, DEBIAN_LLVM, LLVM, LLVM_NEWEST},
    sh,
};

/// The linker of the kernel program.
pub(super) struct Linker {
    pub(super) release: Version,
    path: PathBuf,
    /// Unknown if LLVM is linked into it.
    llvm: Option<Version>,
}

impl Linker {
    pub(super) fn detail(&self) -> String {
        let Some(llvm) = &self.llvm else { return self.path.display().to_string() };
        format!("{} with LLVM {llvm} (feature llvm-{})", self.path.display(), llvm.major())
    }

    fn find() -> Option<Self> {
        let path = sh::find("bpf-linker")?;
        let release = Version::find(&sh::output(sh::command(path.to_str()?).arg("--version"))?)?;
        let llvm = sh::output(sh::command("ldd").arg(&path)).and_then(|libraries| llvm_in(&libraries));
        Some(Self { release, path, llvm })
    }

    /// Returns true for the pinned linker that reads what a compiler with this LLVM writes. An older
    /// LLVM says "Invalid record" to it.
    fn is_fit(&self, compiler: &Version) -> bool {
        self.release.is(BPF_LINKER) && self.llvm.as_ref().is_some_and(|llvm| llvm.at_least(compiler))
    }
}

/// An LLVM that can be linked against.
struct Llvm {
    prefix: PathBuf,
    version: Version,
}

/// Returns the package of the distribution that bpf-linker is built against, unless it or an LLVM is there.
pub(super) fn packages() -> Vec<&'static str> {
    let Some(pinned) = Version::find(&format!("{LLVM}.0")) else { return Vec::new() };
    let there = Linker::find().is_some_and(|linker| linker.is_fit(&pinned)) || llvm_for(&pinned).is_some();
    if there { Vec::new() } else { vec![DEBIAN_LLVM] }
}

/// Makes bpf-linker be there, with an LLVM at least as new as that of the compiler.
pub(super) fn ensure(toolchain: &Toolchain) -> Result<Linker> {
    if let Some(linker) = Linker::find().filter(|linker| linker.is_fit(&toolchain.llvm)) {
        return Ok(linker);
    }
    let llvm = llvm_for(&toolchain.llvm).with_context(|| no_llvm(&toolchain.llvm))?;
    install(&llvm)?;
    let linker = Linker::find().context("bpf-linker was installed but is not in PATH")?;
    if !linker.is_fit(&toolchain.llvm) {
        bail!(
            "{} is bpf-linker {}, but {BPF_LINKER} with LLVM {} or newer is needed: remove that file, then run \
             `cargo xtask setup` again",
            linker.path.display(),
            linker.release,
            toolchain.llvm
        );
    }
    Ok(linker)
}

fn install(llvm: &Llvm) -> Result<()> {
    let feature = format!("llvm-{}", llvm.version.major());
    let words =
        ["install", "bpf-linker", "--version", BPF_LINKER, "--locked", "--force", "--no-default-features"];
    step::run(
        &format!("building bpf-linker {BPF_LINKER} with LLVM {} (about a minute)", llvm.version),
        sh::command("cargo").args(words).args(["--features", &feature]).env("LLVM_PREFIX", &llvm.prefix),
    )
}

fn no_llvm(compiler: &Version) -> String {
    let package = if apt::is_here() {
        format!("{DEBIAN_LLVM} has none; docs/toolchain.md says how to raise the pins")
    } else {
        "install the package of LLVM that brings `llvm-config`, then run `cargo xtask setup` again".to_owned()
    };
    format!("bpf-linker needs an LLVM from {compiler} to {LLVM_NEWEST} to be built against: {package}")
}

/// Finds an LLVM that reads what a compiler with LLVM `compiler` writes.
fn llvm_for(compiler: &Version) -> Option<Llvm> {
    let debian =
        (LLVM..=LLVM_NEWEST).map(|major| PathBuf::from(format!("/usr/lib/llvm-{major}/bin/llvm-config")));
    let mut all = debian.chain(sh::find("llvm-config")).filter_map(|config| llvm_of(&config));
    all.find(|llvm| llvm.version.at_least(compiler) && llvm.version.major() <= LLVM_NEWEST)
}

fn llvm_of(config: &Path) -> Option<Llvm> {
    let ask = |word| sh::output(sh::command(config.to_str()?).arg(word));
    Some(Llvm { prefix: ask("--prefix")?.into(), version: Version::find(&ask("--version")?)? })
}

/// Returns the LLVM among the shared libraries that `ldd` prints: exact where `llvm-config` stands
/// beside it, else what its name says.
fn llvm_in(libraries: &str) -> Option<Version> {
    let line = libraries.lines().map(str::trim).find(|line| line.starts_with("libLLVM"))?;
    let (name, rest) = line.split_once(" => ")?;
    let library = Path::new(rest.split_whitespace().next()?);
    let beside = library.parent()?.parent()?.join("bin/llvm-config");
    llvm_of(&beside).map(|llvm| llvm.version).or_else(|| Version::find(name.split_once(".so.")?.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn llvm_is_read_from_the_name_of_the_library() {
        let ldd = "\tlinux-vdso.so.1 (0x1)\n\tlibLLVM.so.22.1 => /nowhere/lib/libLLVM.so.22.1 (0x2)\n";
        assert_eq!(llvm_in(ldd).unwrap().to_string(), "22.1");
        assert!(llvm_in("\tnot a dynamic executable").is_none());
    }

    #[test]
    fn linker_must_be_the_pinned_one_and_not_older_than_the_compiler() {
        let linker = |release: &str, llvm: Option<&str>| Linker {
            release: Version::find(release).unwrap(),
            path: PathBuf::new(),
            llvm: llvm.and_then(Version::find),
        };
        let compiler = Version::find("22.1.8").unwrap();
        assert!(linker(BPF_LINKER, Some("22.1.8")).is_fit(&compiler));
        assert!(linker(BPF_LINKER, Some("23.1.0")).is_fit(&compiler));
        assert!(!linker(BPF_LINKER, Some("22.1.2")).is_fit(&compiler));
        assert!(!linker(BPF_LINKER, None).is_fit(&compiler));
        assert!(!linker("0.10.2", Some("22.1.8")).is_fit(&compiler));
    }
}
