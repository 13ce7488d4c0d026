//! Statements that show in the trace.

use std::borrow::Cow;

use tracing::Instrument as _;

use super::error::StoreError;
use crate::telemetry;
use crate::telemetry::metrics::TimedStatement;

/// A failure of which a trace shows the SQLSTATE.
pub trait StatementError {
    /// The SQLSTATE, if Postgres told one.
    fn sql_state(&self) -> Option<String>;
}

impl StatementError for sqlx::Error {
    fn sql_state(&self) -> Option<String> {
        Some(self.as_database_error()?.code()?.into_owned())
    }
}

impl StatementError for StoreError {
    fn sql_state(&self) -> Option<String> {
        match self {
            Self::Database(error) => error.sql_state(),
            Self::ConnectTimedOut { .. } | Self::TooManyDues | Self::TooManyRows { .. } | Self::Defect(_) => None,
        }
    }
}

/// A statement that shows in the trace.
pub trait Traced<T, E: StatementError>: Future<Output = Result<T, E>> + Sized + Send {
    /// Runs the statement in a client span, named by its verb and table; a failure shows in the span.
    fn traced(self, summary: impl Into<Cow<'static, str>>) -> impl Future<Output = Result<T, E>> + Send {
        let summary = summary.into();
        let timed = TimedStatement::begin(&summary);
        let span = telemetry::statement(summary);
        let failed = span.clone();
        async move {
            let outcome = self.await;
            let failure = outcome.as_ref().err().map(|error| error.sql_state().unwrap_or_else(|| "_OTHER".to_owned()));
            if let Some(code) = &failure {
                telemetry::fail_statement(&failed, code);
            }
            timed.end(failure.as_deref());
            outcome
        }
        .instrument(span)
    }
}

impl<T, E: StatementError, F: Future<Output = Result<T, E>> + Send> Traced<T, E> for F {}
