use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use prometheus::IntCounterVec;
use tokio::{
    sync::watch,
    task::block_in_place,
    time::{Instant, sleep, sleep_until},
};

use super::{Alert, Kind, message};
use crate::{
    config::{Auth, Guards, Http, l7},
    feed::source::{
        FetchError,
        http::{Client, Request, secret},
    },
};

/// Pauses between attempts: the first, and the longest; each is twice the one before.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(1));
/// How often an Alertmanager is told what is still wrong. It forgets what is not repeated.
const REPEAT: Duration = Duration::from_mins(1);
/// An answer is not longer.
const ANSWER_BYTES_MAX: u64 = 64 << 10;

type Alerts = BTreeMap<(Kind, String), Alert>;

/// Who is told, and what it knows.
#[derive(Debug)]
pub(super) struct Target {
    kind: Form,
    url: String,
    client: Client,
    host: String,
    /// What a webhook's events are signed with.
    secret: Option<PathBuf>,
    told: Alerts,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Alertmanager,
    Webhook,
}

impl Form {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Alertmanager => "alertmanager",
            Self::Webhook => "webhook",
        }
    }
}

impl Target {
    /// Returns all that the configuration names.
    pub(super) fn all(settings: &l7::Notify) -> Vec<Self> {
        let host = message::host();
        let of = |kind, targets: &[l7::notify::Target]| -> Vec<Self> {
            let target = |target: &l7::notify::Target| Self::new(kind, target, settings.timeout, &host);
            targets.iter().filter_map(target).collect()
        };
        let mut targets = of(Form::Alertmanager, &settings.alertmanagers);
        targets.extend(of(Form::Webhook, &settings.webhooks));
        targets
    }

    fn new(kind: Form, target: &l7::notify::Target, timeout: Duration, host: &str) -> Option<Self> {
        let url = match kind {
            Form::Alertmanager => format!("{}/api/v2/alerts", target.url.trim_end_matches('/')),
            Form::Webhook => target.url.clone(),
        };
        let auth = match (kind, &target.secret) {
            (Form::Alertmanager, Some(file)) => {
                let (name, prefix) = ("Authorization".to_owned(), "Bearer ".to_owned());
                Auth::Header { name, prefix, file: file.clone() }
            }
            (Form::Alertmanager | Form::Webhook, _) => Auth::None,
        };
        let http = Http {
            url: url.clone(),
            // On this host or in the own network as a rule.
            insecure: true,
            private: true,
            auth,
            proxy: None,
            ca: None,
            client_certificate: None,
            timeout,
        };
        let client = Client::new(&http, &Guards { bytes: ANSWER_BYTES_MAX, ..Guards::default() });
        let client = client.inspect_err(|error| tracing::error!(%error, url, "nobody can be told there"));
        let (host, secret) = (host.to_owned(), target.secret.clone());
        Some(Self { kind, url, client: client.ok()?, host, secret, told: Alerts::new() })
    }

    /// Tells it what changes, for ever.
    pub(super) async fn run(mut self, mut news: watch::Receiver<Arc<Alerts>>, deliveries: IntCounterVec) {
        let (mut pause, mut repeat) = (PAUSES.0, Instant::now() + REPEAT);
        loop {
            let alerts = Arc::clone(&news.borrow_and_update());
            let repeated = self.kind == Form::Alertmanager && !alerts.is_empty() && Instant::now() >= repeat;
            if *alerts == self.told && !repeated {
                tokio::select! {
                    _ = news.changed() => {}
                    () = sleep_until(repeat), if self.kind == Form::Alertmanager && !alerts.is_empty() => {}
                }
                continue;
            }
            let result = self.tell(&alerts).await;
            let outcome = if result.is_ok() { "ok" } else { "failed" };
            deliveries.with_label_values(&[self.kind.as_str(), outcome]).inc();
            match result {
                Ok(()) => {
                    (self.told, pause) = (Alerts::clone(&alerts), PAUSES.0);
                    repeat = Instant::now() + REPEAT;
                }
                Err(error) => {
                    tracing::warn!(target = self.kind.as_str(), %error, "nobody could be told");
                    sleep(pause.mul_f64(0.75 + fastrand::f64() / 2.0)).await;
                    pause = (pause * 2).min(PAUSES.1);
                }
            }
        }
    }

    async fn tell(&self, alerts: &Alerts) -> Result<(), FetchError> {
        let is_new = |(key, alert): &(&(Kind, String), &Alert)| self.told.get(*key) != Some(*alert);
        let over: Vec<_> = self.told.iter().filter(|(key, _)| !alerts.contains_key(*key)).collect();
        let now = SystemTime::now();
        let mut headers = Vec::new();
        let body = match self.kind {
            Form::Alertmanager => message::alerts(&self.host, &alerts.iter().collect::<Vec<_>>(), &over, now),
            Form::Webhook => {
                let firing: Vec<_> = alerts.iter().filter(is_new).collect();
                message::events(&self.host, &firing, &over, now)
            }
        };
        if let (Form::Webhook, Some(file)) = (self.kind, &self.secret) {
            let (secret, exposed) = block_in_place(|| secret::line(file))
                .map_err(|why| FetchError::new("auth", format!("the secret in {} {why}", file.display())))?;
            if exposed {
                tracing::warn!(file = %file.display(), "others may read this secret; chmod 640 it");
            }
            headers.push(("x-weir-signature", message::signature(&secret, &body)));
        }
        let request = Request { method: "POST", url: self.url.clone(), headers, body: Some(body) };
        self.client.send(&request).await.map(drop)
    }
}
