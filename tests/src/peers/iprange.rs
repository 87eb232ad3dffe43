use std::{fs, net::Ipv4Addr, process::Command};

use anyhow::{Context as _, Result};

use super::{from_debian, output};
use crate::ranges::Ranges;

/// Returns what `iprange` makes of a list of IPv4; nothing: there is no such program.
///
/// # Errors
/// If it refuses the list.
pub fn iprange(text: &str) -> Result<Option<Ranges>> {
    let Some(program) = from_debian("iprange") else { return Ok(None) };
    let file = tempfile::NamedTempFile::new().context("make a file")?;
    fs::write(file.path(), text).context("write a file")?;
    let mut command = Command::new(program);
    command.arg("--print-ranges").arg(file.path());
    let found = output(command)?;
    let bits = |word: &str| {
        let address = word.parse::<Ipv4Addr>().with_context(|| format!("`{word}` of iprange"));
        address.map(|address| u128::from(address.to_bits()))
    };
    let ranges = found.lines().map(|line| {
        let (first, last) = line.split_once('-').unwrap_or((line, line));
        Ok((bits(first)?, bits(last)?))
    });
    Ok(Some(Ranges::union(ranges.collect::<Result<Vec<_>>>()?)))
}
