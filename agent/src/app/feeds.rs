//! News of feeds.

use std::{iter, path::Path, sync::Arc};

use tokio::sync::mpsc;

use super::App;
use crate::{
    config::{self, Config},
    feed::Feed,
    record::FeedRecord,
    telemetry::metrics::Metrics,
};

/// Returns where lists lie.
pub(super) fn files(config: &Config) -> impl Iterator<Item = &Path> {
    config.feeds.iter().filter_map(|feed| {
        let config::Source::File(path) = &feed.source else { return None };
        Some(path.as_path())
    })
}

impl App {
    /// Takes the news of a feed, and of those that wait behind it.
    pub(super) fn take(&mut self, metrics: &Metrics, first: Feed, updates: &mut mpsc::Receiver<Feed>) {
        let mut changed = false;
        let waiting = iter::from_fn(|| updates.try_recv().ok());
        for news in iter::once(first).chain(waiting) {
            let same = |feed: &&mut Feed| Arc::ptr_eq(&feed.config, &news.config);
            // One that is not there any more may have had something to say yet.
            if let Some(feed) = self.feeds.iter_mut().find(same) {
                changed |= feed.listing != news.listing;
                *feed = news;
            }
        }
        if changed {
            self.put_in_force(metrics, false);
        } else {
            // A refusal, or a success, is news as well.
            let mut view = metrics.view();
            view.record.feeds = self.feeds.iter().map(FeedRecord::from).collect();
            self.store(&view.record);
            metrics.set(view);
        }
    }
}
