//! What a metrics page says.

use std::{collections::BTreeMap, fmt, iter::Peekable, str::Chars};

use anyhow::{Context as _, Result, bail};

/// A metrics page in the text format of Prometheus.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metrics(BTreeMap<Series, f64>);

/// What names a value: displayed like on the page, with labels in alphabetical order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Series {
    /// Name of the metric.
    pub name: String,
    /// Labels and their values.
    pub labels: BTreeMap<String, String>,
}

impl Metrics {
    /// Reads a page.
    ///
    /// # Errors
    /// If a line is not of the format, or a series occurs twice.
    pub fn parse(page: &str) -> Result<Self> {
        let mut metrics = BTreeMap::new();
        for line in page.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (series, value) = parse_line(line).with_context(|| format!("metric line `{line}`"))?;
            if metrics.insert(series, value).is_some() {
                bail!("metric line `{line}` occurs twice");
            }
        }
        Ok(Self(metrics))
    }

    /// Returns the sum of all series of metric `name` that have `labels`, whatever others they have.
    /// 0 where there is none.
    #[must_use]
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        // Not `sum()`: that of nothing is -0.
        self.series(name).filter(|(series, _)| series.has(labels)).fold(0.0, |sum, (_, value)| sum + value)
    }

    /// Returns the same sum of a metric that counts, as a whole number.
    #[must_use]
    pub fn count(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        // There is no conversion that does not cut off.
        format!("{:.0}", self.sum(name, labels)).parse().unwrap_or(0)
    }

    /// Returns all series of metric `name`, in order.
    pub fn series<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a Series, f64)> {
        self.iter().filter(move |(series, _)| series.name == name)
    }

    /// Returns all series, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&Series, f64)> {
        self.0.iter().map(|(series, value)| (series, *value))
    }
}

impl Series {
    /// Returns true if all `labels` have these values.
    #[must_use]
    pub fn has(&self, labels: &[(&str, &str)]) -> bool {
        labels.iter().all(|(name, value)| self.labels.get(*name).is_some_and(|known| known == value))
    }
}

impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if self.labels.is_empty() {
            return Ok(());
        }
        let labels: Vec<String> =
            self.labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
        write!(f, "{{{}}}", labels.join(","))
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Reads `name{label="value",…} number`, after which a time may follow.
fn parse_line(line: &str) -> Result<(Series, f64)> {
    let end = line.find(['{', ' ']).context("no value")?;
    let name = line[..end].to_owned();
    let mut rest = line[end..].chars().peekable();
    let mut labels = BTreeMap::new();
    if rest.next_if_eq(&'{').is_some() {
        while rest.next_if_eq(&'}').is_none() {
            let (label, value) = parse_label(&mut rest)?;
            labels.insert(label, value);
            rest.next_if_eq(&',');
        }
    }
    let value: String = rest.collect();
    let value = value.split_whitespace().next().context("no value")?;
    // Rust knows `NaN` and, without a sign, `Inf`, but not `+Inf`.
    let value = value.trim_start_matches('+').parse().context("no number")?;
    Ok((Series { name, labels }, value))
}

fn parse_label(rest: &mut Peekable<Chars<'_>>) -> Result<(String, String)> {
    let mut label = String::new();
    while let Some(char) = rest.next_if(|char| *char != '=') {
        label.push(char);
    }
    if rest.next() != Some('=') || rest.next() != Some('"') {
        bail!("label `{label}` without a value");
    }
    let mut value = String::new();
    loop {
        match rest.next().with_context(|| format!("value of label `{label}` does not end"))? {
            '"' => return Ok((label, value)),
            '\\' => match rest.next().context("nothing behind a backslash")? {
                'n' => value.push('\n'),
                char => value.push(char),
            },
            char => value.push(char),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = r#"# HELP weir_packets_total Packets.
# TYPE weir_packets_total counter
weir_packets_total{interface="eth0",family="ipv4",verdict="drop"} 1500
weir_packets_total{interface="eth0",family="ipv6",verdict="drop"} 20 1700000000000
weir_packets_total{interface="eth1",family="ipv6",verdict="pass",} 3

up 1
odd{path="a \"b\" \\ } , c\n"} +Inf
nothing{} NaN
"#;

    #[test]
    fn a_page_is_read() {
        let metrics = Metrics::parse(PAGE).unwrap();
        assert_eq!(metrics.iter().count(), 6);
        assert!((metrics.sum("weir_packets_total", &[("verdict", "drop")]) - 1520.0).abs() < 0.1);
        assert!((metrics.sum("weir_packets_total", &[]) - 1523.0).abs() < 0.1);
        assert!((metrics.sum("up", &[]) - 1.0).abs() < 0.1);
        assert!(metrics.sum("absent", &[]).abs() < 0.1);
        assert!(metrics.sum("odd", &[]).is_infinite());
        assert!(metrics.sum("nothing", &[]).is_nan());
        let (odd, _) = metrics.series("odd").next().unwrap();
        assert_eq!(odd.labels["path"], "a \"b\" \\ } , c\n");
        assert_eq!(odd.to_string(), r#"odd{path="a \"b\" \\ } , c\n"}"#);
    }

    #[test]
    fn a_bad_page_is_refused() {
        for line in ["x", "x ", "x y", "x{a=1} 1", "x{a=\"1} 1", "x{a", "x 1\nx 2", "x{a=\"\\"] {
            assert!(Metrics::parse(line).is_err(), "{line}");
        }
    }
}
