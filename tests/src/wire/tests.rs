use std::net::IpAddr;

use super::*;
use crate::{
    frame::{Frame, Sight, tpid},
    namespace::Pair,
};

fn open(pair: &Pair) -> (Wire, Receiver<Sight>) {
    let wire = pair.client.run(|| Wire::open(Pair::INTERFACE)).unwrap();
    let receiver = pair.server.run(|| Receiver::start(Pair::INTERFACE, Sight::of)).unwrap();
    (wire, receiver)
}

fn from(source: &str) -> Frame {
    match source.parse().unwrap() {
        IpAddr::V4(v4) => Frame::new().ipv4(v4, Pair::SERVER.v4),
        IpAddr::V6(v6) => Frame::new().ipv6(v6, Pair::SERVER.v6),
    }
}

#[test]
fn what_is_sent_arrives_with_its_tags() {
    let pair = Pair::new().unwrap();
    let (wire, receiver) = open(&pair);
    let frames = [
        from("198.51.100.1").udp(1, 2),
        from("198.51.100.2").vlan(tpid::VLAN, 5).udp(1, 2),
        from("198.51.100.3").vlan(tpid::QINQ, 5).vlan(tpid::VLAN, 6).tcp(1, 2).syn(),
        from("198.51.100.4").vlan(tpid::QINQ_OLD, 5).vlan(tpid::VLAN, 6).icmp(8, 0),
        from("2001:db8:bad::5").vlan(tpid::VLAN, 5).icmpv6(128, 0),
        from("2001:db8:bad::6").sctp(1, 2).payload(&[7; 1000]),
    ];
    for frame in &frames {
        wire.send(&frame.build()).unwrap();
        wire.send(&frame.build()).unwrap();
    }
    let last = Sight::of(&frames[5].build()).unwrap();
    assert!(receiver.wait_for(&last, 2, Duration::from_secs(2)));
    let arrivals = receiver.stop().unwrap();
    for frame in &frames {
        let sight = Sight::of(&frame.build()).unwrap();
        assert_eq!(arrivals.packets(&sight), 2, "{sight:?} in {arrivals:?}");
    }
}

#[test]
fn a_pace_is_kept_and_nothing_is_lost() {
    // A sender that was kept from its CPU for so long could not keep any pace.
    const AWAY: Duration = Duration::from_millis(50);
    let pair = Pair::new().unwrap();
    let frames = vec![from("198.51.100.1").udp(1, 2).build()];
    let sight = Sight::of(&frames[0]).unwrap();
    let mut tries = (0..5).map(|_try| {
        let (wire, receiver) = open(&pair);
        let paced = wire.send_paced(&frames, 50_000, Duration::from_secs(1)).unwrap();
        let arrivals = receiver.stop().unwrap();
        assert_eq!((paced.packets, arrivals.packets(&sight)), (50_000, 50_000));
        (paced, arrivals)
    });
    let kept = tries.find(|(paced, _)| paced.worst_delay < AWAY);
    let (paced, arrivals) = kept.expect("a try in which the sender has its CPU");
    // The limits are wide: who knows what else runs on these CPUs.
    assert!((paced.rate() / 50_000.0 - 1.0).abs() < 0.1, "{paced:?}");
    let middle = paced.start + Duration::from_millis(200)..paced.start + Duration::from_millis(800);
    let rate = arrivals.rate(&sight, &middle);
    assert!((rate / 50_000.0 - 1.0).abs() < 0.1, "{rate} of {paced:?}");
}

#[test]
fn what_cannot_be_sent_is_an_error() {
    let pair = Pair::new().unwrap();
    let (wire, _receiver) = open(&pair);
    assert!(wire.send(&[0; 10]).is_err());
    assert!(wire.send(&from("198.51.100.1").payload(&[0; 2000]).build()).is_err());
    assert!(pair.client.run(|| Wire::open("nothing")).is_err());
    assert!(wire.send_paced(&[], 1, Duration::from_secs(1)).is_err());
}
