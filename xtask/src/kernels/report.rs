//! What the guest tells the host: lines on a serial port of their own, so that no message of the
//! kernel can come between.

use std::{fmt, str::FromStr, time::Duration};

use anyhow::{Context as _, Result, bail};

/// A line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Report {
    /// The guest is up, with a kernel of this release.
    Booted(String),
    /// The test with this number begins.
    Started(usize),
    /// A line that it printed; of those that failed only.
    Printed(String),
    /// It has ended.
    Ended(usize, Outcome, Duration),
    /// The guest cannot go on.
    Broken(String),
    /// All tests have been run.
    Done,
}

/// How a test ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// As it should.
    Passed,
    /// It says no.
    Failed,
    /// Not at all, or not in time.
    Hung,
}

impl Outcome {
    const ALL: [Self; 3] = [Self::Passed, Self::Failed, Self::Hung];

    /// Returns the word for it.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Hung => "hung",
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Booted(release) => write!(f, "booted {release}"),
            Self::Started(number) => write!(f, "started {number}"),
            Self::Printed(line) => write!(f, "printed {line}"),
            Self::Ended(number, outcome, time) => {
                write!(f, "ended {number} {} {}", outcome.as_str(), time.as_millis())
            }
            Self::Broken(why) => write!(f, "broken {}", why.replace('\n', "; ")),
            Self::Done => write!(f, "done"),
        }
    }
}

impl FromStr for Report {
    type Err = anyhow::Error;

    fn from_str(line: &str) -> Result<Self> {
        // A terminal ends lines with a carriage return.
        let line = line.trim_end_matches(['\r', '\n']);
        let (kind, rest) = line.split_once(' ').unwrap_or((line, ""));
        let number = |text: &str| text.parse().with_context(|| format!("no number in `{line}`"));
        Ok(match kind {
            "booted" => Self::Booted(rest.to_owned()),
            "started" => Self::Started(number(rest)?),
            "printed" => Self::Printed(rest.to_owned()),
            "ended" => {
                let words: Vec<_> = rest.split(' ').collect();
                let [test, outcome, millis] = words[..] else { bail!("three words, not `{line}`") };
                let outcome = Outcome::ALL.into_iter().find(|known| known.as_str() == outcome);
                let millis = millis.parse().with_context(|| format!("no time in `{line}`"))?;
                let outcome = outcome.with_context(|| format!("no outcome in `{line}`"))?;
                Self::Ended(number(test)?, outcome, Duration::from_millis(millis))
            }
            "broken" => Self::Broken(rest.to_owned()),
            "done" => Self::Done,
            _ => bail!("the guest says `{line}`"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_as_it_was_written() {
        let reports = [
            Report::Booted("6.1.0-56-amd64".to_owned()),
            Report::Started(0),
            Report::Printed("  thread panicked: a b".to_owned()),
            Report::Printed(String::new()),
            Report::Ended(12, Outcome::Passed, Duration::from_millis(1500)),
            Report::Ended(3, Outcome::Hung, Duration::ZERO),
            Report::Broken("no veth".to_owned()),
            Report::Done,
        ];
        for report in reports {
            assert_eq!(format!("{report}\r\n").parse::<Report>().unwrap(), report);
        }
    }

    #[test]
    fn other_lines_are_refused() {
        for line in ["", "hello", "ended 1 passed", "ended 1 perhaps 2", "started x"] {
            assert!(line.parse::<Report>().is_err(), "{line}");
        }
    }

    #[test]
    fn a_reason_stays_one_line() {
        assert_eq!(Report::Broken("a\nb".to_owned()).to_string(), "broken a; b");
    }
}
