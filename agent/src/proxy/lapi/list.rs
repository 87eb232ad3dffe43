//! Bans as plain text, a prefix a line, for whoever reads lists: firewalls, and what else reads those of
//! cs-blocklist-mirror, whose query this page understands as far as it is about families.

use std::{
    fmt::Write as _,
    hash::{Hash as _, Hasher as _},
};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use ipnet::IpNet;
use rustc_hash::FxHasher;

use super::{Lapi, pack};

const PLAIN: &str = "text/plain; charset=utf-8";

pub(super) async fn page(State(lapi): State<Lapi>, request: Request) -> Response {
    let (request, _) = request.into_parts();
    let query = request.uri.query().unwrap_or_default();
    let only = |name: &str| url::form_urlencoded::parse(query.as_bytes()).any(|(known, _)| known == name);
    let (v4, v6) = (!only("ipv6only"), !only("ipv4only"));
    let sight = lapi.look();
    let mut bans = if sight.shadow { Vec::new() } else { sight.board.bans(sight.at) };
    bans.retain(|ban| if matches!(ban, IpNet::V4(_)) { v4 } else { v6 });
    let tag = tag(&bans);
    if let Ok(value) = HeaderValue::try_from(&tag)
        && known(&request.headers, &tag)
    {
        return (StatusCode::NOT_MODIFIED, [(header::ETAG, value)]).into_response();
    }
    let mut response = pack::answer(&request.headers, PLAIN, move || lines(&bans, "")).await;
    if let Ok(value) = HeaderValue::try_from(tag) {
        response.headers_mut().insert(header::ETAG, value);
    }
    response
}

/// Returns a line for each prefix.
pub(in crate::proxy) fn lines(bans: &[IpNet], end: &str) -> Vec<u8> {
    let mut text = String::with_capacity(bans.len() * 20);
    for ban in bans {
        // Into a text: this cannot fail.
        _ = writeln!(text, "{ban}{end}");
    }
    text.into_bytes()
}

/// Weak: packed, it is other bytes.
fn tag(bans: &[IpNet]) -> String {
    let mut hasher = FxHasher::default();
    bans.hash(&mut hasher);
    format!("W/\"{:016x}-{}\"", hasher.finish(), bans.len())
}

fn known(headers: &HeaderMap, tag: &str) -> bool {
    let values = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let opaque = tag.trim_start_matches("W/");
    values.flat_map(|value| value.split(',')).any(|one| one.trim().trim_start_matches("W/") == opaque)
}
