//! Why the database was of no use, and what can be done about it.

use std::time::Duration;

use crate::error::Defect;

/// Why rows could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database is away, or refuses.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    /// No connection was made in time.
    #[error("no connection to the database was made within {bound:?}")]
    ConnectTimedOut {
        /// How long it may take.
        bound: Duration,
    },
    /// More is due on an account than a read applies in memory. The service writes it, some at a time.
    #[error("more is due on the account than a read applies")]
    TooManyDues,
    /// More rows would be read than one batch may hold.
    #[error("more than {most} rows would be read at a time")]
    TooManyRows {
        /// The bound.
        most: i64,
    },
    /// A row contradicts the rules of the book, as stored or as it would be stored.
    #[error(transparent)]
    Defect(#[from] Defect),
}

impl StoreError {
    /// Whether it is about a row that was read, and not about the database: other rows can still be read.
    pub(crate) const fn is_of_a_row(&self) -> bool {
        match self {
            Self::Defect(_) | Self::TooManyDues | Self::TooManyRows { .. } => true,
            Self::Database(error) => matches!(error, sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_)),
            Self::ConnectTimedOut { .. } => false,
        }
    }

    /// What can be done about it.
    pub(crate) fn kind(&self) -> FailureKind {
        match self {
            Self::Database(error) => FailureKind::of(error),
            Self::ConnectTimedOut { .. } => FailureKind::Away,
            Self::TooManyDues | Self::TooManyRows { .. } => FailureKind::TooMuch,
            Self::Defect(_) => FailureKind::Other,
        }
    }
}

/// What can be done about a failed statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// Two transactions were in each other's way: try again.
    Conflict,
    /// Someone else holds a lock: try again once they may have let go.
    Locked,
    /// It took too long, was cancelled, or found no room: less at a time may succeed.
    TooMuch,
    /// The database is gone, going, or not the one to write to: try again on a new connection, later.
    Away,
    /// Anything else, which is a defect: trying again does not help.
    Other,
}

impl FailureKind {
    /// Tells failures apart by their SQLSTATE.
    #[must_use]
    #[expect(clippy::wildcard_enum_match_arm, reason = "another crate's kinds, of which it may add some")]
    pub fn of(error: &sqlx::Error) -> Self {
        use sqlx::Error as E;
        match error {
            E::Io(_) | E::Tls(_) | E::Protocol(_) | E::PoolTimedOut | E::PoolClosed | E::WorkerCrashed => Self::Away,
            E::Database(error) => match error.code().as_deref() {
                // Serialization failure, deadlock.
                Some("40001" | "40P01") => Self::Conflict,
                // Lock timeout.
                Some("55P03") => Self::Locked,
                // Statement timeout, or cancelled by somebody.
                Some("57014") => Self::TooMuch,
                // Too many connections: the one that failed was never made.
                Some("53300") => Self::Away,
                // Out of disk or memory, or over a limit: the connection is as good as before.
                Some(code) if code.starts_with("53") => Self::TooMuch,
                // Read-only: a standby, after a failover. Idle in a batch for too long. Shutting down, crashed, starting up.
                Some("25006" | "25P03" | "57P01" | "57P02" | "57P03" | "57P05") => Self::Away,
                // Connection exceptions.
                Some(code) if code.starts_with("08") => Self::Away,
                _ => Self::Other,
            },
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::borrow::Cow;
    use std::error::Error;
    use std::fmt;

    use sqlx::error::{DatabaseError, ErrorKind};

    use super::*;

    /// What Postgres says of a failure, by its code alone.
    #[derive(Debug)]
    pub(in crate::database) struct Said(pub(in crate::database) &'static str);

    impl fmt::Display for Said {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Said {}

    impl DatabaseError for Said {
        fn message(&self) -> &str {
            self.0
        }

        fn code(&self) -> Option<Cow<'_, str>> {
            Some(self.0.into())
        }

        fn as_error(&self) -> &(dyn Error + Send + Sync + 'static) {
            self
        }

        fn as_error_mut(&mut self) -> &mut (dyn Error + Send + Sync + 'static) {
            self
        }

        fn into_error(self: Box<Self>) -> Box<dyn Error + Send + Sync + 'static> {
            self
        }

        fn kind(&self) -> ErrorKind {
            ErrorKind::Other
        }
    }

    #[test]
    fn a_failure_is_what_its_code_says() {
        for (kind, codes) in [
            (FailureKind::Conflict, &["40001", "40P01"][..]),
            (FailureKind::Locked, &["55P03"]),
            (FailureKind::TooMuch, &["57014", "53000", "53100", "53200", "53400"]),
            (FailureKind::Away, &["08006", "25006", "53300", "57P01", "57P02", "57P03", "57P05"]),
            (FailureKind::Other, &["23505", "23514", "42601", "22003"]),
        ] {
            for code in codes {
                assert_eq!(FailureKind::of(&sqlx::Error::Database(Box::new(Said(code)))), kind, "{code}");
            }
        }
    }
}
