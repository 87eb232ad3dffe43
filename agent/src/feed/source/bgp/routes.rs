use std::time::SystemTime;

use ipnet::IpNet;
use serde_json::Value;

use super::{
    super::{
        FetchError, Fetched,
        intake::{Intake, Left, network},
    },
    line::{self, Line, Malformed, Rate, Update},
};
use crate::{
    config::{self, Guards},
    feed::ledger::{Entry, Ledger},
};

/// The line with which whoever reads exabgp's lines begins, and which it sends when they end: no
/// session is known to stand. What is not announced again then goes after `hold`.
pub const START: &str = r#"{"type":"start"}"#;

/// All routes that count, by peer, family and what names them there. Pure.
///
/// A route whose session went down has an end; no other has one. So this lives on in what is kept on
/// disk.
#[derive(Debug)]
pub struct Routes {
    config: config::Bgp,
    intake: Intake,
}

impl Routes {
    /// Returns none.
    #[must_use]
    pub fn new(config: &config::Bgp, guards: Guards) -> Self {
        Self { config: config.clone(), intake: Intake::new(guards) }
    }

    /// Begins with these.
    pub fn resume(&mut self, ledger: Ledger) {
        self.intake.resume(ledger);
    }

    /// Returns them.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        self.intake.ledger()
    }

    /// Takes a line of exabgp in. Returns true if they are not what they were.
    ///
    /// # Errors
    /// [`Malformed`] where it is none; they are then as they were.
    pub fn line(&mut self, line: &str, now: SystemTime) -> Result<bool, Malformed> {
        Ok(match Line::parse(line)? {
            Line::Other => false,
            Line::AllDown => self.hold("", now),
            Line::Down(peer) => self.hold(&start_of(&peer, None), now),
            Line::EndOfRib(peer, family) => self.sweep(&start_of(&peer, Some(&family))),
            Line::Update(update) => self.update(&update)?,
        })
    }

    /// Lets go of those whose session did not come back in time.
    pub fn forget(&mut self, now: SystemTime) -> bool {
        self.intake.forget(now)
    }

    pub(super) fn fetched(&self) -> Result<Fetched, FetchError> {
        self.intake.fetched()
    }

    /// Gives an end to those whose names start so, unless they have one.
    fn hold(&mut self, start: &str, now: SystemTime) -> bool {
        let ends = now.checked_add(self.config.hold);
        let standing = self.ledger().starting_with(start).filter(|(_, entry)| entry.ends.is_none());
        let held: Vec<_> =
            standing.map(|(id, entry)| (id.to_owned(), Entry { ends, ..entry.clone() })).collect();
        let any = !held.is_empty();
        for (id, entry) in held {
            self.intake.set(id, entry);
        }
        any
    }

    /// Removes those whose names start so and that were not announced again.
    fn sweep(&mut self, start: &str) -> bool {
        let stale = self.ledger().starting_with(start).filter(|(_, entry)| entry.ends.is_some());
        let stale: Vec<_> = stale.map(|(id, _)| id.to_owned()).collect();
        let any = !stale.is_empty();
        for id in stale {
            self.intake.remove(&id);
        }
        any
    }

    fn update(&mut self, update: &Update) -> Result<bool, Malformed> {
        let named = |families: &[(String, Value)]| -> Result<Vec<(String, String, Value)>, Malformed> {
            let mut named = Vec::new();
            for (family, routes) in families {
                for route in line::routes(routes) {
                    named.push((family.clone(), id(update, family, route)?, route.clone()));
                }
            }
            Ok(named)
        };
        // Both before anything is done.
        let (withdrawn, announced) = (named(&update.withdrawn)?, named(&update.announced)?);
        let mut changed = false;
        for (_, id, _) in withdrawn {
            changed |= self.intake.remove(&id);
        }
        for (family, id, route) in announced {
            changed |= match family.as_str() {
                "ipv4 unicast" | "ipv6 unicast" => self.blackhole(id, update, &route),
                "ipv4 flow" | "ipv6 flow" => self.flow(id, update, &route),
                _ => false,
            };
        }
        Ok(changed)
    }

    fn blackhole(&mut self, id: String, update: &Update, route: &Value) -> bool {
        if !update.communities.iter().any(|community| self.config.communities.contains(community)) {
            // All others of a peer need not be remembered: they may be a million.
            return self.intake.remove(&id);
        }
        let prefix = route.get("nlri").unwrap_or(route).as_str().and_then(network);
        self.set(id, prefix, false)
    }

    fn flow(&mut self, id: String, update: &Update, route: &Value) -> bool {
        match (source(route), update.rate) {
            (Some(source), Some(rate)) => self.set(id, Some(source), rate == Rate::Some),
            // A rule about some of a source's packets is no rule about the source.
            _ => self.intake.leave_out(id, Left::Unselected),
        }
    }

    fn set(&mut self, id: String, prefix: Option<IpNet>, throttled: bool) -> bool {
        match prefix {
            Some(prefix) => self.intake.set(id, Entry { prefixes: [prefix].into(), throttled, ends: None }),
            None => self.intake.leave_out(id, Left::Malformed),
        }
    }
}

fn start_of(peer: &str, family: Option<&str>) -> String {
    family.map_or_else(|| format!("{peer}|"), |family| format!("{peer}|{family}|"))
}

fn id(update: &Update, family: &str, route: &Value) -> Result<String, Malformed> {
    let name = line::name(route).ok_or_else(|| Malformed(format!("a route of {family} has no name")))?;
    Ok(format!("{}{name}", start_of(&update.peer, Some(family))))
}

/// Returns the source of a rule that matches all packets of a source, whereto they may go, and no
/// others.
fn source(rule: &Value) -> Option<IpNet> {
    let mut found = None;
    for (name, value) in rule.as_object()? {
        match name.as_str() {
            "string" => {}
            "source-ipv4" | "source-ipv6" => found = Some(one(value)?),
            "destination-ipv4" | "destination-ipv6" if one(value)?.prefix_len() == 0 => {}
            _ => return None,
        }
    }
    found
}

/// Returns the only prefix of a list. That of IPv6 has an offset, which is a pattern unless it is 0.
fn one(value: &Value) -> Option<IpNet> {
    let text = match value.as_array().map(Vec::as_slice) {
        Some([text]) => text.as_str()?,
        Some(_) => return None,
        None => value.as_str()?,
    };
    let prefix = match text.matches('/').count() {
        2 => text.strip_suffix("/0")?,
        _ => text,
    };
    network(prefix)
}

#[cfg(test)]
mod tests;
