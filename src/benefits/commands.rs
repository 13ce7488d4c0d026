//! The commands of benefits: using one, and undoing a use.

use super::model::{Present, add_uses, counted_as, counts_at, find_benefit, left_of, resets_at, take_off, used_in};
use super::state::BenefitsState;
use crate::book::{
    Account, Actor, Asking, BenefitDetail, Command, CommandKey, Decision, DecisionError, Defect, EntryReason, NewEntry,
    UseCounts,
};
use crate::error::{Reason, Refusal};
use crate::ids::{BenefitId, EntryId, IdempotencyKey};
use crate::points::state::Note;
use crate::points::subject::{Subject, about_a_customer, keep_note, key_of};
use crate::programs::benefits::Quota;
use crate::programs::state::ProgramsState;
use crate::tiers::model::standing_of;
use crate::tiers::state::StandingsState;

/// Uses a benefit. The fields are described in benefits.proto.
#[derive(Clone, Debug)]
pub(crate) struct UseBenefit {
    pub subject: Subject,
    pub benefit_id: BenefitId,
    pub quantity: i64,
    pub companions: i64,
    pub place: String,
    pub key: IdempotencyKey,
}

impl UseBenefit {
    /// The refusal of more uses than are left.
    fn refuse(&self, quota: Quota, counts: &UseCounts, counted: i64, resets_at: Option<jiff::Timestamp>) -> Refusal {
        let left = left_of(quota, counts);
        let whole_again = resets_at.map_or_else(|| "it is not known when".to_owned(), |at| format!("at {at}"));
        let message = format!(
            "the use counts as {counted}, and {left} of {} uses are left of the benefit {}; the quota is whole again: \
             {whole_again}",
            quota.limit, self.benefit_id
        );
        let refusal = Refusal::new(Reason::BenefitQuotaExhausted, message).with("benefit_id", &self.benefit_id);
        let refusal = refusal.with("left", left).with("limit", quota.limit).with("used", used_in(counts, quota.per));
        let refusal = refusal.with("counted", counted);
        match resets_at {
            Some(resets_at) => refusal.with("resets_at", resets_at),
            None => refusal,
        }
    }
}

impl Command for UseBenefit {
    about_a_customer!(ProgramsState, StandingsState, BenefitsState);

    fn key(&self) -> Option<CommandKey> {
        let content = ("use_benefit", self.benefit_id.as_str(), self.quantity, self.companions, &self.place);
        Some(key_of(&self.key, &content))
    }

    fn ask(&self, asking: &mut Asking<'_>) -> Result<(), Defect> {
        if let Some(account_id) = asking.find(&self.subject.name()) {
            asking.state::<BenefitsState>()?.ask_benefit(account_id, &self.benefit_id);
        }
        Ok(())
    }

    fn decide(&self, decision: &mut Decision<'_>) -> Result<(), DecisionError> {
        let (policy, account) = self.subject.begin(decision)?;
        let (account_id, at) = (account.account_id, account.time_at(decision.at()));
        let (standing, _) = standing_of(decision, account_id)?;
        let program = &policy.program;
        let benefit = find_benefit(program, &standing.tier_id, &self.benefit_id)?;
        if benefit.kind.multiplier().is_some() {
            let message = format!("the book itself applies the benefit {} to each purchase", self.benefit_id);
            return Err(Refusal::new(Reason::BenefitNotUsable, message).with("benefit_id", &self.benefit_id).into());
        }
        let state: &BenefitsState = decision.state()?;
        let present = Present { day: program.day_of(at), tier_period: state.tier_period(account_id) };
        let before = counts_at(state.last_counts(account_id, &self.benefit_id), present);
        let counted = counted_as(benefit, self.quantity, self.companions);
        let resets_at = benefit.quota.and_then(|quota| resets_at(quota, at, &standing, &program.time_zone.0));
        if let Some(quota) = benefit.quota.filter(|quota| counted > left_of(*quota, &before)) {
            return Err(self.refuse(quota, &before, counted, resets_at).into());
        }
        let counts = add_uses(&before, counted);
        let detail = BenefitDetail::BenefitUsed {
            benefit_id: self.benefit_id.clone(),
            tier_id: standing.tier_id.clone(),
            quantity: self.quantity,
            companions: self.companions,
            counted,
            counts,
            left: benefit.quota.map(|quota| left_of(quota, &counts)),
            resets_at,
        };
        let causes = vec![EntryId { account_id, account_seq: standing.giving_seq() }];
        let new_entry = by_caller(detail, EntryReason::BenefitUse, policy.version, causes);
        let entry_id = decision.post(account_id, new_entry)?;
        keep_note(decision, entry_id, &Note { text: self.place.clone(), author: String::new() });
        Ok(())
    }
}

/// Undoes a use of a benefit, whole. The fields are described in benefits.proto.
#[derive(Clone, Debug)]
pub(crate) struct ReverseBenefitUse {
    pub subject: Subject,
    pub use_id: EntryId,
    pub reason: EntryReason,
    pub note: String,
    pub key: IdempotencyKey,
}

impl ReverseBenefitUse {
    /// The entry that undoes the use.
    fn undo(&self, state: &BenefitsState, account: &Account, policy_version: i32) -> Result<NewEntry, Refusal> {
        let (account_id, used) = (account.account_id, self.use_id.account_seq);
        let refuse = |reason, message: String| Refusal::new(reason, message).with("use_id", self.use_id);
        let own = state.get_use(account_id, used).filter(|_| self.use_id.account_id == account_id);
        let Some(own) = own else {
            let message = format!("the customer has no use {} of a benefit", self.use_id);
            return Err(refuse(Reason::BenefitUseNotFound, message));
        };
        if state.is_reversed(account_id, used) {
            return Err(refuse(Reason::EntryAlreadyReversed, format!("the use {} was reversed before", self.use_id)));
        }
        let last = state.last_counts(account_id, &own.benefit_id).unwrap_or(&own.counts);
        let detail = BenefitDetail::BenefitUseReversed {
            used,
            benefit_id: own.benefit_id.clone(),
            counted: own.counted,
            counts: take_off(last, &own.counts, own.counted),
        };
        Ok(by_caller(detail, self.reason, policy_version, vec![self.use_id]))
    }
}

impl Command for ReverseBenefitUse {
    about_a_customer!(ProgramsState, StandingsState, BenefitsState);

    fn key(&self) -> Option<CommandKey> {
        let content = ("reverse_benefit_use", self.use_id.to_string(), self.reason.as_str(), &self.note);
        Some(key_of(&self.key, &content))
    }

    fn ask(&self, asking: &mut Asking<'_>) -> Result<(), Defect> {
        if let Some((account_id, seq)) = self.subject.own(asking, self.use_id) {
            asking.state::<BenefitsState>()?.ask_use(account_id, seq);
        }
        Ok(())
    }

    fn decide(&self, decision: &mut Decision<'_>) -> Result<(), DecisionError> {
        let (policy, account) = self.subject.begin(decision)?;
        let new_entry = self.undo(decision.state()?, account, policy.version)?;
        let entry_id = decision.post(account.account_id, new_entry)?;
        keep_note(decision, entry_id, &Note { text: self.note.clone(), author: String::new() });
        Ok(())
    }
}

fn by_caller(detail: BenefitDetail, reason: EntryReason, policy_version: i32, causes: Vec<EntryId>) -> NewEntry {
    NewEntry { detail: detail.into(), movement: None, actor: Actor::Caller, reason, policy_version, causes }
}
