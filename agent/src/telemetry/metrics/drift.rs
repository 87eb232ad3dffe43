//! What was changed behind the agent's back.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use weir_common::map::Map;

use super::Page;

/// The name of a link among maps.
const LINK: &str = "link";

/// Counts of it, by map, and that of links.
#[derive(Debug, Default)]
pub struct DriftCounts([AtomicU64; Map::ALL.len() + 1]);

impl DriftCounts {
    /// Counts one; nothing: a link.
    pub fn count(&self, what: Option<Map>) {
        self.0[what.map_or(Map::ALL.len(), |map| map as usize)].fetch_add(1, Relaxed);
    }
}

impl Page {
    pub(super) fn drift(&self, counts: &DriftCounts) -> prometheus::Result<()> {
        let drift = self.counter(
            "weir_drift_total",
            "Maps and links that somebody has changed behind the agent's back, found and mended since it started.",
            &["map"],
        )?;
        // Buckets are the kernel's, which changes them all the time.
        let maps = Map::ALL.into_iter().filter(|map| !map.is_kernels()).map(|map| (map.name(), map as usize));
        for (name, place) in maps.chain([(LINK, Map::ALL.len())]) {
            drift.with_label_values(&[name]).inc_by(counts.0[place].load(Relaxed));
        }
        Ok(())
    }
}
