//! What runs beside the one task that owns the datapath.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use tokio::{net::TcpListener, sync::watch, task::JoinSet};
use weir_common::event::Event;

use super::{App, AppError};
use crate::{
    api::Desk,
    escalate::Ladder,
    notify,
    proxy::{fleet, judge::Judge, push},
    telemetry::{
        self,
        metrics::Metrics,
        server::{self, Pages},
    },
};

impl App {
    /// Starts the metrics page and the reader of events; both end when `stopped` changes.
    pub(super) fn spawn(
        &self,
        metrics: &Arc<Metrics>,
        listener: TcpListener,
        ladder: Ladder,
        mut stopped: watch::Receiver<()>,
    ) -> Result<JoinSet<()>, AppError> {
        let mut tasks = JoinSet::new();
        let pages = Pages { metrics: Arc::clone(metrics), pins: self.places.pins.clone() };
        let mut stop_server = stopped.clone();
        tasks.spawn(async move {
            let stop = async move { _ = stop_server.changed().await };
            if let Err(error) = server::serve(listener, pages, stop).await {
                tracing::error!(%error, "the metrics listener ended");
            }
        });
        let events = self.datapath.events()?;
        let counter = Arc::clone(metrics);
        tasks.spawn(async move {
            let take = |event: Event| {
                counter.events.fetch_add(1, Relaxed);
                telemetry::packet(&event);
                ladder.packet(&event);
            };
            tokio::select! {
                result = events.run(take) => {
                    if let Err(error) = result {
                        tracing::error!(%error, "the event reader ended");
                    }
                }
                _ = stopped.changed() => {}
            }
        });
        Ok(tasks)
    }

    /// Starts what passes on bans to proxies and other gateways, and news to whoever is to be told.
    pub(super) fn pass_on(
        &self,
        desk: &Desk,
        judge: &Judge,
        tasks: &mut JoinSet<()>,
        stopped: &watch::Receiver<()>,
    ) -> Result<(), AppError> {
        let (l7, registry) = (&self.config.l7, &judge.counts().registry);
        push::spawn(&l7.push, &self.bulletin, judge, tasks, stopped).map_err(AppError::Metrics)?;
        self.notifier.register(registry).map_err(AppError::Metrics)?;
        notify::spawn(&l7.notify, &self.notifier, &self.bulletin, tasks, stopped);
        if let Some(settings) = &l7.fleet {
            let (book, state) = ((desk.clone(), self.bulletin.clone()), self.places.state.clone());
            fleet::spawn(settings, state, book, registry, tasks, stopped).map_err(AppError::Metrics)?;
        }
        Ok(())
    }
}
