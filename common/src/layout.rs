//! Sizes and alignments that both sides rely on. A change here is a change of the ABI: raise
//! [`crate::ABI_VERSION`].

use crate::{
    counter::{Counter, Tally},
    event::Event,
    line::{Line, Word},
};

const _: () = assert!(size_of::<Word>() == 8 && align_of::<Word>() == 8);
const _: () = assert!(size_of::<Line>() == 64 && align_of::<Line>() == 64);
const _: () = assert!(size_of::<Counter>() == 16 && align_of::<Counter>() == 8);
const _: () = assert!(size_of::<Tally>() == 40 && align_of::<Tally>() == 8);
const _: () = assert!(size_of::<Event>() == 48 && align_of::<Event>() == 8);
