//! What the kernel hands to a program of either type, and how frames are read from it.

use aya_ebpf::{
    helpers::generated::{bpf_skb_load_bytes, bpf_xdp_get_buff_len, bpf_xdp_load_bytes},
    programs::{TcContext, XdpContext},
};

/// A frame as the kernel hands it over: one linear part, perhaps with more behind it.
pub(crate) trait Context {
    /// Returns the address of the linear part.
    fn start(&self) -> usize;

    /// Returns the address behind it.
    fn end(&self) -> usize;

    /// Returns the length of the whole frame.
    fn length(&self) -> u32;

    /// Returns the index of the interface on which the frame came in.
    fn ifindex(&self) -> u32;

    /// Copies words from anywhere in the frame.
    fn load_from_buffers<const N: usize>(&self, offset: u32) -> Option<[u16; N]>;
}

impl Context for XdpContext {
    #[inline(always)]
    fn start(&self) -> usize {
        self.data()
    }

    #[inline(always)]
    fn end(&self) -> usize {
        self.data_end()
    }

    #[inline(always)]
    fn length(&self) -> u32 {
        // SAFETY: the context is the one of this program.
        unsafe { bpf_xdp_get_buff_len(self.ctx) as u32 }
    }

    #[inline(always)]
    fn ifindex(&self) -> u32 {
        // SAFETY: the context is the one of this program.
        unsafe { (*self.ctx).ingress_ifindex }
    }

    #[inline(always)]
    fn load_from_buffers<const N: usize>(&self, offset: u32) -> Option<[u16; N]> {
        let mut words = [0u16; N];
        // SAFETY: the buffer is 2 * N bytes long; the helper writes all of them or fails.
        let result = unsafe { bpf_xdp_load_bytes(self.ctx, offset, words.as_mut_ptr().cast(), 2 * N as u32) };
        if result == 0 { Some(words) } else { None }
    }
}

/// A socket buffer on ingress. It starts with the Ethernet header (`tcx_run`, net/core/dev.c). The
/// stack has moved an outer 802.1Q or 802.1ad tag into its metadata: what is left parses like a
/// frame with one tag less.
impl Context for TcContext {
    #[inline(always)]
    fn start(&self) -> usize {
        self.data()
    }

    #[inline(always)]
    fn end(&self) -> usize {
        self.data_end()
    }

    #[inline(always)]
    fn length(&self) -> u32 {
        self.len()
    }

    #[inline(always)]
    fn ifindex(&self) -> u32 {
        // SAFETY: the context is the one of this program.
        unsafe { (*self.skb.skb).ifindex }
    }

    #[inline(always)]
    fn load_from_buffers<const N: usize>(&self, offset: u32) -> Option<[u16; N]> {
        let mut words = [0u16; N];
        // SAFETY: the buffer is 2 * N bytes long; the helper writes all of them or fails.
        let result = unsafe {
            bpf_skb_load_bytes(self.skb.skb.cast(), offset, words.as_mut_ptr().cast(), 2 * N as u32)
        };
        if result == 0 { Some(words) } else { None }
    }
}
