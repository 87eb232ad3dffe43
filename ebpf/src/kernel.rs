//! The world of the stages, made of BPF maps and helpers.

use core::{arch::asm, hint::black_box, ptr};

use aya_ebpf::{
    helpers::generated::{bpf_jiffies64, bpf_ktime_get_coarse_ns, bpf_ktime_get_ns},
    maps::Array,
};
use weir_common::{
    control::Global,
    gcra::Clock,
    line::{Line, Memory, Word},
    map::Map,
    packet::Frame,
};
use weir_ebpf::Case;

use crate::{atomic, context::Context, maps};

/// The packet that a CPU is judging. In a map, not on the stack: see [`weir_ebpf::Case`] and
/// [`Memory::opaque`].
///
/// One for both programs: XDP runs where the driver polls, TCX where the stack receives, both with
/// bottom halves off, so on one CPU neither interrupts the other or itself. A packet that XDP passes
/// meets TCX after the XDP program has returned.
pub(crate) struct Scratch {
    case: Case,
    opaque: Word,
}

impl Scratch {
    /// Returns the scratch memory of this CPU.
    #[inline(always)]
    pub(crate) fn get<'a>() -> Option<(&'a mut Case, Kernel<'a>)> {
        let scratch = maps::SCRATCH.get_ptr_mut(0)?;
        let settings = maps::CONTROL.get(0)?;
        // SAFETY: a per-CPU value; our programs do not interrupt each other on a CPU, see above.
        let Self { case, opaque } = unsafe { &mut *scratch };
        Some((case, Kernel { opaque, settings }))
    }
}

/// The maps of the program, its clock and its CPU.
#[derive(Clone, Copy)]
pub(crate) struct Kernel<'a> {
    opaque: &'a Word,
    settings: &'a Line,
}

impl Kernel<'_> {
    #[inline(always)]
    fn forget(self, value: u32) -> u32 {
        self.opaque.store(u64::from(value));
        self.opaque.load() as u32
    }
}

impl Memory for Kernel<'_> {
    #[inline(always)]
    fn line(&self, map: Map, index: u32) -> Option<&Line> {
        let array: &'static Array<Line> = match map {
            Map::Control => &maps::CONTROL,
            Map::V4Root => &maps::V4_ROOT,
            Map::V4Wide => &maps::V4_WIDE,
            Map::V4Lines => &maps::V4_LINES,
            Map::V4Spill => &maps::V4_SPILL,
            Map::V6Filter => &maps::V6_FILTER,
            Map::V6Lines => &maps::V6_LINES,
            Map::Classes => &maps::CLASSES,
            Map::Overlay => &maps::OVERLAY,
            Map::Services => &maps::SERVICES,
            Map::Limits => &maps::LIMITS,
            Map::Limiter => &maps::LIMITER,
            Map::Valve => &maps::VALVE,
        };
        array.get(index)
    }

    #[inline(always)]
    fn compare_exchange(&self, word: &Word, current: u64, new: u64) -> u64 {
        atomic::compare_exchange(word, current, new)
    }

    #[inline(always)]
    fn opaque(&self, value: u32) -> u32 {
        self.forget(value)
    }

    #[inline(always)]
    fn settings(&self) -> Option<&Line> {
        Some(self.settings)
    }

    /// One instruction, where `black_box` sends the pointer through the stack. None at all would leave
    /// two lines of debug information at one place, which the kernel refuses.
    #[inline(always)]
    fn again<'v, T>(&self, value: &'v mut T) -> &'v mut T {
        let mut pointer = ptr::from_mut(value);
        // SAFETY: moves a register to itself. The compiler takes it for a write to anywhere.
        unsafe { asm!("{0} = {0}", inout(reg) pointer, options(nostack)) };
        // SAFETY: it is the pointer of the reference that was given.
        unsafe { &mut *pointer }
    }

    #[inline(always)]
    fn mask_if_zero(&self, mut value: u64) -> u64 {
        // SAFETY: arithmetic on a register.
        unsafe { asm!("{0} += -1", "{0} s>>= 63", inout(reg) value, options(pure, nomem, nostack)) };
        value
    }
}

impl Clock for Kernel<'_> {
    /// Jiffies: the verifier replaces the call by a load.
    #[inline(always)]
    fn coarse(&self) -> u64 {
        // SAFETY: takes no argument and reads a kernel variable.
        let jiffies = unsafe { bpf_jiffies64() };
        jiffies.wrapping_mul(Global::load_tick(self)) >> 16
    }

    /// Jiffies, and the time since the last of them: jiffies and the coarse clock advance in the
    /// same timer tick (kernel/time/tick-sched.c), so their difference to the fine clock is it.
    #[inline(always)]
    fn precise(&self) -> u64 {
        // SAFETY: takes no argument and reads the clock.
        let fine = unsafe { bpf_ktime_get_ns() };
        // SAFETY: likewise.
        let coarse = unsafe { bpf_ktime_get_coarse_ns() };
        let tick = Global::load_tick(self) >> 16;
        let since = fine.saturating_sub(coarse) / 1000;
        self.coarse() + if since < tick { since } else { tick }
    }

    #[inline(always)]
    fn dither(&self) -> u32 {
        let Some(tally) = maps::TALLY.get_ptr_mut(0) else { return 0 };
        // SAFETY: a per-CPU value; our programs do not interrupt each other on a CPU, see [`Scratch`].
        let tally = unsafe { &mut *tally };
        tally.sequence = tally.sequence.wrapping_add(1);
        (tally.sequence.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as u32
    }
}

/// The verifier follows packet offsets below 2^16. Headers never start beyond 2^15: what is put before
/// an IPv6 header, it and eight extensions of at most 2048 bytes are less than 17000 bytes, and what
/// stands before an inner packet is at most 4096 and the header of the tunnel.
const OFFSET_MASK: usize = 0x7fff;

/// The frame of a context.
pub(crate) struct Packet<'c, C> {
    context: &'c C,
    kernel: Kernel<'c>,
    start: usize,
    end: usize,
}

impl<'c, C: Context> Packet<'c, C> {
    #[inline(always)]
    pub(crate) fn new(context: &'c C, kernel: Kernel<'c>) -> Self {
        Self { context, kernel, start: context.start(), end: context.end() }
    }
}

impl<C: Context> Frame for Packet<'_, C> {
    /// Reads from the linear part, or, where that ends before, from all buffers of the frame.
    #[inline(always)]
    fn load<const N: usize>(&self, offset: u32) -> Option<[u16; N]> {
        let at = self.start + (offset as usize & OFFSET_MASK);
        if at + 2 * N <= self.end {
            // SAFETY: checked to lie between start and end of the frame. The kernel keeps frames at
            // even addresses, and the architectures of XDP load from odd ones as well.
            return Some(unsafe { *(at as *const [u16; N]) });
        }
        self.context.load_from_buffers(offset)
    }

    /// Reads from the linear part alone.
    #[inline(always)]
    fn head<const N: usize>(&self) -> Option<[u16; N]> {
        if self.start + 2 * N > self.end {
            return None;
        }
        // SAFETY: checked to lie between start and end of the frame, otherwise as in `load`.
        Some(unsafe { *(self.start as *const [u16; N]) })
    }

    #[inline(always)]
    fn holds(&self, length: u32) -> bool {
        self.start + bounded(length) <= self.end || self.length() >= length
    }

    #[inline(always)]
    fn length(&self) -> u32 {
        self.context.length()
    }

    #[inline(always)]
    fn opaque(&self, value: u32) -> u32 {
        self.kernel.forget(value)
    }

    #[inline(always)]
    fn again(&self) -> Self {
        Self::new(black_box(self.context), self.kernel)
    }
}

/// Returns a length of a packet, which is below 2^17: 16 bits from its header, behind at most 2^15
/// bytes of others. The verifier of Linux 6.12 knows no range of a number whose bytes were swapped, and
/// adds to a packet pointer only what has one. The compiler knows it, and would leave the mask out.
#[inline(always)]
fn bounded(length: u32) -> usize {
    let mut length = u64::from(length);
    // SAFETY: arithmetic on a register.
    unsafe { asm!("{0} &= 0x1ffff", inout(reg) length, options(pure, nomem, nostack)) };
    length as usize
}
