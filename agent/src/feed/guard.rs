//! What is not believed of a new list. Pure.

use super::Parsed;
use crate::config::Guards;

/// Rejected lines that are too many in any list.
const REJECTED_MIN: usize = 10;

/// Why a list is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It has no entry.
    #[error("has no entries; set can_be_empty if that is meant so")]
    Empty,
    /// Much of it is not in its format.
    #[error("{rejected} of {lines} lines are not in its format, first line {line}: `{text}`")]
    Garbled {
        /// Lines that are no entry.
        rejected: usize,
        /// Lines that are an entry or should be.
        lines: usize,
        /// The first of them.
        line: usize,
        /// How it starts.
        text: String,
    },
}

impl Refused {
    /// All causes, as metrics have them.
    pub const CAUSES: &[&str] = &["empty", "garbled"];

    /// Returns the cause, as metrics have it.
    #[must_use]
    pub const fn cause(&self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Garbled { .. } => "garbled",
        }
    }

    /// Returns true if an operator may take the list all the same.
    #[must_use]
    pub const fn acceptable(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Garbled { .. } => false,
        }
    }
}

/// Judges a new list of a feed whose list in force has `before` entries; nothing: it has none yet.
///
/// # Errors
/// [`Refused`] where it must not be put in force.
pub fn judge(guards: &Guards, before: Option<usize>, parsed: &Parsed) -> Result<(), Refused> {
    let lines = parsed.entries.len() + parsed.rejected.lines + parsed.rejected.too_wide;
    if parsed.rejected.lines >= REJECTED_MIN
        && parsed.rejected.lines * 100 > lines * usize::from(guards.rejected)
    {
        let (line, text) = parsed.first_rejected.clone().unwrap_or_default();
        return Err(Refused::Garbled { rejected: parsed.rejected.lines, lines, line, text });
    }
    _ = before;
    if parsed.entries.is_empty() && !guards.can_be_empty {
        return Err(Refused::Empty);
    }
    Ok(())
}
