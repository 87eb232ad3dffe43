//! Installs what this machine lacks, and nothing else.
//!
//! First come packages of the distribution, in one go; then the toolchain of the kernel program;
//! then what cargo builds. Each part finds out by itself whether it is there, so a second run only
//! looks.

/// Packages of the distribution.
mod apt;
/// Kernels of the distribution, for tests.
mod kernel;
/// The linker of the kernel program.
mod linker;
/// Servers that tests start.
mod peers;
/// Steps that take long.
mod step;
/// The compiler of the kernel program.
mod toolchain;
/// Programs for development and at run time.
mod tool;
/// Numbers with dots.
mod version;

use anyhow::{Result, ensure};

pub(crate) use kernel::{Kernel, kernel};

/// What a subcommand asks of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// Compiler and linker of the kernel program.
    Build,
    /// What the demonstration and the network tests call.
    Run,
    /// The test runner.
    Test,
    /// Formatting, clippy and the check of dependencies.
    Lint,
    /// What boots other kernels. Not part of what `setup` sets up: few need it, and it is large.
    Kernels,
    /// What the benchmark compares weir with, as far as this distribution has it.
    Bench,
    /// What makes and checks the Debian package.
    Package,
    /// What makes the bill of materials. Not part of the set-up of everything: only releases have one.
    Materials,
    /// The fuzzer. Not part of the set-up of everything: it builds for minutes and few run it.
    Fuzz,
}

/// What to set up besides.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Also get the proxies and servers that tests start, from Debian and PyPI, into target/peers (1 GB).
    #[arg(long)]
    peers: bool,
}

/// Something that is there, for the table: its name, its version, and what is to be known of it.
struct Found {
    name: &'static str,
    version: String,
    detail: String,
}

/// Sets up everything and prints the versions.
pub(crate) fn run(args: &Args) -> Result<()> {
    let mut found = install(&[Need::Build, Need::Run, Need::Test, Need::Lint])?;
    let mut missing = 0;
    for peer in if args.peers { peers::ensure() } else { Vec::new() } {
        match peer {
            Ok(peer) => found.push(peer),
            Err(error) => {
                eprintln!("setup: {error:#}");
                missing += 1;
            }
        }
    }
    print!("{}", table(&found));
    ensure!(
        missing == 0,
        "{missing} of the servers for tests cannot be had; tests with them say so and pass"
    );
    Ok(())
}

/// Gets the servers that tests start, as far as they can be had: tests without theirs say so.
pub(crate) fn peers() {
    for error in peers::ensure().into_iter().filter_map(Result::err) {
        eprintln!("setup: tests with it are not run: {error:#}");
    }
}

/// Gets what makes the Debian package; where it cannot be had, tests of the package say so.
pub(crate) fn package() {
    if let Err(error) = ensure(&[Need::Package]) {
        eprintln!("setup: tests of the Debian package are not run: {error:#}");
    }
}

/// Gets one of them alone, as far as it can be had; says why where not.
pub(crate) fn peer(name: &str) {
    if let Err(error) = peers::ensure_one(name) {
        eprintln!("setup: {name} is not used: {error:#}");
    }
}

/// Sets up what is needed; says nothing unless something has to be installed.
pub(crate) fn ensure(needs: &[Need]) -> Result<()> {
    install(needs).map(drop)
}

fn install(needs: &[Need]) -> Result<Vec<Found>> {
    let mut packages = Vec::new();
    for need in needs {
        packages.extend(match need {
            Need::Build => [toolchain::packages(), linker::packages()].concat(),
            Need::Run => tool::RUN.packages(),
            Need::Kernels => tool::KERNELS.packages(),
            Need::Package => tool::PACKAGE.packages(),
            Need::Test | Need::Lint | Need::Bench | Need::Materials | Need::Fuzz => Vec::new(),
        });
    }
    apt::install(&packages)?;
    if needs.contains(&Need::Bench) {
        // What is missing is left out of the comparison, and said so.
        if let Err(error) = apt::install(&tool::PEERS.packages()) {
            eprintln!("setup: some of what weir is compared with is missing: {error:#}");
        }
    }
    let mut found = Vec::new();
    for need in needs {
        found.extend(match need {
            Need::Build => build()?,
            Need::Run => tool::RUN.find()?,
            Need::Kernels => tool::KERNELS.find()?,
            Need::Test => vec![tool::nextest()?],
            Need::Lint => tool::lint()?,
            Need::Bench => Vec::new(),
            Need::Package => tool::package()?,
            Need::Materials => vec![tool::materials()?],
            Need::Fuzz => vec![tool::fuzz()?],
        });
    }
    Ok(found)
}

fn build() -> Result<Vec<Found>> {
    let toolchain = toolchain::ensure()?;
    let linker = linker::ensure(&toolchain)?;
    Ok(vec![
        Found { name: "rustc", version: toolchain.release.to_string(), detail: toolchain.detail() },
        Found { name: "LLVM", version: toolchain.llvm.to_string(), detail: "of this rustc".to_owned() },
        Found { name: "bpf-linker", version: linker.release.to_string(), detail: linker.detail() },
    ])
}

/// Returns the rows with their columns aligned.
fn table(rows: &[Found]) -> String {
    let width = |column: fn(&Found) -> &str| rows.iter().map(|row| column(row).len()).max().unwrap_or(0);
    let (names, versions) = (width(|row| row.name), width(|row| &row.version));
    let line = |Found { name, version, detail }: &Found| {
        format!("{}\n", format!("{name:names$}  {version:versions$}  {detail}").trim_end())
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_end_clean() {
        let row = |name, version: &str, detail: &str| Found {
            name,
            version: version.to_owned(),
            detail: detail.to_owned(),
        };
        let rows = [row("rustc", "1.96.0", "weir-bpf"), row("bpf-linker", "0.13.0", "")];
        assert_eq!(table(&rows), "rustc       1.96.0  weir-bpf\nbpf-linker  0.13.0\n");
    }
}
