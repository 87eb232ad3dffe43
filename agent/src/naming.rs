//! Addresses as logs, audit and events have them: as they are, or as names that only the key can tell
//! apart. docs/audit.md says where addresses still are.

use std::{
    fmt,
    fs::{self, File},
    io::{self, Write as _},
    net::IpAddr,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use aws_lc_rs::{hmac, rand};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::config::audit::Addresses;

const FILE: &str = "audit.key";
const KEY_BYTES: usize = 32;
/// Bytes of the HMAC that make a name: no two sources are likely to share one.
const NAME_BYTES: usize = 16;
/// What is told of an address beside its name, where that is wanted.
const V4_BITS: u8 = 24;
const V6_BITS: u8 = 48;

/// How addresses are written.
#[derive(Debug)]
pub enum Naming {
    /// As they are.
    Plain,
    /// As names that a key makes of them.
    Pseudonymous {
        /// The key.
        key: Box<hmac::Key>,
        /// The /24 or /48 around an address is told as well.
        prefixes: bool,
    },
}

/// An address or a prefix as it is written.
#[derive(Debug, PartialEq, Eq)]
pub struct Name {
    /// The address, where it is told.
    pub ip: Option<IpAddr>,
    /// The prefix, where it is told.
    pub prefix: Option<IpNet>,
    /// The name that stands for it.
    pub pseudonym: Option<String>,
}

/// A source as it is told: its address, or the name that stands for it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Source {
    /// Its address.
    Address(IpAddr),
    /// Its pseudonym.
    Pseudonym(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // With the width that is asked for.
            Self::Address(address) => fmt::Display::fmt(address, f),
            Self::Pseudonym(name) => f.pad(name),
        }
    }
}

impl Naming {
    /// Prepares what the configuration asks for. The key is made where there is none; where that fails, it
    /// is one that is gone with the agent.
    #[must_use]
    pub fn ready(addresses: Addresses, state: &Path) -> Self {
        Self::new(addresses, state).unwrap_or_else(|error| {
            tracing::error!(%error, "no key for pseudonyms can be had: names of addresses will not outlive the agent");
            Self::for_now(addresses)
        })
    }

    /// Prepares what the configuration asks for. The key is made where there is none.
    ///
    /// # Errors
    /// What the file system says, or that there are no random numbers.
    pub fn new(addresses: Addresses, state: &Path) -> io::Result<Self> {
        match addresses {
            Addresses::Plain => Ok(Self::Plain),
            Addresses::Pseudonymous { prefixes } => {
                let key = Box::new(hmac::Key::new(hmac::HMAC_SHA256, &key(state)?));
                Ok(Self::Pseudonymous { key, prefixes })
            }
        }
    }

    fn for_now(addresses: Addresses) -> Self {
        match addresses {
            Addresses::Plain => Self::Plain,
            Addresses::Pseudonymous { prefixes } => {
                let mut key = [0; KEY_BYTES];
                // Without random numbers there would be no TLS either.
                _ = rand::fill(&mut key);
                Self::Pseudonymous { key: Box::new(hmac::Key::new(hmac::HMAC_SHA256, &key)), prefixes }
            }
        }
    }

    /// Returns true where what people write is left out, since it may name addresses.
    #[must_use]
    pub fn hides(&self) -> bool {
        matches!(self, Self::Pseudonymous { .. })
    }

    /// Returns what people or programs have written, unless it may name addresses.
    #[must_use]
    pub fn words(&self, text: &impl fmt::Display) -> String {
        if self.hides() { "left out: it may name addresses".to_owned() } else { text.to_string() }
    }

    /// Returns a source as it is told.
    #[must_use]
    pub fn source(&self, address: IpAddr) -> Source {
        self.of(address.into()).pseudonym.map_or(Source::Address(address), Source::Pseudonym)
    }

    /// Returns a prefix as it is told in a line of text.
    #[must_use]
    pub fn spell(&self, prefix: IpNet) -> String {
        self.of(prefix).pseudonym.unwrap_or_else(|| prefix.to_string())
    }

    /// Returns the prefix around a source that is told beside its name.
    #[must_use]
    pub fn prefix(&self, address: IpAddr) -> Option<IpNet> {
        if self.hides() { self.of(address.into()).prefix } else { None }
    }

    /// Returns true where it may be asked what is known of a prefix: of a single address, whoever asks knows it;
    /// with wider ones the address behind a name could be found by halves.
    #[must_use]
    pub fn may_ask(&self, prefix: IpNet) -> bool {
        let single = prefix.prefix_len() == prefix.max_prefix_len();
        match self {
            Self::Plain => true,
            Self::Pseudonymous { prefixes, .. } => single || *prefixes && around(prefix) == prefix,
        }
    }

    /// Returns an address or a prefix as it is written.
    #[must_use]
    pub fn of(&self, prefix: IpNet) -> Name {
        let single = prefix.prefix_len() == prefix.max_prefix_len();
        match self {
            Self::Plain => Name { ip: single.then(|| prefix.addr()), prefix: Some(prefix), pseudonym: None },
            Self::Pseudonymous { key, prefixes } => {
                let tag = hmac::sign(key, prefix.to_string().as_bytes());
                let name = tag.as_ref().iter().take(NAME_BYTES).map(|byte| format!("{byte:02x}"));
                Name {
                    ip: None,
                    prefix: prefixes.then(|| around(prefix)),
                    pseudonym: Some(name.collect::<String>()),
                }
            }
        }
    }
}

/// Returns the prefix around an address that is told of it.
fn around(prefix: IpNet) -> IpNet {
    let bits = if prefix.addr().is_ipv4() { V4_BITS } else { V6_BITS };
    IpNet::new(prefix.addr(), bits.min(prefix.prefix_len())).map_or(prefix, |around| around.trunc())
}

fn key(state: &Path) -> io::Result<Vec<u8>> {
    let path = state.join(FILE);
    match fs::read(&path) {
        Ok(key) if key.len() == KEY_BYTES => return Ok(key),
        Ok(_) => {
            let why =
                format!("{} is no key: {KEY_BYTES} bytes; remove it, and names begin anew", path.display());
            return Err(io::Error::other(why));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let mut key = vec![0; KEY_BYTES];
    rand::fill(&mut key).map_err(|_| io::Error::other("no random numbers"))?;
    fs::create_dir_all(state)?;
    let new = path.with_extension("key.new");
    let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(&key)?;
    file.sync_data()?;
    fs::rename(&new, &path)?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_name_stays_the_same_and_tells_no_address() {
        let state = tempfile::tempdir().unwrap();
        let names = |prefixes| Naming::new(Addresses::Pseudonymous { prefixes }, state.path()).unwrap();
        let one: IpNet = "203.0.113.7/32".parse().unwrap();
        let name = names(false).of(one);
        assert_eq!((name.ip, name.prefix), (None, None));
        assert_eq!(name.pseudonym.as_ref().unwrap().len(), 32);
        assert_eq!(names(false).of(one), name, "after a restart");
        assert_ne!(names(false).of("203.0.113.8/32".parse().unwrap()).pseudonym, name.pseudonym);
        let mode = fs::metadata(state.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        for (prefix, told) in [
            ("203.0.113.7/32", "203.0.113.0/24"),
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("2001:db8:1:2::/64", "2001:db8:1::/48"),
        ] {
            let name = names(true).of(prefix.parse().unwrap());
            assert_eq!(name.prefix, Some(told.parse().unwrap()));
        }
    }

    #[test]
    fn nobody_finds_an_address_by_halves() {
        let state = tempfile::tempdir().unwrap();
        let names = |prefixes| Naming::new(Addresses::Pseudonymous { prefixes }, state.path()).unwrap();
        for (prefix, alone, with_prefixes) in [
            ("203.0.113.7/32", true, true),
            ("203.0.113.6/31", false, false),
            ("203.0.113.0/24", false, true),
            ("0.0.0.0/0", false, true),
            ("2001:db8::7/128", true, true),
            ("2001:db8::/64", false, false),
            ("2001:db8::/48", false, true),
        ] {
            let prefix = prefix.parse().unwrap();
            assert_eq!((names(false).may_ask(prefix), names(true).may_ask(prefix)), (alone, with_prefixes));
            assert!(Naming::Plain.may_ask(prefix));
        }
    }

    #[test]
    fn a_source_is_an_address_or_a_name_in_json_too() {
        let state = tempfile::tempdir().unwrap();
        let naming = Naming::new(Addresses::Pseudonymous { prefixes: false }, state.path()).unwrap();
        for naming in [&naming, &Naming::Plain] {
            for address in ["203.0.113.7", "2001:db8::7"] {
                let source = naming.source(address.parse().unwrap());
                assert_eq!(source.to_string() == address, !naming.hides());
                let json = serde_json::to_string(&source).unwrap();
                assert_eq!(json, format!("\"{source}\""));
                assert_eq!(serde_json::from_str::<Source>(&json).unwrap(), source);
            }
        }
    }

    #[test]
    fn plain_is_as_it_is() {
        let name = Naming::Plain.of("203.0.113.0/24".parse().unwrap());
        assert_eq!((name.ip, name.pseudonym), (None, None));
        assert_eq!(name.prefix, Some("203.0.113.0/24".parse().unwrap()));
    }
}
