//! The commands that set by hand which tier a customer holds, and that end that.

use jiff::Timestamp;

use super::model::standing_of;
use super::overriding::{held, release};
use super::state::StandingsState;
use crate::book::{
    Actor, Command, CommandKey, Decision, DecisionError, EntryReason, NewEntry, OverrideForce, TierDetail,
};
use crate::error::{Reason, Refusal};
use crate::ids::{IdempotencyKey, TierId};
use crate::points::grants::model::require_ahead;
use crate::points::state::Note;
use crate::points::subject::{Subject, about_a_customer, keep_note, key_of};
use crate::programs::state::ProgramsState;

/// Sets which tier a customer holds. The fields are described in tiers.proto.
#[derive(Clone, Debug)]
pub(crate) struct SetTierOverride {
    pub subject: Subject,
    pub tier_id: TierId,
    pub force: OverrideForce,
    pub ends_at: Option<Timestamp>,
    pub reason: EntryReason,
    pub note: Note,
    pub key: IdempotencyKey,
}

/// Ends an override. The fields are described in tiers.proto.
#[derive(Clone, Debug)]
pub(crate) struct ClearTierOverride {
    pub subject: Subject,
    pub reason: EntryReason,
    pub note: Note,
    pub key: IdempotencyKey,
}

impl Command for SetTierOverride {
    about_a_customer!(ProgramsState, StandingsState);

    fn key(&self) -> Option<CommandKey> {
        let said = (self.reason.as_str(), &self.note.text, &self.note.author);
        let ends_at = self.ends_at.map(Timestamp::as_microsecond);
        Some(key_of(&self.key, &("set_tier_override", &self.tier_id, self.force.as_str(), ends_at, said)))
    }

    fn decide(&self, decision: &mut Decision<'_>) -> Result<(), DecisionError> {
        let (policy, account) = self.subject.begin(decision)?;
        let program = &policy.program;
        if program.tier(&self.tier_id).is_none() {
            let refusal = Refusal::new(Reason::TierNotFound, format!("the program has no tier {}", self.tier_id));
            return Err(refusal.with("tier_id", &self.tier_id).into());
        }
        if let Some(ends_at) = self.ends_at {
            require_ahead("ends_at", ends_at, account.time_at(decision.at()))?;
        }
        let (standing, _) = standing_of(decision, account.account_id)?;
        let hidden = standing.own_tier_id().clone();
        let (from, to) = (standing.tier_id.clone(), held(program, self.force, &self.tier_id, &hidden).clone());
        let package_id = policy.package_on_reaching(Some(&from), &to, account.time_at(decision.at()));
        let overridden = TierDetail::TierOverridden {
            from,
            to,
            hidden,
            tier_id: self.tier_id.clone(),
            force: self.force,
            ends_at: self.ends_at,
            package_id,
        };
        let new_entry = NewEntry {
            detail: overridden.into(),
            movement: None,
            actor: Actor::Caller,
            reason: self.reason,
            policy_version: policy.version,
            causes: Vec::new(),
        };
        let entry_id = decision.post(account.account_id, new_entry)?;
        keep_note(decision, entry_id, &self.note);
        Ok(())
    }
}

impl Command for ClearTierOverride {
    about_a_customer!(ProgramsState, StandingsState);

    fn key(&self) -> Option<CommandKey> {
        let said = (self.reason.as_str(), &self.note.text, &self.note.author);
        Some(key_of(&self.key, &("clear_tier_override", said)))
    }

    fn decide(&self, decision: &mut Decision<'_>) -> Result<(), DecisionError> {
        let (policy, account) = self.subject.begin(decision)?;
        let (standing, _) = standing_of(decision, account.account_id)?;
        let released = release(
            &policy,
            account.account_id,
            &standing,
            (Actor::Caller, self.reason),
            account.time_at(decision.at()),
        );
        let released = released.ok_or_else(|| {
            let message = format!("no override is in force: the customer holds {} without one", standing.tier_id);
            Refusal::new(Reason::TierNotOverridden, message).with("tier_id", &standing.tier_id)
        })?;
        let entry_id = decision.post(account.account_id, released)?;
        keep_note(decision, entry_id, &self.note);
        Ok(())
    }
}
