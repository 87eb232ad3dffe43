use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    time::SystemTime,
};

use axum::http::StatusCode;
use ipnet::IpNet;
use tokio::task::block_in_place;

use super::{
    Member, Patience,
    cursor::Cursor,
    entry::{Ban, Entry, Word},
    link::{Fault, Heard, Link},
};
use crate::{
    api::Ask,
    audit::Actor,
    record::seconds,
    rules::{Author, Rule, Wanted},
};

/// Bans that are put in force at once.
const TOGETHER_MAX: usize = 256;
/// Before the first entry of a stream.
const BEGINNING: &str = "0-0";
/// Ends that are so close, in seconds, are the same: each book writes them down a second late.
const SAME: u64 = 3;

/// Puts in force what the others say, for ever.
pub(super) async fn run(member: Member) {
    let mut patience = Patience::new("follow");
    let cursor = block_in_place(|| Cursor::load(&member.state, &member.settings));
    let mut follower = Follower { member, cursor };
    loop {
        let Err(fault) = follower.session(&mut patience).await;
        follower.member.shared.behind();
        follower.member.counts.connected.set(0);
        patience.wait(&fault).await;
    }
}

struct Follower {
    member: Member,
    cursor: Cursor,
}

/// Whose ban of what.
type Key = (String, IpNet);

impl Follower {
    async fn session(&mut self, patience: &mut Patience) -> Result<Infallible, Fault> {
        let mut link = Link::connect(&self.member.settings).await?;
        self.find_place(&mut link).await?;
        // What is there already first; only then is there something to wait for.
        let mut current = false;
        loop {
            let heard = link.read(self.cursor.place().unwrap_or(BEGINNING), current).await?;
            if let Some((place, _)) = heard.last() {
                let place = place.clone();
                self.take(&mut link, heard).await?;
                block_in_place(|| self.cursor.set(Some(place)));
            } else if current {
                self.find_place(&mut link).await?;
            } else {
                current = true;
                patience.reset();
                self.member.counts.connected.set(1);
                self.member.shared.ahead();
            }
        }
    }

    /// Makes sure that nothing has come between the last entry that was read and the next.
    async fn find_place(&mut self, link: &mut Link) -> Result<(), Fault> {
        match self.cursor.place() {
            Some(place) if link.has(place).await? => Ok(()),
            Some(_) | None => self.resync(link).await,
        }
    }

    /// Takes all bans as they are, since what has led to them is not known.
    async fn resync(&mut self, link: &mut Link) -> Result<(), Fault> {
        // Before the rest: what comes in between is read twice rather than not at all.
        let last = link.last().await?;
        let (gateways, held) = (link.gateways().await?, link.all().await?);
        if self.cursor.place().is_some() || last.is_some() {
            self.member.counts.resyncs.inc();
            tracing::info!(bans = held.len(), "all bans of the fleet are read anew");
        }
        let held: BTreeMap<Key, Ban> =
            held.into_iter().map(|(origin, prefix, ban)| ((origin, prefix), ban)).collect();
        self.lift_unknown(link, &held, |origin| gateways.contains(origin)).await?;
        self.set(held).await?;
        block_in_place(|| self.cursor.set(last));
        self.member.shared.lost.notify_one();
        Ok(())
    }

    /// Takes what was heard, in which the last word about a ban counts.
    async fn take(&mut self, link: &mut Link, heard: Vec<Heard>) -> Result<(), Fault> {
        let (name, counts) = (self.member.settings.name.clone(), self.member.counts.clone());
        let (mut words, mut complete) = (BTreeMap::<Key, Option<Ban>>::new(), BTreeSet::new());
        for (_, fields) in heard {
            match Entry::parse(&fields) {
                None => counts.heard("malformed"),
                Some(Entry { by, .. }) if by == name => counts.heard("own"),
                Some(Entry { origin, word: Word::Lift(prefix), by }) if origin == name => {
                    self.lift_own(prefix, by).await?;
                }
                Some(Entry { origin, .. }) if origin == name => counts.heard("own"),
                Some(Entry { origin, word: Word::All, .. }) => _ = complete.insert(origin),
                Some(Entry { origin, word: Word::Ban(prefix, ban), .. }) => {
                    words.insert((origin, prefix), Some(ban));
                }
                Some(Entry { origin, word: Word::Lift(prefix), .. }) => {
                    words.insert((origin, prefix), None);
                }
            }
        }
        let mut bans = BTreeMap::new();
        for (key, ban) in words {
            match ban {
                Some(ban) => _ = bans.insert(key, ban),
                None => self.lift(link, key).await?,
            }
        }
        self.set(bans).await?;
        if !complete.is_empty() {
            let held = link.all().await?;
            let held = held.into_iter().map(|(origin, prefix, ban)| ((origin, prefix), ban)).collect();
            self.lift_unknown(link, &held, |origin| complete.contains(origin)).await?;
        }
        Ok(())
    }

    /// Lifts bans of some gateways that are not held.
    async fn lift_unknown(
        &self,
        link: &mut Link,
        held: &BTreeMap<Key, Ban>,
        of: impl Fn(&str) -> bool,
    ) -> Result<(), Fault> {
        for rule in self.member.bulletin.all().1 {
            let Author::Fleet(origin) = rule.by else { continue };
            let key = (origin, rule.prefix);
            if of(&key.0) && !held.contains_key(&key) {
                self.lift(link, key).await?;
            }
        }
        Ok(())
    }

    /// Puts bans in force.
    async fn set(&self, bans: BTreeMap<Key, Ban>) -> Result<(), Fault> {
        let Member { settings, bulletin, counts, .. } = &self.member;
        let now = seconds(SystemTime::now());
        let book: BTreeMap<IpNet, Rule> =
            bulletin.all().1.into_iter().map(|rule| (rule.prefix, rule)).collect();
        let mut wanted = Vec::new();
        for ((origin, prefix), ban) in bans {
            if origin == settings.name {
                continue;
            }
            if ban.ends_by(now, 0) {
                counts.heard("ended");
            } else if book.get(&prefix).is_some_and(|rule| is_same(rule, &origin, &ban)) {
                counts.heard("known");
            } else {
                wanted.push(ban.wanted(&origin, prefix, now));
            }
        }
        for some in wanted.chunks(TOGETHER_MAX) {
            match self.member.desk.ask(Ask::Set(some.to_vec())).await {
                Ok(answer) => self.count(some.len(), answer.rules.len()),
                Err(problem) if problem.status == StatusCode::SERVICE_UNAVAILABLE => {
                    return Err(problem.into());
                }
                // One of them must not be, and the others are none the worse for it.
                Err(_) => self.set_singly(some).await?,
            }
        }
        Ok(())
    }

    async fn set_singly(&self, wanted: &[Wanted]) -> Result<(), Fault> {
        for one in wanted {
            match self.member.desk.ask(Ask::Set(vec![one.clone()])).await {
                Ok(answer) => self.count(1, answer.rules.len()),
                Err(problem) if problem.status == StatusCode::SERVICE_UNAVAILABLE => {
                    return Err(problem.into());
                }
                Err(problem) => {
                    let naming = &self.member.naming;
                    let (prefix, problem) = (naming.spell(one.prefix), naming.words(&problem));
                    tracing::debug!(prefix, problem, "a ban of the fleet was refused");
                    self.member.counts.heard("refused");
                }
            }
        }
        Ok(())
    }

    /// Lifts the ban of another gateway, and puts the one in its place that a third may have.
    async fn lift(&self, link: &mut Link, (origin, prefix): Key) -> Result<(), Fault> {
        let quiet = || self.member.shared.quiet();
        quiet().foreign.insert(prefix);
        let asked = self.member.desk.ask(Ask::Withdraw(prefix, Author::Fleet(origin))).await;
        if asked.as_ref().map_or(true, |answer| answer.rules.is_empty()) {
            quiet().foreign.remove(&prefix);
        }
        let lifted = !asked?.rules.is_empty();
        self.member.counts.heard(if lifted { "lifted" } else { "stands" });
        if lifted {
            let gateways = link.gateways().await?;
            let others = link.bans_of(prefix, &gateways).await?;
            let longest = others.into_iter().max_by_key(|(_, ban)| ban.until.unwrap_or(u64::MAX));
            let bans = longest.map(|(origin, ban)| ((origin, prefix), ban));
            self.set(bans.into_iter().collect()).await?;
        }
        Ok(())
    }

    /// Lifts a ban of this gateway, as somebody at another has done.
    async fn lift_own(&self, prefix: IpNet, by: String) -> Result<(), Fault> {
        let rules = self.member.bulletin.all().1;
        let own = |rule: &Rule| !matches!(rule.by, Author::Fleet(_)) && Ban::of(rule).is_some();
        let Some(rule) = rules.into_iter().find(|rule| rule.prefix == prefix && own(rule)) else {
            self.member.counts.heard("stands");
            return Ok(());
        };
        self.member.shared.quiet().own.insert(prefix);
        let asked = self.member.desk.ask_as(Actor::Fleet(by), Ask::Withdraw(prefix, rule.by)).await;
        if asked.as_ref().map_or(true, |answer| answer.rules.is_empty()) {
            self.member.shared.quiet().own.remove(&prefix);
        }
        self.member.counts.heard(if asked?.rules.is_empty() { "stands" } else { "lifted" });
        Ok(())
    }

    fn count(&self, wanted: usize, set: usize) {
        (0..set).for_each(|_| self.member.counts.heard("set"));
        (set..wanted).for_each(|_| self.member.counts.heard("stands"));
    }
}

/// Returns true for a rule that says what is heard.
fn is_same(rule: &Rule, origin: &str, ban: &Ban) -> bool {
    let ends = match (rule.until, ban.until) {
        (Some(one), Some(other)) => one.abs_diff(other) <= SAME,
        (one, other) => one == other,
    };
    let by = matches!(&rule.by, Author::Fleet(by) if by == origin);
    by && ends && Ban::of(rule).is_some_and(|has| has.proxy_only == ban.proxy_only)
}
