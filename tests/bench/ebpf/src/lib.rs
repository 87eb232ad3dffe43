//! What both sides of the benchmark must agree on: which address is the n-th, what is listed, and
//! how a program is told which to send.
#![cfg_attr(target_arch = "bpf", no_std)]
#![expect(clippy::inline_always, reason = "kernel programs are one function each")]
#![expect(clippy::cast_possible_truncation, reason = "bit fields: every cast names the width that is meant")]

/// Numbers to numbers of so many bits, one to one and back.
pub mod mix;
/// What is listed, and which sources a program sends.
pub mod source;
