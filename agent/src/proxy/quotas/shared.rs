//! Quotas in a Redis that several gateways share: one question for all windows of a request.
//!
//! The circuit: a connection that fails, or answers late [`FAILURES_MAX`] times in a row, is given up.
//! From then on nobody waits for it, until a task of its own has connected anew and got an answer.

/// Quotas that are known to be used up.
mod memory;

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use redis::{Script, aio::MultiplexedConnection};
use tokio::time::{sleep, timeout};

use super::counts::Counts;
use crate::{
    config::l7::Redis,
    decision::quota::{Ask, Told},
    proxy::redis::{Unreachable, connect},
};
use memory::Memory;

/// Late or failed answers in a row before the connection is given up.
const FAILURES_MAX: u32 = 5;
/// Pauses between attempts to connect: the first, and the longest; each is twice the one before.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// The store that gateways share.
#[derive(Debug)]
pub(super) struct Shared {
    settings: Redis,
    script: Script,
    link: ArcSwapOption<MultiplexedConnection>,
    /// Somebody connects.
    connecting: AtomicBool,
    failures: AtomicU32,
    memory: Memory,
    since: Instant,
    counts: Counts,
}

impl Shared {
    pub(super) fn new(settings: &Redis, counts: &Counts) -> Arc<Self> {
        let shared = Arc::new(Self {
            settings: settings.clone(),
            script: Script::new(include_str!("shared.lua")),
            link: ArcSwapOption::empty(),
            connecting: AtomicBool::new(false),
            failures: AtomicU32::new(0),
            memory: Memory::default(),
            since: Instant::now(),
            counts: counts.clone(),
        });
        shared.connect();
        shared
    }

    pub(super) fn falls_back(&self) -> bool {
        self.settings.fall_back
    }

    pub(super) fn is_connected(&self) -> bool {
        self.link.load().is_some()
    }

    /// Asks, and charges what is admitted. Nothing: there is no answer.
    pub(super) async fn charge(self: &Arc<Self>, asks: &[Ask]) -> Option<Vec<Told>> {
        let now = u64::try_from(self.since.elapsed().as_nanos()).unwrap_or(u64::MAX);
        if let Some(told) = self.memory.refuse(asks, now) {
            self.counts.remembered.inc();
            return Some(told);
        }
        let Some(link) = self.link.load_full() else {
            self.connect();
            return None;
        };
        let mut connection = (*link).clone();
        let invocation = self.invocation(asks);
        let mut patience = Patience { shared: self, link: &link, answered: false };
        let answer =
            timeout(self.settings.timeout, invocation.invoke_async::<Vec<u64>>(&mut connection)).await;
        patience.answered = true;
        let told = match answer {
            Ok(Ok(answer)) if answer.len() == 2 * asks.len() => told(&answer),
            Ok(Ok(_)) => return self.failed("answer", &link, false),
            Ok(Err(error)) => return self.failed("error", &link, error.is_unrecoverable_error()),
            Err(_) => return self.failed("timeout", &link, false),
        };
        self.failures.store(0, Relaxed);
        self.memory.note(asks, &told, now);
        Some(told)
    }

    fn invocation(&self, asks: &[Ask]) -> redis::ScriptInvocation<'_> {
        let mut invocation = self.script.prepare_invoke();
        for ask in asks {
            let enforced = if ask.enforced { "!" } else { "" };
            invocation.key(format!("{}{}", self.settings.prefix, ask.key));
            invocation.arg(microseconds(ask.need)).arg(microseconds(ask.cost));
            invocation.arg(microseconds(ask.depth)).arg(format!("{enforced}{}", ask.group));
        }
        invocation
    }

    fn failed<T>(
        self: &Arc<Self>,
        cause: &str,
        link: &Arc<MultiplexedConnection>,
        broken: bool,
    ) -> Option<T> {
        self.counts.failures.with_label_values(&[cause]).inc();
        let failures = self.failures.fetch_add(1, Relaxed) + 1;
        // The first to see it gives it up; a later connection is not touched.
        if (broken || failures >= FAILURES_MAX)
            && self.link.load().as_ref().is_some_and(|now| Arc::ptr_eq(now, link))
        {
            self.link.store(None);
            self.counts.connected.set(0);
            tracing::warn!(cause, "the store of quotas does not answer");
            self.connect();
        }
        None
    }

    /// Connects in a task of its own, unless one is at it. Outside a runtime nothing happens.
    fn connect(self: &Arc<Self>) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if self.connecting.swap(true, Relaxed) {
            return;
        }
        let shared = Arc::downgrade(self);
        runtime.spawn(async move {
            let mut pause = PAUSES.0;
            // Whoever has dropped it needs no connection.
            while let Some(told) = attempt(&shared).await {
                match told {
                    Ok(()) => return,
                    Err(error) => tracing::debug!(%error, "connect to the store of quotas"),
                }
                sleep(pause).await;
                pause = (pause * 2).min(PAUSES.1);
            }
        });
    }
}

/// Somebody waits for an answer. Whoever gives up before, because a deadline is over, counts it as late:
/// otherwise a store that hangs would be waited for again and again.
struct Patience<'s> {
    shared: &'s Arc<Shared>,
    link: &'s Arc<MultiplexedConnection>,
    answered: bool,
}

impl Drop for Patience<'_> {
    fn drop(&mut self) {
        if !self.answered {
            self.shared.failed::<()>("deadline", self.link, false);
        }
    }
}

/// Tries to connect once. Nothing: nobody needs it any more.
async fn attempt(shared: &Weak<Shared>) -> Option<Result<(), Unreachable>> {
    let shared = shared.upgrade()?;
    let tried = connect(&shared.settings.server, shared.settings.timeout).await;
    Some(tried.map(|link| {
        shared.failures.store(0, Relaxed);
        shared.link.store(Some(Arc::new(link)));
        shared.counts.connected.set(1);
        shared.connecting.store(false, Relaxed);
        tracing::info!("the store of quotas answers");
    }))
}

#[expect(clippy::cast_precision_loss, reason = "at most a month in ns, to a microsecond")]
fn microseconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1000.0
}

fn told(answer: &[u64]) -> Vec<Told> {
    let nanoseconds = |us: u64| us.saturating_mul(1000);
    let pairs = answer.as_chunks::<2>().0.iter();
    pairs.map(|[owed, wait]| Told { owed: nanoseconds(*owed), wait: nanoseconds(*wait) }).collect()
}
