//! What the other rooms tell and ask of spans.

use opentelemetry::KeyValue;
use opentelemetry::trace::{SpanContext, SpanRef, Status, TraceContextExt as _};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use super::always;
use super::trace_id::TraceId;

/// The id of the trace that a span belongs to: valid with and without an exporter, sampled or not; all zero only for a
/// span that is disabled, as all are before [`init`](super::init).
#[must_use]
pub fn trace_id(span: &Span) -> TraceId {
    TraceId(span.context().span().span_context().trace_id().to_bytes())
}

/// What identifies a span to others, for [`link`].
#[must_use]
pub fn span_context(span: &Span) -> SpanContext {
    span.context().span().span_context().clone()
}

/// Links a span to another that is not its parent, such as a batch to a request that it carries.
pub fn link(from: &Span, to: &SpanContext) {
    from.add_link(to.clone());
}

/// Whether spans below the current one need not be made: nobody would get to see them, and log lines within them find its
/// ids all the same.
#[must_use]
pub fn is_current_unrecorded() -> bool {
    let current = Span::current();
    !current.is_none() && !is_recorded(&current.context().span())
}

/// Whether somebody may get to see a span.
pub(super) fn is_recorded(span: &SpanRef<'_>) -> bool {
    span.span_context().is_sampled() || (always::is_on() && span.is_recording())
}

/// Whether somebody may get to see a span of this identity, so that it is worth telling things of it.
#[must_use]
pub fn records(span: &Span, context: &SpanContext) -> bool {
    context.is_sampled() || (always::is_on() && span.context().span().is_recording())
}

/// A number as an attribute of a span: `tracing` would make a text of one that has no sign.
#[must_use]
pub fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Marks a span of work of our own as failed; `error_type` is a short, fixed name of the failure.
pub fn fail_span(span: &Span, error_type: &'static str) {
    if span.is_disabled() {
        return;
    }
    let context = span.context();
    let failed = context.span();
    if is_recorded(&failed) {
        failed.set_attribute(KeyValue::new("error.type", error_type));
        failed.set_status(Status::error(""));
    }
}
