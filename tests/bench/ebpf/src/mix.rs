//! Numbers to numbers of so many bits, one to one and back.
//!
//! The n-th address of a list is the image of n, so that no array of addresses takes the cache from
//! what is measured; and whether an address is listed follows from what it is the image of.

const FIRST: u64 = 0x9e37_79b9_7f4a_7c15;
const SECOND: u64 = 0xc2b2_ae3d_27d4_eb4f;

/// Returns the image of `value` among the numbers of `bits` bits (2 to 64); another for each `salt`.
#[inline(always)]
#[must_use]
pub const fn forth(bits: u32, salt: u64, value: u64) -> u64 {
    let (mask, half) = (mask(bits), bits.div_ceil(2));
    let mut x = (value ^ salt) & mask;
    x ^= x >> half;
    x = x.wrapping_mul(FIRST) & mask;
    x ^= x >> half;
    x = x.wrapping_mul(SECOND) & mask;
    x ^ x >> half
}

/// Returns the number whose image `value` is.
#[inline(always)]
#[must_use]
pub const fn back(bits: u32, salt: u64, value: u64) -> u64 {
    const FIRST_INVERSE: u64 = inverse(FIRST);
    const SECOND_INVERSE: u64 = inverse(SECOND);
    let (mask, half) = (mask(bits), bits.div_ceil(2));
    // A shift by half of the bits or more undoes itself.
    let mut x = value & mask;
    x ^= x >> half;
    x = x.wrapping_mul(SECOND_INVERSE) & mask;
    x ^= x >> half;
    x = x.wrapping_mul(FIRST_INVERSE) & mask;
    x ^= x >> half;
    (x ^ salt) & mask
}

#[inline(always)]
const fn mask(bits: u32) -> u64 {
    u64::MAX >> (64 - bits)
}

/// Returns the inverse of an odd number modulo 2^64: each step doubles the bits that are right.
const fn inverse(odd: u64) -> u64 {
    let (mut x, mut step) = (odd, 0);
    while step < 6 {
        x = x.wrapping_mul(2u64.wrapping_sub(odd.wrapping_mul(x)));
        step += 1;
    }
    x
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_numbers_have_one_image() {
        for bits in [2, 9, 16, 20] {
            let mut seen = vec![false; 1 << bits];
            for value in 0..1 << bits {
                let image = usize::try_from(forth(bits, 7, value)).unwrap();
                assert!(!seen[image], "{bits} bits: {value} meets another at {image}");
                seen[image] = true;
            }
        }
    }

    #[test]
    fn back_undoes_forth() {
        for bits in [2, 20, 24, 32, 61, 64] {
            for n in 0..10_000u64 {
                let value = n.wrapping_mul(0x5851_f42d_4c95_7f2d) & mask(bits);
                for salt in [0, 1, 0xdead_beef_0bad_cafe] {
                    assert_eq!(back(bits, salt, forth(bits, salt, value)), value, "{bits} bits");
                }
            }
        }
    }

    #[test]
    fn images_of_neighbours_are_spread() {
        let mut load = [0u32; 256];
        for value in 0..1 << 16 {
            load[forth(32, 1, value) as usize >> 24] += 1;
        }
        // 256 each on average.
        assert!(load.iter().all(|&n| (128..512).contains(&n)), "{load:?}");
    }
}
