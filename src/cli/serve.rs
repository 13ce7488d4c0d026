//! `goldbook serve`: runs the service, with a database of its own or with another.

mod admin_listen;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use sqlx::postgres::PgConnectOptions;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use admin_listen::AdminListen;

use super::config_file::FileSettings;
use super::database_url::DatabaseUrl;
use super::erasure_keys;
use super::error::{CliError, with_causes};
use super::telemetry_args::{Start, TelemetryArgs};
use crate::access::grpc::Identities;
use crate::access::limits::Limits;
use crate::admin::Readiness;
use crate::clock::Clock;
use crate::customers::ErasureKeys;
use crate::database;
use crate::embedded_postgres::{DATABASE, EmbeddedPostgres, GOLDBOOK, OWNER_ROLE, Options, SERVICE_ROLE, explain};
use crate::listener::{Bounds, Tls, TlsFiles};
use crate::server::{self, Settings};
use crate::telemetry::metrics::{self, Measurements, Receivers};
use crate::telemetry::{self, Logs, Telemetry};
use crate::web::Origin;

const EXAMPLES: &str = "\
Examples:
  goldbook serve
  goldbook serve --data-dir /var/lib/goldbook --listen 127.0.0.1:50051
  GOLDBOOK_DATABASE_URL=postgres://goldbook_service@db/goldbook goldbook serve --no-migrate

Traces go to OTEL_EXPORTER_OTLP_ENDPOINT, if it is set; GOLDBOOK_LOG or RUST_LOG filters the log.";

/// Run the service until SIGTERM or SIGINT.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ServeArgs {
    /// A file with settings, in TOML; see `goldbook config --help`.
    #[arg(long, env = "GOLDBOOK_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where to listen; port 0 takes any that is free.
    #[arg(long, env = "GOLDBOOK_LISTEN", default_value = "127.0.0.1:50051", value_name = "ADDRESS:PORT")]
    listen: SocketAddr,
    /// Where metrics (/metrics), probes (/livez, /readyz) and the version are told by HTTP; off for nowhere.
    #[arg(long, env = "GOLDBOOK_ADMIN_LISTEN", default_value = "127.0.0.1:9464", value_name = "ADDRESS:PORT")]
    admin_listen: AdminListen,
    /// Listen beyond this machine without TLS: only behind something that has it.
    #[arg(long)]
    insecure_listen: bool,
    /// The certificate of the service, in PEM, with those between it and its root. It is read anew when it changes.
    #[arg(long, env = "GOLDBOOK_TLS_CERTIFICATE", value_name = "FILE")]
    tls_certificate: Option<PathBuf>,
    /// The private key of that certificate, in PEM.
    #[arg(long, env = "GOLDBOOK_TLS_KEY", value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// Roots, in PEM, that the certificates of callers must lead to. Callers may also show none.
    #[arg(long, env = "GOLDBOOK_TLS_CLIENT_CA", value_name = "FILE")]
    tls_client_ca: Option<PathBuf>,
    /// Tell about the interface by reflection although other machines reach the service.
    #[arg(long, env = "GOLDBOOK_REFLECTION")]
    reflection: bool,
    /// How many connections of callers may be open at a time; further ones wait.
    #[arg(long, env = "GOLDBOOK_CONNECTIONS", value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    connections: u32,
    /// The keys under which erased customers are known again: on each line a name and at least 32 random bytes in Base64,
    /// the present key first. GOLDBOOK_ERASURE_KEYS holds the same without a file. Without either, nobody can be erased;
    /// a service with a database of its own then makes a key and keeps it in the data directory.
    #[arg(long, env = "GOLDBOOK_ERASURE_KEY_FILE", value_name = "FILE")]
    erasure_key_file: Option<PathBuf>,
    /// Ask callers for an API key; see `goldbook key`.
    #[arg(long, env = "GOLDBOOK_API_KEYS")]
    api_keys: bool,
    /// Let pages of this origin call from a browser, such as `https://shop.example`. May be given several times.
    #[arg(long = "cors-origin", env = "GOLDBOOK_CORS_ORIGINS", value_name = "ORIGIN", value_delimiter = ',')]
    cors_origins: Vec<Origin>,
    /// The Postgres to use, in the service's role. Without it the service runs one of its own in the data directory.
    #[arg(long, env = "GOLDBOOK_DATABASE_URL", value_name = "URL", hide_env_values = true)]
    database_url: Option<DatabaseUrl>,
    /// The same database in the owner's role, to migrate the schema at the start.
    #[arg(long, env = "GOLDBOOK_OWNER_DATABASE_URL", value_name = "URL", hide_env_values = true)]
    owner_database_url: Option<DatabaseUrl>,
    /// The role that the service uses in a database that the owner migrates.
    #[arg(long, env = "GOLDBOOK_SERVICE_ROLE", value_name = "ROLE", default_value = SERVICE_ROLE)]
    service_role: String,
    /// Where the service's own database lives.
    #[arg(long, env = "GOLDBOOK_DATA_DIR", value_name = "DIR", default_value = ".goldbook")]
    data_dir: PathBuf,
    /// Where PostgreSQL's programs are, if not where they usually are.
    #[arg(long, env = "GOLDBOOK_POSTGRES_BIN", value_name = "DIR")]
    postgres_bin: Option<PathBuf>,
    /// Do not migrate; refuse to start on an old schema.
    #[arg(long)]
    no_migrate: bool,
    /// How many batches are written at a time, each on a connection of its own.
    #[arg(long, env = "GOLDBOOK_LANES", value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=64))]
    lanes: u8,
    /// How many connections reads share.
    #[arg(long, env = "GOLDBOOK_READ_CONNECTIONS", value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(2..=256))]
    read_connections: u32,
    /// How often accounts that nobody touches are looked through for points that vest or expire, in milliseconds; 0 for
    /// never. Balances and statements do not depend on it: it keeps the ledger's rows up to date. Where history is
    /// imported into a program whose points vest or expire by time, 0 keeps it from coming in between.
    #[arg(long, env = "GOLDBOOK_DUES_MS", value_name = "MS", default_value_t = 1_000)]
    dues_ms: u64,
    /// How often the liability of programs is summed up, in seconds; 0 for never. After a sum that took long it rests
    /// for twenty times as long, if that is more.
    #[arg(long, env = "GOLDBOOK_LIABILITY_SECONDS", value_name = "S", default_value_t = 60)]
    liability_seconds: u64,
    /// How often it is looked for customers without activity of whom a program keeps notes or dossiers no longer, in
    /// minutes; 0 for never. Each customer is looked at once a day, however often that is.
    #[arg(long, env = "GOLDBOOK_RETENTION_MINUTES", value_name = "MINUTES", default_value_t = 60, value_parser = clap::value_parser!(u64).range(0..=100_000))]
    retention_minutes: u64,
    /// How long one export may take in all, in minutes. One that is cut off can be gone on with.
    #[arg(long, env = "GOLDBOOK_EXPORT_MINUTES", value_name = "MINUTES", default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    export_minutes: u64,
    #[command(flatten)]
    telemetry: TelemetryArgs,
    /// The data directory is thrown away afterwards: set it up faster, at the price of not surviving a power cut.
    #[arg(long, hide = true)]
    throwaway_database: bool,
}

/// Runs `goldbook serve`.
///
/// # Errors
/// If it cannot start, or its database ends by itself.
pub(crate) async fn run(args: ServeArgs) -> Result<(), CliError> {
    let prepared = args.prepare().await?;
    let telemetry = telemetry::init(env!("CARGO_PKG_VERSION"), &args.telemetry.export(), &Logs::from_env())
        .map_err(CliError::failed)?;
    telemetry::log_panics();
    let receivers = Receivers::from_env(args.admin_listen != AdminListen::Off);
    let measurements =
        metrics::measure(env!("CARGO_PKG_VERSION"), crate::COMMIT, receivers).map_err(CliError::failed)?;
    let outcome = serve(args, prepared, measurements.clone()).await;
    if let Err(error) = &outcome {
        tracing::error!(%error, "the service ends");
    }
    if let Some(measurements) = measurements {
        measurements.shutdown().await;
    }
    Telemetry::shutdown(telemetry).await;
    outcome
}

/// What of the configuration is more than a value: it is read before anything is started.
#[derive(Clone, Debug)]
pub(super) struct Prepared {
    tls: Option<Tls>,
    identities: Identities,
    limits: Limits,
    erasure_keys: ErasureKeys,
}

impl Prepared {
    /// Adds what a service makes that has a data directory.
    fn complete(&mut self, data_dir: &Path) -> Result<(), CliError> {
        if self.erasure_keys.is_empty() {
            self.erasure_keys = erasure_keys::find_or_make(data_dir)?;
        }
        Ok(())
    }
}

impl ServeArgs {
    /// The configuration file, if there is one.
    pub(super) fn config(&self) -> Option<&Path> {
        self.config.as_deref()
    }

    /// Reads all files that the configuration names, and checks that it is safe to listen with it.
    ///
    /// # Errors
    /// If a file cannot be read or is wrong, or callers from other machines could do what they like. All faults are told at
    /// once.
    pub(super) async fn prepare(&self) -> Result<Prepared, CliError> {
        let mut faults = Vec::new();
        let file = keep(FileSettings::read(self.config()), &mut faults);
        let tls = keep(self.load_tls().await, &mut faults);
        let erasure_keys = keep(erasure_keys::read(self.erasure_key_file.as_deref()), &mut faults);
        for url in [&self.database_url, &self.owner_database_url].into_iter().flatten() {
            keep(url.options(), &mut faults);
        }
        if self.owner_database_url.is_some() && self.database_url.is_none() {
            faults.push("--owner-database-url needs --database-url".to_owned());
        }
        // Who callers are is known only where the file is right.
        let known = file.map(|file| {
            let FileSettings { issuers, certificates, limits } = file;
            (Identities { api_keys: self.api_keys, issuers, certificates }, limits)
        });
        if let Some((identities, _)) = &known {
            faults.extend(self.find_listener_faults(identities));
            faults.extend(identities.find_file_faults().await);
        }
        match (known, tls, erasure_keys) {
            (Some((identities, limits)), Some(tls), Some(erasure_keys)) if faults.is_empty() => {
                Ok(Prepared { tls, identities, limits, erasure_keys })
            }
            (_, _, _) => Err(CliError::usage(faults.join("\n"))),
        }
    }

    async fn load_tls(&self) -> Result<Option<Tls>, CliError> {
        let files = match (&self.tls_certificate, &self.tls_key) {
            (Some(certificate), Some(key)) => {
                TlsFiles { certificate: certificate.clone(), key: key.clone(), client_ca: self.tls_client_ca.clone() }
            }
            (None, None) if self.tls_client_ca.is_none() => return Ok(None),
            _ => return Err(CliError::usage("TLS needs both --tls-certificate and --tls-key")),
        };
        Tls::load(files).await.map(Some).map_err(|error| CliError::usage(with_causes(&error)))
    }

    /// Whoever can be reached from other machines asks callers who they are, and lets nobody listen in.
    fn find_listener_faults(&self, identities: &Identities) -> Vec<String> {
        let address = self.listen;
        let is_open = !address.ip().is_loopback();
        let mut faults = Vec::new();
        if !identities.certificates.is_empty() && self.tls_client_ca.is_none() {
            faults.push("certificates of callers count only with --tls-client-ca".to_owned());
        }
        if is_open && identities.is_empty() {
            faults.push(format!(
                "{address} is reachable from other machines, and the service would not ask callers who they are: \
                 listen on 127.0.0.1, or configure --api-keys, an issuer of tokens, or certificates of callers",
            ));
        }
        if is_open && self.tls_certificate.is_none() && !self.insecure_listen {
            faults.push(format!(
                "{address} is reachable from other machines, and others could read and change what is sent: \
                 configure --tls-certificate and --tls-key, or say --insecure-listen if something in front has TLS",
            ));
        }
        faults
    }

    /// What holds for each flag, as the lines of a file. Passwords are left out.
    ///
    /// # Errors
    /// If the URL of a database is wrong.
    pub(super) fn show(&self) -> Result<String, CliError> {
        let mut shown = toml::Table::new();
        let mut put = |name: &str, value: Option<toml::Value>| {
            value.into_iter().for_each(|value| drop(shown.insert(name.to_owned(), value)));
        };
        let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string().into());
        put("listen", Some(self.listen.to_string().into()));
        put("admin_listen", Some(self.admin_listen.to_string().into()));
        put("insecure_listen", Some(self.insecure_listen.into()));
        put("tls_certificate", path(&self.tls_certificate));
        put("tls_key", path(&self.tls_key));
        put("tls_client_ca", path(&self.tls_client_ca));
        put("reflection", Some(self.reflection.into()));
        put("connections", Some(i64::from(self.connections).into()));
        put("erasure_key_file", path(&self.erasure_key_file));
        put("api_keys", Some(self.api_keys.into()));
        let origins = self.cors_origins.iter().map(|origin| origin.to_string().into()).collect();
        put("cors_origin", Some(toml::Value::Array(origins)).filter(|_| !self.cors_origins.is_empty()));
        let url = |url: &Option<DatabaseUrl>| url.as_ref().map(|url| url.show().map(toml::Value::String)).transpose();
        put("database_url", url(&self.database_url)?);
        put("owner_database_url", url(&self.owner_database_url)?);
        put("service_role", Some(self.service_role.clone().into()));
        put("data_dir", Some(self.data_dir.display().to_string().into()));
        put("postgres_bin", path(&self.postgres_bin));
        put("no_migrate", Some(self.no_migrate.into()));
        put("lanes", Some(i64::from(self.lanes).into()));
        put("read_connections", Some(i64::from(self.read_connections).into()));
        let number = |number: u64| Some(i64::try_from(number).unwrap_or(i64::MAX).into());
        put("dues_ms", number(self.dues_ms));
        put("liability_seconds", number(self.liability_seconds));
        put("retention_minutes", number(self.retention_minutes));
        let always = self.telemetry.always_sample.iter().map(|kind| kind.to_string().into()).collect();
        put("always_sample", Some(toml::Value::Array(always)).filter(|_| !self.telemetry.always_sample.is_empty()));
        put("slow_ms", number(self.telemetry.slow_ms));
        put("export_minutes", number(self.export_minutes));
        Ok(shown.to_string())
    }
}

/// What came of a part of the configuration. What is wrong with it is told with all other faults.
fn keep<T>(part: Result<T, CliError>, faults: &mut Vec<String>) -> Option<T> {
    part.map_err(|fault| faults.push(fault.to_string())).ok()
}

async fn serve(args: ServeArgs, prepared: Prepared, measurements: Option<Measurements>) -> Result<(), CliError> {
    // Signals are caught from here on, however long the start takes.
    let stop = stop_signal()?;
    let start = Start::begin();
    // The port comes first: if it is taken, no database is started for nothing.
    let listener = TcpListener::bind(args.listen)
        .await
        .map_err(|error| CliError::failed(format!("cannot listen on {}: {error}", args.listen)))?;
    let readiness = Readiness::default();
    let _answering = args.admin_listen.start(measurements, readiness.clone()).await?;
    match &args.database_url {
        Some(database) => {
            let database = database.options()?;
            let owner = args.owner_database_url.as_ref().map(DatabaseUrl::options).transpose()?;
            prepare_schema(&args, &start, owner.as_ref(), &database).await?;
            serve_on((listener, readiness), &args, (prepared, start), database, stop).await
        }
        None => serve_embedded((listener, readiness), &args, (prepared, start), stop).await,
    }
}

/// Serves with a database of the service's own, which is started and stopped with it.
async fn serve_embedded(
    place: (TcpListener, Readiness),
    args: &ServeArgs,
    (mut prepared, start): (Prepared, Start),
    stop: impl Future<Output = ()> + Send,
) -> Result<(), CliError> {
    let options = Options {
        application: GOLDBOOK,
        data_dir: args.data_dir.clone(),
        bin_dir: args.postgres_bin.clone(),
        throwaway: args.throwaway_database,
    };
    let started = start.step("start.postgres", EmbeddedPostgres::start(options)).await;
    let mut postgres = started.map_err(|error| CliError::failed(explain(&error)))?;
    let owner = postgres.connect_options(OWNER_ROLE, DATABASE);
    let service = postgres.connect_options(SERVICE_ROLE, DATABASE);
    let schema = prepare_schema(args, &start, Some(&owner), &service).await;
    let outcome = match schema.and_then(|()| prepared.complete(&args.data_dir)) {
        Ok(()) => serve_until_either_ends(place, args, (prepared, start), service, &mut postgres, stop).await,
        Err(error) => Err(error),
    };
    if let Err(error) = postgres.stop().await {
        tracing::warn!(%error, "the database did not stop in order; it recovers at the next start");
    }
    outcome
}

/// Serves until a signal comes, or until the database ends by itself, which is a failure.
async fn serve_until_either_ends(
    place: (TcpListener, Readiness),
    args: &ServeArgs,
    prepared: (Prepared, Start),
    service: PgConnectOptions,
    postgres: &mut EmbeddedPostgres,
    stop: impl Future<Output = ()> + Send,
) -> Result<(), CliError> {
    let mut ended = None;
    let stop_or_end = async {
        tokio::select! {
            () = stop => {}
            status = postgres.wait() => ended = Some(status),
        }
    };
    let outcome = serve_on(place, args, prepared, service, stop_or_end).await;
    let Some(status) = ended else { return outcome };
    Err(CliError::failed(format!(
        "the database ended by itself ({}); its log is in {}",
        status.map_or_else(|| "unknown status".to_owned(), |status| status.to_string()),
        args.data_dir.display()
    )))
}

/// Migrates the schema if there is an owner's connection, and checks that it is up to date.
async fn prepare_schema(
    args: &ServeArgs,
    start: &Start,
    owner: Option<&PgConnectOptions>,
    service: &PgConnectOptions,
) -> Result<(), CliError> {
    if let Some(owner) = owner.filter(|_| !args.no_migrate) {
        let migrate = server::migrate(owner, &args.service_role);
        start.step("start.migrate", migrate).await.map_err(CliError::failed)?;
    }
    start.step("start.check_schema", database::check_schema(service)).await.map_err(CliError::failed)?;
    start.step("start.check_sessions", database::check_sessions(service)).await.map_err(CliError::failed)
}

async fn serve_on(
    (listener, readiness): (TcpListener, Readiness),
    args: &ServeArgs,
    (prepared, start): (Prepared, Start),
    database: PgConnectOptions,
    stop: impl Future<Output = ()> + Send,
) -> Result<(), CliError> {
    let address = listener.local_addr().map_err(CliError::failed)?;
    tracing::info!(%address, tls = prepared.tls.is_some(), "listening");
    if prepared.identities.is_empty() {
        tracing::warn!("callers are not asked who they are: everyone on this machine may do everything");
    }
    let settings = Settings {
        database,
        lanes: args.lanes.into(),
        apply_dues_every: Some(Duration::from_millis(args.dues_ms)).filter(|every| !every.is_zero()),
        sum_up_every: Some(Duration::from_secs(args.liability_seconds)).filter(|every| !every.is_zero()),
        erase_of_inactive_every: Some(Duration::from_secs(args.retention_minutes * 60))
            .filter(|every| !every.is_zero()),
        read_connections: args.read_connections,
        export_limit: Duration::from_secs(args.export_minutes * 60),
        tls: prepared.tls,
        reflection: args.reflection || args.listen.ip().is_loopback(),
        connections: Bounds::at_most(usize::try_from(args.connections).unwrap_or(usize::MAX)),
        identities: prepared.identities,
        limits: prepared.limits,
        erasure_keys: prepared.erasure_keys,
        cors_origins: args.cors_origins.clone(),
        clock: Clock::database(),
        data_dir: args.database_url.is_none().then(|| args.data_dir.clone()),
        readiness,
        start: start.0,
    };
    server::run(listener, settings, stop).await.map_err(CliError::failed)
}

/// Returns a future that ends at the first SIGTERM or SIGINT.
fn stop_signal() -> Result<impl Future<Output = ()> + Send, CliError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(CliError::failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(CliError::failed)?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
