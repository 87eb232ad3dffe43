//! Lists that come with weir.

use super::Entries;

/// A list that comes with weir.
#[derive(Clone, Copy, Debug)]
pub struct Pack {
    /// Its name, as `pack` in the configuration has it.
    pub name: &'static str,
    /// What it is, in a line, with its date and licence.
    pub about: &'static str,
    texts: &'static [&'static str],
}

impl Pack {
    /// Returns what it lists.
    #[must_use]
    pub fn entries(&self) -> Entries {
        let mut entries = Entries::default();
        for text in self.texts {
            let parsed = super::format::plain::parse(text.as_bytes());
            entries.v4.extend(parsed.entries.v4);
            entries.v6.extend(parsed.entries.v6);
        }
        entries
    }
}

/// All of them.
pub const ALL: &[Pack] = &[];

/// Returns the pack of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Pack> {
    ALL.iter().find(|pack| pack.name == name)
}

/// Returns their names.
#[must_use]
pub fn names() -> Vec<&'static str> {
    ALL.iter().map(|pack| pack.name).collect()
}
