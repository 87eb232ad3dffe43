//! One source, at once: `load.ban`.
//!
//! On one CPU packets of a source are judged without a pause; on the other it is banned. What counts
//! is the time from the call to the end of the first packet that is dropped.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::SeqCst},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow, ensure};
use ipnet::IpNet;
use weir::datapath::rules::{self, Order};
use weir_bench_ebpf::source::{Choice, List, Orders};
use weir_common::overlay::Sentence;
use weir_tests::{frame::Frame, namespace::Pair};

use super::{Settings, micros};
use crate::{
    cpu, data,
    driver::{Action, Driver},
    finding::{Bound, Finding},
    ours::{Made, Ours, PORT},
};

/// Where the source stands in a frame.
const SOURCE: std::ops::Range<usize> = 26..30;
/// What is aimed at, in µs.
const AIM: f64 = 100.0;
/// How long a ban lasts, and how long it may take to be seen.
const LASTS: Duration = Duration::from_mins(1);
const PATIENCE: Duration = Duration::from_secs(2);

pub(super) fn run(settings: &Settings) -> Result<Finding> {
    const CASE: &str = "load.ban";
    const UNIT: &str = "µs p99";
    if cpu::count()? < 2 {
        return Ok(Finding::not_measured(CASE, UNIT, "it takes two CPUs".to_owned()));
    }
    let bans = if settings.quick { 100 } else { 2000 };
    weir::datapath::Pins::new(std::path::Path::new(crate::ours::BPFFS)).remove()?;
    let list = List::of(settings.prefixes);
    let ours = Ours::new(&Made::new(data::entries(list, 0), None)?, 17)?;
    let mut driver = Driver::new(&ours.program()?)?;
    driver.order(Orders { choice: Choice::Fixed as u64, ..Orders::default() }, 1)?;
    let times = ban(&ours, &driver, list, bans)?;
    Ok(Finding::value(CASE, UNIT, micros(&times, 0.99)?)
        .measured_times(times.len())
        .noting(format!(
            "p50 {:.1} µs, worst {:.1} µs; {} of {bans} bans, in which nobody was put off the CPU by others",
            micros(&times, 0.5)?,
            micros(&times, 1.0)?,
            times.len()
        ))
        .aiming("P5", None, Bound::AtMost(AIM)))
}

/// Bans one source after the other; returns how long each took to be dropped.
fn ban(ours: &Ours, driver: &Driver, list: List, bans: u64) -> Result<Vec<Duration>> {
    let start = Instant::now();
    // How often the judge was put off its CPU.
    let put_off = AtomicU64::new(0);
    // Which source is judged; the last that was dropped, and when, in ns since the start.
    let (judged, dropped, time) = (AtomicU32::new(0), AtomicU32::new(0), AtomicU64::new(0));
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let judge = scope.spawn(|| {
            cpu::stay_on(0)?;
            let mut frame = Frame::new().ipv4(Pair::CLIENT.v4, Pair::SERVER.v4).udp(4000, PORT).build();
            while !stop.load(SeqCst) {
                let address = judged.load(SeqCst);
                frame[SOURCE].copy_from_slice(&address.to_be_bytes());
                if driver.run(&frame, 1)?.action == Action::Drop && dropped.load(SeqCst) != address {
                    time.store(u64::try_from(start.elapsed().as_nanos())?, SeqCst);
                    put_off.store(cpu::put_off()?, SeqCst);
                    dropped.store(address, SeqCst);
                }
            }
            anyhow::Ok(())
        });
        let times = (0..bans).map(|n| {
            let address = list.clean(n, bans);
            judged.store(address, SeqCst);
            // It is judged for a while, and passes.
            thread::sleep(Duration::from_micros(200));
            ensure!(dropped.load(SeqCst) != address, "{address:#x} was dropped before it was banned");
            let (others, own) = (put_off.load(SeqCst), cpu::put_off()?);
            let before = start.elapsed();
            let order = Order { sentence: Sentence::Drop, shadow: false, profile: 0, lasts: Some(LASTS) };
            rules::set(ours.datapath.memory(), IpNet::from(IpAddr::V4(Ipv4Addr::from_bits(address))), order)?;
            let deadline = Instant::now() + PATIENCE;
            while dropped.load(SeqCst) != address {
                ensure!(
                    Instant::now() < deadline && !judge.is_finished(),
                    "{address:#x} was banned and still passes"
                );
                std::hint::spin_loop();
            }
            // The judge tells of all since the last ban: in a pause between two nothing is measured.
            let undisturbed = put_off.load(SeqCst) == others && cpu::put_off()? == own;
            Ok(undisturbed.then(|| Duration::from_nanos(time.load(SeqCst)).saturating_sub(before)))
        });
        let times = times.filter_map(Result::transpose).collect();
        stop.store(true, SeqCst);
        judge.join().map_err(|_panic| anyhow!("the judge panicked"))??;
        times
    })
}
