use std::{collections::HashSet, fs, path::Path};

use super::*;
use crate::feed::format::testing::{Found, parsed};

/// Feeds, a sample in their grammar, and what it lists. Licences forbid to copy real entries.
const SAMPLES: &[(&[&str], &str, &[&str])] = &[
    (
        &["spamhaus-drop-v4"],
        "spamhaus-drop-v4.json",
        &["192.0.2.0/25", "198.51.100.0/24", "203.0.113.128/25"],
    ),
    (&["spamhaus-drop-v6"], "spamhaus-drop-v6.json", &["2001:db8::/32", "2001:db8:1000::/36"]),
    (
        &["spamhaus-asndrop"],
        "spamhaus-asndrop.json",
        &["192.0.2.0/24", "203.0.113.64/26", "203.0.113.128/25", "198.51.100.0/25", "2001:db8::/48"],
    ),
    (
        &["firehol-level1", "firehol-level2", "firehol-level3", "firehol-level4"],
        "firehol.netset",
        &["0.0.0.0/8", "10.0.0.0/8", "192.0.2.0/24", "198.51.100.7/32", "203.0.113.64/26"],
    ),
    (&["et-block"], "et-block.txt", &["192.0.2.44/32", "198.51.100.0/24", "203.0.113.0/26", "192.0.2.0/24"]),
    (&["dshield"], "dshield.txt", &["192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24"]),
    (&["feodo"], "feodo.txt", &["192.0.2.205/32", "198.51.100.15/32"]),
    (&["feodo-csv"], "feodo.csv", &["192.0.2.205/32", "198.51.100.15/32"]),
    (&["feodo-json"], "feodo.json", &["192.0.2.205/32", "198.51.100.15/32"]),
    (&["threatfox"], "threatfox.csv", &["192.0.2.10/32", "198.51.100.9/32"]),
    (&["abuseipdb"], "abuseipdb.json", &["192.0.2.120/32", "198.51.100.3/32", "2001:db8::bad/128"]),
    (
        &[
            "et-compromised",
            "cins",
            "greensnow",
            "tor-exits",
            "data-shield",
            "blocklist-de",
            "blocklist-de-ssh",
            "blocklist-de-mail",
            "blocklist-de-apache",
            "blocklist-de-imap",
            "blocklist-de-ftp",
            "blocklist-de-sip",
            "blocklist-de-bots",
            "blocklist-de-strongips",
            "blocklist-de-bruteforcelogin",
            "ipsum-level1",
            "ipsum-level2",
            "ipsum-level3",
            "ipsum-level4",
            "ipsum-level5",
            "ipsum-level6",
            "ipsum-level7",
            "ipsum-level8",
        ],
        "addresses.txt",
        &[
            "192.0.2.4/32",
            "192.0.2.99/32",
            "198.51.100.200/32",
            "203.0.113.77/32",
            "2001:db8:85a3::8a2e:370:7334/128",
        ],
    ),
    (&["binarydefense"], "binarydefense.txt", &["192.0.2.4/32", "192.0.2.99/32"]),
    (&["bruteforceblocker"], "bruteforceblocker.txt", &["192.0.2.110/32", "198.51.100.40/32"]),
    (&["ipsum"], "ipsum.txt", &["192.0.2.20/32", "198.51.100.102/32", "203.0.113.7/32"]),
    (
        &["tor-exit-addresses"],
        "tor-exit-addresses.txt",
        &["192.0.2.171/32", "198.51.100.17/32", "198.51.100.18/32"],
    ),
    (&["fullbogons-v4"], "fullbogons-v4.txt", &["0.0.0.0/8", "192.0.2.0/24", "203.0.113.0/24"]),
    // `::/8` is wider than a list may name.
    (&["fullbogons-v6"], "fullbogons-v6.txt", &["2001:db8::/32", "2001:db8:8000::/33"]),
    (&["turris"], "turris.csv", &["192.0.2.42/32", "198.51.100.15/32", "2001:db8::10/128"]),
    (
        &[
            "dataplane-sshpwauth",
            "dataplane-sshclient",
            "dataplane-telnetlogin",
            "dataplane-vncrfb",
            "dataplane-sipquery",
            "dataplane-sipinvitation",
            "dataplane-sipregistration",
            "dataplane-dnsrd",
            "dataplane-dnsrdany",
            "dataplane-dnsversion",
            "dataplane-smtpdata",
            "dataplane-smtpgreet",
        ],
        "dataplane.txt",
        &["192.0.2.188/32", "198.51.100.90/32", "203.0.113.11/32", "2001:db8::7/128"],
    ),
    (&["stopforumspam-toxic"], "stopforumspam-toxic.txt", &["192.0.2.0/24", "198.51.100.128/25"]),
    (
        &["stopforumspam"],
        "stopforumspam.csv",
        &["192.0.2.1/32", "192.0.2.7/32", "198.51.100.32/32", "203.0.113.200/32", "2001:db8::5/128"],
    ),
    (
        &["maltrail-scanners", "maltrail-scanner-networks"],
        "maltrail.txt",
        &["192.0.2.80/32", "192.0.2.81/32", "192.0.2.80/32", "198.51.100.0/27"],
    ),
    (&["aws"], "aws.json", &["192.0.2.0/26", "192.0.2.0/26", "198.51.100.0/24", "2001:db8:100::/40"]),
    (
        &["gcp", "google", "googlebot", "bingbot"],
        "google.json",
        &["192.0.2.0/27", "198.51.100.64/27", "2001:db8:4860::/44"],
    ),
    (&["cloudflare-v4"], "cloudflare-v4.txt", &["192.0.2.0/24", "198.51.100.0/22", "203.0.113.0/24"]),
    (&["cloudflare-v6"], "cloudflare-v6.txt", &["2001:db8::/32", "2001:db8:8000::/36"]),
    (&["fastly"], "fastly.json", &["192.0.2.0/24", "198.51.100.0/24", "2001:db8:40::/48"]),
    (
        &["github"],
        "github.json",
        &[
            "192.0.2.252/30",
            "192.0.2.252/30",
            "198.51.100.0/28",
            "192.0.2.252/30",
            "198.51.100.16/32",
            "203.0.113.0/25",
            "2001:db8:50::/44",
            "2001:db8:1020::/60",
        ],
    ),
];

fn sample(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/feed/format/samples").join(name)).unwrap()
}

#[test]
fn names_are_unique_and_settings_sound() {
    let mut names = HashSet::new();
    for known in ALL {
        assert!(names.insert(known.name), "{} occurs twice", known.name);
        assert!(
            known.name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        );
        let url = url::Url::parse(known.url).unwrap();
        assert_eq!(url.scheme(), "https", "{}", known.name);
        assert_eq!(known.format().validate(), Ok(()), "{}", known.name);
        assert!(known.hours >= 0.5 && !known.about.is_empty() && !known.licence.is_empty(), "{}", known.name);
        assert_eq!(find(known.name).unwrap().url, known.url);
    }
    assert!(find("nothing").is_none());
}

#[test]
fn each_is_read_from_a_sample() {
    for known in ALL {
        let (_, file, want) = SAMPLES
            .iter()
            .find(|(names, _, _)| names.contains(&known.name))
            .unwrap_or_else(|| panic!("{} has no sample", known.name));
        let Found { entries, parsed } = parsed(known.format(), &sample(file));
        assert_eq!(entries, *want, "{} in {file}", known.name);
        if !known.name.starts_with("maltrail") {
            assert_eq!(parsed.rejected.lines, 0, "{} in {file}: {parsed}", known.name);
        }
    }
    for (names, _, _) in SAMPLES {
        for name in *names {
            assert!(find(name).is_some(), "{name} has a sample and is not known");
        }
    }
}

#[test]
fn it_is_told_as_json() {
    let json = serde_json::to_value(ALL).unwrap();
    let named =
        |name: &str| json.as_array().unwrap().iter().find(|known| known["name"] == name).unwrap().clone();
    assert_eq!(named("abuseipdb")["auth"], "Key");
    assert_eq!(named("dshield")["format"], "dshield");
    assert_eq!(named("aws")["action"], "observe");
    assert_eq!(named("feodo")["can_be_empty"], true);
}
