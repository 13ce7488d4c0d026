//! The instruments, made of what the registry says.

use std::borrow::Cow;
use std::sync::OnceLock;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram, Meter};

use super::exemplars::Exemplars;
use super::programs::Programs;
use super::registry::{self, Kind, Metric};

/// The instruments of this process, once somebody wants metrics.
pub(super) static INSTRUMENTS: OnceLock<Instruments> = OnceLock::new();

/// Whether anybody wants metrics.
#[must_use]
pub fn is_measured() -> bool {
    INSTRUMENTS.get().is_some()
}

/// Does something with the instruments, if there are any.
pub(super) fn record(what: impl FnOnce(&Instruments)) {
    if let Some(instruments) = INSTRUMENTS.get() {
        what(instruments);
    }
}

/// What is recorded as it happens.
#[derive(Debug)]
pub(super) struct Instruments {
    pub(super) call_duration: Histogram<f64>,
    pub(super) refusals: Counter<u64>,
    pub(super) authentication_failures: Counter<u64>,
    pub(super) limits_hit: Counter<u64>,
    pub(super) lane_wait: Histogram<f64>,
    pub(super) batch_size: Histogram<u64>,
    pub(super) batch_duration: Histogram<f64>,
    pub(super) phase_duration: Histogram<f64>,
    pub(super) retries: Counter<u64>,
    pub(super) splits: Counter<u64>,
    pub(super) postponements: Counter<u64>,
    pub(super) lookups: Histogram<u64>,
    pub(super) entries: Counter<u64>,
    pub(super) points_granted: Counter<u64>,
    pub(super) points_redeemed: Counter<u64>,
    pub(super) points_expired: Counter<u64>,
    pub(super) conversions: Counter<u64>,
    pub(super) tier_changes: Counter<u64>,
    pub(super) worker_rounds: Counter<u64>,
    pub(super) statement_duration: Histogram<f64>,
    pub(super) exemplars: Exemplars,
    pub(super) programs: Programs,
}

impl Instruments {
    pub(super) fn new(meter: &Meter) -> Self {
        Self {
            call_duration: durations(meter, &registry::CALL_DURATION),
            refusals: counter(meter, &registry::REFUSALS),
            authentication_failures: counter(meter, &registry::AUTHENTICATION_FAILURES),
            limits_hit: counter(meter, &registry::LIMITS_HIT),
            lane_wait: durations(meter, &registry::LANE_WAIT),
            batch_size: sizes(meter, &registry::BATCH_SIZE),
            batch_duration: durations(meter, &registry::BATCH_DURATION),
            phase_duration: durations(meter, &registry::PHASE_DURATION),
            retries: counter(meter, &registry::RETRIES),
            splits: counter(meter, &registry::SPLITS),
            postponements: counter(meter, &registry::POSTPONEMENTS),
            lookups: sizes(meter, &registry::LOOKUPS),
            entries: counter(meter, &registry::ENTRIES),
            points_granted: counter(meter, &registry::POINTS_GRANTED),
            points_redeemed: counter(meter, &registry::POINTS_REDEEMED),
            points_expired: counter(meter, &registry::POINTS_EXPIRED),
            conversions: counter(meter, &registry::CONVERSIONS),
            tier_changes: counter(meter, &registry::TIER_CHANGES),
            worker_rounds: counter(meter, &registry::WORKER_ROUNDS),
            statement_duration: durations(meter, &registry::STATEMENT_DURATION),
            exemplars: Exemplars::default(),
            programs: Programs::default(),
        }
    }
}

fn counter(meter: &Meter, metric: &Metric) -> Counter<u64> {
    let counter = meter.u64_counter(metric.name).with_unit(metric.unit).with_description(metric.what).build();
    // What has not happened yet is known to be zero, so that its first time shows as an increase.
    match metric.attributes {
        [] => counter.add(0, &[]),
        [attribute] => {
            for value in metric.values {
                counter.add(0, &[KeyValue::new(*attribute, *value)]);
            }
        }
        _ => {}
    }
    counter
}

fn bounds(metric: &Metric) -> Vec<f64> {
    match metric.kind {
        Kind::Histogram(bounds) => bounds.to_vec(),
        Kind::Counter | Kind::UpDownCounter | Kind::Gauge => Vec::new(),
    }
}

fn durations(meter: &Meter, metric: &Metric) -> Histogram<f64> {
    let histogram = meter.f64_histogram(metric.name).with_unit(metric.unit).with_description(metric.what);
    histogram.with_boundaries(bounds(metric)).build()
}

fn sizes(meter: &Meter, metric: &Metric) -> Histogram<u64> {
    let histogram = meter.u64_histogram(metric.name).with_unit(metric.unit).with_description(metric.what);
    histogram.with_boundaries(bounds(metric)).build()
}

/// The operation of a statement, and its table if there is exactly one, without a copy where the summary is fixed.
pub(super) fn statement_attributes(summary: Cow<'static, str>) -> Vec<KeyValue> {
    match summary {
        Cow::Borrowed(fixed) => {
            let (operation, table) = fixed.split_once(' ').unwrap_or((fixed, ""));
            let table = Some(table).filter(|table| !table.is_empty() && !table.contains(','));
            let table = table.map(|table| KeyValue::new("db.collection.name", table));
            std::iter::once(KeyValue::new("db.operation.name", operation)).chain(table).collect()
        }
        // One that was put together for the tables of a batch: there are too many of those to tell them apart.
        Cow::Owned(made) => {
            let operation = if made.starts_with("INSERT") { "INSERT" } else { "SELECT" };
            vec![KeyValue::new("db.operation.name", operation)]
        }
    }
}
