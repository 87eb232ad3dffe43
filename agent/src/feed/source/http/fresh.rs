//! How long an answer is good for, and when a server wants to be asked again (RFC 9110 and 9111).

use std::time::{Duration, SystemTime};

use super::Reply;

/// No server keeps us away for longer.
const MAX: Duration = Duration::from_hours(24);

/// What an answer says of its age.
#[derive(Debug)]
pub(super) struct Freshness {
    max_age: Option<Duration>,
    age: Duration,
}

impl Freshness {
    pub(super) fn of(reply: &Reply) -> Self {
        let directives = reply.header("cache-control").unwrap_or_default().split(',');
        let max_age = directives.filter_map(|directive| directive.trim().split_once('='));
        let mut max_age = max_age.filter(|(name, _)| name.eq_ignore_ascii_case("max-age"));
        Self {
            max_age: max_age.next().and_then(|(_, value)| seconds(value.trim_matches('"'))),
            age: reply.header("age").and_then(seconds).unwrap_or_default(),
        }
    }

    /// Returns how long the answer is good for from now on.
    pub(super) fn lasts(&self) -> Option<Duration> {
        let left = self.max_age?.saturating_sub(self.age).min(MAX);
        (!left.is_zero()).then_some(left)
    }
}

/// Returns how long to stay away: `Retry-After` has seconds, or a date.
pub(super) fn retry_after(reply: &Reply) -> Option<Duration> {
    let value = reply.header("retry-after")?.trim();
    let until = |date: SystemTime| date.duration_since(SystemTime::now()).unwrap_or_default();
    let wait = seconds(value).or_else(|| httpdate::parse_http_date(value).ok().map(until))?;
    Some(wait.min(MAX))
}

fn seconds(text: &str) -> Option<Duration> {
    text.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(headers: &[(&str, &str)]) -> Reply {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Reply { status: 200, headers: headers.iter().map(own).collect(), body: Vec::new() }
    }

    #[test]
    fn an_answer_is_good_for_what_is_left_of_its_max_age() {
        for (headers, want) in [
            (&[][..], None),
            (&[("cache-control", "no-cache")], None),
            (&[("cache-control", "public, Max-Age=300")], Some(300)),
            (&[("cache-control", "max-age=300"), ("age", "100")], Some(200)),
            (&[("cache-control", "max-age=300"), ("age", "400")], None),
            (&[("cache-control", "max-age=31536000, immutable")], Some(86_400)),
            (&[("cache-control", "max-age=soon")], None),
        ] {
            let lasts = Freshness::of(&reply(headers)).lasts();
            assert_eq!(lasts, want.map(Duration::from_secs), "{headers:?}");
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let after = |value| retry_after(&reply(&[("retry-after", value)]));
        assert_eq!(after("120"), Some(Duration::from_mins(2)));
        assert_eq!(after("999999999"), Some(MAX));
        assert_eq!(after("Thu, 01 Jan 1970 00:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(after("later"), None);
        let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_mins(10));
        let wait = after(&date).unwrap();
        assert!((590..=600).contains(&wait.as_secs()), "{wait:?}");
    }
}
