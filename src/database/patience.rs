//! Waiting for a database that is away at the start of a program.

use std::fmt;
use std::io;
use std::time::Duration;

use sqlx::migrate::MigrateError;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, PgConnection};
use tokio::time::{Instant, sleep, timeout};

use super::alone::unlogged;
use super::unfit::{SchemaError, SightError};

/// How long one attempt to connect may take: a machine that is gone does not answer at all.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// How long it rests between two attempts.
const PAUSE: Duration = Duration::from_millis(200);

/// What is told of the waiting: one line when it begins, and one when it ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// The database is away.
    Begins {
        /// Where it should be: its host and port, or its socket's directory.
        place: String,
        /// How long it is waited for.
        limit: Duration,
        /// Why it cannot be reached.
        cause: String,
    },
    /// The database is there.
    Ends {
        /// Where it is.
        place: String,
    },
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Begins { place, limit, cause } => {
                write!(f, "waiting for the database at {place}, for at most {} s: {cause}", limit.as_secs())
            }
            Self::Ends { place } => write!(f, "the database at {place} is there"),
        }
    }
}

/// Does what a program needs a database for before it begins. While the database is away, it is tried again, for at most
/// `limit`. Whatever would not mend by itself, such as a wrong password, fails at once.
///
/// # Errors
/// [`SchemaError::Away`] if the database stays away; any other as soon as it is found.
#[expect(clippy::disallowed_methods, reason = "the pause between two attempts, and their end; no entry knows of them")]
pub async fn wait_for_database<T>(
    database: &PgConnectOptions,
    limit: Duration,
    mut attempt: impl AsyncFnMut() -> Result<T, SchemaError>,
    tell: impl Fn(Waiting),
) -> Result<T, SchemaError> {
    let (place, give_up) = (place_of(database), Instant::now() + limit);
    let mut is_waiting = false;
    loop {
        let cause = match attempt().await {
            Ok(done) => {
                if is_waiting {
                    tell(Waiting::Ends { place });
                }
                return Ok(done);
            }
            Err(error) => match error.away(database) {
                Some(cause) => cause,
                None => return Err(error),
            },
        };
        let left = give_up.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(SchemaError::Away { place, cause });
        }
        if !is_waiting {
            is_waiting = true;
            tell(Waiting::Begins { place: place.clone(), limit, cause });
        }
        sleep(PAUSE.min(left)).await;
    }
}

/// Connects within a bound.
pub(super) async fn connect(options: &PgConnectOptions) -> Result<PgConnection, sqlx::Error> {
    match timeout(CONNECT_LIMIT, unlogged(options).connect()).await {
        Ok(connection) => connection,
        Err(_) => {
            let told = format!("no answer within {} s", CONNECT_LIMIT.as_secs());
            Err(io::Error::new(io::ErrorKind::TimedOut, told).into())
        }
    }
}

impl SchemaError {
    /// Why the database is away, if that is what this error says.
    #[expect(clippy::wildcard_enum_match_arm, reason = "another crate's kinds, of which none else is about a database")]
    fn away(&self, database: &PgConnectOptions) -> Option<String> {
        let error = match self {
            Self::Database(error) | Self::Sight(SightError::Database(error)) => error,
            Self::Migrate(error) => match error {
                MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error,
                _ => return None,
            },
            Self::Old { .. } | Self::HeldUp { .. } | Self::Pooled { .. } | Self::Away { .. } | Self::Sight(_) => {
                return None;
            }
        };
        is_passing(error, socket_of(database).is_some()).then(|| error.to_string())
    }
}

/// Whether what keeps from connecting may mend by itself: nobody listens, a name is not known yet, the database starts,
/// ends, or has no connection left.
#[expect(clippy::wildcard_enum_match_arm, reason = "another crate's kinds, of which it may add some")]
fn is_passing(error: &sqlx::Error, is_by_socket: bool) -> bool {
    match error {
        sqlx::Error::Io(error) => match error.kind() {
            // A socket is missing while nobody listens on it. Anything else that is missing is a file of TLS.
            io::ErrorKind::NotFound => is_by_socket,
            // A socket that is closed to this user; TLS that comes to no agreement.
            io::ErrorKind::PermissionDenied | io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => false,
            _ => true,
        },
        sqlx::Error::Database(error) => error
            .code()
            .is_some_and(|code| matches!(&*code, "53300" | "57P01" | "57P02" | "57P03") || code.starts_with("08")),
        _ => false,
    }
}

/// Where a database is, for people.
fn place_of(database: &PgConnectOptions) -> String {
    socket_of(database).unwrap_or_else(|| format!("{}:{}", database.get_host(), database.get_port()))
}

fn socket_of(database: &PgConnectOptions) -> Option<String> {
    let host = database.get_host();
    let named = database.get_socket().map(|socket| socket.display().to_string());
    named.or_else(|| host.starts_with('/').then(|| host.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::super::error::tests::Said;
    use super::*;

    #[test]
    fn what_mends_by_itself_is_waited_for_and_nothing_else() {
        let said = |code| sqlx::Error::Database(Box::new(Said(code)));
        let io = |kind: io::ErrorKind| sqlx::Error::Io(kind.into());
        // It starts, it ends, it has no connection left, a connection that broke.
        for code in ["57P03", "57P01", "57P02", "53300", "08006"] {
            assert!(is_passing(&said(code), false), "{code}");
        }
        // A wrong password, a role and a database that do not exist, no right to connect, no such table.
        for code in ["28P01", "28000", "3D000", "42501", "42P01"] {
            assert!(!is_passing(&said(code), false), "{code}");
        }
        for kind in [io::ErrorKind::ConnectionRefused, io::ErrorKind::TimedOut, io::ErrorKind::UnexpectedEof] {
            assert!(is_passing(&io(kind), false), "{kind}");
        }
        // As a resolver says that it does not know a name.
        assert!(is_passing(&sqlx::Error::Io(io::Error::other("failed to lookup address information")), false));
        assert!(is_passing(&io(io::ErrorKind::NotFound), true) && !is_passing(&io(io::ErrorKind::NotFound), false));
        assert!(!is_passing(&io(io::ErrorKind::PermissionDenied), true));
        assert!(!is_passing(&sqlx::Error::Tls("server does not support TLS".into()), false));
    }

    #[test]
    fn a_place_is_told_without_what_is_secret() {
        let place = |url: &str| place_of(&url.parse().unwrap());
        assert_eq!(place("postgres://goldbook:hunter2@db:5433/loyalty"), "db:5433");
        assert_eq!(place("postgres://goldbook@%2Frun%2Fpg:5432/loyalty"), "/run/pg");
    }
}
