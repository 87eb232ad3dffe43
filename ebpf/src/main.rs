//! The XDP program: packet in, verdict out.
//!
//! On the host this file is an empty program, so that one clippy run covers the whole workspace.
#![cfg_attr(target_arch = "bpf", no_std, no_main, feature(core_intrinsics, asm_experimental_arch))]
#![cfg_attr(target_arch = "bpf", expect(internal_features, reason = "compare-and-swap, see atomic.rs"))]

#[cfg(target_arch = "bpf")]
mod account;
#[cfg(target_arch = "bpf")]
mod atomic;
#[cfg(target_arch = "bpf")]
mod kernel;
#[cfg(target_arch = "bpf")]
mod maps;

#[cfg(target_arch = "bpf")]
mod program {
    use aya_ebpf::{
        bindings::xdp_action, helpers::generated::bpf_jiffies64, macros::xdp, programs::XdpContext,
    };
    use weir_common::verdict::Verdict;

    use crate::{
        account,
        kernel::{Packet, Scratch},
    };

    /// Judges every frame that the interface receives.
    ///
    /// Inlined into the entry point that the macro makes: as a function of its own, which is what LLVM
    /// prefers at this size, it costs every packet 8 ns.
    #[xdp(frags)]
    #[inline(always)]
    pub(crate) fn weir(context: XdpContext) -> u32 {
        let Some((case, kernel)) = Scratch::get() else { return xdp_action::XDP_PASS };
        weir_ebpf::judge(&kernel, &Packet::new(&context, kernel), case);
        account::count(&context, kernel, case);
        // The one place where a verdict becomes an action.
        match case.verdict() {
            Verdict::Pass => xdp_action::XDP_PASS,
            Verdict::Drop => xdp_action::XDP_DROP,
        }
    }

    /// Returns the low half of jiffies. Never attached: the agent runs it once, to learn how the
    /// clock of the limiter stands to the one that userspace can read.
    #[xdp]
    pub(crate) fn weir_clock(_context: XdpContext) -> u32 {
        // SAFETY: takes no argument and reads a kernel variable.
        (unsafe { bpf_jiffies64() }) as u32
    }

    #[panic_handler]
    fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
        // No path of this program panics; the verifier would refuse the loop below.
        loop {}
    }

    /// Helpers marked GPL-only are open to this program.
    #[unsafe(link_section = "license")]
    #[unsafe(no_mangle)]
    static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
}

#[cfg(not(target_arch = "bpf"))]
fn main() {}
