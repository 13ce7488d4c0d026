//! The commands of uses: using a benefit by whichever right, and undoing a use.

use jiff::Timestamp;

use super::model::{Present, add_uses, find_benefit, refuse_unentitled, resets_at, take_off};
use super::rights::{BY_TIER, Chosen, Right, choose};
use super::state::BenefitsState;
use crate::book::{
    Account, Actor, Asking, BenefitDetail, Command, CommandKey, Decision, DecisionError, Defect, EntryReason, NewEntry,
};
use crate::error::{Reason, Refusal};
use crate::ids::{AccountId, BenefitId, EntryId, IdempotencyKey};
use crate::points::state::Note;
use crate::points::subject::{Subject, about_a_customer, keep_note, key_of};
use crate::programs::model::Program;
use crate::programs::state::ProgramsState;
use crate::tiers::model::standing_of;
use crate::tiers::overriding::valid_until;
use crate::tiers::standing::Standing;
use crate::tiers::state::StandingsState;

/// Uses a benefit. The fields are described in benefits.proto.
#[derive(Clone, Debug)]
pub(crate) struct UseBenefit {
    pub subject: Subject,
    pub benefit_id: BenefitId,
    pub entitlement_id: Option<EntryId>,
    pub quantity: i64,
    pub companions: i64,
    pub place: String,
    pub key: IdempotencyKey,
}

impl UseBenefit {
    /// The rights that the customer has to the benefit, or the one that is named.
    fn find_rights(
        &self,
        state: &BenefitsState,
        program: &Program,
        standing: &Standing,
        account: &Account,
        at: Timestamp,
    ) -> Result<Vec<Right>, Refusal> {
        let account_id = account.account_id;
        let present = Present { day: program.day_of(at), tier_period: state.tier_period(account_id) };
        let of_grant = |granted, grant| {
            Right::of_grant(granted, grant, state.last_counts(account_id, &self.benefit_id, granted), present)
        };
        if let Some(entitlement_id) = self.entitlement_id {
            let own = Some(entitlement_id).filter(|entitlement_id| entitlement_id.account_id == account_id);
            let grant = own.and_then(|own| state.get_grant(account_id, own.account_seq));
            let grant = grant.filter(|grant| grant.benefit_id == self.benefit_id);
            let grant = grant.ok_or_else(|| entitlement_not_found(entitlement_id))?;
            return match grant.ended_by(at) {
                Some(ended_at) => Err(entitlement_ended(entitlement_id, ended_at)),
                None => Ok(vec![of_grant(entitlement_id.account_seq, grant)]),
            };
        }
        let in_force = state.grants_in_force(account_id, at);
        let granted = in_force.filter(|(_, grant)| grant.benefit_id == self.benefit_id);
        let mut rights: Vec<Right> = granted.map(|(granted, grant)| of_grant(granted, grant)).collect();
        if let Some(benefit) = find_benefit(program, &standing.tier_id, &self.benefit_id) {
            let is_applied = benefit.kind.multiplier().is_some();
            if is_applied && rights.is_empty() {
                let message = format!("the book itself applies the benefit {} to each purchase", self.benefit_id);
                return Err(Refusal::new(Reason::BenefitNotUsable, message).with("benefit_id", &self.benefit_id));
            }
            if !is_applied {
                let last = state.last_counts(account_id, &self.benefit_id, BY_TIER);
                let resets_at = benefit.quota.and_then(|quota| resets_at(quota, at, standing, &program.time_zone.0));
                rights.push(Right::of_tier(benefit, last, present, (resets_at, valid_until(standing))));
            }
        }
        Ok(rights)
    }

    /// The refusal of more uses than are left of any right, by the one that has most left, and what the tier gives.
    fn refuse(&self, right: &Right, by_tier: Option<&Right>, account_id: AccountId) -> Refusal {
        let counted = right.count(self.quantity, self.companions);
        let (left, limit) = (right.left.unwrap_or_default(), right.limit.unwrap_or_default());
        let resets_at = by_tier.and_then(|by_tier| by_tier.resets_at);
        let whole_again = match resets_at {
            Some(at) => format!("the quota is whole again: at {at}"),
            None if by_tier.is_some() => "the quota is whole again: it is not known when".to_owned(),
            None => "a grant is never whole again".to_owned(),
        };
        let grant = Some(EntryId { account_id, account_seq: right.granted }).filter(|_| right.granted != BY_TIER);
        let of_grant = grant.map(|grant| format!(" by the grant {grant}")).unwrap_or_default();
        let message = format!(
            "the use counts as {counted}, and {left} of {limit} uses are left of the benefit {}{of_grant}; {whole_again}",
            self.benefit_id
        );
        let refusal = Refusal::new(Reason::BenefitQuotaExhausted, message).with("benefit_id", &self.benefit_id);
        let refusal = refusal.with("left", left).with("limit", limit).with("used", right.used).with("counted", counted);
        let refusal = match grant {
            Some(grant) => refusal.with("entitlement_id", grant),
            None => refusal,
        };
        match resets_at {
            Some(resets_at) => refusal.with("resets_at", resets_at),
            None => refusal,
        }
    }
}

/// The refusal of an entitlement that the customer was never granted.
pub(super) fn entitlement_not_found(entitlement_id: EntryId) -> Refusal {
    let message = format!("the customer was granted no such entitlement {entitlement_id}");
    Refusal::new(Reason::EntitlementNotFound, message).with("entitlement_id", entitlement_id)
}

/// The refusal of an entitlement that is over.
pub(super) fn entitlement_ended(entitlement_id: EntryId, ended_at: Timestamp) -> Refusal {
    let message = format!("the entitlement {entitlement_id} ended at {ended_at}");
    let refusal = Refusal::new(Reason::EntitlementEnded, message).with("entitlement_id", entitlement_id);
    refusal.with("ended_at", ended_at)
}

impl Command for UseBenefit {
    about_a_customer!(ProgramsState, StandingsState, BenefitsState);

    fn key(&self) -> Option<CommandKey> {
        let content = ("use_benefit", self.benefit_id.as_str(), self.quantity, self.companions, &self.place);
        Some(match self.entitlement_id {
            Some(entitlement_id) => key_of(&self.key, &(content, entitlement_id.to_string())),
            None => key_of(&self.key, &content),
        })
    }

    fn ask(&self, asking: &mut Asking<'_>) -> Result<(), Defect> {
        let Some(account_id) = asking.find(&self.subject.name()) else { return Ok(()) };
        let at = asking.time_of(account_id).unwrap_or_else(|| asking.at());
        let own = self.entitlement_id.and_then(|entitlement_id| self.subject.own(asking, entitlement_id));
        let state = asking.state::<BenefitsState>()?;
        state.ask_benefit(account_id, &self.benefit_id, at);
        if let Some((account_id, granted)) = own {
            state.ask_grant(account_id, granted);
        }
        Ok(())
    }

    fn decide(&self, decision: &mut Decision<'_>) -> Result<(), DecisionError> {
        let (policy, account) = self.subject.begin(decision)?;
        let (account_id, at) = (account.account_id, account.time_at(decision.at()));
        let (standing, _) = standing_of(decision, account_id)?;
        let rights = self.find_rights(decision.state()?, &policy.program, &standing, account, at)?;
        let by_tier = rights.iter().find(|right| right.granted == BY_TIER).cloned();
        let right = match choose(rights, self.quantity, self.companions) {
            Chosen::From(right) => right,
            Chosen::Short(short) => return Err(self.refuse(&short, by_tier.as_ref(), account_id).into()),
            Chosen::Nothing => {
                return Err(refuse_unentitled(&policy.program, &standing.tier_id, &self.benefit_id).into());
            }
        };
        let counted = right.count(self.quantity, self.companions);
        let granted = Some(right.granted).filter(|granted| *granted != BY_TIER);
        let detail = BenefitDetail::BenefitUsed {
            benefit_id: self.benefit_id.clone(),
            tier_id: if granted.is_none() { Some(standing.tier_id.clone()) } else { None },
            granted,
            quantity: self.quantity,
            companions: self.companions,
            counted,
            counts: add_uses(&right.counts, counted),
            left: right.left.map(|left| left.saturating_sub(counted)),
            resets_at: right.resets_at,
        };
        let cause = EntryId { account_id, account_seq: granted.unwrap_or_else(|| standing.giving_seq()) };
        let new_entry = by_caller(detail, EntryReason::BenefitUse, policy.version, vec![cause]);
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
        let last = state.last_counts(account_id, &own.benefit_id, own.granted).unwrap_or(&own.counts);
        let detail = BenefitDetail::BenefitUseReversed {
            used,
            benefit_id: own.benefit_id.clone(),
            granted: Some(own.granted).filter(|granted| *granted != BY_TIER),
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

/// The entry of something that a caller does about a benefit.
pub(super) fn by_caller(
    detail: BenefitDetail,
    reason: EntryReason,
    policy_version: i32,
    causes: Vec<EntryId>,
) -> NewEntry {
    NewEntry { detail: detail.into(), movement: None, actor: Actor::Caller, reason, policy_version, causes }
}
