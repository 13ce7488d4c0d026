//! Why a batch was not committed, and what the lane can do about it.

use std::any::Any;
use std::time::Duration;

use uuid::Uuid;

use super::waiting::MAX_BATCH;
use crate::book::batch::BatchError;
use crate::database::{FailureKind, StoreError};
use crate::error::{Defect, with_causes};
use crate::telemetry;

/// How often in a row parts of a batch may time out, as they do on the way to one command that does, before the
/// database counts as away.
const MAX_TIME_OUTS: u32 = 1 + MAX_BATCH.ilog2();

/// Why a batch was not committed.
#[derive(Debug, thiserror::Error)]
pub(super) enum BatchFailure {
    /// A statement failed, or rows break the rules of the book.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// One of its commands breaks the rules of the book.
    #[error("{defect}")]
    Command {
        /// The command's place in the batch.
        place: usize,
        /// What is wrong.
        defect: Defect,
    },
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

impl From<BatchError> for BatchFailure {
    fn from(error: BatchError) -> Self {
        match error {
            BatchError::Store(error) => Self::Store(error),
            BatchError::Command { place, defect } => Self::Command { place, defect },
        }
    }
}

/// What a lane does about a batch that failed for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Remedy {
    /// Every caller is told that the database is away.
    TellAway,
    /// The command at this place fails. The others are carried out without it.
    FailOne(usize),
    /// Each half is tried by itself.
    Split,
    /// The command waits apart.
    KeepApart,
    /// The command's caller is told to come again.
    ComeAgain,
    /// The command is refused, since it needs more rows than this.
    Refuse(i64),
    /// The command fails.
    Fail,
}

impl BatchFailure {
    /// A panic that was caught, by what it threw.
    pub(super) fn of_panic(thrown: &(dyn Any + Send)) -> Self {
        Self::Panicked { message: telemetry::message_of(thrown).to_owned() }
    }

    /// What this version does not know, if that is why.
    pub(super) fn unknown(&self) -> Option<&Defect> {
        let defect = match self {
            Self::Command { defect, .. } | Self::Store(StoreError::Defect(defect)) => defect,
            Self::Store(_) | Self::BatchTimedOut { .. } | Self::Panicked { .. } => return None,
        };
        Some(defect).filter(|defect| defect.is_unknown())
    }

    /// What can be done about it.
    pub(super) fn kind(&self) -> FailureKind {
        match self {
            Self::Store(error) => error.kind(),
            // Perhaps the batch was too large. If the database is away, making a new connection tells.
            Self::BatchTimedOut { .. } => FailureKind::TooMuch,
            Self::Command { .. } | Self::Panicked { .. } => FailureKind::Other,
        }
    }

    /// A short, fixed name, as spans tell it; none where nothing is wrong: it waits for somebody else, or goes in several
    /// batches.
    pub(super) fn error_type(&self) -> Option<&'static str> {
        match self {
            Self::Store(StoreError::TooManyRows { .. }) => None,
            Self::Store(_) => match self.kind() {
                FailureKind::Locked => None,
                FailureKind::Conflict => Some("conflict"),
                FailureKind::Away => Some("database_away"),
                FailureKind::TooMuch => Some("too_much"),
                FailureKind::Other => Some("store"),
            },
            Self::Command { .. } => Some("command"),
            Self::BatchTimedOut { .. } => Some("timeout"),
            Self::Panicked { .. } => Some("panic"),
        }
    }

    /// What is done about a batch of `size` that failed in this way, after so many parts in a row that timed out.
    pub(super) fn remedy(&self, size: usize, time_outs: u32) -> Remedy {
        if self.kind() == FailureKind::Away || time_outs > MAX_TIME_OUTS {
            return Remedy::TellAway;
        }
        if size > 1 {
            return match self {
                Self::Command { place, .. } => Remedy::FailOne(*place),
                Self::Store(_) | Self::BatchTimedOut { .. } | Self::Panicked { .. } => Remedy::Split,
            };
        }
        match self {
            Self::Store(StoreError::TooManyRows { most }) => Remedy::Refuse(*most),
            Self::Store(_) | Self::Command { .. } | Self::BatchTimedOut { .. } | Self::Panicked { .. } => {
                match self.kind() {
                    FailureKind::Locked => Remedy::KeepApart,
                    FailureKind::Away | FailureKind::Conflict | FailureKind::TooMuch => Remedy::ComeAgain,
                    FailureKind::Other => Remedy::Fail,
                }
            }
        }
    }

    /// Logs what befell a batch of `size`, where nothing else tells of it.
    pub(super) fn log(&self, remedy: Remedy, size: usize) {
        let told = with_causes(self);
        match remedy {
            Remedy::TellAway => tracing::warn!(failure = told, "the database is away"),
            Remedy::Split if self.is_told_at_a_split() => {
                tracing::warn!(failure = told, size, "a batch failed and is split");
            }
            // The command itself is told of, or will be.
            Remedy::Split
            | Remedy::FailOne(_)
            | Remedy::KeepApart
            | Remedy::ComeAgain
            | Remedy::Refuse(_)
            | Remedy::Fail => {}
        }
    }

    /// Whether nothing else tells of the failure when a batch is split: two halves may well succeed where the whole did
    /// not.
    fn is_told_at_a_split(&self) -> bool {
        match self {
            // The command will panic again when it is retried. It is logged once it is alone in its batch, since only
            // then is it known which command panics.
            Self::Panicked { .. } => false,
            // Nothing is wrong: it goes in several batches.
            Self::Store(StoreError::TooManyRows { .. }) => false,
            // Told where its caller is.
            Self::Store(_) | Self::Command { .. } if self.unknown().is_some() => false,
            Self::Store(_) | Self::Command { .. } | Self::BatchTimedOut { .. } => self.kind() != FailureKind::Locked,
        }
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
        assert_eq!(failure.kind(), FailureKind::TooMuch);
    }

    #[test]
    fn a_batch_that_timed_out_is_split_until_the_command_that_takes_too_long_is_alone() {
        let failure = BatchFailure::BatchTimedOut { bound: Duration::from_secs(30), commands: Vec::new() };
        let (mut size, mut time_outs) = (MAX_BATCH, 1);
        while size > 1 {
            assert_eq!(failure.remedy(size, time_outs), Remedy::Split, "{size}");
            size /= 2;
            time_outs += 1;
        }
        assert_eq!(failure.remedy(1, time_outs), Remedy::ComeAgain);
        // Where everything times out, not every command is waited for.
        assert_eq!(failure.remedy(1, time_outs + 1), Remedy::TellAway);
        assert_eq!(failure.remedy(64, time_outs + 1), Remedy::TellAway);
    }

    #[test]
    fn what_is_done_depends_on_the_failure_and_on_whether_the_command_is_alone() {
        let rows = StoreError::TooManyRows { most: 7 };
        let defect = StoreError::Defect(Defect::new("odd"));
        let away = StoreError::ConnectTimedOut { bound: Duration::from_secs(2) };
        for (failure, together, alone) in [
            (BatchFailure::Store(rows), Remedy::Split, Remedy::Refuse(7)),
            (BatchFailure::Store(defect), Remedy::Split, Remedy::Fail),
            (BatchFailure::Store(away), Remedy::TellAway, Remedy::TellAway),
            (BatchFailure::Panicked { message: String::new() }, Remedy::Split, Remedy::Fail),
            (BatchFailure::Command { place: 3, defect: Defect::new("odd") }, Remedy::FailOne(3), Remedy::Fail),
        ] {
            assert_eq!((failure.remedy(8, 0), failure.remedy(1, 0)), (together, alone), "{failure}");
        }
    }

    #[test]
    fn a_connection_that_was_not_made_in_time_says_so() {
        let failure = BatchFailure::from(StoreError::ConnectTimedOut { bound: Duration::from_secs(2) });
        assert_eq!(failure.to_string(), "no connection to the database was made within 2s");
        assert_eq!(failure.kind(), FailureKind::Away);
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
