//! Who is told of what happens: Alertmanager, and webhooks.
//!
//! What is wrong stands on a board, each thing once, from when it begins until it is over. Each target
//! compares the board with what it has been told, and is told the difference, as often as it takes.
//! So there is no queue that could fill, and a target that was away learns how things are.

/// What is wrong at the moment. Pure: the time comes from outside.
mod board;
/// From the board to a target.
mod target;
/// What a target is told, in its own words.
mod message;
/// Many bans in a short time.
mod rate;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Instant, SystemTime},
};

use prometheus::{IntCounterVec, IntGaugeVec, Opts};
use tokio::{sync::watch, task::JoinSet, time::sleep_until};

use crate::{config::l7, rules::Bulletin, telemetry::registry::Registry};
use board::Board;
pub use board::{Alert, Kind};
use target::Target;

/// Where it is said what is wrong. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Notifier(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    board: Mutex<Board>,
    /// What is wrong, for those who pass it on.
    news: watch::Sender<Arc<BTreeMap<(Kind, String), Alert>>>,
    alerts: IntGaugeVec,
    deliveries: IntCounterVec,
}

impl Notifier {
    /// Returns one that knows of nothing.
    ///
    /// # Errors
    /// If a metric is not well formed.
    pub fn new() -> prometheus::Result<Self> {
        let alerts = IntGaugeVec::new(Opts::new("weir_alerts", "What is wrong at the moment."), &["kind"])?;
        let deliveries = IntCounterVec::new(
            Opts::new("weir_notify_deliveries_total", "Attempts to tell somebody what is wrong."),
            &["target", "result"],
        )?;
        let (board, news) = (Mutex::default(), watch::Sender::default());
        Ok(Self(Arc::new(Inner { board, news, alerts, deliveries })))
    }

    /// Adds what is counted to a registry.
    ///
    /// # Errors
    /// If there is a metric of that name.
    pub fn register(&self, registry: &Registry) -> prometheus::Result<()> {
        registry.register(Box::new(self.0.alerts.clone()))?;
        registry.register(Box::new(self.0.deliveries.clone()))
    }

    /// Returns what is wrong.
    #[must_use]
    pub fn alerts(&self) -> Arc<BTreeMap<(Kind, String), Alert>> {
        Arc::clone(&self.0.news.borrow())
    }

    /// Says what is wrong of a kind, with what and how. What was and is not named is over.
    pub fn set(&self, kind: Kind, now: impl IntoIterator<Item = (String, String)>) {
        if self.board().set(kind, now.into_iter().collect(), SystemTime::now()) {
            self.publish();
        }
    }

    /// Says that something has happened. It is over when it has not happened for a while.
    pub fn happened(&self, kind: Kind, text: impl Into<String>) {
        if self.board().happened(kind, text.into(), SystemTime::now(), Instant::now()) {
            self.publish();
        }
    }

    fn publish(&self) {
        let alerts = self.board().alerts().clone();
        for kind in Kind::ALL {
            let count = alerts.keys().filter(|(other, _)| *other == kind).count();
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            self.0.alerts.with_label_values(&[kind.as_str()]).set(count);
        }
        self.0.news.send_replace(Arc::new(alerts));
    }

    /// Ends what has not happened for a while, for ever.
    async fn expire(&self) {
        let mut news = self.0.news.subscribe();
        loop {
            let next = self.board().expire(Instant::now());
            if next.ended {
                self.publish();
                continue;
            }
            match next.at {
                Some(at) => {
                    tokio::select! {
                        () = sleep_until(at.into()) => {}
                        _ = news.changed() => {}
                    }
                }
                None => _ = news.changed().await,
            }
        }
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        self.0.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells whoever the configuration names, until `stopped` changes.
pub(crate) fn spawn(
    settings: &l7::Notify,
    notifier: &Notifier,
    bulletin: &Bulletin,
    tasks: &mut JoinSet<()>,
    stopped: &watch::Receiver<()>,
) {
    let (this, bulletin, most, mut stop) =
        (notifier.clone(), bulletin.clone(), settings.bans_per_minute, stopped.clone());
    tasks.spawn(async move {
        tokio::select! {
            () = this.expire() => {}
            () = rate::watch(&this, &bulletin, most) => {}
            _ = stop.changed() => {}
        }
    });
    for target in Target::all(settings) {
        let (news, deliveries) = (notifier.0.news.subscribe(), notifier.0.deliveries.clone());
        let mut stop = stopped.clone();
        tasks.spawn(async move {
            tokio::select! {
                () = target.run(news, deliveries) => {}
                _ = stop.changed() => {}
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_over_is_gone_and_what_is_the_same_is_no_news() {
        let notifier = Notifier::new().unwrap();
        let mut news = notifier.0.news.subscribe();
        let held = |names: &[&str]| -> Vec<(String, String)> {
            names.iter().map(|name| ((*name).to_owned(), "held".to_owned())).collect()
        };
        notifier.set(Kind::FeedHeld, held(&[]));
        assert!(!news.has_changed().unwrap());
        notifier.set(Kind::FeedHeld, held(&["a", "b"]));
        assert_eq!(news.borrow_and_update().len(), 2);
        notifier.set(Kind::FeedHeld, held(&["a", "b"]));
        assert!(!news.has_changed().unwrap());
        notifier.set(Kind::FeedHeld, held(&["b"]));
        assert!(news.has_changed().unwrap());
        assert_eq!(news.borrow_and_update().len(), 1);
    }
}
