//! The command of programs, and what the commands of all rooms ask of one.

use std::any::TypeId;
use std::sync::Arc;

use super::model::{Program, ProgramVersion, check_expected, check_immutable, program_not_found};
use super::state::{Current, ProgramsState};
use crate::book::{
    Actor, Asking, Command, CommandKey, Decision, DecisionError, Defect, Detail, Entry, EntryReason, Name, NameUse,
    NewEntry, ProgramDetail, Told,
};
use crate::ids::ProgramId;

/// The version of its program that is in force as a command decides.
///
/// # Errors
/// A refusal if the program does not exist. [`DecisionError::NotLoaded`] if this batch has put a new version in force:
/// what that version asks for was not read, and is in the next batch.
pub(crate) fn current_policy(
    decision: &Decision<'_>,
    program_id: &ProgramId,
) -> Result<Arc<ProgramVersion>, DecisionError> {
    let programs = decision.state::<ProgramsState>()?;
    if programs.is_new(program_id) {
        return Err(DecisionError::NotLoaded);
    }
    let current = programs.current(program_id);
    Ok(current.ok_or_else(|| program_not_found(program_id))?.policy.clone())
}

/// What a program's document came to: what [`ApplyProgram`] tells.
pub(super) struct Versions {
    /// The one that the command put in force, or found in force.
    pub(super) version: ProgramVersion,
    /// The one before that, if the command put another one in force.
    pub(super) previous: Option<Arc<ProgramVersion>>,
}

/// Puts a program document in force.
pub(super) struct ApplyProgram {
    pub(super) program: Program,
    /// The version that must be in force, if the caller says one: 0 for none.
    pub(super) expected_version: Option<i32>,
}

impl Command for ApplyProgram {
    fn program_id(&self) -> &ProgramId {
        &self.program.program_id
    }

    fn names(&self) -> Vec<NameUse> {
        vec![NameUse::FindOrOpen(Name::program(&self.program.program_id))]
    }

    fn key(&self) -> Option<CommandKey> {
        // Applying the same document twice is naturally idempotent.
        None
    }

    fn states(&self) -> Vec<TypeId> {
        vec![TypeId::of::<ProgramsState>()]
    }

    fn ask(&self, asking: &mut Asking<'_>) -> Result<(), Defect> {
        asking.state::<ProgramsState>()?.ask_former(&self.program.program_id);
        Ok(())
    }

    fn decide(&self, decision: &mut Decision<'_>) -> Result<(), DecisionError> {
        let account = decision.find(&Name::program(&self.program.program_id))?.ok_or(DecisionError::NotLoaded)?;
        let current = decision.state::<ProgramsState>()?.current(&self.program.program_id);
        // Also where another version is expected: a call that is repeated after it succeeded has what it wants.
        if current.is_some_and(|current| current.policy.program == self.program) {
            return Ok(());
        }
        let in_force = current.map_or(0, |current| current.policy.version);
        check_expected(&self.program.program_id, self.expected_version, in_force)?;
        if let Some(Current { policy, .. }) = current {
            check_immutable(&policy.program, &self.program)?;
        }
        let version = in_force.saturating_add(1);
        let account_id = account.account_id;
        let new_entry = NewEntry {
            detail: ProgramDetail::ProgramApplied { version }.into(),
            movement: None,
            actor: Actor::Caller,
            reason: EntryReason::ProgramApplied,
            policy_version: version,
            causes: Vec::new(),
        };
        decision.post(account_id, new_entry)?;
        let applied_at = account.time_at(decision.at());
        let version = ProgramVersion { program: self.program.clone(), version, applied_at };
        decision.keep(move |state: &mut ProgramsState| state.add_version(account_id, version));
        Ok(())
    }

    fn tell(&self, decision: &Decision<'_>, entries: &[Entry]) -> Result<Option<Told>, DecisionError> {
        let (program_id, state) = (&self.program.program_id, decision.state::<ProgramsState>()?);
        let applied = entries.iter().find_map(|entry| match entry.detail {
            Detail::Program(ProgramDetail::ProgramApplied { version }) => Some((version, entry.effective_at)),
            Detail::Program(ProgramDetail::EntriesExported { .. })
            | Detail::Customer(_)
            | Detail::Activity(_)
            | Detail::Points(_)
            | Detail::Tier(_)
            | Detail::Benefit(_)
            | Detail::Referral(_) => None,
        });
        let Some((version, applied_at)) = applied else {
            let current = state.current(program_id).ok_or_else(|| program_not_found(program_id))?;
            return Ok(Some(Box::new(Versions { version: (*current.policy).clone(), previous: None })));
        };
        // Another one may be in force by now, where this is a repetition.
        let previous = state.before(program_id, version).cloned();
        let version = ProgramVersion { program: self.program.clone(), version, applied_at };
        Ok(Some(Box::new(Versions { version, previous })))
    }
}
