use std::time::Duration;

use weir_common::{
    class::ClassId,
    control::Global,
    counter::Outcome,
    gcra::Clock as _,
    line::Memory,
    map::{Map, Sizes},
    overlay::{self, Prefix, Rule},
    verdict::Reason,
};

use crate::{
    cli::CliError,
    datapath::trial::Trial,
    offline::{BEGINNING, Compiled, Offline},
};

/// What became of a packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Judged {
    pub(super) outcome: Outcome,
    pub(super) reason: Reason,
    pub(super) class: ClassId,
    pub(super) limit: u8,
}

/// Who judges the packets of a case.
pub(super) trait Judge {
    /// Begins a case: nobody owes anything, and no rule is in force but this one.
    fn begin(&mut self, rule: Option<(Prefix, Rule)>) -> Result<(), CliError>;

    /// Lets time pass until `time` has gone since the beginning of the case.
    fn wait_until(&mut self, time: Duration) -> Result<(), CliError>;

    /// Judges a frame.
    fn judge(&mut self, frame: &[u8]) -> Result<Judged, CliError>;

    /// Judges a frame that comes `times` times at once. Returns how many of them were admitted.
    fn admitted(&mut self, frame: &[u8], times: u32) -> Result<u64, CliError>;
}

/// The code of the kernel program over plain memory.
pub(super) struct Native {
    policy: Offline,
    now: u64,
    case: weir_ebpf::Case,
}

impl Native {
    pub(super) fn new(compiled: &Compiled) -> Result<Self, CliError> {
        let policy = Offline::new(compiled, Sizes::LIMITER_BITS_MIN)?;
        Ok(Self { policy, now: BEGINNING, case: weir_ebpf::Case::OPEN })
    }
}

impl Judge for Native {
    fn begin(&mut self, rule: Option<(Prefix, Rule)>) -> Result<(), CliError> {
        let memory = self.policy.memory();
        memory.fill(Map::Limiter, [0; 8]);
        memory.fill(Map::Valve, [0; 8]);
        self.now = BEGINNING;
        memory.set_clock(self.now, 1);
        set_rule(memory, rule, memory.coarse());
        Ok(())
    }

    fn wait_until(&mut self, time: Duration) -> Result<(), CliError> {
        self.now = BEGINNING + micros(time);
        Ok(())
    }

    fn judge(&mut self, frame: &[u8]) -> Result<Judged, CliError> {
        self.policy.judge(self.now, &frame, &mut self.case);
        let weir_ebpf::Case { outcome, reason, class, limit, .. } = self.case;
        Ok(Judged { outcome, reason, class, limit })
    }

    fn admitted(&mut self, frame: &[u8], times: u32) -> Result<u64, CliError> {
        (0..times).map(|_| Ok(u64::from(self.judge(frame)?.outcome == Outcome::Pass))).sum()
    }
}

/// The program in the kernel.
pub(super) struct Kernel {
    trial: Trial,
    /// What has passed since the beginning of the case.
    passed: Duration,
}

impl Kernel {
    pub(super) fn new(compiled: &Compiled) -> Result<Self, CliError> {
        let mut trial = Trial::new(compiled.sizes(Sizes::LIMITER_BITS_MIN))?;
        trial.publish(&compiled.policy, &compiled.merged, &compiled.classes)?;
        Ok(Self { trial, passed: Duration::ZERO })
    }
}

impl Judge for Kernel {
    fn begin(&mut self, rule: Option<(Prefix, Rule)>) -> Result<(), CliError> {
        self.trial.begin();
        self.passed = Duration::ZERO;
        set_rule(self.trial.memory(), rule, 0);
        Ok(())
    }

    fn wait_until(&mut self, time: Duration) -> Result<(), CliError> {
        self.trial.let_pass(time.saturating_sub(self.passed));
        self.passed = self.passed.max(time);
        Ok(())
    }

    fn judge(&mut self, frame: &[u8]) -> Result<Judged, CliError> {
        let counted = self.trial.judge(frame)?;
        Ok(Judged {
            outcome: counted.outcome,
            reason: counted.reason,
            class: counted.class,
            limit: counted.limit,
        })
    }

    fn admitted(&mut self, frame: &[u8], times: u32) -> Result<u64, CliError> {
        Ok(self.trial.admitted(frame, times)?)
    }
}

fn set_rule(memory: &impl Memory, rule: Option<(Prefix, Rule)>, now: u64) {
    overlay::clear(memory);
    if let (Some((prefix, rule)), Some(global)) = (rule, Global::load(memory)) {
        // The table is empty, and one rule fits.
        _ = overlay::insert(memory, global.seed, prefix, rule, now);
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX >> 1)
}
