//! The commands that grant benefits by hand, and that end what was granted.

use jiff::Timestamp;

use super::commands::{by_caller, entitlement_ended, entitlement_not_found};
use super::grants::{MAX_GRANTS, find_grantable};
use super::state::BenefitsState;
use crate::book::{Asking, BenefitDetail, Command, CommandKey, Decision, DecisionError, Defect, EntryReason};
use crate::error::{Reason, Refusal};
use crate::ids::{BenefitId, EntryId, IdempotencyKey, TierId};
use crate::points::grants::model::require_ahead;
use crate::points::state::Note;
use crate::points::subject::{Subject, about_a_customer, keep_note, key_of};
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
pub(super) fn ask_grants_of(asking: &mut Asking<'_>, subject: &Subject) -> Result<(), Defect> {
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
        let (account_id, at) = (account.account_id, account.time_at(decision.at()));
        let (benefit, tier) = find_grantable(&policy.program, &self.benefit_id, self.tier_id.as_ref())?;
        if let Some(until) = self.until {
            require_ahead("until", until, at)?;
        }
        let state: &BenefitsState = decision.state()?;
        if state.grants_in_force(account_id, at).count() >= MAX_GRANTS {
            let message = format!("the customer has {MAX_GRANTS} grants that have neither ended nor been revoked");
            return Err(Refusal::new(Reason::TooManyEntitlements, message).with("maximum", MAX_GRANTS).into());
        }
        let detail = BenefitDetail::EntitlementGranted {
            benefit_id: self.benefit_id.clone(),
            tier_id: tier.map(|tier| tier.tier_id.clone()),
            limit: self.quantity.or_else(|| benefit.quota.map(|quota| quota.limit)),
            counts_companions: benefit.quota.is_some_and(|quota| quota.counts_companions),
            until: self.until,
            package_id: None,
        };
        let entry_id = decision.post(account_id, by_caller(detail, self.reason, policy.version, Vec::new()))?;
        keep_note(decision, entry_id, &self.note);
        Ok(())
    }
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
