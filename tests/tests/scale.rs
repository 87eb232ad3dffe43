//! Lists of the size that is promised: five million prefixes, from the file to dropped packets.

use std::{fmt::Write as _, net::Ipv4Addr};

use weir_tests::{
    agent::{Agent, binary},
    frame::{Frame, Sight},
    namespace::Pair,
    wire::{Receiver, Wire},
};

const ENTRIES: u32 = 5_000_000;
const SENT: usize = 500;

/// The entry of this number: all over the public part of the address space, and none twice.
fn entry(number: u32) -> u32 {
    // An odd factor permutes the numbers below 2^29.
    0x4000_0000 | (number.wrapping_mul(0x9e37_79b1) & 0x1fff_ffff)
}

#[test]
fn five_million_prefixes_are_enforced() {
    let pair = Pair::new().unwrap();
    let mut agent = Agent::new(binary().unwrap(), &pair.server).unwrap();
    let mut text = String::with_capacity(ENTRIES as usize * 16);
    for number in 0..ENTRIES {
        writeln!(text, "{}", Ipv4Addr::from_bits(entry(number))).unwrap();
    }
    agent.write("long.netset", &text).unwrap();
    drop(text);
    let path = agent.directory().join("long.netset");
    agent
        .configure(&format!(
            "enforce: enforce\ninterfaces: [{{name: eth0, mode: native}}]\n\
             feeds: [{{name: long, path: {}, action: drop}}]\ntables: {{limiter: 8MiB}}\n",
            path.display()
        ))
        .unwrap();
    agent.start().unwrap();
    let metrics = agent.metrics().unwrap();
    let entries = metrics.sum("weir_feed_entries", &[("feed", "long"), ("family", "ipv4")]);
    assert!((entries - f64::from(ENTRIES)).abs() < 0.5, "{entries} entries");

    // From all parts of the list, and from beside it.
    let receiver =
        pair.server.run(|| Receiver::start(Pair::INTERFACE, |frame| Some(Sight::of(frame)?.source))).unwrap();
    let wire = pair.client.run(|| Wire::open(Pair::INTERFACE)).unwrap();
    let step = ENTRIES / u32::try_from(SENT).unwrap();
    let listed = (0..ENTRIES).step_by(step as usize).map(entry);
    let beside = (ENTRIES..).step_by(step as usize).map(entry).take(SENT);
    let mut send = |address: u32| {
        let source = Ipv4Addr::from_bits(address);
        wire.send(&Frame::new().ipv4(source, Pair::SERVER.v4).udp(4000, 53).payload(b"weir").build())
            .unwrap();
        source
    };
    let listed: Vec<Ipv4Addr> = listed.map(&mut send).collect();
    let beside: Vec<Ipv4Addr> = beside.map(&mut send).collect();
    let arrivals = receiver.stop().unwrap();
    let arrived = |sources: &[Ipv4Addr]| -> usize {
        sources.iter().map(|source| arrivals.packets(&std::net::IpAddr::V4(*source))).sum()
    };
    assert_eq!((arrived(&listed), arrived(&beside)), (0, SENT));
    assert!(agent.stop().unwrap().success());
}
