//! The agent as a whole: builds the parts, and runs them until it is told to stop.
//!
//! One task owns the datapath and the feeds. It waits for a signal or a changed list, makes a policy
//! of what there is, and publishes it. Whatever goes wrong with that, the policy in force stays.

/// From configuration and lists to a policy.
mod build;
/// What the control API asks of the task that owns the datapath.
mod control;
/// Why the agent does not start.
mod error;
/// News of feeds.
mod feeds;
/// Interfaces that go and come back.
mod interfaces;
/// What is in force, for others: in the record, in metrics, for decisions about requests.
mod outlook;
/// Signals, and systemd.
mod signals;
/// The metrics page, and the reader of events.
mod tasks;

use std::{
    io,
    path::PathBuf,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant, SystemTime},
};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use sd_notify::NotifyState;
use tokio::{
    net::TcpListener,
    runtime,
    sync::{mpsc, watch},
    task,
    time::{MissedTickBehavior, interval, sleep_until, timeout},
};

use crate::{
    api::{Desk, Job, socket::Socket},
    config::Config,
    datapath::{Attached, Datapath, Pins, allocator, pins::Lock, watch::InterfaceWatch},
    escalate::{self, Ladder},
    feed::{
        Feed,
        engine::{Engine, Prepared},
        store::Store,
        watch::Watch,
    },
    notify::{Kind, Notifier},
    policy::{
        classes::Classes,
        generations::{InForce, Way},
        limits::LimitNumbers,
    },
    proxy::{Sockets, judge::Judge, lapi::Lapi},
    record::Record,
    rules::{Bulletin, Rules},
    telemetry::metrics::{Metrics, View},
};

use build::{Built, build, sizes};
use control::{Guard, SWEEP};
pub use error::AppError;
use error::system;
use feeds::files;
use interfaces::Trouble;
use signals::{Signals, tell_systemd};

/// Changes of lists that come within this time are one: writers touch a file more than once.
const SETTLE: Duration = Duration::from_millis(100);
/// How often interfaces are looked at, should the kernel not have told of a change.
const LOOK: Duration = Duration::from_secs(3);
/// How long a stop may take before what is left is abandoned.
const DRAIN: Duration = Duration::from_secs(5);

/// Where the agent finds and leaves things.
#[derive(Clone, Debug)]
pub struct Places {
    /// The configuration file.
    pub config: PathBuf,
    /// The pins.
    pub pins: Pins,
    /// The state directory.
    pub state: PathBuf,
    /// The control socket, where it is not that of the configuration.
    pub socket: Option<PathBuf>,
}

/// Runs the agent until SIGTERM or SIGINT. What the kernel enforces then stays in force.
///
/// # Errors
/// [`AppError`] where it cannot start.
pub fn run(places: Places) -> Result<(), AppError> {
    allocator::give_back_large_blocks();
    let config = Config::load(&places.config)?;
    open_files();
    places.pins.create()?;
    let lock = places.pins.lock()?;
    // While there is one thread, and this is the only agent.
    let path = places.socket.as_ref().unwrap_or(&config.listen.control);
    let socket = Socket::bind(path).map_err(|error| AppError::Control { path: path.clone(), error })?;
    let sockets = Sockets::bind(&config.l7.listen).map_err(AppError::Proxy)?;
    let runtime = runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(system("start the runtime"))?;
    let result = runtime.block_on(App::run(places, config, lock, socket, sockets));
    // What still blocks (a page in the making) must not keep the process.
    runtime.shutdown_timeout(DRAIN);
    result
}

/// Takes as many open files as are allowed. Service managers start with 1024 for the sake of select(2);
/// then a crowd on one socket for proxies would leave none for the others.
fn open_files() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, most)| setrlimit(Resource::RLIMIT_NOFILE, most, most));
    if let Err(error) = raised {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
}

/// What the agent waits for, besides signals and time.
struct News {
    /// Something changed where lists lie.
    changes: mpsc::Receiver<()>,
    /// A feed has been at work.
    updates: mpsc::Receiver<Feed>,
    /// An interface came or went.
    interfaces: InterfaceWatch,
    /// Somebody asks for something.
    jobs: mpsc::Receiver<Job>,
}

struct App {
    places: Places,
    config: Config,
    feeds: Vec<Feed>,
    engine: Engine,
    watch: Watch,
    classes: Classes,
    numbers: LimitNumbers,
    datapath: Datapath,
    in_force: Option<InForce>,
    interfaces: Vec<Attached>,
    trouble: Trouble,
    rules: Rules,
    /// The last attempt to write them has failed.
    rules_unsaved: bool,
    guard: Option<Guard>,
    bulletin: Bulletin,
    /// Decides about requests, once there is something to decide by.
    judge: Option<Judge>,
    notifier: Notifier,
}

impl App {
    async fn run(
        places: Places,
        config: Config,
        lock: Lock,
        socket: Socket,
        sockets: Sockets,
    ) -> Result<(), AppError> {
        // Before anything in the kernel is touched: what can fail for lack of a port or a handle.
        let address = config.listen.metrics;
        let listener =
            TcpListener::bind(address).await.map_err(|error| AppError::Listen { address, error })?;
        let signals = Signals::new().map_err(system("listen for signals"))?;
        let interfaces = InterfaceWatch::new().map_err(system("watch interfaces"))?;
        let (watch, changes) =
            Watch::new().map_err(|error| system("watch lists")(io::Error::other(error.to_string())))?;
        let (engine, updates) = Engine::new(Store::new(&places.state));
        let handle = engine.handle();
        let notifier = Notifier::new().map_err(AppError::Metrics)?;
        let (mut app, view) =
            task::block_in_place(|| Self::start(places, config, lock, watch, engine, notifier.clone()))?;
        let (ladder, due) = Ladder::new(&app.config.l7.escalation, notifier).map_err(AppError::Metrics)?;
        let judge =
            Judge::new(&app.config, app.world(&view.record), ladder.clone()).map_err(AppError::Metrics)?;
        let l7 = judge.counts().registry.clone();
        let metrics = Arc::new(Metrics::new(app.datapath.counters()?, view, l7));
        app.judge = Some(judge.clone());
        app.rules_changed(&metrics);
        let (stop, stopped) = watch::channel(());
        let (desk, jobs) = Desk::new();
        let desk_of_ladder = desk.clone();
        let mut tasks = app.spawn(&metrics, listener, ladder.clone(), stopped.clone())?;
        let (stop_serving, asked) = (stopped.clone(), (handle, ladder.clone()));
        tasks.spawn(async move {
            if let Err(error) = socket.serve(desk, asked, stop_serving).await {
                tracing::error!(%error, "the control socket ended");
            }
        });
        let bulletin = app.bulletin.clone();
        let lapi = Lapi::new(&app.config.l7.bouncers, &bulletin, &judge).map_err(AppError::Metrics)?;
        sockets.serve(&judge, &lapi, &mut tasks, &stopped);
        app.pass_on(&desk_of_ladder, &judge, &mut tasks, &stopped)?;
        let (escalating, mut stop_both) = (escalate::run(ladder, due, desk_of_ladder), stopped.clone());
        tasks.spawn(async move {
            tokio::select! {
                () = judge.follow(&bulletin) => {}
                () = escalating => {}
                _ = stop_both.changed() => {}
            }
        });
        tell_systemd(&[NotifyState::Ready]);
        app.serve(&metrics, signals, News { changes, updates, interfaces, jobs }).await;
        tell_systemd(&[NotifyState::Stopping]);
        drop(stop);
        if timeout(DRAIN, async { while tasks.join_next().await.is_some() {} }).await.is_err() {
            tracing::warn!("tasks did not end in time");
        }
        tracing::info!("stopped; the kernel keeps enforcing until `weir unload`");
        Ok(())
    }

    /// From configuration to enforcement.
    fn start(
        places: Places,
        config: Config,
        lock: Lock,
        mut watch: Watch,
        mut engine: Engine,
        notifier: Notifier,
    ) -> Result<(Self, View), AppError> {
        let record = Record::load(&places.state);
        let known = record.is_some();
        let (specs, mut numbers) = record.map(|r| (r.classes, r.limit_numbers)).unwrap_or_default();
        let mut classes = Classes::from_specs(specs);
        // Before they are read: a change in between is seen.
        watch.set(files(&config));
        let runtime = runtime::Handle::current();
        let Prepared { feeds, workers } = runtime.block_on(engine.prepare(&config.feeds, &[]));
        runtime.block_on(engine.run(&config.feeds, workers));
        let building = Instant::now();
        let built = build(&config, &feeds, None, &mut classes, &mut numbers)?;
        let built_in = building.elapsed();
        let sizes = sizes(&config, built.demand);
        let datapath = Datapath::open(&places.pins, lock, sizes, config.events_per_second)?;
        // Before anything is attached: no packet gets past a ban of before.
        let rules = Rules::restore(&places.state, datapath.memory(), SystemTime::now());
        let mut app = Self {
            places,
            config,
            feeds,
            engine,
            watch,
            classes,
            numbers,
            datapath,
            in_force: None,
            interfaces: Vec::new(),
            trouble: Trouble::default(),
            rules,
            rules_unsaved: false,
            guard: None,
            bulletin: Bulletin::default(),
            judge: None,
            notifier,
        };
        if !known {
            // Numbers of an agent before are not known, so its counts cannot be attributed.
            app.datapath.counters()?.reset_classes()?;
        }
        let publishing = Instant::now();
        let (publication, way) = app.datapath.publish(&built.next(&app.classes))?;
        let took = built_in + publishing.elapsed();
        app.interfaces = app.datapath.attach(&app.config.interfaces)?;
        app.interfaces.iter().for_each(interfaces::tell);
        let view = app.view(&built, publication, took);
        app.in_force = Some(built.published(publication));
        app.report(&view, app.datapath.adopted(), way);
        app.tell_of_trouble();
        Ok((app, view))
    }

    /// Waits for what changes the policy, until told to stop.
    async fn serve(&mut self, metrics: &Metrics, mut signals: Signals, mut news: News) {
        let mut settled = None;
        let ticks = |period| {
            let mut ticks = interval(period);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        };
        let (mut look, mut sweep) = (ticks(LOOK), ticks(SWEEP));
        // Where counts begin: nothing of what is to come has been dropped yet.
        self.tell_usage(metrics);
        loop {
            tokio::select! {
                _ = signals.terminate.recv() => return,
                _ = signals.interrupt.recv() => return,
                _ = signals.reload.recv() => {
                    tell_systemd(&[NotifyState::Reloading]);
                    task::block_in_place(|| self.reload(metrics));
                    tell_systemd(&[NotifyState::Ready]);
                }
                Some(job) = news.jobs.recv() => task::block_in_place(|| self.answer(metrics, job, &mut news.jobs)),
                _ = sweep.tick(), if self.rules.need_care() => task::block_in_place(|| self.sweep(metrics)),
                // A time to come, no pause: a ban does not wait until lists have settled.
                Some(()) = news.changes.recv(), if settled.is_none() => settled = Some(Instant::now() + SETTLE),
                () = sleep_until(settled.unwrap_or_else(Instant::now).into()), if settled.is_some() => {
                    settled = None;
                    // Only then: what arrived meanwhile is read as well.
                    _ = news.changes.try_recv();
                    self.engine.files_changed();
                }
                Some(feed) = news.updates.recv() => {
                    task::block_in_place(|| self.take(metrics, feed, &mut news.updates));
                }
                () = news.interfaces.changed() => task::block_in_place(|| self.mend(metrics)),
                _ = look.tick() => task::block_in_place(|| {
                    self.mend(metrics);
                    self.tell_usage(metrics);
                }),
            }
        }
    }

    /// Reads the configuration anew, and all lists with it.
    fn reload(&mut self, metrics: &Metrics) {
        let config = match Config::load(&self.places.config) {
            Ok(config) => config,
            Err(error) => {
                self.reloaded(metrics, false);
                tracing::error!("configuration refused, the one in force stays:\n{error}");
                return;
            }
        };
        if config.at_start() != self.config.at_start() {
            tracing::warn!(
                "listen, tables and l7.listen, bouncers, push, fleet and notify take effect at a start"
            );
        }
        let runtime = runtime::Handle::current();
        let prepared = runtime.block_on(self.engine.prepare(&config.feeds, &self.feeds));
        let (old_config, old_feeds) =
            (std::mem::replace(&mut self.config, config), std::mem::replace(&mut self.feeds, prepared.feeds));
        if self.put_in_force(metrics, true) {
            self.reloaded(metrics, true);
            self.watch.set(files(&self.config));
            runtime.block_on(self.engine.run(&self.config.feeds, prepared.workers));
        } else {
            self.reloaded(metrics, false);
            (self.config, self.feeds) = (old_config, old_feeds);
            // It may have come as far as to change some of the interfaces.
            self.attach_as_before(metrics);
        }
    }

    fn reloaded(&self, metrics: &Metrics, taken: bool) {
        let count = if taken { &metrics.reloads_ok } else { &metrics.reloads_refused };
        count.fetch_add(1, Relaxed);
        let text = "the configuration was refused, the one before is in force; `weir check` says why";
        let refused = (!taken).then(|| (String::new(), text.to_owned()));
        self.notifier.set(Kind::ConfigurationRefused, refused);
    }

    /// Makes a policy of what there is and puts it in force. Where that fails the old one stays.
    fn put_in_force(&mut self, metrics: &Metrics, attach: bool) -> bool {
        let started = Instant::now();
        match self.try_put_in_force(started, attach) {
            Ok((view, way)) => {
                self.report(&view, false, way);
                if let Some(judge) = &self.judge {
                    judge.set(&self.config, self.world(&view.record));
                }
                metrics.set(view);
                self.tell_of_trouble();
                true
            }
            Err(error) => {
                tracing::error!(%error, "policy refused, the one in force stays");
                false
            }
        }
    }

    fn try_put_in_force(&mut self, started: Instant, attach: bool) -> Result<(View, Way), AppError> {
        let mut numbers = self.numbers.clone();
        let in_force = self.in_force.as_ref();
        let built = build(&self.config, &self.feeds, in_force, &mut self.classes, &mut numbers)?;
        if attach {
            self.interfaces = self.datapath.attach(&self.config.interfaces)?;
            self.datapath.set_events_per_second(self.config.events_per_second);
        }
        let (publication, way) = self.datapath.publish(&built.next(&self.classes))?;
        self.rules.reconcile(self.datapath.memory());
        self.numbers = numbers;
        self.guard = None;
        let view = self.view(&built, publication, started.elapsed());
        self.in_force = Some(built.published(publication));
        Ok((view, way))
    }
}
