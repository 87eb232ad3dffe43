//! The two text formats of a metrics page, and which of them somebody wants.
//!
//! Classic text, version 0.0.4: <https://prometheus.io/docs/instrumenting/exposition_formats/>.
//! OpenMetrics 1.0.0: <https://github.com/prometheus/OpenMetrics/blob/v1.0.0/specification/OpenMetrics.md>.

use std::fmt::Write as _;

use prometheus::{
    Encoder as _, TextEncoder,
    proto::{Metric, MetricFamily, MetricType},
};

const OPEN_METRICS: &str = "application/openmetrics-text";
const OPEN_METRICS_VERSION: &str = "1.0.0";

/// A text format of metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Exposition {
    /// The text format that everybody reads.
    #[default]
    Classic,
    /// OpenMetrics.
    OpenMetrics,
}

impl Exposition {
    /// Returns which of them is wanted, by an `Accept` header (RFC 9110 section 12.5.1): OpenMetrics
    /// only where it is named, and not liked less.
    #[must_use]
    pub fn wanted(accept: Option<&str>) -> Self {
        let (mut classic, mut open) = (0.0f64, 0.0f64);
        for range in accept.unwrap_or_default().split(',').map(Range::parse) {
            match range.kind {
                OPEN_METRICS if range.version.is_none_or(|version| version == OPEN_METRICS_VERSION) => {
                    open = open.max(range.quality);
                }
                "text/plain" | "text/*" | "*/*" => classic = classic.max(range.quality),
                _ => {}
            }
        }
        if open > 0.0 && open >= classic { Self::OpenMetrics } else { Self::Classic }
    }

    /// Returns what to write into `Content-Type`.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Classic => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// Writes metrics in this format.
    ///
    /// # Errors
    /// If one is not well formed.
    pub fn encode(self, families: &[MetricFamily]) -> prometheus::Result<Vec<u8>> {
        match self {
            Self::Classic => {
                let mut text = Vec::new();
                TextEncoder::new().encode(families, &mut text)?;
                Ok(text)
            }
            Self::OpenMetrics => Ok(open_metrics(families).into_bytes()),
        }
    }
}

/// A media range: what is accepted, and how much it is liked.
struct Range<'a> {
    kind: &'a str,
    version: Option<&'a str>,
    quality: f64,
}

impl<'a> Range<'a> {
    fn parse(text: &'a str) -> Self {
        let mut parts = text.split(';').map(str::trim);
        let mut range = Self { kind: parts.next().unwrap_or_default(), version: None, quality: 1.0 };
        for (name, value) in parts.filter_map(|part| part.split_once('=')) {
            match name.trim() {
                "version" => range.version = Some(value.trim()),
                "q" => range.quality = value.trim().parse().unwrap_or(0.0),
                _ => {}
            }
        }
        range
    }
}

fn open_metrics(families: &[MetricFamily]) -> String {
    let mut text = String::new();
    for family in families {
        // A family of counters is called without what its samples end in.
        let (name, kind) = match family.get_field_type() {
            MetricType::COUNTER => (family.name().strip_suffix("_total").unwrap_or(family.name()), "counter"),
            MetricType::GAUGE => (family.name(), "gauge"),
            MetricType::HISTOGRAM => (family.name(), "histogram"),
            MetricType::SUMMARY => (family.name(), "summary"),
            MetricType::UNTYPED => (family.name(), "unknown"),
        };
        _ = writeln!(text, "# TYPE {name} {kind}");
        _ = writeln!(text, "# HELP {name} {}", escaped(family.help()));
        for metric in family.get_metric() {
            samples(&mut text, name, family.get_field_type(), metric);
        }
    }
    text.push_str("# EOF\n");
    text
}

fn samples(text: &mut String, name: &str, kind: MetricType, metric: &Metric) {
    let mut sample = |suffix: &str, extra: Option<(&str, String)>, value: f64| {
        _ = write!(text, "{name}{suffix}");
        let labels = metric.get_label().iter().map(|label| (label.name(), label.value()));
        let extra = extra.as_ref().map(|(name, value)| (*name, value.as_str()));
        let labels: Vec<String> =
            labels.chain(extra).map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
        if !labels.is_empty() {
            _ = write!(text, "{{{}}}", labels.join(","));
        }
        _ = writeln!(text, " {}", number(value));
    };
    match kind {
        MetricType::COUNTER => sample("_total", None, metric.get_counter().get_value()),
        MetricType::GAUGE => sample("", None, metric.get_gauge().get_value()),
        MetricType::HISTOGRAM => {
            let histogram = metric.get_histogram();
            for bucket in histogram.get_bucket().iter().filter(|bucket| bucket.upper_bound().is_finite()) {
                sample(
                    "_bucket",
                    Some(("le", number(bucket.upper_bound()))),
                    count(bucket.cumulative_count()),
                );
            }
            let all = count(histogram.get_sample_count());
            sample("_bucket", Some(("le", "+Inf".to_owned())), all);
            sample("_count", None, all);
            sample("_sum", None, histogram.get_sample_sum());
        }
        // The agent has none of them.
        MetricType::SUMMARY | MetricType::UNTYPED => {}
    }
}

#[expect(clippy::cast_precision_loss, reason = "the formats have no other numbers")]
const fn count(count: u64) -> f64 {
    count as f64
}

/// Writes a number: whole ones with a `.0`, as bounds of buckets must be, and none with an exponent, so
/// that a bucket has the same name in both formats.
fn number(value: f64) -> String {
    match value {
        f64::INFINITY => "+Inf".to_owned(),
        f64::NEG_INFINITY => "-Inf".to_owned(),
        _ if value.is_nan() => "NaN".to_owned(),
        _ if value.fract() == 0.0 => format!("{value:.1}"),
        _ => value.to_string(),
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGauge, Opts, Registry};

    use super::*;

    #[test]
    fn what_is_wanted_is_negotiated() {
        let prometheus = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;\
                          q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        for (accept, wanted) in [
            (None, Exposition::Classic),
            (Some(""), Exposition::Classic),
            (Some("*/*"), Exposition::Classic),
            (Some("text/html,application/xhtml+xml,*/*;q=0.8"), Exposition::Classic),
            (Some(prometheus), Exposition::OpenMetrics),
            (Some("application/openmetrics-text"), Exposition::OpenMetrics),
            (Some("application/openmetrics-text; version=1.0.0; charset=utf-8"), Exposition::OpenMetrics),
            (Some("application/openmetrics-text;version=0.0.1"), Exposition::Classic),
            (Some("application/openmetrics-text;q=0.4, text/plain;q=0.5"), Exposition::Classic),
            (Some("application/openmetrics-text;q=0"), Exposition::Classic),
            (Some("application/openmetrics-text;q=x"), Exposition::Classic),
        ] {
            assert_eq!(Exposition::wanted(accept), wanted, "{accept:?}");
        }
    }

    #[test]
    fn open_metrics_is_written() {
        let registry = Registry::new();
        let counter = IntCounterVec::new(Opts::new("a_total", "Of \"a\"."), &["l"]).unwrap();
        counter.with_label_values(&["x\"\\\ny"]).inc_by(7);
        let gauge = IntGauge::new("b", "Now.").unwrap();
        let histogram =
            HistogramVec::new(HistogramOpts::new("c_seconds", "Time.").buckets(vec![25e-6, 1.0]), &[])
                .unwrap();
        histogram.with_label_values::<&str>(&[]).observe(0.5);
        registry.register(Box::new(counter)).unwrap();
        registry.register(Box::new(gauge)).unwrap();
        registry.register(Box::new(histogram)).unwrap();
        let text = String::from_utf8(Exposition::OpenMetrics.encode(&registry.gather()).unwrap()).unwrap();
        let expected = r#"# TYPE a counter
# HELP a Of \"a\".
a_total{l="x\"\\\ny"} 7.0
# TYPE b gauge
# HELP b Now.
b 0.0
# TYPE c_seconds histogram
# HELP c_seconds Time.
c_seconds_bucket{le="0.000025"} 0.0
c_seconds_bucket{le="1.0"} 1.0
c_seconds_bucket{le="+Inf"} 1.0
c_seconds_count 1.0
c_seconds_sum 0.5
# EOF
"#;
        assert_eq!(text, expected);
        let classic = String::from_utf8(Exposition::Classic.encode(&registry.gather()).unwrap()).unwrap();
        assert!(classic.contains("# TYPE a_total counter\na_total{l=\"x\\\"\\\\\\ny\"} 7\n"), "{classic}");
    }
}
