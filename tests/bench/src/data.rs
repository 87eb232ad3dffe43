//! Lists of addresses, the same for all who are compared.

use std::{fmt::Write as _, net::Ipv4Addr, sync::Arc};

use weir::feed::Entries;
use weir_bench_ebpf::source::{List, v6_prefix};
use weir_common::addr::V6;

/// Returns the list as a feed has it.
pub(crate) fn entries(list: List, v6: u64) -> Arc<Entries> {
    Arc::new(Entries {
        v4: (0..list.len()).map(|n| list.prefix(n)).collect(),
        v6: (0..v6)
            .map(|n| {
                let (high, low, length) = v6_prefix(n, v6);
                (V6 { high, low }, length)
            })
            .collect(),
    })
}

/// Returns the same list in the order of its addresses.
pub(crate) fn sorted(entries: &Entries) -> Entries {
    let mut sorted = entries.clone();
    sorted.v4.sort_unstable();
    sorted.v6.sort_unstable();
    sorted
}

/// Returns IPv4 prefixes as the text of a feed: hosts without a length, as most lists have them.
pub(crate) fn text(prefixes: &[(u32, u8)]) -> String {
    let mut text = String::with_capacity(prefixes.len() * 18);
    for &(network, length) in prefixes {
        let address = Ipv4Addr::from_bits(network);
        _ = if length == 32 { writeln!(text, "{address}") } else { writeln!(text, "{address}/{length}") };
    }
    text
}
