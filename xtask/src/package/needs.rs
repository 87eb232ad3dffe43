use std::{path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};

use crate::sh;

/// Libraries of the C library's package, and the one that unwinds panics. Whatever else there is must be
/// linked in.
const LIBRARIES: [&str; 4] = ["libc.so.6", "libm.so.6", "libgcc_s.so.1", "ld-linux-"];
/// The version of the C library that the package depends on: that of Debian 12.
const GLIBC: (u32, u32) = (2, 36);

/// Checks that the program runs where the package says that it does, and prints what it needs.
pub(super) fn check(program: &Path) -> Result<()> {
    let libraries = libraries(&readelf("--dynamic", program)?);
    let versions = readelf("--version-info", program)?;
    let newest = newest_glibc(&versions).context("the program needs no C library, which is odd")?;
    println!("{}: needs {}, glibc {}.{}", program.display(), libraries.join(", "), newest.0, newest.1);
    let foreign: Vec<_> =
        libraries.iter().filter(|name| !LIBRARIES.iter().any(|known| name.starts_with(known))).collect();
    ensure!(
        foreign.is_empty(),
        "{} is linked to {foreign:?}, which the package does not ask for",
        program.display()
    );
    ensure!(
        newest <= GLIBC,
        "{} needs glibc {}.{}, and the package asks for {}.{}: build on Debian 12, or raise `depends` in \
         agent/Cargo.toml",
        program.display(),
        newest.0,
        newest.1,
        GLIBC.0,
        GLIBC.1
    );
    Ok(())
}

fn readelf(what: &str, program: &Path) -> Result<String> {
    sh::text(Command::new("readelf").args([what, "--wide"]).arg(program).env("LC_ALL", "C"))
}

/// Returns the libraries in what `readelf --dynamic` says.
fn libraries(said: &str) -> Vec<String> {
    let needed = said.lines().filter(|line| line.contains("(NEEDED)"));
    let names = needed.filter_map(|line| line.split(['[', ']']).nth(1));
    names.map(ToOwned::to_owned).collect()
}

/// Returns the newest version of glibc in what `readelf --version-info` says.
fn newest_glibc(said: &str) -> Option<(u32, u32)> {
    let words = said.split(|c: char| c.is_whitespace() || c == '(' || c == ')');
    let versions = words.filter_map(|word| {
        let mut numbers = word.strip_prefix("GLIBC_")?.split('.').map(|number| number.parse().ok());
        Some((numbers.next()??, numbers.next()??))
    });
    versions.max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_and_versions_are_read() {
        let said = "Dynamic section at offset 0x1 contains 2 entries:\n  Tag        Type     Name/Value\n \
                    0x0000000000000001 (NEEDED)   Shared library: [libgcc_s.so.1]\n \
                    0x0000000000000001 (NEEDED)   Shared library: [libc.so.6]\n \
                    0x000000000000000c (INIT)     0x1000\n";
        assert_eq!(libraries(said), ["libgcc_s.so.1", "libc.so.6"]);
        let said =
            "  000: 0 (*local*)  2 (GLIBC_2.2.5)  3 (GLIBC_2.34)\n  0x0020: Name: GLIBC_2.9  Flags: none\n";
        assert_eq!(newest_glibc(said), Some((2, 34)));
        assert_eq!(newest_glibc("No version information found in this file."), None);
    }

    #[test]
    fn the_package_asks_for_this_c_library() {
        let manifest = std::fs::read_to_string(sh::root().join("agent/Cargo.toml")).unwrap();
        assert!(manifest.contains(&format!("libc6 (>= {}.{})", GLIBC.0, GLIBC.1)));
    }
}
