use std::{net::IpAddr, sync::Arc, time::Duration};

use weir_common::{
    addr::Address,
    class::Action,
    control::Global,
    gcra::{self, Key},
    limit::{PARTNER, SUSPICIOUS},
    overlay::{FOREVER, Sentence},
};
use weir_ebpf::{Case, World, judge};

use crate::{
    explain::packet,
    policy::classes::ClassSpec,
    record::LimitRecord,
    rules::{Action as RuleAction, Rule},
};

/// What lists say of a source, the strongest word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Listed {
    /// Nothing.
    #[default]
    Nowhere,
    /// It always passes.
    Allow,
    /// It is a trusted integration.
    Partner,
    /// Limits hold it to the suspicious pace.
    Suspicious,
    /// It is counted.
    Observe,
    /// It is dropped.
    Drop,
}

impl Listed {
    /// Returns its name in rules and output.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Nowhere => "nowhere",
            Self::Allow => "allow",
            Self::Partner => "partner",
            Self::Suspicious => "suspicious",
            Self::Observe => "observe",
            Self::Drop => "drop",
        }
    }
}

/// A ban that covers a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ban {
    /// It only counts what it would drop.
    pub shadow: bool,
    /// How long it still lasts; nothing: until it is lifted.
    pub left: Option<Duration>,
}

/// What limits say to the next packet of a source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pressure {
    /// Nothing.
    #[default]
    None,
    /// It is in the soft band: reported, not dropped.
    Soft,
    /// It would be dropped.
    Over,
}

/// What is known of a source.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Source {
    /// What lists say.
    pub listed: Listed,
    /// They only count what they would drop.
    pub list_shadow: bool,
    /// Which lists, in the order of the policy.
    pub lists: Arc<[String]>,
    /// A manual rule lets it pass.
    pub rule_allows: bool,
    /// The ban that covers it, in the kernel or at proxies.
    pub ban: Option<Ban>,
    /// The largest share of a burst that it has used up and not yet earned back, over all limits; 1:
    /// all of it.
    pub used: f64,
    /// What limits would say to its next packet, the strongest word.
    pub pressure: Pressure,
    /// What it has done to be watched; see the ladder.
    pub risk: f64,
}

impl Source {
    /// Returns true for a source that is never refused.
    #[must_use]
    pub fn allowed(&self) -> bool {
        self.listed == Listed::Allow || self.rule_allows
    }

    /// Adds what proxies hold against it; `now` in seconds since 1970.
    #[must_use]
    pub fn with_sanction(mut self, rule: Option<&Rule>, now: u64) -> Self {
        match rule {
            Some(rule) if rule.action == RuleAction::Allow => self.rule_allows = true,
            Some(rule) if rule.action == RuleAction::Ban && self.ban.is_none_or(|ban| ban.shadow) => {
                let left = rule.until.map(|until| Duration::from_secs(until.saturating_sub(now)));
                self.ban = Some(Ban { shadow: rule.shadow, left });
            }
            Some(_) | None => {}
        }
        self
    }
}

/// The names behind the kernel's numbers.
#[derive(Clone, Debug, Default)]
pub struct Names {
    classes: Vec<Arc<[String]>>,
    limits: Vec<LimitRecord>,
}

impl Names {
    /// Takes them from what is in force: class 1 and following, and the limits.
    #[must_use]
    pub fn new(classes: &[ClassSpec], limits: &[LimitRecord]) -> Self {
        let lists = |spec: &ClassSpec| spec.origins.iter().map(ToString::to_string).collect();
        Self { classes: classes.iter().map(lists).collect(), limits: limits.to_vec() }
    }

    /// Asks the kernel's structures what they say of an address: the stages of the kernel program
    /// judge a packet from it, and its buckets are looked at. Nothing is written.
    #[must_use]
    pub fn source(&self, world: &impl World, address: IpAddr) -> Source {
        let mut case = Case::OPEN;
        let frame = packet::from(Address::from(address), None);
        judge(world, &frame.as_slice(), &mut case);
        let now = world.coarse();
        let mut source = self.listed(&case);
        if let Some(rule) = case.rule {
            let left = (rule.until != FOREVER).then(|| Duration::from_micros(rule.until.saturating_sub(now)));
            match rule.sentence {
                Sentence::Allow => source.rule_allows = true,
                Sentence::Drop => source.ban = Some(Ban { shadow: rule.shadow, left }),
                Sentence::Limit => source.listed = Listed::Suspicious,
            }
        }
        if let Some(global) = Global::load(world) {
            self.limits.iter().for_each(|limit| ask(world, &global, &case, limit, &mut source));
        }
        source
    }

    fn listed(&self, case: &Case) -> Source {
        let class = usize::from(case.class).checked_sub(1).and_then(|class| self.classes.get(class));
        let listed = match (case.listing.action, case.listing.profile) {
            (Action::Allow, _) => Listed::Allow,
            (Action::Drop, _) => Listed::Drop,
            (Action::Observe, PARTNER) => Listed::Partner,
            (Action::Observe, SUSPICIOUS) => Listed::Suspicious,
            (Action::Observe, _) if class.is_some() => Listed::Observe,
            (Action::Observe, _) => Listed::Nowhere,
        };
        Source {
            listed,
            list_shadow: case.listing.shadow,
            lists: class.cloned().unwrap_or_default(),
            ..Source::default()
        }
    }
}

/// Looks at the bucket of a source, unless it is shared with everybody.
fn ask(world: &impl World, global: &Global, case: &Case, limit: &LimitRecord, source: &mut Source) {
    if limit.ipv4_prefix == 0 {
        return;
    }
    let key = Key::new(global, case.packet.source, limit.number, limit.scope());
    let pace = limit.paces.get(usize::from(case.listing.profile)).unwrap_or(&limit.paces[0]);
    #[expect(clippy::cast_precision_loss, reason = "at most 71 minutes in µs, and a burst earned in an hour")]
    let (owed, burst) = (gcra::owed(world, key, world.coarse()) as f64, pace.burst.max(1) as f64);
    let used = owed * pace.rate / 1e6;
    source.used = source.used.max(used / burst);
    if used + 1.0 > burst + 0.01 && !limit.enforce.is_shadow() {
        source.pressure = Pressure::Over;
    } else if limit.soft > 0 && used / burst > f64::from(limit.soft) / 256.0 {
        source.pressure = source.pressure.max(Pressure::Soft);
    }
}
