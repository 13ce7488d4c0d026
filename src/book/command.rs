//! A command: one intention to write. It says what it needs, and decides, purely, what becomes of it.

use std::any::{Any, TypeId};

use jiff::Timestamp;

use super::decision::{Asking, Decision, DecisionError};
use super::entry::Entry;
use super::key::Key;
use super::name::NameUse;
use crate::error::{Defect, Error, Reason, Refusal};
use crate::ids::{AccountId, ProgramId};

/// The most entries that one command may write to one account: a replay reads back this many.
pub const MAX_ENTRIES_PER_ACCOUNT: usize = 32;

/// What a command is known by, hashed together with its content.
#[derive(Clone, Copy, Debug)]
pub struct CommandKey {
    /// The key and the command's content, hashed.
    pub key: Key,
    /// What the key is to the caller.
    pub kind: KeyKind,
}

/// What the key of a command is to the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// An idempotency key, or the id of a command that needs none.
    Idempotency,
    /// The business's own name of an activity.
    ActivityId,
    /// No caller's: the command writes once. Where there is nothing to write it may be tried again, and no repetition has
    /// anything to find.
    Once,
}

impl KeyKind {
    /// The refusal of a command whose key was used with other content.
    #[must_use]
    pub fn refuse_reuse(self) -> Refusal {
        match self {
            Self::Idempotency | Self::Once => {
                Refusal::new(Reason::IdempotencyKeyReused, "this idempotency key was used for another request")
            }
            Self::ActivityId => {
                Refusal::new(Reason::ActivityIdReused, "this activity id was used for an activity with other content")
            }
        }
    }
}

/// One intention to write, the same whether it comes alone or among five hundred.
pub trait Command: Send + Sync {
    /// What operators see in the log where it fails.
    fn describe(&self) -> &'static str {
        std::any::type_name::<Self>()
    }

    /// The program it belongs to.
    fn program_id(&self) -> &ProgramId;

    /// The names it resolves. The first is its scope: the account that its idempotency key belongs to.
    fn names(&self) -> Vec<NameUse>;

    /// Its idempotency key, unless it is naturally idempotent.
    fn key(&self) -> Option<CommandKey>;

    /// The states that its decision reads or that its entries change.
    fn states(&self) -> Vec<TypeId>;

    /// Accounts that it touches without a name of theirs.
    fn accounts(&self) -> Vec<AccountId> {
        Vec::new()
    }

    /// Asks states for rows that are loaded only on request.
    ///
    /// # Errors
    /// [`Defect`] if a state is missing.
    fn ask(&self, _asking: &mut Asking<'_>) -> Result<(), Defect> {
        Ok(())
    }

    /// The instant to run at instead of the present, for history.
    fn history_at(&self) -> Option<Timestamp> {
        None
    }

    /// Decides, from what is loaded alone. A decision that ends with an error leaves no trace.
    ///
    /// # Errors
    /// [`DecisionError`]: a refusal, or something the batch must see to.
    fn decide(&self, decision: &mut Decision<'_>) -> Result<(), DecisionError>;

    /// What the caller is told beside the entries: read off the states as the command leaves them, or as a repetition
    /// finds them. So an answer needs nothing of the database once the batch is committed. `entries` are those that the
    /// command wrote on its scope, now or when it was carried out.
    ///
    /// # Errors
    /// [`DecisionError`], which is always a defect here.
    fn tell(&self, _decision: &Decision<'_>, _entries: &[Entry]) -> Result<Option<Told>, DecisionError> {
        Ok(None)
    }
}

/// What a command tells its caller, as a type of its own.
pub type Told = Box<dyn Any + Send>;

/// What a command wrote on the account of its scope.
#[derive(Debug)]
pub struct Written {
    /// The entries in order; from the ledger if the command was carried out before.
    pub entries: Vec<Entry>,
    /// Whether this was a repetition.
    pub replayed: bool,
    /// What the command [told](Command::tell).
    pub told: Option<Told>,
}

impl Written {
    /// What the command told; it is there once.
    ///
    /// # Errors
    /// [`Error::Internal`] if it told nothing, or something of another type.
    pub(crate) fn take_told<T: 'static>(&mut self) -> Result<T, Error> {
        let told = self.told.take().and_then(|told| told.downcast().ok());
        let type_name = std::any::type_name::<T>();
        Ok(*told.ok_or_else(|| Error::Internal(format!("a command did not tell its {type_name}")))?)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A command of a program that has no names and writes nothing.
    pub(in crate::book) struct Idle(pub(in crate::book) ProgramId);

    impl Command for Idle {
        fn program_id(&self) -> &ProgramId {
            &self.0
        }

        fn names(&self) -> Vec<NameUse> {
            Vec::new()
        }

        fn key(&self) -> Option<CommandKey> {
            None
        }

        fn states(&self) -> Vec<TypeId> {
            Vec::new()
        }

        fn decide(&self, _decision: &mut Decision<'_>) -> Result<(), DecisionError> {
            Ok(())
        }
    }
}
