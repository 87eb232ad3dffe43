//! Offences of sources, and what they lead to.

use std::net::IpAddr;

use crate::decision::Client;

/// What a source has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A request of it got this status.
    Status(u16),
}

/// An offence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offence {
    /// Whose.
    pub client: Client,
    /// What.
    pub cause: Cause,
}

/// What sources have done.
#[derive(Clone, Debug, Default)]
pub struct Ladder;

impl Ladder {
    /// Returns how much a source has done, less what is forgotten.
    #[must_use]
    pub fn risk(&self, _address: IpAddr) -> f64 {
        0.0
    }

    /// Takes note of an offence.
    pub fn note(&self, _offence: Offence) {}
}
