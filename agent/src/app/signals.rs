//! What the operating system tells the agent, and what the agent tells it or asks of it.

use std::{future, io};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use sd_notify::NotifyState;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::{Interval, MissedTickBehavior, interval},
};

/// The signals that the agent obeys.
pub(super) struct Signals {
    pub(super) reload: Signal,
    pub(super) terminate: Signal,
    pub(super) interrupt: Signal,
}

impl Signals {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            reload: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }
}

/// Tells systemd, where it has started the agent.
pub(super) fn tell_systemd(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "cannot notify systemd");
    }
}

/// What the one task that owns the datapath has to tell systemd now and then (`WatchdogSec=`): that it has
/// come round again. One that hangs does not, and is started anew; the kernel enforces meanwhile.
#[derive(Debug)]
pub(super) struct Pulse(Option<Interval>);

impl Pulse {
    pub(super) fn new() -> Self {
        Self(sd_notify::watchdog_enabled().filter(|period| !period.is_zero()).map(|period| {
            // A pulse that comes late is no reason for two.
            let mut ticks = interval(period / 3);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        }))
    }

    /// Waits until it is time to call [`tell`](Self::tell); for ever where nobody wants to know.
    pub(super) async fn due(&mut self) {
        match &mut self.0 {
            Some(ticks) => _ = ticks.tick().await,
            None => future::pending().await,
        }
    }

    pub(super) fn tell() {
        tell_systemd(&[NotifyState::Watchdog]);
    }
}

/// Takes as many open files as are allowed. Service managers start with 1024 for the sake of select(2);
/// then a crowd on one socket for proxies would leave none for the others.
pub(super) fn open_files() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, most)| setrlimit(Resource::RLIMIT_NOFILE, most, most));
    if let Err(error) = raised {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
}
