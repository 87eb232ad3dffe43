//! Where the packets of an interface are counted.

use weir_common::{control, counter::INTERFACES, line::Memory as _, map::Map};

use super::{Pins, Result, counters::Counters, memory::Mapped};

/// Returns the counter slot of an interface: its own, else the one that it had under another index
/// (`known`), else a free one, else one whose interface is not among those `wanted`.
pub(super) fn take(
    memory: &Mapped,
    pins: &Pins,
    ifindex: u32,
    known: Option<u32>,
    wanted: &[u32],
) -> Result<u32> {
    let held = control::interface_slot(memory, ifindex);
    if held != 0 {
        return Ok(held);
    }
    let held_by =
        |slot: u32| memory.line(Map::Control, 1 + slot / 8).map_or(0, |line| line.word(slot).load());
    let is_wanted = |slot: u32| wanted.iter().any(|&index| u64::from(index) == held_by(slot));
    let known = known.filter(|&slot| slot != 0 && !is_wanted(slot));
    let free = (1..INTERFACES).find(|&slot| held_by(slot) == 0);
    let slot = if let Some(slot) = known.or(free) {
        slot
    } else {
        let Some(stale) = (1..INTERFACES).find(|&slot| !is_wanted(slot)) else { return Ok(0) };
        // What another interface has received is not this one's.
        Counters::open(pins)?.reset_interface(stale)?;
        stale
    };
    control::set_interface(memory, slot, ifindex);
    Ok(slot)
}
