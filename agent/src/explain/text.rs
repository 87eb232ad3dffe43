use std::{fmt::Write as _, time::SystemTime};

use super::{AgentSays, Bucket, Explanation, ListFound, RuleFound};
use crate::{
    output::{ago, date, duration},
    record::seconds,
};

/// Returns the explanation in words.
#[must_use]
pub fn text(it: &Explanation) -> String {
    let now = seconds(SystemTime::now());
    let mut text = format!("{}  {}\n", it.address, it.summary);
    if let Some(protected) = it.protected {
        _ = writeln!(text, "  protected: {protected}");
    }
    if let Some(rule) = &it.rule {
        _ = writeln!(text, "  {}", rule_line(rule));
    }
    if let Some(rule) = &it.proxy_rule {
        _ = writeln!(text, "  at proxies: {}", rule_line(rule));
    }
    for list in &it.lists {
        list_line(&mut text, list, now);
    }
    if let Some(packets) = it.class_packets.filter(|packets| *packets != super::ClassPackets::default()) {
        let super::ClassPackets { pass, drop, would_drop } = packets;
        _ = writeln!(
            text,
            "  all sources on the same lists: {pass} packets passed, {drop} dropped, {would_drop} only counted"
        );
    }
    if it.profile != "default" {
        _ = writeln!(text, "  limits hold it to the {} pace", it.profile);
    }
    it.limits.iter().for_each(|bucket| _ = writeln!(text, "  {}", bucket_line(bucket)));
    agent_lines(&mut text, &it.agent, now);
    if !it.changes.is_empty() {
        text.push_str("what would change it\n");
    }
    for change in &it.changes {
        _ = match &change.command {
            Some(command) => writeln!(text, "  `{command}` {}", change.what),
            None => writeln!(text, "  {}", change.what),
        };
    }
    text
}

pub(super) fn rule_line(rule: &RuleFound) -> String {
    let shadow = if rule.shadow { " (shadow)" } else { "" };
    #[expect(clippy::cast_precision_loss, reason = "ten years at most")]
    let end = match rule.seconds_left {
        Some(seconds) => format!("for {} more", duration(seconds as f64)),
        None => "without an end".to_owned(),
    };
    let Some(book) = &rule.book else {
        return format!("{}{shadow} {end}; the state directory does not know it", rule.does);
    };
    let until = book.until.map(|until| format!(", until {}", date(until))).unwrap_or_default();
    let note = if book.note.is_empty() { String::new() } else { format!(": {}", book.note) };
    format!(
        "{} of {}{shadow} {end}, by {} since {}{until}{note}",
        rule.does,
        book.prefix,
        book.by,
        date(book.since)
    )
}

fn list_line(text: &mut String, list: &ListFound, now: u64) {
    let prefixes: Vec<String> = list.prefixes.iter().map(ToString::to_string).collect();
    let Some(feed) = &list.feed else {
        if !list.list.starts_with("feed ") {
            return;
        }
        _ = writeln!(text, "  {} has it as {}", list.list, prefixes.join(", "));
        return;
    };
    let action = format!("{:?}", feed.action).to_lowercase();
    let shadow = if feed.shadow { ", shadow" } else { "" };
    let category = feed.category.as_deref().map(|category| format!(", {category}")).unwrap_or_default();
    _ = write!(text, "  feed {} ({action}{shadow}{category})", feed.name);
    if !prefixes.is_empty() {
        _ = write!(text, " has it as {}", prefixes.join(", "));
    }
    if let Some(since) = list.since {
        let longer = if since.or_longer { " or longer" } else { "" };
        _ = write!(text, " since {}{longer}", date(since.at));
    }
    if let Some(until) = list.until {
        _ = write!(text, ", until {}", date(until));
    }
    if let Some(confirmed) = feed.confirmed {
        _ = write!(text, "; confirmed {}", ago(now.saturating_sub(confirmed)));
    }
    if feed.state != "ok" {
        _ = write!(text, "; {}", feed.state);
    }
    text.push('\n');
}

fn bucket_line(bucket: &Bucket) -> String {
    let mut line = format!(
        "limit {} on {}: {} of {} {} used, {}/s",
        bucket.limit,
        bucket.service.as_deref().unwrap_or("all services"),
        bucket.used,
        bucket.burst,
        bucket.dimension,
        bucket.rate,
    );
    if bucket.shadow {
        line.push_str(", shadow");
    }
    if bucket.over {
        _ = write!(line, ", over, admitted again in {}", duration(bucket.admitted_in));
    }
    if bucket.soft {
        line.push_str(", in the soft band");
    }
    if let Some(used) = bucket.shared_used {
        _ = write!(line, "; its line is full, so it shares a bucket with its network: {used} used (valve)");
    }
    line
}

fn agent_lines(text: &mut String, agent: &AgentSays, now: u64) {
    if let Some(risk) = &agent.risk {
        _ = writeln!(
            text,
            "  risk {:.1}: challenged from {}, throttled from {}, banned from {} (escalation: {})",
            risk.risk,
            risk.challenge_at,
            risk.throttle_at,
            risk.ban_at,
            format!("{:?}", risk.mode).to_lowercase(),
        );
    }
    if let Some(recent) = &agent.recent {
        let since = ago(now.saturating_sub(recent.at_milliseconds / 1000));
        _ = writeln!(
            text,
            "  seen lately: {} sampled packets, the last {since}: {}",
            recent.events, recent.last
        );
    }
    if let Some(unknown) = &agent.unknown {
        _ = writeln!(text, "  risk and recent packets are not known: {unknown}");
    }
}
