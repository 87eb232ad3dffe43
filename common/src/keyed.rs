//! Keyed permutations and hashes, so that nobody outside can aim at a line.

use crate::control::Seed;

/// Maps `value`, a number of `bits` bits, to another one. For a given seed no two values meet
/// (every step is a bijection modulo 2^bits: xor with a constant, multiplication by an odd number,
/// xor with an own right shift), so the parts of the result identify the value exactly.
#[inline(always)]
#[must_use]
pub const fn permute(seed: Seed, bits: u32, value: u64) -> u64 {
    let mask = (1 << bits) - 1;
    let half = bits / 2;
    let mut x = (value ^ seed.0) & mask;
    x = x.wrapping_mul(seed.1 | 1) & mask;
    x ^= x >> half;
    x = x.wrapping_mul(0x9e37_79b9_7f4a_7c15) & mask;
    x ^= x >> half;
    x = x.wrapping_mul(seed.0 | 1) & mask;
    x ^ x >> half
}

/// Undoes [`permute`]: returns the number that it maps to `image`. For whoever looks at the buckets; the
/// kernel never has to.
#[must_use]
pub const fn invert(seed: Seed, bits: u32, image: u64) -> u64 {
    let mask = (1 << bits) - 1;
    let half = bits / 2;
    let mut x = unshift(bits, half, image & mask);
    x = x.wrapping_mul(inverse(seed.0 | 1)) & mask;
    x = unshift(bits, half, x);
    x = x.wrapping_mul(inverse(0x9e37_79b9_7f4a_7c15)) & mask;
    x = unshift(bits, half, x);
    x = x.wrapping_mul(inverse(seed.1 | 1)) & mask;
    (x ^ seed.0) & mask
}

/// Undoes `x ^ x >> shift` for numbers of `bits` bits: each step gets `shift` more of them right.
const fn unshift(bits: u32, shift: u32, value: u64) -> u64 {
    let mut x = value;
    let mut right = shift;
    while right < bits {
        x = value ^ x >> shift;
        right += shift;
    }
    x
}

/// Returns the inverse of an odd number modulo 2^64: each step doubles the bits that are right.
const fn inverse(odd: u64) -> u64 {
    let mut x = 1u64;
    let mut step = 0;
    while step < 6 {
        x = x.wrapping_mul(2u64.wrapping_sub(odd.wrapping_mul(x)));
        step += 1;
    }
    x
}

/// Hashes 128 bits and a small number to 64 bits. Both halves enter through a secret
/// multiplication, then the finalizer of MurmurHash3 spreads them.
#[inline(always)]
#[must_use]
pub const fn hash(seed: Seed, high: u64, low: u64, salt: u64) -> u64 {
    let mut x = (high ^ seed.0).wrapping_mul(seed.1 | 1);
    x ^= x >> 32;
    x = x.wrapping_add(low ^ seed.1).wrapping_mul(seed.0 | 1);
    x ^= x >> 29;
    x = x.wrapping_add(salt).wrapping_mul(0xff51_afd7_ed55_8ccd);
    x ^= x >> 33;
    x = x.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    x ^ x >> 33
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permute_is_a_bijection() {
        for seed in [Seed(0, 0), Seed(1, 2), Seed(0xdead_beef_1234_5678, 0x0bad_cafe_8765_4321)] {
            for bits in [9, 16, 17] {
                let mut seen = vec![false; 1 << bits];
                for value in 0..1 << bits {
                    let image = permute(seed, bits, value) as usize;
                    assert!(!seen[image], "{bits} bits: {value} meets another at {image}");
                    seen[image] = true;
                }
            }
        }
    }

    /// Too wide to try all values: it is undone instead.
    #[test]
    fn permute_can_be_undone() {
        let mut n = 1u64;
        let mut random = || {
            n = n.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            n ^ n >> 29
        };
        for bits in [33, 40, 41, 44, 46] {
            let mask = (1 << bits) - 1;
            for _ in 0..20_000 {
                let (seed, value) = (Seed(random(), random()), random() & mask);
                assert_eq!(invert(seed, bits, permute(seed, bits, value)), value, "{bits} bits, {seed:?}");
            }
        }
    }

    #[test]
    fn consecutive_addresses_spread_evenly() {
        let seed = Seed(0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3211);
        let mut load = vec![0u32; 1 << 12];
        for address in 0..1 << 16 {
            load[(permute(seed, 45, 0xc633_0000 + address) >> 33) as usize] += 1;
        }
        // 16 a line on average; a Poisson line of mean 16 exceeds 48 once in 10^10.
        assert!(load.iter().all(|&n| n < 48), "fullest line has {:?}", load.iter().max());
    }
}
