use std::{collections::BTreeMap, convert::Infallible, time::SystemTime};

use super::{
    Member, Patience,
    entry::{Entry, Word},
    ledger::{Ledger, Move},
    link::{Fault, Link},
};
use crate::record::seconds;

/// Moves in one transaction.
const TOGETHER_MAX: usize = 128;
/// A ban that has ended so many seconds ago has by every gateway's clock.
const LEFT_BEHIND: u64 = 600;

/// Publishes what the book says, for ever.
pub(super) async fn run(member: Member) {
    let mut patience = Patience::new("publish");
    let mut publisher = Publisher { member, ledger: Ledger::default() };
    loop {
        let Err(fault) = publisher.session(&mut patience).await;
        patience.wait(&fault).await;
    }
}

struct Publisher {
    member: Member,
    ledger: Ledger,
}

impl Publisher {
    async fn session(&mut self, patience: &mut Patience) -> Result<Infallible, Fault> {
        let mut link = Link::connect(&self.member.settings).await?;
        // What others have lifted meanwhile is not banned anew.
        self.member.shared.caught_up().await;
        self.begin(&mut link).await?;
        patience.reset();
        loop {
            let number = self.tell(&mut link).await?;
            tokio::select! {
                () = self.member.bulletin.changed(number) => {}
                () = self.member.shared.lost.notified() => self.begin(&mut link).await?,
            }
        }
    }

    /// Compares the book with the hash, and says so where the hash had not been complete.
    async fn begin(&mut self, link: &mut Link) -> Result<(), Fault> {
        let name = self.member.settings.name.clone();
        let known = link.gateways().await?.contains(&name);
        // Gateways that are no more leave bans behind.
        let long_ago = seconds(SystemTime::now()).saturating_sub(LEFT_BEHIND);
        let (ended, held): (Vec<_>, Vec<_>) =
            link.all().await?.into_iter().partition(|(_, _, ban)| ban.ends_by(long_ago, 0));
        let ended: Vec<_> = ended.into_iter().map(|(origin, prefix, _)| (origin, prefix)).collect();
        link.forget(&ended).await?;
        let own = held.into_iter().filter(|(origin, ..)| *origin == name);
        self.ledger.begin(own.map(|(_, prefix, ban)| (prefix, ban)).collect::<BTreeMap<_, _>>());
        if !known {
            self.tell(link).await?;
            let all = Move::Tell(Entry { origin: name.clone(), by: name.clone(), word: Word::All });
            link.publish(&name, &[all]).await?;
        }
        Ok(())
    }

    /// Publishes what is new, and returns the number of the last change in the book.
    async fn tell(&mut self, link: &mut Link) -> Result<u64, Fault> {
        let Member { settings, bulletin, counts, shared, .. } = &self.member;
        let (number, rules) = bulletin.all();
        let now = seconds(SystemTime::now());
        let moves = self.ledger.moves(&settings.name, &rules, now, &mut shared.quiet());
        let mut moves = moves.into_iter().peekable();
        while moves.peek().is_some() {
            let some: Vec<Move> = moves.by_ref().take(TOGETHER_MAX).collect();
            link.publish(&settings.name, &some).await?;
            for moved in some {
                counts.published(match &moved {
                    Move::Tell(Entry { word: Word::Ban(..), .. }) => "ban",
                    Move::Tell(Entry { word: Word::Lift(_), .. }) => "lift",
                    Move::Tell(Entry { word: Word::All, .. }) => "all",
                    Move::Forget(_) => "ended",
                });
                self.ledger.done(&settings.name, moved);
            }
        }
        Ok(number)
    }
}
