//! The command of programs, and what the commands of all rooms ask of one.

use std::any::TypeId;
use std::sync::Arc;

use jiff::Timestamp;

use super::model::{Program, ProgramVersion, program_not_found};
use super::next::{NextVersion, Terms};
use super::state::ProgramsState;
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
    /// The one that the command made, or the latest that it found.
    pub(super) version: ProgramVersion,
    /// The one before that, if the command made one.
    pub(super) previous: Option<Arc<ProgramVersion>>,
}

/// Applies a program document. The fields are described in programs.proto.
pub(crate) struct ApplyProgram {
    pub(super) program: Program,
    /// The version that must be the latest, if the caller says one: 0 for none.
    pub(super) expected_version: Option<i32>,
    /// When it begins; at once, if absent.
    pub(super) effective_from: Option<Timestamp>,
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
        let at = account.time_at(decision.at());
        let next = next_version(decision, &self.program.program_id)?;
        let terms = Terms { expected_version: self.expected_version, effective_from: self.effective_from };
        if !next.changes(&self.program, terms, at)? {
            return Ok(());
        }
        let account_id = account.account_id;
        let new_entry = NewEntry {
            detail: ProgramDetail::ProgramApplied { version: next.number, effective_from: self.effective_from }.into(),
            movement: None,
            actor: Actor::Caller,
            reason: EntryReason::ProgramApplied,
            policy_version: next.number,
            causes: Vec::new(),
        };
        decision.post(account_id, new_entry)?;
        let version = self.version(next.number, at);
        decision.keep(move |state: &mut ProgramsState| state.add_version(version));
        Ok(())
    }

    fn tell(&self, decision: &Decision<'_>, entries: &[Entry]) -> Result<Option<Told>, DecisionError> {
        let (program_id, state) = (&self.program.program_id, decision.state::<ProgramsState>()?);
        let applied = entries.iter().find_map(|entry| match entry.detail {
            Detail::Program(ProgramDetail::ProgramApplied { version, .. }) => Some((version, entry.effective_at)),
            Detail::Program(
                ProgramDetail::EntriesExported { .. }
                | ProgramDetail::ReevaluationOrdered { .. }
                | ProgramDetail::ValueModelFitted { .. }
                | ProgramDetail::CustomersClassed { .. },
            )
            | Detail::Customer(_)
            | Detail::Activity(_)
            | Detail::Points(_)
            | Detail::Tier(_)
            | Detail::Benefit(_)
            | Detail::Referral(_)
            | Detail::Complaint(_)
            | Detail::Goodwill(_)
            | Detail::Lifecycle(_)
            | Detail::Value(_) => None,
        });
        let Some((version, applied_at)) = applied else {
            let latest = next_version(decision, program_id)?.latest.ok_or_else(|| program_not_found(program_id))?;
            return Ok(Some(Box::new(Versions { version: Arc::unwrap_or_clone(latest), previous: None })));
        };
        // Another one may be the latest by now, where this is a repetition.
        let previous = state.before(program_id, version).cloned();
        Ok(Some(Box::new(Versions { version: self.version(version, applied_at), previous })))
    }
}

impl ApplyProgram {
    /// What it makes, under a number.
    fn version(&self, version: i32, applied_at: Timestamp) -> ProgramVersion {
        let effective_from = self.effective_from.unwrap_or(applied_at);
        ProgramVersion { program: self.program.clone(), version, applied_at, effective_from }
    }
}

/// The version that comes next of a program.
fn next_version(decision: &Decision<'_>, program_id: &ProgramId) -> Result<NextVersion, DecisionError> {
    let state = decision.state::<ProgramsState>()?;
    let agenda = state.agenda(program_id);
    let Some(number) = agenda.latest().map(|latest| latest.version) else { return Ok(NextVersion::first()) };
    let current = state.current(program_id).map(|current| &current.policy).filter(|policy| policy.version == number);
    let latest = state.version(program_id, number).or(current).cloned();
    // One that cannot be understood decides all the same.
    let latest = latest.ok_or_else(|| Defect::new(format!("version {number} of program {program_id} was not read")))?;
    Ok(NextVersion::after(latest, agenda))
}
