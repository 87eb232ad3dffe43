//! Gives a frame its next source and calls the program under test.
//!
//! On the host this file is an empty program, so that one clippy run covers the whole workspace.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]

#[cfg(target_arch = "bpf")]
mod program {
    use aya_ebpf::{
        bindings::xdp_action,
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

    #[inline(always)]
    fn next_source(context: &XdpContext) {
        let (Some(orders), Some(state)) = (ORDERS.get(0), STATE.get_ptr_mut(0)) else { return };
        // SAFETY: a per-CPU value; XDP programs of one CPU do not interrupt each other.
        match orders.source(unsafe { &mut *state }) {
            Source::Same => {}
            Source::V4(address) => store(context, V4_SOURCE, address.to_be()),
            Source::V6(high, low) => {
                store(context, V6_SOURCE, high.to_be());
                store(context, V6_SOURCE + 8, low.to_be());
            }
        }
    }

    #[xdp(frags)]
    pub(crate) fn driver(context: XdpContext) -> u32 {
        next_source(&context);
        // SAFETY: nothing on the stack waits to be dropped.
        unsafe { TARGET.tail_call(&context, 0) };
        xdp_action::XDP_ABORTED
    }

    /// What there is without a program under test.
    #[xdp(frags)]
    pub(crate) fn empty_drop(_context: XdpContext) -> u32 {
        xdp_action::XDP_DROP
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
