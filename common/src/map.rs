//! Every map: name, size, purpose. The kernel statics, the agent and the docs take them from here.
//!
//! Maps of lines are arrays with 64-byte values and `BPF_F_MMAPABLE`: only those are page aligned,
//! so that a value is a cache line, and the agent reads and writes them without a system call.
//! Policy maps hold two generations; generation `g` of a map with `n` lines each starts at `g * n`.

/// Generations of the policy: the one in force, and the one being written.
pub const GENERATIONS: u32 = 2;

/// A map of lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Map {
    /// Settings, see [`crate::control`].
    Control,
    /// Two bits per IPv4 /24, see [`crate::table`].
    V4Root,
    /// A class per IPv4 /20.
    V4Wide,
    /// Quotient lines of IPv4 /32 and /24.
    V4Lines,
    /// Exact entries whose quotient line is full.
    V4Spill,
    /// Bits per hashed IPv6 /32 and prefix length.
    V6Filter,
    /// Tagged lines of IPv6 prefixes.
    V6Lines,
    /// What each class does, see [`crate::class`].
    Classes,
    /// Bans and manual rules, see [`crate::overlay`].
    Overlay,
    /// Port to service, and service to limits, see [`crate::limit`].
    Services,
    /// Limits, a line each, see [`crate::limit`].
    Limits,
    /// Token buckets of sources, see [`crate::gcra`].
    Limiter,
    /// Token buckets that sources share when their line is full of debtors.
    Valve,
}

impl Map {
    /// All maps of lines, in the order of the packet.
    pub const ALL: [Self; 13] = [
        Self::Control,
        Self::V4Root,
        Self::V4Wide,
        Self::V4Lines,
        Self::V4Spill,
        Self::V6Filter,
        Self::V6Lines,
        Self::Classes,
        Self::Overlay,
        Self::Services,
        Self::Limits,
        Self::Limiter,
        Self::Valve,
    ];

    /// Returns the name of the map, of its static in the kernel program and of its pin.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Control => "CONTROL",
            Self::V4Root => "V4_ROOT",
            Self::V4Wide => "V4_WIDE",
            Self::V4Lines => "V4_LINES",
            Self::V4Spill => "V4_SPILL",
            Self::V6Filter => "V6_FILTER",
            Self::V6Lines => "V6_LINES",
            Self::Classes => "CLASSES",
            Self::Overlay => "OVERLAY",
            Self::Services => "SERVICES",
            Self::Limits => "LIMITS",
            Self::Limiter => "LIMITER",
            Self::Valve => "VALVE",
        }
    }

    /// Returns true for state that outlives a policy: it is kept when a restart has to remake the
    /// policy maps in another size.
    #[must_use]
    pub const fn is_state(self) -> bool {
        matches!(self, Self::Overlay | Self::Limiter | Self::Valve)
    }

    /// Returns true for memory that the kernel alone writes.
    #[must_use]
    pub const fn is_kernels(self) -> bool {
        matches!(self, Self::Limiter | Self::Valve)
    }

    /// Returns the number of lines of the map in the given sizes, all generations together.
    #[must_use]
    pub const fn lines(self, sizes: Sizes) -> u32 {
        match self {
            Self::Control => crate::control::LINES,
            Self::V4Root => GENERATIONS * V4_ROOT_LINES,
            Self::V4Wide => GENERATIONS * V4_WIDE_LINES,
            Self::V4Lines => GENERATIONS << sizes.v4_bits,
            Self::V4Spill => GENERATIONS * V4_SPILL_LINES,
            Self::V6Filter => GENERATIONS * V6_FILTER_LINES,
            Self::V6Lines => GENERATIONS << sizes.v6_bits,
            Self::Classes => GENERATIONS * CLASS_LINES,
            Self::Overlay => 1 + OVERLAY_LINES,
            Self::Services => GENERATIONS * SERVICE_LINES,
            Self::Limits => GENERATIONS * LIMIT_LINES,
            Self::Limiter => 1 << sizes.limiter_bits,
            Self::Valve => VALVE_LINES,
        }
    }
}

/// The sizes that a configuration can choose, as powers of two of 64-byte lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// IPv4 quotient lines of one generation: 17 to 22, 16 slots a line.
    pub v4_bits: u32,
    /// IPv6 tagged lines of one generation: 10 to 22, 8 slots a line.
    pub v6_bits: u32,
    /// Limiter lines: 17 to 23 (8 MB to 512 MB), 8 sources a line.
    pub limiter_bits: u32,
}

impl Sizes {
    /// The smallest of all.
    pub const MIN: Self =
        Self { v4_bits: Self::V4_BITS_MIN, v6_bits: Self::V6_BITS_MIN, limiter_bits: Self::LIMITER_BITS_MIN };
    /// Fewest bits with which a 33-bit key and a 16-bit remainder are exact.
    pub const V4_BITS_MIN: u32 = 17;
    /// Most IPv4 bits: 4M lines, 256 MB a generation.
    pub const V4_BITS_MAX: u32 = 22;
    /// Fewest IPv6 bits.
    pub const V6_BITS_MIN: u32 = 10;
    /// Most IPv6 bits.
    pub const V6_BITS_MAX: u32 = 22;
    /// Fewest limiter bits with which a 40-bit key and a 23-bit tag are exact: 8 MB.
    pub const LIMITER_BITS_MIN: u32 = 17;
    /// Most limiter bits: 512 MB.
    pub const LIMITER_BITS_MAX: u32 = 23;
}

/// Lines of the IPv4 root in one generation: 2^24 /24s, two bits each. A line is a /16.
pub const V4_ROOT_LINES: u32 = 1 << 16;
/// Lines of classes per /20 in one generation: 2^20 of 16 bits.
pub const V4_WIDE_LINES: u32 = 1 << 15;
/// Lines for entries that found their quotient line full, in one generation: enough for a half full
/// table of 2^21 lines, which spills 12k of its 17M entries.
pub const V4_SPILL_LINES: u32 = 1 << 14;
/// Lines of the IPv6 filter in one generation: 4 MB, so that of a million entries in as many /32s one
/// in thirty bits is set.
pub const V6_FILTER_LINES: u32 = 1 << 16;
/// Lines of classes in one generation, eight a line.
pub const CLASS_LINES: u32 = crate::class::CAPACITY / 8;
/// Lines of bans and manual rules, four each: 4 MB.
pub const OVERLAY_LINES: u32 = 1 << 16;
/// Lines of services in one generation: TCP ports, UDP ports, then the limits of each service.
pub const SERVICE_LINES: u32 = 2 * crate::limit::PORT_LINES + crate::limit::SERVICE_CAPACITY / 8;
/// Lines of limits in one generation, one each.
pub const LIMIT_LINES: u32 = crate::limit::CAPACITY;
/// Lines of shared buckets: 2^16 words.
pub const VALVE_LINES: u32 = 1 << 13;

/// Packets and bytes by interface, family, verdict and reason (per CPU), see [`crate::counter`].
pub const COUNTERS: &str = "COUNTERS";
/// Packets and bytes by class (per CPU).
pub const CLASS_COUNTERS: &str = "CLASS_COUNTERS";
/// Packets and bytes by limit and outcome (per CPU).
pub const LIMIT_COUNTERS: &str = "LIMIT_COUNTERS";
/// [`crate::counter::Tally`] of each CPU.
pub const TALLY: &str = "TALLY";
/// The packet that a CPU is judging; kernel only.
pub const SCRATCH: &str = "SCRATCH";
/// Ring buffer of [`crate::event::Event`].
pub const EVENTS: &str = "EVENTS";
/// Size of the ring buffer in bytes: 4096 events.
pub const EVENTS_BYTES: u32 = 256 * 1024;
/// Name of the XDP program.
pub const PROGRAM: &str = "weir";
/// Name of the TCX program.
pub const TCX_PROGRAM: &str = "weir_tcx";
/// Name of the program that tells jiffies.
pub const CLOCK_PROGRAM: &str = "weir_clock";
