use std::net::IpAddr;

use weir_common::{addr::Address, verdict::Reason};

use super::*;
use crate::naming::Naming;

fn event(source: &str, reason: Reason) -> Event {
    let (source_high, source_low) = Event::source_halves(Address::from(source.parse::<IpAddr>().unwrap()));
    Event {
        time: 0,
        source_high,
        source_low,
        ifindex: 2,
        length: 60,
        class: 0,
        source_port: 4000,
        destination_port: 443,
        reason: reason as u8,
        outcome: 1,
        protocol: 17,
        limit: 0,
        answer: 0,
        reserved: [0; 5],
    }
}

fn numbers(batch: &Batch) -> Vec<u64> {
    batch.events.iter().map(|seen| seen.number).collect()
}

#[test]
fn readers_go_on_where_they_were() {
    let events = Events::default();
    let all = Filter::default();
    assert_eq!(events.after(0, 10, &all), Batch::default());
    for _ in 0..3 {
        events.push(event("192.0.2.7", Reason::Ban));
    }
    events.push(event("198.51.100.7", Reason::Feed));
    assert_eq!(numbers(&events.after(0, 2, &all)), [1, 2]);
    assert_eq!(numbers(&events.after(2, 10, &all)), [3, 4]);
    assert_eq!(numbers(&events.after(9, 10, &all)), [1, 2, 3, 4], "a number of another life");
    let later = Events::starting_at(SystemTime::UNIX_EPOCH + Duration::from_secs(1));
    later.push(event("192.0.2.7", Reason::Ban));
    assert_eq!(numbers(&later.after(4, 10, &all)), [1_000_001], "numbers of a later life are above");
    assert_eq!(later.after(4, 10, &all).lost, 0);
    let feeds = Filter { reason: Some(Reason::Feed), source: None };
    let batch = events.after(0, 10, &feeds);
    assert_eq!((numbers(&batch), batch.last), (vec![4], 4));
    let there = Filter { reason: None, source: Some("192.0.2.0/24".parse().unwrap()) };
    let batch = events.after(0, 10, &there);
    assert_eq!((numbers(&batch), batch.last), (vec![1, 2, 3], 4), "what does not pass is looked at once");
    assert_eq!(numbers(&events.latest(2, &there)), [2, 3]);
}

#[test]
fn who_is_too_slow_is_told_what_is_missing() {
    let events = Events::default();
    for _ in 0..KEPT + 100 {
        events.push(event("192.0.2.7", Reason::Ban));
    }
    let all = Filter::default();
    let batch = events.after(10, 5, &all);
    assert_eq!((batch.lost, numbers(&batch)), (90, vec![101, 102, 103, 104, 105]));
    let batch = events.after(batch.last, usize::MAX, &all);
    assert_eq!((batch.lost, batch.events.len(), batch.last), (0, KEPT - 5, KEPT as u64 + 100));
}

#[tokio::test]
async fn the_kernel_tells_more_while_somebody_watches() {
    let events = Events::default();
    assert_eq!(events.budget(100), 100);
    let watchers: Vec<Watcher> = std::iter::from_fn(|| events.watch()).collect();
    assert_eq!(watchers.len(), WATCHERS, "places are few");
    assert_eq!((events.budget(100), events.budget(5000)), (WATCHED_PER_SECOND, 5000));
    drop(watchers);
    assert!(events.watch().is_some(), "places are free at once");
    assert_eq!(events.budget(100), WATCHED_PER_SECOND, "and come back");
    let mut watched = events.watched();
    watched.wait_for(|watched| *watched == 0).await.unwrap();
    assert_eq!(events.budget(100), 100);
}

#[test]
fn looking_makes_no_offences() {
    let mut ration = Ration::default();
    let at = |second: u64| Event { time: second << WINDOW_SHIFT, ..event("192.0.2.7", Reason::Limit) };
    assert_eq!((0..1000).filter(|_| ration.admits(&at(1), 100, 2)).count(), 200);
    assert_eq!((0..1000).filter(|_| ration.admits(&at(2), 100, 2)).count(), 200);
}

#[test]
fn events_are_told_in_names() {
    let names = Names::default();
    let seen = Seen { number: 7, at: 1000, event: event("::ffff:192.0.2.7", Reason::Ban) };
    let view = names.view(&seen, &Naming::Plain);
    assert_eq!((view.source.to_string(), view.protocol.as_str()), ("192.0.2.7".to_owned(), "udp"));
    assert_eq!((view.verdict.as_str(), view.reason.as_str(), view.limit.as_deref()), ("drop", "ban", None));
    // Lines are told apart by what is in them.
    for line in [Line::Event(Box::new(view)), Line::Lost { lost: 3 }, Line::Next { next: 9 }] {
        let text = serde_json::to_string(&line).unwrap();
        assert_eq!(serde_json::from_str::<Line>(&text).unwrap(), line);
    }
}
