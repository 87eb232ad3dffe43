//! Frames that no honest sender makes. Later than reputation, so that an allowed source is not
//! held to it and a listed one is dropped also where malformed frames are only counted.

use weir_common::control::Malformed;

use crate::{Case, Step};

#[inline(always)]
pub(super) fn judge(case: &mut Case) -> Step {
    match case.packet.defect {
        Some(defect) => case.drop(defect.reason(), case.policy.malformed == Malformed::Shadow),
        None => Step::Continue(()),
    }
}
