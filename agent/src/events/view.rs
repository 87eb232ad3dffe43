use std::collections::HashMap;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use weir_common::{
    counter::{Answer, Outcome},
    packet::protocol,
    verdict::Reason,
};

use super::Seen;
use crate::{
    datapath::Attached,
    naming::{Naming, Source},
    record::Record,
};

/// An event in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// Its number, one more than that of the event before.
    pub number: u64,
    /// When it came, in milliseconds since 1970.
    pub at_milliseconds: u64,
    /// The interface, or its index where it has no name any more.
    pub interface: String,
    /// From where: the address, or its pseudonym.
    pub source: Source,
    /// The prefix around it, where that is told beside a pseudonym.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_prefix: Option<IpNet>,
    /// From which port; 0: it has none.
    pub source_port: u16,
    /// To which port; 0: it has none.
    pub destination_port: u16,
    /// `tcp`, `udp`, `icmp`, `icmpv6`, or the number.
    pub protocol: String,
    /// Bytes of the frame, without padding.
    pub bytes: u32,
    /// `pass`, `drop` or `would_drop`.
    pub verdict: String,
    /// Why.
    pub reason: String,
    /// Lists that name the source.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lists: Vec<String>,
    /// The limit that spoke.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<String>,
    /// What it said: `pass`, `near`, `drop` or `would_drop`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
}

/// A line of a stream of events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Line {
    /// An event.
    Event(Box<View>),
    /// So many events are missing here: they came faster than they were read.
    Lost {
        /// How many.
        lost: u64,
    },
    /// The stream ends here; it goes on with `after` set to this number.
    Next {
        /// The number of the last event that was looked at.
        next: u64,
    },
}

/// The names behind the numbers of events.
#[derive(Clone, Debug, Default)]
pub struct Names {
    interfaces: HashMap<u32, String>,
    lists: Vec<Vec<String>>,
    limits: HashMap<u8, String>,
}

impl Names {
    /// Takes them from what is in force.
    #[must_use]
    pub fn new(record: &Record, interfaces: &[Attached]) -> Self {
        let name = |interface: &Attached| (interface.ifindex, interface.interface.clone());
        let lists =
            |spec: &crate::policy::classes::ClassSpec| spec.origins.iter().map(ToString::to_string).collect();
        Self {
            interfaces: interfaces.iter().map(name).collect(),
            lists: record.classes.iter().map(lists).collect(),
            limits: record.limits.iter().map(|limit| (limit.number, limit.name.clone())).collect(),
        }
    }

    /// Returns an event in words, its source as `naming` wants it.
    #[must_use]
    pub fn view(&self, seen: &Seen, naming: &Naming) -> View {
        let Seen { number, at, event } = seen;
        let outcome = Outcome::ALL.get(usize::from(event.outcome)).map_or("unknown", |it| it.as_str());
        let answer = Answer::ALL.get(usize::from(event.answer)).map(|it| it.as_str().to_owned());
        let class = usize::from(event.class).checked_sub(1).and_then(|class| self.lists.get(class));
        let spoke = event.limit != 0;
        View {
            number: *number,
            at_milliseconds: *at,
            interface: self
                .interfaces
                .get(&event.ifindex)
                .cloned()
                .unwrap_or_else(|| format!("if{}", event.ifindex)),
            source: naming.source(event.source()),
            source_prefix: naming.prefix(event.source()),
            source_port: event.source_port,
            destination_port: event.destination_port,
            protocol: match event.protocol {
                protocol::TCP => "tcp".to_owned(),
                protocol::UDP => "udp".to_owned(),
                protocol::ICMP => "icmp".to_owned(),
                protocol::ICMPV6 => "icmpv6".to_owned(),
                other => other.to_string(),
            },
            bytes: event.length,
            verdict: outcome.to_owned(),
            reason: Reason::from_wire(event.reason).map_or("unknown", Reason::as_str).to_owned(),
            lists: class.cloned().unwrap_or_default(),
            limit: spoke.then(|| {
                self.limits.get(&event.limit).cloned().unwrap_or_else(|| format!("limit {}", event.limit))
            }),
            answer: answer.filter(|_| spoke),
        }
    }
}
