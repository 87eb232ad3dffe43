use proptest::prelude::*;

use super::*;
use crate::config::l7::escalation::Bans;

const SECOND: u64 = 1000;

fn settings() -> Escalation {
    let ban = Bans {
        first: Duration::from_mins(1),
        most: Duration::from_secs(200),
        forget: Duration::from_hours(1),
        per_minute: 3,
    };
    Escalation { half_life: Duration::from_secs(100), ban_at: 100.0, ban, ..Escalation::default() }
}

fn address(number: u32) -> IpAddr {
    IpAddr::V4(number.into())
}

#[test]
fn risk_fades_by_half_in_the_time_that_is_set() {
    let (book, settings) = (Book::default(), settings());
    assert_eq!(book.note(&settings, address(1), 40.0, 0), Step::Stay);
    assert!((book.risk(&settings, address(1), 100 * SECOND) - 20.0).abs() < 1e-9);
    book.note(&settings, address(1), 10.0, 100 * SECOND);
    assert!((book.risk(&settings, address(1), 200 * SECOND) - 15.0).abs() < 1e-9);
    assert!(book.risk(&settings, address(2), 0).abs() < 1e-9);
}

#[test]
fn bans_double_up_to_the_most_and_are_forgotten_after_quiet() {
    let (book, settings) = (Book::default(), settings());
    let mut now = 0;
    let mut offend = |pause: u64| {
        now += pause * SECOND;
        loop {
            if let Step::Ban { lasts, .. } = book.note(&settings, address(1), 30.0, now) {
                return (lasts.as_secs(), now / SECOND);
            }
            now += SECOND;
        }
    };
    assert_eq!(offend(0).0, 60);
    // It goes on throughout the ban: banned anew as soon as that is over, for twice as long.
    let again = offend(1);
    assert_eq!(again.0, 120);
    assert!(again.1 <= 66, "{}", again.1);
    assert_eq!(offend(130).0, 200);
    assert_eq!(offend(3000).0, 200, "not quiet for long enough");
    assert_eq!(offend(3600 + 300).0, 60);
}

#[test]
fn no_more_bans_in_a_minute_than_are_allowed() {
    let (book, settings) = (Book::default(), settings());
    let steps: Vec<Step> = (0..5).map(|n| book.note(&settings, address(n), 100.0, 1)).collect();
    assert_eq!(steps.iter().filter(|step| **step == Step::Capped).count(), 2);
    assert!(matches!(book.note(&settings, address(4), 100.0, 61 * SECOND), Step::Ban { .. }));
}

#[test]
fn memory_is_bounded_and_offenders_are_kept() {
    const OFFENDERS: u32 = 4000;
    const SOURCES: u32 = 10_000_000;
    let (book, settings) = (Book::default(), settings());
    let banned = address(u32::MAX);
    assert!(matches!(book.note(&settings, banned, 100.0, 0), Step::Ban { .. }));
    let offender = |number| address(u32::MAX / 2 + number);
    for number in 0..OFFENDERS {
        book.note(&settings, offender(number), 50.0, 0);
    }
    for number in 0..SOURCES {
        book.note(&settings, address(number), 1.0, 1);
    }
    let (sources, evicted) = book.sizes();
    assert_eq!(sources, SOURCES_MAX);
    let all = u64::from(SOURCES + OFFENDERS + 1);
    assert_eq!(evicted, all - SOURCES_MAX as u64);
    assert!(book.risk(&settings, banned, 1) > 49.0);
    let kept = (0..OFFENDERS).filter(|number| book.risk(&settings, offender(*number), 1) > 49.0).count();
    assert_eq!(kept, OFFENDERS as usize);
    // What is kept is found where it is.
    for shard in &book.shards {
        let shard = lock(shard);
        assert_eq!(shard.sources.len(), shard.places.len());
        assert!(shard.sources.iter().enumerate().all(|(place, (source, _))| shard.places[source] == place));
    }
}

#[test]
fn the_addresses_of_a_64_are_one_source() {
    let (book, settings) = (Book::default(), settings());
    book.note(&settings, "2001:db8::1".parse().unwrap(), 10.0, 0);
    assert!(book.risk(&settings, "2001:db8::ffff".parse().unwrap(), 0) > 9.0);
    assert!(book.risk(&settings, "2001:db8:0:1::1".parse().unwrap(), 0) < 1.0);
}

/// All that a source has done, from which everything else is worked out anew each time.
#[derive(Default)]
struct Oracle {
    offences: Vec<(u64, f64)>,
    bans: u32,
    banned_until: u64,
}

impl Oracle {
    fn risk(&self, settings: &Escalation, now: u64) -> f64 {
        let half_life = settings.half_life.as_secs_f64() * 1000.0;
        #[expect(clippy::cast_precision_loss, reason = "hours in ms")]
        let faded = |(at, weight): &(u64, f64)| weight * 0.5_f64.powf((now - at) as f64 / half_life);
        self.offences.iter().map(faded).sum()
    }

    /// Returns how long a ban lasts that follows, in ms.
    fn note(&mut self, settings: &Escalation, weight: f64, now: u64) -> Option<u64> {
        self.offences.push((now, weight));
        if self.risk(settings, now) < settings.ban_at || now < self.banned_until {
            return None;
        }
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap();
        if now - self.banned_until >= ms(settings.ban.forget) {
            self.bans = 0;
        }
        let lasts =
            (0..self.bans).fold(ms(settings.ban.first), |lasts, _| lasts * 2).min(ms(settings.ban.most));
        self.bans += 1;
        self.banned_until = now + lasts;
        self.offences = vec![(now, settings.ban_at / 2.0)];
        Some(lasts)
    }
}

proptest! {
    #[test]
    fn it_is_as_if_all_offences_were_remembered(
        events in prop::collection::vec((0_u64..200_000, 0_u32..3, 0.5_f64..60.0), 1..200),
    ) {
        let settings = Escalation {
            ban: Bans { per_minute: 1000, ..settings().ban },
            ..settings()
        };
        let (book, mut oracles, mut now) = (Book::default(), [(); 3].map(|()| Oracle::default()), 0);
        for (pause, source, weight) in events {
            now += pause;
            let oracle = &mut oracles[source as usize];
            let risk = oracle.risk(&settings, now);
            // On the bound itself the last bit decides.
            prop_assume!((risk + weight - settings.ban_at).abs() > 1e-6);
            prop_assert!((book.risk(&settings, address(source), now) - risk).abs() < 1e-6);
            let step = book.note(&settings, address(source), weight, now);
            match oracle.note(&settings, weight, now) {
                None => prop_assert_eq!(step, Step::Stay),
                Some(expected) => {
                    let Step::Ban { lasts, .. } = step else { panic!("{step:?} instead of {expected}") };
                    prop_assert_eq!(lasts, Duration::from_millis(expected));
                }
            }
        }
    }

    #[test]
    fn in_no_minute_there_are_more_bans_than_allowed(
        events in prop::collection::vec((0_u64..5_000, 0_u32..50), 1..300),
    ) {
        let (book, settings, mut now) = (Book::default(), settings(), 0);
        let mut bans = std::collections::BTreeMap::<u64, u32>::new();
        for (pause, source) in events {
            now += pause;
            if let Step::Ban { .. } = book.note(&settings, address(source), 100.0, now) {
                *bans.entry(now / MINUTE_MS).or_default() += 1;
            }
        }
        prop_assert!(bans.values().all(|bans| *bans <= settings.ban.per_minute));
    }
}
