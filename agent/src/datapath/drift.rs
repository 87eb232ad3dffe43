//! What somebody has changed behind the agent's back: found, and so far put back as that can be done
//! without the policy.

use std::time::Duration;

use super::Datapath;
use crate::policy::{generations::Generations, seal::Drift};

/// How long a round over all tables takes, unless they are so large that [`LINES_MAX`] make it longer.
const ROUND: Duration = Duration::from_secs(30);
/// How often they are looked at.
const PAUSE: Duration = Duration::from_secs(1);
/// And how often while there is something that was written and is not sealed yet.
const PAUSE_NEW: Duration = Duration::from_millis(100);
/// Lines that are looked at then: 2 MB, which takes less than a millisecond.
const LINES_NEW: u32 = 32 << 10;
/// Lines that are looked at at most: 8 MB.
const LINES_MAX: u32 = 128 << 10;

impl Datapath {
    /// Looks at a piece of the maps, and returns what has been changed in it since it was written, and
    /// after which time to look again. Settings are put back already. Where a generation was changed, the
    /// next policy is written whole; the one in force has to be published anew.
    pub fn look(&mut self) -> (Vec<Drift>, Duration) {
        let seals = &mut self.loaded.seals;
        let (lines, pause) = if seals.are_due() {
            (LINES_NEW, PAUSE_NEW)
        } else {
            // A round takes as many looks as there are pauses in it.
            let looks = u32::try_from(ROUND.as_secs() / PAUSE.as_secs().max(1)).unwrap_or(u32::MAX);
            (seals.lines().div_ceil(looks).min(LINES_MAX), PAUSE)
        };
        let found = seals.look(&*self.loaded.memory, lines);
        if found.iter().any(|drift| drift.generation.is_some()) {
            // A change to what was changed behind our back would be something else.
            self.loaded.generations = Generations::default();
        }
        (found, pause)
    }

    /// Returns true if `generation` is what packets are judged by.
    #[must_use]
    pub fn is_in_force(&self, generation: u32) -> bool {
        weir_common::control::generation(&*self.loaded.memory) == generation
    }
}
