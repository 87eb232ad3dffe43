use super::*;
use crate::map::Sizes;

fn global(limiter_bits: u32) -> Global {
    Global {
        abi: 0,
        tick: 0,
        clock_offset: 0,
        limiter_bits,
        seed: Seed(0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3211),
        events_per_second: 0,
    }
}

/// Numbers without order: SplitMix64 of 0, 1, 2 ...
fn random(n: u64) -> u64 {
    let mut x = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ x >> 31
}

/// That no two meet follows from `keyed::permute` being one to one, which its own test shows by
/// undoing it, and from line and tag being all of its result. This checks that they are.
#[test]
fn line_and_tag_tell_v4_sources_and_limits_apart() {
    for limiter_bits in [Sizes::LIMITER_BITS_MIN, 21, Sizes::LIMITER_BITS_MAX] {
        let global = global(limiter_bits);
        let mut sources: Vec<_> = (0..1_000_000).map(|n| random(n) & 0xff_ffff_ffff).collect();
        sources.extend((0..1000).map(|low| 7 << 32 | 0xc633_6400 | low));
        sources.sort_unstable();
        sources.dedup();
        let mut places: Vec<_> = sources
            .iter()
            .map(|source| {
                let key = Key::new(&global, Address::V4(*source as u32), (source >> 32) as u8, Scope::SOURCE);
                assert!(key.line >> limiter_bits == 0 && key.tag >> TAG_BITS == 0);
                (key.line, key.tag)
            })
            .collect();
        places.sort_unstable();
        places.dedup();
        assert_eq!(places.len(), sources.len(), "{limiter_bits} bits");
    }
}

#[test]
fn v6_sources_share_by_network_and_never_with_v4() {
    let global = global(Sizes::LIMITER_BITS_MIN);
    let key = |high, low, id, bits| {
        let scope = Scope { v6_bits: bits, ..Scope::SOURCE };
        Key::new(&global, Address::V6(V6 { high, low }), id, scope)
    };
    for n in 0..100_000 {
        let (high, low) = (random(n) | 1, random(!n));
        let place = key(high, low, 1, 64);
        assert_eq!(place, key(high, !low, 1, 64));
        assert_eq!(key(high, low, 1, 48), key(high ^ 0xffff, low, 1, 48));
        assert!(place.tag & V6_TAG != 0 && place.tag >> (TAG_BITS + 1) == 0);
        assert!(place.line >> global.limiter_bits == 0);
        for other in [key(high ^ 1, low, 1, 64), key(high, low, 2, 64), key(high, low, 1, 48)] {
            assert!((place.line, place.tag) != (other.line, other.tag));
        }
    }
}
