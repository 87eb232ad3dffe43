//! What the audit tells of.

use std::{fmt, net::IpAddr, path::PathBuf, time::SystemTime};

use ipnet::IpNet;

use super::chain::Link;
use crate::{
    config::Enforce,
    decision::{Verdict, Why},
    feed::Listing,
    rules::{Author, Rule},
};

/// Who has done something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// The agent, because of what it has found.
    Agent,
    /// Whoever has sent this signal.
    Signal(&'static str),
    /// A process on this host, as the kernel names it.
    Peer {
        /// Its user.
        uid: u32,
        /// Its number; 0: out of sight.
        pid: i32,
    },
    /// The holder of a certificate with this name.
    Certificate(String),
    /// The ladder of offences.
    Escalation,
    /// Another gateway.
    Fleet(String),
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Agent => f.write_str("agent"),
            Self::Signal(name) => f.write_str(name),
            Self::Peer { uid, pid } => write!(f, "uid {uid}, process {pid}"),
            Self::Certificate(name) => write!(f, "certificate {name}"),
            Self::Escalation => f.write_str("escalation"),
            Self::Fleet(gateway) => write!(f, "fleet:{gateway}"),
        }
    }
}

impl From<&Author> for Actor {
    fn from(author: &Author) -> Self {
        match author {
            // Who it was is known at the socket only.
            Author::Operator => Self::Agent,
            Author::Escalation => Self::Escalation,
            Author::Fleet(gateway) => Self::Fleet(gateway.clone()),
        }
    }
}

/// Something that is to be told.
#[derive(Clone, Debug)]
pub struct Entry {
    /// When it was.
    pub at: SystemTime,
    /// Who has done it.
    pub actor: Actor,
    /// What it is.
    pub what: What,
}

/// What has happened.
#[derive(Clone, Debug)]
pub enum What {
    /// The agent is at work.
    Started,
    /// The agent ends; the kernel enforces on.
    Stopped,
    /// Nothing is in the kernel any more, and everything passes.
    Unloaded {
        /// Interfaces that were attached, where that is known.
        detached: Vec<String>,
    },
    /// A policy is in force.
    Policy(Policy),
    /// A policy was refused, and the one before is in force.
    PolicyRefused {
        /// Its file.
        file: PathBuf,
        /// Why, without what the file says.
        why: String,
    },
    /// Something of a feed.
    Feed(Feed),
    /// Rules were set, lifted, or have ended; a line for each.
    Rules(Done, Vec<Rule>),
    /// A change of rules was refused.
    RulesRefused {
        /// What was wanted.
        action: &'static str,
        /// For how many prefixes.
        rules: usize,
        /// The first of them.
        first: Option<IpNet>,
        /// Status of the answer.
        status: u16,
        /// Why.
        why: String,
    },
    /// A request of the control API that its sender may not make.
    Forbidden {
        /// Method and kind of page.
        operation: String,
    },
    /// Requests of a source are refused.
    Decision(Decision),
    /// Something about the audit itself.
    Own(Own),
}

impl What {
    /// Returns how many lines it takes.
    #[must_use]
    pub fn lines(&self) -> usize {
        if let Self::Rules(_, rules) = self { rules.len() } else { 1 }
    }
}

/// A policy in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Its file.
    pub file: PathBuf,
    /// SHA-256 of the file, where it could be read.
    pub digest: Option<String>,
    /// Number of its version, where it could be kept as one.
    pub version: Option<u64>,
    /// The version of which it is the text again, after a rollback.
    pub returns_to: Option<u64>,
    /// Number of the publication.
    pub publication: u64,
    /// Whether it drops.
    pub enforce: Enforce,
    /// Entries of the IPv4 and IPv6 tables.
    pub entries: [u64; 2],
    /// Feeds.
    pub feeds: usize,
    /// Limits.
    pub limits: usize,
}

/// What has become of a feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feed {
    /// Its name.
    pub name: String,
    /// What has happened.
    pub change: FeedChange,
    /// Its list in force.
    pub listing: Listing,
}

/// What has happened to a feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FeedChange {
    /// Its list is another one.
    Changed {
        /// Entries that came, all told.
        added: usize,
        /// Entries that went.
        removed: usize,
        /// How many changes these are: a stream's are told together.
        changes: u64,
    },
    /// The newest list is not taken, for a cause in a word.
    Refused {
        /// The cause.
        cause: String,
        /// Somebody may accept it all the same.
        held: bool,
    },
    /// Somebody has accepted the list that was held back.
    Accepted,
    /// It was not confirmed in time: none of it is in force.
    Expired,
    /// It is no longer in the configuration.
    Removed,
}

/// What has become of rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// They are in force.
    Set,
    /// Somebody has lifted them.
    Lifted,
    /// Their time is over.
    Ended,
}

/// A refusal of requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Whose requests.
    pub client: IpAddr,
    /// What they get.
    pub verdict: Verdict,
    /// Why.
    pub why: Why,
    /// Where the proxy has asked.
    pub surface: &'static str,
}

/// Something about the audit itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Own {
    /// A new file begins here.
    Opened {
        /// The name of the one before; nothing: there is none.
        before: Option<String>,
        /// The line after which it begins.
        after: Link,
        /// The first line that is kept, in whichever file.
        kept_from: u64,
    },
    /// Something was not as it had been left.
    Recovered {
        /// Bytes at the end that are no whole line: power was lost while it was written. They are taken off.
        torn: u64,
        /// What cannot be explained like that.
        tampered: Option<String>,
    },
    /// Entries found no place, and are not told.
    Lost {
        /// How many.
        entries: u64,
        /// Since when nothing could be written.
        since: SystemTime,
    },
}
