//! What the two generations of the tables hold, and how the next policy gets into the one that is not
//! in force: by what has changed where that is little and known, else whole.
//!
//! The generation to be written is the one before the last publication, so it lacks what that has
//! changed as well.

use weir_common::{control::Seed, line::Memory, map::Sizes};

use super::{
    List, Policy,
    change::{self, Change},
    classes::{Classes, TooManyClasses},
    compile::{self, CompileError, Written},
    merge::{self, Merged},
};

/// A change is written where it touches no more than one in so many entries, else all is written:
/// entry by entry it is dearer than in the order of the tables.
const TOUCHED_ONE_IN: usize = 8;

/// A policy as a change to the one of a publication.
#[derive(Clone, Debug)]
pub struct Delta {
    /// The number of that publication.
    pub since: u64,
    /// What is different.
    pub change: Change,
}

/// What is in force, to tell what is different in the next policy.
#[derive(Clone, Debug)]
pub struct InForce {
    /// The number of its publication.
    pub publication: u64,
    /// Its lists.
    pub lists: Vec<List>,
    /// The same, merged.
    pub merged: Merged,
}

impl InForce {
    /// Merges the next lists. Where they differ little from these, that alone is merged and returned
    /// as well.
    ///
    /// # Errors
    /// [`TooManyClasses`] where they overlap in too many ways.
    pub fn merge(
        before: Option<&Self>,
        lists: &[List],
        classes: &mut Classes,
    ) -> Result<(Merged, Option<Delta>), TooManyClasses> {
        if let Some(Self { publication, lists: known, merged }) = before
            && let Some(touched) = change::touched(known, lists)
            && let Some((merged, change)) = change::merge(merged, lists, &touched, classes)?
        {
            return Ok((merged, Some(Delta { since: *publication, change })));
        }
        Ok((merge::merge(lists, classes)?, None))
    }
}

/// A policy about to become lines.
#[derive(Clone, Copy, Debug)]
pub struct Next<'p> {
    /// What it says.
    pub policy: &'p Policy,
    /// Its lists.
    pub merged: &'p Merged,
    /// The numbers in `merged`.
    pub classes: &'p Classes,
    /// What is different, if that is known.
    pub delta: Option<&'p Delta>,
}

/// What the generations hold, as far as it is known: nothing of what an agent before has written.
#[derive(Debug, Default)]
pub struct Generations {
    held: [Option<Held>; 2],
    /// The number of the publication in force, if it is one of these.
    publication: Option<u64>,
    /// What changed with it.
    last: Option<Change>,
}

/// What a generation holds.
#[derive(Debug)]
struct Held {
    written: Written,
    /// Entries rewritten since all of it was. They leave marks and bits that cost time.
    edited: usize,
}

/// How a policy was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// All of it.
    Whole,
    /// What has changed.
    Change,
}

impl Way {
    /// Returns the name that logs use.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Change => "change",
        }
    }
}

impl Generations {
    /// Writes a policy as `generation`, which must not be in force, and returns how. `seed` is a new
    /// secret, for when all is written.
    ///
    /// # Errors
    /// [`CompileError`]; `generation` must then not be published.
    pub fn write(
        &mut self,
        memory: &impl Memory,
        generation: u32,
        sizes: Sizes,
        seed: Seed,
        next: &Next<'_>,
    ) -> Result<Way, CompileError> {
        let Next { policy, merged, classes, delta } = *next;
        // Unknown until all of it has been written.
        let held = self.held[generation as usize & 1].take();
        let entries = merged.v4.len() + merged.v6.len();
        if let (Some(mut held), Some(change)) = (held, self.missing(delta)) {
            held.edited += change.len();
            if change.len() <= entries / TOUCHED_ONE_IN
                && held.edited <= entries
                && held.written.takes(sizes, merged, &change)
                && compile::rewrite(memory, generation, &mut held.written, policy, classes, &change).is_ok()
            {
                self.held[generation as usize & 1] = Some(held);
                return Ok(Way::Change);
            }
        }
        let written = compile::write(memory, generation, sizes, seed, policy, merged, classes)?;
        self.held[generation as usize & 1] = Some(Held { written, edited: 0 });
        Ok(Way::Whole)
    }

    /// Notes that what was written last is in force, as this publication.
    pub fn published(&mut self, publication: u64, delta: Option<&Delta>) {
        let delta = delta.filter(|delta| self.publication == Some(delta.since));
        self.last = delta.map(|delta| delta.change.clone());
        self.publication = Some(publication);
    }

    /// Returns what leads from the generation that is not in force to the policy of `delta`.
    fn missing(&self, delta: Option<&Delta>) -> Option<Change> {
        let delta = delta.filter(|delta| self.publication == Some(delta.since))?;
        Some(self.last.as_ref()?.then(&delta.change))
    }
}

#[cfg(test)]
mod tests;
