//! What stands in the documentation holds: the command line takes each command, configurations are valid,
//! links lead somewhere.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
};

use clap::{Parser as _, error::ErrorKind};

use super::Cli;
use crate::config::{self, Config};

/// A page and its text.
struct Page {
    path: PathBuf,
    text: String,
}

fn root() -> PathBuf {
    fs::canonicalize(Path::new(env!("CARGO_MANIFEST_DIR")).join("..")).unwrap()
}

/// Returns all pages: docs and what stands beside the sources for people.
fn pages() -> Vec<Page> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(root()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|end| end == "md") {
            paths.push(path);
        }
    }
    for directory in ["docs", "deploy", "common/fuzz"] {
        collect(&root().join(directory), &mut paths);
    }
    let page = |path: PathBuf| Page { text: fs::read_to_string(&path).unwrap(), path };
    let pages: Vec<Page> = paths.into_iter().map(page).collect();
    assert!(pages.len() > 30, "{} pages", pages.len());
    pages
}

fn collect(directory: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, paths);
        } else if path.extension().is_some_and(|end| end == "md") {
            paths.push(path);
        }
    }
}

/// Where a command stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In a block of code: it is to be typed as it stands.
    Block,
    /// In a sentence: arguments may be left out.
    Sentence,
}

/// Returns what looks like a command of ours, with its line.
fn commands(text: &str) -> Vec<(usize, Place, String)> {
    let mut found = Vec::new();
    let mut within = false;
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            within = !within;
        } else if within {
            // Behind two blanks or a number sign stands what it does.
            let typed = line.trim_start().trim_start_matches("$ ");
            let typed = typed.split("  ").next().unwrap_or_default();
            let typed = typed.split(" #").next().unwrap_or_default();
            let parts = typed.split(['|', ';', '&']).map(str::trim).filter(|part| part.starts_with("weir "));
            found.extend(parts.map(|part| (number + 1, Place::Block, part.to_owned())));
        } else {
            let spans = line.split('`').skip(1).step_by(2).filter(|span| span.starts_with("weir "));
            found.extend(spans.map(|span| {
                let span = span.split(['|', '>', ';', '&']).next().unwrap_or_default().trim();
                (number + 1, Place::Sentence, span.to_owned())
            }));
        }
    }
    found
}

/// Splits words as a shell does, as far as documents go.
fn words(command: &str) -> Vec<String> {
    let mut words = Vec::new();
    let (mut word, mut quote, mut open) = (String::new(), None, false);
    for c in command.chars() {
        match quote {
            Some(end) if c == end => quote = None,
            None if c == '\'' || c == '"' => (quote, open) = (Some(c), true),
            None if c.is_whitespace() => {
                if open || !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                open = false;
            }
            Some(_) | None => word.push(c),
        }
    }
    if open || !word.is_empty() {
        words.push(word);
    }
    words
}

/// A word in capitals stands for something, and brackets mean that it may be left out.
fn filled(word: &str) -> (String, bool) {
    let bare = word.trim_matches(['[', ']', '…']).trim_end_matches("...");
    let stands_for = bare.len() > 1 || bare == "N";
    if !stands_for
        || !bare.chars().all(|c| c.is_ascii_uppercase() || c == '-')
        || !bare.starts_with(char::is_alphabetic)
    {
        return (bare.to_owned(), false);
    }
    let value = match bare {
        "N" | "VERSION" | "SEQ" | "NUMBER" => "1",
        "TIME" => "1h",
        "PORT" => "443/tcp",
        _ if bare.ends_with("ADDRESS") || bare == "PREFIX" || bare == "IP" || bare == "SOURCE" => "192.0.2.7",
        _ => "x",
    };
    (value.to_owned(), true)
}

#[test]
fn the_command_line_takes_every_command_of_the_documents() {
    let mut tried = 0;
    let mut refused = Vec::new();
    for Page { path, text } in pages() {
        for (line, place, command) in commands(&text) {
            let words = words(command.split(['>', '<']).next().unwrap_or_default());
            let filled: Vec<(String, bool)> = words.iter().map(|word| filled(word)).collect();
            // `weir COMMAND --help` is about all of them.
            if filled.get(1).is_some_and(|(_, stands_for)| *stands_for) {
                continue;
            }
            let stands_for = filled.iter().any(|(word, stands_for)| *stands_for || word.starts_with('/'));
            let words = filled.into_iter().map(|(word, _)| word).filter(|word| !word.is_empty());
            tried += 1;
            let Err(error) = Cli::try_parse_from(words) else { continue };
            let is_named_only = matches!(
                error.kind(),
                ErrorKind::MissingRequiredArgument
                    | ErrorKind::MissingSubcommand
                    | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
            );
            let is_help = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            // What a word in capitals stands for is not known here, and files are not there.
            let is_unknown = error.kind() == ErrorKind::ValueValidation && stands_for;
            let excused = is_help || is_unknown || (is_named_only && place == Place::Sentence);
            if !excused {
                let why = error.to_string();
                let why = why.lines().next().unwrap_or_default().to_owned();
                refused.push(format!("{}:{line}: `{command}`: {why}", path.display()));
            }
        }
    }
    assert!(refused.is_empty(), "these are no commands:\n{}", refused.join("\n"));
    assert!(tried > 150, "{tried} commands were tried");
}

/// Returns the blocks of YAML of a page, without the blanks that all lines of one begin with, each with its
/// line.
fn blocks(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut open: Option<(usize, usize, String)> = None;
    for (number, line) in text.lines().enumerate() {
        let indent = line.len() - line.trim_start().len();
        match &mut open {
            None if line.trim_start().starts_with("```yaml") => {
                open = Some((number + 2, indent, String::new()));
            }
            None => {}
            Some(_) if line.trim_start().starts_with("```") => {
                found.extend(open.take().map(|(line, _, block)| (line, block)));
            }
            Some((_, indent, block)) => {
                block.push_str(line.get(*indent..).unwrap_or_default());
                block.push('\n');
            }
        }
    }
    found
}

#[test]
fn every_configuration_of_the_documents_is_valid() {
    let schema = config::schema();
    let sections = schema["properties"].as_object().unwrap();
    let mut tried = 0;
    for Page { path, text } in pages() {
        for (line, block) in blocks(&text) {
            let Ok(value) = serde_saphyr::from_str::<serde_json::Value>(&block) else { continue };
            let Some(settings) = value.as_object() else { continue };
            if !settings.keys().all(|name| sections.contains_key(name)) {
                continue;
            }
            // A part of a configuration is whole with what has no default.
            let whole = format!("{block}interfaces: [{{name: eth0}}]\n");
            let block = if settings.contains_key("interfaces") { block } else { whole };
            let place = PathBuf::from(format!("{}:{line}", path.display()));
            if let Err(error) = Config::parse(&place, &block) {
                panic!("{error}");
            }
            tried += 1;
        }
    }
    assert!(tried > 20, "{tried} configurations were tried");
}

/// Returns the anchor that a heading gets.
fn anchor(heading: &str) -> String {
    let heading = heading.trim().to_lowercase();
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn anchors(text: &str) -> HashSet<String> {
    let mut within = false;
    let mut anchors = HashSet::new();
    for line in text.lines() {
        within ^= line.trim_start().starts_with("```");
        if !within && let Some(heading) = line.strip_prefix('#') {
            anchors.insert(anchor(heading.trim_start_matches('#')));
        }
    }
    anchors
}

#[test]
fn every_link_of_the_documents_leads_somewhere() {
    let mut broken = Vec::new();
    for Page { path, text } in pages() {
        for (number, line) in text.lines().enumerate() {
            for target in line.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
                if target.contains("://") || target.starts_with("mailto:") {
                    continue;
                }
                let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
                let to = if file.is_empty() { path.clone() } else { path.with_file_name("").join(file) };
                let there = to.exists();
                let found = anchor.is_empty()
                    || fs::read_to_string(&to).is_ok_and(|text| anchors(&text).contains(anchor));
                if !there || !found {
                    broken.push(format!("{}:{}: {target}", path.display(), number + 1));
                }
            }
        }
    }
    assert!(broken.is_empty(), "these lead nowhere:\n{}", broken.join("\n"));
}

#[test]
fn commands_are_found_and_split() {
    let text = "`weir ban PREFIX... [--for 1h]` and `weir.yaml`\n```\n$ weir check && weir run &   # go\nx | weir replay - --top 5\n```\n";
    let found: Vec<_> = commands(text).into_iter().map(|(line, _, command)| (line, command)).collect();
    let want = [
        (1, "weir ban PREFIX... [--for 1h]"),
        (3, "weir check"),
        (3, "weir run"),
        (4, "weir replay - --top 5"),
    ];
    assert_eq!(found, want.map(|(line, command)| (line, command.to_owned())));
    assert_eq!(words("weir ban 'a b' \"c\" ''"), ["weir", "ban", "a b", "c", ""]);
    assert_eq!(filled("PREFIX..."), ("192.0.2.7".to_owned(), true));
    assert_eq!(filled("[--for"), ("--for".to_owned(), false));
    assert_eq!(anchor("`weir run`, and native, generic, TCX"), "weir-run-and-native-generic-tcx");
}
