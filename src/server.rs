//! The service put together: capabilities, use cases, and what holds for every call. [`run`] serves on a listener until
//! it is told to stop.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use gauges::Gauges;
use goldbook_api::server::{Implementations, MessageRules};
use health::Health;
use sqlx::PgPool;
use sqlx::postgres::PgConnectOptions;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_stream::Stream;
use tonic::codec::CompressionEncoding::{Gzip, Zstd};
use tonic::service::Routes;
use tonic::transport::Server;
use tonic_health::ServingStatus;
use tower::ServiceBuilder;
use tower::layer::util::{Identity, Stack};
use tracing::Span;

use crate::access::grpc::{AccessLayer, Authentication, Identities};
use crate::access::limits::Limits;
use crate::activities::Activities;
use crate::admin::Readiness;
use crate::benefits::{Benefits, keep_giving_packages};
use crate::book::{Book, Capabilities, Instants, keep_applying_dues};
use crate::capabilities::{capabilities, tables};
use crate::clock::Clock;
use crate::complaints::Complaints;
use crate::customers::{Customers, ErasureKeys, keep_erasing_of_inactive};
use crate::database::{self, DatabaseProbe, SchemaError, by_scan, connect_for_lookups, connect_lazily};
use crate::imports::Imports;
use crate::ledger::Ledger;
use crate::liability::{Liability, Pace, keep_summing_up};
use crate::lifecycle::Lifecycles;
use crate::listener::{self, Connection, Tls};
use crate::points::PointsService;
use crate::privacy::CustomerExports;
use crate::programs::Catalogue;
use crate::programs::Programs;
use crate::proto;
use crate::referrals::Referrals;
use crate::rewards::Rewards;
use crate::satisfaction::Satisfaction;
use crate::segments::{MemberFinder, Segments};
use crate::telemetry::RpcLayer;
use crate::telemetry::metrics::{is_measured, watch_pool};
use crate::tiers::{Tiers, keep_reevaluating};
use crate::value::{Value, keep_classing_customers};
use crate::web::{Origin, WebLayer};
use crate::wire::{Methods, WireLayer};

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod gauges;
mod health;

/// What holds for the messages of every service.
const MESSAGE_RULES: MessageRules = MessageRules { max_bytes: 4 * 1024 * 1024, compressions: &[Gzip, Zstd] };
/// How often an idle connection is asked whether it lives, and how long it may take to answer.
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(20));
/// How long a connection takes new calls. Then its caller is asked to make another, and calls under way go on.
const MAX_CONNECTION_AGE: Duration = Duration::from_secs(3_600);
/// How many calls and streams may be under way on one connection.
const MAX_STREAMS: u32 = 256;
/// How many bytes of a stream, and of all streams of a connection, may lie unread. The connection has room for every stream,
/// since hyper ends one on which many small messages lie unread, and takes this size for the measure of many.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = MAX_STREAMS * STREAM_WINDOW;
/// How large the headers of a call may be together, in bytes: a token of 8 KiB and what belongs to it.
const MAX_HEADER_BYTES: u32 = 16 * 1024;
/// How many calls a caller may take back before anybody has looked at them, and how many may be broken. A caller with more
/// of them loses its connection.
const MAX_RESET_STREAMS: usize = 64;
const MAX_ERROR_STREAMS: usize = 256;
/// How long calls that are under way may take after the service was told to stop.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// How long answers that are ready may take to be sent after the database was lost, and connections to it to be closed.
const LAST_WORDS_TIMEOUT: Duration = Duration::from_millis(500);

/// How the service ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Calls under way are answered, and what the book accepted is written.
    InOrder,
    /// The database is lost, so nothing can be waited for.
    WithoutDatabase,
}

/// What the service needs to run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The database, in the service's role.
    pub database: PgConnectOptions,
    /// How many batches are written at a time, each on its own connection.
    pub lanes: usize,
    /// How often accounts that nobody touches are looked through for what is due; never, if absent.
    pub apply_dues_every: Option<Duration>,
    /// How often the liability of programs is summed up; never, if absent.
    pub sum_up_every: Option<Duration>,
    /// How often it is looked for customers without activity, of whom programs keep something no longer; never, if absent.
    pub erase_of_inactive_every: Option<Duration>,
    /// How many connections reads share.
    pub read_connections: u32,
    /// How long one export may take in all.
    pub export_limit: Duration,
    /// TLS of the listener, if there is any.
    pub tls: Option<Tls>,
    /// Whether the service tells about its interface by reflection.
    pub reflection: bool,
    /// How many connections of callers may be open, and how long they may be silent.
    pub connections: listener::Bounds,
    /// How callers prove who they are. If there is no way, they are not asked, and may do everything.
    pub identities: Identities,
    /// How often callers may call, by role.
    pub limits: Limits,
    /// By which keys erased customers are known again. Without one, nobody can be erased.
    pub erasure_keys: ErasureKeys,
    /// Whose pages may call from a browser.
    pub cors_origins: Vec<Origin>,
    /// What tells the present: the database's clock, but in tests.
    pub clock: Clock,
    /// Where the service's own database lives, if it has one.
    pub data_dir: Option<PathBuf>,
    /// Where it is said whether the service is ready.
    pub readiness: Readiness,
    /// The span of the start, which ends once health says that the service serves.
    pub start: Span,
    /// When the start began, for the log.
    pub begun: Instant,
}

/// Brings a database's schema up to date as its owner, and lets the service's role do with each table what its room
/// declares. Safe to run at the same time from several places: one waits for the other.
///
/// # Errors
/// If the database cannot be reached, a migration fails, or the role does not exist.
pub async fn migrate(owner: &PgConnectOptions, service_role: &str) -> Result<(), SchemaError> {
    let grants: Vec<_> = tables().into_iter().map(|table| (table.rights.privileges(), table.name)).collect();
    database::migrate(owner, service_role, &grants).await
}

/// Serves until `shutdown` is done: health says so first, calls under way are answered, then the book is closed. Without a
/// database, only what is answered already is sent.
///
/// # Errors
/// If the server cannot be set up or the listener fails.
pub async fn run(
    listener: TcpListener,
    settings: Settings,
    probe: DatabaseProbe,
    shutdown: impl Future<Output = Ending> + Send,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    database::name_in_traces(&settings.database);
    let catalogue = Catalogue::default();
    let capabilities = capabilities(&catalogue, settings.erasure_keys.clone());
    let pool = connect_lazily(&settings.database, settings.read_connections);
    let (book, lanes) = Book::open(&settings.database, settings.lanes, &capabilities, &settings.clock);
    let (health, health_service) = Health::new(settings.readiness.clone());
    let lookups = connect_for_lookups(&settings.database);
    watch("reads", &pool);
    watch("lookups", &lookups);
    let instants = Instants::open(&lookups, settings.clock.clone());
    let services = routes(&settings, &book, [&pool, &lookups], &instants, &capabilities, catalogue);
    let services = services.add_service(health_service);
    let routes = if settings.reflection { add_reflection(services)? } else { services };
    let background = Background::start(&settings, &book, &pool, &instants, &capabilities);
    drop(book);
    // Said before the first call can ask.
    let is_reachable = probe.is_connected();
    health.report(if is_reachable { ServingStatus::Serving } else { ServingStatus::NotServing }).await;
    let watch = tokio::spawn(health.clone().follow(probe, is_reachable, settings.start));

    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let authentication = Authentication::new(&settings.identities, settings.limits, pool.clone())?;
    let fresh = tokio::spawn(authentication.clone().keep_fresh());
    let access = AccessLayer::new(authentication);
    let certificates = settings.tls.clone().map(|tls| tokio::spawn(tls.keep_fresh()));
    let incoming = listener::accept(listener, settings.tls, settings.connections);
    let web = WebLayer::new(&settings.cors_origins, MAX_HEADER_BYTES);
    let mut serve = Box::pin(serve_until(incoming, routes, web, access, stopped.map(|_| ()))?);
    if is_reachable {
        let milliseconds = u64::try_from(settings.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::info!(milliseconds, "serving");
    }
    let (outcome, ending) = tokio::select! {
        outcome = &mut serve => (outcome, Ending::InOrder),
        ending = shutdown => {
            watch.abort();
            health.report(ServingStatus::NotServing).await;
            health.end_watches().await;
            let _ = stop.send(());
            (drain(&mut serve, ending).await, ending)
        }
    };
    drop(serve);
    watch.abort();
    fresh.abort();
    certificates.iter().for_each(JoinHandle::abort);
    drop(background);
    // Without a database, the lanes would go on trying to reach it.
    if ending == Ending::InOrder {
        if tokio::time::timeout(DRAIN_TIMEOUT, lanes.close()).await.is_err() {
            tracing::warn!("the book did not close in time");
        }
        // A call that was cut off may keep its connection until its statement ends.
        let _ = tokio::time::timeout(LAST_WORDS_TIMEOUT, pool.close()).await;
    }
    Ok(outcome?)
}

/// Lets a server that was told to stop answer what is under way, as long as it may take.
async fn drain<E>(serve: impl Future<Output = Result<(), E>>, ending: Ending) -> Result<(), E> {
    let limit = match ending {
        Ending::InOrder => {
            tracing::info!("stopping: calls under way are answered first");
            DRAIN_TIMEOUT
        }
        Ending::WithoutDatabase => {
            tracing::warn!("stopping at once: the database is lost, and calls under way are cut off");
            LAST_WORDS_TIMEOUT
        }
    };
    tokio::time::timeout(limit, serve).await.unwrap_or_else(|_| {
        if ending == Ending::InOrder {
            tracing::warn!("some calls did not end in time and are cut off");
        }
        Ok(())
    })
}

/// Adds reflection, in both versions that clients ask for, of every service but itself.
fn add_reflection(routes: Routes) -> Result<Routes, tonic_reflection::server::Error> {
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(proto::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    Ok(routes.add_service(reflection().build_v1()?).add_service(reflection().build_v1alpha()?))
}

/// Serves until `stopped` is done and the calls that are under way then are answered.
fn serve_until(
    incoming: impl Stream<Item = Result<Connection, std::io::Error>>,
    routes: Routes,
    web: WebLayer,
    access: AccessLayer,
    stopped: impl Future<Output = ()>,
) -> Result<impl Future<Output = Result<(), tonic::transport::Error>>, prost::DecodeError> {
    Ok(Server::builder()
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_connection_age(MAX_CONNECTION_AGE)
        .http2_max_header_list_size(MAX_HEADER_BYTES)
        .http2_max_pending_accept_reset_streams(Some(MAX_RESET_STREAMS))
        .http2_max_local_error_reset_streams(Some(MAX_ERROR_STREAMS))
        .http2_keepalive_interval(Some(KEEP_ALIVE.0))
        .http2_keepalive_timeout(Some(KEEP_ALIVE.1))
        .accept_http1(true)
        .layer(layers(web, access)?)
        .add_routes(routes)
        .serve_with_incoming_shutdown(incoming, stopped))
}

/// What every call goes through before a service sees it, the first one last.
type Layers = Stack<WireLayer, Stack<AccessLayer, Stack<RpcLayer, Stack<WebLayer, Identity>>>>;

fn layers(web: WebLayer, access: AccessLayer) -> Result<ServiceBuilder<Layers>, prost::DecodeError> {
    let methods = Methods::read(&[
        proto::FILE_DESCRIPTOR_SET,
        tonic_health::pb::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
    ])?;
    Ok(ServiceBuilder::new()
        .layer(web)
        .layer(RpcLayer::new(methods.clone()))
        .layer(access)
        .layer(WireLayer::new(methods, MESSAGE_RULES.max_bytes)))
}

/// How many times rarer than dues days of customers and ends of periods are looked for, which come seldom.
const DAYS_EVERY: u32 = 30;

/// What goes on beside the calls, until it is dropped.
struct Background(Vec<JoinHandle<()>>);

impl Background {
    fn start(
        settings: &Settings,
        book: &Book,
        pool: &PgPool,
        instants: &Instants,
        capabilities: &Capabilities,
    ) -> Self {
        let clock = || settings.clock.clone();
        let apply_dues = |every| tokio::spawn(keep_applying_dues(pool.clone(), book.clone(), clock(), every));
        let erase = |every| tokio::spawn(keep_erasing_of_inactive(pool.clone(), book.clone(), clock(), every));
        let pace = Pace::default();
        let sum_up = |every| {
            tokio::spawn(keep_summing_up(
                by_scan(&settings.database),
                pool.clone(),
                capabilities.clone(),
                instants.clone(),
                (every, pace.clone()),
            ))
        };
        // Whoever applies dues carries out orders, gives packages, and classes customers, too.
        let reevaluate = |every| tokio::spawn(keep_reevaluating(pool.clone(), book.clone(), clock(), every));
        let give = |every: Duration| {
            tokio::spawn(keep_giving_packages(pool.clone(), book.clone(), clock(), every * DAYS_EVERY))
        };
        let class = |every: Duration| {
            tokio::spawn(keep_classing_customers(pool.clone(), book.clone(), instants.clone(), every * DAYS_EVERY))
        };
        let tasks = [
            settings.apply_dues_every.map(apply_dues),
            settings.apply_dues_every.map(reevaluate),
            settings.apply_dues_every.map(give),
            settings.apply_dues_every.map(class),
            settings.sum_up_every.map(sum_up),
            settings.erase_of_inactive_every.map(erase),
        ];
        let gauges = is_measured().then(|| tokio::spawn(gauges(settings, pool, pace).keep_looking()));
        Self(tasks.into_iter().flatten().chain(gauges).collect())
    }
}

fn gauges(settings: &Settings, pool: &PgPool, pace: Pace) -> Gauges {
    Gauges {
        pool: pool.clone(),
        data_dir: settings.data_dir.clone(),
        applies_dues: settings.apply_dues_every.is_some(),
        liability_pace: settings.sum_up_every.map(|_| pace),
        erase_of_inactive_every: settings.erase_of_inactive_every,
    }
}

/// Shows what a pool has.
fn watch(name: &'static str, pool: &PgPool) {
    let pool = pool.clone();
    let most = u64::from(pool.options().get_max_connections());
    watch_pool(name, move || [u64::from(pool.size()), u64::try_from(pool.num_idle()).unwrap_or(0), most]);
}

impl Drop for Background {
    fn drop(&mut self) {
        for task in &self.0 {
            task.abort();
        }
    }
}

/// Every service of the interface: one that is missing here does not compile.
fn routes(
    settings: &Settings,
    book: &Book,
    [pool, lookups]: [&PgPool; 2],
    instants: &Instants,
    capabilities: &Capabilities,
    catalogue: Catalogue,
) -> Routes {
    let finder = Arc::new(MemberFinder::new(capabilities.clone()));
    let tiers = Tiers::new(
        book.clone(),
        pool.clone(),
        lookups,
        (&settings.database, settings.export_limit),
        instants.clone(),
        capabilities.clone(),
        catalogue,
    );
    let points = PointsService::new(book.clone(), pool.clone(), lookups, instants.clone(), capabilities.clone());
    let exports = CustomerExports::new(book.clone(), &settings.database, settings.export_limit, instants.clone());
    let services = Implementations {
        program_service: Programs::new(book.clone(), pool.clone(), settings.clock.clone()),
        customer_service: Customers::new(
            book.clone(),
            pool.clone(),
            Arc::new(exports),
            !settings.erasure_keys.is_empty(),
        ),
        activity_service: Activities::new(book.clone(), pool.clone()),
        benefit_service: Benefits::new(book.clone(), pool.clone(), tiers.clone()),
        tier_service: tiers,
        referral_service: Referrals::new(book.clone(), pool.clone(), settings.clock.clone()),
        reward_service: Rewards::new(book.clone(), pool.clone(), points),
        import_service: Imports::new(book.clone()),
        complaint_service: Complaints::new(book.clone(), pool.clone(), &settings.database, instants.clone()),
        lifecycle_service: Lifecycles::new(pool.clone(), instants.clone(), capabilities.clone()),
        value_service: Value::new(book.clone(), pool.clone(), &settings.database, instants.clone(), finder.clone()),
        satisfaction_service: Satisfaction::new(pool.clone(), &settings.database, instants.clone(), finder),
        segment_service: Segments::new(pool.clone(), &settings.database, instants.clone(), capabilities.clone()),
        liability_service: Liability::new(pool.clone(), instants.clone()),
        ledger_service: Ledger::new(
            book.clone(),
            pool.clone(),
            &settings.database,
            settings.export_limit,
            instants.clone(),
            capabilities.clone(),
        ),
    };
    services.into_routes(&MESSAGE_RULES)
}
