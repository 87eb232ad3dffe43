use std::{
    collections::BTreeMap,
    fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use crate::{
    config::ConfigError,
    decision::{
        Client, Decision, Request, Source,
        source::{Ban, Listed, Pressure},
    },
};

/// Largest file that is read.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Why cases cannot be read.
#[derive(Debug, thiserror::Error)]
pub(in crate::cli) enum CasesError {
    /// The file.
    #[error("{}: {error}", .path.display())]
    Unreadable {
        /// Its path.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// What the reader of YAML refuses.
    #[error("{0}")]
    Yaml(ConfigError),
    /// What stands in it.
    #[error("{}: {message}", .path.display())]
    Invalid {
        /// Its path.
        path: PathBuf,
        /// Where, and what.
        message: String,
    },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cases {
    cases: Vec<Case>,
}

/// A request, its source, and what is to become of it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Case {
    pub(super) name: String,
    request: RawRequest,
    #[serde(default)]
    source: RawSource,
    expect: Expect,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRequest {
    client: IpAddr,
    #[serde(default = "directly")]
    direct: bool,
    method: Option<String>,
    host: Option<String>,
    path: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    consumer: Option<String>,
    route: Option<String>,
    tls: Option<String>,
}

fn directly() -> bool {
    true
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawSource {
    listed: Word,
    lists: Vec<String>,
    banned: bool,
    used: f64,
    soft: bool,
    over: bool,
    risk: f64,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Word {
    #[default]
    Nowhere,
    Allow,
    Partner,
    Suspicious,
    Observe,
    Drop,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expect {
    verdict: Wanted,
    reason: Option<String>,
    would: Option<String>,
    score: Option<f64>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Wanted {
    Allow,
    Challenge,
    Throttle,
    Deny,
}

/// Reads a file with cases.
pub(super) fn load(path: &Path) -> Result<Vec<Case>, CasesError> {
    parse(path, &read(path)?)
}

/// Reads the text of a file with cases of any kind.
pub(in crate::cli) fn read(path: &Path) -> Result<String, CasesError> {
    let unreadable = |error| CasesError::Unreadable { path: path.to_owned(), error };
    if fs::metadata(path).map_err(unreadable)?.len() > FILE_BYTES_MAX {
        return Err(unreadable(io::Error::other(format!("larger than {FILE_BYTES_MAX} bytes"))));
    }
    fs::read_to_string(path).map_err(unreadable)
}

/// Reads the text of such a file; `path` is for messages.
pub(super) fn parse(path: &Path, text: &str) -> Result<Vec<Case>, CasesError> {
    let parsed: Result<Cases, _> = serde_saphyr::from_str(text);
    let refused = |error| CasesError::Yaml(ConfigError::from_yaml(path, text, &error));
    Ok(parsed.map_err(refused)?.cases)
}

impl Case {
    pub(super) fn request(&self) -> Request {
        let RawRequest { client, direct, method, host, path, headers, consumer, route, tls } = &self.request;
        let lower = |(name, value): (&String, &String)| (name.to_ascii_lowercase(), value.clone());
        let request = Request::of(Client { address: client.to_canonical(), direct: *direct });
        Request {
            method: method.as_ref().map_or(request.method, |method| method.to_ascii_uppercase()),
            host: host.as_ref().map_or(request.host, |host| host.to_ascii_lowercase()),
            path: path.clone().unwrap_or(request.path),
            headers: headers.iter().map(lower).collect(),
            consumer: consumer.clone(),
            route: route.clone(),
            tls: tls.clone(),
            ..request
        }
    }

    pub(super) fn source(&self) -> Source {
        let RawSource { listed, lists, banned, used, soft, over, risk } = &self.source;
        Source {
            listed: match listed {
                Word::Nowhere => Listed::Nowhere,
                Word::Allow => Listed::Allow,
                Word::Partner => Listed::Partner,
                Word::Suspicious => Listed::Suspicious,
                Word::Observe => Listed::Observe,
                Word::Drop => Listed::Drop,
            },
            lists: lists.clone().into(),
            ban: banned.then_some(Ban { shadow: false, left: None }),
            used: *used,
            pressure: match (over, soft) {
                (true, _) => Pressure::Over,
                (false, true) => Pressure::Soft,
                (false, false) => Pressure::None,
            },
            risk: *risk,
            ..Source::default()
        }
    }

    /// Returns what was expected and did not come.
    pub(super) fn differences(&self, decision: &Decision) -> Vec<String> {
        let Expect { verdict, reason, would, score } = &self.expect;
        let verdict = match verdict {
            Wanted::Allow => "allow",
            Wanted::Challenge => "challenge",
            Wanted::Throttle => "throttle",
            Wanted::Deny => "deny",
        };
        let came = decision.would.as_ref().map(|(verdict, why)| format!("{} {why}", verdict.as_str()));
        let mut differences = Vec::new();
        if decision.verdict.as_str() != verdict {
            differences.push(format!("verdict {verdict}"));
        }
        differences.extend(
            reason
                .as_ref()
                .filter(|reason| **reason != decision.why.to_string())
                .map(|r| format!("reason {r}")),
        );
        differences.extend(
            would
                .as_ref()
                .filter(|would| **would != came.clone().unwrap_or_default())
                .map(|w| format!("would {w}")),
        );
        differences.extend(
            score.filter(|score| (score - decision.score).abs() > 0.5).map(|score| format!("score {score}")),
        );
        differences
    }
}

/// Any file of cases.
#[cfg(any(test, feature = "fuzz"))]
pub(crate) fn fuzz(text: &str) {
    for case in parse(Path::new("cases.yaml"), text).unwrap_or_default() {
        _ = (case.request(), case.source());
    }
}
