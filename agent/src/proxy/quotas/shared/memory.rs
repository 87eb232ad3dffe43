use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::decision::quota::{Ask, Told};

/// Keys that are remembered. Beyond that the store is asked.
const KEYS_MAX: usize = 65_536;

/// Quotas that are known to be used up: until they are not, asking again would tell nothing new.
#[derive(Debug, Default)]
pub(super) struct Memory(Mutex<HashMap<String, Refused>>);

#[derive(Clone, Copy, Debug)]
struct Refused {
    /// When there is enough for what was asked, in ns of the caller's clock.
    until: u64,
    /// What was asked: less may be admitted earlier.
    need: u64,
    /// Until when it owes.
    owed_until: u64,
}

impl Memory {
    /// Returns an answer if one of the quotas is known to refuse. Of the others nothing is told then.
    pub(super) fn refuse(&self, asks: &[Ask], now: u64) -> Option<Vec<Told>> {
        let known = self.known();
        if known.is_empty() {
            return None;
        }
        let told = |ask: &Ask| match known.get(&ask.key) {
            Some(refused) if ask.enforced && refused.until > now && ask.need >= refused.need => {
                Told { owed: refused.owed_until.saturating_sub(now), wait: refused.until - now }
            }
            Some(_) | None => Told::default(),
        };
        let told: Vec<Told> = asks.iter().map(told).collect();
        told.iter().any(|told| told.wait > 0).then_some(told)
    }

    /// Takes note of what the store has told.
    pub(super) fn note(&self, asks: &[Ask], told: &[Told], now: u64) {
        let refused = asks.iter().zip(told).filter(|(ask, told)| {
            // More than may ever be owed has no time to come again.
            told.wait > 0 && ask.enforced && ask.need <= ask.depth
        });
        for (ask, told) in refused {
            let mut known = self.known();
            if known.len() >= KEYS_MAX {
                known.retain(|_, refused| refused.until > now);
            }
            if known.len() < KEYS_MAX {
                let (until, owed_until) = (now.saturating_add(told.wait), now.saturating_add(told.owed));
                known.insert(ask.key.clone(), Refused { until, need: ask.need, owed_until });
            }
        }
    }

    /// What a panic has left is whole: each change is one insert.
    fn known(&self) -> MutexGuard<'_, HashMap<String, Refused>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(key: &str, need: u64) -> Ask {
        Ask { key: key.to_owned(), name: "q".into(), need, cost: need, depth: 100, group: 0, enforced: true }
    }

    #[test]
    fn what_is_used_up_is_remembered_until_it_is_not() {
        let memory = Memory::default();
        let asks = [ask("a", 10), ask("b", 10)];
        memory.note(&asks, &[Told { owed: 95, wait: 5 }, Told { owed: 1, wait: 0 }], 1000);
        let refused = [Told { owed: 93, wait: 3 }, Told::default()];
        assert_eq!(memory.refuse(&asks, 1002), Some(refused.to_vec()));
        assert_eq!(memory.refuse(&asks, 1005), None, "there is enough");
        assert_eq!(memory.refuse(&[ask("a", 4)], 1002), None, "less may be admitted");
        assert_eq!(memory.refuse(&[ask("b", 10)], 1002), None);
        memory.note(&[ask("c", 101)], &[Told { owed: 0, wait: 1 }], 1000);
        assert_eq!(memory.refuse(&[ask("c", 101)], 1000), None, "that is never admitted");
    }

    #[test]
    fn memory_is_bounded() {
        let memory = Memory::default();
        for key in 0..KEYS_MAX + 10 {
            memory.note(&[ask(&key.to_string(), 1)], &[Told { owed: 100, wait: 1 }], 0);
        }
        assert_eq!(memory.known().len(), KEYS_MAX);
        memory.note(&[ask("new", 1)], &[Told { owed: 100, wait: 1 }], 1);
        assert_eq!(memory.known().len(), 1, "what is over gives its place up");
    }
}
