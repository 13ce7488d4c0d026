//! The layer around every RPC: its server span, its deadline, the trace id that the caller gets back, and the answer if
//! the handler panics.
//!
//! Names follow the OpenTelemetry conventions for gRPC, of the version that [`super::resource`] names. The peer's address is left out: it belongs to a person.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll, ready};

use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::{Status as SpanStatus, TraceContextExt as _, get_active_span};
use opentelemetry::{Context, ContextGuard, KeyValue};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use pin_project_lite::pin_project;
use tonic::{Code, Status};
use tower::{Layer, Service};
use tracing::Span;
use tracing::span::Entered;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

pub use super::deadline::Deadline;
use super::deadline::Timer;
use super::headers::{
    Metadata, STATUS_CODE, STREAM, TRACEPARENT, code_name, code_of, is_our_fault, server_address, traceparent, trailers,
};
use super::metrics::TimedCall;
use super::spans::{count, is_recorded};
use crate::wire::Methods;

/// Notes on the current RPC's span which program the request is about. Does nothing outside an RPC's own task.
pub fn record_program(program_id: &str) {
    get_active_span(|span| {
        if is_recorded(&span) {
            span.set_attribute(KeyValue::new("goldbook.program.id", program_id.to_owned()));
        }
    });
}

/// Notes on the current RPC's span why the request is refused: `ErrorInfo.reason`. Does nothing outside an RPC's own
/// task.
pub fn record_reason(reason: &'static str) {
    get_active_span(|span| {
        if is_recorded(&span) {
            span.set_attribute(KeyValue::new("goldbook.reason", reason));
        }
    });
}

/// Notes on the current span, that of an RPC with a stream, how many items it has carried, and how many of those were
/// refused or failed.
pub fn record_items(items: usize, failed: usize) {
    let context = Span::current().context();
    let span = context.span();
    if is_recorded(&span) {
        span.set_attributes([
            KeyValue::new("goldbook.stream.items", count(items)),
            KeyValue::new("goldbook.stream.failed_items", count(failed)),
        ]);
    }
}

/// Puts every RPC into a server span, holds it to its caller's deadline, and answers for handlers that panic.
#[derive(Clone, Debug)]
pub struct RpcLayer {
    methods: Methods,
}

impl RpcLayer {
    /// A layer that knows these methods by name; a span of any other method has no more than the name `grpc`, because a
    /// caller can make up as many of those as it likes.
    #[must_use]
    pub const fn new(methods: Methods) -> Self {
        Self { methods }
    }
}

impl<S> Layer<S> for RpcLayer {
    type Service = RpcService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RpcService { inner, methods: self.methods.clone() }
    }
}

/// What [`RpcLayer`] makes of a service.
#[derive(Clone, Debug)]
pub struct RpcService<S> {
    inner: S,
    methods: Methods,
}

impl<S, RequestBody, ResponseBody> Service<Request<RequestBody>> for RpcService<S>
where
    S: Service<Request<RequestBody>, Response = Response<ResponseBody>>,
{
    type Response = Response<RpcBody<ResponseBody>>;
    type Error = S::Error;
    type Future = RpcFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<RequestBody>) -> Self::Future {
        let timer = Timer::from_headers(request.headers());
        if let Some(timer) = &timer {
            request.extensions_mut().insert(timer.deadline());
        }
        let call = Call::begin(&self.methods, &request);
        RpcFuture { inner: self.inner.call(request), call: Some(call), timer }
    }
}

/// One RPC from its request to the end of its answer, whichever way that comes: dropping it ends the span.
#[derive(Debug)]
struct Call {
    span: Span,
    context: Context,
    /// Whether handlers work on the answer while it is being sent.
    streams: bool,
    /// The outcome as far as it is known; a call that is dropped without one was cancelled.
    code: Option<Code>,
    timed: TimedCall,
}

impl Call {
    fn begin<B>(methods: &Methods, request: &Request<B>) -> Self {
        let path = request.uri().path();
        let known = methods.find(path);
        let streams = known.is_none_or(|method| method.answers_stream);
        let is_stream = known.is_some_and(|method| method.takes_stream || method.answers_stream);
        let method = known.and_then(|method| method.path.strip_prefix('/'));
        let span = tracing::info_span!(parent: None, "grpc", otel.kind = "server");
        if request.headers().contains_key(&TRACEPARENT) {
            let remote =
                TraceContextPropagator::new().extract_with_context(&Context::new(), &Metadata(request.headers()));
            // It can only fail for a span that is disabled or has begun.
            let _ = span.set_parent(remote);
        }
        let context = span.context();
        let server = context.span();
        if is_recorded(&server) {
            server.set_attributes([
                KeyValue::new("rpc.system.name", "grpc"),
                KeyValue::new("rpc.method", method.unwrap_or("_OTHER")),
            ]);
            // What another method was called is left out: a caller may have put anything there, also of a person.
            if let Some(method) = method {
                server.update_name(method);
            }
            if is_stream {
                server.set_attribute(KeyValue::new(STREAM, true));
            }
            server.set_attributes(request.uri().authority().into_iter().flat_map(server_address));
        }
        Self { span, context, streams, code: None, timed: TimedCall::begin(method.unwrap_or("_OTHER"), is_stream) }
    }

    /// While the guard lives, `tracing`'s current span is the server span, and so is OpenTelemetry's: it stays that
    /// inside child spans, and [`record_reason`] finds it there.
    fn enter(&self) -> (ContextGuard, Entered<'_>) {
        (self.context.clone().attach(), self.span.enter())
    }

    /// Adds the trace id to the answer's headers, and the answer's body to the call.
    fn answer<B>(mut self, response: Response<B>, timer: Option<Timer>) -> Response<RpcBody<B>> {
        let (mut head, body) = response.into_parts();
        if let Some(traceparent) = traceparent(self.context.span().span_context()) {
            head.headers.insert(TRACEPARENT, traceparent);
        }
        self.code = code_of(&head.headers);
        if self.code.is_none() && !head.status.is_success() {
            self.code = Some(Code::Unknown);
        }
        Response::from_parts(head, RpcBody { inner: Some(body), call: Some(self), timer })
    }

    /// Ends the call with this outcome.
    fn end(mut self, code: Code) {
        self.code = Some(code);
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let server = self.context.span();
        let code = self.code.unwrap_or(Code::Cancelled);
        self.timed.end(code, server.span_context());
        if is_recorded(&server) {
            server.set_attribute(KeyValue::new(STATUS_CODE, code_name(code)));
            if is_our_fault(code) {
                server.set_attribute(KeyValue::new("error.type", code_name(code)));
                server.set_status(SpanStatus::error(""));
            }
            // Whoever else still holds the `tracing` span, a batch perhaps, does not make the call any longer.
            server.end();
        }
    }
}

pin_project! {
    /// The answer to come.
    pub struct RpcFuture<F> {
        #[pin]
        inner: F,
        call: Option<Call>,
        timer: Option<Timer>,
    }
}

impl<F, B, E> Future for RpcFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<RpcBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let polled = {
            let _inside = this.call.as_ref().map(Call::enter);
            // After a panic neither the request's future nor its state is used any more.
            catch_unwind(AssertUnwindSafe(|| this.inner.poll(cx)))
        };
        let Ok(polled) = polled else {
            let Some(call) = this.call.take() else { return Poll::Pending };
            let defect = Status::internal(defect_message(&call.context)).into_http::<()>();
            return Poll::Ready(Ok(call.answer(defect, None).map(RpcBody::without_inner)));
        };
        if polled.is_pending() {
            // tonic has a timer of its own around all layers, which answers CANCELLED. It is set for the same time or
            // a moment later and polls us first, and we go by the clock, so ours always comes first.
            ready!(Timer::poll(this.timer, cx));
            let expired =
                Status::deadline_exceeded("the deadline passed before the answer was there").into_http::<()>();
            // There is none only if somebody polls again after the answer.
            let Some(call) = this.call.take() else { return Poll::Pending };
            return Poll::Ready(Ok(call.answer(expired, None).map(RpcBody::without_inner)));
        }
        polled.map(|answered| {
            let call = this.call.take();
            match (answered, call) {
                (Ok(response), Some(call)) => Ok(call.answer(response, this.timer.take())),
                (Ok(response), None) => Ok(response.map(|body| RpcBody { inner: Some(body), call: None, timer: None })),
                (Err(error), call) => {
                    call.into_iter().for_each(|call| call.end(Code::Unknown));
                    Err(error)
                }
            }
        })
    }
}

pin_project! {
    /// The body of an answer, whose trailers tell the call's outcome.
    #[derive(Debug)]
    pub struct RpcBody<B> {
        #[pin]
        inner: Option<B>,
        call: Option<Call>,
        timer: Option<Timer>,
    }
}

impl<T> RpcBody<T> {
    /// The same call with nothing in the body.
    fn without_inner<B>(self) -> RpcBody<B> {
        RpcBody { inner: None, call: self.call, timer: None }
    }
}

impl<B: Body> Body for RpcBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let mut this = self.project();
        let Some(inner) = this.inner.as_mut().as_pin_mut() else {
            return Poll::Ready(None);
        };
        let polled = {
            let _inside = this.call.as_ref().filter(|call| call.streams).map(Call::enter);
            catch_unwind(AssertUnwindSafe(|| inner.poll_frame(cx)))
        };
        let Ok(polled) = polled else {
            this.inner.set(None);
            let message = this.call.as_ref().map(|call| defect_message(&call.context)).unwrap_or_default();
            this.call.take().into_iter().for_each(|call| call.end(Code::Internal));
            return Poll::Ready(Some(Ok(Frame::trailers(trailers(Code::Internal, &message)))));
        };
        let code = match &polled {
            Poll::Pending => {
                ready!(Timer::poll(this.timer, cx));
                this.inner.set(None);
                this.call.take().into_iter().for_each(|call| call.end(Code::DeadlineExceeded));
                let trailers = trailers(Code::DeadlineExceeded, "the deadline passed before the stream ended");
                return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
            }
            Poll::Ready(Some(Ok(frame))) => match frame.trailers_ref() {
                None => return polled,
                Some(trailers) => code_of(trailers).unwrap_or(Code::Unknown),
            },
            Poll::Ready(Some(Err(_))) => Code::Unknown,
            Poll::Ready(None) => this.call.as_ref().and_then(|call| call.code).unwrap_or(Code::Unknown),
        };
        this.call.take().into_iter().for_each(|call| call.end(code));
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(B::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or_else(|| SizeHint::with_exact(0), B::size_hint)
    }
}

/// What a caller is told of a panic: as of any other defect, no more than where to look for it.
fn defect_message(call: &Context) -> String {
    format!("internal error, trace {}", call.span().span_context().trace_id())
}
