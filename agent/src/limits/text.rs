use std::fmt::Write as _;

use super::{LimitView, Limits, Pace};
use crate::output::{duration, table};

/// Returns limits and debtors in words.
#[must_use]
pub fn text(limits: &Limits) -> String {
    if limits.limits.is_empty() {
        return "no limits\n".to_owned();
    }
    let header = &["LIMIT", "ON", "PER", "PACE", "WITHIN", "NEAR", "DROPPED", "WOULD DROP", "OWING", "OVER"];
    let mut text = table(header, limits.limits.iter().map(row));
    let now = &limits.table;
    let share = |part: u64, whole: u64| {
        #[expect(clippy::cast_precision_loss, reason = "for people")]
        let share = 100.0 * part as f64 / whole.max(1) as f64;
        format!("{share:.2} %")
    };
    let looked = |count: u64| {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part of a count")]
        #[expect(clippy::cast_precision_loss, reason = "for people")]
        let of = (count as f64 * now.looked_at) as u64;
        of
    };
    _ = writeln!(
        text,
        "\ntable  {} MiB: {} of {} buckets owe ({}), {} of them of IPv6; {} of {} lines are full",
        now.bytes >> 20,
        now.owing,
        now.buckets,
        share(now.owing, looked(now.buckets)),
        now.ipv6_owing,
        now.full_lines,
        now.lines,
    );
    if now.looked_at < 1.0 {
        _ = writeln!(
            text,
            "       looked at {:.0} % of it in time; counts are of that",
            now.looked_at * 100.0
        );
    }
    let valve = &limits.valve;
    _ = writeln!(
        text,
        "valve  {} of {} shared buckets owe; {} packets refused by them",
        valve.owing, valve.buckets, valve.packets
    );
    if limits.debtors.is_empty() {
        return text;
    }
    let rows = limits.debtors.iter().map(|debtor| {
        vec![
            debtor.source.clone(),
            debtor.limit.clone(),
            format!("{} of {}", debtor.used, debtor.burst),
            if debtor.over { "over".to_owned() } else { "within".to_owned() },
            if debtor.over { duration(debtor.admitted_in) } else { "now".to_owned() },
            debtor.profile.to_owned(),
        ]
    });
    _ = write!(text, "\n{}", table(&["DEBTOR", "LIMIT", "USED", "STATE", "ADMITTED IN", "PROFILE"], rows));
    text
}

fn row(limit: &LimitView) -> Vec<String> {
    let per = match limit.key {
        "prefix" => format!("/{} /{}", limit.ipv4_prefix, limit.ipv6_prefix),
        key => key.to_owned(),
    };
    let name = if limit.shadow { format!("{} (shadow)", limit.limit) } else { limit.limit.clone() };
    let packets = &limit.packets;
    vec![
        name,
        limit.service.clone().unwrap_or_else(|| "all services".to_owned()),
        per,
        paces(limit),
        packets.within.to_string(),
        packets.near.to_string(),
        packets.dropped.to_string(),
        packets.would_drop.to_string(),
        limit.ipv4_owing.to_string(),
        limit.ipv4_over.to_string(),
    ]
}

/// Returns the default pace, and those profiles that have another.
fn paces(limit: &LimitView) -> String {
    let one = |pace: &Pace| format!("{}/s burst {}", pace.rate, pace.burst);
    let Some(default) = limit.paces.first() else { return String::new() };
    let mut text = format!("{} {}", limit.dimension, one(default));
    for pace in limit.paces.iter().skip(1).filter(|pace| one(pace) != one(default)) {
        _ = write!(text, "; {} {}", pace.profile, one(pace));
    }
    if let Some(soft) = limit.soft_from {
        _ = write!(text, "; soft from {:.0} %", soft * 100.0);
    }
    text
}
