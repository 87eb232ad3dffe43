//! All feeds at work: a task each, so that a slow source delays no other.

use std::{collections::HashMap, sync::Arc};

use tokio::{
    sync::{RwLock, mpsc, oneshot},
    task::JoinHandle,
    time::{Duration, Instant, sleep_until},
};

use super::{Feed, source::crowdsec::Usage, store::Store, worker::Worker};
use crate::config;

/// Updates that wait to be looked at. A feed that finds no room waits.
const UPDATES: usize = 64;
/// Wishes of one feed that wait.
const WISHES: usize = 8;
/// What ends sooner than this ends together.
const END_MIN: Duration = Duration::from_millis(100);

/// What a feed is asked for.
#[derive(Debug)]
enum Wish {
    /// To be read again, now.
    Refresh(Option<oneshot::Sender<Feed>>),
    /// To put the list in force that was held back.
    Accept(oneshot::Sender<Result<Feed, String>>),
}

/// All feeds at work.
#[derive(Debug)]
pub struct Engine {
    store: Store,
    tasks: HashMap<String, Running>,
    updates: mpsc::Sender<Feed>,
    handle: Handle,
}

/// For whoever wants something of one feed.
#[derive(Clone, Debug, Default)]
pub struct Handle(Arc<RwLock<HashMap<String, Ways>>>);

/// The ways to one feed.
#[derive(Clone, Debug)]
struct Ways {
    wishes: mpsc::Sender<Wish>,
    /// For what its source says of itself.
    inlet: Option<mpsc::Sender<String>>,
    /// For what its source wants to know.
    usage: Option<Arc<Usage>>,
}

#[derive(Debug)]
struct Running {
    config: Arc<config::Feed>,
    ways: Ways,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Engine {
    /// Returns an engine without feeds, and the end at which their updates arrive.
    #[must_use]
    pub fn new(store: Store) -> (Self, mpsc::Receiver<Feed>) {
        let (updates, receiver) = mpsc::channel(UPDATES);
        (Self { store, tasks: HashMap::new(), updates, handle: Handle::default() }, receiver)
    }

    /// Makes feeds of a configuration: those that run already are as they are in `present`, others
    /// begin with their last good list, and are read if their source is on this host. Nothing is
    /// running yet of what is new: see [`Engine::run`].
    pub async fn prepare(&self, configs: &[config::Feed], present: &[Feed]) -> Prepared {
        let mut prepared = Prepared { feeds: Vec::new(), workers: Vec::new() };
        for config in configs {
            let running = self.tasks.get(&config.name).filter(|running| *running.config == *config);
            let known = present.iter().find(|feed| feed.config.name == config.name);
            if let (Some(running), Some(feed)) = (running, known) {
                let now = running.refresh().await;
                prepared.feeds.push(now.unwrap_or_else(|| feed.clone()));
                continue;
            }
            let mut worker = Worker::new(Arc::new(config.clone()), self.store.clone());
            if worker.is_local() {
                worker.refresh().await;
            }
            prepared.feeds.push(worker.feed().clone());
            prepared.workers.push(worker);
        }
        prepared
    }

    /// Lets run what was prepared, and ends what the configuration no longer has. The last good lists
    /// of feeds that are `remembered` are kept as well: somebody may want them back.
    pub async fn run(&mut self, configs: &[config::Feed], remembered: &[config::Feed], workers: Vec<Worker>) {
        self.tasks.retain(|name, _| configs.iter().any(|config| config.name == *name));
        for worker in workers {
            let config = Arc::clone(&worker.feed().config);
            let (wishes, receiver) = mpsc::channel(WISHES);
            let ways = Ways { wishes, inlet: worker.inlet(), usage: worker.usage() };
            let task = tokio::spawn(work(worker, receiver, self.updates.clone()));
            // What ran under this name ends.
            self.tasks.insert(config.name.clone(), Running { config, ways, task });
        }
        let ways = self.tasks.iter().map(|(name, running)| (name.clone(), running.ways.clone()));
        *self.handle.0.write().await = ways.collect();
        self.store.retain(configs.iter().chain(remembered));
    }

    /// Has the files read again that changed.
    pub fn files_changed(&self) {
        for running in self.tasks.values() {
            if matches!(running.config.source, config::Source::File(_)) {
                // One that waits already stands for all that follow.
                _ = running.ways.wishes.try_send(Wish::Refresh(None));
            }
        }
    }

    /// Returns where to note what becomes of packets of a feed's entries, for feeds whose sources want
    /// to know.
    pub fn usages(&self) -> impl Iterator<Item = (&str, &Usage)> {
        self.tasks.iter().filter_map(|(name, running)| Some((&**name, running.ways.usage.as_deref()?)))
    }

    /// Returns a handle for others.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }
}

impl Handle {
    /// Has a feed read now, and returns how it then is.
    ///
    /// # Errors
    /// Says why it is not done.
    pub async fn refresh(&self, name: &str) -> Result<Feed, String> {
        self.wish(name, |reply| Wish::Refresh(Some(reply))).await
    }

    /// Puts the list of a feed in force that was held back; returns the feed as it then is.
    ///
    /// # Errors
    /// Says why there is nothing to accept.
    pub async fn accept(&self, name: &str) -> Result<Feed, String> {
        self.wish(name, Wish::Accept).await?
    }

    /// Hands a feed what its source says of itself, a line a message; waits while it is busy.
    ///
    /// # Errors
    /// Says why it is not taken.
    pub async fn push(&self, name: &str, lines: Vec<String>) -> Result<(), String> {
        let inlet = self.0.read().await.get(name).map(|feed| feed.inlet.clone());
        let inlet = inlet.ok_or_else(|| format!("`{name}` is no feed"))?;
        let inlet = inlet.ok_or_else(|| format!("`{name}` is not told anything; its source is asked"))?;
        for line in lines {
            inlet.send(line).await.map_err(|_| format!("`{name}` has ended"))?;
        }
        Ok(())
    }

    async fn wish<T>(&self, name: &str, wish: impl FnOnce(oneshot::Sender<T>) -> Wish) -> Result<T, String> {
        let feed = self.0.read().await.get(name).map(|ways| ways.wishes.clone());
        let feed = feed.ok_or_else(|| format!("`{name}` is no feed"))?;
        let (reply, answer) = oneshot::channel();
        let busy = || format!("`{name}` is being read; try again");
        feed.try_send(wish(reply)).map_err(|_| busy())?;
        answer.await.map_err(|_| busy())
    }
}

impl Running {
    /// Has the feed read, and waits for it if its source is on this host.
    async fn refresh(&self) -> Option<Feed> {
        let (done, waits) = oneshot::channel();
        let local = matches!(self.config.source, config::Source::File(_));
        self.ways.wishes.try_send(Wish::Refresh(local.then_some(done))).ok()?;
        if local { waits.await.ok() } else { None }
    }
}

/// Feeds of a configuration, and the workers that are not running yet.
#[derive(Debug)]
pub struct Prepared {
    /// All feeds, in the order of the configuration.
    pub feeds: Vec<Feed>,
    /// Those that are new.
    pub workers: Vec<Worker>,
}

async fn work(mut worker: Worker, mut wishes: mpsc::Receiver<Wish>, updates: mpsc::Sender<Feed>) {
    // What is local has been read. Others do not ask all at once.
    let spread = if worker.is_local() { None } else { Some(fastrand::f64()) };
    let pause = match spread {
        Some(spread) => worker.first_wait(spread),
        None => worker.pause(fastrand::f64()),
    };
    // Kept apart from what ends meanwhile: where something ends all the time, it would never come.
    let mut next = Instant::now() + pause;
    loop {
        let mut done = None;
        let end = worker.ends_in().map(|left| Instant::now() + left.max(END_MIN));
        let due = tokio::select! {
            () = sleep_until(end.map_or(next, |end| end.min(next))) => {
                worker.expire();
                Instant::now() >= next
            }
            () = worker.news() => true,
            wish = wishes.recv() => match wish {
                None => return,
                Some(Wish::Refresh(reply)) => {
                    done = reply;
                    true
                }
                Some(Wish::Accept(reply)) => {
                    let answer = worker.accept().map(|_| worker.feed().clone());
                    // Nobody may be there any more to be told.
                    _ = reply.send(answer);
                    false
                }
            },
        };
        if due {
            worker.refresh().await;
            next = Instant::now() + worker.pause(fastrand::f64());
        }
        // First: who takes the updates may be the one who waits.
        if let Some(done) = done {
            _ = done.send(worker.feed().clone());
        }
        if updates.send(worker.feed().clone()).await.is_err() {
            return;
        }
    }
}
