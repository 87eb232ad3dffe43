use std::{path::PathBuf, time::Duration};

use crate::config::spanned::Spanned;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::{Lasts, raw::Text, validate::check::Check};

const TIMEOUT: Duration = Duration::from_secs(5);
const TIMEOUT_MAX: Duration = Duration::from_mins(1);
const BANS_PER_MINUTE: u32 = 30;
/// Targets of each kind.
const TARGETS_MAX: usize = 8;

/// Who is told of what happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notify {
    /// Alertmanagers, by the beginning of their URLs.
    pub alertmanagers: Vec<Target>,
    /// Where events are posted as JSON.
    pub webhooks: Vec<Target>,
    /// How long a request may take.
    pub timeout: Duration,
    /// From so many bans of the ladder in a minute on it is told.
    pub bans_per_minute: u32,
}

/// Where it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// A URL.
    pub url: String,
    /// The file with a secret: of an Alertmanager, a bearer token (RFC 6750); of a webhook, what its
    /// events are signed with.
    pub secret: Option<PathBuf>,
}

impl Default for Notify {
    fn default() -> Self {
        Self {
            alertmanagers: Vec::new(),
            webhooks: Vec::new(),
            timeout: TIMEOUT,
            bans_per_minute: BANS_PER_MINUTE,
        }
    }
}

/// Who is told of what is wrong.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Raw {
    /// Alertmanagers, API v2.
    alertmanagers: Vec<RawTarget>,
    /// Webhooks, which get JSON.
    webhooks: Vec<RawTarget>,
    /// How long a request may take.
    #[schemars(extend("x-type" = "time", "default" = "5s", "x-most" = "1m"))]
    timeout: Option<Text>,
    /// Bans of escalation in a minute from which on somebody is told.
    #[schemars(extend("x-type" = "number", "x-unit" = "bans a minute", "default" = 30, "minimum" = 1))]
    bans_per_minute: Option<Spanned<u32>>,
}

/// Somebody who is told.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RawTarget {
    /// The URL; of an Alertmanager without `/api/v2`.
    #[schemars(extend("x-type" = "url"))]
    url: Text,
    /// The file with a secret: of an Alertmanager a bearer token, of a webhook what its messages are signed
    /// with.
    #[schemars(extend("x-type" = "path"))]
    secret_file: Option<Text>,
}

pub(super) fn validate(check: &mut Check, raw: &Raw) -> Notify {
    let timeout = raw.timeout.as_ref().map_or(TIMEOUT, |text| timeout(check, text));
    let bans_per_minute = raw.bans_per_minute.as_ref().map_or(BANS_PER_MINUTE, |spanned| {
        if spanned.value == 0 {
            check.problem(spanned.referenced, "l7.notify.bans_per_minute", "0 is always; write 1 or more");
        }
        spanned.value
    });
    Notify {
        alertmanagers: targets(check, "l7.notify.alertmanagers", &raw.alertmanagers),
        webhooks: targets(check, "l7.notify.webhooks", &raw.webhooks),
        timeout,
        bans_per_minute,
    }
}

fn timeout(check: &mut Check, text: &Text) -> Duration {
    let field = "l7.notify.timeout";
    match check.parse::<Lasts>(field, text) {
        Some(Lasts(Some(lasts))) if lasts <= TIMEOUT_MAX => lasts,
        Some(_) => {
            let message = format!("`{}` is more than {TIMEOUT_MAX:?}; write one like 5s", text.value);
            check.problem(text.referenced, field, message);
            TIMEOUT
        }
        None => TIMEOUT,
    }
}

fn targets(check: &mut Check, field: &str, raw: &[RawTarget]) -> Vec<Target> {
    if let Some(target) = raw.get(TARGETS_MAX) {
        check.problem(target.url.referenced, field, format!("more than {TARGETS_MAX}; take some out"));
    }
    raw.iter().enumerate().map(|(i, raw)| target(check, &format!("{field}[{i}]"), raw)).collect()
}

fn target(check: &mut Check, field: &str, raw: &RawTarget) -> Target {
    let text = &raw.url;
    match url::Url::parse(&text.value) {
        Ok(url) if url.password().is_some() => {
            let message = "has a password, which others may read; put a secret into secret_file";
            // Without its place: the line would be shown with the password in it.
            check.problem(serde_saphyr::Location::UNKNOWN, &format!("{field}.url"), message);
        }
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => {}
        Ok(_) | Err(_) => {
            let message = format!("`{}` is no URL; write one like http://127.0.0.1:9093", text.value);
            check.problem(text.referenced, &format!("{field}.url"), message);
        }
    }
    let secret = raw.secret_file.as_ref().map(|text| check.path(&format!("{field}.secret_file"), text));
    Target { url: text.value.clone(), secret }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(yaml: &str) -> Result<Notify, String> {
        let raw = serde_saphyr::from_str(yaml).map_err(|error| error.to_string())?;
        let mut check = Check::default();
        let notify = validate(&mut check, &raw);
        let problems: Vec<String> =
            check.problems.iter().map(|problem| format!("{}: {}", problem.field, problem.message)).collect();
        if problems.is_empty() { Ok(notify) } else { Err(problems.join("\n")) }
    }

    #[test]
    fn nobody_is_told_by_default() {
        assert_eq!(parse("{}").unwrap(), Notify::default());
        let notify = parse("alertmanagers: [{url: 'http://h:9093'}]\ntimeout: 2s\n").unwrap();
        assert_eq!((notify.alertmanagers.len(), notify.timeout), (1, Duration::from_secs(2)));
    }

    #[test]
    fn errors_name_field_value_and_mend() {
        for (yaml, wants) in [
            ("webhooks: [{url: nowhere}]", &["webhooks[0].url", "`nowhere`", "write one like"][..]),
            ("webhooks: [{url: 'http://u:s3cret@h'}]", &["webhooks[0].url", "secret_file"]),
            ("webhooks: [{url: 'http://h', secret_file: s}]", &["secret_file", "`s`", "whole path"]),
            ("timeout: 2h", &["timeout", "`2h`", "5s"]),
            ("bans_per_minute: 0", &["bans_per_minute", "1 or more"]),
            ("{colour: red}", &["colour"]),
        ] {
            let error = parse(yaml).unwrap_err();
            assert!(!error.contains("s3cret"), "{error}");
            for want in wants {
                assert!(error.contains(want), "no `{want}` in {error}");
            }
        }
    }
}
