//! Grammars of lists.

use serde::{Deserialize, Serialize};

/// The grammar of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// An address or prefix a line, comments from `#` or `;`, anything behind the first word.
    #[default]
    Plain,
}

impl Format {
    /// Says what is wrong with it, and the mend.
    pub(super) fn validate(&self) -> Result<(), String> {
        match self {
            Self::Plain => Ok(()),
        }
    }
}
