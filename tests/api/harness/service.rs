//! A running service: how it starts and ends.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Deref;
use std::time::{Duration, Instant};

use goldbook::access::grpc::Identities;
use goldbook::access::limits::Limits;
use goldbook::admin::Readiness;
use goldbook::capabilities::ErasureKeys;
use goldbook::database::DatabaseProbe;
use goldbook::embedded_postgres::SERVICE_ROLE;
use goldbook::listener::Bounds;
use goldbook::server::{self, Ending, Settings};
use goldbook::web::Origin;
use sqlx::postgres::PgConnectOptions;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::clients::Clients;
use super::clock::Clock;
use super::cluster::Database;
use crate::collector::install_tracer;

/// What every test's clock shows at first.
pub(crate) const START: &str = "2026-01-15T12:00:00Z";

/// By which the services of tests know erased customers again.
pub(crate) const ERASURE_KEY: &str = "test MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

/// How often a service does what nobody called for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Background {
    pub apply_dues_every: Option<Duration>,
    pub sum_up_every: Option<Duration>,
    pub erase_of_inactive_every: Option<Duration>,
    /// How long an export may take in all, if not as long as a test.
    pub export_limit: Option<Duration>,
}

/// The threads of a service. They end with it, and whatever it does in them ends there.
pub(crate) struct Threads(Option<Runtime>);

impl Threads {
    fn start() -> Self {
        Self(Some(tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()))
    }

    fn spawn<F: Future<Output: Send> + Send + 'static>(&self, future: F) -> JoinHandle<F::Output> {
        self.0.as_ref().unwrap().spawn(future)
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        // A runtime that is dropped inside another one would have to wait.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// A running service, with threads of its own beside the one thread of its test.
pub(crate) struct Service {
    pub database: Database,
    pub clock: Clock,
    pub address: SocketAddr,
    clients: Clients,
    stop: Option<oneshot::Sender<()>>,
    running: Option<JoinHandle<()>>,
    threads: Option<Threads>,
}

impl Deref for Service {
    type Target = Clients;

    fn deref(&self) -> &Clients {
        &self.clients
    }
}

impl Service {
    /// A service on an empty database, with a clock that stands at [`START`].
    pub(crate) async fn start() -> Self {
        Self::start_on(Database::create().await, Clock::fixed(START.parse().unwrap())).await
    }

    /// A service on this database: another replica, or the same one after a restart.
    pub(crate) async fn start_on(database: Database, clock: impl Into<Clock>) -> Self {
        let options = database.options(SERVICE_ROLE);
        Self::start_with(database, options, clock).await
    }

    /// A service that reaches its database by these options, such as through a proxy.
    pub(crate) async fn start_with(database: Database, options: PgConnectOptions, clock: impl Into<Clock>) -> Self {
        // Nothing happens behind a test's back; those about it say so.
        Self::start_in(database, options, clock, Background::default(), |_| {}).await
    }

    /// A service on this database that does things beside the calls.
    pub(crate) async fn start_busy(database: Database, clock: impl Into<Clock>, background: Background) -> Self {
        let options = database.options(SERVICE_ROLE);
        Self::start_in(database, options, clock, background, |_| {}).await
    }

    /// A service that asks callers who they are.
    pub(crate) async fn start_asking(database: Database, identities: Identities) -> Self {
        Self::start_configured(database, |settings| settings.identities = identities).await
    }

    /// A service that pages of these origins may call, and that asks callers who they are.
    pub(crate) async fn start_for_pages(database: Database, identities: Identities, origins: &[&str]) -> Self {
        Self::start_configured(database, |settings| {
            settings.identities = identities;
            settings.cors_origins = origins.iter().map(|origin| origin.parse::<Origin>().unwrap()).collect();
        })
        .await
    }

    /// A service with settings that tests seldom change. Its clients connect when they first call.
    pub(crate) async fn start_configured(database: Database, configure: impl FnOnce(&mut Settings)) -> Self {
        let options = database.options(SERVICE_ROLE);
        let clock = Clock::fixed(START.parse().unwrap());
        Self::start_in(database, options, clock, Background::default(), configure).await
    }

    #[expect(clippy::disallowed_methods, reason = "it is for the log alone")]
    async fn start_in(
        database: Database,
        options: PgConnectOptions,
        clock: impl Into<Clock>,
        background: Background,
        configure: impl FnOnce(&mut Settings),
    ) -> Self {
        install_tracer();
        let clock = clock.into();
        let threads = Threads::start();
        let listener = threads.spawn(TcpListener::bind("127.0.0.1:0")).await.unwrap().unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let mut settings = Settings {
            database: options,
            lanes: 2,
            apply_dues_every: background.apply_dues_every,
            sum_up_every: background.sum_up_every,
            erase_of_inactive_every: background.erase_of_inactive_every,
            read_connections: 4,
            export_limit: background.export_limit.unwrap_or(Duration::from_secs(3_600)),
            tls: None,
            reflection: true,
            connections: Bounds::at_most(10_000),
            identities: Identities::default(),
            limits: Limits(BTreeMap::new()),
            erasure_keys: ErasureKeys::parse(ERASURE_KEY).unwrap(),
            cors_origins: Vec::new(),
            clock: (*clock).clone(),
            data_dir: None,
            readiness: Readiness::default(),
            start: tracing::Span::none(),
            begun: Instant::now(),
        };
        configure(&mut settings);
        let is_plain = settings.tls.is_none();
        let running = threads.spawn(async move {
            let probe = DatabaseProbe::new(&settings.database);
            server::run(listener, settings, probe, async {
                let _ = stopped.await;
                Ending::InOrder
            })
            .await
            .unwrap();
        });
        let clients = if is_plain { Clients::connect(address).await } else { Clients::connect_later(address) };
        Self { database, clock, address, clients, stop: Some(stop), running: Some(running), threads: Some(threads) }
    }

    /// A service in another process, by the database's clock.
    pub(crate) async fn at(address: SocketAddr, database: Database) -> Self {
        let clients = Clients::connect(address).await;
        Self { database, clock: Clock::database(), address, clients, stop: None, running: None, threads: None }
    }

    /// Stops in order, and returns when everything is answered.
    pub(crate) async fn stop(mut self) {
        self.stop.take().unwrap().send(()).unwrap();
        self.running.take().unwrap().await.unwrap();
    }

    /// Ends at once, as if killed: nothing is drained. What is under way waits as long as the threads are kept.
    pub(crate) async fn kill(mut self) -> Threads {
        let running = self.running.take().unwrap();
        running.abort();
        let _ = running.await;
        self.threads.take().unwrap()
    }

    /// Stops, and starts again on the same database with the same clock.
    pub(crate) async fn restart(self) -> Self {
        let (database, clock) = (self.database.clone(), self.clock.clone());
        self.stop().await;
        Self::start_on(database, clock).await
    }

    /// A service's way to stop in order, for whoever looks at how it does so.
    pub(crate) fn split_off_stop(&mut self) -> (oneshot::Sender<()>, JoinHandle<()>) {
        (self.stop.take().unwrap(), self.running.take().unwrap())
    }

    /// Moves the clock.
    pub(crate) fn set_clock(&self, now: &str) {
        self.clock.set(now.parse().unwrap());
    }
}
