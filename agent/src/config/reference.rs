//! docs/configuration.md: every setting, as the schema has it and with an example that is tried.

/// What is said of defaults, bounds and restarts is so.
mod truth;
mod settings;

use std::{collections::HashSet, fmt::Write as _, fs, path::Path};

use serde_json::Value;

use super::schema;
use settings::{Setting, settings};

/// A configuration in which every setting has a value.
const EXAMPLES: &str = include_str!("reference/examples.yaml");

/// What takes effect when the agent starts, as [`super::Config::at_start`] has it.
const AT_START: [&str; 8] =
    ["listen", "tables", "audit", "l7.listen", "l7.bouncers", "l7.push", "l7.fleet", "l7.notify"];

/// Sections, and where more is said. Settings that belong to none come first.
const SECTIONS: [(&str, &str); 20] = [
    ("interfaces", "[Modes](datapath.md#attach), [which to choose](tuning.md#native-generic-tcx)."),
    ("services", ""),
    ("management", "[What cannot be cut off](datapath.md#what-cannot-be-cut-off)."),
    ("feeds", "[Sources, formats, guards](feeds.md); exactly one of the sources is given."),
    ("consensus", "[How lists are merged](feeds.md#merge)."),
    ("limits", "[How limits work](datapath.md#limits), [how to choose them](tuning.md#limits)."),
    ("listen", "[Control](control.md), [metrics and the status page](observe.md)."),
    ("tables", "[How large](tuning.md#memory)."),
    ("events", ""),
    ("audit", "[The audit](audit.md)."),
    ("l7.listen", "[Which way for which proxy](l7.md)."),
    ("l7.clients", "[Who the client is](l7.md#who-the-client-is)."),
    ("l7.rules", "[Rules](l7/rules.md)."),
    ("l7.routes", "[Routes and quotas](l7/quotas.md)."),
    ("l7.quotas", "[Quotas](l7/quotas.md)."),
    ("l7.escalation", "[Escalation](l7/escalation.md)."),
    ("l7.bouncers", "[CrowdSec](l7/crowdsec.md)."),
    ("l7.push", "[Push](l7/push.md)."),
    ("l7.fleet", "[Fleet](l7/fleet.md)."),
    ("l7.notify", "[Notify](l7/notify.md)."),
];

/// How values are written.
const TYPES: [(&str, &str); 21] = [
    ("word", "one of the values that are listed"),
    ("text", "a text; a number need not be quoted"),
    ("name", "1 to 64 letters, digits, `-`, `_` and `.`, once among its like; metrics have it as a label"),
    (
        "prefix",
        "an address or a prefix, without bits behind it: `192.0.2.7`, `192.0.2.0/24`, `2001:db8::/32`",
    ),
    ("port", "a port or a range and the protocol: `443/tcp`, `8000-8010/udp`"),
    ("address", "an address and a port: `127.0.0.1:9646`, `[::1]:9646`"),
    ("endpoint", "an address and a port, or `unix:` and a path: `unix:/run/weir/http.sock`"),
    ("path", "the whole path of a file, from `/`"),
    ("url", "a URL, without user and password"),
    ("redis", "`redis://HOST:PORT/DATABASE`, or the path of a socket; without a password, and without TLS"),
    (
        "time",
        "`30s`, `10m`, `1h 30m`, `7d`, from 1 s to ten years; `forever` where no end makes sense; milliseconds where the range has them",
    ),
    ("rate", "units in a time: `1000/s`, `10k/s`, `90/m`, `3600/h`, `10MB/s`"),
    ("count", "`2000`, `20k`, `1.5M`, `1G`; with `Ki`, `Mi`, `Gi` powers of 1024"),
    ("size", "bytes, likewise: `64MiB`, `10MB`"),
    ("percent", "`80%`"),
    ("condition", "an expression in [CEL](l7/rules.md)"),
    ("header", "the name of an HTTP header, in any case"),
    ("pattern", "with `*` for anything"),
    ("column", "the number of a column, from 1 or from -1 for the last, or its name in the header row"),
    ("key", "the key of a JSON object"),
    ("words", "a text or a list of texts"),
];

/// Kinds that say what they are.
const PLAIN: [&str; 5] = ["number", "true or false", "settings", "word or settings", "map"];

fn takes_effect(path: &str) -> &'static str {
    let within = |section: &&str| {
        path.strip_prefix(*section).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    if AT_START.iter().any(within) { "a start" } else { "a reload" }
}

/// Returns docs/configuration.md.
fn reference() -> String {
    let mut text = String::from(
        "# Configuration\n\n\
         Every setting of the configuration file. Made from the schema (`weir schema`) and from a configuration in \
         which each has a value; tests try every example, default and bound, and fail where this page is not up to \
         date. [config/example.yaml](../config/example.yaml) is a file to begin with.\n\n\
         - One YAML file, at most 4 MiB, `/etc/weir/weir.yaml` unless `--config` says otherwise. What it does not \
         know it refuses: a misspelt setting is an error, never ignored. `weir check` names line, field, value and \
         mend.\n\
         - A path like `feeds[].guards.shrink` is the setting `shrink` in `guards` of one of the `feeds`.\n\
         - What takes effect at **a reload** does so at SIGHUP, `weir policy apply` and `rollback`, and of course \
         at a start; what takes effect at **a start** only then, and `apply` says so where it is different.\n\
         - Secrets are never in the file; settings name files that have them.\n\
         - For an editor: `weir schema > /etc/weir/schema.json`, and as the first line of the file \
         `# yaml-language-server: $schema=/etc/weir/schema.json`.\n\n\
         ## How values are written\n\n| type | what |\n|---|---|\n",
    );
    for (name, what) in TYPES {
        _ = writeln!(text, "| {name} | {what} |");
    }
    let settings = settings(&schema(), EXAMPLES);
    let section = |setting: &Setting| {
        let within = |(section, _): &&(&str, &str)| {
            setting.path == *section
                || setting.path.starts_with(&format!("{section}."))
                || setting.path.starts_with(&format!("{section}[]"))
        };
        SECTIONS.iter().find(within).map(|(section, _)| *section)
    };
    let examples = serde_saphyr::from_str(EXAMPLES).unwrap();
    let loose = settings.iter().filter(|setting| section(setting).is_none() && !setting.group);
    _ = write!(text, "\n## Of the whole\n\nTakes effect at a reload.\n\n");
    table(loose, &examples, &mut text);
    for (name, see) in SECTIONS {
        let about = settings.iter().find(|setting| setting.path == name).map_or("", |setting| &setting.what);
        let effect = takes_effect(name);
        _ = write!(text, "\n## {name}\n\n{about} Takes effect at {effect}. {see}");
        text.truncate(text.trim_end().len());
        text.push_str("\n\n");
        let within = settings.iter().filter(|setting| section(setting) == Some(name));
        table(within.filter(|setting| setting.path != name || !setting.group), &examples, &mut text);
    }
    text
}

fn table<'s>(settings: impl Iterator<Item = &'s Setting>, examples: &Value, text: &mut String) {
    text.push_str("| setting | type | default | range | example | what |\n|---|---|---|---|---|---|\n");
    for setting in settings {
        let Setting { path, kind, unit, what, required, default, .. } = setting;
        let unit = unit.as_ref().map(|unit| format!(" ({unit})")).unwrap_or_default();
        let default = match default {
            Some(default) => format!("`{}`", flow(default)),
            None if *required => "required".to_owned(),
            None => "none".to_owned(),
        };
        let example = truth::find(examples, path).and_then(|place| examples.pointer(&place));
        let example =
            example.filter(|_| !setting.group).map(|it| format!("`{}`", flow(it))).unwrap_or_default();
        let default = if setting.group && !required { "" } else { &default };
        let cells = [
            format!("`{path}`"),
            format!("{kind}{unit}"),
            default.to_owned(),
            range(setting),
            example,
            what.clone(),
        ];
        _ = writeln!(text, "| {} |", cells.map(|cell| cell.replace('|', "\\|")).join(" | "));
    }
}

fn range(setting: &Setting) -> String {
    let bound = |value: &Value| match (value.as_str(), value.as_f64()) {
        (Some(text), _) => text.to_owned(),
        (None, Some(number)) => number.to_string(),
        (None, None) => value.to_string(),
    };
    match (&setting.least, &setting.most) {
        (Some(least), Some(most)) => format!("{} to {}", bound(least), bound(most)),
        (Some(least), None) => format!("from {}", bound(least)),
        (None, Some(most)) => format!("to {}", bound(most)),
        (None, None) => String::new(),
    }
}

/// Writes a value as people do in YAML, on one line.
fn flow(value: &Value) -> String {
    match value {
        Value::String(text) if is_plain(text) => text.clone(),
        Value::String(text) if text.contains('\'') && !text.contains(['"', '\\']) => format!("\"{text}\""),
        Value::String(text) => format!("'{}'", text.replace('\'', "''")),
        Value::Array(values) => format!("[{}]", values.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Value::Object(values) => {
            let pair = |(key, value): (&String, &Value)| {
                format!("{}: {}", flow(&Value::from(key.as_str())), flow(value))
            };
            format!("{{{}}}", values.iter().map(pair).collect::<Vec<_>>().join(", "))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

fn is_plain(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@()".contains(c);
    // A colon is plain within a word, and so are these.
    let inner = |c: char| plain(c) || ":%*".contains(c);
    text.starts_with(|c: char| c.is_ascii_alphanumeric() || "/_".contains(c))
        && !text.ends_with(':')
        && text.chars().all(inner)
        && text.parse::<f64>().is_err()
        && (text.matches(':').count() < 2 || text.contains("://"))
}

/// `WEIR_WRITE_DOCS=1 cargo test -p weir reference` writes it, and docs/cli.md.
#[test]
fn the_reference_of_settings_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
    if std::env::var_os("WEIR_WRITE_DOCS").is_some() {
        fs::write(&path, reference()).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(written == reference(), "docs/configuration.md is not what the schema says; see this test");
}

#[test]
fn every_type_is_described() {
    let described: HashSet<&str> = TYPES.iter().map(|(name, _)| *name).chain(PLAIN).collect();
    for Setting { path, kind, what, .. } in settings(&schema(), EXAMPLES) {
        let kind = kind.trim_start_matches("list of ");
        assert!(described.contains(kind), "{path} is a {kind}, which the page does not describe");
        assert!(what.len() > 10 && what.ends_with(['.', ')']), "{path} says too little: {what}");
    }
}

#[test]
fn examples_can_be_copied() {
    for (text, value) in [
        ("[443/tcp, 443/udp]", serde_json::json!(["443/tcp", "443/udp"])),
        ("{'401': 10, 5xx: 1}", serde_json::json!({"401": 10, "5xx": 1})),
        ("127.0.0.1:9646", serde_json::json!("127.0.0.1:9646")),
        ("'2001:db8:20::/48'", serde_json::json!("2001:db8:20::/48")),
        ("'Bearer '", serde_json::json!("Bearer ")),
        ("http://127.0.0.1:9093", serde_json::json!("http://127.0.0.1:9093")),
        ("\"f('/x')\"", serde_json::json!("f('/x')")),
    ] {
        assert_eq!(flow(&value), text);
    }
    let examples: Value = serde_saphyr::from_str(EXAMPLES).unwrap();
    let again: Value = serde_saphyr::from_str(&flow(&examples)).unwrap();
    assert_eq!(again, examples);
}
