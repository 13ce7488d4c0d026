//! The layer before all others, which decides by its origin whether a page may call.

use std::collections::HashSet;
use std::future::{Ready, ready};
use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::Either;
use http::header::{AUTHORIZATION, CONTENT_TYPE, ORIGIN};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version};
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};
use tower_http::cors::{self, AllowOrigin, CorsLayer};

use super::lingering::{Lingering, MOST_OVER_HTTP1, MOST_OVER_HTTP2};
use super::origin::Origin;
use super::translation::Translation;

/// How long a browser remembers that a page may call.
const MAX_AGE: Duration = Duration::from_secs(60 * 60);
/// What HTTP/2 counts for a header beside its name and its value, in bytes.
const HEADER_BYTES: usize = 32;
/// What a page may send: what gRPC-Web clients do, who calls, and the caller's trace.
const REQUEST_HEADERS: [HeaderName; 7] = [
    CONTENT_TYPE,
    AUTHORIZATION,
    HeaderName::from_static("x-grpc-web"),
    HeaderName::from_static("x-user-agent"),
    HeaderName::from_static("grpc-timeout"),
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
];
/// What a page may read: the outcome, which stands in headers where there is nothing else to answer, and the trace.
const ANSWER_HEADERS: [HeaderName; 4] = [
    HeaderName::from_static("grpc-status"),
    HeaderName::from_static("grpc-message"),
    HeaderName::from_static("grpc-status-details-bin"),
    HeaderName::from_static("traceparent"),
];

/// Lets pages of some origins call by gRPC-Web, and refuses calls of all other pages. Calls that are no page's pass. Over
/// HTTP/1.1, it first refuses what has too large headers.
#[derive(Clone, Debug)]
pub(crate) struct WebLayer(Arc<Rules>);

/// Who may call, and with what.
#[derive(Debug)]
struct Rules {
    /// Where the pages are from that may call.
    origins: HashSet<HeaderValue>,
    cors: CorsLayer,
    max_header_bytes: usize,
}

impl WebLayer {
    /// A layer that lets pages of these origins call, with headers of so many bytes together.
    #[must_use]
    pub(crate) fn new(origins: &[Origin], max_header_bytes: u32) -> Self {
        let cors = CorsLayer::new()
            // Only what comes from one of them is asked.
            .allow_origin(AllowOrigin::mirror_request())
            .allow_methods([Method::POST])
            .allow_headers(REQUEST_HEADERS)
            .expose_headers(ANSWER_HEADERS)
            .max_age(MAX_AGE);
        let origins = origins.iter().map(|origin| origin.header().clone()).collect();
        let max_header_bytes = usize::try_from(max_header_bytes).unwrap_or(usize::MAX);
        Self(Arc::new(Rules { origins, cors, max_header_bytes }))
    }
}

impl<S> Layer<S> for WebLayer {
    type Service = WebService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        WebService { calls: Translation(inner), rules: self.0.clone() }
    }
}

/// What [`WebLayer`] makes of a service.
#[derive(Clone, Debug)]
pub(crate) struct WebService<S> {
    calls: Translation<S>,
    rules: Arc<Rules>,
}

/// A call of nobody's page, one of a page that may call, and one that is refused.
type Answer<F, E> = Either<F, Either<cors::ResponseFuture<F>, Ready<Result<Response<Body>, E>>>>;

impl<S, B> Service<Request<Body>> for WebService<S>
where
    S: Service<Request<Body>, Response = Response<B>> + Clone,
    B: http_body::Body<Data = Bytes, Error = Status> + Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Answer<<Translation<S> as Service<Request<Body>>>::Future, S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.calls.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let most = if request.version() < Version::HTTP_2 { MOST_OVER_HTTP1 } else { MOST_OVER_HTTP2 };
        request = request.map(|body| Body::new(Lingering::new(body, most)));
        // HTTP/2 has a bound of its own. That of HTTP/1.1 is its buffer, which is many times as large and cannot be set.
        if request.version() < Version::HTTP_2 && header_bytes(&request) > self.rules.max_header_bytes {
            return Either::Right(Either::Right(ready(Ok(refuse_headers()))));
        }
        // Browsers send it with every call, also to where the page itself came from.
        let Some(origin) = request.headers().get(ORIGIN) else { return Either::Left(self.calls.call(request)) };
        if !self.rules.origins.contains(origin) {
            return Either::Right(Either::Right(ready(Ok(refuse()))));
        }
        // The service that was found ready is the one to call.
        let next = self.calls.clone();
        let calls = mem::replace(&mut self.calls, next);
        // Whether a page may call is answered here, before a span begins and anybody is asked who they are.
        Either::Right(Either::Left(self.rules.cors.layer(calls).call(request)))
    }
}

/// How large the head of a request is, as HTTP/2 counts it (RFC 9113, 6.5.2).
fn header_bytes<B>(request: &Request<B>) -> usize {
    let path = request.uri().path_and_query().map_or(0, |path| path.as_str().len());
    request.headers().iter().fold(path, |sum, (name, value)| sum + name.as_str().len() + value.len() + HEADER_BYTES)
}

/// The answer to a request with too large headers, as HTTP/2 gives it: there is no gRPC in it.
fn refuse_headers() -> Response<Body> {
    let mut refusal = Response::new(Body::empty());
    *refusal.status_mut() = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
    refusal
}

/// The answer to a page that may not call. It has none of the headers that would let the page read it.
fn refuse() -> Response<Body> {
    let mut refusal = Status::permission_denied("pages of this origin may not call").into_http();
    *refusal.status_mut() = StatusCode::FORBIDDEN;
    refusal
}
