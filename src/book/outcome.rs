//! What a batch that was committed came to, command by command.

use super::command::Written;
use crate::error::{Defect, Refusal};

/// What became of one command of a batch that was committed.
#[derive(Debug)]
pub(super) enum CommandOutcome {
    /// It was carried out, in this batch or before.
    Written(Written),
    /// It was refused. Nothing was written for it.
    Refused(Refusal),
    /// The head of one of its accounts cannot be understood. Nothing was written for it.
    Failed(Defect),
    /// It touches more than this batch locked or read. Nothing was written for it; it is decided anew in the next batch.
    Postponed,
    /// More is due on its accounts than one batch applies. A part of that was written, and nothing of the command; it
    /// is decided anew in the next batch.
    DuesRemain,
    /// It must not overtake one that is decided anew in the next batch.
    Behind,
    /// Somebody else holds one of its accounts. Nothing was written for it; it waits apart.
    Held,
    /// It must not overtake one that waits apart.
    BehindHeld,
}

impl CommandOutcome {
    /// What those must do that may not overtake the command; nothing if it has come to its end.
    pub(super) const fn for_followers(&self) -> Option<Self> {
        match self {
            Self::Postponed | Self::DuesRemain | Self::Behind => Some(Self::Behind),
            Self::Held | Self::BehindHeld => Some(Self::BehindHeld),
            Self::Written(_) | Self::Refused(_) | Self::Failed(_) => None,
        }
    }
}
