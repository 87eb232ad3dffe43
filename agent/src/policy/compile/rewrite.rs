//! What has changed into lines.

use weir_common::{
    class::NONE,
    line::Memory,
    map::Sizes,
    table::{Full, v4, v6},
};

use super::{Written, write_rest};
use crate::policy::{
    Policy,
    change::{Block, Change, Edit},
    classes::Classes,
    merge::{Entry, Merged},
};

impl Written {
    /// Returns true if `change`, which leads to `merged`, can be written into what this is.
    #[must_use]
    pub fn takes(&self, sizes: Sizes, merged: &Merged, change: &Change) -> bool {
        let stands = |edit: &Edit| {
            let length = u32::from(edit.length);
            edit.after == NONE || self.v6_lengths.stored(length) == length
        };
        // All of IPv6 is two entries, which an entry for one of the halves may hide.
        let whole = merged.v6.first().is_some_and(|entry| entry.length == 0)
            || change.v6.first().is_some_and(|edit| edit.length == 0);
        (self.header.v4_bits, self.header.v6_bits) == (sizes.v4_bits, sizes.v6_bits)
            && (change.v6.is_empty() || self.v6_lengths.are_exact() && !whole && change.v6.iter().all(stands))
    }
}

/// Writes `change` into `generation`, which holds `written` and is not in force; it then holds the
/// present policy. IPv6 lengths that no entry has any more stay declared, which costs time alone.
///
/// # Errors
/// [`Full`] where it does not fit; `generation` then holds neither.
pub fn rewrite(
    memory: &impl Memory,
    generation: u32,
    written: &mut Written,
    policy: &Policy,
    classes: &Classes,
    change: &Change,
) -> Result<(), Full> {
    let header = &mut written.header;
    let parts = |entry: &Entry<u32>| (entry.network, entry.length, entry.class);
    for Block { network, base, before, after } in &change.v4 {
        let (before, after) = (before.iter().map(parts), after.iter().map(parts));
        v4::rewrite(memory, generation, header, *network, *base, before, after)?;
    }
    let edits = || change.v6.iter().filter(|edit| edit.before != edit.after);
    for edit in edits().filter(|edit| edit.after == NONE) {
        v6::remove(memory, generation, header, edit.network, edit.length.into())?;
    }
    for edit in edits().filter(|edit| edit.after != NONE) {
        v6::insert(memory, generation, header, edit.network, edit.length.into(), edit.after)?;
    }
    write_rest(memory, generation, header, policy, classes);
    Ok(())
}
