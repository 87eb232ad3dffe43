//! Limits: what they count, for whom, how much.

use std::collections::{HashMap, HashSet};

use crate::config::spanned::Spanned;
use weir_common::{
    gcra::Profile,
    limit::{self, Dimension, PROFILES, Scope},
};

use super::check::Check;
use crate::config::{
    Bytes, Limit, Pace, Rate, Service,
    raw::{self, Per, Text},
};

pub(super) fn limits(check: &mut Check, raw: Vec<raw::Limit>, services: &[Service]) -> Vec<Limit> {
    let mut names = HashSet::new();
    let mut standing: HashMap<Option<String>, u32> = HashMap::new();
    let mut limits = Vec::new();
    for (i, raw) in raw.into_iter().enumerate() {
        let at = format!("limits[{i}]");
        let name = check.name(&format!("{at}.name"), &raw.name, &mut names);
        let place = raw.name.referenced;
        let service = service(check, &at, &raw, services);
        let scope = scope(check, &at, &raw);
        let soft = soft(check, &at, raw.soft.as_ref());
        let budgets = [
            (Dimension::Packets, raw.packets),
            (Dimension::Bytes, raw.bytes),
            (Dimension::Connections, raw.connections),
            (Dimension::Control, raw.control),
        ];
        let several = budgets.iter().filter(|(_, budget)| budget.is_some()).count();
        if several == 0 {
            let message = "limits nothing; add packets, bytes, connections or control with rate and burst";
            check.problem(place, &format!("{at}.name"), message);
        }
        for (dimension, budget) in budgets {
            let Some(budget) = budget else { continue };
            let field = format!("{at}.{}", dimension.as_str());
            let Some(paces) = paces(check, &field, &budget) else { continue };
            let count = standing.entry(service.clone()).or_default();
            *count += 1;
            let (what, most) = match &service {
                Some(service) => (format!("service `{service}` has"), limit::PER_SERVICE),
                None => ("control packets have".to_owned(), limit::ON_CONTROL),
            };
            if *count == most + 1 {
                check.problem(place, &field, format!("{what} more than {most} limits"));
            }
            let name = if several > 1 { format!("{name}-{}", dimension.as_str()) } else { name.clone() };
            let (service, enforce) = (service.clone(), raw.enforce);
            limits.push(Limit { name, service, dimension, paces, scope, soft, enforce });
        }
        if limits.len() >= limit::CAPACITY as usize {
            check.problem(place, "limits", format!("more than {}", limit::CAPACITY - 1));
            break;
        }
    }
    limits
}

/// A limit on control packets stands on no service: ICMP and later fragments have no port.
fn service(check: &mut Check, at: &str, limit: &raw::Limit, services: &[Service]) -> Option<String> {
    let field = format!("{at}.service");
    let others = limit.packets.is_some() || limit.bytes.is_some() || limit.connections.is_some();
    let Some(service) = &limit.service else {
        if others || limit.control.is_none() {
            let message = "missing; only a limit on control packets stands on no service";
            check.problem(limit.name.referenced, &field, message);
        }
        return None;
    };
    if limit.control.is_some() {
        let message = "control packets of all services are counted together; leave service out, and give \
                       other budgets a limit of their own";
        check.problem(service.referenced, &field, message);
    }
    if !services.iter().any(|known| known.name == service.value) {
        let known: Vec<_> = services.iter().map(|service| service.name.as_str()).collect();
        let message =
            format!("`{}` is not a declared service; declared: [{}]", service.value, known.join(", "));
        check.problem(service.referenced, &field, message);
    }
    Some(service.value.clone())
}

fn scope(check: &mut Check, at: &str, limit: &raw::Limit) -> Scope {
    let mut bits = |family: &str, given: Option<&Spanned<u8>>, range: std::ops::RangeInclusive<u8>| {
        let bits = given?;
        let field = format!("{at}.{family}_prefix");
        if limit.per == Per::Service {
            check.problem(
                bits.referenced,
                &field,
                "a limit per service counts all sources together; leave it out",
            );
        } else if !range.contains(&bits.value) {
            let message = format!("{} is not in {} to {}", bits.value, range.start(), range.end());
            check.problem(bits.referenced, &field, message);
        }
        Some(bits.value)
    };
    let v4_bits = bits("ipv4", limit.ipv4_prefix.as_ref(), 8..=32);
    let v6_bits = bits("ipv6", limit.ipv6_prefix.as_ref(), 16..=64);
    match limit.per {
        Per::Service => Scope::ALL,
        Per::Source => Scope {
            v4_bits: v4_bits.unwrap_or(Scope::SOURCE.v4_bits),
            v6_bits: v6_bits.unwrap_or(Scope::SOURCE.v6_bits),
        },
    }
}

/// A share of the burst, in 256ths.
fn soft(check: &mut Check, at: &str, text: Option<&Text>) -> u8 {
    let Some(text) = text else { return 0 };
    let percent = text.value.trim().strip_suffix('%').and_then(|number| number.trim().parse::<u32>().ok());
    if let Some(percent @ 1..=99) = percent {
        return u8::try_from(percent * 256 / 100).unwrap_or(u8::MAX);
    }
    let message = format!("`{}`: write a share of the burst from 1% to 99%, like 80%", text.value);
    check.problem(text.referenced, &format!("{at}.soft"), message);
    0
}

/// Sources of which nothing is known come first; a profile that is not given is theirs.
fn paces(check: &mut Check, field: &str, budget: &raw::Budget) -> Option<[Pace; PROFILES]> {
    let unknown = pace(check, field, &budget.rate, &budget.burst);
    let mut of = |name: &str, given: Option<&raw::Pace>| match given {
        Some(given) => pace(check, &format!("{field}.{name}"), &given.rate, &given.burst),
        None => unknown,
    };
    let (partner, suspicious) =
        (of("partner", budget.partner.as_ref()), of("suspicious", budget.suspicious.as_ref()));
    Some([unknown?, partner?, suspicious?])
}

fn pace(check: &mut Check, field: &str, rate: &Text, burst: &Text) -> Option<Pace> {
    let per_second = check.parse::<Rate>(&format!("{field}.rate"), rate);
    let units = check.parse::<Bytes>(&format!("{field}.burst"), burst);
    let (per_second, Bytes(units)) = (per_second?.per_second, units?);
    match Profile::new(per_second, units) {
        Ok(profile) => Some(Pace { rate: per_second, burst: units, profile }),
        Err(message) => {
            let message = format!("`{}`, burst `{}`: {message}", rate.value, burst.value);
            check.problem(rate.referenced, &format!("{field}.rate"), message);
            None
        }
    }
}
