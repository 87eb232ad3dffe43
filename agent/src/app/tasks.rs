//! What runs beside the one task that owns the datapath.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use tokio::{net::TcpListener, sync::watch, task::JoinSet};
use weir_common::event::Event;

use super::{App, AppError};
use crate::{
    escalate::Ladder,
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
}
