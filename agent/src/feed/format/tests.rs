use std::fs;

use super::{
    parse,
    testing::{Found, feed, parsed, path},
};
use crate::config::{Feed, Format, Select};

fn format(yaml: &str) -> Format {
    serde_saphyr::from_str(yaml).unwrap_or_else(|error| panic!("{yaml}: {error}"))
}

fn sample(name: &str) -> Vec<u8> {
    fs::read(path(name)).unwrap()
}

fn entries(yaml: &str, text: &str) -> Vec<String> {
    parsed(format(yaml), text.as_bytes()).entries
}

fn selected(yaml: &str, select: Select, text: &[u8]) -> Found {
    parse(&Feed { select, ..feed(format(yaml)) }, text).unwrap().into()
}

fn categories(words: &[&str]) -> Select {
    Select { categories: words.iter().map(ToString::to_string).collect(), ..Select::default() }
}

#[test]
fn grammars_that_are_in_no_catalogue() {
    let tables: &[(&str, &str, &[&str])] = &[
        ("spamhaus-drop", "spamhaus-drop.txt", &["192.0.2.0/25", "198.51.100.0/24"]),
        ("spamhaus-drop", "spamhaus-edrop.txt", &[]),
        ("plain", "feodo-empty.txt", &[]),
        ("zeek-intel", "zeek.intel", &["192.0.2.66/32", "198.51.100.0/25", "2001:db8::66/128"]),
        ("suricata-iprep", "iprep.list", &["192.0.2.1/32", "198.51.100.0/24", "2001:db8::1/128"]),
        (
            "range",
            "tor-geoip.txt",
            &[
                "192.0.2.0/24",
                "198.51.100.0/26",
                "198.51.100.64/27",
                "198.51.100.96/28",
                "198.51.100.112/29",
                "198.51.100.120/30",
                "198.51.100.124/31",
                "198.51.100.126/32",
            ],
        ),
        ("range", "tor-geoip6.txt", &["2001:db8::/48"]),
        (
            "range",
            "p2p.txt",
            &["192.0.2.0/25", "198.51.100.4/31", "203.0.113.0/24", "203.0.113.9/32", "2001:db8::/120"],
        ),
        ("misp-warninglist", "misp-warninglist.json", &["192.0.2.0/24", "198.51.100.1/32", "2001:db8::/48"]),
        (
            "ip-port",
            "ip-port.txt",
            &["192.0.2.1/32", "198.51.100.7/32", "203.0.113.4/32", "2001:db8::1/128", "2001:db8::7/128"],
        ),
        (
            "snort-rules",
            "block.rules",
            &[
                "192.0.2.1/32",
                "198.51.100.0/25",
                "198.51.100.128/26",
                "203.0.113.5/32",
                "203.0.113.6/32",
                "203.0.113.7/32",
                "2001:db8::/48",
            ],
        ),
        (
            "rbldnsd",
            "rbldnsd.txt",
            &[
                "192.0.2.0/25",
                "192.0.2.192/26",
                "192.0.2.130/32",
                "198.51.100.0/24",
                "203.0.113.0/30",
                "203.0.113.4/32",
                "203.0.113.7/32",
                "203.0.113.64/27",
            ],
        ),
        ("rbldnsd", "rbldnsd6.txt", &["2001:db8::/49", "2001:db8:0:8001::/64"]),
        (
            "rpz",
            "rpz.zone",
            &[
                "192.0.2.0/25",
                "192.0.2.192/26",
                "198.51.100.5/32",
                "203.0.113.0/24",
                "2001:db8:1::/48",
                "2001:db8::5/128",
                "2001:db8:2::/128",
            ],
        ),
    ];
    for (yaml, file, want) in tables {
        let found = parsed(format(yaml), &sample(file));
        assert_eq!(found.entries, *want, "{file} as {yaml}");
        assert_eq!(found.parsed.rejected.lines, 0, "{file} as {yaml}: {}", found.parsed);
    }
}

#[test]
fn settings_of_general_grammars() {
    let tab = "columns: {separator: tab, address: 1, end: 3, score: 4, category: 5, skip: 1}";
    let text = "first\t-\tlast\tscore\tcategory\n192.0.2.0\tx\t192.0.2.3\t7\tscan\n2001:db8::1\t\t\t\t\n";
    assert_eq!(entries(tab, text), ["192.0.2.0/30", "2001:db8::1/128"]);
    let csv = "csv: {address: dst_ip, category: malware, delimiter: semicolon, comment: '#'}";
    assert_eq!(
        entries(csv, "id;DST_IP;malware\n1;\"192.0.2.1\";x\n2; 192.0.2.2 ;\"a;b\"\n"),
        ["192.0.2.1/32", "192.0.2.2/32"]
    );
    assert_eq!(entries("csv: {address: 2}", "a, \"192.0.2.1\" ,b\n"), ["192.0.2.1/32"]);
    assert_eq!(
        entries("csv: {address: 2}", "\"never closed,192.0.2.1\n\"x\"\"y, z\",192.0.2.2\n"),
        ["192.0.2.1/32", "192.0.2.2/32"]
    );
    let lines = "json-lines: {address: [cidr, ip], score: confidence}";
    assert_eq!(
        entries(lines, "{\"cidr\":\"192.0.2.0/24\"}\r\n\n{\"confidence\":5,\"ip\":\"2001:db8::\"}"),
        ["192.0.2.0/24", "2001:db8::/128"]
    );
    let azure = "json: {items: /values/*/properties/addressPrefixes}";
    let text = r#"{"values":[{"properties":{"x":{"addressPrefixes":["198.51.100.1"]},"addressPrefixes":["192.0.2.0/24"]}}]}"#;
    assert_eq!(entries(azure, text), ["192.0.2.0/24"]);
    let second = "json: {items: [/a/1, /b~1c/*/ip]}";
    assert_eq!(
        entries(second, r#"{"a":["192.0.2.1","192.0.2.2"],"b/c":{"x":{"ip":"192.0.2.3"}}}"#),
        ["192.0.2.2/32", "192.0.2.3/32"]
    );
    assert_eq!(
        entries("asn-list", "AS64501 ; Example\nas64511 # nobody\n"),
        ["198.51.100.0/25", "2001:db8::/48"]
    );
}

#[test]
fn traps() {
    // A byte order mark, CRLF, host bits, v4-mapped addresses, blanks.
    let text = "\u{feff}192.0.2.77/24,9\r\n\r\n ::ffff:198.51.100.1 3\r\n::ffff:203.0.113.0/120\t5";
    assert_eq!(entries("score", text), ["192.0.2.0/24", "198.51.100.1/32", "203.0.113.0/24"]);
    assert_eq!(
        entries("range", "\"192.0.2.0\",\"192.0.2.1\",\"XX\"\r\n\"start\",\"end\"\r\n"),
        ["192.0.2.0/31"]
    );
    // Ranges that are none, or of two families, or the wrong way round.
    let found = parsed(
        Format::Range,
        b"192.0.2.9-192.0.2.1\n192.0.2.1-2001:db8::\n192.0.2.0/24\n0.0.0.0-9.255.255.255",
    );
    assert_eq!((found.entries.len(), found.parsed.rejected.lines, found.parsed.rejected.too_wide), (1, 2, 1));
    // Lines of a list that are no entry are counted, with the first of them.
    let dirt = parsed(Format::Plain, &sample("maltrail.txt")).parsed;
    assert_eq!(dirt.rejected.lines, 3);
    assert_eq!(dirt.first_rejected, Some((9, "/w00tw00t.at.ISC.SANS.DFind:)".to_owned())));
    // Only the first line can be a header row.
    let found = parsed(Format::Score, b"address score\naddress score\n192.0.2.1 4\n").parsed;
    assert_eq!(found.first_rejected, Some((2, "address score".to_owned())));
    // An object that has no address.
    let found =
        parsed(Format::SpamhausDrop, b"{\"sblid\":1}\n{\"cidr\":\"192.0.2.0/24\"}\n{\"cidr\":\"192.").parsed;
    assert_eq!((found.entries.len(), found.rejected.lines), (1, 2));
    assert_eq!(found.declared, None);
}

#[test]
fn declared_counts() {
    for (yaml, file, want) in [
        ("spamhaus-drop", "spamhaus-drop-v4.json", Some(3)),
        ("plain", "firehol.netset", Some(5)),
        ("feodo-csv", "feodo.csv", Some(2)),
        ("plain", "feodo-empty.txt", Some(0)),
        ("plain", "et-block.txt", None),
    ] {
        assert_eq!(parsed(format(yaml), &sample(file)).parsed.declared, want, "{file}");
    }
    // Those of autonomous systems are judged here.
    let whole = String::from_utf8(sample("spamhaus-asndrop.json")).unwrap();
    let cut: String = whole.lines().skip(1).collect::<Vec<_>>().join("\n");
    let error = parse(&feed(Format::SpamhausAsndrop), cut.as_bytes()).unwrap_err();
    assert_eq!(error, "declares 3 entries and has 2: it is cut off");
}

#[test]
fn what_is_selected() {
    let of = |min_score| Select { min_score: Some(min_score), ..Select::default() };
    let found =
        selected("score", of(3), b"192.0.2.1\t2\n192.0.2.2\t3\n192.0.2.3\n192.0.2.4\t-\n192.0.2.5\t3.9\n");
    assert_eq!(found.entries, ["192.0.2.2/32", "192.0.2.3/32", "192.0.2.4/32", "192.0.2.5/32"]);
    assert_eq!(found.parsed.rejected.unselected, 1);
    let found = selected(
        "suricata-iprep",
        Select { min_score: Some(40), ..categories(&["1", "2"]) },
        &sample("iprep.list"),
    );
    assert_eq!((found.entries, found.parsed.rejected.unselected), (vec!["192.0.2.1/32".to_owned()], 2));
    let found = selected("turris", categories(&["Telnet"]), &sample("turris.csv"));
    assert_eq!((found.entries, found.parsed.rejected.unselected), (vec!["198.51.100.15/32".to_owned()], 2));
    let found = selected("aws", categories(&["EC2"]), &sample("aws.json"));
    assert_eq!(found.entries, ["192.0.2.0/26", "2001:db8:100::/40"]);
    let found = selected(
        "abuseipdb",
        Select { min_score: Some(97), ..categories(&["CN", "NL"]) },
        &sample("abuseipdb.json"),
    );
    assert_eq!(found.entries, ["192.0.2.120/32", "2001:db8::bad/128"]);
    assert_eq!(found.parsed.rejected.unselected, 1);
    let found = selected("threatfox", of(80), &sample("threatfox.csv"));
    assert_eq!((found.entries, found.parsed.rejected.unselected), (vec!["192.0.2.10/32".to_owned()], 2));
    let found = selected("rbldnsd", categories(&["127.0.0.4"]), &sample("rbldnsd.txt"));
    assert_eq!((found.entries, found.parsed.rejected.unselected), (vec!["203.0.113.64/27".to_owned()], 5));
    let found = selected("rpz", categories(&["drop"]), &sample("rpz.zone"));
    assert_eq!(found.entries, ["192.0.2.0/25", "192.0.2.192/26", "2001:db8:1::/48"]);
    assert_eq!(found.parsed.rejected.unselected, 7);
    let table = Select { tables: vec![path("asn-table.csv")], ..categories(&["nl"]) };
    let found = selected("spamhaus-asndrop", table, &sample("spamhaus-asndrop.json"));
    assert_eq!(found.entries, ["198.51.100.0/25", "2001:db8::/48"]);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("countries.csv");
    fs::write(&path, "start,end,country\n192.0.2.0,192.0.2.255,US\n3325256704,3325256959,NL\n").unwrap();
    let found =
        selected("country-list", Select { tables: vec![path], ..Select::default() }, b"# of these\nnl\nDE\n");
    assert_eq!(found.entries, ["198.51.100.0/24"]);
}

#[test]
fn widths_and_counts_are_guarded() {
    let mut wide = feed(Format::Score);
    wide.guards.ipv4_prefix = 24;
    wide.guards.ipv6_prefix = 48;
    let found = parse(&wide, b"192.0.2.0/23 1\n192.0.2.0/24 1\n2001:db8::/47 1\n2001:db8::/48 1\n").unwrap();
    assert_eq!((found.entries.len(), found.rejected.too_wide), (2, 2));
    wide.format = Format::Plain;
    assert_eq!(parse(&wide, b"192.0.2.0/23\n192.0.2.0/24\n").unwrap().rejected.too_wide, 1);
    let mut many = feed(Format::Range);
    many.guards.entries = 20;
    let found = parse(&many, b"1.0.0.1-1.255.255.254\n192.0.2.1\n").unwrap();
    assert_eq!(found.entries.len(), 46, "nothing is read beyond what the guard refuses");
    assert_eq!(crate::feed::guard::judge(&many.guards, None, &found).unwrap_err().cause(), "entries");
}

#[test]
fn refusals_of_the_whole() {
    let refusal = |yaml: &str, text: &[u8]| parse(&feed(format(yaml)), text).unwrap_err();
    for yaml in ["plain", "score", "range", "words", "csv: {address: ip}", "aws", "spamhaus-drop"] {
        assert!(
            refusal(yaml, b"<!DOCTYPE html><html><body>rate limited</body></html>").contains("HTML page")
        );
        assert!(refusal(yaml, b"\xff\xfe1\x009\x002\0").contains("publish UTF-8"));
    }
    assert!(
        refusal("plain", b"{\"message\":\"API rate limit exceeded\"}").contains("API rate limit exceeded")
    );
    let error = refusal("csv: {address: dst_ip}", b"# a comment\nfirst,ip,port\n1,192.0.2.1,80\n");
    assert!(error.contains("no column `dst_ip`") && error.contains("`first,ip,port`"), "{error}");
    assert!(refusal("aws", b"{\"prefixes\":[{\"ip_prefix\":\"192.0.2.0/24\"}").contains("line 1 column"));
    assert!(refusal("aws", b"").contains("JSON"));
    // As deep as serde_json goes, and no deeper.
    let deep = "[".repeat(1_000_000);
    assert!(refusal("json: {items: /*}", deep.as_bytes()).contains("recursion"));
    let deep = format!("{{\"list\":{deep}");
    assert!(refusal("misp-warninglist", deep.as_bytes()).contains("JSON"));
    let deep = format!("{{\"other\":{deep}");
    assert!(refusal("misp-warninglist", deep.as_bytes()).contains("JSON"));
}

/// Formats, and a sample of each, which the next test garbles.
const ALL: &[(&str, &str)] = &[
    ("plain", "firehol.netset"),
    ("words", "stopforumspam.csv"),
    ("range", "p2p.txt"),
    ("score", "ipsum.txt"),
    ("ip-port", "ip-port.txt"),
    ("suricata-iprep", "iprep.list"),
    ("dshield", "dshield.txt"),
    ("dataplane", "dataplane.txt"),
    ("turris", "turris.csv"),
    ("feodo-csv", "feodo.csv"),
    ("feodo-json", "feodo.json"),
    ("threatfox", "threatfox.csv"),
    ("zeek-intel", "zeek.intel"),
    ("tor-exit-addresses", "tor-exit-addresses.txt"),
    ("spamhaus-drop", "spamhaus-drop-v4.json"),
    ("spamhaus-asndrop", "spamhaus-asndrop.json"),
    ("abuseipdb", "abuseipdb.json"),
    ("misp-warninglist", "misp-warninglist.json"),
    ("aws", "aws.json"),
    ("google", "google.json"),
    ("github", "github.json"),
    ("fastly", "fastly.json"),
    ("snort-rules", "block.rules"),
    ("rbldnsd", "rbldnsd.txt"),
    ("rpz", "rpz.zone"),
    ("asn-list", "asn-table.csv"),
    ("country-list", "tor-geoip.txt"),
];

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(64))]

    #[test]
    fn never_panics_on_any_bytes(text: Vec<u8>) {
        for (yaml, _) in ALL {
            _ = parse(&feed(format(yaml)), &text);
        }
    }

    #[test]
    fn never_panics_on_what_is_nearly_a_list(cuts in proptest::collection::vec((0usize..2000, 0usize..40, ".{0,3}|[0-9.:,|\"\\-\t\n{}]{0,6}"), 1..6)) {
        for (yaml, file) in ALL {
            let mut text = sample(file);
            for (at, length, put) in &cuts {
                let at = at % (text.len() + 1);
                let end = (at + length).min(text.len());
                text.splice(at..end, put.bytes());
            }
            _ = parse(&feed(format(yaml)), &text);
        }
    }
}
