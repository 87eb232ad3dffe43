use std::{
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::{
    sync::{mpsc, watch},
    task::{JoinSet, block_in_place},
    time::{Instant, sleep_until},
};

use super::{
    Audit,
    book::Book,
    chain::Link,
    entry::{Actor, Entry, Own, What},
    ocsf::Context,
};
use crate::{
    config,
    naming::Naming,
    notify::{Kind, Notifier},
};

/// Entries that are written and synced together.
const TOGETHER_MAX: usize = 64;
/// How long it is waited after a failure before the next attempt.
const RETRY: Duration = Duration::from_secs(1);

/// Writes what is queued until `stopped` changes, and then what is left.
pub(crate) fn spawn(
    settings: &config::Audit,
    (state, naming): (&Path, Arc<Naming>),
    audit: &Audit,
    queue: mpsc::Receiver<Entry>,
    notifier: Notifier,
    tasks: &mut JoinSet<()>,
    mut stopped: watch::Receiver<()>,
) {
    let book = Book::new(settings.clone(), state, Context::new(naming));
    let mut writer = Writer { book, audit: audit.clone(), notifier, waiting: Vec::new(), failing: None };
    tasks.spawn(async move {
        let mut queue = queue;
        let mut closed = false;
        loop {
            let retry = writer.failing.map(|failing| failing.next);
            tokio::select! {
                // Not while the disk is full: then the queue fills, and its end is the end of it.
                count = queue.recv_many(&mut writer.waiting, TOGETHER_MAX), if retry.is_none() => {
                    if count == 0 {
                        break;
                    }
                    block_in_place(|| writer.write());
                }
                () = sleep_until(retry.unwrap_or_else(Instant::now)), if retry.is_some() => {
                    block_in_place(|| writer.write());
                    if closed && writer.failing.is_some() {
                        break;
                    }
                }
                _ = stopped.changed(), if !closed => {
                    closed = true;
                    queue.close();
                }
            }
        }
        writer.end(queue.len());
    });
}

struct Writer {
    book: Book,
    audit: Audit,
    notifier: Notifier,
    /// What is being written, and what could not be.
    waiting: Vec<Entry>,
    failing: Option<Failing>,
}

#[derive(Clone, Copy)]
struct Failing {
    since: SystemTime,
    next: Instant,
}

impl Writer {
    fn write(&mut self) {
        let since = self.failing.map_or_else(SystemTime::now, |failing| failing.since);
        let lost = self.audit.take_lost();
        if lost > 0 {
            let what = What::Own(Own::Lost { entries: lost, since });
            self.waiting.push(Entry { at: SystemTime::now(), actor: Actor::Agent, what });
        }
        match self.book.append(&self.waiting) {
            Ok(link) => self.written(link),
            Err(error) => {
                if lost > 0 {
                    self.waiting.pop();
                    self.audit.give_back_lost(lost);
                }
                self.failed(&error, since);
            }
        }
        self.tell_of_tampering();
    }

    fn written(&mut self, link: Link) {
        self.audit.written(&self.waiting, link);
        self.waiting.clear();
        if self.failing.take().is_some() {
            tracing::info!("the audit is written again");
            self.notifier.set(Kind::AuditFailed, None);
        }
    }

    fn failed(&mut self, error: &std::io::Error, since: SystemTime) {
        self.audit.counts().failures.inc();
        if self.failing.is_none() {
            let file = self.book.path().display().to_string();
            tracing::error!(%error, file, "the audit cannot be written; enforcement goes on, entries wait");
            let text = format!("{file} cannot be written: {error}; enforcement goes on, entries may be lost");
            self.notifier.set(Kind::AuditFailed, Some((String::new(), text)));
        }
        self.failing = Some(Failing { since, next: Instant::now() + RETRY });
    }

    /// Says once what others have done to the files.
    fn tell_of_tampering(&mut self) {
        let Some(tampered) = self.book.take_tampered() else { return };
        let file = self.book.path().display();
        tracing::error!(%file, tampered, "the audit is not as it was left; `weir audit verify` says where");
        let text = format!("{file}: {tampered}; `weir audit verify` says where");
        self.notifier.happened(Kind::AuditTampered, text);
    }

    fn end(&mut self, left: usize) {
        let lost = self.waiting.len() + left;
        if lost > 0 {
            tracing::error!(lost, "entries of the audit are lost: they could not be written");
        }
        let Link { seq, hash } = self.audit.head();
        tracing::info!(target: "audit", seq, %hash, "the audit ends here for now");
    }
}
