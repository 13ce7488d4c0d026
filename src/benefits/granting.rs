//! The commands that grant benefits by hand, and that end what was granted.

use jiff::Timestamp;

use super::commands::{by_caller, entitlement_ended, entitlement_not_found};
use super::grants::{MAX_GRANTS, find_grantable};
use super::state::BenefitsState;
use crate::book::{Account, Asking, BenefitDetail, Command, CommandKey, Decision, DecisionError, Defect, EntryReason};
use crate::error::{Reason, Refusal};
use crate::ids::{BenefitId, EntryId, IdempotencyKey, TierId};
use crate::points::grants::model::require_ahead;
use crate::points::state::Note;
use crate::points::subject::{Subject, about_a_customer, keep_note, key_of};
use crate::programs::model::ProgramVersion;
use crate::programs::state::ProgramsState;

/// Entitles a customer to a benefit by hand. The fields are described in benefits.proto.
#[derive(Clone, Debug)]
pub(crate) struct GrantEntitlement {
    pub subject: Subject,
    pub benefit_id: BenefitId,
    pub tier_id: Option<TierId>,
    pub quantity: Option<i64>,
    pub until: Option<Timestamp>,
    pub reason: EntryReason,
    pub note: Note,
    pub key: IdempotencyKey,
}

/// Ends an entitlement by hand. The fields are described in benefits.proto.
#[derive(Clone, Debug)]
pub(crate) struct RevokeEntitlement {
    pub subject: Subject,
    pub entitlement_id: EntryId,
    pub reason: EntryReason,
    pub note: Note,
    pub key: IdempotencyKey,
}

/// Asks for all grants of a customer that are in force.
///
/// # Errors
/// [`Defect`] if the command does not list the state of benefits.
pub(crate) fn ask_grants_of(asking: &mut Asking<'_>, subject: &Subject) -> Result<(), Defect> {
    if let Some(account_id) = asking.find(&subject.name()) {
        let at = asking.time_of(account_id).unwrap_or_else(|| asking.at());
        asking.state::<BenefitsState>()?.ask_grants(account_id, at);
    }
    Ok(())
}

impl Command for GrantEntitlement {
    about_a_customer!(ProgramsState, BenefitsState);

    fn key(&self) -> Option<CommandKey> {
        let said = (self.reason.as_str(), &self.note.text, &self.note.author);
        let until = self.until.map(Timestamp::as_microsecond);
        Some(key_of(&self.key, &("grant_entitlement", &self.benefit_id, &self.tier_id, self.quantity, until, said)))
    }

    fn ask(&self, asking: &mut Asking<'_>) -> Result<(), Defect> {
        ask_grants_of(asking, &self.subject)
    }

    fn decide(&self, decision: &mut Decision<'_>) -> Result<(), DecisionError> {
        let (policy, account) = self.subject.begin(decision)?;
        let new = NewEntitlement {
            benefit_id: &self.benefit_id,
            tier_id: self.tier_id.as_ref(),
            quantity: self.quantity,
            until: self.until,
        };
        let entry_id = entitle(decision, &policy, account, new, self.reason, Vec::new())?;
        keep_note(decision, entry_id, &self.note);
        Ok(())
    }
}

/// What a customer is to be entitled to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewEntitlement<'a> {
    pub benefit_id: &'a BenefitId,
    /// The tier whose benefit it is; if absent, one of the extras, or else that of the lowest tier that gives it.
    pub tier_id: Option<&'a TierId>,
    /// How often it may be used; if absent, as often as the benefit's own quota says.
    pub quantity: Option<i64>,
    pub until: Option<Timestamp>,
}

/// Entitles a customer to a benefit, of whom all grants were [asked for](ask_grants_of).
///
/// # Errors
/// A refusal if there is no such benefit, its end does not lie ahead, or the customer has too many.
pub(crate) fn entitle(
    decision: &mut Decision<'_>,
    policy: &ProgramVersion,
    account: &Account,
    new: NewEntitlement<'_>,
    reason: EntryReason,
    causes: Vec<EntryId>,
) -> Result<EntryId, DecisionError> {
    let (account_id, at) = (account.account_id, account.time_at(decision.at()));
    let (benefit, tier) = find_grantable(&policy.program, new.benefit_id, new.tier_id)?;
    if let Some(until) = new.until {
        require_ahead("until", until, at)?;
    }
    let state: &BenefitsState = decision.state()?;
    if state.grants_in_force(account_id, at).count() >= MAX_GRANTS {
        let message = format!("the customer has {MAX_GRANTS} grants that have neither ended nor been revoked");
        return Err(Refusal::new(Reason::TooManyEntitlements, message).with("maximum", MAX_GRANTS).into());
    }
    let detail = BenefitDetail::EntitlementGranted {
        benefit_id: new.benefit_id.clone(),
        tier_id: tier.map(|tier| tier.tier_id.clone()),
        limit: new.quantity.or_else(|| benefit.quota.map(|quota| quota.limit)),
        counts_companions: benefit.quota.is_some_and(|quota| quota.counts_companions),
        until: new.until,
        package_id: None,
    };
    decision.post(account_id, by_caller(detail, reason, policy.version, causes))
}

impl Command for RevokeEntitlement {
    about_a_customer!(ProgramsState, BenefitsState);

    fn key(&self) -> Option<CommandKey> {
        let said = (self.reason.as_str(), &self.note.text, &self.note.author);
        Some(key_of(&self.key, &("revoke_entitlement", self.entitlement_id.to_string(), said)))
    }

    fn ask(&self, asking: &mut Asking<'_>) -> Result<(), Defect> {
        if let Some((account_id, granted)) = self.subject.own(asking, self.entitlement_id) {
            asking.state::<BenefitsState>()?.ask_grant(account_id, granted);
        }
        Ok(())
    }

    fn decide(&self, decision: &mut Decision<'_>) -> Result<(), DecisionError> {
        let (policy, account) = self.subject.begin(decision)?;
        let (account_id, at) = (account.account_id, account.time_at(decision.at()));
        let state: &BenefitsState = decision.state()?;
        let granted = self.entitlement_id.account_seq;
        let grant = state.get_grant(account_id, granted).filter(|_| self.entitlement_id.account_id == account_id);
        let grant = grant.ok_or_else(|| entitlement_not_found(self.entitlement_id))?;
        if let Some(ended_at) = grant.ended_by(at) {
            return Err(entitlement_ended(self.entitlement_id, ended_at).into());
        }
        let detail = BenefitDetail::EntitlementRevoked { granted, benefit_id: grant.benefit_id.clone() };
        let new_entry = by_caller(detail, self.reason, policy.version, vec![self.entitlement_id]);
        let entry_id = decision.post(account_id, new_entry)?;
        keep_note(decision, entry_id, &self.note);
        Ok(())
    }
}
