//! The command that records an export, so that it can be told who took the book elsewhere.

use std::any::TypeId;

use jiff::Timestamp;

use crate::book::{
    Actor, Command, CommandKey, Decision, DecisionError, EntryReason, Name, NameUse, NewEntry, ProgramDetail,
};
use crate::ids::ProgramId;
use crate::programs::commands::current_policy;
use crate::programs::model::program_not_found;
use crate::programs::state::ProgramsState;

/// Puts on the program's own account that somebody exports its entries.
pub(super) struct RecordExport {
    pub(super) program_id: ProgramId,
    /// The period that was asked for.
    pub(super) from: Option<Timestamp>,
    pub(super) until: Option<Timestamp>,
}

impl Command for RecordExport {
    fn program_id(&self) -> &ProgramId {
        &self.program_id
    }

    fn names(&self) -> Vec<NameUse> {
        vec![NameUse::Find(Name::program(&self.program_id))]
    }

    fn key(&self) -> Option<CommandKey> {
        // Each export is one more, also where one goes on with another.
        None
    }

    fn states(&self) -> Vec<TypeId> {
        vec![TypeId::of::<ProgramsState>()]
    }

    fn decide(&self, decision: &mut Decision<'_>) -> Result<(), DecisionError> {
        let policy = current_policy(decision, &self.program_id)?;
        let account = decision.find(&Name::program(&self.program_id))?;
        let account = account.ok_or_else(|| program_not_found(&self.program_id))?;
        let new_entry = NewEntry {
            detail: ProgramDetail::EntriesExported { from: self.from, until: self.until }.into(),
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
