use rustc_hash::FxHashMap;
use weir_common::{
    class::{ClassId, NONE},
    counter::Counter,
    overlay::Sentence,
    packet::Kind,
    verdict::Reason,
};
use weir_ebpf::Case;

use super::{
    Fate,
    sources::Sources,
    tally::{Tally, add},
};
use crate::{
    capture::Captured,
    offline::{Names, Offline, Why},
};

/// Kinds of changes that are told apart. They are made of lists and limits, so there are few.
const CHANGES_MAX: usize = 4096;

/// What a policy says of a packet, in numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Word {
    pub(super) fate: Fate,
    reason: Reason,
    class: ClassId,
    limit: u8,
}

impl Word {
    pub(super) fn of(case: &Case, fate: Fate) -> Self {
        let by_limit = matches!(case.reason, Reason::Limit | Reason::Valve);
        let by_list = matches!(case.reason, Reason::Feed | Reason::Observe | Reason::Allow)
            && case.rule.is_none_or(|rule| rule.sentence != Sentence::Allow);
        Self {
            fate,
            reason: case.reason,
            class: if by_list { case.class } else { NONE },
            limit: if by_limit { case.limit } else { 0 },
        }
    }

    pub(super) fn why(self, names: &Names) -> Why {
        names.why(self.reason, self.class, self.limit)
    }
}

/// Another policy, which judges the same packets, and where the two differ.
#[derive(Debug)]
pub(super) struct Comparison<'o> {
    pub(super) policy: &'o Offline,
    pub(super) tally: Tally,
    /// Packets with another verdict, by what the two say.
    pub(super) changes: FxHashMap<(Word, Word), Counter>,
    /// Those for which there was no room.
    pub(super) others: Counter,
    /// Packets with the same verdict for another reason.
    pub(super) reasons: u64,
    /// Who sent packets with another verdict, by what the other policy says.
    pub(super) sources: Option<Sources>,
    case: Case,
}

impl<'o> Comparison<'o> {
    pub(super) fn new(policy: &'o Offline, sources: bool) -> Self {
        Self {
            policy,
            tally: Tally::new(policy.names().classes()),
            changes: FxHashMap::default(),
            others: Counter::default(),
            reasons: 0,
            sources: sources.then(Sources::default),
            case: Case::OPEN,
        }
    }

    pub(super) fn judge(&mut self, now: u64, frame: &Captured<'_>, before: &Case, fate: Fate) {
        self.policy.judge(now, frame, &mut self.case);
        let after = Fate::of(&self.case, frame.is_cut());
        self.tally.count(&self.case, after, frame.is_cut());
        if after == fate {
            self.reasons += u64::from(self.case.reason != before.reason);
            return;
        }
        let change = (Word::of(before, fate), Word::of(&self.case, after));
        let bytes = u64::from(self.case.packet.length);
        let known = self.changes.len() < CHANGES_MAX || self.changes.contains_key(&change);
        add(if known { self.changes.entry(change).or_default() } else { &mut self.others }, bytes);
        if let Some(sources) = &mut self.sources
            && self.case.packet.kind == Kind::Ip
        {
            sources.count(&self.case, after);
        }
    }
}
