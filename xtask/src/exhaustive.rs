//! The IPv4 table, address by address, before a release.

use anyhow::Result;

use crate::{
    setup::{self, Need},
    sh,
};

/// What to check.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Which random lists.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// So many changes lead to them.
    #[arg(long, default_value_t = 0)]
    changes: u64,
}

/// Looks all 2^32 addresses up and compares with an oracle.
pub(crate) fn run(args: &Args) -> Result<()> {
    setup::ensure(&[Need::Build])?;
    let example =
        ["run", "--release", "--locked", "--package", "weir-tests", "--example", "exhaustive", "--"];
    sh::run(sh::command("cargo").args(example).args([args.seed.to_string(), args.changes.to_string()]))
}
