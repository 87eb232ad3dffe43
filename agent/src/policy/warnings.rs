//! What a policy will not do that it may be meant to do, or does that may not be meant.

use super::limits;
use crate::config::{Config, FeedAction};

/// What is allowed as a whole and is wider than this is told.
const ALLOW_V4_BITS_MIN: u8 = 8;
/// Likewise: wider than what most registries have been given as a whole.
const ALLOW_V6_BITS_MIN: u8 = 16;
/// Where nothing is slowed down.
pub const NO_SLOWER_PACE: &str = "no limit has a slower pace for suspicious sources, so this slows nobody \
     down: give one a `suspicious` rate";

/// Returns a sentence for each, as `weir check` and the log show it. The limiter has 2^`limiter_bits` lines.
#[must_use]
pub fn of(config: &Config, limiter_bits: u32) -> Vec<String> {
    let mut warnings = limits::crowded(&config.limits, limiter_bits);
    if limits::suspicious_as_others(&config.limits) {
        let slowed = config.feeds.iter().filter(|feed| feed.action == FeedAction::Suspicious);
        warnings.extend(slowed.map(|feed| format!("feed {}: {NO_SLOWER_PACE}", feed.name)));
    }
    let wide = config.allow.iter().filter(|prefix| {
        prefix.prefix_len() < if prefix.addr().is_ipv4() { ALLOW_V4_BITS_MIN } else { ALLOW_V6_BITS_MIN }
    });
    warnings
        .extend(wide.map(|prefix| format!("allow: no list, ban or limit applies to any source in {prefix}")));
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warnings(more: &str) -> Vec<String> {
        let text = format!("interfaces: [{{name: eth0}}]\n{more}");
        of(&Config::parse(std::path::Path::new("weir.yaml"), &text).unwrap(), 21)
    }

    #[test]
    fn what_slows_nobody_down_is_told() {
        let feed = "feeds: [{name: f, path: /f, action: suspicious}]";
        let with = |more: &str, feed: &str| {
            let limit = format!("{{name: l, service: web, packets: {{rate: 100/s, burst: 9{more}}}}}");
            warnings(&format!("services: [{{name: web, ports: [443/tcp]}}]\nlimits: [{limit}]\n{feed}\n"))
        };
        assert_eq!(with("", ""), Vec::<String>::new());
        assert!(with("", feed)[0].starts_with("feed f: no limit has a slower pace"));
        assert_eq!(with(", suspicious: {rate: 10/s, burst: 9}", feed), Vec::<String>::new());
    }

    #[test]
    fn to_allow_everybody_is_told() {
        let told = warnings("allow: [0.0.0.0/0, 10.0.0.0/8, '2000::/3']\n");
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].contains("0.0.0.0/0") && told[1].contains("2000::/3"), "{told:?}");
    }
}
