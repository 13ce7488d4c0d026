//! What a batch that was committed came to, command by command.

use super::command::Written;
use crate::error::Refusal;

/// What became of one command of a batch that was committed.
#[derive(Debug)]
pub(super) enum CommandOutcome {
    /// It was carried out, in this batch or before.
    Written(Written),
    /// It was refused. Nothing was written for it.
    Refused(Refusal),
    /// It touches more than this batch locked or read, or a command that it must not overtake does. Nothing was written
    /// for it; it is decided anew in the next batch.
    Postponed,
    /// More is due on its accounts than one batch applies. A part of that was written, and nothing of the command; it
    /// is decided anew in the next batch.
    DuesRemain,
}

impl CommandOutcome {
    /// Whether the command is decided anew in the next batch.
    pub(super) const fn must_wait(&self) -> bool {
        match self {
            Self::Postponed | Self::DuesRemain => true,
            Self::Written(_) | Self::Refused(_) => false,
        }
    }
}
