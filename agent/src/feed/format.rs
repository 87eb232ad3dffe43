//! From a text to entries, one module a grammar. Pure.

/// Addresses and prefixes, one a line.
pub mod plain;

use weir_common::addr::V6;

use super::Parsed;
use crate::config::{self, Format, Guards};

/// Parses the text of a feed's list, and leaves out what the feed does not select.
///
/// # Errors
/// What is wrong with the text as a whole, where it is not a list of lines.
pub fn parse(feed: &config::Feed, text: &[u8]) -> Result<Parsed, String> {
    match feed.format {
        Format::Plain => Ok(plain::parse(text)),
    }
}

impl Parsed {
    fn reject(&mut self, line: usize, text: &[u8]) {
        self.rejected.lines += 1;
        if self.first_rejected.is_none() {
            let start: String = String::from_utf8_lossy(text).chars().take(60).collect();
            self.first_rejected = Some((line, start));
        }
    }

    fn push_v4(&mut self, network: u32, length: u8) {
        self.everything |= length == 0;
        if length < Guards::default().ipv4_prefix {
            self.rejected.too_wide += 1;
        } else {
            let network = weir_common::addr::network_v4(network, u32::from(length));
            self.entries.v4.push((network, length));
        }
    }

    fn push_v6(&mut self, network: V6, length: u8) {
        self.everything |= length == 0;
        if length < Guards::default().ipv6_prefix {
            self.rejected.too_wide += 1;
        } else {
            self.entries.v6.push((network.network(u32::from(length)), length));
        }
    }
}
