use std::path::PathBuf;

use serde_saphyr::Location;

use crate::config::{raw::Text, validate::check::Check};

const FORM: &str = "write one like redis://10.0.0.1:6379/0, or the path of a socket";

/// A Redis or Valkey.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Where it is.
    pub url: String,
    /// The user; nothing: Redis' default one.
    pub user: Option<String>,
    /// The file with the password.
    pub password: Option<PathBuf>,
}

/// Reads one whose URL is in the field `url`, and whose password is in the file that the field
/// `password` names.
pub(super) fn validate(
    check: &mut Check,
    (url_field, url): (&str, &Text),
    user: Option<&Text>,
    (file_field, file): (&str, Option<&Text>),
) -> Server {
    Server {
        url: location(check, url_field, url),
        user: user.map(|text| text.value.clone()),
        password: file.map(|text| check.path(file_field, text)),
    }
}

/// A URL as the client of Redis reads it.
fn location(check: &mut Check, field: &str, text: &Text) -> String {
    let value = text.value.strip_prefix("unix:").unwrap_or(&text.value);
    if value.starts_with('/') {
        return format!("redis+unix://{value}");
    }
    match url::Url::parse(value) {
        Ok(url) if url.password().is_some() => {
            // Without its place: the line would be shown with the password in it.
            let line = text.referenced.line();
            let message =
                format!("line {line} has a password, which others may read; put it into password_file");
            check.problem(Location::UNKNOWN, field, message);
        }
        Ok(url) if matches!(url.scheme(), "redis" | "valkey") && url.has_host() => {}
        Ok(url) if matches!(url.scheme(), "rediss" | "valkeys") => {
            let message = format!("`{value}`: TLS is not spoken; use a tunnel on this host, and its address");
            check.problem(text.referenced, field, message);
        }
        Ok(_) | Err(_) => {
            check.problem(text.referenced, field, format!("`{value}` is no URL of a Redis; {FORM}"));
        }
    }
    value.to_owned()
}
