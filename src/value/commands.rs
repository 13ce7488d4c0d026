//! The command that puts a model of value in force.

use std::any::TypeId;

use jiff::civil::Date;

use super::state::ModelsState;
use crate::book::{
    Actor, Command, CommandKey, Decision, DecisionError, Defect, EntryReason, Figure, Name, NameUse, NewEntry,
    ProgramDetail, ValueModel,
};
use crate::error::Refusal;
use crate::ids::{IdempotencyKey, ProgramId};
use crate::points::subject::key_of;
use crate::programs::commands::current_policy;
use crate::programs::model::program_not_found;
use crate::programs::state::ProgramsState;

/// What a model is asked for. The fields are described in value.proto.
#[derive(Clone, Debug)]
pub(crate) struct FitQuestion {
    pub(crate) program_id: ProgramId,
    pub(crate) from: Option<Date>,
    pub(crate) until: Option<Date>,
    /// A quarter of all days, if absent.
    pub(crate) holdout_days: Option<i32>,
    pub(crate) horizon_days: i32,
    pub(crate) discount: Figure,
    pub(crate) key: IdempotencyKey,
}

/// Puts a model in force, whose number it is given as it is written.
#[derive(Debug)]
pub(super) struct KeepModel {
    /// What was asked: the content of the key. What came of it depends on when it was asked.
    pub(super) question: FitQuestion,
    /// A refusal is told to whoever asks for the first time.
    pub(super) model: Result<ValueModel, Refusal>,
}

impl Command for KeepModel {
    fn program_id(&self) -> &ProgramId {
        &self.question.program_id
    }

    fn names(&self) -> Vec<NameUse> {
        vec![NameUse::Find(Name::program(&self.question.program_id))]
    }

    fn key(&self) -> Option<CommandKey> {
        let FitQuestion { program_id: _, from, until, holdout_days, horizon_days, discount, key } = &self.question;
        Some(key_of(key, &("fit_value_model", from, until, holdout_days, horizon_days, discount)))
    }

    fn states(&self) -> Vec<TypeId> {
        vec![TypeId::of::<ProgramsState>(), TypeId::of::<ModelsState>()]
    }

    fn decide(&self, decision: &mut Decision<'_>) -> Result<(), DecisionError> {
        let policy = current_policy(decision, &self.question.program_id)?;
        let account = decision.find(&Name::program(&self.question.program_id))?;
        let account_id = account.ok_or_else(|| program_not_found(&self.question.program_id))?.account_id;
        let version = decision.state::<ModelsState>()?.next_version(&self.question.program_id);
        let version = version.ok_or_else(|| Defect::new("a program has more models than can be counted"))?;
        let model = Box::new(ValueModel { version, ..self.model.clone()? });
        let new_entry = NewEntry {
            detail: ProgramDetail::ValueModelFitted { model }.into(),
            movement: None,
            actor: Actor::Caller,
            reason: EntryReason::ValueModel,
            policy_version: policy.version,
            causes: Vec::new(),
        };
        decision.post(account_id, new_entry)?;
        Ok(())
    }
}
