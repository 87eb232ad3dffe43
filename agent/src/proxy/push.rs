//! Proxies that decide by themselves, and others who are told of bans: each target has a task that
//! follows the bulletin at its own pace, and none of them holds up another, or a packet.
//!
//! A target is given all bans in force, as one set that takes the place of the one before. So nothing
//! waits in a queue: whoever could not be reached gets what is in force when it can.

/// Files, in one step.
mod file;
/// HAProxy's runtime API.
mod haproxy;
/// Caddy's admin API.
mod caddy;
/// Programs that have a proxy read its file.
mod command;
/// A LAPI of `CrowdSec`.
mod crowdsec;
/// What servers are asked over HTTP.
mod http;

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use ipnet::IpNet;
use prometheus::{IntCounterVec, IntGaugeVec, Opts};
use serde_json::json;
use tokio::{
    sync::watch,
    task::{self, JoinSet},
    time::{Instant, sleep, timeout},
};

use super::{judge::Judge, lapi, share::Board};
use crate::{
    config::l7::push::{Haproxy, Nginx, Push},
    record::seconds,
    rules::Bulletin,
};
use caddy::Caddy;
pub use command::Reloader;
pub(crate) use command::{COMMAND, serve as serve_reloads};
use crowdsec::{Crowdsec, Round};

/// Changes that come within this time are one.
const DEBOUNCE: Duration = Duration::from_millis(200);
/// How often it is looked whether a target has lost what it was given, or shadow mode has changed.
const LOOK: Duration = Duration::from_secs(5);
/// How long one target may take.
const PATIENCE: Duration = Duration::from_mins(1);
/// A proxy that starts new processes to read a file is not made to more often.
const RELOAD_PAUSE: Duration = Duration::from_secs(5);
/// How long it is waited before a target is tried again, the first time and at most.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(1));
/// The tag that Envoy's filter gives to banned clients.
const TAG: &str = "weir-ban";

/// Starts a task for each target.
///
/// # Errors
/// If two metrics have one name.
pub fn spawn(
    config: &Push,
    reloader: Option<&Reloader>,
    bulletin: &Bulletin,
    judge: &Judge,
    tasks: &mut JoinSet<()>,
    stopped: &watch::Receiver<()>,
) -> prometheus::Result<()> {
    let targets = targets(config, reloader);
    if targets.is_empty() && config.crowdsec.is_none() {
        return Ok(());
    }
    let counts = Counts::new(judge)?;
    let follower = |target| Follower {
        bulletin: bulletin.clone(),
        judge: judge.clone(),
        results: Results { target, counts: counts.clone(), failures: 0 },
    };
    let until_stopped = |mut stopped: watch::Receiver<()>| async move { _ = stopped.changed().await };
    for target in targets {
        let (follower, stop) = (follower(target.name()), until_stopped(stopped.clone()));
        tasks.spawn(async move {
            tokio::select! {
                () = follower.export(target) => {}
                () = stop => {}
            }
        });
    }
    if let Some(config) = &config.crowdsec {
        let (follower, stop) = (follower("crowdsec"), until_stopped(stopped.clone()));
        let crowdsec = Crowdsec::new(config);
        tasks.spawn(async move {
            tokio::select! {
                () = follower.alert(crowdsec) => {}
                () = stop => {}
            }
        });
    }
    Ok(())
}

/// Who is given all bans.
#[derive(Debug)]
enum Target {
    Envoy(PathBuf),
    Haproxy(Haproxy),
    Nginx(Nginx, Option<Reloader>),
    Caddy(Caddy),
    List(PathBuf),
}

fn targets(config: &Push, reloader: Option<&Reloader>) -> Vec<Target> {
    let Push { envoy_tags, haproxy, nginx, caddy, list, crowdsec: _ } = config.clone();
    let targets = [
        envoy_tags.map(Target::Envoy),
        haproxy.map(Target::Haproxy),
        nginx.map(|config| Target::Nginx(config, reloader.cloned())),
        caddy.map(|config| Target::Caddy(Caddy::new(config))),
        list.map(Target::List),
    ];
    targets.into_iter().flatten().collect()
}

impl Target {
    fn name(&self) -> &'static str {
        match self {
            Self::Envoy(_) => "envoy_tags",
            Self::Haproxy(_) => "haproxy",
            Self::Nginx(..) => "nginx",
            Self::Caddy(_) => "caddy",
            Self::List(_) => "list",
        }
    }

    /// Gives it all bans.
    async fn put(&self, bans: &Arc<[IpNet]>) -> Result<(), String> {
        match self {
            Self::Envoy(path) => file::put(path, bans, tags).await,
            Self::List(path) => file::put(path, bans, |bans| lapi::lines(bans, "")).await,
            Self::Haproxy(haproxy) => {
                // First: HAProxy may start in between.
                file::put(&haproxy.file, bans, |bans| lapi::lines(bans, " 1")).await?;
                haproxy::put(haproxy, bans).await
            }
            Self::Nginx(nginx, reloader) => {
                file::put(&nginx.file, bans, |bans| lapi::lines(bans, " 1;")).await?;
                match reloader {
                    Some(reloader) => reloader.reload().await,
                    None => Ok(()),
                }
            }
            Self::Caddy(caddy) => caddy.put(bans).await,
        }
    }

    /// Returns true where it does not have what it was given any more, as after a start of its own.
    async fn has_lost(&self, bans: &[IpNet]) -> bool {
        match self {
            Self::Envoy(path) | Self::List(path) => !path.exists(),
            Self::Nginx(nginx, _) => !nginx.file.exists(),
            // Where it cannot be asked there is nobody to be given anything.
            Self::Haproxy(haproxy) => haproxy::entries(haproxy).await.is_ok_and(|has| has != bans.len()),
            Self::Caddy(caddy) => caddy.entries().await.is_ok_and(|has| has != bans.len()),
        }
    }

    /// How long it is left alone after it was given something.
    fn pause(&self) -> Duration {
        match self {
            Self::Nginx(_, Some(_)) => RELOAD_PAUSE,
            Self::Envoy(_) | Self::Haproxy(_) | Self::Nginx(..) | Self::Caddy(_) | Self::List(_) => {
                Duration::ZERO
            }
        }
    }
}

/// The file of Envoy's `ip_tagging` (`envoy.data.ip_tagging.v3.IPTagsFile`), in JSON, which is YAML too.
fn tags(bans: &[IpNet]) -> Vec<u8> {
    let prefix = |ban: &IpNet| json!({ "address_prefix": ban.network(), "prefix_len": ban.prefix_len() });
    let prefixes: Vec<_> = bans.iter().map(prefix).collect();
    let mut text = json!({ "ip_tags": [{ "ip_tag_name": TAG, "ip_list": prefixes }] }).to_string();
    text.push('\n');
    text.into_bytes()
}

/// Follows the bulletin for one target.
struct Follower {
    bulletin: Bulletin,
    judge: Judge,
    results: Results,
}

impl Follower {
    /// Gives a target the bans in force whenever they change, for ever.
    async fn export(mut self, target: Target) {
        let mut given: Option<Arc<[IpNet]>> = None;
        loop {
            let (number, bans) = self.bans().await;
            let same = given.as_ref() == Some(&bans);
            if !same || target.has_lost(&bans).await {
                let put = timeout(PATIENCE, target.put(&bans)).await;
                match put.unwrap_or_else(|_| Err("took too long".to_owned())) {
                    Ok(()) => {
                        self.results.ok(bans.len());
                        given = Some(bans);
                        sleep(target.pause()).await;
                    }
                    Err(why) => {
                        // What it has now is not known.
                        given = None;
                        sleep(self.results.failed(&why)).await;
                        continue;
                    }
                }
            }
            self.wait(number).await;
        }
    }

    /// Tells a LAPI of own bans, for ever.
    async fn alert(mut self, mut crowdsec: Crowdsec) {
        loop {
            let (number, board, now, shadow) = self.board().await;
            let told = timeout(PATIENCE, crowdsec.tell(&board, shadow, now)).await;
            match told.unwrap_or_else(|_| Err("took too long".to_owned())) {
                Ok(Round::Done(entries)) => self.results.ok(entries),
                Ok(Round::Idle) => self.results.recovered(),
                Ok(Round::More) => continue,
                Err(why) => {
                    sleep(self.results.failed(&why)).await;
                    continue;
                }
            }
            self.wait(number).await;
        }
    }

    /// Waits for a change after number `since`, and for those that come with it; or for some time.
    async fn wait(&self, since: u64) {
        tokio::select! {
            () = self.bulletin.changed(since) => sleep(DEBOUNCE).await,
            () = sleep(LOOK) => {}
        }
    }

    async fn board(&self) -> (u64, Board, u64, bool) {
        let bulletin = self.bulletin.clone();
        // Many rules take their time.
        let board = task::spawn_blocking(move || Board::read(&bulletin)).await.unwrap_or_default();
        (board.number, board, seconds(SystemTime::now()), self.judge.is_shadow())
    }

    async fn bans(&self) -> (u64, Arc<[IpNet]>) {
        let (number, board, now, shadow) = self.board().await;
        let bans = if shadow { Vec::new() } else { board.bans(now) };
        (number, bans.into())
    }
}

/// Adds what is counted of targets, for the catalogue of metrics.
///
/// # Errors
/// If there is a metric of that name.
pub(crate) fn describe(judge: &Judge) -> prometheus::Result<()> {
    Counts::new(judge).map(drop)
}

/// What is counted of all targets.
#[derive(Clone, Debug)]
struct Counts {
    pushes: IntCounterVec,
    entries: IntGaugeVec,
}

impl Counts {
    fn new(judge: &Judge) -> prometheus::Result<Self> {
        let opts = Opts::new("weir_l7_push_total", "Sets of bans given to a target.");
        let pushes = IntCounterVec::new(opts, &["target", "result"])?;
        let opts = Opts::new("weir_l7_push_entries", "Prefixes that a target was given last.");
        let entries = IntGaugeVec::new(opts, &["target"])?;
        let registry = &judge.counts().registry;
        registry.register(Box::new(pushes.clone()))?;
        registry.register(Box::new(entries.clone()))?;
        Ok(Self { pushes, entries })
    }
}

/// How it went with one target.
#[derive(Debug)]
struct Results {
    target: &'static str,
    counts: Counts,
    /// Failures in a row.
    failures: u32,
}

impl Results {
    fn ok(&mut self, entries: usize) {
        let Self { target, counts, .. } = self;
        counts.pushes.with_label_values(&[*target, "ok"]).inc();
        counts.entries.with_label_values(&[*target]).set(i64::try_from(entries).unwrap_or(i64::MAX));
        self.recovered();
    }

    fn recovered(&mut self) {
        if std::mem::take(&mut self.failures) > 0 {
            tracing::info!(target = self.target, "bans are given to it again");
        }
    }

    /// Returns how long to wait before it is tried again.
    fn failed(&mut self, why: &str) -> Duration {
        let target = self.target;
        self.counts.pushes.with_label_values(&[target, "error"]).inc();
        // Said when it begins.
        if self.failures == 0 {
            tracing::warn!(target, why, "cannot give bans to it; it is tried again");
        } else {
            tracing::debug!(target, why, "cannot give bans to it");
        }
        let (first, most) = BACKOFF;
        let wait = first.saturating_mul(1 << self.failures.min(6)).min(most);
        self.failures = self.failures.saturating_add(1);
        // Not all at once, where several have lost the same server.
        wait.mul_f64(0.75 + fastrand::f64() / 4.0)
    }
}

/// Returns the time by which something has to be done that may take so long.
fn deadline(patience: Duration) -> Instant {
    Instant::now() + patience
}
