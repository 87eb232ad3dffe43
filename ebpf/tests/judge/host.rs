//! A host as the agent would set it up, over plain memory.

use weir_common::{
    addr::Address,
    class::{self, Action, Class, ClassId, HOLE},
    control::{self, Malformed, Policy, Seed},
    gcra::Profile,
    heap::Heap,
    limit::{self, Dimension, Limit, MANAGEMENT, PROFILES, Scope},
    line::Memory as _,
    map::{Map, Sizes},
    overlay::{self, FOREVER, Prefix, Rule, Sentence},
    table::{
        v4,
        v6::{self, Lengths},
    },
};
use weir_ebpf::{Case, judge};

pub(crate) const ALLOW: ClassId = 1;
pub(crate) const FEED: ClassId = 2;
pub(crate) const FEED_SHADOW: ClassId = 3;
pub(crate) const OBSERVE: ClassId = 4;
/// Observed, and held to the second profile of every limit.
pub(crate) const STRICT: ClassId = 5;
/// A balancer that lists say nothing of.
pub(crate) const BALANCER: ClassId = 6;

const SIZES: Sizes = Sizes::MIN;
/// The secret of limiter and rules.
const SEED: Seed = Seed(0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3211);
/// The time at which all frames arrive, in µs.
const NOW: u64 = 1_000_000_000;

fn pace(burst: u64) -> Profile {
    Profile::new(10.0, burst.max(1)).unwrap()
}

/// A host, and the generation of its policy that is being written.
pub(crate) struct Host {
    heap: Heap,
    generation: u32,
    policy: Policy,
    v6_lengths: Vec<u32>,
    services: u8,
}

impl Host {
    /// Maps in which nothing was ever written.
    pub(crate) fn empty() -> Self {
        Self {
            heap: Heap::new(SIZES),
            generation: 0,
            policy: Policy::NONE,
            v6_lengths: Vec::new(),
            services: 0,
        }
    }

    /// A policy with classes, but without lists and limits.
    pub(crate) fn new() -> Self {
        let host = Self { heap: Heap::started(SIZES, NOW), ..Self::empty() };
        host.begin(0)
    }

    fn begin(mut self, generation: u32) -> Self {
        self.generation = generation;
        self.v6_lengths.clear();
        self.policy = Policy {
            v4_bits: SIZES.v4_bits,
            v6_bits: SIZES.v6_bits,
            seed: Seed(0x1357_9bdf_0246_8ace, 0xfdb9_7531_eca8_6421),
            ..Policy::NONE
        };
        let observe = Class::UNLISTED;
        for (id, class) in [
            (ALLOW, Class { action: Action::Allow, ..observe }),
            (FEED, Class { action: Action::Drop, ..observe }),
            (FEED_SHADOW, Class { action: Action::Drop, shadow: true, ..observe }),
            (OBSERVE, observe),
            (STRICT, Class { profile: 1, ..observe }),
            (BALANCER, Class { action: Action::Allow, decap: true, ..observe }),
        ] {
            class::store(&self.heap, generation, id, class);
        }
        self.publish()
    }

    fn publish(self) -> Self {
        self.policy.store(&self.heap, self.generation);
        control::publish(self.heap.line(Map::Control, 0).unwrap(), self.generation);
        self
    }

    /// Turns to the other generation, which is empty.
    pub(crate) fn next_generation(self) -> Self {
        let next = 1 - self.generation;
        self.begin(next)
    }

    pub(crate) fn shadow(mut self) -> Self {
        self.policy.shadow = true;
        self.publish()
    }

    pub(crate) fn malformed(mut self, malformed: Malformed) -> Self {
        self.policy.malformed = malformed;
        self.publish()
    }

    /// Adds a prefix; in the order in which tables are built.
    pub(crate) fn list(mut self, prefix: &str, class: ClassId) -> Self {
        let (address, length) = prefix.split_once('/').unwrap();
        let (address, length) =
            (Address::from(address.parse::<std::net::IpAddr>().unwrap()), length.parse().unwrap());
        let (heap, generation) = (&self.heap, self.generation);
        match address {
            Address::V4(bits) => v4::insert(heap, generation, &self.policy, bits, length, class).unwrap(),
            Address::V6(bits) => {
                self.v6_lengths.push(length);
                let lengths = Lengths::of(self.v6_lengths.iter().copied());
                self.policy.v6_lengths = v6::set_lengths(heap, generation, &lengths);
                v6::insert(heap, generation, &self.policy, bits, length, class).unwrap();
            }
        }
        self.publish()
    }

    /// Takes a prefix out of the one that covers it.
    pub(crate) fn hole(self, prefix: &str) -> Self {
        self.list(prefix, HOLE)
    }

    /// Adds a limit of `burst` at once, and as many in a second; half of it for [`STRICT`].
    pub(crate) fn limit(self, id: u8, dimension: Dimension, burst: u64, shadow: bool) -> Self {
        let profiles = [pace(burst), pace(burst / 2), pace(burst)];
        self.store(id, Limit { dimension, shadow, scope: Scope::SOURCE, soft: 0, profiles })
    }

    /// Adds a limit whose buckets stand for `scope`.
    pub(crate) fn limit_for(self, id: u8, dimension: Dimension, burst: u64, scope: Scope) -> Self {
        self.store(id, Limit { dimension, shadow: false, scope, soft: 0, profiles: [pace(burst); PROFILES] })
    }

    /// Adds a limit with a soft band above `soft` 256ths of the burst.
    pub(crate) fn soft_limit(self, id: u8, burst: u64, soft: u8) -> Self {
        let (dimension, scope, profiles) = (Dimension::Packets, Scope::SOURCE, [pace(burst); PROFILES]);
        self.store(id, Limit { dimension, shadow: false, scope, soft, profiles })
    }

    fn store(self, id: u8, limit: Limit) -> Self {
        limit.store(&self.heap, self.generation, id);
        self
    }

    /// Puts a rule in force for an IPv4 address or an IPv6 /64.
    pub(crate) fn rule(self, source: &str, sentence: Sentence, shadow: bool) -> Self {
        let address = Address::from(source.parse::<std::net::IpAddr>().unwrap());
        let length = if matches!(address, Address::V4(_)) { 32 } else { 64 };
        let rule = Rule { sentence, shadow, profile: 0, until: FOREVER };
        overlay::insert(&self.heap, SEED, Prefix { address, length }, rule, NOW).unwrap();
        self
    }

    /// Sets the limits on control packets.
    pub(crate) fn on_control(self, limits: &[u8]) -> Self {
        limit::set_limits_of(&self.heap, self.generation, 0, limits);
        self
    }

    /// Declares a TCP port that no list and no ban cuts off.
    pub(crate) fn management(self, port: u16) -> Self {
        limit::set_service(&self.heap, self.generation, 0, port, MANAGEMENT);
        self
    }

    /// Declares a service on a TCP port, with limits in the order in which they are asked.
    pub(crate) fn service(self, port: u16, limits: &[u8]) -> Self {
        self.declare(0, port, limits)
    }

    pub(crate) fn udp_service(self, port: u16, limits: &[u8]) -> Self {
        self.declare(1, port, limits)
    }

    fn declare(mut self, table: u32, port: u16, limits: &[u8]) -> Self {
        self.services += 1;
        limit::set_service(&self.heap, self.generation, table, port, self.services);
        limit::set_limits_of(&self.heap, self.generation, self.services, limits);
        self
    }

    /// Has every bucket of the limiter owe an hour, to sources that are none of ours.
    pub(crate) fn fill_limiter(&self) {
        let tat = NOW + 3_600_000_000;
        self.heap.fill(Map::Limiter, std::array::from_fn(|i| (0x7f_fff0 | i as u64) << 40 | tat));
    }

    pub(crate) fn judge(&self, frame: &[u8]) -> Case {
        let mut case = Case::OPEN;
        judge(&self.heap, &frame, &mut case);
        case
    }
}
