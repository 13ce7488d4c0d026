//! The commands of value classes: one tells where classes begin at the end of a period, the other decides about a customer.

use std::any::TypeId;
use std::sync::Arc;

use super::model::{Classed, Measured};
use super::state::ClassesState;
use crate::book::{
    Actor, Classification, Command, CommandKey, Decision, DecisionError, EntryReason, Key, KeyKind, Name, NameUse,
    NewEntry, ProgramDetail, ValueDetail,
};
use crate::ids::{AccountId, ProgramId};
use crate::points::state::PointsState;
use crate::points::subject::{Subject, about_a_customer};
use crate::programs::model::program_not_found;
use crate::programs::state::ProgramsState;

/// Tells where the value classes of a program begin. It is told once of each end, by whoever comes first.
#[derive(Clone, Debug)]
pub(super) struct ClassCustomers {
    pub(super) program_id: ProgramId,
    /// The version that was in force as the period ended.
    pub(super) version: i32,
    pub(super) classification: Classification,
}

impl Command for ClassCustomers {
    fn program_id(&self) -> &ProgramId {
        &self.program_id
    }

    fn names(&self) -> Vec<NameUse> {
        vec![NameUse::Find(Name::program(&self.program_id))]
    }

    fn key(&self) -> Option<CommandKey> {
        let key = Key::of_content("classification", &self.classification.until.to_string(), &());
        Some(CommandKey { key, kind: KeyKind::Once })
    }

    fn states(&self) -> Vec<TypeId> {
        vec![TypeId::of::<ProgramsState>(), TypeId::of::<ClassesState>()]
    }

    fn decide(&self, decision: &mut Decision<'_>) -> Result<(), DecisionError> {
        let account = decision.find(&Name::program(&self.program_id))?;
        let account_id = account.ok_or_else(|| program_not_found(&self.program_id))?.account_id;
        let classification = Box::new(self.classification.clone());
        let new_entry = NewEntry {
            detail: ProgramDetail::CustomersClassed { classification }.into(),
            movement: None,
            actor: Actor::Time,
            reason: EntryReason::ValueClass,
            policy_version: self.version,
            causes: Vec::new(),
        };
        decision.post(account_id, new_entry)?;
        Ok(())
    }
}

/// Decides of which class a customer is by a classification: once, however often it is tried.
#[derive(Clone, Debug)]
pub(super) struct DecideClass {
    pub(super) subject: Subject,
    /// The account that was measured. A customer who was erased and came back has another one.
    pub(super) account_id: AccountId,
    pub(super) measured: Measured,
    pub(super) classed: Arc<Classed>,
}

impl Command for DecideClass {
    about_a_customer!(ProgramsState, PointsState, ClassesState);

    fn key(&self) -> Option<CommandKey> {
        let key = Key::of_content("value class", &self.classed.days.until.to_string(), &());
        Some(CommandKey { key, kind: KeyKind::Once })
    }

    fn decide(&self, decision: &mut Decision<'_>) -> Result<(), DecisionError> {
        let (current, account) = self.subject.begin(decision)?;
        let (account_id, until) = (account.account_id, self.classed.days.until);
        let before = decision.state::<ClassesState>()?.held(account_id);
        // A later end has decided since; but for one that has not come, by a clock that was wrong.
        let today = current.program.day_of(decision.now());
        let is_over = before.is_some_and(|row| row.until > until && row.until <= today);
        if is_over || account_id != self.account_id {
            return Ok(());
        }
        let held = before.map(|row| row.held.clone());
        let Some(decided) = self.classed.decide(self.measured, held.as_ref()) else { return Ok(()) };
        let detail = ValueDetail::ValueClassDecided {
            before: held.map(|held| held.class_id),
            class_id: decided.class_id,
            until,
            level: decided.level,
            measured: self.measured.worth.unwrap_or(0),
            ends_below: decided.ends_below,
        };
        let new_entry = NewEntry {
            detail: detail.into(),
            movement: None,
            actor: Actor::Time,
            reason: EntryReason::ValueClass,
            policy_version: self.classed.policy.version,
            causes: vec![self.classed.entry_id],
        };
        decision.post(account_id, new_entry)?;
        Ok(())
    }
}
