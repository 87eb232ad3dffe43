//! Patterns of STIX (section 9), as far as they are lists of addresses: `=`, `IN` and `ISSUBSET` on
//! `ipv4-addr:value` and `ipv6-addr:value`, joined by `OR`, inside and between brackets.
//!
//! Whatever else a pattern asks for makes it say less than its addresses. It is then no list, and
//! nothing is taken from it: half a pattern would block who is not meant.

use ipnet::IpNet;

use super::super::intake::network;

/// How deep parentheses may stand in each other.
const DEPTH_MAX: usize = 64;

/// Why a pattern is no list of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is no list of addresses: {why} at byte {at}")]
pub struct NotAList {
    why: &'static str,
    at: usize,
}

/// Returns the networks that a pattern lists, as it lists them.
///
/// # Errors
/// [`NotAList`] where it is none.
pub fn networks(pattern: &str) -> Result<Vec<IpNet>, NotAList> {
    let mut parser = Parser { text: pattern, at: 0, depth: 0, networks: Vec::new() };
    parser.observations()?;
    if parser.rest().is_empty() { Ok(parser.networks) } else { Err(parser.error("something else")) }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    networks: Vec<IpNet>,
}

#[derive(Clone, Copy)]
enum Family {
    V4,
    V6,
}

impl<'a> Parser<'a> {
    /// `[…] OR ([…] OR […])`
    fn observations(&mut self) -> Result<(), NotAList> {
        loop {
            if self.takes("(") {
                self.deeper()?;
                self.observations()?;
                self.closes(")")?;
            } else if self.takes("[") {
                self.comparisons()?;
                if !self.takes("]") {
                    return Err(self.error("no `]`"));
                }
            } else {
                return Err(self.error("no `[`"));
            }
            if !self.takes_word("OR") {
                return Ok(());
            }
        }
    }

    /// `ipv4-addr:value = '…' OR (…)`
    fn comparisons(&mut self) -> Result<(), NotAList> {
        loop {
            if self.takes("(") {
                self.deeper()?;
                self.comparisons()?;
                self.closes(")")?;
            } else {
                self.comparison()?;
            }
            if !self.takes_word("OR") {
                return Ok(());
            }
        }
    }

    fn comparison(&mut self) -> Result<(), NotAList> {
        let family = if self.takes("ipv4-addr:value") {
            Family::V4
        } else if self.takes("ipv6-addr:value") {
            Family::V6
        } else {
            return Err(self.error("something that is no address"));
        };
        if self.takes("==") || self.takes("=") || self.takes_word("ISSUBSET") {
            self.address(family)
        } else if self.takes_word("IN") {
            self.set(family)
        } else {
            Err(self.error("a comparison that is no list"))
        }
    }

    /// `('…', '…')`
    fn set(&mut self, family: Family) -> Result<(), NotAList> {
        if !self.takes("(") {
            return Err(self.error("no `(`"));
        }
        loop {
            self.address(family)?;
            if self.takes(")") {
                return Ok(());
            }
            if !self.takes(",") {
                return Err(self.error("no `,`"));
            }
        }
    }

    fn address(&mut self, family: Family) -> Result<(), NotAList> {
        let error = self.error("no address");
        let text = self.string()?;
        match (network(&text), family) {
            (Some(network @ IpNet::V4(_)), Family::V4) | (Some(network @ IpNet::V6(_)), Family::V6) => {
                self.networks.push(network);
                Ok(())
            }
            _ => Err(error),
        }
    }

    /// `'…'`, in which `\` stands before `'` and `\`.
    fn string(&mut self) -> Result<String, NotAList> {
        if !self.takes("'") {
            return Err(self.error("no string"));
        }
        let mut string = String::new();
        let mut characters = self.text.get(self.at..).unwrap_or_default().char_indices();
        while let Some((place, character)) = characters.next() {
            match character {
                '\'' => {
                    self.at += place + 1;
                    return Ok(string);
                }
                '\\' => match characters.next() {
                    Some((_, escaped @ ('\'' | '\\'))) => string.push(escaped),
                    _ => return Err(self.error("an escape that is none")),
                },
                other => string.push(other),
            }
        }
        Err(self.error("a string without an end"))
    }

    fn deeper(&mut self) -> Result<(), NotAList> {
        self.depth += 1;
        if self.depth > DEPTH_MAX { Err(self.error("too many parentheses")) } else { Ok(()) }
    }

    fn closes(&mut self, mark: &str) -> Result<(), NotAList> {
        self.depth = self.depth.saturating_sub(1);
        if self.takes(mark) { Ok(()) } else { Err(self.error("no `)`")) }
    }

    /// Skips blanks, and what follows if it is this.
    fn takes(&mut self, mark: &str) -> bool {
        let found = self.rest().starts_with(mark);
        if found {
            self.at += mark.len();
        }
        found
    }

    /// The same of a word, which ends where it does.
    fn takes_word(&mut self, word: &str) -> bool {
        let rest = self.rest();
        let next = rest.strip_prefix(word).map(|after| after.chars().next());
        let ends =
            |next: Option<char>| next.is_none_or(|next| !next.is_alphanumeric() && !"_-:.".contains(next));
        next.is_some_and(ends) && self.takes(word)
    }

    fn rest(&mut self) -> &'a str {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let trimmed = rest.trim_start();
        self.at += rest.len() - trimmed.len();
        trimmed
    }

    fn error(&self, why: &'static str) -> NotAList {
        NotAList { why, at: self.at }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lists_of_addresses_are_read() {
        for (pattern, want) in [
            ("[ipv4-addr:value = '198.51.100.5']", "198.51.100.5/32"),
            ("[ipv4-addr:value='198.51.100.5']", "198.51.100.5/32"),
            ("  [ ipv4-addr:value == '198.51.100.0/24' ]  ", "198.51.100.0/24"),
            ("[ipv4-addr:value ISSUBSET '198.51.100.77/24']", "198.51.100.0/24"),
            ("[ipv6-addr:value = '2001:db8::1']", "2001:db8::1/128"),
            (
                "[ipv4-addr:value IN ('192.0.2.1','192.0.2.2' , '192.0.2.3')]",
                "192.0.2.1/32 192.0.2.2/32 192.0.2.3/32",
            ),
            (
                "[ipv4-addr:value = '198.51.100.5' OR ipv4-addr:value ISSUBSET '203.0.113.0/24']",
                "198.51.100.5/32 203.0.113.0/24",
            ),
            (
                "[ipv4-addr:value = '192.0.2.1'] OR [ipv6-addr:value ISSUBSET '2001:db8::/32']",
                "192.0.2.1/32 2001:db8::/32",
            ),
            (
                "([ipv4-addr:value = '192.0.2.1'] OR\n\t([(ipv4-addr:value = '192.0.2.2' OR (ipv4-addr:value IN('192.0.2.3')))]))",
                "192.0.2.1/32 192.0.2.2/32 192.0.2.3/32",
            ),
        ] {
            let found = networks(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
            let found: Vec<_> = found.iter().map(ToString::to_string).collect();
            assert_eq!(found.join(" "), want, "{pattern}");
        }
    }

    #[test]
    fn what_says_less_or_more_is_no_list() {
        for pattern in [
            "",
            "[]",
            "ipv4-addr:value = '192.0.2.1'",
            "[ipv4-addr:value = '192.0.2.1'",
            "[ipv4-addr:value = '192.0.2.1']]",
            "[ipv4-addr:value = '192.0.2.1' AND network-traffic:dst_port = 22]",
            "[ipv4-addr:value = '192.0.2.1' OR domain-name:value = 'bad.example']",
            "[ipv4-addr:value = '192.0.2.1' OR url:value = 'x'] OR [ipv4-addr:value = '192.0.2.2']",
            "[ipv4-addr:value = '192.0.2.1'] AND [ipv4-addr:value = '192.0.2.2']",
            "[ipv4-addr:value = '192.0.2.1'] FOLLOWEDBY [ipv4-addr:value = '192.0.2.2']",
            "[ipv4-addr:value = '192.0.2.1'] REPEATS 5 TIMES",
            "[ipv4-addr:value = '192.0.2.1'] WITHIN 60 SECONDS",
            "[ipv4-addr:value NOT = '192.0.2.1']",
            "[NOT ipv4-addr:value = '192.0.2.1']",
            "[ipv4-addr:value NOT IN ('192.0.2.1')]",
            "[ipv4-addr:value != '192.0.2.1']",
            "[ipv4-addr:value LIKE '192.0.2.%']",
            "[ipv4-addr:value MATCHES '192']",
            "[ipv4-addr:value ISSUPERSET '192.0.2.1/32']",
            "[ipv4-addr:value > '192.0.2.1']",
            "[ipv4-addr:value = '2001:db8::1']",
            "[ipv6-addr:value = '192.0.2.1']",
            "[ipv4-addr:value = '192.0.2.1' OR ipv4-addr:value = 'nonsense']",
            "[ipv4-addr:value IN ()]",
            "[ipv4-addr:value IN ('192.0.2.1',)]",
            "[ipv4-addr:value INSIDE ('192.0.2.1')]",
            "[ipv4-addr:value = \"192.0.2.1\"]",
            "[ipv4-addr:value = '192.0.2.1\\n']",
            "[ipv4-addr:value = '192.0.2.1",
            "[ipv4-addr:values = '192.0.2.1']",
            "[ipv4-addr:value = '192.0.2.1'] ORELSE [x]",
            "[ipv4-addr:value = '192.0.2.1' OR]",
            "[x-ipv4-addr:value = '192.0.2.1']",
        ] {
            assert!(networks(pattern).is_err(), "{pattern}");
        }
        let deep = format!("{}[ipv4-addr:value = '192.0.2.1']{}", "(".repeat(100_000), ")".repeat(100_000));
        assert!(networks(&deep).is_err());
    }

    /// A pattern, and the networks it lists.
    fn pattern() -> impl Strategy<Value = (String, Vec<IpNet>)> {
        let address = prop_oneof![
            (any::<u32>(), 0u8..=32)
                .prop_map(|(bits, length)| ipnet::Ipv4Net::new(bits.into(), length).map(IpNet::V4)),
            (any::<u128>(), 0u8..=128)
                .prop_map(|(bits, length)| ipnet::Ipv6Net::new(bits.into(), length).map(IpNet::V6)),
        ];
        let address = address.prop_map(|network| network.unwrap().trunc());
        let blank = "[ \n\t]{0,2}";
        let comparison =
            (proptest::collection::vec(address, 1..4), blank, 0u8..3).prop_map(|(networks, blank, kind)| {
                let (v4, v6): (Vec<_>, Vec<_>) =
                    networks.into_iter().partition(|network| matches!(network, IpNet::V4(_)));
                let (name, networks) = if v4.is_empty() { ("ipv6", v6) } else { ("ipv4", v4) };
                let texts: Vec<_> = networks.iter().map(|network| format!("'{network}'")).collect();
                let each = |operator: &str| {
                    let all =
                        texts.iter().map(|text| format!("{name}-addr:value{blank}{operator}{blank}{text}"));
                    all.collect::<Vec<_>>().join(" OR ")
                };
                let text = match kind {
                    0 => each("="),
                    1 => each(" ISSUBSET"),
                    _ => format!(
                        "{name}-addr:value IN{blank}({blank}{}{blank})",
                        texts.join(&format!("{blank},"))
                    ),
                };
                (text, networks)
            });
        let join = |separator: &'static str, open: &'static str, close: &'static str| {
            move |parts: Vec<(String, Vec<IpNet>)>| {
                let (texts, networks): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
                (format!("{open}{}{close}", texts.join(separator)), networks.concat())
            }
        };
        let inner = comparison.prop_recursive(3, 12, 3, move |inner| {
            proptest::collection::vec(inner, 1..3).prop_map(join(" OR ", "(", " )"))
        });
        let observation = proptest::collection::vec(inner, 1..3).prop_map(join(" OR\n", "[", " ]"));
        let outer = observation.prop_recursive(2, 8, 3, move |inner| {
            proptest::collection::vec(inner, 1..3).prop_map(join(" OR ", "( ", ")"))
        });
        proptest::collection::vec(outer, 1..3).prop_map(join(" OR ", " ", " "))
    }

    proptest! {
        #[test]
        fn what_was_written_is_read((text, want) in pattern()) {
            prop_assert_eq!(networks(&text).map_err(|error| format!("{text}: {error}")), Ok(want));
        }

        #[test]
        fn any_text_is_a_list_or_not(
            text in r"([\[\]()',\\ =]|OR|IN|AND|ipv4-addr:value|ISSUBSET|192\.0\.2\.1|.){0,24}", cut in 0usize..40,
        ) {
            _ = networks(&text);
            let good = "[ipv4-addr:value = '198.51.100.5' OR ipv6-addr:value IN ('2001:db8::')]";
            if good.is_char_boundary(cut) {
                prop_assert!(networks(&good[..cut]).is_err());
            }
        }
    }
}
