//! What one measurement saw.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use super::cpu::Usage;
use super::trips::Trips;
use super::workload::Workload;

/// The largest latency that is recorded. Longer ones count as this one.
const LARGEST_MICROS: u64 = 60_000_000;

/// One measurement of one workload.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    pub(super) workload: Workload,
    pub(super) clients: u32,
    pub(super) per_second: f64,
    pub(super) completed: u64,
    pub(super) mean_micros: f64,
    /// In microseconds. Empty if only the mean is known.
    pub(super) latencies: Histogram<u64>,
    /// How often each error came.
    pub(super) errors: BTreeMap<String, u64>,
    /// What all of its calls took.
    pub(super) cpu: Option<Usage>,
    /// The calls of another measurement, and what these came to.
    pub(super) trips: Option<(u64, Trips)>,
    /// The most that the service had in memory, in bytes, where that is measured.
    pub(super) most_memory: Option<u64>,
}

impl Sample {
    pub(super) fn new(workload: Workload, clients: u32, per_second: f64, completed: u64) -> Self {
        Self {
            workload,
            clients,
            per_second,
            completed,
            mean_micros: 0.0,
            latencies: histogram(),
            errors: BTreeMap::new(),
            cpu: None,
            trips: None,
            most_memory: None,
        }
    }

    pub(super) fn error_count(&self) -> u64 {
        self.errors.values().sum()
    }
}

/// An empty histogram, which keeps three digits of every latency.
#[expect(clippy::expect_used, reason = "the bounds are constants that the library takes")]
fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LARGEST_MICROS, 3).expect("these bounds are valid")
}
