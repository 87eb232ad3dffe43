//! Bans and manual rules as the agent knows them: in words, with notes, and beyond a reboot.
//!
//! The kernel has the rules that it enforces, by keys and on a clock that starts with it. The book
//! here says what they are, on the clock of the wall, and is written to the state directory before a
//! change is answered. At a start the two are made one: what the file says is put in force, and what
//! no file says is lifted.

/// What a rule is.
mod rule;
/// The book on disk.
mod file;
/// What somebody else has changed in the kernel.
mod mend;
/// The book for those who pass it on.
pub mod bulletin;

use std::{
    collections::BTreeMap,
    io, mem,
    net::IpAddr,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use ipnet::IpNet;
use weir_common::line::Memory;

use crate::datapath::rules::{self as kernel, End, Order, RuleError};
pub use bulletin::Bulletin;
use file::{Loaded, Saved};
pub use rule::{Action, Author, Profile, Rule, Wanted};

/// The book.
#[derive(Debug)]
pub struct Rules {
    state: PathBuf,
    entries: BTreeMap<IpNet, Entry>,
    /// The kernel has rules of which the book knows nothing, because it was lost.
    strangers: bool,
    /// The file says something else than the book.
    unsaved: bool,
    /// Rules that have ended since somebody asked.
    ended: Vec<Rule>,
}

#[derive(Clone, Debug)]
struct Entry {
    rule: Rule,
    end: End,
}

impl Rules {
    /// Reads the book and makes it and the kernel one. Whatever is wrong with the file, what the
    /// kernel has then stays in force.
    #[must_use]
    pub fn restore(state: &Path, memory: &impl Memory, now: SystemTime) -> Self {
        let (state_directory, entries) = (state.to_owned(), BTreeMap::new());
        let mut rules =
            Self { state: state_directory, entries, strangers: false, unsaved: false, ended: Vec::new() };
        let saved = match file::load(state) {
            Loaded::Nothing => Saved::default(),
            Loaded::Saved(saved) => saved,
            Loaded::Broken { why, aside } => {
                let kept = aside.map_or("where it is".to_owned(), |path| path.display().to_string());
                tracing::error!(file = %file::path(state).display(), %why, %kept,
                    "the file of bans and rules cannot be used; those that the kernel has stay in force, \
                     others are lost until they are set again");
                rules.unsaved = true;
                Saved { strangers: true, rules: Vec::new() }
            }
        };
        rules.strangers = saved.strangers && kernel::count(memory) > 0;
        for rule in saved.rules {
            let left = rule.left(now);
            if left == Some(Duration::ZERO) {
                // The kernel has ended it by itself, and nobody has told.
                rules.ended.push(rule);
                rules.unsaved = true;
                continue;
            }
            let end = End::after(memory, left);
            rules.entries.insert(rule.prefix, Entry { rule, end });
        }
        rules.reconcile(memory);
        if !rules.entries.is_empty() || rules.strangers {
            tracing::info!(rules = rules.entries.len(), "bans and rules in force");
        }
        rules
    }

    /// Makes the kernel enforce what the book says: lifts the rest and puts back what is missing.
    pub fn reconcile(&mut self, memory: &impl Memory) {
        if !self.strangers {
            match kernel::retain(memory, self.in_kernel()) {
                Ok(0) => {}
                Ok(lifted) => {
                    tracing::warn!(lifted, "lifted rules of which the state directory knows nothing");
                }
                Err(error) => tracing::error!(%error, "cannot reconcile rules"),
            }
        }
        let mut refused = None;
        self.entries.retain(|prefix, entry| match enforce(memory, *prefix, entry) {
            Ok(()) => true,
            Err(error) => {
                refused = Some(error);
                false
            }
        });
        if let Some(error) = refused {
            self.unsaved = true;
            tracing::error!(%error, "rules of before are no longer in force");
        }
    }

    /// Puts rules in force, all or none of them.
    ///
    /// # Errors
    /// [`RuleError`]; everything is then as before.
    pub fn set(
        &mut self,
        memory: &impl Memory,
        wanted: Vec<Wanted>,
        now: SystemTime,
    ) -> Result<Vec<Rule>, RuleError> {
        let mut before = Vec::new();
        let mut set = Vec::new();
        for wanted in wanted {
            let (prefix, lasts) = (canonical(wanted.prefix), wanted.lasts);
            let rule = Rule::new(Wanted { prefix, ..wanted }, now);
            let was = kernel::get(memory, prefix)?;
            if let Err(error) = self.put(memory, &rule, lasts, now) {
                self.undo(memory, before);
                return Err(error);
            }
            let entry = Entry { rule: rule.clone(), end: End::after(memory, lasts) };
            before.push((prefix, was, self.entries.insert(prefix, entry)));
            set.push(rule);
        }
        self.unsaved = true;
        Ok(set)
    }

    /// Rules that have ended are forgotten now and then; where that makes the difference, now.
    fn put(
        &mut self,
        memory: &impl Memory,
        rule: &Rule,
        lasts: Option<Duration>,
        now: SystemTime,
    ) -> Result<(), RuleError> {
        if rule.proxy_only {
            // It takes the place of the one that the kernel may have.
            return kernel::lift(memory, rule.prefix).map(drop);
        }
        let result = kernel::set(memory, rule.prefix, rule.order(lasts));
        if matches!(result, Err(RuleError::Lengths)) && self.forget(memory, now) > 0 {
            return kernel::set(memory, rule.prefix, rule.order(lasts));
        }
        result
    }

    fn undo(&mut self, memory: &impl Memory, before: Vec<(IpNet, Option<Order>, Option<Entry>)>) {
        for (prefix, order, entry) in before.into_iter().rev() {
            let undone = match order {
                Some(order) => kernel::set(memory, prefix, order),
                None => kernel::lift(memory, prefix).map(drop),
            };
            if let Err(error) = undone {
                // There was room a moment ago, and nobody else writes.
                tracing::error!(%error, "cannot undo a rule");
            }
            match entry {
                Some(entry) => self.entries.insert(prefix, entry),
                None => self.entries.remove(&prefix),
            };
        }
        self.give_back_lengths(memory);
    }

    /// Lifts the rule of exactly this prefix. Returns false if it had none.
    ///
    /// # Errors
    /// [`RuleError`]
    pub fn lift(&mut self, memory: &impl Memory, prefix: IpNet) -> Result<bool, RuleError> {
        let prefix = canonical(prefix);
        let had = kernel::lift(memory, prefix)?;
        let known = self.entries.remove(&prefix).is_some();
        self.unsaved |= known;
        self.give_back_lengths(memory);
        Ok(had || known)
    }

    /// Forgets rules that have ended, on whichever of the two clocks. Returns how many.
    pub fn forget(&mut self, memory: &impl Memory, now: SystemTime) -> usize {
        let ended: Vec<IpNet> = self
            .entries
            .iter()
            .filter(|(_, Entry { rule, end })| end.has_come(memory) || rule.left(now) == Some(Duration::ZERO))
            .map(|(prefix, _)| *prefix)
            .collect();
        for prefix in &ended {
            // By the clock of the wall it has, also where the host has slept.
            if let Err(error) = kernel::lift(memory, *prefix) {
                tracing::error!(%error, "cannot lift a rule that has ended");
            }
            self.ended.extend(self.entries.remove(prefix).map(|entry| entry.rule));
        }
        if self.strangers && kernel::count(memory) == self.in_kernel().count() {
            tracing::info!("the last rule that no file knew has ended");
            self.strangers = false;
            self.unsaved = true;
        }
        if !ended.is_empty() {
            self.unsaved = true;
            self.give_back_lengths(memory);
        }
        ended.len()
    }

    /// Returns the rules that have ended since this was asked last.
    pub fn take_ended(&mut self) -> Vec<Rule> {
        mem::take(&mut self.ended)
    }

    fn give_back_lengths(&self, memory: &impl Memory) {
        // Those of strangers are not known.
        if !self.strangers {
            kernel::give_back_lengths(memory, self.in_kernel());
        }
    }

    fn in_kernel(&self) -> impl Iterator<Item = IpNet> {
        self.entries.iter().filter(|(_, entry)| !entry.rule.proxy_only).map(|(prefix, _)| *prefix)
    }

    /// Writes the book, where it has changed.
    ///
    /// # Errors
    /// What the file system says; the file of before is then still there.
    pub fn save(&mut self) -> io::Result<()> {
        if mem::take(&mut self.unsaved) {
            let rules = self.entries.values().map(|entry| &entry.rule);
            if let Err(error) = file::store(&self.state, self.strangers, rules) {
                self.unsaved = true;
                return Err(error);
            }
        }
        Ok(())
    }

    /// Returns true while there is something to forget or to write.
    #[must_use]
    pub fn need_care(&self) -> bool {
        !self.entries.is_empty() || self.strangers || self.unsaved
    }

    /// Returns all rules that are in force, in the order of their prefixes.
    pub fn iter(&self, memory: &impl Memory, now: SystemTime) -> impl Iterator<Item = &Rule> {
        let live =
            move |entry: &&Entry| !entry.end.has_come(memory) && entry.rule.left(now) != Some(Duration::ZERO);
        self.entries.values().filter(live).map(|entry| &entry.rule)
    }

    /// Returns the rule of exactly this prefix.
    #[must_use]
    pub fn get(&self, prefix: IpNet) -> Option<&Rule> {
        self.entries.get(&canonical(prefix)).map(|entry| &entry.rule)
    }

    /// Returns how many rules of each [`Action`] the book has.
    #[must_use]
    pub fn counts(&self) -> [(Action, usize); Action::ALL.len()] {
        let of = |action| self.entries.values().filter(|entry| entry.rule.action == action).count();
        Action::ALL.map(|action| (action, of(action)))
    }
}

/// Returns the rules that the state directory knows, those that have ended since included. Nothing where
/// the file cannot be read: what is enforced is in the kernel.
pub(crate) fn saved(state: &Path) -> Vec<Rule> {
    file::read(&file::path(state)).ok().flatten().map(|saved| saved.rules).unwrap_or_default()
}

/// Reads rules from a file as the state directory has it, or as `weir bans -o json` prints them.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn read(path: &Path) -> io::Result<Vec<Rule>> {
    file::listed(path)
}

/// Puts rules into memory that no agent looks after, for as long as it is judged by: those that the kernel
/// would hold, and have not ended at `now`. Returns how many.
///
/// # Errors
/// [`RuleError`]
pub(crate) fn put_in(memory: &impl Memory, rules: &[Rule], now: SystemTime) -> Result<usize, RuleError> {
    let live = |rule: &&Rule| !rule.proxy_only && rule.left(now) != Some(Duration::ZERO);
    let mut put = 0;
    for rule in rules.iter().filter(live) {
        kernel::set(memory, canonical(rule.prefix), rule.order(None))?;
        put += 1;
    }
    Ok(put)
}

/// Puts a rule back that the kernel does not have. The end of one that it has stays.
fn enforce(memory: &impl Memory, prefix: IpNet, entry: &mut Entry) -> Result<(), RuleError> {
    let lasts = entry.end.left(memory);
    if lasts == Some(Duration::ZERO) || entry.rule.proxy_only {
        return Ok(());
    }
    let wanted = entry.rule.order(lasts);
    match kernel::get(memory, prefix)? {
        Some(has) if (Order { lasts, ..has }) == wanted && has.lasts.is_some() == lasts.is_some() => {
            entry.end = End::after(memory, has.lasts);
            Ok(())
        }
        Some(_) | None => kernel::set(memory, prefix, wanted),
    }
}

/// Returns the IPv4 prefix that a v4-mapped one is: the kernel knows such sources as IPv4.
pub(crate) fn canonical(prefix: IpNet) -> IpNet {
    let IpNet::V6(v6) = prefix else { return prefix };
    let (IpAddr::V4(network), Some(length)) =
        (IpAddr::V6(v6.network()).to_canonical(), v6.prefix_len().checked_sub(96))
    else {
        return prefix;
    };
    IpNet::new(network.into(), length).unwrap_or(prefix)
}

/// Rules for tests.
#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod tests;
