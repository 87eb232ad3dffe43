//! News of feeds.

use std::{iter, path::Path, sync::Arc, time::Instant};

use tokio::sync::mpsc;
use weir_common::counter::Counter;

use super::{App, follow::Followed};
use crate::{
    audit::Actor,
    config::{self, Config},
    datapath::DatapathError,
    feed::{Feed, source::crowdsec::Totals},
    record::FeedRecord,
    telemetry::metrics::Metrics,
};

/// Returns where lists lie, and the configuration where it is followed.
pub(super) fn files<'a>(
    config: &'a Config,
    followed: Option<&'a Followed>,
) -> impl Iterator<Item = &'a Path> {
    let lists = config.feeds.iter().filter_map(|feed| {
        let config::Source::File(path) = &feed.source else { return None };
        Some(path.as_path())
    });
    lists.chain(followed.map(|followed| followed.path.as_path()))
}

impl App {
    /// Tells sources that want to know what has become of packets of their entries.
    pub(super) fn tell_usage(&self, metrics: &Metrics) {
        let mut usages = self.engine.usages().peekable();
        if usages.peek().is_none() {
            return;
        }
        let tell = || -> Result<(), DatapathError> {
            let processed = metrics.processed()?;
            for (name, usage) in usages {
                let Counter { packets, bytes } = metrics.dropped(name)?;
                usage.set(Totals { packets, bytes, processed });
            }
            Ok(())
        };
        if let Err(error) = tell() {
            tracing::debug!(%error, "cannot tell sources what is dropped");
        }
    }

    /// Takes the news of a feed, and of those that wait behind it.
    pub(super) fn take(&mut self, metrics: &Metrics, first: Feed, updates: &mut mpsc::Receiver<Feed>) {
        let mut changed = false;
        let waiting = iter::from_fn(|| updates.try_recv().ok());
        for news in iter::once(first).chain(waiting) {
            let same = |feed: &&mut Feed| Arc::ptr_eq(&feed.config, &news.config);
            // One that is not there any more may have had something to say yet.
            if let Some(feed) = self.feeds.iter_mut().find(same) {
                changed |= feed.listing != news.listing;
                self.feed_notes.take(&self.audit, feed, &news, Instant::now());
                *feed = news;
            }
        }
        if changed {
            if let Err(error) = self.put_in_force(metrics, false) {
                tracing::error!(%error, "policy refused, the one in force stays");
                self.policy_refused(Actor::Agent, error.to_string());
            }
        } else {
            // A refusal, or a success, is news as well.
            let mut view = metrics.view();
            view.record.feeds = self.feeds.iter().map(FeedRecord::from).collect();
            self.store(&view.record);
            metrics.set(view);
            self.tell_of_trouble();
        }
    }
}
