//! What a look at the buckets tells of them.

use std::collections::BTreeMap;

use weir_common::{
    addr::{Address, V6},
    gcra::{self, Key, Look, Whose},
    limit::Scope,
    map::{Map, Sizes},
};

use crate::{Limiter, global, random::Random};

#[test]
fn debtors_are_found_by_name_and_debt() {
    let mut limiter = Limiter::new(10.0, 5, 1000);
    let (mut random, now) = (Random(7), 50_000_000);
    let mut owed: BTreeMap<u32, u64> = BTreeMap::new();
    for _ in 0..1000 {
        let source = random.next() as u32;
        for _ in 0..=random.next() % 4 {
            limiter.offer(Address::V4(source), now);
        }
        let key = Key::new(&global(1000), Address::V4(source), 1, Scope::SOURCE);
        owed.insert(source, gcra::owed(&limiter.memory, key, now));
    }
    for host in 0..20 {
        limiter.offer(Address::V6(V6 { high: 0x2001_0db8 << 32 | host, low: 1 }), now);
    }
    let memory = &limiter.memory;
    let looks = |now| {
        let lines = 0..Map::Limiter.lines(Sizes::MIN);
        lines.map(move |line| gcra::look(memory, &global(1000), line, now).unwrap())
    };
    let mut v6 = 0;
    for debtor in looks(now).flat_map(|look: Look| look.debtors).flatten() {
        match debtor.whose {
            Whose::V4 { limit, network } => {
                assert_eq!((limit, owed.remove(&network)), (1, Some(debtor.owed)));
            }
            Whose::V6 => v6 += 1,
        }
    }
    assert_eq!((owed.len(), v6), (0, 20), "not found: {owed:?}");
    assert_eq!(looks(now + 600_000).map(|look| look.owing).sum::<u32>(), 0, "all have paid");
}
