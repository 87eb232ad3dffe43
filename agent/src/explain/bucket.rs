use serde::Serialize;
use weir_common::{
    control::Global,
    gcra::{self, Key},
    limit::{self, ASKED_MAX, ON_CONTROL},
};
use weir_ebpf::{Case, World};

use crate::record::{LimitRecord, PaceRecord};

/// Bytes of a packet with which a limit on bytes is asked: a full frame.
const FRAME: u64 = 1500;

/// A limit and a source.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Bucket {
    /// The limit.
    pub limit: String,
    /// The service that it stands on; nothing: control packets of all services.
    pub service: Option<String>,
    /// What it counts.
    pub dimension: String,
    /// Units a second, in the profile of the source.
    pub rate: f64,
    /// Units at once.
    pub burst: u64,
    /// Units of its burst that the source has used up and not yet earned back.
    pub used: f64,
    /// A packet now would be over the limit.
    pub over: bool,
    /// Seconds of silence after which a packet is admitted again; 0: now.
    pub admitted_in: f64,
    /// It is in the soft band: within the limit, and reported.
    pub soft: bool,
    /// The limit counts what it would drop.
    pub shadow: bool,
    /// Its line is full of debtors, so it shares a bucket with its network; this much of the shared burst
    /// is used up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shared_used: Option<f64>,
}

impl Bucket {
    /// Tells whether a packet now would be dropped for it.
    pub(super) fn drops(&self) -> bool {
        self.over && !self.shadow
    }
}

/// Returns the pace to which a limit holds sources of `profile`.
pub(crate) fn find_pace(limit: &LimitRecord, profile: u8) -> &PaceRecord {
    limit.paces.get(usize::from(profile)).unwrap_or(&limit.paces[0])
}

/// Returns the buckets of the source of a packet that has been judged: of the limits that it meets, or,
/// where it is for no `port` in particular, of all.
pub(super) fn of<W: World>(
    world: &W,
    global: &Global,
    case: &Case,
    port: bool,
    limits: &[LimitRecord],
) -> Vec<Bucket> {
    let met = met(world, case);
    let asked = |limit: &&LimitRecord| !port || limit.service.is_none() || met.contains(&limit.number);
    limits.iter().filter(asked).map(|limit| bucket(world, global, case, limit)).collect()
}

/// Returns the numbers of the limits that the packet meets, and of those on control packets.
fn met(world: &impl World, case: &Case) -> Vec<u8> {
    let ids = limit::limits_for(world, case.generation, case.service, &case.packet);
    ids.to_le_bytes().into_iter().take((ASKED_MAX - ON_CONTROL) as usize).filter(|id| *id != 0).collect()
}

fn bucket<W: World>(world: &W, global: &Global, case: &Case, limit: &LimitRecord) -> Bucket {
    let key = Key::new(global, case.packet.source, limit.number, limit.scope());
    let pace = find_pace(limit, case.listing.profile);
    let now = world.coarse();
    let shared = gcra::shared(world, global.seed, key, now);
    let state = State::of(limit, pace, shared.unwrap_or_else(|| gcra::owed(world, key, now)));
    Bucket {
        limit: limit.name.clone(),
        service: limit.service.clone(),
        dimension: limit.dimension.clone(),
        rate: pace.rate,
        burst: pace.burst,
        used: if shared.is_some() { 0.0 } else { state.used },
        over: state.over,
        admitted_in: state.admitted_in,
        soft: state.soft,
        shadow: limit.enforce.is_shadow(),
        shared_used: shared.map(|_| state.used),
    }
}

/// What a debt means to a source.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct State {
    /// Units of the burst, to a tenth.
    pub(crate) used: f64,
    /// Seconds until a packet is admitted.
    pub(crate) admitted_in: f64,
    pub(crate) over: bool,
    pub(crate) soft: bool,
}

impl State {
    /// Returns what a debt of so many µs means under a limit.
    pub(crate) fn of(limit: &LimitRecord, pace: &PaceRecord, owed: u64) -> Self {
        let units = if limit.dimension == "bytes" { FRAME.min(pace.burst) } else { 1 };
        #[expect(
            clippy::cast_precision_loss,
            reason = "at most 71 minutes in µs, a burst is earned in an hour"
        )]
        let (owed, burst, units) = (owed as f64, pace.burst as f64, units as f64);
        let used = owed * pace.rate / 1e6;
        let missing = used + units - burst - 0.01;
        Self {
            used: (used * 10.0).round() / 10.0,
            admitted_in: (missing.max(0.0) / pace.rate * 1000.0).ceil() / 1000.0,
            over: missing > 0.0,
            soft: limit.soft > 0 && missing <= 0.0 && used > burst * f64::from(limit.soft) / 256.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::Enforce, record::PaceRecord};

    fn limit(dimension: &str) -> LimitRecord {
        LimitRecord {
            number: 1,
            name: "one".to_owned(),
            service: None,
            dimension: dimension.to_owned(),
            paces: [PaceRecord { rate: 10.0, burst: 20 }; 3],
            ipv4_prefix: 32,
            ipv6_prefix: 64,
            soft: 128,
            enforce: Enforce::Enforce,
        }
    }

    #[test]
    fn a_debt_is_told_in_units_and_seconds() {
        let packets = limit("packets");
        let of = |owed| State::of(&packets, find_pace(&packets, 0), owed);
        assert_eq!(of(0), State { used: 0.0, admitted_in: 0.0, over: false, soft: false });
        let near = of(1_500_000);
        assert!(near.soft && !near.over && (near.used - 15.0).abs() < 0.01, "{near:?}");
        let over = of(1_950_000);
        assert!(over.over && !over.soft && (over.admitted_in - 0.049).abs() < 0.002, "{over:?}");
        // A burst that is smaller than a frame is asked with as much as it admits.
        let bytes = limit("bytes");
        assert!(!State::of(&bytes, find_pace(&bytes, 9), 0).over);
    }
}
