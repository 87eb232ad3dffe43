use std::{
    fs::{self, File},
    io::Write as _,
    path::Path,
    process::{Command, ExitStatus, Stdio},
};

use anyhow::{Context as _, Result, bail};

use crate::sh;

/// Where the output of all steps goes, from the root of the workspace.
const LOG: &str = "target/setup.log";
/// How much of it a failure shows.
const TAIL_LINES: usize = 20;

/// Runs a command that takes long: says so in one line, and shows its output only if it fails.
pub(super) fn run(what: &str, command: &mut Command) -> Result<()> {
    eprintln!("setup: {what}");
    let line = sh::line(command);
    let (status, output) = run_into_log(command).with_context(|| format!("run `{line}`"))?;
    if status.success() {
        return Ok(());
    }
    bail!(
        "{what}: `{line}` failed ({status}); its output in {LOG} ends:\n{}\n{}",
        tail(&output, TAIL_LINES),
        mend(&output)
    );
}

fn run_into_log(command: &mut Command) -> Result<(ExitStatus, String)> {
    let path = sh::root().join(LOG);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut log = File::options().create(true).append(true).open(&path)?;
    writeln!(log, "$ {}", sh::line(command))?;
    let start = log.metadata()?.len();
    let status = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).status()?;
    Ok((status, text_from(&path, start)?))
}

fn text_from(path: &Path, start: u64) -> Result<String> {
    let bytes = fs::read(path)?;
    let start = usize::try_from(start)?;
    Ok(String::from_utf8_lossy(bytes.get(start..).unwrap_or_default()).into_owned())
}

fn tail(text: &str, lines: usize) -> String {
    let all: Vec<_> = text.lines().map(|line| format!("    {line}")).collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// Returns what to do about a failure, from what the program said of it.
fn mend(output: &str) -> &'static str {
    const KNOWN: [(&[&str], &str); 4] = [
        (&["No space left on device"], "The disk is full: make room, then run `cargo xtask setup` again."),
        (
            &["Could not get lock"],
            "Another package manager is at work: wait for it, then run `cargo xtask setup` again.",
        ),
        (
            &["a password is required", "a terminal is required", "not in the sudoers file"],
            "This user may not install packages: let root do the `apt-get` part of docs/toolchain.md, then run `cargo \
             xtask setup` again.",
        ),
        (&NETWORK_OUT, NETWORK_MEND),
    ];
    let known = KNOWN.iter().find(|(words, _)| words.iter().any(|word| output.contains(word)));
    known.map_or("docs/toolchain.md shows every step by hand.", |(_, mend)| mend)
}

/// What to do when nothing can be downloaded.
pub(super) const NETWORK_MEND: &str = "The package archive or registry cannot be reached: check network, name \
     service and proxy settings, then run `cargo xtask setup` again.";

const NETWORK_OUT: [&str; 11] = [
    "Temporary failure resolving",
    "Temporary failure in name resolution",
    "Could not resolve",
    "Couldn't resolve",
    "Could not connect",
    "Couldn't connect",
    "Unable to connect",
    "Failed to connect",
    "Network is unreachable",
    "Connection timed out",
    "error trying to connect",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tail_is_the_last_lines() {
        assert_eq!(tail("a\nb\nc\n", 2), "    b\n    c");
        assert_eq!(tail("a", 2), "    a");
        assert_eq!(tail("", 2), "");
    }

    #[test]
    fn known_failures_have_their_mend() {
        let apt = "Err:1 http://example.org bookworm InRelease\n  Temporary failure resolving 'example.org'";
        assert_eq!(mend(apt), NETWORK_MEND);
        let cargo = "warning: spurious network error: [6] Could not resolve hostname";
        assert_eq!(mend(cargo), NETWORK_MEND);
        assert!(mend("sudo: a password is required").contains("let root"));
        assert!(mend("error[E0425]: cannot find value").contains("docs/toolchain.md"));
    }

    #[test]
    fn failure_names_the_command_and_shows_its_output() {
        let error =
            run("try", Command::new("sh").args(["-c", "echo it broke; exit 3"])).unwrap_err().to_string();
        assert!(error.contains("    it broke"), "{error}");
        assert!(error.contains("exit status: 3"), "{error}");
    }
}
