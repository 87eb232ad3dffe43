//! Any frame, judged by a policy with lists, a limit and balancers: what comes from a listed source is
//! dropped, whatever else it is, and no verdict contradicts its reason.
#![no_main]

use weir_common::{
    addr::{Address, V6},
    class::{self, Action, Class},
    control::{self, Policy, Seed},
    counter::Outcome,
    gcra::Profile,
    heap::Heap,
    limit::{self, Dimension, Limit, Scope},
    line::Memory as _,
    map::{Map, Sizes},
    packet::{Kind, Packet, parse, tunnel},
    table::{
        v4,
        v6::{self, Lengths},
    },
    verdict::Reason,
};
use weir_ebpf::{Case, judge};

const SIZES: Sizes = Sizes { v4_bits: 17, v6_bits: 10, limiter_bits: 17 };
const LISTED: u16 = 1;
const BALANCER: u16 = 2;
/// The sources of the table of frames.
const LISTED_V4: (u32, u32) = (0xc633_6400, 24);
const LISTED_V6: (V6, u32) = (V6 { high: 0x2001_0db8_0bad_0000, low: 0 }, 48);
const BALANCER_V4: u32 = 0xc000_02c8;
const BALANCER_V6: V6 = V6 { high: 0x2001_0db8_0ba1_0000, low: 1 };

thread_local! {
    static HOST: Heap = host();
}

fn host() -> Heap {
    let heap = Heap::started(SIZES, 1 << 33);
    let pass = Class { action: Action::Allow, decap: true, ..Class::UNLISTED };
    class::store(&heap, 0, LISTED, Class { action: Action::Drop, ..Class::UNLISTED });
    class::store(&heap, 0, BALANCER, pass);
    let mut policy = Policy { v4_bits: 17, v6_bits: 10, seed: Seed(3, 5), ..Policy::NONE };
    v4::insert(&heap, 0, &policy, BALANCER_V4, 32, BALANCER).expect("room");
    v4::insert(&heap, 0, &policy, LISTED_V4.0, LISTED_V4.1, LISTED).expect("room");
    policy.v6_lengths = v6::set_lengths(&heap, 0, &Lengths::of([LISTED_V6.1, 128].into_iter()));
    v6::insert(&heap, 0, &policy, LISTED_V6.0, LISTED_V6.1, LISTED).expect("room");
    v6::insert(&heap, 0, &policy, BALANCER_V6, 128, BALANCER).expect("room");
    let profile = Profile::new(1.0, 3).expect("a profile");
    let (dimension, scope) = (Dimension::Packets, Scope::SOURCE);
    Limit { dimension, shadow: false, scope, soft: 0, profiles: [profile; 3] }.store(&heap, 0, 1);
    for table in 0..2 {
        limit::set_service(&heap, 0, table, 443, 1);
    }
    limit::set_limits_of(&heap, 0, 1, &[1]);
    policy.store(&heap, 0);
    control::publish(heap.line(Map::Control, 0).expect("a line"), 0);
    heap
}

fn is_listed(source: Address) -> bool {
    match source {
        Address::V4(bits) => bits >> 8 == LISTED_V4.0 >> 8,
        Address::V6(bits) => bits.network(LISTED_V6.1) == LISTED_V6.0,
    }
}

fn is_balancer(source: Address) -> bool {
    source == Address::V4(BALANCER_V4) || source == Address::V6(BALANCER_V6)
}

libfuzzer_sys::fuzz_target!(|frame: &[u8]| {
    let mut case = Case::OPEN;
    HOST.with(|host| judge(host, &frame, &mut case));
    let mut packet = Packet::UNKNOWN;
    parse(&frame, &mut packet);
    let outer = packet;
    let opened = packet.kind == Kind::Ip && is_balancer(packet.source) && tunnel::enter(&frame, &mut packet);
    assert_eq!(case.packet, packet);
    match (packet.kind, case.reason) {
        (Kind::Other, reason) => assert_eq!((case.outcome, reason), (Outcome::Pass, Reason::NotIp)),
        (Kind::Unreadable, _) => assert_eq!(case.outcome, Outcome::Drop),
        (Kind::Ip, Reason::Neighbour) => assert!(!opened && outer.hop_limit == 255),
        (Kind::Ip, reason) if is_listed(packet.source) => {
            assert_eq!((case.outcome, reason, case.class), (Outcome::Drop, Reason::Feed, LISTED));
        }
        (Kind::Ip, reason) if is_balancer(packet.source) => {
            assert_eq!((case.outcome, reason), (Outcome::Pass, Reason::Allow));
        }
        (Kind::Ip, reason) => match packet.defect {
            Some(defect) => assert_eq!((case.outcome, reason), (Outcome::Drop, defect.reason())),
            None if packet.destination_port == 443 => {
                assert!(matches!(reason, Reason::Clean | Reason::Limit | Reason::Valve), "{reason:?}");
            }
            None => assert_eq!((case.outcome, reason), (Outcome::Pass, Reason::Clean)),
        },
    }
});
