//! What all commands about one customer's points share.

use std::fmt::Debug;
use std::sync::Arc;

use super::state::{Note, PointsState};
use crate::book::{Account, Asking, CommandKey, Decision, DecisionError, Defect, Key, KeyKind, Name};
use crate::customers::commands::require_customer;
use crate::ids::{AccountId, CustomerId, EntryId, IdempotencyKey, ProgramId};
use crate::programs::commands::current_policy;
use crate::programs::model::ProgramVersion;

/// Whom a command is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Subject {
    /// The program of the customer.
    pub program_id: ProgramId,
    /// The customer, by the business's own id.
    pub customer_id: CustomerId,
}

impl Subject {
    /// The customer's name.
    pub(crate) fn name(&self) -> Name {
        Name::customer(&self.program_id, &self.customer_id)
    }

    /// The version in force and the customer's account: where the decision of each command begins.
    pub(crate) fn begin<'a>(
        &self,
        decision: &Decision<'a>,
    ) -> Result<(Arc<ProgramVersion>, &'a Account), DecisionError> {
        let policy = current_policy(decision, &self.program_id)?;
        let account = require_customer(decision, &self.program_id, &self.customer_id)?;
        Ok((policy, account))
    }

    /// The number of an entry, if it is the customer's own.
    pub(crate) fn own(&self, asking: &Asking<'_>, entry_id: EntryId) -> Option<(AccountId, i64)> {
        asking.find(&self.name()).filter(|own| *own == entry_id.account_id).map(|own| (own, entry_id.account_seq))
    }
}

/// The methods that all commands about one customer have in common: they need these states, those of points if none are named.
macro_rules! about_a_customer {
    () => {
        $crate::points::subject::about_a_customer!($crate::programs::state::ProgramsState, $crate::points::state::PointsState);
    };
    ($($state:ty),+) => {
        fn program_id(&self) -> &crate::ids::ProgramId {
            &self.subject.program_id
        }

        fn names(&self) -> Vec<crate::book::NameUse> {
            vec![crate::book::NameUse::Find(self.subject.name())]
        }

        fn states(&self) -> Vec<std::any::TypeId> {
            vec![$(std::any::TypeId::of::<$state>()),+]
        }
    };
}
pub(crate) use about_a_customer;

/// A caller's key, over the whole content of a command.
pub(crate) fn key_of(key: &IdempotencyKey, content: &(impl serde::Serialize + Debug)) -> CommandKey {
    CommandKey { key: Key::of_content("key", key.as_str(), content), kind: KeyKind::Idempotency }
}

/// Keeps a note beside an entry, where there is one.
pub(crate) fn keep_note(decision: &mut Decision<'_>, entry_id: EntryId, note: &Note) {
    if *note != Note::default() {
        let note = note.clone();
        decision.keep(move |state: &mut PointsState| state.add_note(entry_id, note));
    }
}

/// Asks for the lots that a spend of so many points takes.
pub(super) fn ask_points(asking: &mut Asking<'_>, subject: &Subject, points: i64) -> Result<(), Defect> {
    if let Some(account_id) = asking.find(&subject.name()) {
        asking.state::<PointsState>()?.ask_points(account_id, points);
    }
    Ok(())
}
