//! The description of the pages is that of the pages.

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::Value;

use super::status::OPENAPI;

/// Method and path, with parameters as `{}`.
type Operation = (String, String);

fn documented() -> BTreeSet<Operation> {
    let document: Value = serde_json::from_str(OPENAPI).unwrap();
    let mut operations = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            operations.insert((method.clone(), anonymous(path)));
        }
    }
    operations
}

fn anonymous(path: &str) -> String {
    let part = |part: &str| if part.starts_with('{') { "{}".to_owned() } else { part.to_owned() };
    path.split('/').map(part).collect::<Vec<_>>().join("/")
}

/// Reads the calls of `.route(` in the modules of the API.
fn served() -> BTreeSet<Operation> {
    let call = regex::Regex::new(r#"\.route\(\s*"(?<path>[^"]+)",(?<methods>[^;]*?)\n"#).unwrap();
    let method = regex::Regex::new(r"\b(get|put|post|delete|patch)\(").unwrap();
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/api");
    let mut operations = BTreeSet::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|end| end != "rs") || path.ends_with("tests.rs") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let calls: Vec<_> = call.captures_iter(&text).collect();
        assert_eq!(calls.len(), text.matches(".route(").count(), "{}: one route a line", path.display());
        for call in calls {
            for method in method.captures_iter(&call["methods"]) {
                operations.insert((method[1].to_owned(), anonymous(&call["path"])));
            }
        }
    }
    operations
}

#[test]
fn every_page_is_in_the_openapi_document_and_no_other() {
    let (documented, served) = (documented(), served());
    let difference: Vec<_> = documented.symmetric_difference(&served).collect();
    assert!(difference.is_empty(), "agent/src/api/openapi.json and the routes differ: {difference:?}");
    assert!(served.len() >= 12, "{served:?}");
}

#[test]
fn every_page_is_in_the_reference() {
    let reference = include_str!("../../../docs/control.md");
    let reference: BTreeSet<String> = reference.split('`').map(anonymous).collect();
    for (method, path) in documented() {
        let request = format!("{} {path}", method.to_uppercase());
        assert!(reference.contains(&request), "docs/control.md does not name `{request}`");
    }
}

#[test]
fn the_document_names_this_version_and_only_what_it_has() {
    let document: Value = serde_json::from_str(OPENAPI).unwrap();
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(document["openapi"], "3.1.0");
    for part in OPENAPI.split("\"$ref\": \"#").skip(1) {
        let pointer = part.split('"').next().unwrap();
        assert!(document.pointer(pointer).is_some(), "nothing at {pointer}");
    }
}
