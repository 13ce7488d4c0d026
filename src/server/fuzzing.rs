//! The service without a database: every call goes the whole way to where the first row would be read.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::pin;
use std::time::{Duration, Instant};

use futures_util::future::LocalBoxFuture;
use http::{HeaderMap, Request, Response};
use http_body::Body as _;
use sqlx::postgres::PgConnectOptions;
use tonic::body::Body;
use tower::Service as _;

use super::{MAX_HEADER_BYTES, Settings, add_reflection, layers, routes};
use crate::access::grpc::{AccessLayer, Authentication, Identities};
use crate::access::limits::Limits;
use crate::admin::Readiness;
use crate::book::{Book, Instants};
use crate::capabilities::capabilities;
use crate::clock::Clock;
use crate::customers::ErasureKeys;
use crate::database::{connect_for_lookups, connect_lazily};
use crate::listener::Bounds;
use crate::programs::Catalogue;
use crate::web::{Origin, WebLayer};

/// How long a call may take. Nothing of it waits.
const TIME_LIMIT: Duration = Duration::from_secs(4);

type Call = dyn Fn(Request<Body>) -> LocalBoxFuture<'static, Option<Response<Body>>>;

/// The service, with pools that are closed and a book that carries nothing out.
pub(crate) struct WithoutDatabase {
    runtime: tokio::runtime::Runtime,
    call: Box<Call>,
}

/// All that a caller gets.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: http::StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    /// None also where the body ended by an error.
    pub(crate) trailers: Option<HeaderMap>,
}

impl WithoutDatabase {
    /// A service that pages of one origin may call.
    ///
    /// # Errors
    /// If it cannot be put together.
    pub(crate) fn new(origin: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let origins: [Origin; 1] = [origin.parse()?];
        let call = runtime.block_on(async {
            let settings = settings();
            let catalogue = Catalogue::default();
            let capabilities = capabilities(&catalogue, settings.erasure_keys.clone());
            let pool = connect_lazily(&settings.database, settings.read_connections);
            let lookups = connect_for_lookups(&settings.database);
            pool.close().await;
            lookups.close().await;
            let instants = Instants::open(&lookups, settings.clock.clone());
            let book = Book::without_lanes();
            let routes = routes(&settings, &book, [&pool, &lookups], &instants, &capabilities, catalogue);
            let routes = add_reflection(routes)?.prepare();
            let authentication = Authentication::new(&settings.identities, settings.limits, pool)?.with_known_id();
            let service =
                layers(WebLayer::new(&origins, MAX_HEADER_BYTES), AccessLayer::new(authentication))?.service(routes);
            let call = move |request| -> LocalBoxFuture<'static, Option<Response<Body>>> {
                let mut service = service.clone();
                Box::pin(async move {
                    poll_fn(|cx| service.poll_ready(cx)).await.ok()?;
                    Some(service.call(request).await.ok()?.map(Body::new))
                })
            };
            Ok::<Box<Call>, Box<dyn std::error::Error + Send + Sync>>(Box::new(call))
        })?;
        Ok(Self { runtime, call })
    }

    /// Calls it. None if it does not answer, or not within its time.
    pub(crate) fn call(&self, request: Request<Body>) -> Option<Answer> {
        let answer = (self.call)(request);
        self.runtime.block_on(async { tokio::time::timeout(TIME_LIMIT, read(answer)).await.ok()? })
    }
}

async fn read(answer: impl Future<Output = Option<Response<Body>>>) -> Option<Answer> {
    let (head, body) = answer.await?.into_parts();
    let mut answer = Answer { status: head.status, headers: head.headers, body: Vec::new(), trailers: None };
    let mut body = pin!(body);
    while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        let Ok(frame) = frame else { break };
        match frame.into_data() {
            Ok(data) => answer.body.extend_from_slice(&data),
            Err(frame) => answer.trailers = frame.into_trailers().ok(),
        }
    }
    Some(answer)
}

/// Without one, nobody could be erased.
const ERASURE_KEY: &str = "fuzzing MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

#[expect(clippy::disallowed_methods, reason = "it is for the log alone")]
fn settings() -> Settings {
    Settings {
        database: PgConnectOptions::new_without_pgpass().socket("/nowhere"),
        lanes: 1,
        apply_dues_every: None,
        sum_up_every: None,
        erase_of_inactive_every: None,
        read_connections: 1,
        export_limit: Duration::from_secs(1),
        tls: None,
        reflection: true,
        connections: Bounds::at_most(1),
        identities: Identities::default(),
        limits: Limits(BTreeMap::new()),
        erasure_keys: ErasureKeys::parse(ERASURE_KEY).unwrap_or_default(),
        cors_origins: Vec::new(),
        clock: Clock::database(),
        data_dir: None,
        readiness: Readiness::default(),
        start: tracing::Span::none(),
        begun: Instant::now(),
    }
}
