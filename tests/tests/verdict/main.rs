//! The table of frames: each is judged by the real program in the kernel and by the same code over
//! plain memory, and both must say what the table says.
#![expect(clippy::expect_used, clippy::panic, reason = "a test that cannot be set up has failed")]

mod cases;
mod judge;
mod rules;

use std::collections::HashSet;

use weir_common::verdict::Reason;
use weir_tests::namespace::Namespace;

use crate::{
    cases::{Case, Setting, cases},
    judge::{Hook, Kernel, Native, Outcome},
};

/// Judges every case of a setting and returns what was wrong.
fn judge_all(setting: Setting, mut judge: impl FnMut(&Case) -> Option<(Outcome, Reason)>) -> Vec<String> {
    cases(setting)
        .iter()
        .filter_map(|case| {
            let got = judge(case)?;
            let want = (case.outcome, case.reason);
            (got != want).then(|| format!("{setting:?}: {}: got {got:?}, want {want:?}", case.name))
        })
        .collect()
}

#[test]
fn native() {
    let wrong: Vec<_> = Setting::ALL
        .into_iter()
        .flat_map(|setting| {
            let native = Native::new(setting);
            judge_all(setting, |case| Some(native.judge(case)))
        })
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn kernel_xdp() {
    kernel(Hook::Xdp);
}

#[test]
fn kernel_tcx() {
    kernel(Hook::Tcx);
}

fn kernel(hook: Hook) {
    let namespace = Namespace::new().expect("a namespace");
    for setting in Setting::ALL {
        let wrong = namespace
            .run(|| {
                let mut kernel = Kernel::new(setting, hook)?;
                Ok(judge_all(setting, |case| kernel.judge(case)))
            })
            .expect("programs that load");
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
}

#[test]
fn every_reason_occurs() {
    let seen: HashSet<_> = Setting::ALL.into_iter().flat_map(cases).map(|case| case.reason).collect();
    let missing: Vec<_> = Reason::ALL.into_iter().filter(|reason| !seen.contains(reason)).collect();
    assert!(missing.is_empty(), "no frame ends for {missing:?}");
}

#[test]
fn a_listed_source_gets_nothing_through() {
    let through: Vec<_> = cases(Setting::Enforce)
        .into_iter()
        .filter(|case| case.from_listed && case.outcome != Outcome::Drop)
        .map(|case| case.name)
        .collect();
    assert!(through.is_empty(), "{through:?}");
}
