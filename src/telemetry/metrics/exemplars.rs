//! The trace of the latest call in each bucket of call durations: what leads from a metric to a request.
//!
//! The SDK keeps none, so they are kept beside its histogram.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use opentelemetry::trace::{SpanId, TraceId};
use tonic::Code;

use super::registry::SECONDS;

/// One for each bucket, that without an upper bound the last.
pub(super) type Buckets = [Option<Exemplar>; SECONDS.len() + 1];

/// A call, as an example of those in its bucket.
#[derive(Clone, Copy, Debug)]
pub(super) struct Exemplar {
    pub(super) trace_id: TraceId,
    pub(super) span_id: SpanId,
    pub(super) seconds: f64,
    pub(super) at: SystemTime,
}

/// The latest calls by method and outcome: as many as there are series of calls.
#[derive(Debug, Default)]
pub(super) struct Exemplars(Mutex<HashMap<(&'static str, i32), Buckets>>);

impl Exemplars {
    /// Keeps a call, unless somebody else keeps one at this moment: any of them will do.
    pub(super) fn note(&self, method: &'static str, code: Code, exemplar: Exemplar) {
        let Ok(mut series) = self.0.try_lock() else { return };
        let bucket = SECONDS.partition_point(|bound| *bound < exemplar.seconds);
        let buckets = series.entry((method, i32::from(code))).or_default();
        if let Some(place) = buckets.get_mut(bucket) {
            *place = Some(exemplar);
        }
    }

    /// Those of a method and an outcome.
    pub(super) fn of(&self, method: &str, code: i32) -> Buckets {
        let series = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = series.iter().find(|((name, number), _)| *name == method && *number == code);
        found.map(|(_, buckets)| *buckets).unwrap_or_default()
    }
}
