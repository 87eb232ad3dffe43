//! Feeds, and what several of them say together.

use std::{collections::HashSet, time::Duration};

use serde_saphyr::Location;

use super::check::Check;
use crate::{
    config::{
        Auth, Bgp, Bytes, Consensus, Crowdsec, Feed, Guards, Http, Lasts, Select, Source, Taxii,
        raw::{self, Text},
        spanned::Spanned,
    },
    feed::{
        catalogue::{self, Known},
        pack,
    },
    output::whole,
};

/// The largest weight a feed may have, so that sums stay numbers.
const WEIGHT_MAX: u32 = 1000;
const TIMEOUT: Duration = Duration::from_mins(1);
const TIMEOUT_MAX: Duration = Duration::from_mins(10);
/// How often a list behind a URL is asked for, where nothing says otherwise, and how often at most.
const INTERVAL: Duration = Duration::from_hours(1);
const INTERVAL_MIN: Duration = Duration::from_secs(1);
/// A stream is asked for news only, so often.
const STREAM_INTERVAL: Duration = Duration::from_secs(10);
/// How often a LAPI is told what is done, as its own bouncers do.
const USAGE_INTERVAL: Duration = Duration::from_mins(30);
/// Of STIX 2.1.
const CONFIDENCE_MAX: u8 = 100;
const HOLD: Duration = Duration::from_mins(2);
/// `BLACKHOLE` of RFC 7999.
const BLACKHOLE: (u16, u16) = (65535, 666);
const SOURCES: &str = "path, networks, pack, known, url, crowdsec, taxii, misp or bgp";

pub(super) fn feeds(check: &mut Check, raw: Vec<raw::feed::Feed>) -> Vec<Feed> {
    let mut names = HashSet::new();
    let feeds = raw.into_iter().enumerate();
    feeds.filter_map(|(i, raw)| feed(check, &format!("feeds[{i}]"), raw, &mut names)).collect()
}

fn feed(check: &mut Check, field: &str, raw: raw::feed::Feed, names: &mut HashSet<String>) -> Option<Feed> {
    let at = raw.name.referenced;
    let name = check.name(&format!("{field}.name"), &raw.name, names);
    let known = raw.known.as_ref().and_then(|text| known(check, field, text));
    let source = source(check, field, &raw, at, known)?;
    let interval = interval(check, field, raw.interval.as_ref(), &source, known);
    let format = raw.format.as_ref().map(|format| format.value.clone());
    let format = format.or_else(|| known.map(Known::format)).unwrap_or_default();
    if let Err(problem) = format.validate() {
        let at = raw.format.as_ref().map_or(at, |format| format.referenced);
        check.problem(at, &format!("{field}.format"), problem);
    }
    if raw.weight > WEIGHT_MAX {
        check.problem(at, &format!("{field}.weight"), format!("{} is more than {WEIGHT_MAX}", raw.weight));
    }
    let ttl = raw
        .ttl
        .as_ref()
        .and_then(|text| check.parse::<Lasts>(&format!("{field}.ttl"), text).and_then(|Lasts(lasts)| lasts));
    let guards = guards(check, field, &raw, known);
    let tables = raw.tables.iter().enumerate();
    let tables = tables.map(|(i, text)| check.path(&format!("{field}.tables[{i}]"), text)).collect();
    let select = Select { min_score: raw.min_score, categories: raw.categories, tables };
    // Sources that have no text have no grammar either.
    if matches!(source, Source::File(_) | Source::Http(_))
        && let Err((name, problem)) = format.validate_select(&select)
    {
        check.problem(at, &format!("{field}.{name}"), problem);
    }
    if let (Some(header), Source::Http(Http { auth: Auth::None, .. })) =
        (known.and_then(|known| known.auth), &source)
    {
        let message =
            format!("is needed: the publisher asks for a key in the header `{header}`; set name and file");
        check.problem(at, &format!("{field}.http.header"), message);
    }
    Some(Feed {
        name,
        source,
        format,
        select,
        action: raw.action,
        enforce: raw.enforce,
        category: raw.category.or_else(|| known.map(|known| known.category.to_owned())),
        weight: raw.weight,
        interval,
        ttl,
        guards,
    })
}

fn known(check: &mut Check, field: &str, text: &Text) -> Option<&'static Known> {
    let known = catalogue::find(&text.value);
    if known.is_none() {
        let message = format!("`{}` is not in the catalogue; see `weir feeds catalogue`", text.value);
        check.problem(text.referenced, &format!("{field}.known"), message);
    }
    known
}

fn source(
    check: &mut Check,
    field: &str,
    raw: &raw::feed::Feed,
    at: Location,
    known: Option<&Known>,
) -> Option<Source> {
    let mut sources = Vec::new();
    if let Some(text) = &raw.path {
        sources.push(Source::File(check.path(&format!("{field}.path"), text)));
    }
    if let Some(networks) = &raw.networks {
        sources.push(Source::Networks(check.prefixes(&format!("{field}.networks"), &networks.value)));
    }
    if let Some(text) = &raw.pack {
        if pack::find(&text.value).is_none() {
            let message = format!("`{}` is no pack; there are {}", text.value, pack::names().join(", "));
            check.problem(text.referenced, &format!("{field}.pack"), message);
        }
        sources.push(Source::Pack(text.value.clone()));
    }
    let web = |check: &mut Check, name: &str, text: &Text| http(check, field, name, text, &raw.http);
    if let Some(text) = &raw.known {
        let url = known.map_or("", |known| known.url).to_owned();
        // A name that is not known has been told already.
        let found = Http { url, ..web(check, "", text) };
        sources.push(Source::Http(found));
    }
    if let Some(text) = &raw.url {
        sources.push(Source::Http(web(check, "url", text)));
    }
    if let Some(text) = &raw.misp {
        sources.push(Source::Misp(web(check, "misp", text)));
    }
    if let Some(crowdsec) = &raw.crowdsec {
        let mut http = web(check, "crowdsec.url", &crowdsec.url);
        let file = check.path(&format!("{field}.crowdsec.key"), &crowdsec.key);
        http.auth = Auth::Header { name: "X-Api-Key".to_owned(), prefix: String::new(), file };
        sources.push(Source::Crowdsec(self::crowdsec(check, field, http, crowdsec)));
    }
    if let Some(taxii) = &raw.taxii {
        let http = web(check, "taxii.collection", &taxii.collection);
        if taxii.min_confidence > CONFIDENCE_MAX {
            let message = format!("{} is not in 0 to {CONFIDENCE_MAX}", taxii.min_confidence);
            check.problem(at, &format!("{field}.taxii.min_confidence"), message);
        }
        sources.push(Source::Taxii(Taxii { http, min_confidence: taxii.min_confidence }));
    }
    if let Some(bgp) = &raw.bgp {
        sources.push(Source::Bgp(self::bgp(check, field, bgp)));
    }
    if sources.len() != 1 {
        let message = format!("has {} sources; give it one of {SOURCES}", sources.len());
        check.problem(at, field, message);
    }
    sources.pop()
}

fn http(check: &mut Check, field: &str, name: &str, text: &Text, raw: &raw::feed::Http) -> Http {
    let auth = match (&raw.header, &raw.basic) {
        (Some(header), None) => Auth::Header {
            name: header.name.value.clone(),
            prefix: header.prefix.clone(),
            file: check.path(&format!("{field}.http.header.file"), &header.file),
        },
        (None, Some(basic)) => Auth::Basic {
            user: basic.user.clone(),
            file: check.path(&format!("{field}.http.basic.file"), &basic.file),
        },
        (None, None) => Auth::None,
        (Some(header), Some(_)) => {
            check.problem(
                header.name.referenced,
                &format!("{field}.http"),
                "has header and basic; keep one of them",
            );
            Auth::None
        }
    };
    let mut file = |name: &str, text: &Option<Text>| {
        text.as_ref().map(|text| check.path(&format!("{field}.http.{name}"), text))
    };
    let (ca, client_certificate) = (file("ca", &raw.ca), file("client_certificate", &raw.client_certificate));
    let mut timeout = TIMEOUT;
    if let Some(text) = &raw.timeout
        && let Some(Lasts(lasts)) = check.parse(&format!("{field}.http.timeout"), text)
    {
        timeout = lasts.unwrap_or(TIMEOUT_MAX);
        if timeout > TIMEOUT_MAX {
            let message = format!("`{}` is more than ten minutes", text.value);
            check.problem(text.referenced, &format!("{field}.http.timeout"), message);
        }
    }
    if !name.is_empty() {
        check_url(check, &format!("{field}.{name}"), text, raw.insecure);
    }
    Http {
        url: text.value.clone(),
        insecure: raw.insecure,
        private: raw.private,
        auth,
        proxy: raw.proxy.as_ref().map(|text| text.value.clone()),
        ca,
        client_certificate,
        timeout,
    }
}

fn check_url(check: &mut Check, field: &str, text: &Text, insecure: bool) {
    let message = match url::Url::parse(&text.value) {
        Err(error) => format!("`{}` is no URL: {error}", text.value),
        Ok(url) if !url.username().is_empty() || url.password().is_some() => {
            "has a user or a password in it; use http.basic with a file".to_owned()
        }
        Ok(url) => match url.scheme() {
            "https" => return,
            "http" if insecure => return,
            "http" => format!("`{}` is not protected; use https, or set http.insecure", text.value),
            other => format!("`{other}` is not spoken here; use https"),
        },
    };
    check.problem(text.referenced, field, message);
}

fn crowdsec(check: &mut Check, field: &str, http: Http, raw: &raw::feed::Crowdsec) -> Crowdsec {
    let field = format!("{field}.crowdsec.usage_interval");
    let every = raw.usage_interval.as_ref().and_then(|text| {
        let Lasts(every) = check.parse(&field, text)?;
        if every.is_some_and(|every| every < INTERVAL_MIN) {
            let least = whole(INTERVAL_MIN.as_secs());
            check.problem(text.referenced, &field, format!("`{}` is less than {least}", text.value));
        }
        every
    });
    Crowdsec {
        http,
        origins: raw.origins.clone(),
        scenarios_containing: raw.scenarios_containing.clone(),
        usage_interval: raw.usage_metrics.then(|| every.unwrap_or(USAGE_INTERVAL)),
    }
}

fn bgp(check: &mut Check, field: &str, raw: &raw::feed::Bgp) -> Bgp {
    let mut communities = Vec::new();
    for (i, text) in raw.communities.iter().enumerate() {
        let parts = text.value.split_once(':').map(|(a, b)| (a.parse(), b.parse()));
        if let Some((Ok(asn), Ok(value))) = parts {
            communities.push((asn, value));
        } else {
            let message = format!("`{}` is no community; write two numbers like 65535:666", text.value);
            check.problem(text.referenced, &format!("{field}.bgp.communities[{i}]"), message);
        }
    }
    if communities.is_empty() {
        communities.push(BLACKHOLE);
    }
    let hold = raw.hold.as_ref().and_then(|text| check.parse::<Lasts>(&format!("{field}.bgp.hold"), text));
    Bgp { communities, hold: hold.map_or(HOLD, |Lasts(lasts)| lasts.unwrap_or(Lasts::MAX)) }
}

fn interval(
    check: &mut Check,
    field: &str,
    text: Option<&Text>,
    source: &Source,
    known: Option<&Known>,
) -> Duration {
    let default = match source {
        Source::Crowdsec(_) => STREAM_INTERVAL,
        Source::File(_)
        | Source::Networks(_)
        | Source::Pack(_)
        | Source::Http(_)
        | Source::Taxii(_)
        | Source::Misp(_)
        | Source::Bgp(_) => known.map_or(INTERVAL, Known::interval),
    };
    let Some(text) = text else { return default };
    let field = format!("{field}.interval");
    let Some(Lasts(interval)) = check.parse::<Lasts>(&field, text) else { return default };
    let interval = interval.unwrap_or(Lasts::MAX);
    let floor = known.map_or(INTERVAL_MIN, Known::floor);
    if interval < floor {
        let floor = whole(floor.as_secs());
        let message = format!("`{}` is less than {floor}, which its publisher asks for", text.value);
        check.problem(text.referenced, &field, message);
    }
    interval
}

fn guards(check: &mut Check, field: &str, raw: &raw::feed::Feed, known: Option<&Known>) -> Guards {
    let default = Guards::default();
    let can_be_empty = raw.can_be_empty || known.is_some_and(|known| known.can_be_empty);
    let raw = &raw.guards;
    let mut number = |name: &str, value: &Option<Spanned<u8>>, default: u8, least: u8, most: u8| {
        let Some(value) = value else { return default };
        if !(least..=most).contains(&value.value) {
            let message = format!("{} is not in {least} to {most}", value.value);
            check.problem(value.referenced, &format!("{field}.guards.{name}"), message);
        }
        value.value
    };
    let shrink = number("shrink", &raw.shrink, default.shrink, 0, 100);
    let rejected = number("rejected", &raw.rejected, default.rejected, 0, 100);
    let ipv4_prefix = number("ipv4_prefix", &raw.ipv4_prefix, default.ipv4_prefix, 1, 32);
    let ipv6_prefix = number("ipv6_prefix", &raw.ipv6_prefix, default.ipv6_prefix, 1, 128);
    let mut count = |name: &str, text: &Option<Text>, default: u64| {
        let Some(text) = text else { return default };
        check.parse::<Bytes>(&format!("{field}.guards.{name}"), text).map_or(default, |bytes| bytes.0)
    };
    let entries = count("entries", &raw.entries, default.entries);
    let bytes = count("bytes", &raw.bytes, default.bytes);
    let growth = raw.growth.as_ref().map_or(default.growth, |growth| {
        if growth.value == 0 {
            let message = "0 would hold every list; write 1 or more";
            check.problem(growth.referenced, &format!("{field}.guards.growth"), message);
        }
        growth.value
    });
    Guards { can_be_empty, shrink, growth, entries, bytes, rejected, ipv4_prefix, ipv6_prefix }
}

pub(super) fn consensus(check: &mut Check, raw: Vec<raw::feed::Consensus>, feeds: &[Feed]) -> Vec<Consensus> {
    let mut names = HashSet::new();
    let mut all = Vec::new();
    for (i, raw) in raw.into_iter().enumerate() {
        let field = format!("consensus[{i}]");
        let name = check.name(&format!("{field}.name"), &raw.name, &mut names);
        let mut reach = 0;
        let mut members: Vec<String> = Vec::new();
        for (j, text) in raw.feeds.value.iter().enumerate() {
            let member = feeds.iter().find(|feed| feed.name == text.value);
            let problem = match member {
                None => Some(format!("`{}` is no feed", text.value)),
                Some(_) if members.contains(&text.value) => Some(format!("`{}` occurs twice", text.value)),
                Some(feed) => {
                    reach += feed.weight;
                    None
                }
            };
            if let Some(problem) = problem {
                check.problem(text.referenced, &format!("{field}.feeds[{j}]"), problem);
            }
            members.push(text.value.clone());
        }
        let weight = raw.weight.value;
        if weight == 0 || weight > reach {
            let message = format!("{weight} is not in 1 to {reach}, the weight of its feeds together");
            check.problem(raw.weight.referenced, &format!("{field}.weight"), message);
        }
        all.push(Consensus { name, feeds: members, weight, action: raw.action, enforce: raw.enforce });
    }
    all
}
