//! Who may say what is in force: the holder of a key of [minisign].
//!
//! The key is none of the configuration's settings, which could then name another: it comes from the
//! command line or the environment of the agent.
//!
//! [minisign]: https://jedisct1.github.io/minisign/

use std::{fs, str::FromStr};

use minisign_verify::{PublicKey, Signature};

use super::{Proposal, Versions, file};

/// Largest file with a key that is read.
const KEY_BYTES_MAX: u64 = 4 << 10;
/// What stands in front of the time in a signature that `minisign` makes.
const TIME: &str = "timestamp:";

/// A public key, without whose signature nothing is put in force.
#[derive(Clone, Debug)]
pub struct Key(PublicKey);

/// Why a configuration is not permitted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// It has none.
    #[error(
        "the configuration is not signed, and the agent wants a signature (--policy-key); sign it with \
         `minisign -Sm FILE`, which writes {file}"
    )]
    Missing {
        /// Where it should lie.
        file: String,
    },
    /// It is not of this text and this key.
    #[error("the signature of the configuration is not valid: {0}; sign it anew with `minisign -Sm FILE`")]
    Invalid(String),
    /// It is from before the one in force.
    #[error(
        "the configuration was signed before the one in force, as its signature says ({signed} against \
         {in_force}, seconds since 1970); sign it anew, or use `weir policy rollback`"
    )]
    Older {
        /// The time in it.
        signed: u64,
        /// The time in that of the version in force.
        in_force: u64,
    },
    /// It does not say when it was made, and that of the version in force does.
    #[error(
        "the signature does not say when it was made, so the configuration may be an old one; sign it with a \
         trusted comment that has `timestamp:SECONDS`, as minisign does by itself"
    )]
    Timeless,
}

impl Key {
    /// Returns the time in the signature of a configuration, if it is good. Its own is looked at first,
    /// then that of a version with the same text, which is good as well: it is of this text and this key.
    ///
    /// A signature older than that of the version in force is refused, so that nobody can put back
    /// what was signed once, unless `returns`: whoever rolls back says that it is meant.
    ///
    /// # Errors
    /// [`SignatureError`]
    pub fn check(
        &self,
        proposal: &Proposal,
        versions: &Versions,
        returns: bool,
    ) -> Result<Option<u64>, SignatureError> {
        let recorded = || {
            let same = versions.iter().find(|version| version.digest == proposal.digest)?;
            versions.load(same.number).ok()?.signature
        };
        let own = proposal.signature.as_ref().map(|signature| self.verify(&proposal.text, signature));
        let signed = match own {
            Some(Ok(signed)) => signed,
            own => match recorded().map(|signature| self.verify(&proposal.text, &signature)) {
                Some(Ok(signed)) => signed,
                _ => own.unwrap_or_else(|| {
                    let file = file::signature_of(&proposal.name).display().to_string();
                    Err(SignatureError::Missing { file })
                })?,
            },
        };
        let newest = versions.newest().filter(|newest| newest.digest != proposal.digest && !returns);
        match (signed, newest.and_then(|newest| newest.signed)) {
            (Some(signed), Some(in_force)) if signed < in_force => {
                Err(SignatureError::Older { signed, in_force })
            }
            (None, Some(_)) => Err(SignatureError::Timeless),
            _ => Ok(signed),
        }
    }

    /// Returns the time in a signature that is good.
    fn verify(&self, text: &str, signature: &str) -> Result<Option<u64>, SignatureError> {
        let invalid = |error: minisign_verify::Error| SignatureError::Invalid(error.to_string());
        let signature = Signature::decode(signature).map_err(invalid)?;
        // It covers the trusted comment too.
        self.0.verify(text.as_bytes(), &signature, false).map_err(invalid)?;
        let mut words = signature.trusted_comment().split_whitespace();
        Ok(words.find_map(|word| word.strip_prefix(TIME)?.parse().ok()))
    }
}

impl FromStr for Key {
    type Err = String;

    /// Reads a key as minisign prints it, or the file with one.
    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(key) = PublicKey::from_base64(text.trim()) {
            return Ok(Self(key));
        }
        let size = fs::metadata(text).map(|metadata| metadata.len());
        let unreadable =
            |error: String| format!("neither a public key of minisign (RW...), nor a file with one: {error}");
        if size.map_err(|error| unreadable(error.to_string()))? > KEY_BYTES_MAX {
            return Err(unreadable(format!("more than {KEY_BYTES_MAX} bytes")));
        }
        let file = fs::read_to_string(text).map_err(|error| unreadable(error.to_string()))?;
        // With the line of comment above it, or without.
        PublicKey::decode(&file)
            .or_else(|_| PublicKey::from_base64(file.trim()))
            .map(Self)
            .map_err(|error| unreadable(error.to_string()))
    }
}

/// Any file of a signature, for a text that nobody has signed.
#[cfg(any(test, feature = "fuzz"))]
pub(crate) fn fuzz(input: &[u8]) {
    /// `Ed`, a number, and some point of the curve.
    const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
    let text = String::from_utf8_lossy(input);
    _ = PublicKey::from_base64(&text);
    if let Ok(key) = PublicKey::from_base64(KEY) {
        assert!(Key(key).verify("enforce: shadow\n", &text).is_err());
    }
}
