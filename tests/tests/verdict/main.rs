//! The table of frames: each is judged by the real program in the kernel and by the same code over
//! plain memory, and both must say what the table says.
#![expect(clippy::expect_used, clippy::panic, reason = "a test that cannot be set up has failed")]

mod judge;
mod mutated;
mod replayed;
mod table;

use std::collections::HashSet;

use weir_common::verdict::Reason;
use weir_tests::namespace::Namespace;

use crate::{
    judge::{Hook, Judgement, Kernel, Native, Outcome},
    table::{Case, Setting, cases},
};

/// Judges every case of a setting and returns what was wrong.
fn judge_all(setting: Setting, mut judge: impl FnMut(&Case) -> Option<Judgement>) -> Vec<String> {
    let check = |case: &Case| {
        let got = judge(case)?;
        let want = (case.outcome, case.reason);
        (got != want).then(|| format!("{setting:?}: {}: got {got:?}, want {want:?}", case.name))
    };
    cases(setting).iter().filter_map(check).collect()
}

#[test]
fn native() {
    for setting in Setting::ALL {
        let mut native = Native::new(setting);
        let wrong = judge_all(setting, |case| Some(native.judge(case)));
        assert!(wrong.is_empty(), "{} wrong: {:#?}", wrong.len(), &wrong[..wrong.len().min(20)]);
    }
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
        assert!(wrong.is_empty(), "{} wrong: {:#?}", wrong.len(), &wrong[..wrong.len().min(20)]);
    }
}

/// Wherever the first buffer of a frame ends, also within a header, the verdict is the same.
#[test]
fn kernel_in_several_buffers() {
    let namespace = Namespace::new().unwrap();
    let (wrong, runs) = namespace
        .run(|| {
            let mut kernel = Kernel::new(Setting::Enforce, Hook::Xdp)?;
            let (mut wrong, mut runs) = (Vec::new(), 0);
            for (i, case) in cases(Setting::Enforce).iter().filter(|case| case.times == 1).enumerate() {
                // Headers are in front. Short first buffers for all, in turns; a page for those that
                // do not fit one.
                let lengths = [14, 15 + i % 60, 34 + i % 7, 54 + i % 41, 1024];
                for first in lengths.into_iter().filter(|first| *first < case.frame.len()) {
                    runs += 1;
                    let got = kernel.run(&case.frame, first);
                    if got != Some((case.outcome, case.reason)) {
                        wrong.push(format!("{}, {first} bytes first: got {got:?}", case.name));
                    }
                }
            }
            Ok((wrong, runs))
        })
        .unwrap();
    println!("{runs} runs");
    assert!(wrong.is_empty(), "{} of {runs} wrong: {:#?}", wrong.len(), &wrong[..wrong.len().min(20)]);
}

#[test]
fn every_reason_occurs() {
    let seen: HashSet<_> = Setting::ALL.into_iter().flat_map(cases).map(|case| case.reason).collect();
    let missing: Vec<_> = Reason::ALL.into_iter().filter(|reason| !seen.contains(reason)).collect();
    assert!(missing.is_empty(), "no frame ends for {missing:?}");
}

#[test]
fn a_listed_source_gets_nothing_through_and_a_clean_one_is_not_hurt() {
    let cases = cases(Setting::Enforce);
    let wrong = |case: &&Case| {
        case.from_listed && case.outcome != Outcome::Drop || case.from_clean && case.outcome != Outcome::Pass
    };
    let wrong: Vec<_> = cases.iter().filter(wrong).map(|case| &case.name).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    let count = |test: fn(&Case) -> bool| cases.iter().filter(|case| test(case)).count();
    println!(
        "{} frames: {} of listed sources, {} of clean ones",
        cases.len(),
        count(|case| case.from_listed),
        count(|case| case.from_clean)
    );
}

/// Writes the frames into the folder that `WEIR_SEEDS` names, if it does, for the fuzzer to start from;
/// see common/fuzz/README.md.
#[test]
fn seeds() {
    let Some(folder) = std::env::var_os("WEIR_SEEDS").map(std::path::PathBuf::from) else { return };
    for (i, case) in cases(Setting::Enforce).iter().enumerate().filter(|(_, case)| case.frame.len() <= 512) {
        std::fs::write(folder.join(i.to_string()), &case.frame).expect("written");
    }
}

#[test]
fn frames_are_named_apart() {
    let mut seen = HashSet::new();
    for case in cases(Setting::Enforce) {
        assert!(seen.insert(case.name.clone()), "{} twice", case.name);
    }
}
