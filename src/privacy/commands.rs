//! The command of an export: that somebody was given all that is known of a customer.

use std::any::TypeId;

use crate::book::{
    Actor, Command, CommandKey, CustomerDetail, Decision, DecisionError, EntryReason, Name, NameUse, NewEntry,
};
use crate::customers::commands::require_customer;
use crate::ids::{CustomerId, ProgramId};
use crate::programs::commands::current_policy;
use crate::programs::state::ProgramsState;

/// Records an export. Each is recorded, however often the same is asked for, so it has no key.
#[derive(Clone, Debug)]
pub(super) struct RecordExport {
    pub(super) program_id: ProgramId,
    pub(super) customer_id: CustomerId,
}

impl Command for RecordExport {
    fn program_id(&self) -> &ProgramId {
        &self.program_id
    }

    fn names(&self) -> Vec<NameUse> {
        vec![NameUse::Find(Name::customer(&self.program_id, &self.customer_id))]
    }

    fn key(&self) -> Option<CommandKey> {
        None
    }

    fn states(&self) -> Vec<TypeId> {
        vec![TypeId::of::<ProgramsState>()]
    }

    fn decide(&self, decision: &mut Decision<'_>) -> Result<(), DecisionError> {
        let policy = current_policy(decision, &self.program_id)?;
        let account = require_customer(decision, &self.program_id, &self.customer_id)?;
        let new_entry = NewEntry {
            detail: CustomerDetail::CustomerExported.into(),
            movement: None,
            actor: Actor::Caller,
            reason: EntryReason::Export,
            policy_version: policy.version,
            causes: Vec::new(),
        };
        decision.post(account.account_id, new_entry)?;
        Ok(())
    }
}
