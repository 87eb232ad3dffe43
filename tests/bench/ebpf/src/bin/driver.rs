//! Gives a frame its next source and calls the program under test.
//!
//! On the host this file is an empty program, so that one clippy run covers the whole workspace.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]

#[cfg(target_arch = "bpf")]
mod program {
    use aya_ebpf::{
        bindings::xdp_action,
        helpers::generated::{bpf_ktime_get_ns, bpf_redirect},
        macros::{map, xdp},
        maps::{Array, PerCpuArray, ProgramArray},
        programs::XdpContext,
    };
    use weir_bench_ebpf::source::{Orders, Source, State};

    #[map]
    static ORDERS: Array<Orders> = Array::with_max_entries(1, 0);
    #[map]
    static STATE: PerCpuArray<State> = PerCpuArray::with_max_entries(1, 0);
    /// The program under test.
    #[map]
    static TARGET: ProgramArray = ProgramArray::with_max_entries(1, 0);

    /// Where the source is: behind the Ethernet header, at 12 in an IPv4 and at 8 in an IPv6 header.
    const V4_SOURCE: usize = 14 + 12;
    const V6_SOURCE: usize = 14 + 8;

    #[inline(always)]
    fn store<T>(context: &XdpContext, offset: usize, value: T) {
        let at = context.data() + offset;
        if at + size_of::<T>() <= context.data_end() {
            // SAFETY: checked to lie within the frame, which this program may write.
            unsafe { (at as *mut T).write_unaligned(value) };
        }
    }

    /// Gives the frame its next source; false if no packet is due.
    #[inline(always)]
    fn next_source(context: &XdpContext) -> bool {
        let (Some(orders), Some(state)) = (ORDERS.get(0), STATE.get_ptr_mut(0)) else { return false };
        // SAFETY: a per-CPU value; XDP programs of one CPU do not interrupt each other.
        let state = unsafe { &mut *state };
        if orders.rate != 0 {
            // SAFETY: takes no argument and reads the clock.
            let now = unsafe { bpf_ktime_get_ns() };
            if !orders.is_due(state, now) {
                return false;
            }
        }
        match orders.source(state) {
            Source::Same => {}
            Source::V4(address) => store(context, V4_SOURCE, address.to_be()),
            Source::V6(high, low) => {
                store(context, V6_SOURCE, high.to_be());
                store(context, V6_SOURCE + 8, low.to_be());
            }
        }
        true
    }

    #[xdp(frags)]
    pub(crate) fn driver(context: XdpContext) -> u32 {
        if !next_source(&context) {
            return xdp_action::XDP_TX; // nothing is sent: what is returned tells it from a verdict
        }
        // SAFETY: nothing on the stack waits to be dropped.
        unsafe { TARGET.tail_call(&context, 0) };
        xdp_action::XDP_ABORTED
    }

    /// Makes the checksum of the IPv4 header right (RFC 1071).
    #[inline(always)]
    fn check(context: &XdpContext) {
        const WORDS: usize = 10;
        const SUM: usize = 5;
        let at = context.data() + 14;
        if at + WORDS * 2 > context.data_end() {
            return;
        }
        let header = at as *mut u16;
        let mut sum = 0u32;
        let mut i = 0;
        while i < WORDS {
            if i != SUM {
                // SAFETY: checked to lie within the frame.
                sum += u32::from(unsafe { header.add(i).read_unaligned() });
            }
            i += 1;
        }
        sum = (sum & 0xffff) + (sum >> 16);
        sum = (sum & 0xffff) + (sum >> 16);
        // SAFETY: likewise, and this program may write there.
        unsafe { header.add(SUM).write_unaligned(!sum as u16) };
    }

    /// Sends live frames on an interface.
    #[xdp]
    pub(crate) fn generator(context: XdpContext) -> u32 {
        if !next_source(&context) {
            return xdp_action::XDP_DROP;
        }
        check(&context);
        let Some(orders) = ORDERS.get(0) else { return xdp_action::XDP_ABORTED };
        // SAFETY: takes numbers.
        unsafe { bpf_redirect(orders.interface as u32, 0) as u32 }
    }

    /// What there is without a program under test.
    #[xdp(frags)]
    pub(crate) fn empty_drop(_context: XdpContext) -> u32 {
        xdp_action::XDP_DROP
    }

    /// What there is without a program that looks.
    #[xdp(frags)]
    pub(crate) fn empty_pass(_context: XdpContext) -> u32 {
        xdp_action::XDP_PASS
    }

    #[panic_handler]
    fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
        // No path of this program panics; the verifier would refuse the loop below.
        loop {}
    }

    #[unsafe(link_section = "license")]
    #[unsafe(no_mangle)]
    static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
}

#[cfg(not(target_arch = "bpf"))]
fn main() {}
