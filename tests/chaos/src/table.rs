//! Tables for people.

/// Returns rows as aligned columns, the first of which holds words, the others numbers.
pub(crate) fn aligned(heads: &[&str], rows: &[Vec<String>]) -> String {
    let heads = heads.iter().map(|&head| head.to_owned()).collect::<Vec<_>>();
    let lines: Vec<&Vec<String>> = std::iter::once(&heads).chain(rows).collect();
    let columns = lines.iter().map(|line| line.len()).max().unwrap_or(0);
    let width = |column: usize| {
        lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for line in lines {
        let cells = line.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| {
            if column == 0 { format!("{cell:width$}") } else { format!("{cell:>width$}") }
        });
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let rows = [["a", "10"], ["bcd", "5"]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(aligned(&["x", "n"], &rows), "x     n\na    10\nbcd   5\n");
    }
}
