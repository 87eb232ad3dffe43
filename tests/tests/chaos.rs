//! A short run of `cargo xtask chaos`: faults of every kind that are over soon, under traffic, with every
//! frame judged.

use std::path::PathBuf;

use weir_chaos::{
    chaos::{self, Plan},
    fault::Fault,
};

#[test]
fn faults_in_any_order_make_no_verdict_wrong() {
    let plan = Plan {
        seed: 7,
        rounds: 1,
        // Others wait for timeouts, or are as long by nature.
        faults: Fault::ALL.into_iter().filter(|fault| !is_long(*fault)).collect(),
        list: PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../config/demo/ipsum-level3.txt")),
    };
    let report = chaos::run(&plan, |line| println!("{line}")).unwrap();
    print!("{}", report.text());
    assert!(report.problems().is_empty(), "{:#?}", report.problems());
    assert_eq!((report.wrong(), report.injected()), (0, plan.faults.len()));
}

const fn is_long(fault: Fault) -> bool {
    matches!(fault, Fault::ListHuge | Fault::ListSlow | Fault::Hung | Fault::KilledAtStart)
}
