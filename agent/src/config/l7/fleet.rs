use std::collections::HashSet;

use schemars::JsonSchema;
use serde::Deserialize;

use super::redis::{self, Server};
use crate::config::{raw::Text, validate::check::Check};

/// What keys begin with, if nothing else is said.
const PREFIX: &str = "weir:fleet:";
/// The stream, likewise.
const STREAM: &str = "bans";
/// Keys are not longer, in bytes.
const KEY_MAX: usize = 64;

/// Other gateways, and the Redis or Valkey through which they share bans.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fleet {
    /// The Redis.
    pub redis: Server,
    /// What this gateway is called. No other has the same name.
    pub name: String,
    /// What its keys begin with.
    pub prefix: String,
    /// What the stream is called behind that.
    pub stream: String,
}

/// Bans shared with other gateways.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    /// The Redis that they share.
    #[schemars(extend("x-type" = "redis"))]
    redis: Text,
    /// The user there.
    #[schemars(extend("x-type" = "text"))]
    user: Option<Text>,
    /// The file with the password.
    #[schemars(extend("x-type" = "path"))]
    password_file: Option<Text>,
    /// The name of this gateway; no other has the same.
    #[schemars(extend("x-type" = "name"))]
    name: Text,
    /// What keys begin with.
    #[schemars(extend("x-type" = "text", "default" = "weir:fleet:"))]
    prefix: Option<Text>,
    /// The stream of bans.
    #[schemars(extend("x-type" = "text", "default" = "bans"))]
    stream: Option<Text>,
}

pub(super) fn validate(check: &mut Check, raw: &Raw) -> Fleet {
    let file = raw.password_file.as_ref();
    let redis = redis::validate(
        check,
        ("l7.fleet.redis", &raw.redis),
        raw.user.as_ref(),
        ("l7.fleet.password_file", file),
    );
    let mut key = |field: &str, text: Option<&Text>, default: &str| {
        let Some(text) = text else { return default.to_owned() };
        let valid = |c: char| c.is_ascii_alphanumeric() || ":-_.{}".contains(c);
        if text.value.is_empty() || text.value.len() > KEY_MAX || !text.value.chars().all(valid) {
            let message =
                format!("`{}` is no key: 1 to {KEY_MAX} letters, digits and : - _ . {{ }}", text.value);
            check.problem(text.referenced, field, message);
        }
        text.value.clone()
    };
    let prefix = key("l7.fleet.prefix", raw.prefix.as_ref(), PREFIX);
    let stream = key("l7.fleet.stream", raw.stream.as_ref(), STREAM);
    Fleet { redis, name: check.name("l7.fleet.name", &raw.name, &mut HashSet::new()), prefix, stream }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(yaml: &str) -> Result<Fleet, String> {
        let raw = serde_saphyr::from_str(yaml).map_err(|error| error.to_string())?;
        let mut check = Check::default();
        let fleet = validate(&mut check, &raw);
        let problems: Vec<String> =
            check.problems.iter().map(|problem| format!("{}: {}", problem.field, problem.message)).collect();
        if problems.is_empty() { Ok(fleet) } else { Err(problems.join("\n")) }
    }

    #[test]
    fn a_url_or_the_path_of_a_socket() {
        let fleet = parse("{redis: /run/redis.sock, name: gw-1}").unwrap();
        assert_eq!((fleet.redis.url.as_str(), fleet.name.as_str()), ("redis+unix:///run/redis.sock", "gw-1"));
        assert_eq!((fleet.prefix.as_str(), fleet.stream.as_str()), (PREFIX, STREAM));
        let fleet = parse("{redis: 'redis://10.0.0.1/2', name: a, stream: eu, password_file: /p}").unwrap();
        assert_eq!((fleet.redis.url.as_str(), fleet.stream.as_str()), ("redis://10.0.0.1/2", "eu"));
    }

    #[test]
    fn errors_name_field_value_and_mend() {
        for (yaml, wants) in [
            ("{redis: 10.0.0.1, name: a}", &["l7.fleet.redis", "`10.0.0.1`", "write one like"][..]),
            ("{redis: 'redis://u:s3cret@h', name: a}", &["l7.fleet.redis", "password_file"]),
            ("{redis: 'rediss://h', name: a}", &["TLS", "tunnel"]),
            ("{redis: /s, name: 'a b'}", &["l7.fleet.name", "`a b`"]),
            ("{redis: /s, name: a, prefix: ''}", &["l7.fleet.prefix", "1 to 64"]),
            ("{redis: /s, name: a, password_file: p}", &["l7.fleet.password_file", "`p`", "whole path"]),
            ("{redis: /s}", &["name"]),
            ("{redis: /s, name: a, colour: red}", &["colour"]),
        ] {
            let error = parse(yaml).unwrap_err();
            assert!(!error.contains("s3cret"), "{error}");
            for want in wants {
                assert!(error.contains(want), "no `{want}` in {error}");
            }
        }
    }
}
