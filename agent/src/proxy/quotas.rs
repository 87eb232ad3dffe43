//! Quotas, here and shared with other gateways.

/// What is counted of them.
mod counts;
/// The store that gateways share.
mod shared;

use std::{sync::Arc, time::Instant};

use crate::{
    config::l7,
    decision::quota::{Charged, Descriptor, Plan, Store, Told},
    telemetry::registry::Registry,
};
use counts::Counts;
use shared::Shared;

/// Quotas as they are configured, and what is owed.
#[derive(Clone, Debug)]
pub struct Quotas {
    settings: Arc<l7::Quotas>,
    local: Arc<Store>,
    shared: Option<Arc<Shared>>,
    counts: Counts,
    since: Instant,
}

/// The store that gateways share is away, and each gateway by itself is not to grant anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the store of quotas is away")]
pub struct Away;

impl Quotas {
    /// Returns quotas of which nothing is used.
    ///
    /// # Errors
    /// If two metrics have one name.
    pub fn new(settings: &l7::Quotas, registry: &Registry) -> prometheus::Result<Self> {
        let counts = Counts::new(registry)?;
        Ok(Self {
            settings: Arc::new(settings.clone()),
            local: Arc::new(Store::new(settings.keys)),
            shared: settings.redis.as_ref().map(|redis| Shared::new(redis, &counts)),
            counts,
            since: Instant::now(),
        })
    }

    /// Returns their settings.
    #[must_use]
    pub fn settings(&self) -> &l7::Quotas {
        &self.settings
    }

    /// Returns them with other settings. What is owed stays, unless its store is another.
    #[must_use]
    pub fn with(&self, settings: &l7::Quotas) -> Self {
        let mut next = Self { settings: Arc::new(settings.clone()), ..self.clone() };
        if settings.keys != self.settings.keys {
            next.local = Arc::new(Store::new(settings.keys));
        }
        if settings.redis != self.settings.redis {
            self.counts.connected.set(0);
            next.shared = settings.redis.as_ref().map(|redis| Shared::new(redis, &self.counts));
        }
        next
    }

    /// Asks what quotas say of descriptors, each with its domain, and charges them, unless one of them
    /// refuses: then nothing is charged. `hits` is what descriptors are charged that do not say it.
    ///
    /// # Errors
    /// [`Away`] if that cannot be told.
    pub async fn charge<'d>(
        &'d self,
        descriptors: impl Iterator<Item = (impl AsRef<str>, &'d Descriptor)>,
        hits: u32,
    ) -> Result<Vec<Charged>, Away> {
        let plan = Plan::new(&self.settings.domains, descriptors, hits);
        let told = match &self.shared {
            _ if plan.asks().is_empty() => Vec::new(),
            None => self.locally(&plan),
            Some(shared) => match shared.charge(plan.asks()).await {
                Some(told) => told,
                None if shared.falls_back() => {
                    self.counts.fallbacks.inc();
                    self.locally(&plan)
                }
                None => return Err(Away),
            },
        };
        let answers = plan.answers(&told);
        self.counts.answered(&answers);
        Ok(answers)
    }

    /// Returns true unless quotas are to be shared and the store is away.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.shared.as_ref().is_none_or(|shared| shared.is_connected())
    }

    fn locally(&self, plan: &Plan<'_>) -> Vec<Told> {
        let now = u64::try_from(self.since.elapsed().as_micros()).unwrap_or(u64::MAX);
        let shared_before = self.local.shared();
        let told = self.local.charge(plan.asks(), now);
        self.counts.crowded.inc_by(self.local.shared().saturating_sub(shared_before));
        told
    }
}
