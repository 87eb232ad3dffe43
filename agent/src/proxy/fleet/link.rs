use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use ipnet::IpNet;
use redis::{
    FromRedisValue, Pipeline, RedisError, Value,
    aio::MultiplexedConnection,
    cmd,
    streams::{StreamId, StreamRangeReply, StreamReadReply},
};
use tokio::time::timeout;

use super::{
    entry::{Ban, Word, field, held},
    ledger::Move,
};
use crate::{
    api::Problem,
    config::l7::Fleet,
    proxy::redis::{Unreachable, connect},
};

/// How long an answer may take, and longer than that where it waits for news.
const ANSWER_MAX: Duration = Duration::from_secs(2);
/// How long Redis waits for news before it says that there are none.
const BLOCK: Duration = Duration::from_secs(2);
/// Entries that are read at once.
const READ_MAX: usize = 256;
/// Fields of the hash that are read at once.
const SCAN_COUNT: usize = 1000;
/// Fields of the hash that are read in all.
const HELD_MAX: usize = 1 << 20;
/// Entries that the stream keeps, about. Whoever is further behind reads the hash.
const STREAM_MAX: usize = 1 << 16;

/// Why there is no Redis to work with.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error(transparent)]
    Redis(#[from] RedisError),
    #[error("no answer in time")]
    Late,
    #[error(transparent)]
    Unreachable(#[from] Unreachable),
    #[error("the stream carries {0} at a time, more than can be put in force")]
    Crowded(usize),
    /// The agent itself has no time; what was heard is heard again.
    #[error("not put in force: {0}")]
    Busy(String),
}

impl From<Problem> for Fault {
    fn from(problem: Problem) -> Self {
        Self::Busy(problem.to_string())
    }
}

/// A connection and its keys.
pub(super) struct Link {
    connection: MultiplexedConnection,
    stream: String,
    /// The hash of what is in force.
    now: String,
    /// The set of gateways of which the hash has all bans.
    gateways: String,
}

/// A field of the hash and its value.
type Held = (Vec<u8>, Vec<u8>);

/// Something in the stream, and where.
pub(super) type Heard = (String, BTreeMap<String, String>);

impl Link {
    /// Connects.
    pub(super) async fn connect(settings: &Fleet) -> Result<Self, Fault> {
        let connection = connect(&settings.redis, BLOCK + ANSWER_MAX).await?;
        let key = |name: &str| format!("{}{}{name}", settings.prefix, settings.stream);
        Ok(Self { connection, stream: key(""), now: key(":now"), gateways: key(":gateways") })
    }

    /// Returns what comes behind a place in the stream, for which it may wait a while.
    pub(super) async fn read(&mut self, after: &str, wait: bool) -> Result<Vec<Heard>, Fault> {
        let mut command = cmd("XREAD");
        command.arg("COUNT").arg(READ_MAX);
        if wait {
            command.arg("BLOCK").arg(BLOCK.as_secs() * 1000);
        }
        command.arg("STREAMS").arg(&self.stream).arg(after);
        let reply =
            timeout(BLOCK + ANSWER_MAX, command.query_async::<Option<StreamReadReply>>(&mut self.connection));
        let reply = reply.await.map_err(|_| Fault::Late)??;
        let keys = reply.map(|reply| reply.keys).unwrap_or_default();
        Ok(keys.into_iter().flat_map(|key| key.ids).map(heard).collect())
    }

    /// Returns true if the stream still has the entry at this place.
    pub(super) async fn has(&mut self, place: &str) -> Result<bool, Fault> {
        let mut command = cmd("XRANGE");
        command.arg(&self.stream).arg(place).arg(place).arg("COUNT").arg(1);
        let reply: StreamRangeReply = self.ask(&command).await?;
        Ok(!reply.ids.is_empty())
    }

    /// Returns the place of the last entry; nothing: there is none.
    pub(super) async fn last(&mut self) -> Result<Option<String>, Fault> {
        let mut command = cmd("XREVRANGE");
        command.arg(&self.stream).arg("+").arg("-").arg("COUNT").arg(1);
        let reply: StreamRangeReply = self.ask(&command).await?;
        Ok(reply.ids.into_iter().next().map(|id| id.id))
    }

    /// Returns what the hash has: whose ban, of what. What is none of ours is passed over.
    pub(super) async fn all(&mut self) -> Result<Vec<(String, IpNet, Ban)>, Fault> {
        let (mut found, mut at) = (Vec::new(), 0_u64);
        loop {
            let mut command = cmd("HSCAN");
            command.arg(&self.now).arg(at).arg("COUNT").arg(SCAN_COUNT);
            let (next, page): (u64, Vec<Held>) = self.ask(&command).await?;
            let read = |(field, value): &Held| {
                held(&String::from_utf8_lossy(field), &String::from_utf8_lossy(value))
            };
            found.extend(page.iter().filter_map(read));
            if found.len() > HELD_MAX {
                return Err(Fault::Crowded(found.len()));
            }
            at = next;
            if at == 0 {
                return Ok(found);
            }
        }
    }

    /// Returns the bans of a prefix that these gateways have.
    pub(super) async fn bans_of(
        &mut self,
        prefix: IpNet,
        origins: &BTreeSet<String>,
    ) -> Result<Vec<(String, Ban)>, Fault> {
        if origins.is_empty() {
            return Ok(Vec::new());
        }
        let mut command = cmd("HMGET");
        command.arg(&self.now);
        for origin in origins {
            command.arg(field(origin, prefix));
        }
        let values: Vec<Option<String>> = self.ask(&command).await?;
        let pairs = origins.iter().zip(values);
        let ban = |(origin, value): (&String, Option<String>)| {
            Some((origin.clone(), serde_json::from_str(&value?).ok()?))
        };
        Ok(pairs.filter_map(ban).collect())
    }

    /// Returns the gateways of which the hash has all bans.
    pub(super) async fn gateways(&mut self) -> Result<BTreeSet<String>, Fault> {
        let mut command = cmd("SMEMBERS");
        command.arg(&self.gateways);
        self.ask(&command).await
    }

    /// Takes bans out of the hash.
    pub(super) async fn forget(&mut self, bans: &[(String, IpNet)]) -> Result<(), Fault> {
        for some in bans.chunks(SCAN_COUNT) {
            let mut command = cmd("HDEL");
            command.arg(&self.now);
            for (origin, prefix) in some {
                command.arg(field(origin, *prefix));
            }
            self.ask::<u64>(&command).await?;
        }
        Ok(())
    }

    /// Does all of it, or nothing.
    pub(super) async fn publish(&mut self, name: &str, moves: &[Move]) -> Result<(), Fault> {
        let mut pipe = redis::pipe();
        pipe.atomic();
        for moved in moves {
            self.add(&mut pipe, name, moved);
        }
        let done = timeout(ANSWER_MAX, pipe.query_async::<Value>(&mut self.connection)).await;
        done.map_err(|_| Fault::Late)??;
        Ok(())
    }

    fn add(&self, pipe: &mut Pipeline, name: &str, moved: &Move) {
        let entry = match moved {
            Move::Forget(prefix) => {
                pipe.cmd("HDEL").arg(&self.now).arg(field(name, *prefix)).ignore();
                return;
            }
            Move::Tell(entry) => entry,
        };
        pipe.cmd("XADD").arg(&self.stream).arg("MAXLEN").arg("~").arg(STREAM_MAX).arg("*");
        for (name, value) in entry.fields() {
            pipe.arg(name).arg(value);
        }
        pipe.ignore();
        match &entry.word {
            Word::Ban(prefix, ban) => {
                let value = serde_json::to_string(ban).unwrap_or_default();
                pipe.cmd("HSET").arg(&self.now).arg(field(&entry.origin, *prefix)).arg(value).ignore();
            }
            Word::Lift(prefix) => {
                pipe.cmd("HDEL").arg(&self.now).arg(field(&entry.origin, *prefix)).ignore();
            }
            Word::All => _ = pipe.cmd("SADD").arg(&self.gateways).arg(&entry.origin).ignore(),
        }
    }

    async fn ask<T: FromRedisValue>(&mut self, command: &redis::Cmd) -> Result<T, Fault> {
        let answer = timeout(ANSWER_MAX, command.query_async(&mut self.connection)).await;
        Ok(answer.map_err(|_| Fault::Late)??)
    }
}

/// Whatever somebody has written into the stream is text here.
fn heard(id: StreamId) -> Heard {
    let text = |value: &Value| {
        let Value::BulkString(bytes) = value else { return String::new() };
        String::from_utf8_lossy(bytes).into_owned()
    };
    (id.id, id.map.iter().map(|(name, value)| (name.clone(), text(value))).collect())
}
