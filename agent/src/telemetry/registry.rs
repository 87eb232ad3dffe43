//! A registry that can tell what it has, also of what nothing has been counted yet: the catalogue of
//! metrics is made of it.

use std::sync::{Arc, Mutex, PoisonError};

use prometheus::{
    core::Collector,
    proto::{MetricFamily, MetricType},
};
use serde::Serialize;

/// Metrics of a part of the agent. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    inner: prometheus::Registry,
    entries: Arc<Mutex<Vec<Entry>>>,
}

/// What is to be known of a metric.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    /// Its labels.
    pub labels: Vec<String>,
    /// What it says.
    pub help: String,
}

impl Registry {
    /// Returns one without metrics.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds metrics.
    ///
    /// # Errors
    /// If there is one of that name.
    pub fn register(&self, collector: Box<dyn Collector>) -> prometheus::Result<()> {
        let kinds: Vec<MetricFamily> = collector.collect();
        let kind_of = |name: &str| {
            let family = kinds.iter().find(|family| family.name() == name);
            family.map_or("untyped", |family| kind(family.get_field_type()))
        };
        let entries: Vec<Entry> = collector
            .desc()
            .into_iter()
            .map(|desc| Entry {
                name: desc.fq_name.clone(),
                kind: kind_of(&desc.fq_name),
                labels: desc.variable_labels.clone(),
                help: desc.help.clone(),
            })
            .collect();
        self.inner.register(collector)?;
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).extend(entries);
        Ok(())
    }

    /// Returns what has been counted, by name.
    #[must_use]
    pub fn gather(&self) -> Vec<MetricFamily> {
        self.inner.gather()
    }

    /// Returns all metrics, whether or not anything has been counted.
    #[must_use]
    pub fn entries(&self) -> Vec<Entry> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

const fn kind(kind: MetricType) -> &'static str {
    match kind {
        MetricType::COUNTER => "counter",
        MetricType::GAUGE => "gauge",
        MetricType::HISTOGRAM => "histogram",
        MetricType::SUMMARY => "summary",
        MetricType::UNTYPED => "untyped",
    }
}

#[cfg(test)]
mod tests {
    use prometheus::{IntCounterVec, IntGauge, Opts};

    use super::*;

    #[test]
    fn what_nothing_has_been_counted_of_is_known() {
        let registry = Registry::new();
        let counter = IntCounterVec::new(Opts::new("a_total", "Things."), &["kind"]).unwrap();
        registry.register(Box::new(counter.clone())).unwrap();
        registry.register(Box::new(IntGauge::new("b", "Now.").unwrap())).unwrap();
        assert!(registry.register(Box::new(counter)).is_err());
        let names: Vec<String> = registry.gather().iter().map(|family| family.name().to_owned()).collect();
        assert_eq!(names, ["b"]);
        let [a, b] = &registry.entries()[..] else { panic!() };
        assert_eq!(
            (&*a.name, a.kind, &*a.labels, &*a.help),
            ("a_total", "counter", &["kind".to_owned()][..], "Things.")
        );
        assert_eq!((&*b.name, b.kind, b.labels.len()), ("b", "gauge", 0));
    }
}
