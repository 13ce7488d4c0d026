//! Metrics as text: OpenMetrics 1.0, which has exemplars, and the older format of Prometheus.
//!
//! The exporter of OpenTelemetry for Prometheus writes no exemplars, and what could write them takes no histograms that
//! were counted elsewhere. Names follow the rules of OpenTelemetry for Prometheus.

use std::fmt::Write as _;
use std::time::SystemTime;

use opentelemetry::KeyValue;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, Histogram, Metric, MetricData, ResourceMetrics};
use tonic::Code;

use super::exemplars::{Buckets, Exemplar};
use super::instruments::INSTRUMENTS;
use super::registry::CALL_DURATION;
use crate::telemetry::headers::code_name;

/// The name of a metric's family: `rpc.server.call.duration` in seconds is `rpc_server_call_duration_seconds`. Samples of
/// counters have `_total` behind it.
pub(super) fn family_of(name: &str, unit: &str) -> String {
    let name = word(name);
    match suffix(unit) {
        Some(suffix) => format!("{name}_{suffix}"),
        None => name,
    }
}

/// A name in which Prometheus has nothing but letters, digits and underscores.
fn word(name: &str) -> String {
    name.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '_' }).collect()
}

/// How a unit is called in a name; counts of things have none.
fn suffix(unit: &str) -> Option<&'static str> {
    match unit {
        "s" => Some("seconds"),
        "By" => Some("bytes"),
        _ => None,
    }
}

/// All metrics, in the order of their names.
pub(super) fn write(metrics: &ResourceMetrics, is_openmetrics: bool) -> String {
    let mut page = Page { text: String::with_capacity(64 * 1024), is_openmetrics };
    let mut all: Vec<&Metric> = metrics.scope_metrics().flat_map(|scope| scope.metrics()).collect();
    all.sort_unstable_by_key(|metric| metric.name());
    for metric in all {
        page.write_metric(metric);
    }
    page.write_target(metrics);
    if is_openmetrics {
        page.text.push_str("# EOF\n");
    }
    page.text
}

struct Page {
    text: String,
    is_openmetrics: bool,
}

impl Page {
    fn write_target(&mut self, metrics: &ResourceMetrics) {
        let (family, kind) = if self.is_openmetrics { ("target", "info") } else { ("target_info", "gauge") };
        self.write_head(family, kind, None, "Which process this is.");
        let labels: Vec<String> =
            metrics.resource().iter().map(|(key, value)| label(key.as_str(), &value.as_str())).collect();
        self.write_sample("target_info", &labels, "1", None);
    }

    fn write_metric(&mut self, metric: &Metric) {
        let family = family_of(metric.name(), metric.unit());
        match metric.data() {
            AggregatedMetrics::F64(data) => self.write_data(metric, &family, data, |value| number(*value)),
            AggregatedMetrics::U64(data) => self.write_data(metric, &family, data, u64::to_string),
            AggregatedMetrics::I64(data) => self.write_data(metric, &family, data, i64::to_string),
        }
    }

    fn write_data<T: Copy>(&mut self, metric: &Metric, family: &str, data: &MetricData<T>, text: fn(&T) -> String) {
        let unit = suffix(metric.unit());
        match data {
            MetricData::Gauge(gauge) => {
                self.write_head(family, "gauge", unit, metric.description());
                for point in gauge.data_points() {
                    self.write_sample(family, &labels(point.attributes()), &text(&point.value()), None);
                }
            }
            MetricData::Sum(sum) => {
                let is_counter = sum.is_monotonic();
                let sample = if is_counter { format!("{family}_total") } else { family.to_owned() };
                let named = if is_counter && !self.is_openmetrics { &sample } else { family };
                let kind = if is_counter { "counter" } else { "gauge" };
                self.write_head(named, kind, unit, metric.description());
                for point in sum.data_points() {
                    self.write_sample(&sample, &labels(point.attributes()), &text(&point.value()), None);
                }
            }
            MetricData::Histogram(histogram) => {
                self.write_head(family, "histogram", unit, metric.description());
                self.write_histogram(metric, family, histogram, text);
            }
            // Nothing here makes one.
            MetricData::ExponentialHistogram(_) => {}
        }
    }

    fn write_histogram<T: Copy>(
        &mut self,
        metric: &Metric,
        family: &str,
        histogram: &Histogram<T>,
        text: fn(&T) -> String,
    ) {
        for point in histogram.data_points() {
            let attributes: Vec<&KeyValue> = point.attributes().collect();
            let labels = labels(attributes.iter().copied());
            let exemplars = exemplars(metric, &attributes);
            let bounds = point.bounds().map(number).chain(std::iter::once("+Inf".to_owned()));
            let mut count = 0;
            for (bucket, (bound, in_bucket)) in bounds.zip(point.bucket_counts()).enumerate() {
                count += in_bucket;
                let mut labels = labels.clone();
                labels.push(label("le", &bound));
                let exemplar = exemplars.get(bucket).copied().flatten();
                self.write_sample(&format!("{family}_bucket"), &labels, &count.to_string(), exemplar);
            }
            self.write_sample(&format!("{family}_sum"), &labels, &text(&point.sum()), None);
            self.write_sample(&format!("{family}_count"), &labels, &point.count().to_string(), None);
        }
    }

    /// What stands before the samples of a family. A write to a text cannot fail.
    fn write_head(&mut self, family: &str, kind: &str, unit: Option<&str>, what: &str) {
        let _ = writeln!(self.text, "# TYPE {family} {kind}");
        if let Some(unit) = unit.filter(|_| self.is_openmetrics) {
            let _ = writeln!(self.text, "# UNIT {family} {unit}");
        }
        let _ = writeln!(self.text, "# HELP {family} {}", what.replace('\\', "\\\\").replace('\n', "\\n"));
    }

    fn write_sample(&mut self, name: &str, labels: &[String], value: &str, exemplar: Option<Exemplar>) {
        let text = &mut self.text;
        text.push_str(name);
        if !labels.is_empty() {
            let _ = write!(text, "{{{}}}", labels.join(","));
        }
        let _ = write!(text, " {value}");
        if let Some(Exemplar { trace_id, span_id, seconds, at }) = exemplar.filter(|_| self.is_openmetrics) {
            let at = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
            let _ = write!(text, " # {{trace_id=\"{trace_id}\",span_id=\"{span_id}\"}} {seconds} {at:.3}");
        }
        text.push('\n');
    }
}

/// The examples of a series of calls; other histograms have none.
fn exemplars(metric: &Metric, attributes: &[&KeyValue]) -> Buckets {
    let of = |name: &str| attributes.iter().find(|attribute| attribute.key.as_str() == name);
    let series = of("rpc.method").zip(of("rpc.response.status_code"));
    let (Some((method, status)), Some(instruments)) = (series, INSTRUMENTS.get()) else { return Buckets::default() };
    if metric.name() != CALL_DURATION.name {
        return Buckets::default();
    }
    let status = status.value.as_str();
    let code = (0..=16).find(|code| code_name(Code::from(*code)) == status);
    code.map(|code| instruments.exemplars.of(&method.value.as_str(), code)).unwrap_or_default()
}

fn labels<'a>(attributes: impl Iterator<Item = &'a KeyValue>) -> Vec<String> {
    let mut labels: Vec<String> =
        attributes.map(|attribute| label(attribute.key.as_str(), &attribute.value.as_str())).collect();
    labels.sort_unstable();
    labels
}

fn label(name: &str, value: &str) -> String {
    let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("{}=\"{value}\"", word(name))
}

/// A number as both formats write it: a whole one has a point, so that a bound is written in one way.
fn number(value: f64) -> String {
    if value.is_infinite() {
        if value > 0.0 { "+Inf".to_owned() } else { "-Inf".to_owned() }
    } else {
        format!("{value:?}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_labels_are_those_of_prometheus() {
        assert_eq!(family_of("rpc.server.call.duration", "s"), "rpc_server_call_duration_seconds");
        assert_eq!(family_of("goldbook.points.granted", "{point}"), "goldbook_points_granted");
        assert_eq!(label("goldbook.program.id", "a\"b\\c\nd"), r#"goldbook_program_id="a\"b\\c\nd""#);
        assert_eq!([number(1.0), number(0.0005), number(f64::INFINITY)], ["1.0", "0.0005", "+Inf"]);
    }
}
