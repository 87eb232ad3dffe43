use std::{
    fmt::Write as _,
    fs,
    path::Path,
    time::{Duration, SystemTime},
};

use aws_lc_rs::hmac;
use serde::Serialize;

use super::{Alert, Kind};

/// An alert ends by itself when nobody has repeated it for so long: then weir is away.
const LASTS: Duration = Duration::from_mins(4);

/// What a target is told of: a kind, what is concerned, and how it is.
pub(super) type Item<'a> = (&'a (Kind, String), &'a Alert);

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct AlertBody<'a> {
    labels: Labels<'a>,
    annotations: Annotations<'a>,
    starts_at: String,
    ends_at: String,
}

#[derive(Debug, Serialize)]
struct Labels<'a> {
    alertname: &'static str,
    severity: &'static str,
    instance: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    subject: &'a str,
}

#[derive(Debug, Serialize)]
struct Annotations<'a> {
    summary: &'a str,
}

/// Returns a body for `POST /api/v2/alerts` (Alertmanager's api/v2/openapi.yaml, `postableAlerts`).
pub(super) fn alerts(host: &str, firing: &[Item<'_>], over: &[Item<'_>], now: SystemTime) -> Vec<u8> {
    let body = |ends: SystemTime| {
        move |((kind, subject), alert): &Item<'_>| {
            serde_json::json!(AlertBody {
                labels: Labels {
                    alertname: kind.alert(),
                    severity: kind.severity(),
                    instance: host,
                    subject
                },
                annotations: Annotations { summary: &alert.text },
                starts_at: time(alert.since),
                ends_at: time(ends),
            })
        }
    };
    let bodies: Vec<_> = firing.iter().map(body(now + LASTS)).chain(over.iter().map(body(now))).collect();
    serde_json::to_vec(&bodies).unwrap_or_default()
}

#[derive(Debug, Serialize)]
struct Report<'a> {
    version: u8,
    host: &'a str,
    sent: String,
    events: Vec<Event<'a>>,
}

#[derive(Debug, Serialize)]
struct Event<'a> {
    kind: &'static str,
    state: &'static str,
    severity: &'static str,
    subject: &'a str,
    text: &'a str,
    since: String,
}

/// Returns a body for a webhook.
pub(super) fn events(host: &str, firing: &[Item<'_>], over: &[Item<'_>], now: SystemTime) -> Vec<u8> {
    fn event<'a>(state: &'static str) -> impl Fn(&Item<'a>) -> Event<'a> {
        move |((kind, subject), alert)| Event {
            kind: kind.as_str(),
            state,
            severity: kind.severity(),
            subject,
            text: &alert.text,
            since: time(alert.since),
        }
    }
    let events = firing.iter().map(event("firing")).chain(over.iter().map(event("resolved"))).collect();
    serde_json::to_vec(&Report { version: 1, host, sent: time(now), events }).unwrap_or_default()
}

/// Returns what proves that a body comes from somebody who knows the secret: HMAC-SHA256 (RFC 2104) in
/// the form that webhooks of GitHub have.
pub(super) fn signature(secret: &str, body: &[u8]) -> String {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), body);
    let mut text = "sha256=".to_owned();
    for byte in tag.as_ref() {
        _ = write!(text, "{byte:02x}");
    }
    text
}

/// Returns the name of this host.
pub(super) fn host() -> String {
    let name = fs::read_to_string(Path::new("/proc/sys/kernel/hostname")).unwrap_or_default();
    if name.trim().is_empty() { "weir".to_owned() } else { name.trim().to_owned() }
}

fn time(time: SystemTime) -> String {
    humantime::format_rfc3339_millis(time).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_that_of_the_test_vector() {
        // RFC 4231, test case 2.
        assert_eq!(
            signature("Jefe", b"what do ya want for nothing?"),
            "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }

    #[test]
    fn bodies_say_what_is_wrong_and_what_is_over() {
        let key = (Kind::FeedHeld, "bad".to_owned());
        let alert = Alert { text: "held".to_owned(), since: SystemTime::UNIX_EPOCH };
        let now = SystemTime::UNIX_EPOCH + Duration::from_mins(1);
        let body = String::from_utf8(alerts("gw", &[(&key, &alert)], &[(&key, &alert)], now)).unwrap();
        for part in [
            r#""alertname":"WeirFeedHeld""#,
            r#""subject":"bad""#,
            r#""startsAt":"1970-01-01T00:00:00.000Z""#,
            r#""endsAt":"1970-01-01T00:05:00.000Z""#,
            r#""endsAt":"1970-01-01T00:01:00.000Z""#,
        ] {
            assert!(body.contains(part), "no {part} in {body}");
        }
        let body = String::from_utf8(events("gw", &[], &[(&key, &alert)], now)).unwrap();
        assert!(body.contains(r#""kind":"feed_held","state":"resolved""#), "{body}");
    }
}
