//! The only place that counts, and the only one that tells of packets.

use aya_ebpf::maps::PerCpuArray;
use weir_common::{
    class,
    control::{self, Global},
    counter::{self, Answer, Counter, Outcome},
    event::Event,
    gcra::Clock as _,
    line::Memory as _,
    packet::Kind,
};
use weir_ebpf::Case;

use crate::{
    kernel::Kernel,
    maps::{CLASS_COUNTERS, COUNTERS, EVENTS, LIMIT_COUNTERS, TALLY},
};

/// log2 of the window of the event budget in µs: about a second.
const WINDOW_SHIFT: u32 = 20;

/// Counts a packet once, and sends an event if a rule spoke against it and the budget allows.
#[inline(always)]
pub(crate) fn count(ifindex: u32, kernel: Kernel<'_>, case: &mut Case) {
    let case = kernel.again(case);
    let slot = control::interface_slot(&kernel, ifindex);
    let bytes = u64::from(case.packet.length);
    add(&COUNTERS, counter::index(slot, case.packet.family(), case.outcome, case.reason), bytes);
    if case.class != class::NONE {
        add(&CLASS_COUNTERS, counter::class_index(case.class, case.class_outcome), bytes);
    }
    if case.limit != 0 {
        add(&LIMIT_COUNTERS, counter::limit_index(case.limit, case.answer), bytes);
    }
    if case.outcome != Outcome::Pass || case.answer == Answer::Near {
        tell(ifindex, kernel, case);
    }
}

#[inline(always)]
fn add(counters: &PerCpuArray<Counter>, index: u32, bytes: u64) {
    let Some(counter) = counters.get_ptr_mut(index) else { return };
    // SAFETY: a per-CPU value; our programs do not interrupt each other on a CPU (kernel.rs).
    let counter = unsafe { &mut *counter };
    counter.packets += 1;
    counter.bytes += bytes;
}

/// Sends an event, unless this CPU has sent its share of this second.
#[inline(always)]
fn tell(ifindex: u32, kernel: Kernel<'_>, case: &Case) {
    let Some(tally) = TALLY.get_ptr_mut(0) else { return };
    // SAFETY: a per-CPU value; our programs do not interrupt each other on a CPU (kernel.rs).
    let tally = unsafe { &mut *tally };
    let time = kernel.coarse();
    let window = time >> WINDOW_SHIFT;
    if tally.window != window {
        tally.window = window;
        tally.events = 0;
    }
    if tally.events >= Global::load_events(&kernel) {
        tally.events_suppressed += 1;
        return;
    }
    tally.events += 1;
    let packet = &case.packet;
    let (source_high, source_low) = match packet.kind {
        Kind::Ip => Event::source_halves(packet.source),
        Kind::Other | Kind::Unreadable => (0, 0),
    };
    let event = Event {
        time,
        source_high,
        source_low,
        ifindex,
        length: packet.length,
        class: case.class,
        source_port: packet.source_port,
        destination_port: packet.destination_port,
        reason: case.reason as u8,
        outcome: case.outcome as u8,
        protocol: packet.protocol,
        limit: case.limit,
        answer: case.answer as u8,
        reserved: [0; 5],
    };
    if EVENTS.output::<Event>(&event, 0).is_err() {
        tally.events_lost += 1;
    }
}
