//! Fuzzing: inputs that nobody thought of.

use std::fs;

use anyhow::{Context as _, Result, ensure};

use crate::{
    setup::{self, Need},
    sh,
};

/// What to fuzz, and for how long.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A target of common/fuzz or agent/fuzz, whose README.md say what each is; without it: all, one
    /// after the other.
    target: Option<String>,
    /// Seconds for each target; 0: until something is found.
    #[arg(long, default_value_t = 60)]
    seconds: u32,
}

/// Targets in one workspace of their own.
struct Folder {
    path: &'static str,
    /// All targets have the same seeds, or each has some of its own.
    shared: bool,
    /// Longer inputs have nothing new in them.
    bytes_max: u32,
}

const FOLDERS: [Folder; 2] = [
    Folder { path: "common/fuzz", shared: true, bytes_max: 1024 },
    Folder { path: "agent/fuzz", shared: false, bytes_max: 16_384 },
];

/// Runs the fuzzer, from the committed seeds and what earlier runs have found.
pub(crate) fn run(args: &Args) -> Result<()> {
    setup::ensure(&[Need::Fuzz])?;
    let mut ran = 0;
    for folder in &FOLDERS {
        for target in folder.targets()? {
            if args.target.as_ref().is_none_or(|wanted| *wanted == target) {
                ensure!(ran == 0 || args.seconds > 0, "--seconds 0 never comes to the second target");
                folder.run(&target, args.seconds).with_context(|| format!("fuzz {target}"))?;
                ran += 1;
            }
        }
    }
    let name = args.target.as_deref().unwrap_or_default();
    ensure!(ran > 0, "no target `{name}`; there are: {}", all()?.join(", "));
    Ok(())
}

/// Checks that all targets can be built: they are workspaces of their own, at which nothing else looks.
pub(crate) fn check() -> Result<()> {
    for Folder { path, .. } in &FOLDERS {
        let mut cargo = sh::command("cargo");
        cargo.args(["clippy", "--locked", "--manifest-path", &format!("{path}/Cargo.toml")]);
        cargo.args(["--", "--deny", "warnings"]).env("AYA_BUILD_SKIP", "1");
        // Nothing is linked, so the fuzzer itself need not be built.
        sh::run(cargo.env("CUSTOM_LIBFUZZER_PATH", "./libfuzzer.a"))
            .with_context(|| format!("{path}; its Cargo.lock follows that of the workspace"))?;
    }
    Ok(())
}

fn all() -> Result<Vec<String>> {
    let targets: Vec<Vec<String>> = FOLDERS.iter().map(Folder::targets).collect::<Result<_>>()?;
    Ok(targets.concat())
}

impl Folder {
    /// Returns the targets that its manifest has.
    fn targets(&self) -> Result<Vec<String>> {
        let manifest = sh::root().join(self.path).join("Cargo.toml");
        let text = fs::read_to_string(&manifest).with_context(|| format!("read {}", manifest.display()))?;
        let programs = text.split("[[bin]]\n").skip(1);
        let names = programs.filter_map(|program| program.strip_prefix("name = \"")?.split('"').next());
        Ok(names.map(str::to_owned).collect())
    }

    fn run(&self, target: &str, seconds: u32) -> Result<()> {
        let Self { path, shared, bytes_max } = self;
        let corpus = format!("{path}/corpus/{target}");
        let seeds = if *shared { format!("{path}/seeds") } else { format!("{path}/seeds/{target}") };
        fs::create_dir_all(sh::root().join(&corpus)).with_context(|| format!("create {corpus}"))?;
        // weir has no unsafe code in its parsers, so assertions are what there is to find, and
        // the stable compiler can build it. The kernel program is not part of it.
        let words = ["fuzz", "run", "--fuzz-dir", path, "--sanitizer", "none", target];
        let limits = [format!("-max_total_time={seconds}"), format!("-max_len={bytes_max}")];
        let mut cargo = sh::command("cargo");
        cargo.args(words).args([corpus.as_str(), &seeds, "--"]).args(limits);
        sh::run(cargo.env("AYA_BUILD_SKIP", "1"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_found() {
        let all = all().unwrap();
        assert!(
            all.iter().any(|target| target == "parse") && all.iter().any(|target| target == "list"),
            "{all:?}"
        );
    }
}
