//! `weir schema`, `completions` and `man`: what is made from the command line and the configuration
//! themselves, and docs/cli.md.

use std::{
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
};

use clap::{Arg, Command, CommandFactory as _};
use clap_complete::Shell;
use clap_mangen::Man;

use super::{Cli, CliError};
use crate::{config, output};

/// Prints the JSON Schema of the configuration.
pub(super) fn schema() {
    output::print(output::Format::Json, &config::schema(), |_| String::new());
}

/// Prints what a shell needs to complete commands.
pub(super) fn completions(shell: Shell) {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "weir", &mut script);
    output::raw(&script);
}

/// Prints the manual page of weir, or writes one for each command into a directory.
pub(super) fn man(directory: Option<&Path>) -> Result<(), CliError> {
    let Some(directory) = directory else {
        let page = page(&complete()).map_err(|error| written(Path::new("weir.1"), error))?;
        output::raw(&page);
        return Ok(());
    };
    let mut written_pages = Vec::new();
    write(&complete(), directory, &mut written_pages)?;
    output::print(output::Format::Table, &written_pages, |pages| {
        let names: Vec<String> = pages.iter().map(|page| page.display().to_string()).collect();
        names.join("\n")
    });
    Ok(())
}

fn write(command: &Command, directory: &Path, pages: &mut Vec<PathBuf>) -> Result<(), CliError> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    let path = directory.join(format!("{name}.1"));
    page(command).and_then(|page| fs::write(&path, page)).map_err(|error| written(&path, error))?;
    pages.push(path);
    shown(command).try_for_each(|command| write(command, directory, pages))
}

fn written(path: &Path, error: io::Error) -> CliError {
    CliError::Page { path: path.to_owned(), error }
}

fn page(command: &Command) -> io::Result<Vec<u8>> {
    let mut page = Vec::new();
    Man::new(command.clone().override_usage(synopsis(command))).render(&mut page)?;
    Ok(page)
}

/// Returns how a command is written, with what its options take; clap_mangen leaves that out.
fn synopsis(command: &Command) -> String {
    let shown = |argument: &&Arg| !argument.is_hide_set();
    let mut words = vec![full_name(command)];
    let options = command.get_arguments().filter(|argument| !argument.is_positional());
    let (required, optional): (Vec<&Arg>, Vec<&Arg>) =
        options.filter(shown).partition(|argument| argument.is_required_set());
    words.extend(optional.iter().map(|argument| format!("[{argument}]")));
    words.extend(required.iter().map(ToString::to_string));
    words.extend(command.get_positionals().filter(shown).map(ToString::to_string));
    if command.has_subcommands() {
        words.push("<COMMAND>".to_owned());
    }
    words.join(" ")
}

/// Returns the command line with everything that clap adds at last: names, usage, `help`.
fn complete() -> Command {
    let mut command = Cli::command();
    command.build();
    command
}

/// Returns the commands of a command, without those that clap adds.
fn shown(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|command| command.get_name() != "help" && !command.is_hide_set())
}

/// Returns docs/cli.md: every command as its `--help` has it.
#[must_use]
pub fn reference() -> String {
    let mut text = String::from(
        "# Commands\n\n\
         Made from the command line itself: this is what `weir COMMAND --help` says, and what `weir man` has as \
         manual pages.\n\n\
         All commands that tell something take `-o json`. Colours are used on terminals only, and not where \
         `NO_COLOR` is set. Options that all commands have are listed once, with `weir`.\n\n",
    );
    let command = complete();
    list(&command, &mut text);
    text.push('\n');
    section(&command, &mut text);
    text
}

fn list(command: &Command, text: &mut String) {
    for command in shown(command) {
        let name = full_name(command);
        let anchor = name.replace(' ', "-");
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        _ = writeln!(text, "- [`{name}`](#{anchor}): {about}");
    }
}

fn full_name(command: &Command) -> String {
    command.get_bin_name().unwrap_or_else(|| command.get_name()).to_owned()
}

fn section(command: &Command, text: &mut String) {
    let mut shown_alone = command.clone().term_width(100);
    if full_name(command) != "weir" {
        let globals: Vec<_> =
            command.get_arguments().filter(|it| it.is_global_set()).map(|it| it.get_id().clone()).collect();
        for id in globals {
            shown_alone = shown_alone.mut_arg(id, |argument| argument.hide(true));
        }
    }
    let help = shown_alone.render_long_help().to_string();
    let help: Vec<&str> = help.lines().map(str::trim_end).collect();
    _ = write!(text, "## {}\n\n```text\n{}\n```\n\n", full_name(command), help.join("\n").trim());
    shown(command).for_each(|command| section(command, text));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Commands that tell nothing, or nothing that has another form.
    const WITHOUT_OUTPUT: [&str; 5] =
        ["weir run", "weir feeds receive", "weir schema", "weir completions", "weir man"];

    fn leaves(command: &Command) -> Vec<Command> {
        let below: Vec<Command> = shown(command).flat_map(leaves).collect();
        if below.is_empty() { vec![command.clone()] } else { below }
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_tells_json_and_shows_examples() {
        for command in leaves(&complete()) {
            let name = full_name(&command);
            let output = command.get_arguments().any(|argument| argument.get_short() == Some('o'));
            assert_eq!(output, !WITHOUT_OUTPUT.contains(&name.as_str()), "-o of {name}");
            assert!(command.get_about().is_some(), "{name} does not say what it does");
        }
        for command in shown(&complete()) {
            let examples = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
            let name = full_name(command);
            assert!(examples.contains("Examples:") && examples.contains(&name), "no examples of {name}");
        }
    }

    /// `WEIR_WRITE_DOCS=1 cargo test -p weir the_reference_is_up_to_date` writes it.
    #[test]
    fn the_reference_is_up_to_date() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/cli.md");
        if std::env::var_os("WEIR_WRITE_DOCS").is_some() {
            fs::write(&path, reference()).unwrap();
        }
        let written = fs::read_to_string(&path).unwrap_or_default();
        assert!(written == reference(), "docs/cli.md is not what the command line says; see this test");
    }

    #[test]
    fn there_is_a_page_for_every_command() {
        let directory = tempfile::tempdir().unwrap();
        let mut pages = Vec::new();
        write(&complete(), directory.path(), &mut pages).unwrap();
        let names: Vec<_> = pages.iter().map(|page| page.file_name().unwrap().to_str().unwrap()).collect();
        for name in ["weir.1", "weir-ban.1", "weir-feeds-list.1"] {
            assert!(names.contains(&name), "{names:?}");
        }
        let page = fs::read_to_string(directory.path().join("weir-ban.1")).unwrap();
        assert!(page.contains("proxy") && page.contains("Examples"), "{page}");
        assert!(!page.contains("default: ]"), "{page}");
        let ban = complete();
        let ban = ban.find_subcommand("ban").unwrap();
        let usage = synopsis(ban);
        for want in ["weir ban ", "[--for <TIME>]", "[--shadow]", " <PREFIX>..."] {
            assert!(usage.contains(want), "no `{want}` in {usage}");
        }
        assert_eq!(usage.matches("--shadow").count(), 1, "{usage}");
        // Shells are not told apart here: that each makes something is enough.
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "weir", &mut script);
            assert!(String::from_utf8(script).unwrap().contains("explain"), "{shell}");
        }
    }
}
