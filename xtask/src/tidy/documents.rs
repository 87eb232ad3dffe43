use super::{Tree, Violation, source};

const DECISIONS: &str = "docs/adr/";
const DECISIONS_INDEX: &str = "docs/adr/README.md";
const MAPS: &str = "common/src/map.rs";
const MAPS_DOC: &str = "docs/datapath.md";

/// Finds decisions that the index does not list.
pub(super) fn decisions(tree: &Tree) -> Vec<Violation> {
    let index = tree.file(DECISIONS_INDEX).map_or("", |file| file.text.as_str());
    let mut violations = Vec::new();
    for file in tree.files.iter().filter(|file| file.path != DECISIONS_INDEX) {
        let Some(name) = file.path.strip_prefix(DECISIONS) else { continue };
        if !index.contains(name) {
            violations.push(file.violation(
                1,
                "every decision is listed",
                format!("add it to {DECISIONS_INDEX}"),
            ));
        }
    }
    violations
}

/// Finds maps that the documentation does not describe.
pub(super) fn maps(tree: &Tree) -> Vec<Violation> {
    const RULE: &str = "every map is described";
    let Some(maps) = tree.file(MAPS) else { return Vec::new() };
    let Some(doc) = tree.file(MAPS_DOC) else {
        return vec![maps.violation(1, RULE, format!("write {MAPS_DOC}: it is missing"))];
    };
    let words: Vec<_> = doc.text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect();
    let mend = |name| format!("add `{name}` to {MAPS_DOC}: what it holds, who writes it and who reads it");
    // What cannot be read is told by `homes`.
    let names = source::strings(&maps.text).unwrap_or_default();
    let missing = names.into_iter().filter(|(name, _)| is_map(name) && !words.contains(&name.as_str()));
    missing.map(|(name, line)| maps.violation(line, RULE, mend(name))).collect()
}

fn is_map(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_uppercase())
        && text.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decisions_must_be_listed() {
        let (one, two) = (("docs/adr/0001-one.md", ""), ("docs/adr/0002-two.md", ""));
        let index = (DECISIONS_INDEX, "- [One](0001-one.md)");
        let found: Vec<_> = decisions(&Tree::of(&[one, two, index])).into_iter().map(|v| v.path).collect();
        assert_eq!(found, [two.0]);
        assert_eq!(decisions(&Tree::of(&[one, two])).len(), 2, "without an index nothing is listed");
        assert_eq!(decisions(&Tree::of(&[one, index])), []);
    }

    #[test]
    fn maps_must_be_described() {
        let code = (
            MAPS,
            "/// EVENTS\nconst A: &str = \"V4_ROOT\";\nconst B: &str = \"COUNTERS\";\nconst C: &str = \"weir\";",
        );
        let lines = |doc: &str| -> Vec<_> {
            maps(&Tree::of(&[code, (MAPS_DOC, doc)])).into_iter().map(|violation| violation.line).collect()
        };
        assert_eq!(lines("| `V4_ROOT` | `COUNTERS` |"), [0usize; 0]);
        assert_eq!(lines("| `V4_ROOT` | `CLASS_COUNTERS` |"), [3]);
        assert_eq!(maps(&Tree::of(&[code])).len(), 1, "the document is missing");
        assert_eq!(maps(&Tree::of(&[])), []);
    }
}
