//! The command that orders a re-evaluation, and the one that carries it out for one customer.

use std::any::TypeId;

use super::rule::reevaluate;
use super::state::{Order, ReevaluationsState};
use crate::book::{
    Actor, Asking, Command, CommandKey, Decision, DecisionError, Defect, DowngradeTime, EntryReason, Key, KeyKind,
    Name, NameUse, NewEntry, ProgramDetail,
};
use crate::error::{Reason, Refusal};
use crate::ids::{EntryId, IdempotencyKey, ProgramId};
use crate::points::subject::{Subject, about_a_customer, key_of};
use crate::programs::commands::current_policy;
use crate::programs::model::{ProgramVersion, program_not_found};
use crate::programs::state::ProgramsState;
use crate::tiers::model::{deciding, into_entry, standing_of};
use crate::tiers::state::StandingsState;

/// Orders that a version is applied to every customer. The fields are described in tiers.proto.
#[derive(Clone, Debug)]
pub(crate) struct ReevaluateTiers {
    pub(crate) program_id: ProgramId,
    pub(crate) version: i32,
    pub(crate) downgrades: DowngradeTime,
    pub(crate) key: IdempotencyKey,
}

/// Refuses what is about a version that is not in force.
fn require_in_force(policy: &ProgramVersion, version: i32) -> Result<(), Refusal> {
    if policy.version == version {
        return Ok(());
    }
    let message = format!("version {} of the program is in force, not version {version}", policy.version);
    let refusal = Refusal::new(Reason::ProgramVersionNotInForce, message);
    Err(refusal.with("version", version).with("in_force", policy.version))
}

impl Command for ReevaluateTiers {
    fn program_id(&self) -> &ProgramId {
        &self.program_id
    }

    fn names(&self) -> Vec<NameUse> {
        vec![NameUse::Find(Name::program(&self.program_id))]
    }

    fn key(&self) -> Option<CommandKey> {
        Some(key_of(&self.key, &("reevaluate_tiers", self.version, self.downgrades)))
    }

    fn states(&self) -> Vec<TypeId> {
        vec![TypeId::of::<ProgramsState>(), TypeId::of::<ReevaluationsState>()]
    }

    fn decide(&self, decision: &mut Decision<'_>) -> Result<(), DecisionError> {
        let policy = current_policy(decision, &self.program_id)?;
        let account = decision.find(&Name::program(&self.program_id))?;
        let account = account.ok_or_else(|| program_not_found(&self.program_id))?;
        require_in_force(&policy, self.version)?;
        let state = decision.state::<ReevaluationsState>()?;
        if let Some(open) = state.open_of(&self.program_id, self.version) {
            let message = format!("a re-evaluation by version {} has not ended: {open}", self.version);
            return Err(Refusal::new(Reason::ReevaluationUnderWay, message).with("reevaluation_id", open).into());
        }
        let new_entry = NewEntry {
            detail: ProgramDetail::ReevaluationOrdered { downgrades: self.downgrades }.into(),
            movement: None,
            actor: Actor::Caller,
            reason: EntryReason::Reevaluation,
            policy_version: self.version,
            causes: Vec::new(),
        };
        let ordered_at = account.time_at(decision.at());
        let entry_id = decision.post(account.account_id, new_entry)?;
        let order = Order {
            entry_id,
            program_id: self.program_id.clone(),
            version: self.version,
            downgrades: self.downgrades,
            ordered_at,
        };
        decision.keep(move |state: &mut ReevaluationsState| state.add(order));
        Ok(())
    }
}

/// Carries an order out for one customer: once, however often it is tried.
#[derive(Clone, Debug)]
pub(super) struct ReevaluateTier {
    pub(super) subject: Subject,
    pub(super) version: i32,
    pub(super) downgrades: DowngradeTime,
    /// The entry of the order.
    pub(super) order: EntryId,
}

impl Command for ReevaluateTier {
    about_a_customer!(ProgramsState, StandingsState);

    fn key(&self) -> Option<CommandKey> {
        let key = Key::of_content("reevaluation", &self.order.to_string(), &());
        Some(CommandKey { key, kind: KeyKind::Once })
    }

    fn ask(&self, asking: &mut Asking<'_>) -> Result<(), Defect> {
        let at = asking.at();
        asking.state::<StandingsState>()?.ask_instant(at);
        Ok(())
    }

    fn decide(&self, decision: &mut Decision<'_>) -> Result<(), DecisionError> {
        let (policy, account) = self.subject.begin(decision)?;
        require_in_force(&policy, self.version)?;
        let account_id = account.account_id;
        let at = account.time_at(decision.at());
        let (standing, history) = standing_of(decision, account_id)?;
        let verdict = reevaluate(&deciding(&policy, &standing, &history), at, self.downgrades)?;
        if let Some(change) = verdict.change {
            let account_seq = change.cause.unwrap_or(standing.changed_seq);
            let by = (Actor::Rule, EntryReason::Reevaluation);
            let cause = EntryId { account_id, account_seq };
            let mut new_entry = into_entry(&policy, &standing, change, verdict.outlook, by, cause, at);
            new_entry.causes.push(self.order);
            decision.post(account_id, new_entry)?;
        }
        Ok(())
    }
}
