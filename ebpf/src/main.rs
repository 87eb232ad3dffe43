//! The kernel programs: packet in, verdict out. One for XDP, one for TCX, and they judge alike.
//!
//! On the host this file is an empty program, so that one clippy run covers the whole workspace.
#![cfg_attr(target_arch = "bpf", no_std, no_main, feature(core_intrinsics, asm_experimental_arch))]
#![cfg_attr(target_arch = "bpf", expect(internal_features, reason = "compare-and-swap, see atomic.rs"))]

#[cfg(target_arch = "bpf")]
mod account;
#[cfg(target_arch = "bpf")]
mod atomic;
#[cfg(target_arch = "bpf")]
mod context;
#[cfg(target_arch = "bpf")]
mod kernel;
#[cfg(target_arch = "bpf")]
mod maps;

#[cfg(target_arch = "bpf")]
mod program {
    use aya_ebpf::{
        bindings::{TC_ACT_SHOT, tcx_action_base::TCX_NEXT, xdp_action},
        helpers::generated::bpf_jiffies64,
        macros::{classifier, xdp},
        programs::{TcContext, XdpContext},
    };
    use weir_common::verdict::Verdict;

    use crate::{
        account,
        context::Context,
        kernel::{Packet, Scratch},
    };

    /// Judges every frame that the driver, or the stack in its place, receives.
    ///
    /// Inlined into the entry point that the macro makes: as a function of its own, which is what LLVM
    /// prefers at this size, it costs every packet 8 ns.
    #[xdp(frags)]
    #[inline(always)]
    pub(crate) fn weir(context: XdpContext) -> u32 {
        // The one place where a verdict becomes an action: here for XDP, below for TCX.
        match verdict(&context) {
            Verdict::Pass => xdp_action::XDP_PASS,
            Verdict::Drop => xdp_action::XDP_DROP,
        }
    }

    /// Judges every frame that reaches the stack. What passes goes on to other TCX programs.
    #[classifier]
    #[inline(always)] // likewise
    pub(crate) fn weir_tcx(context: TcContext) -> i32 {
        match verdict(&context) {
            Verdict::Pass => TCX_NEXT,
            Verdict::Drop => TC_ACT_SHOT as i32,
        }
    }

    #[inline(always)]
    fn verdict(context: &impl Context) -> Verdict {
        let Some((case, kernel)) = Scratch::get() else { return Verdict::Pass };
        weir_ebpf::judge(&kernel, &Packet::new(context, kernel), case);
        account::count(context.ifindex(), kernel, case);
        case.verdict()
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
