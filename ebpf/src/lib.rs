//! weir's kernel program as a library: from a frame to a judgement.
//!
//! The binary beside it is this code over BPF maps. The agent's `explain` and the tests run it over
//! plain memory, so there is one place where a verdict comes from.
#![cfg_attr(target_arch = "bpf", no_std)]
#![expect(
    clippy::inline_always,
    reason = "the kernel program is one function; a call costs the verifier a frame"
)]

/// The order of the stages, and each of them.
pub mod stage;

use core::ops::ControlFlow;

use weir_common::{
    class::{self, Class, ClassId},
    control::{self, Policy},
    counter::{Answer, Outcome},
    gcra::Clock,
    line::Memory,
    overlay::Rule,
    packet::{self, Frame, Packet},
    verdict::{Reason, Verdict},
};

/// What the stages judge by: the maps and the time.
pub trait World: Memory + Clock {}

impl<T: Memory + Clock> World for T {}

/// A packet on its way through the stages: what is known of it, and at the end the judgement. Each
/// stage adds what it found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Case {
    /// The facts of the frame.
    pub packet: Packet,
    /// The policy that judges.
    pub policy: Policy,
    /// Its generation.
    pub generation: u32,
    /// What the class of the source says.
    pub listing: Class,
    /// The ban, or the manual rule, that covers the source.
    pub rule: Option<Rule>,
    /// The class of the source.
    pub class: ClassId,
    /// What that class did, whatever later stages did.
    pub class_outcome: Outcome,
    /// What happens to the packet.
    pub outcome: Outcome,
    /// Why.
    pub reason: Reason,
    /// The limit that dropped the packet, or would have; else the last that was asked. 0: none.
    pub limit: u8,
    /// What that limit said.
    pub answer: Answer,
    /// The service that it is for. With it the last fields are a word: a case is opened by a store, not
    /// by a call of `memset`.
    pub service: u8,
}

impl Case {
    /// A packet of which nothing is known.
    pub const OPEN: Self = Self {
        packet: Packet::UNKNOWN,
        policy: Policy::NONE,
        generation: 0,
        listing: Class::UNLISTED,
        rule: None,
        class: class::NONE,
        class_outcome: Outcome::Pass,
        outcome: Outcome::Pass,
        reason: Reason::Clean,
        limit: 0,
        answer: Answer::Within,
        service: 0,
    };

    /// Forgets what stages found of the packet before. What is read of every packet is left out: it is
    /// written anyway, and what is written twice is paid for twice.
    #[inline(always)]
    fn open(&mut self) {
        let Self { packet: _, policy: _, generation: _, listing, rule, .. } = self;
        *listing = Class::UNLISTED;
        *rule = None;
        self.class = class::NONE;
        self.class_outcome = Outcome::Pass;
        self.outcome = Outcome::Pass;
        self.reason = Reason::Clean;
        self.limit = 0;
        self.answer = Answer::Within;
        self.service = 0;
    }

    /// Returns what becomes of the packet.
    #[inline(always)]
    #[must_use]
    pub const fn verdict(&self) -> Verdict {
        match self.outcome {
            Outcome::Pass | Outcome::WouldDrop => Verdict::Pass,
            Outcome::Drop => Verdict::Drop,
        }
    }

    /// Returns what a rule that drops does: where it or the whole policy is in shadow mode, only
    /// count.
    #[inline(always)]
    pub(crate) const fn dropping(&self, shadow: bool) -> Outcome {
        if shadow || self.policy.shadow { Outcome::WouldDrop } else { Outcome::Drop }
    }

    /// Ends the way of the packet, or, in shadow mode, notes what would have been and lets it go on.
    /// The first such note stays.
    #[inline(always)]
    pub(crate) fn drop(&mut self, reason: Reason, shadow: bool) -> Step {
        if self.dropping(shadow) == Outcome::Drop {
            self.outcome = Outcome::Drop;
            self.reason = reason;
            return Step::Break(());
        }
        if self.outcome == Outcome::Pass {
            self.outcome = Outcome::WouldDrop;
            self.reason = reason;
        }
        Step::Continue(())
    }

    /// Ends the way of the packet: it passes, whatever later stages would say.
    #[inline(always)]
    pub(crate) fn pass(&mut self, reason: Reason) -> Step {
        self.reason = reason;
        Step::Break(())
    }
}

/// What a stage says: go on, or this is the end.
pub(crate) type Step = ControlFlow<()>;

/// Judges a frame. What is found on the way, and the judgement, are in `case` afterwards.
#[inline(always)]
pub fn judge<W: World>(world: &W, frame: &impl Frame, case: &mut Case) {
    packet::parse(frame, &mut case.packet);
    case.open();
    case.generation = control::generation(world);
    // Without settings there is no policy to enforce; the agent writes them before it attaches.
    let Some(policy) = Policy::load(world, case.generation) else { return };
    case.policy = policy;
    _ = stage::run(world, frame, case);
}
