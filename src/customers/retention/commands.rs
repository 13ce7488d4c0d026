//! The command that erases what a program keeps no longer of an account without activity.

use std::any::TypeId;

use crate::book::{
    AccountKind, Actor, Command, CommandKey, CustomerDetail, Decision, DecisionError, Defect, EntryReason, NameUse,
    NewEntry,
};
use crate::customers::model::Dossier;
use crate::customers::state::CustomersState;
use crate::ids::{AccountId, ProgramId};
use crate::programs::commands::current_policy;
use crate::programs::state::ProgramsState;

/// An account without activity, as it was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Inactive {
    /// The account.
    pub account_id: AccountId,
    /// Its last entry then.
    pub head: i64,
    /// Whether there are notes that are kept no longer.
    pub has_notes: bool,
    /// Whether there is a dossier, or a consent, that is kept no longer.
    pub has_dossier: bool,
}

/// Erases what was found on an account without activity, if nothing was written to it since.
#[derive(Debug)]
pub(crate) struct EraseOfInactive {
    /// The program that keeps it no longer.
    pub program_id: ProgramId,
    /// The version of the program that says so.
    pub version: i32,
    /// What was found.
    pub inactive: Inactive,
}

impl Command for EraseOfInactive {
    fn program_id(&self) -> &ProgramId {
        &self.program_id
    }

    fn names(&self) -> Vec<NameUse> {
        Vec::new()
    }

    fn accounts(&self) -> Vec<AccountId> {
        vec![self.inactive.account_id]
    }

    fn key(&self) -> Option<CommandKey> {
        // Once it is carried out, the account is no longer as it was looked at.
        None
    }

    fn states(&self) -> Vec<TypeId> {
        vec![TypeId::of::<ProgramsState>(), TypeId::of::<CustomersState>()]
    }

    fn decide(&self, decision: &mut Decision<'_>) -> Result<(), DecisionError> {
        let Inactive { account_id, head, has_notes, has_dossier } = self.inactive;
        let policy = current_policy(decision, &self.program_id)?;
        let account = decision.account(account_id)?;
        let is_as_seen = account.head == head && account.kind == AccountKind::Customer && account.erased_at.is_none();
        if policy.version != self.version || !is_as_seen {
            return Ok(());
        }
        let new_entry = |detail: CustomerDetail| NewEntry {
            detail: detail.into(),
            movement: None,
            actor: Actor::Time,
            reason: EntryReason::Retention,
            policy_version: policy.version,
            causes: Vec::new(),
        };
        if has_notes {
            decision.post(account_id, new_entry(CustomerDetail::NotesErased))?;
        }
        if has_dossier {
            let row = decision.state::<CustomersState>()?.get(account_id);
            let row = row.ok_or_else(|| Defect::new(format!("customer {} has no dossier", account_id.0)))?;
            let mut emptied = row.clone();
            emptied.dossier = Dossier::default();
            // Also what a newer version wrote.
            emptied.stored = serde_json::Value::Null;
            emptied.revision = row.revision.saturating_add(1);
            emptied.updated_at = account.time_at(decision.at()).max(row.updated_at);
            let detail = CustomerDetail::DossierErased { revision: emptied.revision };
            decision.post(account_id, new_entry(detail))?;
            decision.keep(move |state: &mut CustomersState| state.put(emptied, Vec::new()));
        }
        Ok(())
    }
}
