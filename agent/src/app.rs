//! The agent as a whole: builds the parts, and runs them until it is told to stop.
//!
//! One task owns the datapath and the feeds. It waits for a signal or a changed list, makes a policy
//! of what there is, and publishes it. Whatever goes wrong with that, the policy in force stays.

/// Where the agent finds and leaves things, and what it starts with.
mod places;
/// What the audit is told.
mod audit;
/// From configuration and lists to a policy.
mod build;
/// What the control API asks of the task that owns the datapath.
mod control;
/// Why the agent does not start.
mod error;
/// News of feeds.
mod feeds;
/// Which configuration is in force.
mod policy;
/// The configuration file, where its changes are taken up.
mod follow;
/// What somebody has changed behind the agent's back.
mod drift;
/// Interfaces that go and come back.
mod interfaces;
/// What is in force, for others: in the record, in metrics, for decisions about requests.
mod outlook;
/// Signals, and systemd.
mod signals;
/// How long the parts of a start take.
mod stopwatch;
/// The metrics page, and the reader of events.
mod tasks;

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32},
    },
    time::{Duration, Instant, SystemTime},
};

use sd_notify::NotifyState;
use tokio::{
    runtime,
    sync::{mpsc, watch},
    task,
    time::{MissedTickBehavior, interval, sleep_until, timeout},
};

use crate::{
    api::{Api, Desk, Job, PolicyDesk, PolicyJob, events::Source},
    audit::{Actor, Audit, What, feeds::FeedNotes},
    config::Config,
    confine::{self, Confinement, Reach},
    datapath::{self, Attached, Datapath, allocator, pins::Lock, watch::InterfaceWatch},
    digest::Digest,
    escalate::{self, Ladder},
    events::Events,
    feed::{
        Feed,
        engine::{Engine, Prepared},
        store::Store,
        watch::Watch,
    },
    naming::Naming,
    notify::Notifier,
    policy::{classes::Classes, generations::InForce, limits::LimitNumbers},
    proxy::{judge::Judge, lapi::Lapi, push::Reloader},
    record::Record,
    rules::{Bulletin, Rules},
    telemetry::metrics::{Metrics, View},
    versions::{By, Proposal, Versions},
};

use build::{Built, build, sizes};
use control::{Guard, SWEEP};
use drift::Patrol;
pub use error::AppError;
use error::system;
use feeds::files;
use follow::Followed;
use interfaces::Trouble;
use places::First;
pub use places::Places;
use signals::{Pulse, Signals, open_files, tell_systemd};
use stopwatch::Stopwatch;
use tasks::{Bound, serve_api};

/// Changes of lists that come within this time are one: writers touch a file more than once.
const SETTLE: Duration = Duration::from_millis(100);
/// How often interfaces are looked at, should the kernel not have told of a change.
const LOOK: Duration = Duration::from_secs(3);
/// How long a stop may take before what is left is abandoned.
const DRAIN: Duration = Duration::from_secs(5);

/// Runs the agent until SIGTERM or SIGINT. What the kernel enforces then stays in force.
///
/// # Errors
/// [`AppError`] where it cannot start.
pub fn run(places: Places) -> Result<(), AppError> {
    let mut stopwatch = Stopwatch::start();
    confine::begin();
    allocator::give_back_large_blocks();
    let proposal = Proposal::read(&places.config)?;
    let versions = Versions::open(&places.state);
    let signed = policy::permit(&places, &proposal, &versions, false)?;
    let config = &proposal.config;
    open_files();
    places.pins.create()?;
    let lock = places.pins.lock()?;
    // While there is one thread, and this is the only agent.
    let bound = Bound::new(&places, config)?;
    let reloader = Reloader::start(&config.l7.push).map_err(system("start what reloads nginx"))?;
    datapath::look_around(&config.interfaces);
    let mut reach = Reach::new(&places, config);
    let confinement = confine::confine(&mut reach);
    stopwatch.lap("configuration");
    let first = First { proposal, versions, signed, reloader, reach, confinement, stopwatch };
    let runtime = runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(system("start the runtime"))?;
    let result = runtime.block_on(App::run(places, first, lock, bound));
    // What still blocks (a page in the making) must not keep the process.
    runtime.shutdown_timeout(DRAIN);
    result
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
    /// Somebody wants another policy.
    policies: mpsc::Receiver<PolicyJob>,
}

struct App {
    places: Places,
    config: Config,
    /// Of its text.
    digest: Digest,
    versions: Versions,
    followed: Option<Followed>,
    feeds: Vec<Feed>,
    engine: Engine,
    watch: Watch,
    classes: Classes,
    numbers: LimitNumbers,
    datapath: Datapath,
    in_force: Option<InForce>,
    interfaces: Vec<Attached>,
    trouble: Trouble,
    /// The record cannot be written, which was told.
    record_fails: AtomicBool,
    rules: Rules,
    /// The last attempt to write them has failed.
    rules_unsaved: bool,
    guard: Option<Guard>,
    patrol: Patrol,
    bulletin: Bulletin,
    /// Decides about requests, once there is something to decide by.
    judge: Option<Judge>,
    notifier: Notifier,
    /// The last sampled packets, and who watches.
    events: Events,
    /// Events that a CPU may send in a second while nobody does.
    event_budget: Arc<AtomicU32>,
    audit: Audit,
    /// What sources are called in logs, audit and events.
    naming: Arc<Naming>,
    feed_notes: FeedNotes,
    reloader: Option<Reloader>,
    /// What a configuration can name.
    reach: Reach,
    confinement: Confinement,
}

impl App {
    async fn run(
        places: Places,
        first: First,
        lock: Lock,
        Bound { socket, sockets, listeners, tls }: Bound,
    ) -> Result<(), AppError> {
        // Before anything in the kernel is touched: what can fail for lack of a handle.
        let signals = Signals::new().map_err(system("listen for signals"))?;
        let interfaces = InterfaceWatch::new().map_err(system("watch interfaces"))?;
        let (watch, changes) =
            Watch::new().map_err(|error| system("watch lists")(io::Error::other(error.to_string())))?;
        let (engine, updates) = Engine::new(Store::new(&places.state));
        let handle = engine.handle();
        let notifier = Notifier::new().map_err(AppError::Metrics)?;
        let (audit, entries) = Audit::new().map_err(AppError::Metrics)?;
        let told = (notifier.clone(), audit.clone());
        let (mut app, view) = task::block_in_place(|| Self::start(places, first, lock, watch, engine, told))?;
        let (ladder, due) = Ladder::new(&app.config.l7.escalation, notifier).map_err(AppError::Metrics)?;
        let judge = Judge::new(&app.config, app.world(&view.record), ladder.clone(), audit)
            .map_err(AppError::Metrics)?;
        let l7 = judge.counts().registry.clone();
        let metrics = Arc::new(Metrics::new(app.datapath.counters()?, view, l7));
        app.judge = Some(judge.clone());
        app.rules_changed(&metrics);
        let (stop, stopped) = watch::channel(());
        let (desk, jobs) = Desk::new();
        let (policy_desk, policies) = PolicyDesk::new(&app.places.state);
        let desk_of_ladder = desk.clone();
        let mut tasks = app.spawn(&metrics, listeners, ladder.clone(), stopped.clone())?;
        app.keep_audit(entries, (&judge, &metrics.view().record), &mut tasks, &stopped)?;
        let api = Api {
            desk,
            policies: policy_desk,
            feeds: handle,
            ladder: ladder.clone(),
            events: Source {
                events: app.events.clone(),
                metrics: Arc::clone(&metrics),
                naming: Arc::clone(&app.naming),
                stopped: stopped.clone(),
            },
            audit: app.audit.clone(),
            pins: app.places.pins.clone(),
            state: app.places.state.clone(),
        };
        serve_api(&api, (socket, tls), &mut tasks, &stopped);
        let bulletin = app.bulletin.clone();
        let lapi = Lapi::new(&app.config.l7.bouncers, &bulletin, &judge).map_err(AppError::Metrics)?;
        sockets.serve(&judge, &lapi, &mut tasks, &stopped);
        app.pass_on(&desk_of_ladder, &judge, &mut tasks, &stopped)?;
        let (escalating, mut stop_both) =
            (escalate::run(ladder, due, desk_of_ladder, Arc::clone(&app.naming)), stopped.clone());
        tasks.spawn(async move {
            tokio::select! {
                () = judge.follow(&bulletin) => {}
                () = escalating => {}
                _ = stop_both.changed() => {}
            }
        });
        tell_systemd(&[NotifyState::Ready]);
        app.serve(&metrics, signals, News { changes, updates, interfaces, jobs, policies }).await;
        tell_systemd(&[NotifyState::Stopping]);
        app.audit.note(Actor::Agent, What::Stopped);
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
        First { proposal, versions, signed, reloader, reach, confinement, mut stopwatch }: First,
        lock: Lock,
        mut watch: Watch,
        mut engine: Engine,
        (notifier, audit): (Notifier, Audit),
    ) -> Result<(Self, View), AppError> {
        let (config, digest) = (proposal.config.clone(), proposal.digest);
        let naming = Arc::new(Naming::ready(config.audit.addresses, &places.state));
        let record = Record::load(&places.state);
        let known = record.is_some();
        let (specs, mut numbers) = record.map(|r| (r.classes, r.limit_numbers)).unwrap_or_default();
        let mut classes = Classes::from_specs(specs);
        // Before they are read: a change in between is seen.
        let followed = places.watch.then(|| Followed::new(places.config.clone()));
        watch.set(files(&config, followed.as_ref()));
        let runtime = runtime::Handle::current();
        let Prepared { feeds, workers } = runtime.block_on(engine.prepare(&config.feeds, &[]));
        runtime.block_on(engine.run(&config.feeds, &policy::remembered(&versions, digest), workers));
        stopwatch.lap("lists");
        let building = Instant::now();
        let built = build(&config, &feeds, None, &mut classes, &mut numbers)?;
        let built_in = building.elapsed();
        stopwatch.lap("merge");
        let sizes = sizes(&config, built.demand);
        let event_budget = Arc::new(AtomicU32::new(config.events_per_second));
        let datapath = Datapath::open(&places.pins, lock, sizes, config.events_per_second)?;
        // Before anything is attached: no packet gets past a ban of before.
        let rules = Rules::restore(&places.state, datapath.memory(), SystemTime::now());
        stopwatch.lap("load");
        let mut app = Self {
            places,
            config,
            digest,
            versions,
            followed,
            feeds,
            engine,
            watch,
            classes,
            numbers,
            datapath,
            in_force: None,
            interfaces: Vec::new(),
            trouble: Trouble::default(),
            record_fails: AtomicBool::new(false),
            rules,
            rules_unsaved: false,
            guard: None,
            patrol: Patrol::default(),
            bulletin: Bulletin::default(),
            judge: None,
            notifier,
            events: Events::starting_at(SystemTime::now()),
            event_budget,
            audit,
            naming,
            feed_notes: FeedNotes::default(),
            reloader,
            reach,
            confinement,
        };
        if !known {
            // Numbers of an agent before are not known, so its counts cannot be attributed.
            app.datapath.counters()?.reset_classes()?;
        }
        let publishing = Instant::now();
        let (publication, way) = app.datapath.publish(&built.next(&app.classes))?;
        let took = built_in + publishing.elapsed();
        stopwatch.lap("publish");
        let interfaces = app.datapath.attach(&app.config.interfaces)?;
        stopwatch.lap("attach");
        let seconds = stopwatch.elapsed().as_secs_f64();
        tracing::info!(seconds, milliseconds = %stopwatch, "enforcing");
        app.attached(interfaces);
        let view = app.view(&built, publication, took);
        app.in_force = Some(built.published(publication));
        app.report(&view, app.datapath.adopted(), way);
        app.tell_of_trouble();
        app.started(&proposal, signed);
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
        let (mut watched, mut pulse) = (self.events.watched(), Pulse::new());
        // Whoever has watched since the socket is served is not missed.
        self.set_event_budget();
        // Where counts begin: nothing of what is to come has been dropped yet.
        self.tell_usage(metrics);
        loop {
            tokio::select! {
                _ = signals.terminate.recv() => return,
                _ = signals.interrupt.recv() => return,
                _ = signals.reload.recv() => {
                    task::block_in_place(|| self.reload(metrics, By::signal(), Actor::Signal("SIGHUP")));
                }
                Some(job) = news.policies.recv() => task::block_in_place(|| self.change_policy(metrics, job)),
                Some(job) = news.jobs.recv() => task::block_in_place(|| self.answer(metrics, job, &mut news.jobs)),
                _ = sweep.tick(), if self.rules.need_care() => task::block_in_place(|| self.sweep(metrics)),
                // A time to come, no pause: a ban does not wait until lists have settled.
                Some(()) = news.changes.recv(), if settled.is_none() => settled = Some(Instant::now() + SETTLE),
                () = sleep_until(settled.unwrap_or_else(Instant::now).into()), if settled.is_some() => {
                    settled = None;
                    // Only then: what arrived meanwhile is read as well.
                    _ = news.changes.try_recv();
                    task::block_in_place(|| self.follow(metrics));
                    self.engine.files_changed();
                }
                Some(feed) = news.updates.recv() => {
                    task::block_in_place(|| self.take(metrics, feed, &mut news.updates));
                }
                Ok(()) = watched.changed() => self.set_event_budget(),
                () = pulse.due() => Pulse::tell(),
                () = sleep_until(self.patrol.next.into()) => task::block_in_place(|| self.patrol(metrics)),
                () = news.interfaces.changed() => task::block_in_place(|| self.mend(metrics)),
                _ = look.tick() => task::block_in_place(|| {
                    self.mend(metrics);
                    self.tell_usage(metrics);
                    self.tell_audit_of_streams();
                }),
            }
        }
    }
}
