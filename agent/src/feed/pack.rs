//! Lists that come with weir: what many lists name by mistake.

use serde::Serialize;

use super::{Entries, Parsed, entries::Widest};

/// When the ranges of clouds, search bots and delivery networks were taken.
const TAKEN: &str = "2026-08-22";
const RANGES: &str = "lord-alfred/ipranges, CC0-1.0";
const OWN: &str = "as weir";

/// A list that comes with weir.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Pack {
    /// Its name, as `pack` in the configuration has it.
    pub name: &'static str,
    /// What it lists, in a word.
    pub category: Category,
    /// What it is, in a line.
    pub about: &'static str,
    /// When it was taken.
    pub date: &'static str,
    /// Whose work it is, and under which terms.
    pub licence: &'static str,
    #[serde(skip)]
    texts: &'static [&'static str],
}

/// What a pack lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Category {
    /// Hosts for rent, and those of the services that run on them.
    Cloud,
    /// Crawlers of search engines.
    SearchBot,
    /// Delivery networks, behind which many sites and clients are.
    Cdn,
    /// Public DNS resolvers.
    Resolver,
    /// Addresses that are nobody's on the Internet (RFC 6890).
    Special,
}

impl Category {
    /// Returns what it is called in output and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cloud => "cloud",
            Self::SearchBot => "search-bot",
            Self::Cdn => "cdn",
            Self::Resolver => "resolver",
            Self::Special => "special",
        }
    }
}

impl Pack {
    /// Returns what it lists.
    #[must_use]
    pub fn entries(&self) -> Entries {
        // Special networks are as wide as they are.
        let mut parsed = Parsed { widest: Widest { v4: 1, v6: 1 }, ..Parsed::default() };
        for text in self.texts {
            parsed = super::format::plain::parse_as(text.as_bytes(), parsed);
        }
        parsed.entries
    }
}

/// All of them.
pub const ALL: &[Pack] = &[
    Pack {
        name: "amazon",
        category: Category::Cloud,
        about: "Amazon Web Services, with CloudFront and Route 53",
        date: TAKEN,
        licence: RANGES,
        texts: &[include_str!("pack/amazon-v4.txt"), include_str!("pack/amazon-v6.txt")],
    },
    Pack {
        name: "cloudflare",
        category: Category::Cdn,
        about: "Cloudflare's edge",
        date: TAKEN,
        licence: RANGES,
        texts: &[include_str!("pack/cloudflare-v4.txt"), include_str!("pack/cloudflare-v6.txt")],
    },
    Pack {
        name: "github",
        category: Category::Cloud,
        about: "GitHub, with the runners of Actions, most of which are Azure's",
        date: TAKEN,
        licence: RANGES,
        texts: &[include_str!("pack/github-v4.txt"), include_str!("pack/github-v6.txt")],
    },
    Pack {
        name: "google",
        category: Category::Cloud,
        about: "Google, with Google Cloud",
        date: TAKEN,
        licence: RANGES,
        texts: &[include_str!("pack/google-v4.txt"), include_str!("pack/google-v6.txt")],
    },
    Pack {
        name: "googlebot",
        category: Category::SearchBot,
        about: "Google's crawlers",
        date: TAKEN,
        licence: RANGES,
        texts: &[include_str!("pack/googlebot-v4.txt"), include_str!("pack/googlebot-v6.txt")],
    },
    Pack {
        name: "resolvers",
        category: Category::Resolver,
        about: "well-known public DNS resolvers, as their operators publish them",
        date: "2026-11-24",
        licence: OWN,
        texts: &[include_str!("pack/resolvers.txt")],
    },
    Pack {
        name: "special",
        category: Category::Special,
        about: "special-purpose addresses of the IANA registries (RFC 6890), and multicast",
        date: "2026-11-24",
        licence: OWN,
        texts: &[include_str!("pack/special.txt")],
    },
];

/// Returns the pack of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Pack> {
    ALL.iter().find(|pack| pack.name == name)
}

/// Returns their names.
#[must_use]
pub fn names() -> Vec<&'static str> {
    ALL.iter().map(|pack| pack.name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_every_pack_is_an_entry() {
        let mut seen = Vec::new();
        for pack in ALL {
            assert!(!seen.contains(&pack.name), "{}", pack.name);
            seen.push(pack.name);
            let is_entry = |line: &&str| !line.is_empty() && !line.starts_with('#');
            let lines = pack.texts.iter().flat_map(|text| text.lines()).filter(is_entry).count();
            let entries = pack.entries();
            assert_eq!(entries.len(), lines, "{}", pack.name);
            assert!(!entries.v4.is_empty() && !entries.v6.is_empty(), "{}", pack.name);
            assert_eq!(find(pack.name).unwrap().name, pack.name);
        }
    }

    #[test]
    fn packs_have_what_they_are_for() {
        let has = |name: &str, address: u32| {
            let entries = find(name).unwrap().entries();
            entries.v4.iter().any(|(network, length)| {
                weir_common::addr::network_v4(address, u32::from(*length)) == *network
            })
        };
        assert!(has("resolvers", 0x0808_0808), "8.8.8.8");
        assert!(has("special", 0xc0a8_0101), "192.168.1.1");
        assert!(has("special", 0xe000_0001), "224.0.0.1");
        assert!(!has("special", 0x0808_0808), "8.8.8.8");
        assert!(has("google", 0x0808_0808), "8.8.8.8");
        assert!(has("cloudflare", 0x6810_0001), "104.16.0.1");
    }
}
