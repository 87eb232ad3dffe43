//! What runs beside the one task that owns the datapath.

use std::{
    io,
    net::{SocketAddr, TcpListener as StdListener},
    sync::{Arc, atomic::Ordering::Relaxed},
};

use tokio::{net::TcpListener, sync::watch, task::JoinSet};
use weir_common::event::Event;

use super::{App, AppError, Places, error::system};
use crate::{
    api::{Api, Desk, socket::Socket, tls::Tls},
    config::{Config, Listen},
    escalate::Ladder,
    events::Ration,
    notify,
    proxy::{Sockets, fleet, judge::Judge, push},
    telemetry::{
        self,
        metrics::Metrics,
        page::{self, Facts},
        server::{self, Pages},
    },
};

/// Starts the control API, on its socket and where it is wanted over TCP.
pub(super) fn serve_api(
    api: &Api,
    (socket, tls): (Socket, Option<Tls>),
    tasks: &mut JoinSet<()>,
    stopped: &watch::Receiver<()>,
) {
    let router = api.router();
    if let Some(tls) = tls {
        tracing::info!(address = %tls.address(), "the control API is served over TLS");
        let serving = tls.serve(router.clone(), stopped.clone());
        tasks.spawn(async move {
            if let Err(error) = serving.await {
                tracing::error!(%error, "listen.control_tls is no longer served");
            }
        });
    }
    let serving = socket.serve(router, stopped.clone());
    tasks.spawn(async move {
        if let Err(error) = serving.await {
            tracing::error!(%error, "the control socket ended");
        }
    });
}

/// Everything that is listened on: bound before anything in the kernel is touched, since there may be no
/// port, and before the agent gives up listening on others.
pub(super) struct Bound {
    pub(super) socket: Socket,
    pub(super) sockets: Sockets,
    pub(super) listeners: Listeners,
    pub(super) tls: Option<Tls>,
}

impl Bound {
    pub(super) fn new(places: &Places, config: &Config) -> Result<Self, AppError> {
        let path = places.socket.as_ref().unwrap_or(&config.listen.control);
        let socket = Socket::bind(path).map_err(|error| AppError::Control { path: path.clone(), error })?;
        let sockets = Sockets::bind(&config.l7.listen).map_err(AppError::Proxy)?;
        let listeners = Listeners::bind(&config.listen)?;
        let tls = config.listen.control_tls.as_ref().map(Tls::bind).transpose();
        Ok(Self { socket, sockets, listeners, tls: tls.map_err(AppError::ControlTls)? })
    }
}

/// Where pages are served.
pub(super) struct Listeners {
    metrics: StdListener,
    status: Option<StdListener>,
}

impl Listeners {
    pub(super) fn bind(listen: &Listen) -> Result<Self, AppError> {
        let metrics = bind("metrics", listen.metrics)?;
        let status = listen.status.map(|address| bind("status", address)).transpose()?;
        Ok(Self { metrics, status })
    }
}

fn bind(field: &'static str, address: SocketAddr) -> Result<StdListener, AppError> {
    let bind = || -> io::Result<StdListener> {
        let listener = StdListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    bind().map_err(|error| AppError::Listen { field, address, error })
}

impl App {
    /// Starts the pages and the reader of events; all end when `stopped` changes.
    pub(super) fn spawn(
        &self,
        metrics: &Arc<Metrics>,
        listeners: Listeners,
        ladder: Ladder,
        mut stopped: watch::Receiver<()>,
    ) -> Result<JoinSet<()>, AppError> {
        let mut tasks = JoinSet::new();
        let pages = Pages { metrics: Arc::clone(metrics), pins: self.places.pins.clone() };
        let mut stop_server = stopped.clone();
        let listen = |listener| TcpListener::from_std(listener).map_err(system("listen for pages"));
        let listener = listen(listeners.metrics)?;
        tasks.spawn(async move {
            let stop = async move { _ = stop_server.changed().await };
            if let Err(error) = server::serve(listener, pages, stop).await {
                tracing::error!(%error, "the metrics listener ended");
            }
        });
        if let Some(listener) = listeners.status {
            let facts = Facts {
                metrics: Arc::clone(metrics),
                pins: self.places.pins.clone(),
                state: self.places.state.clone(),
                bulletin: self.bulletin.clone(),
                notifier: self.notifier.clone(),
                ladder: ladder.clone(),
                events: self.events.clone(),
                naming: Arc::clone(&self.naming),
            };
            tasks.spawn(page::serve(listen(listener)?, facts, stopped.clone()));
        }
        let events = self.datapath.events()?;
        let (counter, keeper, naming) = (Arc::clone(metrics), self.events.clone(), Arc::clone(&self.naming));
        let (mut ration, configured, cpus) = (Ration::default(), Arc::clone(&self.event_budget), cpus());
        tasks.spawn(async move {
            let take = |event: Event| {
                counter.events.fetch_add(1, Relaxed);
                telemetry::packet(&event, &naming);
                keeper.push(event);
                if ration.admits(&event, configured.load(Relaxed), cpus) {
                    ladder.packet(&event);
                }
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

    /// Has the kernel tell of as many packets as the configuration says, or of more while somebody watches.
    pub(super) fn set_event_budget(&mut self) {
        self.event_budget.store(self.config.events_per_second, Relaxed);
        self.datapath.set_events_per_second(self.events.budget(self.config.events_per_second));
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
        let reloader = self.reloader.as_ref();
        push::spawn(&l7.push, reloader, &self.bulletin, judge, tasks, stopped).map_err(AppError::Metrics)?;
        self.notifier.register(registry).map_err(AppError::Metrics)?;
        notify::spawn(&l7.notify, &self.notifier, &self.bulletin, tasks, stopped);
        if let Some(settings) = &l7.fleet {
            let (book, state) = ((desk.clone(), self.bulletin.clone()), self.places.state.clone());
            fleet::spawn(settings, (state, Arc::clone(&self.naming)), book, registry, tasks, stopped)
                .map_err(AppError::Metrics)?;
        }
        Ok(())
    }
}

/// Returns on how many CPUs packets may be judged, as far as that is known.
fn cpus() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
