use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use super::*;
use crate::{
    config::{Feed, FeedAction, Format, Guards, Select, Source},
    feed::{Entries, format::testing, ledger},
};

fn feed(name: &str) -> Feed {
    let source = Source::File("/lists/a".into());
    Feed { name: name.to_owned(), source, ..testing::feed(Format::default()) }
}

fn entries(texts: &[&str]) -> Entries {
    texts.iter().map(|text| text.parse::<IpNet>().unwrap()).collect()
}

fn saved() -> Saved {
    Saved {
        confirmed: SystemTime::UNIX_EPOCH + Duration::new(1_700_000_000, 123_456_789),
        validators: Validators { etag: Some("\"abc\"".to_owned()), last_modified: None },
        content: Content::Listing(Listing {
            entries: entries(&["192.0.2.0/24", "198.51.100.7/32", "2001:db8::/48", "192.0.2.0/24"]).into(),
            throttled: entries(&["203.0.113.0/24", "2001:db8:1::1/128"]).into(),
        }),
    }
}

fn store() -> (TempDir, Store) {
    let directory = TempDir::new().unwrap();
    let store = Store::new(directory.path());
    (directory, store)
}

#[test]
fn what_is_kept_comes_back() {
    let (directory, store) = store();
    assert_eq!(store.load(&feed("a")).unwrap(), None);
    store.save(&feed("a"), &saved()).unwrap();
    assert_eq!(store.load(&feed("a")).unwrap(), Some(saved()));
    assert_eq!(store.load(&feed("b")).unwrap(), None);
    let path = directory.path().join("feeds/a.list");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
    let left: Vec<_> = fs::read_dir(directory.path().join("feeds")).unwrap().flatten().collect();
    assert_eq!(left.len(), 1, "{left:?}");

    let mut ledger = Ledger::default();
    let ends = Some(SystemTime::UNIX_EPOCH + Duration::from_secs(2_000_000_000));
    let entry =
        |text: &str, throttled| ledger::Entry { prefixes: [text.parse().unwrap()].into(), throttled, ends };
    ledger.set("1".to_owned(), entry("192.0.2.1/32", false));
    ledger.set("2".to_owned(), entry("192.0.2.2/32", true));
    let of_ledger = Saved { content: Content::Ledger(ledger), ..saved() };
    store.save(&feed("a"), &of_ledger).unwrap();
    assert_eq!(store.load(&feed("a")).unwrap(), Some(of_ledger));
    assert_eq!(store.covering("a", "192.0.2.2".parse().unwrap()).unwrap().len(), 1);
}

#[test]
fn a_list_of_other_settings_is_not_used() {
    let (_directory, store) = store();
    store.save(&feed("a"), &saved()).unwrap();
    let narrow = Guards { ipv4_prefix: 16, ..Guards::default() };
    let scored = Select { min_score: Some(3), ..Select::default() };
    for other in [
        Feed { source: Source::File("/lists/b".into()), ..feed("a") },
        Feed { source: Source::Pack("/lists/a".into()), ..feed("a") },
        Feed { guards: narrow, ..feed("a") },
        Feed { select: scored, ..feed("a") },
    ] {
        assert_eq!(store.load(&other).unwrap(), None, "{other:?}");
    }
    // What does not change the list.
    let same = Feed { action: FeedAction::Observe, interval: Duration::from_secs(1), ..feed("a") };
    assert!(store.load(&same).unwrap().is_some());
}

#[test]
fn a_damaged_file_is_told_and_kept_aside() {
    let (directory, store) = store();
    let path = directory.path().join("feeds/a.list");
    store.save(&feed("a"), &saved()).unwrap();
    let good = fs::read(&path).unwrap();
    // Every single byte that flips, and every length but the whole, is noticed.
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        fs::write(&path, &bad).unwrap();
        let error = store.load(&feed("a")).unwrap_err();
        assert!(error.message.contains("a.list.bad"), "byte {at}: {error}");
        assert!(!path.exists());
        assert_eq!(fs::read(directory.path().join("feeds/a.list.bad")).unwrap(), bad);
        fs::write(&path, &good[..at]).unwrap();
        assert!(store.load(&feed("a")).is_err(), "{at} bytes");
        assert_eq!(store.load(&feed("a")).unwrap(), None, "it was moved");
    }
    for (bytes, want) in [
        (&b"{\"json\": \"of another program, long enough to be one of ours, is it\"}"[..], "no list of weir"),
        (&b""[..], "cut off: has 0"),
        (&[&good[..], &b"more"[..]].concat(), "cut off"),
        (&[&good[..8], &[9, 0, 0, 0], &good[12..]].concat(), "version 9"),
    ] {
        fs::write(&path, bytes).unwrap();
        let error = store.load(&feed("a")).unwrap_err().to_string();
        assert!(error.contains(want) && error.contains("fetched anew"), "{error}");
    }
    // It is written anew.
    store.save(&feed("a"), &saved()).unwrap();
    assert_eq!(store.load(&feed("a")).unwrap(), Some(saved()));
}

#[test]
fn a_confirmation_writes_the_time_only() {
    use std::os::unix::fs::MetadataExt as _;
    let (directory, store) = store();
    store.confirm(&feed("a"), SystemTime::now()).unwrap();
    store.save(&feed("a"), &saved()).unwrap();
    let path = directory.path().join("feeds/a.list");
    let inode = fs::metadata(&path).unwrap().ino();
    let later = saved().confirmed + Duration::from_mins(1);
    store.confirm(&feed("a"), later).unwrap();
    assert_eq!(store.load(&feed("a")).unwrap(), Some(Saved { confirmed: later, ..saved() }));
    // The same list saved again is a confirmation too.
    let latest = later + Duration::from_mins(1);
    store.save(&feed("a"), &Saved { confirmed: latest, ..saved() }).unwrap();
    assert_eq!(store.load(&feed("a")).unwrap(), Some(Saved { confirmed: latest, ..saved() }));
    assert_eq!(fs::metadata(&path).unwrap().ino(), inode);
    // Another one is a new file.
    let validators = Validators { etag: Some("\"new\"".to_owned()), last_modified: None };
    store.save(&feed("a"), &Saved { validators, ..saved() }).unwrap();
    assert_ne!(fs::metadata(&path).unwrap().ino(), inode);
}

#[test]
fn a_time_to_come_is_now() {
    let (_directory, store) = store();
    let confirmed = SystemTime::now() + Duration::from_hours(24 * 365);
    store.save(&feed("a"), &Saved { confirmed, ..saved() }).unwrap();
    assert!(store.load(&feed("a")).unwrap().unwrap().confirmed <= SystemTime::now());
}

#[test]
fn lists_of_feeds_that_are_gone_go() {
    let (directory, store) = store();
    store.retain(std::iter::empty());
    for name in ["a", "b", "b.list"] {
        store.save(&feed(name), &saved()).unwrap();
    }
    for name in ["b.list.bad", ".b.list.new", "other"] {
        fs::write(directory.path().join("feeds").join(name), "").unwrap();
    }
    store.retain([feed("a")].iter());
    let left = fs::read_dir(directory.path().join("feeds")).unwrap();
    let mut left: Vec<_> = left.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    left.sort();
    assert_eq!(left, ["a.list", "other"]);
}

#[test]
fn it_tells_what_covers_an_address() {
    let (_directory, store) = store();
    store.save(&feed("a"), &saved()).unwrap();
    for (address, want) in [
        ("192.0.2.9", &["192.0.2.0/24"][..]),
        ("::ffff:192.0.2.9", &["192.0.2.0/24"]),
        ("198.51.100.7", &["198.51.100.7/32"]),
        ("198.51.100.8", &[]),
        ("203.0.113.255", &["203.0.113.0/24"]),
        ("2001:db8::ffff", &["2001:db8::/48"]),
        ("2001:db8:1::1", &["2001:db8:1::1/128"]),
        ("2001:db8:1::2", &[]),
    ] {
        let found = store.covering("a", address.parse().unwrap()).unwrap();
        let found: Vec<_> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found, want, "{address}");
    }
    assert!(store.covering("b", "192.0.2.9".parse().unwrap()).unwrap().is_empty());
}

/// Measures; run it with `--release --run-ignored only --no-capture`.
#[test]
#[ignore = "it measures, and says nothing where the optimiser is off"]
fn three_million_entries_come_back_at_once() {
    let (_directory, store) = store();
    for (count, most) in [(1_000_000_u32, 20), (3_000_000, 60)] {
        let v4 = (0..count).map(|i| (i.wrapping_mul(2_654_435_761), 32)).collect();
        let listing = Listing { entries: Entries { v4, v6: Vec::new() }.into(), ..Listing::default() };
        let content = Content::Listing(listing);
        let start = Instant::now();
        store.save(&feed("a"), &Saved { content, ..saved() }).unwrap();
        let write = start.elapsed();
        let mut best = Duration::MAX;
        for _ in 0..5 {
            let start = Instant::now();
            assert!(store.load(&feed("a")).unwrap().is_some());
            best = best.min(start.elapsed());
        }
        let start = Instant::now();
        store.covering("a", "192.0.2.1".parse().unwrap()).unwrap();
        println!("{count}: saved in {write:?}, loaded in {best:?}, searched in {:?}", start.elapsed());
        assert!(best < Duration::from_millis(most), "{count}: {best:?}");
    }
}
