//! Grammars of lists.

/// What a grammar of lines or of JSON is told.
mod settings;
/// Grammars of publishers.
mod named;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use settings::{Column, Columns, Json, Only, Separator, Subject, Words};

use super::Select;

/// The grammar of a list.
///
/// A few are general and take settings: `columns`, `csv`, `json-lines` and `json`. The others are
/// one word; those of a publisher are settings of the general ones, see [`Format::grammar`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// An address or prefix a line, comments from `#` or `;`, anything behind the first word.
    #[default]
    Plain,
    /// Addresses and prefixes between blanks, commas and line ends: StopForumSpam's archives.
    Words,
    /// `start-end`, `start,end`, `name:start-end`, a prefix, or an address a line; addresses may be
    /// plain numbers: Tor's geoip, IP2Location, P2P.
    Range,
    /// An address or prefix, then a score: IPsum.
    Score,
    /// `address:port`, `[address]:port` or an address a line. Ports do not count.
    IpPort,
    /// `address,category,score`: Suricata's IP reputation.
    SuricataIprep,
    /// DShield's recommended block list; the score is the number of attacks.
    Dshield,
    /// `ASN | name | address | last seen | category`: DataPlane.org.
    Dataplane,
    /// `Address,Tags`: the Turris greylist.
    Turris,
    /// abuse.ch Feodo Tracker, CSV.
    FeodoCsv,
    /// abuse.ch Feodo Tracker, JSON.
    FeodoJson,
    /// abuse.ch ThreatFox, CSV; the score is the confidence.
    Threatfox,
    /// Zeek's intelligence framework: indicators of the types `Intel::ADDR` and `Intel::SUBNET`.
    ZeekIntel,
    /// Tor's `exit-addresses`.
    TorExitAddresses,
    /// Spamhaus DROP, as JSON lines or as text.
    SpamhausDrop,
    /// Spamhaus ASN-DROP, JSON lines. Needs `tables`.
    SpamhausAsndrop,
    /// AbuseIPDB's blacklist, JSON; the score is the confidence of abuse. Its plain text is `plain`.
    Abuseipdb,
    /// The `list` of a MISP warning list of the types `cidr` and `string`.
    MispWarninglist,
    /// `ip-ranges.json` of AWS; the category is the service.
    Aws,
    /// `cloud.json`, `goog.json` and `googlebot.json` of Google, also `bingbot.json`.
    Google,
    /// `api.github.com/meta`.
    Github,
    /// `public-ip-list` of Fastly.
    Fastly,
    /// Rules of Snort and Suricata: the sources of those that are about all that a source sends.
    SnortRules,
    /// Data of rbldnsd, types `ip4set`, `ip4tset`, `ip4trie` and `ip6trie`; the category is what it
    /// answers, `127.0.0.2`.
    Rbldnsd,
    /// A response policy zone of name servers: `rpz-client-ip` and `rpz-ip`; the category is what is
    /// done, such as `drop`.
    Rpz,
    /// An autonomous system a line, `AS64500` or `64500`. Needs `tables`.
    AsnList,
    /// A country a line, ISO 3166-1 alpha-2. Needs `tables`.
    CountryList,
    /// Lines of columns.
    Columns(Columns),
    /// Lines of columns between commas, which may be in quotes.
    Csv(Columns),
    /// A JSON object a line.
    JsonLines(Json),
    /// One JSON document.
    Json(Json),
}

/// A grammar in general terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Grammar {
    /// [`Format::Plain`]
    Plain,
    /// [`Format::Words`]
    Words,
    /// [`Format::Range`]
    Range,
    /// [`Format::SnortRules`]
    Rules,
    /// [`Format::Rbldnsd`]
    Rbldnsd,
    /// [`Format::Rpz`]
    Rpz,
    /// [`Format::Columns`]
    Columns(Columns),
    /// [`Format::Csv`]
    Csv(Columns),
    /// [`Format::JsonLines`]
    JsonLines(Json),
    /// [`Format::Json`]
    Json(Json),
}

impl Format {
    /// Returns the grammar in general terms: that of a publisher as settings of a general one.
    #[must_use]
    pub fn grammar(&self) -> Grammar {
        named::grammar(self)
    }

    /// Says what is wrong with it, and the mend.
    pub(crate) fn validate(&self) -> Result<(), String> {
        match self.grammar() {
            Grammar::Plain
            | Grammar::Words
            | Grammar::Range
            | Grammar::Rules
            | Grammar::Rbldnsd
            | Grammar::Rpz => Ok(()),
            Grammar::Columns(columns) | Grammar::Csv(columns) => columns.validate(),
            Grammar::JsonLines(json) if json.items.is_empty() => json.validate(),
            Grammar::JsonLines(_) => {
                Err("items: each line is one; leave it out, or use format json".to_owned())
            }
            Grammar::Json(json) if json.items.is_empty() => {
                Err("has no items; say where they are, like `items: /prefixes/*`".to_owned())
            }
            Grammar::Json(json) => json.validate(),
        }
    }

    /// Says what of `select` cannot work with it, and the mend: the field and the message.
    pub(crate) fn validate_select(&self, select: &Select) -> Result<(), (&'static str, String)> {
        let offers = self.offers();
        let tables = !select.tables.is_empty();
        match offers.subject {
            Subject::Asn | Subject::Country if !tables => {
                let message = "is needed: the list names autonomous systems or countries, and tables say which \
                               prefixes are theirs; give files of `start,end,asn` or `start,end,country` lines";
                return Err(("tables", message.to_owned()));
            }
            Subject::Address if tables => {
                let message = "has no use: this format lists addresses; leave it out, or use asn-list, \
                               country-list, or a format with asn or country";
                return Err(("tables", message.to_owned()));
            }
            Subject::Asn | Subject::Country | Subject::Address => {}
        }
        if select.min_score.is_some() && !offers.score {
            let message =
                "has no use: this format has no score; leave it out, or use score, columns, csv or json";
            return Err(("min_score", message.to_owned()));
        }
        if !select.categories.is_empty() && !offers.category {
            let message = "has no use: this format has no category; leave it out, or use columns, csv or json \
                           with category";
            return Err(("categories", message.to_owned()));
        }
        Ok(())
    }

    /// Returns what its entries say.
    fn offers(&self) -> Offers {
        match self.grammar() {
            Grammar::Columns(columns) | Grammar::Csv(columns) => Offers {
                subject: columns.subject().map_or(Subject::Address, |(subject, _)| subject),
                score: columns.score.is_some(),
                category: columns.category.is_some(),
            },
            Grammar::JsonLines(json) | Grammar::Json(json) => Offers {
                subject: json.subject().map_or(Subject::Address, |(subject, _)| subject),
                score: json.score.is_some(),
                category: json.category.is_some(),
            },
            Grammar::Rbldnsd | Grammar::Rpz => {
                Offers { subject: Subject::Address, score: false, category: true }
            }
            Grammar::Plain | Grammar::Words | Grammar::Range | Grammar::Rules => {
                Offers { subject: Subject::Address, score: false, category: false }
            }
        }
    }
}

/// What the entries of a grammar say.
struct Offers {
    subject: Subject,
    score: bool,
    category: bool,
}

#[cfg(test)]
mod tests;
