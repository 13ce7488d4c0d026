//! What operators and their machines ask by HTTP, on a listener of its own: metrics, whether the service lives and is
//! ready, and which version it is. It tells nothing of customers, and asks nobody who they are.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use http::header::{ACCEPT, ALLOW, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::telemetry::metrics::Measurements;

/// How many connections there may be at a time; further ones wait.
const MAX_CONNECTIONS: usize = 64;
/// How long a head may take, and how long a connection may be silent.
const HEAD_LIMIT: Duration = Duration::from_secs(10);
/// How large a head may be, in bytes.
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// How long one connection may last in all: whoever takes its answer too slowly loses its place.
const CONNECTION_LIMIT: Duration = Duration::from_secs(300);
/// How long nothing is accepted after a connection could not be.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(500);

const PLAIN: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Whether the service is ready for calls, as `grpc.health.v1` says it too. All clones tell the same.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// Says whether it is.
    pub fn set(&self, is_ready: bool) {
        self.0.store(is_ready, Relaxed);
    }

    fn is_ready(&self) -> bool {
        self.0.load(Relaxed)
    }
}

/// What is told.
#[derive(Clone, Debug)]
pub struct Admin {
    /// Whether the service is ready.
    pub readiness: Readiness,
    /// The metrics of the process.
    pub measurements: Measurements,
    /// Which version it is, in JSON.
    pub version: String,
}

impl Admin {
    /// Answers on a listener, until it is dropped.
    #[expect(clippy::disallowed_methods, reason = "the pause after a failure")]
    pub async fn serve(self, listener: TcpListener) {
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        while let Ok(place) = Arc::clone(&places).acquire_owned().await {
            match listener.accept().await {
                Ok((stream, _)) => drop(tokio::spawn(self.clone().serve_connection(stream, place))),
                Err(error) => {
                    // Such as too many open files: others may come through later.
                    tracing::warn!(%error, "a connection of the admin listener cannot be accepted");
                    tokio::time::sleep(PAUSE_AFTER_FAILURE).await;
                }
            }
        }
    }

    async fn serve_connection(self, stream: TcpStream, _place: OwnedSemaphorePermit) {
        let service = service_fn(move |request| {
            let admin = self.clone();
            async move { Ok::<_, Infallible>(admin.answer(&request).await) }
        });
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(HEAD_LIMIT).max_buf_size(MAX_HEAD_BYTES);
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        // How a connection ends concerns nobody but whoever had it.
        let _ = tokio::time::timeout(CONNECTION_LIMIT, connection).await;
    }

    async fn answer(self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if request.method() != Method::GET && request.method() != Method::HEAD {
            let mut refusal = respond(StatusCode::METHOD_NOT_ALLOWED, PLAIN, "only GET and HEAD are answered here\n");
            refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return refusal;
        }
        match request.uri().path() {
            "/metrics" => self.answer_metrics(request.headers()).await,
            "/livez" => respond(StatusCode::OK, PLAIN, "alive\n"),
            "/readyz" if self.readiness.is_ready() => respond(StatusCode::OK, PLAIN, "ready\n"),
            "/readyz" => respond(StatusCode::SERVICE_UNAVAILABLE, PLAIN, "not ready\n"),
            "/version" => respond(StatusCode::OK, JSON, self.version),
            _ => respond(StatusCode::NOT_FOUND, PLAIN, "there are /metrics, /livez, /readyz and /version\n"),
        }
    }

    async fn answer_metrics(self, headers: &HeaderMap) -> Response<Full<Bytes>> {
        let accepts = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let is_openmetrics = accepts.into_iter().any(|value| value.contains("application/openmetrics-text"));
        let text = tokio::task::spawn_blocking(move || self.measurements.text(is_openmetrics)).await;
        match text {
            Ok(text) => respond(StatusCode::OK, if is_openmetrics { OPENMETRICS } else { PROMETHEUS }, text),
            Err(_) => respond(StatusCode::INTERNAL_SERVER_ERROR, PLAIN, "the metrics cannot be read\n"),
        }
    }
}

fn respond(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
