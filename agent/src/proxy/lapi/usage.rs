//! What bouncers report of their work (`POST /v1/usage-metrics`).
//!
//! `AllMetrics` in `pkg/models/localapi_swagger.yaml` of `CrowdSec`, 1.6.3 to 1.7.

use prometheus::CounterVec;
use serde::Deserialize;

/// Components and items of a report that are looked at.
const ITEMS_MAX: usize = 1_000;

#[derive(Debug, Deserialize)]
pub(super) struct Report {
    #[serde(default)]
    remediation_components: Option<Vec<Component>>,
}

#[derive(Debug, Deserialize)]
struct Component {
    #[serde(default)]
    metrics: Option<Vec<Window>>,
}

#[derive(Debug, Deserialize)]
struct Window {
    #[serde(default)]
    items: Option<Vec<Item>>,
}

#[derive(Debug, Deserialize)]
struct Item {
    #[serde(default)]
    name: String,
    #[serde(default)]
    value: f64,
    #[serde(default)]
    unit: String,
}

impl Report {
    /// Adds what was dropped and what was processed, in units that are known.
    pub(super) fn count(self, bouncer: &str, reported: &CounterVec) {
        let windows = self.remediation_components.into_iter().flatten().filter_map(|it| it.metrics).flatten();
        for Item { name, value, unit } in windows.filter_map(|it| it.items).flatten().take(ITEMS_MAX) {
            let name = ["dropped", "processed"].into_iter().find(|known| *known == name);
            let unit = ["packet", "byte", "request"].into_iter().find(|known| *known == unit);
            let (Some(name), Some(unit)) = (name, unit) else { continue };
            if value.is_finite() && value > 0.0 {
                reported.with_label_values(&[bouncer, name, unit]).inc_by(value);
            }
        }
    }
}
