//! Frames of the table with random changes: the kernel and the same code over plain memory agree.

use weir_tests::namespace::Namespace;

use crate::{
    judge::{Hook, Kernel, Native},
    table::{Setting, cases},
};

const FRAMES: usize = 20_000;
const SHORTEST: usize = 14;

/// Random numbers that are the same in every run (SplitMix64).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((x ^ x >> 31) % bound as u64).expect("small")
    }

    fn byte(&mut self) -> u8 {
        const TELLING: [u8; 20] =
            [0, 1, 4, 6, 8, 17, 0x21, 41, 43, 44, 0x45, 50, 51, 58, 59, 60, 0x60, 0x81, 0x86, 0xff];
        let any = u8::try_from(self.below(256)).expect("a byte");
        if self.below(2) == 0 { any } else { TELLING[self.below(TELLING.len())] }
    }

    fn change(&mut self, frame: &mut Vec<u8>) {
        for _ in 0..=self.below(6) {
            // Headers are in front.
            let at = self.below(frame.len().min(120));
            match self.below(10) {
                0 => frame.truncate(at.max(SHORTEST)),
                1 => frame[at] ^= 1 << self.below(8),
                _ => frame[at] = self.byte(),
            }
        }
    }
}

#[test]
fn kernel_agrees_on_changed_frames() {
    let namespace = Namespace::new().unwrap();
    let (wrong, dropped) = namespace.run(|| Ok(compare())).unwrap();
    println!("{FRAMES} frames, {dropped} dropped");
    assert!(wrong.is_empty(), "{} wrong: {:#?}", wrong.len(), &wrong[..wrong.len().min(5)]);
    assert!((FRAMES / 10..FRAMES * 9 / 10).contains(&dropped), "{dropped} dropped");
}

fn compare() -> (Vec<String>, usize) {
    let mut kernel = Kernel::new(Setting::Enforce, Hook::Xdp).expect("a kernel");
    let native = Native::new(Setting::Enforce);
    let table: Vec<_> = cases(Setting::Enforce)
        .into_iter()
        .map(|case| case.frame)
        .filter(|frame| frame.len() < 1024)
        .collect();
    let mut random = Random(0xf00d);
    let (mut wrong, mut dropped) = (Vec::new(), 0);
    for _ in 0..FRAMES {
        let mut frame = table[random.below(table.len())].clone();
        random.change(&mut frame);
        let want = native.run(&frame);
        if want.limit != 0 {
            continue; // clocks differ, and so do buckets
        }
        let first = SHORTEST + random.below(2000);
        let got = kernel.run(&frame, first).expect("a judgement");
        dropped += usize::from(got.0 == crate::Outcome::Drop);
        if got != (want.outcome, want.reason) {
            let want = (want.outcome, want.reason);
            wrong.push(format!("got {got:?}, want {want:?}, {first} bytes first: {frame:02x?}"));
        }
    }
    (wrong, dropped)
}
