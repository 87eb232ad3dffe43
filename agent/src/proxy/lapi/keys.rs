//! Who asks. Keys lie in files, and are read again when they may have changed.

use std::{
    hint::black_box,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::http::{HeaderMap, header::AUTHORIZATION};
use tokio::task;

use crate::{config::l7::Bouncer, feed::source::http::secret};

/// How long keys are taken for what their files say.
const AGE_MAX: Duration = Duration::from_secs(1);
const HEADER: &str = "x-api-key";

/// The keys of all bouncers.
#[derive(Debug)]
pub(super) struct Keys {
    bouncers: Vec<Bouncer>,
    known: Mutex<Option<Known>>,
}

#[derive(Clone, Debug)]
struct Known {
    read: Instant,
    /// In the order of the bouncers; nothing: it cannot be used.
    keys: Arc<[Option<String>]>,
}

impl Keys {
    pub(super) fn new(bouncers: &[Bouncer]) -> Self {
        Self { bouncers: bouncers.to_vec(), known: Mutex::default() }
    }

    /// Returns the name of a bouncer.
    pub(super) fn name(&self, number: usize) -> &str {
        self.bouncers.get(number).map_or("", |bouncer| &bouncer.name)
    }

    /// Returns the number of the bouncer that sends these headers: its key in `X-Api-Key`, or its name
    /// and key as basic authentication has them, for firewalls that know nothing else.
    pub(super) async fn whose(self: &Arc<Self>, headers: &HeaderMap) -> Option<usize> {
        let keys = self.keys().await;
        let offered = headers.get(HEADER);
        let basic = headers.get(AUTHORIZATION);
        let mut found = None;
        // All of them, whoever it is: how long it takes says nothing.
        for (number, key) in keys.iter().enumerate() {
            let Some(key) = key else { continue };
            let by_key = offered.is_some_and(|offered| same(offered.as_bytes(), key.as_bytes()));
            let expected = format!("Basic {}", base64(format!("{}:{key}", self.name(number)).as_bytes()));
            let by_basic = basic.is_some_and(|basic| same(basic.as_bytes(), expected.as_bytes()));
            if by_key | by_basic {
                found = found.or(Some(number));
            }
        }
        found
    }

    async fn keys(self: &Arc<Self>) -> Arc<[Option<String>]> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(Known { keys, .. }) = known.filter(|known| known.read.elapsed() < AGE_MAX) {
            return keys;
        }
        let this = Arc::clone(self);
        task::spawn_blocking(move || this.read()).await.unwrap_or_default()
    }

    fn read(&self) -> Arc<[Option<String>]> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let before = known.take();
        let keys = self.bouncers.iter().enumerate().map(|(number, bouncer)| {
            let was = before.as_ref().map(|before| before.keys.get(number).is_some_and(Option::is_some));
            let path = bouncer.key_file.display();
            match secret::line(&bouncer.key_file) {
                Ok((key, exposed)) => {
                    if exposed && was != Some(true) {
                        tracing::warn!(file = %path, "others may read this key; chmod 640 it");
                    }
                    Some(key)
                }
                Err(why) => {
                    // Said when it begins.
                    if was != Some(false) {
                        tracing::error!(bouncer = %bouncer.name, file = %path, %why,
                            "the key of a bouncer cannot be used; it is refused");
                    }
                    None
                }
            }
        });
        let keys: Arc<[Option<String>]> = keys.collect();
        *known = Some(Known { read: Instant::now(), keys: Arc::clone(&keys) });
        keys
    }
}

/// Compares without telling by its time where two differ. That their lengths do may be seen.
fn same(a: &[u8], b: &[u8]) -> bool {
    let difference = a.iter().zip(b).fold(0, |difference, (a, b)| black_box(difference | (a ^ b)));
    a.len() == b.len() && difference == 0
}

/// Base 64 with padding (RFC 4648, section 4).
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let bits =
            three.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for place in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * place) & 63) as usize];
            text.push(if place <= three.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn base64_is_that_of_the_rfc() {
        for (text, coded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foobar", "Zm9vYmFy"),
            ("weir:s3cret", "d2VpcjpzM2NyZXQ="),
        ] {
            assert_eq!(base64(text.as_bytes()), coded);
        }
    }

    #[tokio::test]
    async fn a_key_is_that_of_one_bouncer() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str| directory.path().join(name);
        std::fs::write(file("a"), "key of a\n").unwrap();
        std::fs::write(file("b"), "key of b").unwrap();
        let bouncer = |name: &str| Bouncer { name: name.to_owned(), key_file: file(name) };
        let keys = Arc::new(Keys::new(&[bouncer("a"), bouncer("b"), bouncer("absent")]));
        for (name, value, whose) in [
            (HEADER, "key of a", Some(0)),
            (HEADER, "key of b", Some(1)),
            (HEADER, "key of ", None),
            (HEADER, "key of ab", None),
            (HEADER, "", None),
            ("authorization", "Basic YTprZXkgb2YgYQ==", Some(0)),
            ("authorization", "Basic YjprZXkgb2YgYQ==", None),
            ("accept", "key of a", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_static(value));
            assert_eq!(keys.whose(&headers).await, whose, "{name}: {value}");
        }
        assert_eq!(keys.whose(&HeaderMap::new()).await, None);
    }
}
