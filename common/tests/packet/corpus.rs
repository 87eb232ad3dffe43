//! The seeds of the fuzzer, and what it has found, again: see `common/fuzz`.

use std::{fs, path::Path};

use crate::check::check;

#[test]
fn seeds_of_the_fuzzer() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds");
    let mut count = 0;
    for seed in fs::read_dir(&seeds).unwrap() {
        let path = seed.unwrap().path();
        let frame = fs::read(&path).unwrap();
        println!("{}", path.display());
        check(&frame);
        count += 1;
    }
    assert!(count > 100, "{count} seeds in {}", seeds.display());
}
