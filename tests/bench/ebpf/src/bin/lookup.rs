//! Our reputation lookup alone, over the maps of the agent: to be compared with one lookup in a trie.
//!
//! On the host this file is an empty program, so that one clippy run covers the whole workspace.
#![cfg_attr(target_arch = "bpf", no_std, no_main, feature(asm_experimental_arch))]

#[cfg(target_arch = "bpf")]
mod program {
    use core::arch::asm;

    use aya_ebpf::{
        bindings::{BPF_F_MMAPABLE, xdp_action},
        macros::{map, xdp},
        maps::{Array, PerCpuArray},
        programs::XdpContext,
    };
    use weir_common::{
        addr::{Address, V6},
        class::NONE,
        control::{self, Policy},
        line::{Line, Memory, Word},
        map::{Map, Sizes},
        table,
    };

    const SIZES: Sizes = Sizes {
        v4_bits: Sizes::V4_BITS_MIN,
        v6_bits: Sizes::V6_BITS_MIN,
        limiter_bits: Sizes::LIMITER_BITS_MIN,
    };

    macro_rules! lines {
        ($($name:ident = $map:ident;)*) => {
            $(
                #[map]
                static $name: Array<Line> = Array::with_max_entries(Map::$map.lines(SIZES), BPF_F_MMAPABLE);
            )*
        };
    }

    lines! {
        CONTROL = Control;
        V4_ROOT = V4Root;
        V4_WIDE = V4Wide;
        V4_LINES = V4Lines;
        V4_SPILL = V4Spill;
        V6_FILTER = V6Filter;
        V6_LINES = V6Lines;
    }

    /// In a map, not on the stack: the verifier knows nothing of what is read back from there.
    #[map]
    static POLICY: PerCpuArray<Policy> = PerCpuArray::with_max_entries(1, 0);

    struct Maps;

    impl Memory for Maps {
        #[inline(always)]
        fn line(&self, map: Map, index: u32) -> Option<&Line> {
            let array: &'static Array<Line> = match map {
                Map::Control => &CONTROL,
                Map::V4Root => &V4_ROOT,
                Map::V4Wide => &V4_WIDE,
                Map::V4Lines => &V4_LINES,
                Map::V4Spill => &V4_SPILL,
                Map::V6Filter => &V6_FILTER,
                Map::V6Lines => &V6_LINES,
                _ => return None,
            };
            array.get(index)
        }

        #[inline(always)]
        fn compare_exchange(&self, _word: &Word, current: u64, _new: u64) -> u64 {
            current // a lookup writes nothing
        }

        #[inline(always)]
        fn mask_if_zero(&self, mut value: u64) -> u64 {
            // SAFETY: arithmetic on a register.
            unsafe { asm!("{0} += -1", "{0} s>>= 63", inout(reg) value, options(pure, nomem, nostack)) };
            value
        }
    }

    #[inline(always)]
    fn look(address: Address) -> u32 {
        let generation = control::generation(&Maps);
        let (Some(policy), Some(scratch)) = (Policy::load(&Maps, generation), POLICY.get_ptr_mut(0)) else {
            return xdp_action::XDP_ABORTED;
        };
        // SAFETY: a per-CPU value; XDP programs of one CPU do not interrupt each other.
        let scratch = unsafe { &mut *scratch };
        *scratch = policy;
        let policy = core::hint::black_box(scratch);
        match table::lookup(&Maps, generation, policy, address) {
            NONE => xdp_action::XDP_PASS,
            _ => xdp_action::XDP_DROP,
        }
    }

    #[inline(always)]
    fn load<T>(context: &XdpContext, offset: usize) -> Option<T> {
        let at = context.data() + offset;
        if at + size_of::<T>() > context.data_end() {
            return None;
        }
        // SAFETY: checked to lie within the frame; numbers of any value are valid.
        Some(unsafe { (at as *const T).read_unaligned() })
    }

    #[xdp(frags)]
    pub(crate) fn lookup_v4(context: XdpContext) -> u32 {
        match load::<u32>(&context, 14 + 12) {
            Some(address) => look(Address::V4(u32::from_be(address))),
            None => xdp_action::XDP_ABORTED,
        }
    }

    #[xdp(frags)]
    pub(crate) fn lookup_v6(context: XdpContext) -> u32 {
        match load::<[u64; 2]>(&context, 14 + 8) {
            Some([high, low]) => look(Address::V6(V6 { high: u64::from_be(high), low: u64::from_be(low) })),
            None => xdp_action::XDP_ABORTED,
        }
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
