//! The control API over TCP, for who has a certificate.

use std::{collections::BTreeSet, net::SocketAddr, path::PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;

use super::{raw::Text, validate::check::Check};

const NAME_BYTES_MAX: usize = 255;

/// `listen.control_tls`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlTls {
    /// Where.
    pub address: SocketAddr,
    /// The certificate of this host, with those between it and the authority, in PEM.
    pub certificate: PathBuf,
    /// Its key, in PEM.
    pub key: PathBuf,
    /// Authorities that certify who may ask, in PEM.
    pub client_ca: PathBuf,
    /// Names that may read.
    pub readers: BTreeSet<String>,
    /// Names that may read and change.
    pub writers: BTreeSet<String>,
}

/// The control API over TCP, for those who have a certificate.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    /// Address and port.
    #[schemars(extend("x-type" = "address"))]
    address: Text,
    /// The certificate of this host, with those between it and the authority: a PEM file.
    #[schemars(extend("x-type" = "path"))]
    certificate: Text,
    /// Its key: a PEM file.
    #[schemars(extend("x-type" = "path"))]
    key: Text,
    /// Authorities that certify who may ask: a PEM file.
    #[schemars(extend("x-type" = "path"))]
    client_ca: Text,
    /// Names of certificates that may read.
    #[serde(default)]
    #[schemars(extend("x-type" = "text"))]
    readers: Vec<Text>,
    /// Names of certificates that may read and change.
    #[serde(default)]
    #[schemars(extend("x-type" = "text"))]
    writers: Vec<Text>,
}

pub(super) fn validate(check: &mut Check, raw: &Raw) -> Option<ControlTls> {
    let address = check.parse("listen.control_tls.address", &raw.address);
    let mut path = |field: &str, text: &Text| check.path(&format!("listen.control_tls.{field}"), text);
    let (certificate, key) = (path("certificate", &raw.certificate), path("key", &raw.key));
    let client_ca = path("client_ca", &raw.client_ca);
    let readers = names(check, "readers", &raw.readers);
    let writers = names(check, "writers", &raw.writers);
    if readers.is_empty() && writers.is_empty() {
        let message = "nobody may ask: name at least one reader or writer";
        check.problem(raw.address.referenced, "listen.control_tls", message);
    }
    Some(ControlTls { address: address?, certificate, key, client_ca, readers, writers })
}

fn names(check: &mut Check, field: &str, raw: &[Text]) -> BTreeSet<String> {
    for (i, text) in raw.iter().enumerate() {
        let name = &text.value;
        if name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
            let message = format!("`{name}` is no name of a certificate: 1 to {NAME_BYTES_MAX} bytes");
            check.problem(text.referenced, &format!("listen.control_tls.{field}[{i}]"), message);
        }
    }
    raw.iter().map(|text| text.value.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(yaml: &str) -> Result<ControlTls, String> {
        let raw = serde_saphyr::from_str(yaml).map_err(|error| error.to_string())?;
        let mut check = Check::default();
        let tls = validate(&mut check, &raw);
        let problems: Vec<String> =
            check.problems.iter().map(|problem| format!("{}: {}", problem.field, problem.message)).collect();
        tls.filter(|_| problems.is_empty()).ok_or_else(|| problems.join("\n"))
    }

    #[test]
    fn whoever_may_is_named() {
        let whole = "address: 127.0.0.1:9647, certificate: /c.pem, key: /k.pem, client_ca: /ca.pem";
        let tls = parse(&format!("{{{whole}, writers: [ops], readers: ['spiffe://a/b']}}")).unwrap();
        assert!(tls.writers.contains("ops") && tls.readers.contains("spiffe://a/b"));
        for (yaml, wants) in [
            (format!("{{{whole}}}"), &["listen.control_tls", "nobody may ask"][..]),
            (format!("{{{whole}, writers: ['']}}"), &["writers[0]", "no name"]),
            (
                format!("{{{}, writers: [a]}}", whole.replace("/k.pem", "k.pem")),
                &["control_tls.key", "`k.pem`"],
            ),
            (format!("{{{}, writers: [a]}}", whole.replace(":9647", "")), &["address", "`127.0.0.1`"]),
            (format!("{{{whole}, colour: red}}"), &["colour"]),
        ] {
            let error = parse(&yaml).unwrap_err();
            for want in wants {
                assert!(error.contains(want), "no `{want}` in {error}");
            }
        }
    }
}
