//! What tutorials and most peers build: a trie of prefixes, and token buckets in an LRU hash map.
//!
//! Written as a careful engineer would: bounds checked, one lookup each, buckets updated in place,
//! counters per CPU. On the host this file is an empty program, so that one clippy run covers the
//! whole workspace.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]

#[cfg(target_arch = "bpf")]
mod program {
    use aya_ebpf::{
        bindings::{BPF_F_NO_PREALLOC, xdp_action},
        helpers::generated::bpf_ktime_get_ns,
        macros::{map, xdp},
        maps::{Array, LpmTrie, LruHashMap, PerCpuArray, lpm_trie::Key},
        programs::XdpContext,
    };

    /// What a token bucket allows.
    #[repr(C)]
    struct Limit {
        /// Time that a token takes to come, in ns.
        period: u64,
        /// Tokens that a bucket holds.
        burst: u64,
        /// Destination port in network byte order. 0: no limit.
        port: u64,
    }

    /// A source's tokens, in ns of their period, and when they were counted.
    #[repr(C)]
    struct Bucket {
        credit: u64,
        counted: u64,
    }

    #[map]
    static LISTED_V4: LpmTrie<u32, u32> = LpmTrie::with_max_entries(1 << 21, BPF_F_NO_PREALLOC);
    #[map]
    static LISTED_V6: LpmTrie<[u8; 16], u32> = LpmTrie::with_max_entries(1 << 21, BPF_F_NO_PREALLOC);
    #[map]
    static BUCKETS_V4: LruHashMap<u32, Bucket> = LruHashMap::with_max_entries(1 << 20, 0);
    #[map]
    static BUCKETS_V6: LruHashMap<u64, Bucket> = LruHashMap::with_max_entries(1 << 10, 0);
    #[map]
    static LIMIT: Array<Limit> = Array::with_max_entries(1, 0);
    /// Packets by [`Reason`].
    #[map]
    static COUNTS: PerCpuArray<u64> = PerCpuArray::with_max_entries(4, 0);

    #[derive(Clone, Copy)]
    #[repr(u32)]
    enum Reason {
        Passed,
        Listed,
        OverLimit,
    }

    const ETHERNET: usize = 14;
    const IPV4: usize = 20;
    const IPV6: usize = 40;
    const TCP: u8 = 6;
    const UDP: u8 = 17;

    #[inline(always)]
    fn load<T>(context: &XdpContext, offset: usize) -> Option<T> {
        let at = context.data() + offset;
        if at + size_of::<T>() > context.data_end() {
            return None;
        }
        // SAFETY: checked to lie within the frame; numbers of any value are valid.
        Some(unsafe { (at as *const T).read_unaligned() })
    }

    /// Takes a token; false if there is none.
    #[inline(always)]
    fn take<K>(buckets: &LruHashMap<K, Bucket>, key: &K, limit: &Limit) -> bool {
        // SAFETY: takes no argument and reads the clock.
        let now = unsafe { bpf_ktime_get_ns() };
        let most = limit.period * limit.burst;
        let Some(bucket) = buckets.get_ptr_mut(key) else {
            let fresh = Bucket { credit: most - limit.period, counted: now };
            return buckets.insert(key, &fresh, 0).is_ok();
        };
        // SAFETY: valid until the program ends. Another CPU may write between: a few tokens too many,
        // as in every bucket without a lock.
        let bucket = unsafe { &mut *bucket };
        let mut credit = bucket.credit + now.saturating_sub(bucket.counted);
        if credit > most {
            credit = most;
        }
        bucket.counted = now;
        let enough = credit >= limit.period;
        bucket.credit = if enough { credit - limit.period } else { credit };
        enough
    }

    /// Returns the destination port in network byte order; 0 where there is none.
    #[inline(always)]
    fn port(context: &XdpContext, protocol: u8, transport: usize) -> u16 {
        match protocol {
            TCP | UDP => load(context, transport + 2).unwrap_or(0),
            _ => 0,
        }
    }

    #[inline(always)]
    fn judge_v4(context: &XdpContext) -> Option<Reason> {
        let header: [u8; 2] = load(context, ETHERNET)?;
        let protocol: u8 = load(context, ETHERNET + 9)?;
        let source: u32 = load(context, ETHERNET + 12)?;
        if LISTED_V4.get(Key::new(32, source)).is_some() {
            return Some(Reason::Listed);
        }
        let length = usize::from(header[0] & 0xf) * 4;
        if length < IPV4 {
            return None;
        }
        let limit = LIMIT.get(0)?;
        let port = port(context, protocol, ETHERNET + length);
        if port == 0 || u64::from(port) != limit.port || take(&BUCKETS_V4, &source, limit) {
            return Some(Reason::Passed);
        }
        Some(Reason::OverLimit)
    }

    #[inline(always)]
    fn judge_v6(context: &XdpContext) -> Option<Reason> {
        let protocol: u8 = load(context, ETHERNET + 6)?;
        let source: [u8; 16] = load(context, ETHERNET + 8)?;
        if LISTED_V6.get(Key::new(128, source)).is_some() {
            return Some(Reason::Listed);
        }
        let network: u64 = load(context, ETHERNET + 8)?;
        let limit = LIMIT.get(0)?;
        let port = port(context, protocol, ETHERNET + IPV6);
        if port == 0 || u64::from(port) != limit.port || take(&BUCKETS_V6, &network, limit) {
            return Some(Reason::Passed);
        }
        Some(Reason::OverLimit)
    }

    #[inline(always)]
    fn judge(context: &XdpContext) -> Option<Reason> {
        match u16::from_be(load(context, 12)?) {
            0x0800 => judge_v4(context),
            0x86dd => judge_v6(context),
            _ => Some(Reason::Passed),
        }
    }

    #[xdp(frags)]
    pub(crate) fn textbook(context: XdpContext) -> u32 {
        let Some(reason) = judge(&context) else { return xdp_action::XDP_DROP };
        if let Some(count) = COUNTS.get_ptr_mut(reason as u32) {
            // SAFETY: a per-CPU value; XDP programs of one CPU do not interrupt each other.
            unsafe { *count += 1 };
        }
        match reason {
            Reason::Passed => xdp_action::XDP_PASS,
            Reason::Listed | Reason::OverLimit => xdp_action::XDP_DROP,
        }
    }

    /// The lookup alone.
    #[xdp(frags)]
    pub(crate) fn lpm_v4(context: XdpContext) -> u32 {
        match load::<u32>(&context, ETHERNET + 12) {
            Some(source) if LISTED_V4.get(Key::new(32, source)).is_some() => xdp_action::XDP_DROP,
            Some(_) => xdp_action::XDP_PASS,
            None => xdp_action::XDP_ABORTED,
        }
    }

    /// The lookup alone.
    #[xdp(frags)]
    pub(crate) fn lpm_v6(context: XdpContext) -> u32 {
        match load::<[u8; 16]>(&context, ETHERNET + 8) {
            Some(source) if LISTED_V6.get(Key::new(128, source)).is_some() => xdp_action::XDP_DROP,
            Some(_) => xdp_action::XDP_PASS,
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
