//! What is seen from time to time and shown until it is seen anew: ages, sizes, what a pool has.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Instant;

use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;

use super::instruments::is_measured;
use super::levels::{ACTIVE_CALLS, CommandOrigin, OPEN_CONNECTIONS};
use super::process;
use super::programs::MAX_PROGRAMS;
use super::registry::{self, Metric};

/// What was seen.
#[derive(Clone, Copy, Debug)]
pub enum Reading {
    /// A number that stays as it is.
    Fixed(f64),
    /// An age in seconds, which grows.
    Age {
        /// How old it was,
        was: f64,
        /// and when.
        at: Instant,
    },
    /// Seconds that are left, which become fewer.
    Left {
        /// How many were left,
        was: f64,
        /// and when.
        at: Instant,
    },
}

impl Reading {
    /// What it is now.
    fn now(self) -> f64 {
        match self {
            Self::Fixed(value) => value,
            Self::Age { was, at } => was + at.elapsed().as_secs_f64(),
            Self::Left { was, at } => was - at.elapsed().as_secs_f64(),
        }
    }
}

/// The attributes of a reading: their names and values.
pub(super) type Labels = Vec<(&'static str, String)>;

/// What is shown, by metric and attribute.
static SHOWN: Mutex<BTreeMap<(&'static str, Labels), Reading>> = Mutex::new(BTreeMap::new());

/// Shows of a gauge these readings, and no others any more.
pub fn show(metric: &Metric, readings: impl IntoIterator<Item = (Labels, Reading)>) {
    let mut shown = SHOWN.lock().unwrap_or_else(PoisonError::into_inner);
    shown.retain(|(name, _), _| *name != metric.name);
    // Each program, and one for all others.
    for (labels, reading) in readings.into_iter().take(MAX_PROGRAMS + 1) {
        shown.insert((metric.name, labels), reading);
    }
}

/// A pool of connections: how many it has, how many of them nobody uses, and how many it may have.
type Pool = (&'static str, Box<dyn Fn() -> [u64; 3] + Send + Sync>);

/// The pools that are watched.
static POOLS: Mutex<Vec<Pool>> = Mutex::new(Vec::new());

/// Watches a pool: `look` tells how many connections it has, how many of them nobody uses, and the most it may have.
pub fn watch_pool(name: &'static str, look: impl Fn() -> [u64; 3] + Send + Sync + 'static) {
    if is_measured() {
        POOLS.lock().unwrap_or_else(PoisonError::into_inner).push((name, Box::new(look)));
    }
}

/// What became of spans, once there is an exporter.
static SPANS: OnceLock<Box<dyn Fn() -> [u64; 3] + Send + Sync>> = OnceLock::new();

/// Watches the export of spans: `look` tells how many were exported, how many dropped, and how many given up.
pub(in crate::telemetry) fn watch_spans(look: impl Fn() -> [u64; 3] + Send + Sync + 'static) {
    // There is one tracer in the process.
    let _ = SPANS.set(Box::new(look));
}

fn pools() -> Vec<(&'static str, [u64; 3])> {
    let pools = POOLS.lock().unwrap_or_else(PoisonError::into_inner);
    pools.iter().map(|(name, look)| (*name, look())).collect()
}

/// Makes the instruments that are asked when somebody reads.
pub(super) fn observe(meter: &Meter) {
    for metric in registry::REGISTRY.iter().filter(|metric| metric.kind == registry::Kind::Gauge) {
        let gauge = meter.f64_observable_gauge(metric.name).with_unit(metric.unit).with_description(metric.what);
        let observed = gauge.with_callback(|gauge| {
            let shown = SHOWN.lock().unwrap_or_else(PoisonError::into_inner);
            for ((name, labels), reading) in shown.iter() {
                if *name == metric.name {
                    let labels: Vec<KeyValue> =
                        labels.iter().map(|(key, value)| KeyValue::new(*key, value.clone())).collect();
                    gauge.observe(reading.now(), &labels);
                }
            }
        });
        observed.build();
    }
    observe_level(meter, &registry::ACTIVE_CALLS, || vec![(ACTIVE_CALLS.load(Relaxed), vec![])]);
    observe_level(meter, &registry::OPEN_CONNECTIONS, || vec![(OPEN_CONNECTIONS.load(Relaxed), vec![])]);
    observe_level(meter, &registry::WAITING, || {
        let of = |origin: CommandOrigin| {
            (origin.waiting().load(Relaxed), vec![KeyValue::new("goldbook.origin", origin.name())])
        };
        CommandOrigin::ALL.map(of).to_vec()
    });
    let pool_name = |name| KeyValue::new("db.client.connection.pool.name", name);
    observe_level(meter, &registry::CONNECTIONS, move || {
        let states = |(name, [size, idle, _]): (&'static str, [u64; 3])| {
            let state = |state| KeyValue::new("db.client.connection.state", state);
            let used = size.saturating_sub(idle);
            [("idle", idle), ("used", used)].map(|(word, count)| (level(count), vec![pool_name(name), state(word)]))
        };
        pools().into_iter().flat_map(states).collect()
    });
    observe_level(meter, &registry::MOST_CONNECTIONS, move || {
        pools().into_iter().map(|(name, [_, _, most])| (level(most), vec![pool_name(name)])).collect()
    });
    observe_level(meter, &registry::MEMORY, || {
        process::memory().map(|bytes| (level(bytes), vec![])).into_iter().collect()
    });
    observe_level(meter, &registry::FILE_DESCRIPTORS, || {
        process::file_descriptors().map(|count| (level(count), vec![])).into_iter().collect()
    });
    let metric = &registry::SPANS;
    let spans = meter.u64_observable_counter(metric.name).with_unit(metric.unit).with_description(metric.what);
    let observed = spans.with_callback(|spans| {
        let counts = SPANS.get().map_or([0; 3], |look| look());
        for (outcome, count) in ["exported", "dropped", "given_up"].into_iter().zip(counts) {
            spans.observe(count, &[KeyValue::new("goldbook.outcome", outcome)]);
        }
    });
    observed.build();
    let metric = &registry::CPU_TIME;
    let counter = meter.f64_observable_counter(metric.name).with_unit(metric.unit).with_description(metric.what);
    counter
        .with_callback(|counter| {
            for (mode, seconds) in process::cpu_times() {
                counter.observe(seconds, &[KeyValue::new("cpu.mode", mode)]);
            }
        })
        .build();
}

fn level(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn observe_level(
    meter: &Meter,
    metric: &'static Metric,
    look: impl Fn() -> Vec<(i64, Vec<KeyValue>)> + Send + Sync + 'static,
) {
    let level = meter.i64_observable_up_down_counter(metric.name).with_unit(metric.unit);
    let observed = level.with_description(metric.what).with_callback(move |level| {
        for (value, attributes) in look() {
            level.observe(value, &attributes);
        }
    });
    observed.build();
}
