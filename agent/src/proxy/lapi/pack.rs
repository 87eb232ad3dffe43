//! Bodies, made and packed beside the threads that serve.

use std::io::Write as _;

use axum::{
    body::Body,
    http::{
        HeaderMap, HeaderValue, StatusCode,
        header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, VARY},
    },
    response::{IntoResponse as _, Response},
};
use flate2::{Compression, write::GzEncoder};
use tokio::{sync::Semaphore, task};

/// Bodies that are made at a time: each may have some megabytes.
const AT_A_TIME: usize = 2;
/// A smaller body is not worth it.
const PACKED_MIN: usize = 1400;

static PLACES: Semaphore = Semaphore::const_new(AT_A_TIME);

/// Returns an answer whose body `make` makes, packed where the asker can unpack it.
pub(super) async fn answer(
    headers: &HeaderMap,
    kind: &'static str,
    make: impl FnOnce() -> Vec<u8> + Send + 'static,
) -> Response {
    let gzip = takes_gzip(headers);
    // Never closed.
    let place = PLACES.acquire().await;
    let body = task::spawn_blocking(move || {
        let body = make();
        match gzip.then(|| pack(&body)).flatten() {
            Some(packed) => (packed, true),
            None => (body, false),
        }
    });
    let body = body.await;
    drop(place);
    let Ok((body, packed)) = body else { return StatusCode::INTERNAL_SERVER_ERROR.into_response() };
    let mut response = Response::new(Body::from(body));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
    if packed {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

fn takes_gzip(headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let never = weight.trim().strip_prefix("q=").is_some_and(|weight| weight.parse() == Ok(0.0));
        matches!(name.trim(), "gzip" | "*") && !never
    })
}

fn pack(body: &[u8]) -> Option<Vec<u8>> {
    if body.len() < PACKED_MIN {
        return None;
    }
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::fast());
    encoder.write_all(body).ok()?;
    encoder.finish().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_for_those_who_ask() {
        for (value, takes) in [
            ("gzip", true),
            ("br, gzip;q=0.5", true),
            ("*", true),
            ("gzip;q=0", false),
            ("br", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(value));
            assert_eq!(takes_gzip(&headers), takes, "{value}");
        }
    }
}
