//! The flags of `goldbook serve`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;

use super::admin_listen::AdminListen;
use crate::cli::database_args::Patience;
use crate::cli::database_url::DatabaseUrl;
use crate::cli::error::CliError;
use crate::cli::telemetry_args::TelemetryArgs;
use crate::embedded_postgres::SERVICE_ROLE;
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
pub(in crate::cli) struct ServeArgs {
    /// A file with settings, in TOML; see `goldbook config --help`.
    #[arg(long, env = "GOLDBOOK_CONFIG", value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Where to listen; port 0 takes any that is free.
    #[arg(long, env = "GOLDBOOK_LISTEN", default_value = "127.0.0.1:50051", value_name = "ADDRESS:PORT")]
    pub(super) listen: SocketAddr,
    /// Where metrics (/metrics), probes (/livez, /readyz) and the version are told by HTTP; off for nowhere.
    #[arg(long, env = "GOLDBOOK_ADMIN_LISTEN", default_value = "127.0.0.1:9464", value_name = "ADDRESS:PORT")]
    pub(super) admin_listen: AdminListen,
    /// Listen beyond this machine without TLS: only behind something that has it.
    #[arg(long)]
    pub(super) insecure_listen: bool,
    /// The certificate of the service, in PEM, with those between it and its root. It is read anew when it changes.
    #[arg(long, env = "GOLDBOOK_TLS_CERTIFICATE", value_name = "FILE")]
    pub(super) tls_certificate: Option<PathBuf>,
    /// The private key of that certificate, in PEM.
    #[arg(long, env = "GOLDBOOK_TLS_KEY", value_name = "FILE")]
    pub(super) tls_key: Option<PathBuf>,
    /// Roots, in PEM, that the certificates of callers must lead to. Callers may also show none.
    #[arg(long, env = "GOLDBOOK_TLS_CLIENT_CA", value_name = "FILE")]
    pub(super) tls_client_ca: Option<PathBuf>,
    /// Tell about the interface by reflection although other machines reach the service.
    #[arg(long, env = "GOLDBOOK_REFLECTION")]
    pub(super) reflection: bool,
    /// How many connections of callers may be open at a time; further ones wait.
    #[arg(long, env = "GOLDBOOK_CONNECTIONS", value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(super) connections: u32,
    /// The keys under which erased customers are known again: on each line a name and at least 32 random bytes in Base64,
    /// the present key first. GOLDBOOK_ERASURE_KEYS holds the same without a file. Without either, nobody can be erased;
    /// a service with a database of its own then makes a key and keeps it in the data directory.
    #[arg(long, env = "GOLDBOOK_ERASURE_KEY_FILE", value_name = "FILE")]
    pub(super) erasure_key_file: Option<PathBuf>,
    /// Ask callers for an API key; see `goldbook key`.
    #[arg(long, env = "GOLDBOOK_API_KEYS")]
    pub(super) api_keys: bool,
    /// Let pages of this origin call from a browser, such as `https://shop.example`. May be given several times.
    #[arg(long = "cors-origin", env = "GOLDBOOK_CORS_ORIGINS", value_name = "ORIGIN", value_delimiter = ',')]
    pub(super) cors_origins: Vec<Origin>,
    /// The Postgres to use, in the service's role. Without it the service runs one of its own in the data directory.
    #[arg(long, env = "GOLDBOOK_DATABASE_URL", value_name = "URL", hide_env_values = true)]
    pub(super) database_url: Option<DatabaseUrl>,
    /// The same database in the owner's role, to migrate the schema at the start.
    #[arg(long, env = "GOLDBOOK_OWNER_DATABASE_URL", value_name = "URL", hide_env_values = true)]
    pub(super) owner_database_url: Option<DatabaseUrl>,
    /// The role that the service uses in a database that the owner migrates.
    #[arg(long, env = "GOLDBOOK_SERVICE_ROLE", value_name = "ROLE", default_value = SERVICE_ROLE)]
    pub(super) service_role: String,
    /// Where the service's own database lives.
    #[arg(long, env = "GOLDBOOK_DATA_DIR", value_name = "DIR", default_value = ".goldbook")]
    pub(super) data_dir: PathBuf,
    /// Where PostgreSQL's programs are, if not where they usually are.
    #[arg(long, env = "GOLDBOOK_POSTGRES_BIN", value_name = "DIR")]
    pub(super) postgres_bin: Option<PathBuf>,
    /// Do not migrate; refuse to start on an old schema.
    #[arg(long)]
    pub(super) no_migrate: bool,
    #[command(flatten)]
    pub(super) patience: Patience,
    /// How many batches are written at a time, each on a connection of its own.
    #[arg(long, env = "GOLDBOOK_LANES", value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=64))]
    pub(super) lanes: u8,
    /// How many connections reads share.
    #[arg(long, env = "GOLDBOOK_READ_CONNECTIONS", value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(2..=256))]
    pub(super) read_connections: u32,
    /// How often accounts that nobody touches are looked through for points that vest or expire, in milliseconds; 0 for
    /// never. Balances and statements do not depend on it: it keeps the ledger's rows up to date. Where history is
    /// imported into a program whose points vest or expire by time, 0 keeps it from coming in between. Whoever does this
    /// carries out re-evaluations of tiers, gives packages on days of customers, and puts customers into value classes at the
    /// end of periods, too: these wait while nobody does.
    #[arg(long, env = "GOLDBOOK_DUES_MS", value_name = "MS", default_value_t = 1_000)]
    pub(super) dues_ms: u64,
    /// How often the liability of programs is summed up, in seconds; 0 for never. After a sum that took long it rests
    /// for twenty times as long, if that is more.
    #[arg(long, env = "GOLDBOOK_LIABILITY_SECONDS", value_name = "S", default_value_t = 60)]
    pub(super) liability_seconds: u64,
    /// How often it is looked for customers without activity of whom a program keeps notes or dossiers no longer, in
    /// minutes; 0 for never. Each customer is looked at once a day, however often that is.
    #[arg(long, env = "GOLDBOOK_RETENTION_MINUTES", value_name = "MINUTES", default_value_t = 60, value_parser = clap::value_parser!(u64).range(0..=100_000))]
    pub(super) retention_minutes: u64,
    /// How long one export may take in all, in minutes. One that is cut off can be gone on with.
    #[arg(long, env = "GOLDBOOK_EXPORT_MINUTES", value_name = "MINUTES", default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub(super) export_minutes: u64,
    #[command(flatten)]
    pub(super) telemetry: TelemetryArgs,
    /// The data directory is thrown away afterwards: set it up faster, at the price of not surviving a power cut.
    #[arg(long, hide = true)]
    pub(super) throwaway_database: bool,
}

impl ServeArgs {
    /// The configuration file, if there is one.
    pub(in crate::cli) fn config(&self) -> Option<&Path> {
        self.config.as_deref()
    }

    /// What holds for each flag, as the lines of a file. Passwords are left out.
    ///
    /// # Errors
    /// If the URL of a database is wrong.
    pub(in crate::cli) fn show(&self) -> Result<String, CliError> {
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
        let number = |number: u64| Some(i64::try_from(number).unwrap_or(i64::MAX).into());
        put("wait_for_database", number(self.patience.wait_for_database));
        put("lanes", Some(i64::from(self.lanes).into()));
        put("read_connections", Some(i64::from(self.read_connections).into()));
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
