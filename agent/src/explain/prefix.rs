use std::{
    collections::BTreeMap,
    fmt::Write as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::Path,
    time::SystemTime,
};

use ipnet::IpNet;
use serde::Serialize;
use weir_common::{addr::Address, control};
use weir_ebpf::{Case, judge};

use super::{ExplainError, RuleFound, packet, rule, text::rule_line};
use crate::{
    config::Port,
    datapath::{Pins, memory::Mapped, onlooker::Onlooker},
    feed::store::Store,
    output::counted,
    policy::Origin,
    record::Record,
    rules::{self, Rule},
};

/// Bits of the addresses of a prefix that are judged one by one. Of one that has more, lists and rules alone
/// are told.
const BITS_MAX: u8 = 16;
/// Rules that are shown.
const RULES_MAX: usize = 50;

/// What decides about the addresses of a prefix: nobody judges it as a whole.
#[derive(Debug, Serialize)]
pub struct PrefixExplanation {
    /// The prefix.
    pub prefix: IpNet,
    /// What packets from its addresses get, what most get first; nothing: it has too many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdicts: Option<Vec<Share>>,
    /// Bans and manual rules around it and inside, of the kernel and of proxies.
    pub rules: Vec<RuleMet>,
    /// So many are not shown.
    pub rules_left_out: usize,
    /// Feeds whose last good lists meet it.
    pub feeds: Vec<FeedMet>,
}

/// Addresses that get the same, for the same reason.
#[derive(Debug, Serialize)]
pub struct Share {
    /// How many.
    pub addresses: u32,
    /// The first of them.
    pub first: IpAddr,
    /// `pass`, `drop` or `would_drop`.
    pub verdict: &'static str,
    /// Why, as in metrics.
    pub reason: &'static str,
    /// Lists that name them.
    pub listed_by: Vec<Origin>,
}

/// A rule that has addresses in common with the prefix.
#[derive(Debug, Serialize)]
pub struct RuleMet {
    /// Proxies hold it, the kernel does not.
    pub proxy_only: bool,
    /// The rule.
    #[serde(flatten)]
    pub rule: RuleFound,
}

/// A feed that has addresses in common with the prefix.
#[derive(Debug, Serialize)]
pub struct FeedMet {
    /// Its name.
    pub feed: String,
    /// Its prefixes around it, widest first.
    pub around: Vec<IpNet>,
    /// How many of its entries lie inside.
    pub inside: u64,
}

/// Explains what the kernel does with packets from the addresses of `prefix` to `port`.
///
/// # Errors
/// [`ExplainError`]
pub fn explain_prefix(
    pins: &Pins,
    state: &Path,
    prefix: IpNet,
    port: Option<Port>,
) -> Result<PrefixExplanation, ExplainError> {
    if !pins.exist() {
        return Err(ExplainError::NotLoaded);
    }
    let memory = Mapped::open(pins)?;
    control::Policy::load(&memory, control::generation(&memory)).ok_or(ExplainError::NoPolicy)?;
    let prefix = rules::canonical(prefix);
    let (record, now) = (Record::load(state), SystemTime::now());
    let meets = |rule: &&Rule| rule.prefix.contains(&prefix) || prefix.contains(&rule.prefix);
    let live = |rule: &&Rule| rule.left(now).is_none_or(|left| !left.is_zero());
    let book = rules::saved(state);
    let met: Vec<&Rule> = book.iter().filter(meets).filter(live).collect();
    let shown = |rule: &&Rule| RuleMet { proxy_only: rule.proxy_only, rule: rule::of_book(rule, now) };
    Ok(PrefixExplanation {
        prefix,
        verdicts: addresses(prefix).map(|all| shares(&Onlooker::new(&memory), record.as_ref(), all, port)),
        rules: met.iter().take(RULES_MAX).map(shown).collect(),
        rules_left_out: met.len().saturating_sub(RULES_MAX),
        feeds: record.iter().flat_map(|record| feeds(&Store::new(state), record, prefix)).collect(),
    })
}

/// Returns the addresses of a prefix, unless they are too many.
fn addresses(prefix: IpNet) -> Option<impl Iterator<Item = IpAddr>> {
    let (first, v4) = match prefix.network() {
        IpAddr::V4(first) => (u128::from(first.to_bits()), true),
        IpAddr::V6(first) => (first.to_bits(), false),
    };
    let count = 1_u128.checked_shl(u32::from(prefix.max_prefix_len() - prefix.prefix_len()))?;
    let address = move |bits: u128| match u32::try_from(bits) {
        Ok(bits) if v4 => IpAddr::V4(Ipv4Addr::from_bits(bits)),
        Ok(_) | Err(_) => IpAddr::V6(Ipv6Addr::from_bits(bits)),
    };
    (count <= 1 << BITS_MAX).then(|| (0..count).map(move |at| address(first + at)))
}

fn shares(
    world: &Onlooker<'_, Mapped>,
    record: Option<&Record>,
    addresses: impl Iterator<Item = IpAddr>,
    port: Option<Port>,
) -> Vec<Share> {
    let mut shares = BTreeMap::<_, (u32, IpAddr)>::new();
    for address in addresses {
        let mut case = Case::OPEN;
        judge(world, &packet::from(Address::from(address), port).as_slice(), &mut case);
        let key = (case.outcome.as_str(), case.reason.as_str(), case.class);
        shares.entry(key).or_insert((0, address)).0 += 1;
    }
    let origins = |class: u16| {
        let spec = record?.classes.get(usize::from(class).checked_sub(1)?);
        spec.map(|spec| spec.origins.clone())
    };
    let share = |((verdict, reason, class), (addresses, first))| {
        let listed_by = origins(class).unwrap_or_default();
        Share { addresses, first, verdict, reason, listed_by }
    };
    let mut shares: Vec<Share> = shares.into_iter().map(share).collect();
    shares.sort_by_key(|share| std::cmp::Reverse(share.addresses));
    shares
}

fn feeds(store: &Store, record: &Record, prefix: IpNet) -> Vec<FeedMet> {
    let met = record.feeds.iter().filter_map(|feed| {
        let overlap = store.overlap(&feed.name, prefix);
        let overlap = overlap.inspect_err(|error| tracing::debug!(%error, "a last good list cannot be read"));
        let overlap = overlap.ok().filter(|overlap| overlap.inside > 0 || !overlap.around.is_empty())?;
        Some(FeedMet { feed: feed.name.clone(), around: overlap.around, inside: overlap.inside })
    });
    met.collect()
}

/// Returns the same in words.
#[must_use]
pub fn prefix_text(it: &PrefixExplanation) -> String {
    let mut text = format!("{}\n", it.prefix);
    match &it.verdicts {
        None => {
            let longest = it.prefix.max_prefix_len() - BITS_MAX;
            _ = writeln!(
                text,
                "  too many addresses to ask for each: what a /{longest} or longer gets is told"
            );
        }
        Some(shares) => shares.iter().for_each(|share| share_line(&mut text, share)),
    }
    for RuleMet { proxy_only, rule } in &it.rules {
        let at = if *proxy_only { "at proxies: " } else { "" };
        _ = writeln!(text, "  {at}{}", rule_line(rule));
    }
    if it.rules_left_out > 0 {
        let more = counted(it.rules_left_out, "more rule");
        _ = writeln!(text, "  and {more}; `weir bans` has all");
    }
    for FeedMet { feed, around, inside } in &it.feeds {
        _ = write!(text, "  feed {feed}: {inside} of its entries inside");
        if !around.is_empty() {
            let around: Vec<String> = around.iter().map(ToString::to_string).collect();
            _ = write!(text, ", around it {}", around.join(", "));
        }
        text.push('\n');
    }
    text.push_str("`weir explain ADDRESS` tells all about one of them\n");
    text
}

fn share_line(text: &mut String, share: &Share) {
    let Share { addresses, first, verdict, reason, listed_by } = share;
    let word = match *verdict {
        "drop" => "dropped",
        "would_drop" => "pass, and would be dropped but for shadow mode",
        _ => "pass",
    };
    _ = write!(text, "  {}: {word} ({reason})", counted(*addresses, "address"));
    if !listed_by.is_empty() {
        let lists: Vec<String> = listed_by.iter().map(ToString::to_string).collect();
        _ = write!(text, ", listed by {}", lists.join(", "));
    }
    _ = writeln!(text, "; the first is {first}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_one_by_one_unless_they_are_too_many() {
        let of = |prefix: &str| addresses(prefix.parse().unwrap()).map(Iterator::collect::<Vec<_>>);
        let four = of("203.0.113.252/30").unwrap();
        assert_eq!((four.len(), four[3].to_string().as_str()), (4, "203.0.113.255"));
        let two = of("::2/127").unwrap();
        assert_eq!(two.iter().map(ToString::to_string).collect::<Vec<_>>(), ["::2", "::3"]);
        assert_eq!(of("255.255.0.0/16").unwrap().len(), 1 << 16);
        for prefix in ["10.0.0.0/15", "0.0.0.0/0", "2001:db8::/64", "::/0"] {
            assert!(of(prefix).is_none(), "{prefix}");
        }
        for (prefix, bound) in [("10.0.0.0/8", "a /16 or"), ("2001:db8::/48", "a /112 or")] {
            let prefix = prefix.parse().unwrap();
            let (rules, feeds) = (Vec::new(), Vec::new());
            let it = PrefixExplanation { prefix, verdicts: None, rules, rules_left_out: 0, feeds };
            assert!(prefix_text(&it).contains(bound), "{}", prefix_text(&it));
        }
    }
}
