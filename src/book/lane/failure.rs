//! Why a batch was not committed, and what the lane can do about it.

use std::any::Any;
use std::time::Duration;

use uuid::Uuid;

use crate::database::{FailureKind, StoreError};
use crate::telemetry;

/// Why a batch was not committed.
#[derive(Debug, thiserror::Error)]
pub(super) enum BatchFailure {
    /// A statement failed, or the rules of the book are broken.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The batch did not end in time. Whether it was committed is not known.
    #[error("a batch of {} commands did not end within {bound:?}: {}", commands.len(), list(commands))]
    BatchTimedOut {
        /// How long it may take.
        bound: Duration,
        /// The ids of its commands.
        commands: Vec<Uuid>,
    },
    /// A rule panicked.
    #[error("a panic: {message}")]
    Panicked {
        /// What the panic said.
        message: String,
    },
}

impl BatchFailure {
    /// A panic that was caught, by what it threw.
    pub(super) fn of_panic(thrown: &(dyn Any + Send)) -> Self {
        Self::Panicked { message: telemetry::message_of(thrown).to_owned() }
    }

    /// What can be done about it.
    pub(super) fn kind(&self) -> FailureKind {
        match self {
            Self::Store(error) => error.kind(),
            Self::BatchTimedOut { .. } => FailureKind::Away,
            Self::Panicked { .. } => FailureKind::Other,
        }
    }

    /// Whether the database cannot be reached, or the connection to it is of no use any more.
    pub(super) fn is_away(&self) -> bool {
        self.kind() == FailureKind::Away
    }
}

fn list(ids: &[Uuid]) -> String {
    let ids: Vec<String> = ids.iter().map(Uuid::to_string).collect();
    ids.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_that_timed_out_says_how_long_it_may_take_and_which_commands_it_had() {
        let commands = vec![Uuid::from_u128(1), Uuid::from_u128(2)];
        let failure = BatchFailure::BatchTimedOut { bound: Duration::from_secs(30), commands };
        assert_eq!(
            failure.to_string(),
            "a batch of 2 commands did not end within 30s: 00000000-0000-0000-0000-000000000001, \
             00000000-0000-0000-0000-000000000002"
        );
        assert!(failure.is_away());
    }

    #[test]
    fn a_connection_that_was_not_made_in_time_says_so() {
        let failure = BatchFailure::from(StoreError::ConnectTimedOut { bound: Duration::from_secs(2) });
        assert_eq!(failure.to_string(), "no connection to the database was made within 2s");
        assert!(failure.is_away());
    }

    #[test]
    fn a_panic_keeps_its_message() {
        let texts: [(&(dyn Any + Send), &str); 3] =
            [(&"plain", "a panic: plain"), (&"formatted".to_owned(), "a panic: formatted"), (&7, "a panic: ")];
        for (thrown, text) in texts {
            let failure = BatchFailure::of_panic(thrown);
            assert_eq!(failure.to_string(), text);
            assert_eq!(failure.kind(), FailureKind::Other);
        }
    }
}
