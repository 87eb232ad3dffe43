//! What is fuzzed: every parser of what comes from outside, each with what must hold of any input.
//! `agent/fuzz` has a target for each; the tests replay its seeds. No part of the product.

use std::{path::Path, time::Duration};

use crate::{
    api,
    audit::chain,
    capture::Capture,
    cli, config,
    config::{Config, Format, Guards},
    decision,
    decision::{
        Client, Request, Rule, Source,
        rules::{Condition, evaluate},
    },
    feed, proxy, versions,
};

/// What is done with an input.
pub type Target = fn(&[u8]);

/// Every target, by its name.
pub const TARGETS: [(&str, Target); 22] = [
    ("list", list),
    ("table", feed::fuzz::table),
    ("body", feed::fuzz::body),
    ("stix", feed::fuzz::stix),
    ("misp", feed::fuzz::misp),
    ("crowdsec", feed::fuzz::crowdsec),
    ("bgp", bgp),
    ("store", feed::fuzz::store),
    ("config", configuration),
    ("unit", unit),
    ("cases", cases),
    ("rule", rule),
    ("capture", capture),
    ("signature", versions::signature::fuzz),
    ("audit", audit),
    ("control", api::fuzz::rules),
    ("certificate", api::fuzz::certificate),
    ("headers", proxy::fuzz::headers),
    ("spop", proxy::fuzz::haproxy),
    ("log", proxy::fuzz::log),
    ("bouncer", proxy::fuzz::bouncer),
    ("fleet", proxy::fuzz::fleet),
];

/// Runs the target of this name.
///
/// # Panics
/// If something does not hold, or there is no such target.
pub fn run(name: &str, input: &[u8]) {
    let target = TARGETS.iter().find(|(known, _)| *known == name);
    assert!(target.is_some(), "no target `{name}`");
    if let Some((_, target)) = target {
        target(input);
    }
}

/// Formats of lists, as a configuration has them.
const FORMATS: [&str; 29] = [
    r#""plain""#,
    r#""words""#,
    r#""range""#,
    r#""score""#,
    r#""ip-port""#,
    r#""suricata-iprep""#,
    r#""dshield""#,
    r#""dataplane""#,
    r#""turris""#,
    r#""feodo-csv""#,
    r#""feodo-json""#,
    r#""threatfox""#,
    r#""zeek-intel""#,
    r#""tor-exit-addresses""#,
    r#""spamhaus-drop""#,
    r#""spamhaus-asndrop""#,
    r#""abuseipdb""#,
    r#""misp-warninglist""#,
    r#""aws""#,
    r#""google""#,
    r#""github""#,
    r#""fastly""#,
    r#""snort-rules""#,
    r#""rbldnsd""#,
    r#""rpz""#,
    r#""asn-list""#,
    r#""country-list""#,
    r#"{"csv": {"address": "src_ip", "score": "confidence", "category": "kind"}}"#,
    r#"{"json": {"items": "/prefixes/*", "address": ["ip_prefix", "ipv6_prefix"], "category": "service"}}"#,
];

/// Any list in any format, which the first byte says: what is read are networks, without host bits.
fn list(input: &[u8]) {
    let Some((kind, text)) = input.split_first() else { return };
    let format = FORMATS.get(usize::from(*kind) % FORMATS.len()).copied().unwrap_or_default();
    let parsed: Result<Format, _> = serde_json::from_str(format);
    assert!(parsed.is_ok(), "{format}: {:?}", parsed.err());
    let Ok(format) = parsed else { return };
    let feed = config::Feed {
        name: "fuzz".to_owned(),
        source: config::Source::Networks(Vec::new()),
        format,
        select: config::Select::default(),
        action: config::FeedAction::Drop,
        enforce: config::Enforce::Enforce,
        category: None,
        weight: 1,
        interval: Duration::from_hours(1),
        ttl: None,
        guards: Guards::default(),
    };
    let Ok(parsed) = feed::format::parse_with(&feed, text, &feed::format::Tables::default()) else { return };
    for (network, length) in &parsed.entries.v4 {
        let host = u32::MAX.checked_shr((*length).into()).unwrap_or(0);
        assert!(*length <= 32 && network & host == 0, "{network:x}/{length}");
    }
    for (network, length) in &parsed.entries.v6 {
        assert!(*length <= 128 && network.network((*length).into()) == *network, "{network:?}/{length}");
    }
}

/// Any lines of exabgp.
fn bgp(input: &[u8]) {
    let config = config::Bgp { communities: vec![(65535, 666)], hold: Duration::from_mins(2) };
    let mut routes = feed::source::bgp::Routes::new(&config, Guards::default());
    let mut now = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    for line in String::from_utf8_lossy(input).lines() {
        _ = routes.line(line, now);
        now += Duration::from_secs(30);
        routes.forget(now);
    }
}

/// Any configuration: what is wrong with one is told with its file.
fn configuration(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Err(error) = Config::parse(Path::new("weir.yaml"), text) {
        assert!(error.to_string().contains("weir.yaml"), "{error}");
    }
}

/// Any prefix, time or address, as people write them: what is printed is read as the same.
fn unit(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Ok(config::Prefix(prefix)) = text.parse() {
        assert_eq!(prefix.to_string().parse().map(|config::Prefix(again)| again), Ok(prefix));
    }
    _ = text.parse::<config::Lasts>();
    if let Some(address) = decision::client::parse(text) {
        assert_eq!(decision::client::parse(&address.to_string()), Some(address));
    }
    _ = feed::format::plain::parse(input);
}

/// Any file of cases, of packets and of requests.
fn cases(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    cli::fuzz::packets(text);
    cli::fuzz::requests(text);
}

/// Any condition of a rule, and what it says of a request.
fn rule(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let Ok(when) = Condition::compile(text) else { return };
    let client = Client { address: [192, 0, 2, 1].into(), direct: true };
    let mut request = Request::of(client);
    "/v1/orders".clone_into(&mut request.path);
    request.headers.insert("user-agent".to_owned(), "curl/8.5 (Möwe)".to_owned());
    let rule = Rule { name: "fuzz".into(), when, then: None, score: 1.0, retry_after: None, shadow: false };
    let found = evaluate(&[rule], &request, &Source::default());
    assert!(found.decision.is_none());
}

/// Any capture: its packets become frames, or are left out.
fn capture(input: &[u8]) {
    let input = std::io::Cursor::new(input.to_vec());
    let Ok(mut capture) = Capture::from_reader(Path::new("fuzz.pcap"), input) else { return };
    let mut room = Vec::new();
    while let Ok(true) = capture.read(1000, |packet| {
        _ = packet.link.frame(packet.bytes, packet.original, &mut room);
    }) {}
}

/// Any line of the audit: one that is whole says the number that it claims. Whatever is sealed is whole.
fn audit(input: &[u8]) {
    let (mut last, mut line) = (chain::Link::default(), Vec::new());
    last.seal(&String::from_utf8_lossy(input).replace('\n', ""), &mut line);
    assert_eq!(chain::read(line.trim_ascii_end()).map(|sealed| sealed.link), Ok(last));
    for line in input.split(|byte| *byte == b'\n') {
        if let Ok(sealed) = chain::read(line) {
            assert_eq!(chain::claims(line), Some(sealed.link.seq));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Inputs that are made of each seed, beside itself; so many seconds for each target with this
    /// variable.
    const GARBLED: u32 = 50;
    const SECONDS: &str = "WEIR_FUZZ_SECONDS";

    /// Does to an input what befalls one: bytes change, go missing, come twice, or from another.
    fn garble(random: &mut fastrand::Rng, input: &mut Vec<u8>, other: &[u8]) {
        for _ in 0..random.usize(1..6) {
            let at = random.usize(..=input.len());
            let end = (at + random.usize(..32)).min(input.len());
            match random.u8(..6) {
                0 => drop(input.drain(at..end)),
                1 => input.truncate(at),
                2 => {
                    let piece = input[at..end].to_vec();
                    input.splice(at..at, piece);
                }
                3 if !other.is_empty() => {
                    let from = random.usize(..other.len());
                    let to = (from + random.usize(..64)).min(other.len());
                    input.splice(at..end, other[from..to].iter().copied());
                }
                4 if at < input.len() => input[at] = *random.choice(b"\0\xff\x7f09-.:/{}[]()\"'\n ").unwrap(),
                _ if at < input.len() => input[at] ^= 1 << random.u8(..8),
                _ => {}
            }
        }
    }

    /// Every target with its seeds garbled. A failure names seed and turn, which make the same input again.
    #[test]
    fn seeds_of_the_fuzzer_garbled() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds");
        let seconds: u64 = std::env::var(SECONDS).ok().and_then(|text| text.parse().ok()).unwrap_or(0);
        for (name, target) in TARGETS {
            let mut paths: Vec<_> =
                fs::read_dir(folder.join(name)).unwrap().map(|seed| seed.unwrap().path()).collect();
            paths.sort();
            let seeds: Vec<_> = paths.iter().map(|path| fs::read(path).unwrap()).collect();
            let started = std::time::Instant::now();
            let mut turns = 0..;
            let more = |turn| turn < GARBLED || started.elapsed().as_secs() < seconds;
            while let Some(turn) = turns.next().filter(|turn| more(*turn)) {
                let mut random = fastrand::Rng::with_seed(turn.into());
                for (path, seed) in paths.iter().zip(&seeds) {
                    let mut input = seed.clone();
                    let other = random.choice(&seeds).unwrap().clone();
                    garble(&mut random, &mut input, &other);
                    let run = std::panic::AssertUnwindSafe(|| target(&input));
                    if std::panic::catch_unwind(run).is_err() {
                        let crash = std::env::temp_dir().join(format!("weir-{name}-crash"));
                        fs::write(&crash, &input).unwrap();
                        panic!("{name}: {} in turn {turn}: {}", path.display(), crash.display());
                    }
                }
            }
            println!("{name}: {turns:?} turns in {:?}", started.elapsed());
        }
    }

    /// The seeds of the fuzzer, and what it has found, again: see `agent/fuzz`.
    #[test]
    fn seeds_of_the_fuzzer() {
        let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds");
        for (name, target) in TARGETS {
            let folder = seeds.join(name);
            let mut count = 0;
            for seed in fs::read_dir(&folder).unwrap_or_else(|_| panic!("no {}", folder.display())) {
                let path = seed.unwrap().path();
                println!("{}", path.display());
                target(&fs::read(&path).unwrap());
                count += 1;
            }
            assert!(count >= 3, "{count} seeds in {}", folder.display());
        }
    }

    #[test]
    fn every_target_has_a_program() {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/Cargo.toml");
        let manifest = fs::read_to_string(manifest).unwrap();
        for (name, _) in TARGETS {
            assert!(
                manifest.contains(&format!("name = \"{name}\"\n")),
                "{name} is not in agent/fuzz/Cargo.toml"
            );
        }
        assert_eq!(manifest.matches("[[bin]]").count(), TARGETS.len());
    }
}
