//! What is exported whatever the sampler says: requests and work of our own that failed, or that took long.
//!
//! It is known only at the end. So while this is on, spans that the sampler leaves out are recorded as well, and those below
//! a span that has not ended wait for it. They wait within bounds, and what is given up is counted.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::str::FromStr;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use opentelemetry::trace::{Link, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId};
use opentelemetry::{Context, KeyValue, Value};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SamplingDecision, SamplingResult, ShouldSample, Span, SpanData, SpanProcessor};
use tonic::Code;

use super::headers::{STATUS_CODE, STREAM, code_name, is_our_fault};

/// Spans that may wait for the end of the one above them. A span takes about a kilobyte.
const MOST_WAITING: usize = 16_384;
/// Spans that may wait for one and the same.
const MOST_BELOW_ONE: usize = 1_024;
/// How long a span may wait.
const LONGEST_WAIT: Duration = Duration::from_secs(300);
/// Spans of which it is remembered what was decided, for those below them that end later.
const MOST_DECIDED: usize = 16_384;

/// What is exported of what the sampler leaves out, once there is anything. It stays so, and costs nothing before.
static ON: OnceLock<AlwaysSample> = OnceLock::new();

/// Whether a span that is not sampled may be exported all the same.
pub(super) fn is_on() -> bool {
    ON.get().is_some()
}

/// Whether a call that ends like this is exported whatever the sampler says.
pub(super) fn keeps_call(code: Code, took: Duration, is_stream: bool) -> bool {
    ON.get().is_some_and(|always| always.asks_for(is_our_fault(code) && code != Code::Unimplemented, took, is_stream))
}

/// What is exported whatever the sampler says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AlwaysSample {
    /// What failed by the server's fault: calls that end with `UNKNOWN`, `DEADLINE_EXCEEDED`, `INTERNAL`, `UNAVAILABLE` or
    /// `DATA_LOSS`, and batches and rounds of background work that failed.
    pub errors: bool,
    /// What took at least as long; never of a stream, whose caller says how long it takes.
    pub slow: Option<Duration>,
}

/// A kind of what is exported whatever the sampler says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlwaysKind {
    /// See [`AlwaysSample::errors`].
    Errors,
    /// See [`AlwaysSample::slow`].
    Slow,
}

impl FromStr for AlwaysKind {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "errors" => Ok(Self::Errors),
            "slow" => Ok(Self::Slow),
            _ => Err("must be `errors` or `slow`"),
        }
    }
}

impl fmt::Display for AlwaysKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Errors => "errors",
            Self::Slow => "slow",
        })
    }
}

impl AlwaysSample {
    pub(super) fn is_off(self) -> bool {
        self == Self::default()
    }

    /// Whether a span that nothing of this process is above of is exported, with all below it.
    fn keeps(self, top: &SpanData) -> bool {
        let is_unimplemented = top.attributes.contains(&KeyValue::new(STATUS_CODE, code_name(Code::Unimplemented)));
        let is_failed = matches!(top.status, Status::Error { .. }) && !is_unimplemented;
        let took = top.end_time.duration_since(top.start_time).unwrap_or_default();
        let is_stream = |it: &KeyValue| it.key.as_str() == STREAM && it.value == Value::Bool(true);
        self.asks_for(is_failed, took, top.attributes.iter().any(is_stream))
    }

    /// The rule, for spans and for calls. A call of a method that does not exist has not failed: that is its caller's mistake, and
    /// anybody could have any number of them exported.
    fn asks_for(self, is_failed: bool, took: Duration, is_stream: bool) -> bool {
        (self.errors && is_failed) || (!is_stream && self.slow.is_some_and(|least| took >= least))
    }
}

/// Another sampler, but what it leaves out is recorded.
#[derive(Clone, Debug)]
pub(super) struct Recording(Box<dyn ShouldSample>);

impl Recording {
    pub(super) fn new(sampler: Box<dyn ShouldSample>, always: AlwaysSample) -> Self {
        let _ = ON.set(always);
        Self(sampler)
    }
}

impl ShouldSample for Recording {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace_id: TraceId,
        name: &str,
        kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        let mut result = self.0.should_sample(parent, trace_id, name, kind, attributes, links);
        if result.decision == SamplingDecision::Drop {
            result.decision = SamplingDecision::RecordOnly;
        }
        result
    }
}

/// Hands on what is sampled, and of what is not what [`AlwaysSample`] keeps.
#[derive(Debug)]
pub(super) struct KeepingProcessor<P> {
    next: P,
    always: AlwaysSample,
    waiting: Mutex<Waiting>,
    given_up: Arc<AtomicU64>,
}

impl<P: SpanProcessor> KeepingProcessor<P> {
    /// What is given up is added to the count.
    pub(super) fn new(next: P, always: AlwaysSample, given_up: Arc<AtomicU64>) -> Self {
        Self { next, always, waiting: Mutex::default(), given_up }
    }
}

impl<P: SpanProcessor> SpanProcessor for KeepingProcessor<P> {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.next.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        if span.span_context.is_sampled() {
            return self.next.on_end(span);
        }
        let (kept, given_up) = {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            (waiting.end(span, self.always), waiting.take_given_up())
        };
        self.given_up.fetch_add(given_up, Relaxed);
        for span in kept {
            self.next.on_end(sampled(span));
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.next.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.next.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.next.set_resource(resource);
    }
}

/// The span as one that was sampled: others are not exported.
fn sampled(span: SpanData) -> SpanData {
    let context = &span.span_context;
    let flags = context.trace_flags() | TraceFlags::SAMPLED;
    let state = context.trace_state().clone();
    let span_context = SpanContext::new(context.trace_id(), context.span_id(), flags, context.is_remote(), state);
    SpanData { span_context, ..span }
}

/// Spans that ended before the one above them did.
#[derive(Debug, Default)]
struct Waiting {
    /// By the span above them.
    below: HashMap<SpanId, Below>,
    /// Those above, by the order in which something came to wait for them.
    order: BTreeMap<u64, SpanId>,
    next_place: u64,
    spans: usize,
    decided: Decided,
    given_up: u64,
}

/// What waits for one span.
#[derive(Debug)]
struct Below {
    place: u64,
    since: SystemTime,
    spans: Vec<SpanData>,
}

impl Waiting {
    /// Takes a span that has ended; returns those that are to be exported now.
    fn end(&mut self, span: SpanData, always: AlwaysSample) -> Vec<SpanData> {
        let is_top = span.parent_span_id == SpanId::INVALID || span.parent_span_is_remote;
        let decision = if is_top { Some(always.keeps(&span)) } else { self.decided.find(span.parent_span_id) };
        let Some(is_kept) = decision else {
            self.wait(span);
            return Vec::new();
        };
        let mut found = vec![span];
        let mut looked_at = 0;
        // What is below those below comes as it is found.
        while let Some(id) = found.get(looked_at).map(|span| span.span_context.span_id()) {
            looked_at += 1;
            // What is below one that is left out is known by the one on top.
            if is_kept || looked_at == 1 {
                self.decided.remember(id, is_kept);
            }
            found.extend(self.take_below(id));
        }
        if is_kept { found } else { Vec::new() }
    }

    fn wait(&mut self, span: SpanData) {
        let (above, now) = (span.parent_span_id, span.end_time);
        let (next_place, order) = (&mut self.next_place, &mut self.order);
        let below = self.below.entry(above).or_insert_with(|| {
            *next_place += 1;
            order.insert(*next_place, above);
            Below { place: *next_place, since: now, spans: Vec::new() }
        });
        if below.spans.len() >= MOST_BELOW_ONE {
            self.given_up += 1;
        } else {
            below.spans.push(span);
            self.spans += 1;
        }
        while let Some((_, &oldest)) = self.order.first_key_value() {
            let since = self.below.get(&oldest).map(|below| below.since);
            let waits = since.and_then(|since| now.duration_since(since).ok()).unwrap_or_default();
            if self.spans <= MOST_WAITING && waits < LONGEST_WAIT {
                break;
            }
            self.given_up += self.take_below(oldest).len() as u64;
        }
    }

    fn take_below(&mut self, above: SpanId) -> Vec<SpanData> {
        let Some(Below { place, spans, .. }) = self.below.remove(&above) else { return Vec::new() };
        self.order.remove(&place);
        self.spans -= spans.len();
        spans
    }

    fn take_given_up(&mut self) -> u64 {
        std::mem::take(&mut self.given_up)
    }
}

/// What was decided of the spans that were decided last.
#[derive(Debug, Default)]
struct Decided {
    kept: HashMap<SpanId, bool>,
    order: VecDeque<SpanId>,
}

impl Decided {
    fn find(&self, id: SpanId) -> Option<bool> {
        self.kept.get(&id).copied()
    }

    fn remember(&mut self, id: SpanId, is_kept: bool) {
        if self.order.len() >= MOST_DECIDED
            && let Some(oldest) = self.order.pop_front()
        {
            self.kept.remove(&oldest);
        }
        self.kept.insert(id, is_kept);
        self.order.push_back(id);
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::InstrumentationScope;
    use opentelemetry::trace::TraceState;

    use super::*;

    const ALL: AlwaysSample = AlwaysSample { errors: true, slow: Some(Duration::from_secs(1)) };

    /// A span of this id below another, 0 for none, that took so many milliseconds.
    fn span(id: u64, above: u64, millis: u64) -> SpanData {
        let (trace, id) = (TraceId::from(1), SpanId::from(id));
        let span_context = SpanContext::new(trace, id, TraceFlags::default(), false, TraceState::default());
        let start_time = SystemTime::UNIX_EPOCH;
        SpanData {
            span_context,
            parent_span_id: SpanId::from(above),
            parent_span_is_remote: false,
            span_kind: SpanKind::Server,
            name: "grpc".into(),
            start_time,
            end_time: start_time + Duration::from_millis(millis),
            attributes: Vec::new(),
            dropped_attributes_count: 0,
            events: Default::default(),
            links: Default::default(),
            status: Status::Unset,
            instrumentation_scope: InstrumentationScope::default(),
        }
    }

    fn ids(spans: &[SpanData]) -> Vec<u64> {
        spans.iter().map(|span| u64::from_be_bytes(span.span_context.span_id().to_bytes())).collect()
    }

    #[test]
    fn what_is_below_a_slow_span_is_kept_with_it_also_what_ends_later() {
        let mut waiting = Waiting::default();
        assert!(waiting.end(span(3, 2, 1), ALL).is_empty());
        assert!(waiting.end(span(2, 1, 1), ALL).is_empty());
        assert_eq!(ids(&waiting.end(span(1, 0, 1_000), ALL)), [1, 2, 3]);
        assert!(waiting.end(span(5, 4, 1), ALL).is_empty());
        assert_eq!(ids(&waiting.end(span(4, 2, 1), ALL)), [4, 5]);
        assert_eq!((waiting.spans, waiting.given_up), (0, 0));
    }

    #[test]
    fn what_is_neither_slow_nor_failed_is_left_out_with_all_below_it() {
        let mut waiting = Waiting::default();
        assert!(waiting.end(span(2, 1, 5_000), ALL).is_empty());
        assert!(waiting.end(span(1, 0, 999), ALL).is_empty());
        assert!(waiting.end(span(3, 1, 1), ALL).is_empty());
        assert_eq!((waiting.spans, waiting.below.len(), waiting.order.len(), waiting.given_up), (0, 0, 0, 0));
    }

    #[test]
    fn a_failure_is_kept_and_a_method_that_does_not_exist_and_a_long_stream_are_not() {
        let errors = AlwaysSample { errors: true, slow: None };
        let mut failed = span(1, 0, 1);
        failed.status = Status::error("");
        assert!(errors.keeps(&failed));
        assert!(!AlwaysSample { errors: false, ..ALL }.keeps(&failed));
        failed.attributes.push(KeyValue::new(STATUS_CODE, "UNIMPLEMENTED"));
        assert!(!errors.keeps(&failed));
        let mut stream = span(1, 0, 60_000);
        assert!(ALL.keeps(&stream) && !errors.keeps(&stream));
        stream.attributes.push(KeyValue::new(STREAM, true));
        assert!(!ALL.keeps(&stream));
        stream.parent_span_is_remote = true;
        stream.parent_span_id = SpanId::from(9);
        assert!(Waiting::default().end(stream, ALL).is_empty());
    }

    #[test]
    fn however_many_spans_wait_they_take_bounded_room_and_what_is_given_up_is_counted() {
        let mut waiting = Waiting::default();
        for id in 0..100_000 {
            waiting.end(span(1_000_000 + id, 1 + id, 1), ALL);
            waiting.end(span(2_000_000 + id, 200_000, 1), ALL);
            waiting.end(span(3_000_000 + id, 0, 1), ALL);
            assert!(waiting.spans <= MOST_WAITING && waiting.below.len() <= MOST_WAITING);
        }
        assert_eq!(waiting.order.len(), waiting.below.len());
        assert_eq!(waiting.take_given_up(), 200_000 - waiting.spans as u64);
        assert!(waiting.decided.kept.len() <= MOST_DECIDED && waiting.decided.order.len() <= MOST_DECIDED);
    }

    #[test]
    fn what_waits_too_long_is_given_up() {
        let mut waiting = Waiting::default();
        waiting.end(span(2, 1, 1), ALL);
        waiting.end(span(4, 3, LONGEST_WAIT.as_millis() as u64 + 1), ALL);
        assert_eq!((waiting.spans, waiting.given_up), (1, 1));
        assert_eq!(ids(&waiting.end(span(1, 0, 1_000), ALL)), [1]);
    }
}
