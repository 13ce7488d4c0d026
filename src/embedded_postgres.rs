//! Goldbook's own Postgres: one cluster in the data directory, run as a child by programs found on this machine.
//!
//! Why not a crate: `postgresql_embedded` cannot run as root, which is what a container and many servers are, and
//! `pgtemp` is made for tests. What is needed is small: `initdb` once, start, take over what a killed service left,
//! stop.
//!
//! What holds:
//!
//! - Durability settings are Postgres's defaults, always: `fsync`, `full_page_writes`, `synchronous_commit`.
//! - It listens on a Unix socket only, in a directory that is closed to everyone but its user, so that no password is
//!   needed and none exists.
//! - Whatever was killed and whenever - Goldbook, Postgres, `initdb`, the machine - the next start works. A cluster
//!   appears under its name only when it is complete, roles and database are created where missing, and a server that
//!   outlived its service is stopped first.
//! - The data directory's lock is held from before anything is touched until after Postgres has ended.

mod account;
mod binaries;
mod error;
mod leftover;
mod place;
mod server;
mod undertaker;

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{ConnectOptions, Connection, PgConnection};
use tokio::time::{sleep, timeout};

pub use self::binaries::find_bin_dir;
pub use self::error::{StartError, StopError};
use self::place::Place;
pub use self::place::throwaway_dir;
use self::server::Server;

/// The superuser, whom `initdb` creates; Goldbook uses it to create the other two.
pub const SUPERUSER: &str = "postgres";
/// Owns the database and its schema; migrations run as this role.
pub const OWNER_ROLE: &str = "goldbook_owner";
/// What the service works as; what it may do is granted by the migrations.
pub const SERVICE_ROLE: &str = "goldbook_service";
/// Goldbook's database.
pub const DATABASE: &str = "goldbook";

/// The port, which on a Unix socket is no more than a part of the socket's name. Always given, because clients would
/// take another from `PGPORT`.
const PORT: u16 = 5432;

/// How long Postgres may say nothing while it starts. Recovery after a crash may take longer, but says so.
const LONGEST_SILENCE: Duration = Duration::from_secs(60);

/// How long all of starting may take, recovery included.
const LONGEST_START: Duration = Duration::from_secs(15 * 60);

/// How long to wait for the answer to one attempt to connect.
const LONGEST_ATTEMPT: Duration = Duration::from_secs(5);

/// How long to go on trying while processes of a killed Postgres still hold its shared memory; they notice at once,
/// unless they are in the middle of a long computation.
const LONGEST_RETRY: Duration = Duration::from_secs(10);

/// What to run, and where.
#[derive(Clone, Debug)]
pub struct Options {
    /// Holds the cluster, the socket, the log and the lock; created when missing.
    pub data_dir: PathBuf,
    /// The folder of the PostgreSQL programs; [found](find_bin_dir) when `None`.
    pub bin_dir: Option<PathBuf>,
    /// The data is of no value, as in tests and `bench`: `initdb` does not wait for the disk, and when this process ends
    /// without [`stop`](EmbeddedPostgres::stop), Postgres is stopped and its files are removed. Everything else,
    /// durability of commits included, is as ever, so that measurements tell the truth.
    /// [`throwaway_dir`] makes a suitable directory.
    pub throwaway: bool,
}

/// A running Postgres. Ends with [`stop`](Self::stop); when only dropped, it is told to stop and not waited for.
#[derive(Debug)]
pub struct EmbeddedPostgres {
    server: Server,
    bin_dir: PathBuf,
    // After the server, so that the locks are released last.
    place: Place,
}

impl EmbeddedPostgres {
    /// Starts Postgres in the data directory, and makes the cluster, the roles and the database where missing.
    ///
    /// Takes one or two seconds the first time, then a few tenths of one; recovery after a crash may take minutes.
    /// When the future is dropped, Postgres is told to stop.
    ///
    /// # Errors
    ///
    /// [`StartError`], whose message says what to do.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        let throwaway = options.throwaway;
        let (place, bin_dir) = blocking(move || server::prepare(&options)).await?;
        let server = Server::spawn(&place, &bin_dir, throwaway)?;
        let mut postgres = Self { server, bin_dir, place };
        let give_up = Instant::now() + LONGEST_RETRY;
        while let Err(error) = postgres.take_connections().await {
            if !error.is_passing() || Instant::now() > give_up {
                // The failure to start is what matters; what failed to stop is taken over by the next start.
                let _ = postgres.stop().await;
                return Err(error);
            }
            postgres.server.dismiss_undertaker();
            sleep(Duration::from_millis(100)).await;
            let (cluster, socket_dir) = (postgres.place.cluster.clone(), postgres.place.socket_dir.clone());
            blocking(move || leftover::take_over(&cluster, &socket_dir)).await?;
            postgres.server = Server::spawn(&postgres.place, &postgres.bin_dir, throwaway)?;
        }
        if let Err(error) = postgres.create_roles_and_database().await {
            let _ = postgres.stop().await;
            return Err(StartError::Setup(error));
        }
        Ok(postgres)
    }

    /// How to connect as this role to this database, over the Unix socket.
    #[must_use]
    pub fn connect_options(&self, role: &str, database: &str) -> PgConnectOptions {
        over_socket(&self.place.socket_dir, role, database)
    }

    /// The same as a URL, for `psql` and everything else that takes one.
    #[must_use]
    pub fn url(&self, role: &str, database: &str) -> String {
        let host = percent_encode(&self.place.socket_dir.to_string_lossy());
        format!("postgres://{}@{host}:{PORT}/{}", percent_encode(role), percent_encode(database))
    }

    /// The directory of the Unix socket; an absolute path.
    #[must_use]
    pub fn socket_dir(&self) -> &Path {
        &self.place.socket_dir
    }

    /// The folder of the PostgreSQL programs in use, where `psql` and `pgbench` may be too.
    #[must_use]
    pub fn bin_dir(&self) -> &Path {
        &self.bin_dir
    }

    /// The data directory; an absolute path without links.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        &self.place.data_dir
    }

    /// The postmaster's process id; `None` once it has ended.
    #[must_use]
    pub fn process_id(&self) -> Option<u32> {
        self.server.child.id()
    }

    /// Waits until Postgres has ended by itself; its exit status, when the system tells it. Can be dropped and called
    /// again.
    pub async fn wait(&mut self) -> Option<ExitStatus> {
        self.server.child.wait().await.ok()
    }

    /// Stops Postgres in order: sessions end, all is written out. If that takes longer than a minute, it is told to end
    /// at once, and the next start recovers.
    ///
    /// # Errors
    ///
    /// [`StopError`], when it still runs.
    pub async fn stop(mut self) -> Result<(), StopError> {
        for (signal, patience) in
            [(Signal::SIGINT, leftover::FAST_SHUTDOWN), (Signal::SIGQUIT, leftover::IMMEDIATE_SHUTDOWN)]
        {
            self.server.signal(signal);
            if let Ok(ended) = timeout(patience, self.server.child.wait()).await {
                self.server.dismiss_undertaker();
                return ended.map(drop).map_err(StopError::Wait);
            }
            tracing::warn!(?signal, "Postgres does not stop in time");
        }
        Err(StopError::StillRunning)
    }

    /// Returns when Postgres takes connections.
    async fn take_connections(&mut self) -> Result<(), StartError> {
        let options = self.connect_options(SUPERUSER, "postgres");
        let begun = Instant::now();
        let mut heard = begun;
        loop {
            if let Ok(Some(status)) = self.server.child.try_wait() {
                let log = self.place.log.clone();
                return Err(StartError::Ended {
                    status: status.to_string(),
                    last_words: self.server.last_words(&log),
                    log,
                });
            }
            let refusal = match timeout(LONGEST_ATTEMPT, PgConnection::connect_with(&options)).await {
                Ok(Ok(connection)) => {
                    // It was only to see that it works.
                    let _ = connection.close().await;
                    return Ok(());
                }
                Ok(Err(error)) => error,
                Err(_) => sqlx::Error::Io(io::ErrorKind::TimedOut.into()),
            };
            let mut hopeless = false;
            if let sqlx::Error::Database(answer) = &refusal {
                // cannot_connect_now: it starts or recovers. Any other answer will not change by waiting.
                hopeless = answer.code().as_deref() != Some("57P03");
                heard = Instant::now();
            }
            if hopeless || heard.elapsed() > LONGEST_SILENCE || begun.elapsed() > LONGEST_START {
                return Err(StartError::NoAnswer { source: refusal, log: self.place.log.clone() });
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Each step stands alone and is skipped when done, so it does not matter where an earlier start was killed.
    async fn create_roles_and_database(&self) -> Result<(), sqlx::Error> {
        let options = self.connect_options(SUPERUSER, "postgres").disable_statement_logging();
        let mut connection = PgConnection::connect_with(&options).await?;
        for (is_there, create) in [
            (
                "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = 'goldbook_owner')",
                "CREATE ROLE goldbook_owner LOGIN",
            ),
            (
                "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = 'goldbook_service')",
                "CREATE ROLE goldbook_service LOGIN",
            ),
            (
                "SELECT EXISTS (SELECT FROM pg_database WHERE datname = 'goldbook')",
                "CREATE DATABASE goldbook OWNER goldbook_owner",
            ),
        ] {
            if !sqlx::query_scalar::<_, bool>(is_there).fetch_one(&mut connection).await? {
                sqlx::query(create).execute(&mut connection).await?;
            }
        }
        connection.close().await
    }
}

impl Drop for EmbeddedPostgres {
    fn drop(&mut self) {
        self.server.signal(Signal::SIGINT);
    }
}

/// How to connect as this role to the database that a service runs in this data directory.
///
/// # Errors
///
/// When the directory has no socket, as before a first start.
pub fn connect_options_of_running(data_dir: &Path, role: &str) -> io::Result<PgConnectOptions> {
    // Beside the cluster, or a link to where it is.
    let socket_dir = data_dir.join("socket").canonicalize()?;
    Ok(over_socket(&socket_dir, role, DATABASE))
}

fn over_socket(socket_dir: &Path, role: &str, database: &str) -> PgConnectOptions {
    // Every part that the environment could decide otherwise is named.
    PgConnectOptions::new_without_pgpass()
        .socket(socket_dir)
        .port(PORT)
        .username(role)
        .database(database)
        .ssl_mode(PgSslMode::Disable)
        .application_name("goldbook")
}

/// Runs file work and programs that end soon where they do not hold up other tasks.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StartError> + Send + 'static,
) -> Result<T, StartError> {
    tokio::task::spawn_blocking(work).await.map_err(StartError::Interrupted)?
}

/// Encodes all but the characters that a URL takes everywhere.
fn percent_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_in_a_url_is_encoded_down_to_its_slashes() {
        assert_eq!(percent_encode("/tmp/my data/ä_1"), "%2Ftmp%2Fmy%20data%2F%C3%A4_1");
    }

    #[test]
    fn the_statements_create_what_the_constants_name() {
        assert_eq!([OWNER_ROLE, SERVICE_ROLE, DATABASE], ["goldbook_owner", "goldbook_service", "goldbook"]);
    }
}
