//! Addresses as the audit has them: as they are, or as names that only the key can tell apart.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    net::IpAddr,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use aws_lc_rs::{hmac, rand};
use ipnet::IpNet;

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
pub(super) enum Names {
    Plain,
    Pseudonymous { key: Box<hmac::Key>, prefixes: bool },
}

/// An address or a prefix as it is written.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Name {
    /// The address, where it is told.
    pub(super) ip: Option<IpAddr>,
    /// The prefix, where it is told.
    pub(super) prefix: Option<IpNet>,
    /// The name that stands for it.
    pub(super) pseudonym: Option<String>,
}

impl Names {
    /// Prepares what the configuration asks for. The key is made where there is none.
    pub(super) fn new(addresses: Addresses, state: &Path) -> io::Result<Self> {
        match addresses {
            Addresses::Plain => Ok(Self::Plain),
            Addresses::Pseudonymous { prefixes } => {
                let key = Box::new(hmac::Key::new(hmac::HMAC_SHA256, &key(state)?));
                Ok(Self::Pseudonymous { key, prefixes })
            }
        }
    }

    /// Prepares the same with a key that is gone with the agent.
    pub(super) fn for_now(addresses: Addresses) -> Self {
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
    pub(super) fn hides(&self) -> bool {
        matches!(self, Self::Pseudonymous { .. })
    }

    pub(super) fn of(&self, prefix: IpNet) -> Name {
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
        let names = |prefixes| Names::new(Addresses::Pseudonymous { prefixes }, state.path()).unwrap();
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
    fn plain_is_as_it_is() {
        let name = Names::Plain.of("203.0.113.0/24".parse().unwrap());
        assert_eq!((name.ip, name.pseudonym), (None, None));
        assert_eq!(name.prefix, Some("203.0.113.0/24".parse().unwrap()));
    }
}
