use super::{File, Tree, Violation};

/// Lines of a file that one reads in one go.
const MOST_LINES: usize = 400;
/// Tests hold tables.
const MOST_LINES_OF_TESTS: usize = 500;

/// Finds Rust files that are too long.
pub(super) fn lengths(tree: &Tree) -> Vec<Violation> {
    tree.rust().filter_map(length).collect()
}

fn length(file: &File) -> Option<Violation> {
    let most = if file.is_in("tests") { MOST_LINES_OF_TESTS } else { MOST_LINES };
    let lines = file.text.lines().count();
    let mend = || format!("{lines} lines, at most {most}: split it by topic");
    (lines > most).then(|| file.violation(most + 1, "short files", mend()))
}

/// Where the trees of developers are. Taken apart, so that this file passes.
const MACHINE_PATHS: [&str; 3] = [concat!("/", "work/"), concat!("/", "root/"), concat!("/", "home/")];

/// Finds paths that exist on one machine only.
pub(super) fn machine_paths(tree: &Tree) -> Vec<Violation> {
    tree.files.iter().flat_map(machine_paths_in).collect()
}

fn machine_paths_in(file: &File) -> Vec<Violation> {
    let mend = |path| format!("`{path}` is on one machine only: use a path from the root of the tree");
    let mut violations = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        let found = MACHINE_PATHS.iter().find(|path| has_absolute(line, path));
        violations.extend(found.map(|path| file.violation(index + 1, "no path of a machine", mend(path))));
    }
    violations
}

/// Returns true if `path` occurs in the line without being the tail of a longer one.
fn has_absolute(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        before.is_none_or(|char| !char.is_alphanumeric() && !"_-.})*".contains(char))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_files_are_found() {
        let text = |lines| "//\n".repeat(lines);
        let tree = Tree::of(&[
            ("common/src/a.rs", &text(400)),
            ("common/src/b.rs", &text(401)),
            ("tests/tests/c.rs", &text(500)),
            ("tests/tests/d.rs", &text(501)),
            ("docs/e.md", &text(2000)),
        ]);
        let found: Vec<_> =
            lengths(&tree).into_iter().map(|violation| (violation.path, violation.line)).collect();
        assert_eq!(found, [("common/src/b.rs".to_owned(), 401), ("tests/tests/d.rs".to_owned(), 501)]);
    }

    #[test]
    fn paths_of_a_machine_are_found() {
        let [first, second, third] = MACHINE_PATHS;
        let bad = format!("a\nsee {first}main\n\"{second}x\"\nfile://{third}me\n");
        let good = format!("$HOME{first}\ntarget{second}a\n./{third}\n~{}\n/workload/\n", "/a");
        let good = good.replace("./", ".");
        let tree = Tree::of(&[("docs/bad.md", &bad), ("docs/good.md", &good)]);
        let found: Vec<_> =
            machine_paths(&tree).into_iter().map(|violation| (violation.path, violation.line)).collect();
        assert_eq!(found, [2, 3, 4].map(|line| ("docs/bad.md".to_owned(), line)));
    }
}
