//! Any frame: the parser does not panic, its facts do not contradict each other, and an independent
//! parser finds the same. The checks are those of `common/tests/packet`.
#![no_main]

#[path = "../../tests/packet/check.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|frame: &[u8]| {
    check::check(frame);
});
