//! A policy into lines.
//!
//! What is written is the generation that is not in force; the caller publishes it when all of it
//! has been written, and not at all where this fails.

/// What has changed into lines.
mod rewrite;

pub use rewrite::rewrite;

use std::collections::HashMap;

use weir_common::{
    addr::V6,
    class::{self, Class},
    control::{self, Seed},
    limit::{self, MANAGEMENT},
    line::Memory,
    map::{CLASS_LINES, LIMIT_LINES, Map, SERVICE_LINES, Sizes},
    table::{Full, v4, v6},
};

use super::{
    Policy,
    classes::Classes,
    merge::{Entry, Merged},
};
use crate::config::{Port, Protocol};

/// Why a policy does not become lines.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// A table is too small.
    #[error("the {family} table is full: {entries} entries, room for about {room}")]
    Full {
        /// `ipv4` or `ipv6`.
        family: &'static str,
        /// Entries that the policy needs, shorter prefixes expanded.
        entries: u64,
        /// Entries for which the table is meant.
        room: u64,
    },
    /// The maps are smaller than they say.
    #[error("the kernel's maps are not those of this version; run `weir unload`, then start again")]
    Memory,
}

/// How many entries the tables of a policy take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// IPv4 slots, prefixes expanded.
    pub v4: u64,
    /// IPv6 slots.
    pub v6: u64,
}

impl Demand {
    /// Returns what `merged` takes.
    #[must_use]
    pub fn of(merged: &Merged) -> Self {
        let slots = |length: u8| match length {
            0..=20 => 0, // in a table of their own
            21..=24 => 1 << (24 - length),
            _ => 1 << (32 - length.min(32)),
        };
        let lengths = v6_lengths(merged);
        let v6 = |length: u32| 1 << (lengths.stored(length) - length).min(63);
        Self {
            v4: merged.v4.iter().map(|entry| slots(entry.length)).sum(),
            v6: v6_prefixes(merged).map(|(_, _, length)| v6(length)).sum(),
        }
    }
}

/// Slots of an IPv4 line.
const V4_SLOTS: u64 = 16;
/// Slots of an IPv6 line.
const V6_SLOTS: u64 = 8;

/// Smallest tables, in entries: a short list that grows finds room.
const V4_ENTRIES_MIN: u64 = 1 << 20;
const V6_ENTRIES_MIN: u64 = 1 << 16;

/// Returns the sizes for tables that are a quarter to half full with `room`. No larger: a lookup costs
/// what the caches miss.
#[must_use]
pub fn sizes(room: Demand, limiter_bits: u32) -> Sizes {
    Sizes {
        v4_bits: v4_bits(room.v4.max(V4_ENTRIES_MIN)),
        v6_bits: v6_bits(room.v6.max(V6_ENTRIES_MIN)),
        limiter_bits,
    }
}

/// Returns the bits for a table of `entries` entries at half load.
#[must_use]
pub fn v4_bits(entries: u64) -> u32 {
    bits(entries * 2 / V4_SLOTS).clamp(Sizes::V4_BITS_MIN, Sizes::V4_BITS_MAX)
}

/// Returns the bits for a table of `entries` entries at half load.
#[must_use]
pub fn v6_bits(entries: u64) -> u32 {
    bits(entries * 2 / V6_SLOTS).clamp(Sizes::V6_BITS_MIN, Sizes::V6_BITS_MAX)
}

fn bits(lines: u64) -> u32 {
    lines.max(1).next_power_of_two().ilog2()
}

/// Returns the entries for which a table of `sizes` is meant: half of its slots.
#[must_use]
pub fn room(sizes: Sizes) -> Demand {
    Demand { v4: (V4_SLOTS / 2) << sizes.v4_bits, v6: (V6_SLOTS / 2) << sizes.v6_bits }
}

/// Returns `sizes` with the table doubled that `full` names; nothing where it cannot be larger.
#[must_use]
pub fn doubled(sizes: Sizes, full: &CompileError) -> Option<Sizes> {
    match full {
        CompileError::Full { family: "ipv4", .. } if sizes.v4_bits < Sizes::V4_BITS_MAX => {
            Some(Sizes { v4_bits: sizes.v4_bits + 1, ..sizes })
        }
        CompileError::Full { family: "ipv6", .. } if sizes.v6_bits < Sizes::V6_BITS_MAX => {
            Some(Sizes { v6_bits: sizes.v6_bits + 1, ..sizes })
        }
        CompileError::Full { .. } | CompileError::Memory => None,
    }
}

/// Returns the sizes for a policy that takes `demand`: those in force while it has room in them, else
/// room for twice as much, so that a list that grows does not make the tables grow each time.
#[must_use]
pub fn grown(sizes: Sizes, demand: Demand) -> Sizes {
    let room = room(sizes);
    let bits =
        |need, room, bits, new: fn(u64) -> u32| if need > room { new(need * 2).max(bits) } else { bits };
    Sizes {
        v4_bits: bits(demand.v4, room.v4, sizes.v4_bits, v4_bits),
        v6_bits: bits(demand.v6, room.v6, sizes.v6_bits, v6_bits),
        ..sizes
    }
}

/// What a generation was written with, by which its entries are found again.
#[derive(Clone, Debug)]
pub struct Written {
    header: control::Policy,
    v6_lengths: v6::Lengths,
}

/// Writes `policy`, whose lists are `merged` with numbers from `classes`, as `generation`.
///
/// # Errors
/// [`CompileError`]; `generation` must then not be published.
pub fn write(
    memory: &impl Memory,
    generation: u32,
    sizes: Sizes,
    seed: Seed,
    policy: &Policy,
    merged: &Merged,
    classes: &Classes,
) -> Result<Written, CompileError> {
    let header = control::Policy {
        v4_bits: sizes.v4_bits,
        v6_bits: sizes.v6_bits,
        seed,
        ..control::Policy::default()
    };
    let mut written = Written { header, v6_lengths: v6_lengths(merged) };
    write_v4(memory, generation, &header, merged).map_err(|full| error(full, "ipv4", merged, sizes))?;
    write_v6(memory, generation, &mut written, merged).map_err(|full| error(full, "ipv6", merged, sizes))?;
    write_rest(memory, generation, &mut written.header, policy, classes);
    Ok(written)
}

/// Writes what is not in the tables of prefixes.
fn write_rest(
    memory: &impl Memory,
    generation: u32,
    header: &mut control::Policy,
    policy: &Policy,
    classes: &Classes,
) {
    write_classes(memory, generation, classes);
    write_limits(memory, generation, policy);
    header.shadow = policy.shadow;
    header.malformed = policy.malformed;
    header.store(memory, generation);
}

fn error(full: Full, family: &'static str, merged: &Merged, sizes: Sizes) -> CompileError {
    let (need, room) = (Demand::of(merged), room(sizes));
    match full {
        Full::Memory => CompileError::Memory,
        Full::Lines if family == "ipv4" => CompileError::Full { family, entries: need.v4, room: room.v4 },
        Full::Lines => CompileError::Full { family, entries: need.v6, room: room.v6 },
    }
}

fn write_v4(
    memory: &impl Memory,
    generation: u32,
    header: &control::Policy,
    merged: &Merged,
) -> Result<(), Full> {
    let entries = merged.v4.iter().map(|entry| (entry.network, entry.length, entry.class));
    v4::fill(memory, generation, header, entries)
}

fn write_v6(
    memory: &impl Memory,
    generation: u32,
    written: &mut Written,
    merged: &Merged,
) -> Result<(), Full> {
    let Written { header, v6_lengths } = written;
    v6::clear(memory, generation, header);
    for (entry, network, length) in v6_prefixes(merged) {
        for (network, length) in v6_lengths.expand(network, length) {
            v6::insert(memory, generation, header, network, length, entry.class)?;
        }
    }
    header.v6_lengths = v6::set_lengths(memory, generation, v6_lengths);
    Ok(())
}

fn v6_lengths(merged: &Merged) -> v6::Lengths {
    v6::Lengths::of(v6_prefixes(merged).map(|(_, _, length)| length))
}

/// Returns IPv6 entries and their prefixes. The table knows lengths from 1: all of IPv6 is its two
/// halves.
fn v6_prefixes(merged: &Merged) -> impl Iterator<Item = (&Entry<V6>, V6, u32)> {
    merged.v6.iter().flat_map(|entry| {
        let whole = entry.length == 0;
        let other = whole.then_some((entry, V6 { high: 1 << 63, low: 0 }, 1));
        [(entry, entry.network, u32::from(entry.length).max(1))].into_iter().chain(other)
    })
}

fn write_classes(memory: &impl Memory, generation: u32, classes: &Classes) {
    clear(memory, Map::Classes, generation, CLASS_LINES);
    class::store(memory, generation, class::NONE, Class::UNLISTED);
    for (id, spec) in classes.iter() {
        class::store(memory, generation, id, spec.class());
    }
}

fn write_limits(memory: &impl Memory, generation: u32, policy: &Policy) {
    clear(memory, Map::Services, generation, SERVICE_LINES);
    clear(memory, Map::Limits, generation, LIMIT_LINES);
    let mut limits_of: HashMap<Option<&str>, Vec<u8>> = HashMap::new();
    for (id, limit) in &policy.limits {
        limit::Limit {
            dimension: limit.dimension,
            shadow: limit.enforce.is_shadow(),
            scope: limit.scope,
            soft: limit.soft,
            profiles: limit.paces.map(|pace| pace.profile),
        }
        .store(memory, generation, *id);
        limits_of.entry(limit.service.as_deref()).or_default().push(*id);
    }
    let limits = |service| limits_of.get(&service).map_or(&[][..], Vec::as_slice);
    limit::set_limits_of(memory, generation, 0, limits(None));
    for (id, service) in (1..).zip(&policy.services) {
        write_ports(memory, generation, &service.ports, id);
        limit::set_limits_of(memory, generation, id, limits(Some(&service.name)));
    }
    write_ports(memory, generation, &policy.management, MANAGEMENT);
}

fn write_ports(memory: &impl Memory, generation: u32, ports: &[Port], service: u8) {
    for port in ports {
        let table = match port.protocol {
            Protocol::Tcp => 0,
            Protocol::Udp => 1,
        };
        limit::set_service(memory, generation, table, port.number, service);
    }
}

fn clear(memory: &impl Memory, map: Map, generation: u32, lines: u32) {
    for index in generation * lines..(generation + 1) * lines {
        if let Some(line) = memory.line(map, index) {
            line.store([0; 8]);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{path::Path, sync::Arc};

    use weir_common::{addr::Address, heap::Heap, table};

    use super::*;
    use crate::{
        config::Config,
        feed::{Entries, Feed, Listing},
        policy::{limits::LimitNumbers, merge},
    };

    const SIZES: Sizes = Sizes { v4_bits: 17, v6_bits: 10, limiter_bits: 17 };
    const CONFIG: &str = "interfaces: [{name: eth0}]
feeds: [{name: bad, path: /bad, action: drop}]
";

    fn put(heap: &Heap, generation: u32, v4: Vec<(u32, u8)>) -> Result<(), CompileError> {
        let config = Config::parse(Path::new("test.yaml"), CONFIG).unwrap();
        let entries = Arc::new(Entries { v4, v6: Vec::new() });
        let listing = Listing { entries, ..Listing::default() };
        let feeds = [Feed { listing, ..Feed::new(config.feeds[0].clone()) }];
        let policy = Policy::new(&config, &feeds, &[], &mut LimitNumbers::default());
        let mut classes = Classes::default();
        let merged = merge::merge(&policy.lists, &mut classes).unwrap();
        write(heap, generation, SIZES, Seed(3, 5), &policy, &merged, &classes).map(drop)
    }

    #[test]
    fn what_does_not_fit_is_an_error_that_names_the_table() {
        let heap = Heap::new(SIZES);
        put(&heap, 0, vec![(7, 32)]).unwrap();
        // 2^17 lines of 16 slots cannot hold three million.
        let many: Vec<_> = (0..3_000_000u32).map(|n| (n.wrapping_mul(0x9e37_79b1), 32)).collect();
        let error = put(&heap, 1, many).unwrap_err();
        assert!(matches!(error, CompileError::Full { family: "ipv4", .. }), "{error}");
        assert!(error.to_string().contains("the ipv4 table is full"), "{error}");
        assert_eq!(doubled(SIZES, &error), Some(Sizes { v4_bits: 18, ..SIZES }));
        assert_eq!(doubled(Sizes { v4_bits: Sizes::V4_BITS_MAX, ..SIZES }, &error), None);
        // The other generation is untouched.
        let policy = control::Policy::load(&heap, 0).unwrap();
        assert_ne!(table::lookup(&heap, 0, &policy, Address::V4(7)), class::NONE);
    }

    #[test]
    fn sizes_grow_with_what_there_is() {
        assert_eq!(v4_bits(0), Sizes::V4_BITS_MIN);
        assert_eq!(v4_bits(1 << 20), 17);
        assert_eq!(v4_bits(5_000_000), 20);
        assert_eq!(v4_bits(u64::MAX / 2), Sizes::V4_BITS_MAX);
        assert_eq!(v6_bits(1 << 16), 14);
        assert_eq!(room(SIZES), Demand { v4: 1 << 20, v6: 1 << 12 });
        assert_eq!(grown(SIZES, Demand { v4: 1 << 20, v6: 1 << 12 }), SIZES);
        let more = Demand { v4: 3_000_000, v6: 1 };
        assert_eq!(grown(SIZES, more), Sizes { v4_bits: 20, ..SIZES });
    }
}
