//! The report: what was found, what was aimed at, and on what it was measured, in Markdown.

use std::{fmt::Write as _, fs, path::Path};

use anyhow::{Context as _, Result};

use crate::{
    environment,
    finding::{AIM_HEADS, Finding, HEADS, aims, rows},
    plot,
};

/// Writes `bench.md`, `bench.svg` and `bench.jsonl` into a directory, which is made if need be.
pub(crate) fn write(directory: &Path, findings: &[Finding]) -> Result<()> {
    fs::create_dir_all(directory).with_context(|| format!("make {}", directory.display()))?;
    let lines: Vec<_> = findings.iter().map(|finding| finding.json().to_string()).collect();
    let json = lines.join("\n") + "\n";
    for (name, text) in
        [("bench.md", markdown(findings)), ("bench.svg", plot::chart(findings)), ("bench.jsonl", json)]
    {
        let path = directory.join(name);
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}

fn markdown(findings: &[Finding]) -> String {
    let mut text = String::from(
        "# Benchmark\n\nOne run, in turns: only what stands in one row was measured together. docs/benchmarks.md says what \
         each case is.\n\n![Ratios](bench.svg)\n\n## Targets\n\n",
    );
    text.push_str(&table(&AIM_HEADS, aims(findings)));
    text.push_str("\n## Cases\n\n");
    text.push_str(&table(&HEADS, rows(findings)));
    text.push_str("\n## Environment\n\n");
    let environment = environment::describe();
    text.push_str(&table(
        &["what", "value"],
        environment.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect(),
    ));
    text
}

fn table(heads: &[&str], rows: Vec<Vec<String>>) -> String {
    let line = |cells: &[String]| {
        let cells: Vec<_> = cells.iter().map(|cell| cell.replace('|', "\\|").replace('\n', " ")).collect();
        format!("| {} |\n", cells.join(" | "))
    };
    let heads: Vec<_> = heads.iter().map(|&head| head.to_owned()).collect();
    let mut text = line(&heads);
    _ = writeln!(text, "|{}", " --- |".repeat(heads.len()));
    for row in rows {
        text.push_str(&line(&row));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_cannot_break_its_table() {
        let text = table(&["a", "b"], vec![vec!["x|y".to_owned(), "two\nlines".to_owned()]]);
        assert_eq!(text, "| a | b |\n| --- | --- |\n| x\\|y | two lines |\n");
    }
}
