//! What somebody else has changed of the rules in the kernel is found and put right.

use std::time::Duration;

use weir_common::line::Memory;

use super::{Order, Rules, kernel};
use crate::datapath::rules::RuleError;

/// The two clocks of a rule are read one after the other, and the kernel's advances by the tick.
const SLACK: Duration = Duration::from_secs(1);

impl Rules {
    /// Makes the kernel's rules those of the book again: puts back what is missing or says something
    /// else, lifts what the book does not know. Returns how many that were.
    ///
    /// # Errors
    /// [`RuleError`]
    pub fn mend(&self, memory: &impl Memory) -> Result<usize, RuleError> {
        let mut mended = 0;
        for (prefix, entry) in self.entries.iter().filter(|(_, entry)| !entry.rule.proxy_only) {
            let lasts = entry.end.left(memory);
            // What ends about now may have ended there.
            if lasts.is_some_and(|lasts| lasts < SLACK) {
                continue;
            }
            let wanted = entry.rule.order(lasts);
            if kernel::get(memory, *prefix)?.is_none_or(|has| !same(has, wanted)) {
                kernel::set(memory, *prefix, wanted)?;
                mended += 1;
            }
        }
        // Nobody knows those of strangers, nor how many there are.
        if !self.strangers {
            if !kernel::looks_for(memory, self.in_kernel()) {
                mended += 1;
            }
            mended += kernel::retain(memory, self.in_kernel())?;
        }
        Ok(mended)
    }
}

fn same(has: Order, wanted: Order) -> bool {
    let ends = match (has.lasts, wanted.lasts) {
        (Some(has), Some(wanted)) => has.abs_diff(wanted) < SLACK,
        (has, wanted) => has == wanted,
    };
    ends && (Order { lasts: wanted.lasts, ..has }) == wanted
}
