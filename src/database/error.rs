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
    /// A row contradicts the rules of the book, as stored or as it would be stored.
    #[error(transparent)]
    Defect(#[from] Defect),
}

impl StoreError {
    /// What can be done about it.
    pub(crate) fn kind(&self) -> FailureKind {
        match self {
            Self::Database(error) => FailureKind::of(error),
            Self::ConnectTimedOut { .. } => FailureKind::Away,
            Self::TooManyDues => FailureKind::Busy,
            Self::Defect(_) => FailureKind::Other,
        }
    }
}

/// What can be done about a failed statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// Two transactions were in each other's way: try again.
    Conflict,
    /// Someone else holds a lock for long, or cancelled the statement: let the caller try again.
    Busy,
    /// The database is gone, going, full, or not the one to write to: try again on a new connection, later.
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
                // Lock timeout, cancelled.
                Some("55P03" | "57014") => Self::Busy,
                // Read-only: a standby, after a failover. Shutting down, crashed, starting up.
                Some("25006" | "57P01" | "57P02" | "57P03" | "57P05") => Self::Away,
                // Connection exceptions; out of disk, memory or connections.
                Some(code) if code.starts_with("08") || code.starts_with("53") => Self::Away,
                _ => Self::Other,
            },
            _ => Self::Other,
        }
    }
}
