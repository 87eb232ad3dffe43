//! Taking turns: every round measures each contender once, one directly after the other, and what
//! is compared is compared within its round.

use anyhow::Result;

use crate::stats::{Spread, median};

/// Below this a difference is not known: the kernel tells whole ns.
const RESOLUTION: f64 = 1.0;

/// What is measured in a round, by name; returns what a packet takes, in ns.
pub(crate) struct Contender<'a> {
    /// What it is called.
    pub(crate) name: &'static str,
    measure: Box<dyn FnMut() -> Result<f64> + 'a>,
}

impl<'a> Contender<'a> {
    pub(crate) fn new(name: &'static str, measure: impl FnMut() -> Result<f64> + 'a) -> Self {
        Self { name, measure: Box::new(measure) }
    }
}

/// What each contender took in each round, the empty one subtracted.
#[derive(Clone, Debug)]
pub(crate) struct Rounds {
    net: Vec<(&'static str, Vec<f64>)>,
    empty: Vec<f64>,
}

/// Lets the contenders take turns. `empty` is what a packet takes without any of them.
pub(crate) fn take_turns(
    rounds: u32,
    mut empty: Contender<'_>,
    mut contenders: Vec<Contender<'_>>,
) -> Result<Rounds> {
    // One turn that does not count: caches, branches and tables as they will be.
    (empty.measure)()?;
    for contender in &mut contenders {
        (contender.measure)()?;
    }
    let mut found = Rounds {
        net: contenders.iter().map(|contender| (contender.name, Vec::new())).collect(),
        empty: Vec::new(),
    };
    for _ in 0..rounds {
        let nothing = (empty.measure)()?;
        found.empty.push(nothing);
        for (contender, (_, net)) in contenders.iter_mut().zip(&mut found.net) {
            net.push(((contender.measure)()? - nothing).max(RESOLUTION));
        }
    }
    Ok(found)
}

impl Rounds {
    /// Returns what contender `name` took beyond the empty one.
    pub(crate) fn net(&self, name: &str) -> &[f64] {
        self.net.iter().find(|(known, _)| *known == name).map_or(&[], |(_, net)| net.as_slice())
    }

    /// Returns how many times as long as contender `ours` contender `other` took, round by round.
    pub(crate) fn ratios(&self, other: &str, ours: &str) -> Vec<f64> {
        self.net(other).iter().zip(self.net(ours)).map(|(other, ours)| other / ours).collect()
    }

    /// Returns what a packet takes without any contender.
    pub(crate) fn empty(&self) -> Spread {
        Spread::of(&self.empty)
    }

    /// Returns the contenders and what they took.
    pub(crate) fn medians(&self) -> impl Iterator<Item = (&'static str, f64)> {
        self.net.iter().map(|(name, net)| (*name, median(net)))
    }

    /// Returns how many rounds there were.
    pub(crate) fn len(&self) -> usize {
        self.empty.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_compared_is_of_one_round() {
        let mut noise = [10.0, 1000.0, 10.0].into_iter().cycle().skip(2);
        let mut level = 0.0;
        let level = std::cell::RefCell::new(&mut level);
        let empty = Contender::new("empty", || {
            **level.borrow_mut() = noise.next().unwrap_or_default();
            Ok(**level.borrow())
        });
        let ours = Contender::new("ours", || Ok(**level.borrow() + 10.0));
        let other = Contender::new("other", || Ok(**level.borrow() + 100.0));
        let rounds = take_turns(6, empty, vec![ours, other]).unwrap();
        assert_eq!(rounds.len(), 6);
        assert!(rounds.ratios("other", "ours").iter().all(|ratio| (ratio - 10.0).abs() < 1e-9));
        assert!((rounds.empty().median - 10.0).abs() < 1e-9);
        assert!(rounds.net("nobody").is_empty());
    }
}
