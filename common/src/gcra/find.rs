use super::{Clock, DEBT_BITS, TAT_BITS, TAT_MASK};
use crate::line::{Line, Memory, WORDS};

/// Returns which word of `line` is, or may become, the bucket of `tag`: its own, else the first
/// that owes nothing. Nothing where all eight owe.
///
/// Without branches within a pass: which word it is cannot be foretold, and eight branches would be
/// as many paths for the verifier.
#[inline(always)]
pub(super) fn find<M: Memory, C: Clock>(memory: &M, clock: &C, line: &Line, tag: u64) -> Option<u32> {
    // Where it is as long as its line has no other: worth a branch, most lines are of that kind.
    if line.word(0).load() >> TAT_BITS == tag {
        return Some(0);
    }
    let words = line.load();
    let mut own = 0;
    let mut i = 0;
    while i < WORDS {
        own |= bit(memory.mask_if_zero(words[i] >> TAT_BITS ^ tag), i);
        i += 1;
    }
    if own != 0 {
        return Some(lowest(own));
    }
    let now = clock.coarse() & TAT_MASK;
    let mut free = 0;
    let mut i = 0;
    while i < WORDS {
        // Ahead by 1 to DEBT_MAX: the difference less 1 is below 2^32.
        let ahead = (words[i].wrapping_sub(now) & TAT_MASK).wrapping_sub(1);
        let owes = memory.mask_if_zero(ahead >> DEBT_BITS);
        let never_used = memory.mask_if_zero(words[i] >> 1 | words[i] & 1);
        free |= bit(!owes | never_used, i);
        i += 1;
    }
    if free == 0 { None } else { Some(lowest(free)) }
}

/// Returns bit `place` if all bits of `mask` are set, else 0. By shifts: where all ones or none meet a
/// constant in an AND, the verifier of Linux 6.18 goes on with both as paths of their own.
#[inline(always)]
const fn bit(mask: u64, place: usize) -> u64 {
    (mask >> 63) << place
}

/// Returns the place of the lowest bit of a number below 2^8. BPF has no instruction for it: a
/// multiplication moves the place into the upper bits, where a table in a constant has it (de
/// Bruijn sequence of 8 bits).
#[inline(always)]
const fn lowest(bits: u64) -> u32 {
    const SEQUENCE: u64 = 0x17;
    const PLACES: u64 = places(SEQUENCE);
    let bit = bits & bits.wrapping_neg();
    let window = (bit * SEQUENCE) >> 5 & 7;
    (PLACES >> (window * 4) & 7) as u32
}

/// Returns the place of the bit for each window of the sequence, four bits each.
const fn places(sequence: u64) -> u64 {
    let mut places = 0;
    let mut place = 0;
    while place < 8 {
        let window = (sequence << place) >> 5 & 7;
        places |= place << (window * 4);
        place += 1;
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_bit_is_found() {
        for bits in 1..1u64 << 8 {
            assert_eq!(lowest(bits), bits.trailing_zeros(), "{bits:#b}");
        }
    }
}
