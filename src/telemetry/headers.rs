//! What the headers and trailers of an RPC say, and the attributes of a span that tell of it.

use std::io::Write as _;

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::propagation::Extractor;
use opentelemetry::trace::SpanContext;
use opentelemetry::{KeyValue, StringValue};
use tonic::{Code, Status};

pub(super) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// After v1.44, the conventions call it `rpc.status_code`.
pub(super) const STATUS_CODE: &str = "rpc.response.status_code";
/// Set of calls whose messages come in streams: how long they take is their callers' choice.
pub(super) const STREAM: &str = "goldbook.rpc.stream";

/// The end of a stream that is cut off.
pub(super) fn trailers(code: Code, message: &str) -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(2);
    // It only fails for what cannot be in a header, which no message of ours has.
    let _ = Status::new(code, message).add_header(&mut trailers);
    trailers
}

/// gRPC metadata as the propagator reads it: of a caller's trace the ids alone. A `tracestate` would reach the collector as it
/// is, whatever a caller put there.
pub(super) struct Metadata<'a>(pub(super) &'a HeaderMap);

impl Extractor for Metadata<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).filter(|_| key == TRACEPARENT.as_str())?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().filter(|name| **name == TRACEPARENT).map(HeaderName::as_str).collect()
    }
}

/// A span's identity as W3C writes it.
pub(super) fn traceparent(span: &SpanContext) -> Option<HeaderValue> {
    let mut text = [0; 55];
    let flags = u8::from(span.is_sampled());
    write!(text.as_mut_slice(), "00-{}-{}-{flags:02x}", span.trace_id(), span.span_id()).ok()?;
    HeaderValue::from_bytes(&text).ok().filter(|_| span.is_valid())
}

/// The host and port that the caller asked for.
pub(super) fn server_address(authority: &http::uri::Authority) -> impl Iterator<Item = KeyValue> + use<> {
    let host = StringValue::from(authority.host().to_owned());
    let port = authority.port_u16().map(|port| KeyValue::new("server.port", i64::from(port)));
    std::iter::once(KeyValue::new("server.address", host)).chain(port)
}

pub(super) fn code_of(headers: &HeaderMap) -> Option<Code> {
    headers.get(Status::GRPC_STATUS).map(|code| Code::from_bytes(code.as_bytes()))
}

/// Which outcomes count as errors of the server; the others are answers that a caller asked for.
pub(super) fn is_our_fault(code: Code) -> bool {
    matches!(
        code,
        Code::Unknown
            | Code::DeadlineExceeded
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
    )
}

pub(super) fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
