use std::fmt;

use axum::{
    body::Body,
    http::{
        HeaderValue, StatusCode,
        header::{CONTENT_TYPE, RETRY_AFTER},
    },
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};

use crate::config::{self, ConfigError};

/// Why a request is not served: what is wrong, where, and the mend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    #[serde(skip)]
    pub(crate) status: StatusCode,
    /// What is wrong.
    pub error: String,
    /// In which field, like `rules[3].prefix`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// What the field says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// What would help.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
    /// Of a configuration, each thing that is wrong with it.
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    pub problems: Box<[config::Problem]>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, error: impl Into<String>) -> Self {
        Self { status, error: error.into(), field: None, value: None, mend: None, problems: Box::default() }
    }

    /// A request that says what nobody can do.
    pub(crate) fn bad(field: &str, value: impl Into<String>, error: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, error).field(field).value(value)
    }

    pub(crate) fn not_found(error: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, error)
    }

    pub(crate) fn late() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "the agent is busy: not served in time")
            .mend("try again; GET /v1/rules says what is in force")
    }

    pub(super) fn crowded() -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "too many requests of this user or certificate")
            .mend("ask again in a second; one request can set many rules")
    }

    pub(crate) fn field(self, field: &str) -> Self {
        Self { field: Some(field.to_owned()), ..self }
    }

    pub(crate) fn value(self, value: impl Into<String>) -> Self {
        Self { value: Some(value.into()), ..self }
    }

    pub(crate) fn mend(self, mend: impl Into<String>) -> Self {
        Self { mend: Some(mend.into()), ..self }
    }

    pub(super) fn from_json(error: &serde_json::Error) -> Self {
        let text = error.to_string();
        let mut parts = text.split('`');
        let named = parts.next().is_some_and(|before| before.contains("field")).then(|| parts.next());
        let problem =
            Self::new(StatusCode::BAD_REQUEST, format!("the body is not what it should be: {text}"))
                .mend("send JSON as in docs/control.md");
        match named.flatten() {
            Some(field) => problem.field(field),
            None => problem,
        }
    }
}

impl From<ConfigError> for Problem {
    fn from(error: ConfigError) -> Self {
        let problem = Self::new(StatusCode::UNPROCESSABLE_ENTITY, error.to_string());
        Self { problems: error.problems.into(), ..problem }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What is too long to be told is not, but its field is.
        let told = self.value.as_ref().filter(|value| !value.is_empty());
        if let Some(what) = told.or(self.value.as_ref().and(self.field.as_ref())) {
            write!(f, "{what}: ")?;
        }
        f.write_str(&self.error)?;
        match &self.mend {
            Some(mend) => write!(f, "; {mend}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Problem {}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        // Strings and nothing else: this cannot fail.
        let mut response = json(self.status, serde_json::to_vec(&self).unwrap_or_default());
        if self.status == StatusCode::TOO_MANY_REQUESTS {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

pub(super) fn json(status: StatusCode, text: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
