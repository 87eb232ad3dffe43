//! Taking turns: every round measures each contender once, one directly after the other, and what
//! is compared is compared within its round.

use anyhow::Result;

use crate::stats::Spread;

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

/// What each contender took in each round: all in all, and without what the empty one took.
#[derive(Clone, Debug)]
pub(crate) struct Rounds {
    contenders: Vec<Taken>,
    empty: Vec<f64>,
}

#[derive(Clone, Debug)]
struct Taken {
    name: &'static str,
    gross: Vec<f64>,
    net: Vec<f64>,
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
    let taken =
        |contender: &Contender<'_>| Taken { name: contender.name, gross: Vec::new(), net: Vec::new() };
    let mut found = Rounds { contenders: contenders.iter().map(taken).collect(), empty: Vec::new() };
    for _ in 0..rounds {
        let nothing = (empty.measure)()?;
        found.empty.push(nothing);
        for (contender, taken) in contenders.iter_mut().zip(&mut found.contenders) {
            let all = (contender.measure)()?;
            taken.gross.push(all);
            taken.net.push((all - nothing).max(RESOLUTION));
        }
    }
    Ok(found)
}

impl Rounds {
    /// Returns what contender `name` took beyond the empty one.
    pub(crate) fn net(&self, name: &str) -> &[f64] {
        self.taken(name).map_or(&[], |taken| taken.net.as_slice())
    }

    /// Returns what contender `name` took.
    pub(crate) fn gross(&self, name: &str) -> &[f64] {
        self.taken(name).map_or(&[], |taken| taken.gross.as_slice())
    }

    fn taken(&self, name: &str) -> Option<&Taken> {
        self.contenders.iter().find(|taken| taken.name == name)
    }

    /// Returns what a packet takes without any contender.
    pub(crate) fn empty(&self) -> Spread {
        Spread::of(&self.empty)
    }

    /// Returns the contenders, in the order of their turns.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.contenders.iter().map(|taken| taken.name)
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
        let is = |took: &[f64], want: f64| took.iter().all(|took| (took - want).abs() < 1e-9);
        assert!(is(rounds.net("ours"), 10.0) && is(rounds.net("other"), 100.0));
        assert!(rounds.gross("ours").contains(&1010.0) && rounds.gross("ours").contains(&20.0));
        assert!((rounds.empty().median - 10.0).abs() < 1e-9);
        assert!(rounds.net("nobody").is_empty());
    }
}
