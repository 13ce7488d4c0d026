//! A Postgres of an application's own: one cluster in a data directory, run as a child process.
//!
//! The programs of PostgreSQL are those that this machine has; nothing is downloaded. [`EmbeddedPostgres::start`] makes
//! the cluster if there is none, starts the server, and creates the roles and the database that [`Application`] names.
//!
//! # Promises
//!
//! - **Data is as safe as in any Postgres.** `fsync`, `full_page_writes` and `synchronous_commit` are always on, as
//!   they are by default, and the cluster has data checksums.
//! - **Nobody else gets in.** The server listens on a Unix socket only. The socket's directory is closed to everyone but
//!   the server's user, so there are no passwords.
//! - **The log holds no data.** Postgres tells a failure by its message alone: rows and the values of parameters, which
//!   its details and contexts would repeat, stay out of `postgres.log`.
//! - **The next start works, whatever was killed and whenever**: the application, Postgres, `initdb` or the machine. A
//!   cluster gets its name only once it is complete. Roles and the database are created where they are missing. A server
//!   that outlived its application is stopped in order before another is started.
//! - **One application at a time.** The data directory is locked before anything in it is touched, and stays locked
//!   until Postgres has ended. A second application is refused, and told which process holds the lock.
//! - **Root may start it.** Postgres refuses to run as root, so it then runs as the user `postgres`, else `nobody`. If
//!   that user cannot enter the data directory, the cluster is put below `/var/lib`, and the data directory links to it.
//! - **Whoever wants to stop need not wait for the start.** [`EmbeddedPostgres::start_unless`] ends `initdb` at once.
//! - **No data is removed unasked.** Only a cluster that was started as [throw-away](Options::throwaway) is removed.
//!
//! # Why another crate
//!
//! `postgresql_embedded` cannot run as root, which is what many servers and most containers do, and `pgtemp` is made for
//! tests.
//!
//! # Example
//!
//! ```no_run
//! use embedded_postgres::{Application, EmbeddedPostgres, Options};
//!
//! const SHOP: Application =
//!     Application { name: "shop", database: "shop", owner_role: "shop_owner", other_roles: &["shop_service"], settings: &[] };
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let options = Options { application: SHOP, data_dir: ".shop".into(), bin_dir: None, throwaway: false };
//! let postgres = EmbeddedPostgres::start(options).await?;
//! println!("psql {}", postgres.url("shop_owner", "shop"));
//! postgres.stop().await?;
//! # Ok(())
//! # }
//! ```

#![expect(clippy::disallowed_methods, reason = "it waits for processes, which announce nothing")]

mod account;
mod binaries;
mod error;
mod interrupt;
mod leftover;
mod memory;
mod place;
mod reaper;
mod server;

use std::io;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection};
use tokio::time::{sleep, timeout};

pub use self::binaries::find_bin_dir;
pub use self::error::{ConnectError, OtherMajor, StartError, StopError};
use self::interrupt::Interrupt;
use self::place::Place;
pub use self::place::{check_data_dir, throwaway_dir};
use self::server::Server;

/// The superuser, whom `initdb` creates; the application's roles are created in this role.
pub const SUPERUSER: &str = "postgres";

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

/// Whom the cluster is for, and what is created in it where missing.
#[derive(Clone, Copy, Debug)]
pub struct Application {
    /// A short name that can be part of a file's: the cluster, connections and directories outside of the data
    /// directory have it.
    pub name: &'static str,
    /// The name of the database that is made for the application.
    pub database: &'static str,
    /// Owns the database. It can log in, and is no superuser.
    pub owner_role: &'static str,
    /// More roles that can log in; what they may do is the owner's to grant.
    pub other_roles: &'static [&'static str],
    /// Settings that a new cluster begins with, by name and value; whoever runs it changes them in its
    /// `postgresql.conf`. One with which Postgres cannot start here is left out. Before them stands a
    /// `shared_buffers` of a quarter of the machine's or the container's memory, up to 4 GB.
    pub settings: &'static [(&'static str, &'static str)],
}

/// What to run, and where.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whom it is for.
    pub application: Application,
    /// Holds the cluster, the socket, the log and the lock; created when missing.
    pub data_dir: PathBuf,
    /// The folder of the PostgreSQL programs; [found](find_bin_dir) when `None`.
    pub bin_dir: Option<PathBuf>,
    /// The data is of no value, as in tests and measurements: `initdb` does not wait for the disk. When this process
    /// ends without [`stop`](EmbeddedPostgres::stop), Postgres is stopped and its files are removed. Everything else is
    /// as ever, durability of commits included, so that measurements tell the truth.
    /// [`throwaway_dir`] makes a suitable directory.
    pub throwaway: bool,
}

/// A running Postgres. Ends with [`stop`](Self::stop); when only dropped, it is told to stop and not waited for.
#[derive(Debug)]
pub struct EmbeddedPostgres {
    application: Application,
    server: Server,
    bin_dir: PathBuf,
    // After the server, so that the locks are released last.
    place: Place,
}

impl EmbeddedPostgres {
    /// Starts Postgres in the data directory, and creates the cluster, the roles and the database where missing.
    ///
    /// Takes one or two seconds the first time, then a few tenths of one; recovery after a crash may take minutes.
    /// When the future is dropped, Postgres is told to stop.
    ///
    /// # Errors
    ///
    /// [`StartError`], whose message says what to do.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        Self::start_unless(options, std::future::pending()).await
    }

    /// As [`start`](Self::start), unless `stop` is done before it has started. Then `initdb` is ended at once and what it
    /// made is removed, or the server that starts is stopped in order.
    ///
    /// # Errors
    ///
    /// [`StartError`], whose message says what to do; [`StartError::ToldToStop`] after `stop`.
    pub async fn start_unless(options: Options, stop: impl Future<Output = ()>) -> Result<Self, StartError> {
        let mut stop = pin!(stop);
        let (application, throwaway) = (options.application, options.throwaway);
        let interrupt = Interrupt::default();
        let mut preparing = pin!(blocking({
            let interrupt = interrupt.clone();
            move || server::prepare(&options, &interrupt)
        }));
        let (place, bin_dir) = tokio::select! {
            prepared = &mut preparing => prepared?,
            () = &mut stop => {
                interrupt.tell();
                // Whatever came of it, it has ended and cleaned up.
                let _ = preparing.await;
                return Err(StartError::ToldToStop);
            }
        };
        let server = Server::spawn(&application, &place, &bin_dir, throwaway)?;
        let mut postgres = Self { application, server, bin_dir, place };
        let ready = tokio::select! {
            ready = postgres.become_ready(throwaway) => ready,
            () = &mut stop => Err(StartError::ToldToStop),
        };
        match ready {
            Ok(()) => Ok(postgres),
            Err(error) => {
                // The failure to start is what matters. A server that did not stop is stopped by the next start.
                let _ = postgres.stop().await;
                Err(error)
            }
        }
    }

    /// Waits until Postgres takes connections and has what the application needs. It starts it again where processes of a
    /// killed one are still in its way.
    async fn become_ready(&mut self, throwaway: bool) -> Result<(), StartError> {
        let give_up = Instant::now() + LONGEST_RETRY;
        while let Err(error) = self.wait_until_connectable().await {
            if !error.is_passing() || Instant::now() > give_up {
                return Err(error);
            }
            self.server.dismiss_reaper();
            sleep(Duration::from_millis(100)).await;
            let (cluster, socket_dir) = (self.place.cluster.clone(), self.place.socket_dir.clone());
            blocking(move || leftover::stop_and_clear(&cluster, &socket_dir)).await?;
            self.server = Server::spawn(&self.application, &self.place, &self.bin_dir, throwaway)?;
        }
        self.create_roles_and_database().await.map_err(StartError::Setup)
    }

    /// How to connect as this role to this database, over the Unix socket.
    #[must_use]
    pub fn connect_options(&self, role: &str, database: &str) -> PgConnectOptions {
        over_socket(self.application.name, &self.place.socket_dir, role, database)
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

    /// Stops Postgres in order: it ends all sessions and writes everything out. If that takes longer than a minute, it
    /// is told to end at once, and the next start recovers.
    ///
    /// # Errors
    ///
    /// [`StopError`], when it still runs.
    pub async fn stop(mut self) -> Result<(), StopError> {
        for (signal, limit) in
            [(Signal::SIGINT, leftover::FAST_SHUTDOWN), (Signal::SIGQUIT, leftover::IMMEDIATE_SHUTDOWN)]
        {
            self.server.signal(signal);
            if let Ok(ended) = timeout(limit, self.server.child.wait()).await {
                self.server.dismiss_reaper();
                return ended.map(drop).map_err(StopError::Wait);
            }
            tracing::warn!(?signal, "Postgres does not stop in time");
        }
        Err(StopError::StillRunning)
    }

    /// Waits until Postgres takes connections.
    async fn wait_until_connectable(&mut self) -> Result<(), StartError> {
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
                Ok(Err(error)) => ConnectError::Refused(error),
                Err(_) => ConnectError::TimedOut { bound: LONGEST_ATTEMPT },
            };
            let mut hopeless = false;
            if let ConnectError::Refused(sqlx::Error::Database(answer)) = &refusal {
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
        let Application { database, owner_role, other_roles, .. } = self.application;
        for role in [&[owner_role], other_roles].concat() {
            let is_there = "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)";
            if !sqlx::query_scalar::<_, bool>(is_there).bind(role).fetch_one(&mut connection).await? {
                let create = format!("CREATE ROLE {} LOGIN", quote_identifier(role));
                sqlx::query(AssertSqlSafe(create)).execute(&mut connection).await?;
            }
        }
        let is_there = "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)";
        if !sqlx::query_scalar::<_, bool>(is_there).bind(database).fetch_one(&mut connection).await? {
            let (database, owner) = (quote_identifier(database), quote_identifier(owner_role));
            let create = format!("CREATE DATABASE {database} OWNER {owner}");
            sqlx::query(AssertSqlSafe(create)).execute(&mut connection).await?;
        }
        connection.close().await
    }
}

impl Drop for EmbeddedPostgres {
    fn drop(&mut self) {
        self.server.signal(Signal::SIGINT);
    }
}

/// How to connect as this role to the application's database, which another process runs in this data directory.
///
/// # Errors
///
/// When the directory has no socket, as before a first start.
pub fn connect_options_of_running(
    application: &Application,
    data_dir: &Path,
    role: &str,
) -> io::Result<PgConnectOptions> {
    // The socket's directory, or a link to it.
    let socket_dir = data_dir.join("socket").canonicalize()?;
    Ok(over_socket(application.name, &socket_dir, role, application.database))
}

fn over_socket(application_name: &str, socket_dir: &Path, role: &str, database: &str) -> PgConnectOptions {
    // Whatever is not named here would be taken from the environment.
    PgConnectOptions::new_without_pgpass()
        .socket(socket_dir)
        .port(PORT)
        .username(role)
        .database(database)
        .ssl_mode(PgSslMode::Disable)
        .application_name(application_name)
}

/// Runs file work and programs that end soon where they do not hold up other tasks.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StartError> + Send + 'static,
) -> Result<T, StartError> {
    tokio::task::spawn_blocking(work).await.map_err(StartError::Interrupted)?
}

/// An identifier as SQL takes it, whatever its characters.
fn quote_identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
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
    fn an_identifier_with_a_quote_stays_one_identifier() {
        assert_eq!(quote_identifier("a \"b\""), "\"a \"\"b\"\"\"");
    }
}
