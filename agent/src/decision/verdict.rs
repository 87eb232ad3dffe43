use std::{fmt, sync::Arc, time::Duration};

/// What becomes of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verdict {
    /// It goes on.
    #[default]
    Allow,
    /// Its client has to prove something first; a proxy that knows no challenge refuses it.
    Challenge,
    /// It came too early.
    Throttle,
    /// It is refused.
    Deny,
}

impl Verdict {
    /// Returns its name in headers, metrics and output.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Challenge => "challenge",
            Self::Throttle => "throttle",
            Self::Deny => "deny",
        }
    }

    /// Returns the status of HTTP that goes with it (RFC 9110, RFC 6585). A challenge is 401 only in
    /// the realm of authentication, so it is 403 here, and its header says what it is.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::Allow => 200,
            Self::Challenge | Self::Deny => 403,
            Self::Throttle => 429,
        }
    }
}

/// Why.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Why {
    /// Nothing speaks against it.
    #[default]
    Clean,
    /// Its source always passes.
    Allowed,
    /// Its source is banned.
    Banned,
    /// Lists name its source.
    Listed,
    /// This rule says so.
    Rule(Arc<str>),
    /// This quota is used up.
    Quota(Arc<str>),
    /// Its source has done too much, together.
    Risk,
    /// Its source is over a limit of the kernel.
    OverLimit,
    /// It could not be decided in time, and the route says what then.
    Undecided,
}

impl Why {
    /// Returns its kind, for metrics.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Allowed => "allowed",
            Self::Banned => "banned",
            Self::Listed => "listed",
            Self::Rule(_) => "rule",
            Self::Quota(_) => "quota",
            Self::Risk => "risk",
            Self::OverLimit => "over_limit",
            Self::Undecided => "undecided",
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rule(name) | Self::Quota(name) => write!(f, "{}:{name}", self.kind()),
            Self::Clean
            | Self::Allowed
            | Self::Banned
            | Self::Listed
            | Self::Risk
            | Self::OverLimit
            | Self::Undecided => f.write_str(self.kind()),
        }
    }
}

/// The state of the quota that is closest to its end, for headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaState {
    /// Its name.
    pub name: Arc<str>,
    /// Requests that it grants in a window.
    pub limit: u64,
    /// The window, in seconds.
    pub window: u64,
    /// Requests that are left now.
    pub remaining: u64,
    /// Until all are there again.
    pub reset: Duration,
}

/// What becomes of a request, and why.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decision {
    /// What becomes of it.
    pub verdict: Verdict,
    /// Why.
    pub why: Why,
    /// When it makes sense to come again.
    pub retry_after: Option<Duration>,
    /// How suspicious it is: the risk of its source and what rules add.
    pub score: f64,
    /// What would have become of it, were that not in shadow mode.
    pub would: Option<(Verdict, Why)>,
    /// Its quota.
    pub quota: Option<QuotaState>,
}

impl Decision {
    /// Returns a decision with nothing but its verdict.
    #[must_use]
    pub fn of(verdict: Verdict, why: Why) -> Self {
        Self { verdict, why, ..Self::default() }
    }

    /// Returns one that lets pass.
    #[must_use]
    pub fn allow(why: Why) -> Self {
        Self::of(Verdict::Allow, why)
    }

    /// Returns it as one that lets pass and tells what it would have been.
    #[must_use]
    pub fn in_shadow(self) -> Self {
        if self.verdict == Verdict::Allow {
            return self;
        }
        let would = Some((self.verdict, self.why));
        Self { verdict: Verdict::Allow, why: Why::Clean, would, retry_after: None, ..self }
    }

    /// Returns the headers that go with it, for proxies and for those who ask: `x-weir-*`, and, where
    /// they are known, Retry-After (RFC 9110) and those of the quota.
    #[must_use]
    pub fn headers(&self) -> Vec<(&'static str, String)> {
        let mut headers = vec![
            ("x-weir-verdict", self.verdict.as_str().to_owned()),
            ("x-weir-reason", self.why.to_string()),
            ("x-weir-score", format!("{:.0}", self.score)),
        ];
        if let Some((verdict, why)) = &self.would {
            headers.push(("x-weir-would", format!("{} {why}", verdict.as_str())));
        }
        if let Some(seconds) = self.retry_seconds() {
            headers.push(("retry-after", seconds.to_string()));
        }
        headers.extend(self.quota_headers());
        headers
    }

    /// Returns the headers of the quota that is closest to its end: RateLimit-Policy and RateLimit
    /// (draft-ietf-httpapi-ratelimit-headers-10).
    pub fn quota_headers(&self) -> impl Iterator<Item = (&'static str, String)> {
        let headers = |QuotaState { name, limit, window, remaining, reset }: &QuotaState| {
            [
                ("ratelimit-policy", format!("\"{name}\";q={limit};w={window}")),
                ("ratelimit", format!("\"{name}\";r={remaining};t={}", whole_seconds(*reset))),
            ]
        };
        self.quota.as_ref().map(headers).into_iter().flatten()
    }

    /// Returns in how many seconds it makes sense to come again, where it is refused and that is known.
    #[must_use]
    pub fn retry_seconds(&self) -> Option<u64> {
        let time = self.retry_after.filter(|_| self.verdict != Verdict::Allow)?;
        Some(whole_seconds(time).max(1))
    }
}

/// Rounded up: a client that comes at that time is not too early.
fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}
