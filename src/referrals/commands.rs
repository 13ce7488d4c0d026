//! The commands of referrals: making a code, attaching a new customer, converting by hand.

use std::any::TypeId;

use crate::book::{
    Actor, Asking, Command, CommandKey, Decision, DecisionError, Defect, Entry, EntryReason, Key, KeyKind, Name,
    NameUse, NewEntry, ReferralDetail, Told,
};
use crate::customers::commands::{enrol_by_name, require_customer};
use crate::customers::erasure::state::ErasuresState;
use crate::customers::model::{Joining, customer_not_found};
use crate::customers::state::CustomersState;
use crate::error::{Reason, Refusal};
use crate::ids::{CampaignId, CustomerId, IdempotencyKey, ProgramId, ReferralCode};
use crate::lifecycle::follow;
use crate::lifecycle::state::LifecycleState;
use crate::points::state::PointsState;
use crate::programs::commands::current_policy;
use crate::programs::model::{Campaign, Conversion, ProgramVersion, program_not_found};
use crate::programs::state::ProgramsState;
use crate::tiers::state::StandingsState;

use super::model::{
    NamedCode, NamedReferral, ReferralState, code_not_found, convert, is_in_window, qualifies, referral_not_found,
};
use super::purchases::PurchasesState;
use super::state::ReferralsState;

/// Makes the customer's code in a campaign; naturally idempotent.
pub(super) struct CreateReferralCode {
    pub(super) program_id: ProgramId,
    pub(super) customer_id: CustomerId,
    pub(super) campaign_id: CampaignId,
    pub(super) code: ReferralCode,
}

impl Command for CreateReferralCode {
    fn program_id(&self) -> &ProgramId {
        &self.program_id
    }

    fn names(&self) -> Vec<NameUse> {
        vec![
            NameUse::Find(Name::customer(&self.program_id, &self.customer_id)),
            NameUse::Claim(Name::referral_code(&self.program_id, &self.code)),
        ]
    }

    fn key(&self) -> Option<CommandKey> {
        None
    }

    fn states(&self) -> Vec<TypeId> {
        vec![TypeId::of::<ProgramsState>(), TypeId::of::<ReferralsState>()]
    }

    fn ask(&self, asking: &mut Asking<'_>) -> Result<(), Defect> {
        asking.state::<ReferralsState>()?.ask_codes();
        Ok(())
    }

    fn decide(&self, decision: &mut Decision<'_>) -> Result<(), DecisionError> {
        let policy = current_policy(decision, &self.program_id)?;
        let account = require_customer(decision, &self.program_id, &self.customer_id)?;
        let state: &ReferralsState = decision.state()?;
        if state.code(account.account_id, &self.campaign_id).is_some() {
            return Ok(());
        }
        let campaign = policy.program.campaign(&self.campaign_id).ok_or_else(|| {
            Refusal::new(Reason::CampaignNotFound, format!("there is no campaign {}", self.campaign_id))
                .with("campaign_id", &self.campaign_id)
        })?;
        if !campaign.is_active(decision.at()) {
            return Err(not_active(&self.campaign_id).into());
        }
        let name = Name::referral_code(&self.program_id, &self.code);
        if decision.find(&name)?.is_none_or(|owner| owner.account_id != account.account_id) {
            let (program_id, account_id) = (&self.program_id, account.account_id.0);
            let what =
                format!("program {program_id}: a random referral code for account {account_id} was taken already");
            return Err(Defect::new(what).into());
        }
        let new_entry = NewEntry {
            detail: ReferralDetail::ReferralCodeCreated {
                campaign_id: self.campaign_id.clone(),
                code: self.code.clone(),
            }
            .into(),
            movement: None,
            actor: Actor::Caller,
            reason: EntryReason::CodeRequested,
            policy_version: policy.version,
            causes: Vec::new(),
        };
        decision.post(account.account_id, new_entry)?;
        decision.claim_name(name);
        Ok(())
    }

    fn tell(&self, decision: &Decision<'_>, _entries: &[Entry]) -> Result<Option<Told>, DecisionError> {
        // The version in force even if this batch has just put it there, as beside a repetition.
        let current = decision.state::<ProgramsState>()?.current(&self.program_id);
        let policy = &current.ok_or_else(|| program_not_found(&self.program_id))?.policy;
        let account_id = require_customer(decision, &self.program_id, &self.customer_id)?.account_id;
        let code = decision.state::<ReferralsState>()?.code(account_id, &self.campaign_id);
        let code = code.ok_or_else(|| {
            Defect::new(format!(
                "account {} of program {} lacks a code that was just made",
                account_id.0, self.program_id
            ))
        })?;
        Ok(Some(Box::new(NamedCode::new(self.customer_id.clone(), account_id, code.clone(), policy))))
    }
}

/// Attaches a new customer to whoever shared a code. The fields are described in referrals.proto.
#[derive(Clone, Debug)]
pub(crate) struct CreateReferral {
    pub program_id: ProgramId,
    pub referee: CustomerId,
    pub code: ReferralCode,
    pub enrol: bool,
    pub key: IdempotencyKey,
}

impl CreateReferral {
    /// The code's campaign, if it still runs.
    fn require_campaign<'a>(
        &self,
        policy: &'a ProgramVersion,
        campaign_id: &CampaignId,
        decision: &Decision<'_>,
    ) -> Result<&'a Campaign, Refusal> {
        let campaign = policy.program.campaign(campaign_id).ok_or_else(|| not_active(campaign_id))?;
        if let Some(ends_at) = campaign.ends_at.filter(|_| campaign.has_ended(decision.at())) {
            let message = format!("the campaign of referral code {} has ended", self.code);
            let refusal = Refusal::new(Reason::ReferralCodeExpired, message).with("code", &self.code);
            return Err(refusal.with("expired_at", ends_at));
        }
        if campaign.is_active(decision.at()) { Ok(campaign) } else { Err(not_active(campaign_id)) }
    }
}

impl Command for CreateReferral {
    fn program_id(&self) -> &ProgramId {
        &self.program_id
    }

    fn names(&self) -> Vec<NameUse> {
        let referee = Name::customer(&self.program_id, &self.referee);
        vec![
            if self.enrol { NameUse::FindOrOpen(referee) } else { NameUse::Find(referee) },
            NameUse::Find(Name::referral_code(&self.program_id, &self.code)),
        ]
    }

    fn key(&self) -> Option<CommandKey> {
        let content: [&[u8]; 3] = [b"create_referral", self.code.as_str().as_bytes(), &[u8::from(self.enrol)]];
        let key = Key::new("key", self.key.as_str(), &content);
        Some(CommandKey { key, kind: KeyKind::Idempotency })
    }

    fn states(&self) -> Vec<TypeId> {
        vec![
            TypeId::of::<ProgramsState>(),
            TypeId::of::<StandingsState>(),
            TypeId::of::<ReferralsState>(),
            TypeId::of::<CustomersState>(),
            TypeId::of::<ErasuresState>(),
        ]
    }

    fn ask(&self, asking: &mut Asking<'_>) -> Result<(), Defect> {
        let state: &mut ReferralsState = asking.state()?;
        state.ask_codes();
        state.ask_names();
        let referee = asking.find(&Name::customer(&self.program_id, &self.referee));
        let erasures: &mut ErasuresState = asking.state()?;
        erasures.ask(&self.program_id, &self.referee);
        referee.into_iter().for_each(|account_id| erasures.ask_dossier(account_id));
        Ok(())
    }

    fn decide(&self, decision: &mut Decision<'_>) -> Result<(), DecisionError> {
        let policy = current_policy(decision, &self.program_id)?;
        let referrals: &ReferralsState = decision.state()?;
        let referee = decision.find(&Name::customer(&self.program_id, &self.referee))?;
        let referee = referee.ok_or_else(|| customer_not_found(&self.referee))?;
        let refuse = |reason, message: &str| {
            Err(DecisionError::from(Refusal::new(reason, message).with("customer_id", &self.referee)))
        };
        // What is to be said of the referee comes first: so one who cannot be referred learns nothing about codes.
        if referrals.referral(referee.account_id).is_some() {
            return refuse(Reason::AlreadyReferred, "the customer was referred before, once and for all");
        }
        let standings: &StandingsState = decision.state()?;
        if standings.get(referee.account_id).is_some_and(|standing| standing.accepted > 0) {
            return refuse(Reason::NotANewCustomer, "the customer has purchased before");
        }
        let erasures: &ErasuresState = decision.state()?;
        // What this batch writes of dossiers and erasures was not there when they were compared.
        if erasures.has_new() || decision.state::<CustomersState>()?.is_changed(referee.account_id) {
            return Err(DecisionError::NotLoaded);
        }
        let was_erased = !erasures.of(&self.program_id, &self.referee)?.is_empty();
        if was_erased || erasures.is_erased_person(referee.account_id) {
            return refuse(Reason::NotANewCustomer, "the customer was here before, and was erased");
        }
        let referrer = decision.find(&Name::referral_code(&self.program_id, &self.code))?;
        let referrer = referrer.ok_or_else(|| code_not_found(&self.code))?;
        let code = referrals.find_code(referrer.account_id, &self.code).ok_or_else(|| code_not_found(&self.code))?;
        let campaign = self.require_campaign(&policy, &code.campaign_id, decision)?;
        if referee.account_id == referrer.account_id {
            return refuse(Reason::OwnReferralCode, "a customer cannot refer themselves");
        }
        if referee.head == 0 {
            enrol_by_name(decision, &policy, referee, &self.referee, Joining::Now)?;
        }
        let created_at = referee.time_at(decision.at());
        let new_entry = NewEntry {
            detail: ReferralDetail::ReferralCreated {
                campaign_id: campaign.campaign_id.clone(),
                referrer: referrer.account_id,
                expires_at: campaign.expiry_of(created_at, &policy.program.time_zone.0),
            }
            .into(),
            movement: None,
            actor: Actor::Caller,
            reason: EntryReason::Referral,
            policy_version: policy.version,
            causes: vec![crate::ids::EntryId { account_id: referrer.account_id, account_seq: code.account_seq }],
        };
        decision.post(referee.account_id, new_entry)?;
        Ok(())
    }

    fn tell(&self, decision: &Decision<'_>, _entries: &[Entry]) -> Result<Option<Told>, DecisionError> {
        tell_referral(decision, &self.program_id, &self.referee)
    }
}

/// Tells the referral of a referee with its names.
fn tell_referral(
    decision: &Decision<'_>,
    program_id: &ProgramId,
    referee: &CustomerId,
) -> Result<Option<Told>, DecisionError> {
    let account_id = require_customer(decision, program_id, referee)?.account_id;
    let state: &ReferralsState = decision.state()?;
    let referral = state.referral(account_id).ok_or_else(|| referral_not_found(referee))?;
    // Who was enrolled just now has no name in the database yet.
    let named = NamedReferral { referee: Some(referee.clone()), ..state.names().name(referral.clone()) };
    Ok(Some(Box::new(named)))
}

/// Converts a referral by hand, or confirms that it has converted; naturally idempotent.
pub(super) struct ConvertReferral {
    pub(super) program_id: ProgramId,
    pub(super) referee: CustomerId,
}

impl Command for ConvertReferral {
    fn program_id(&self) -> &ProgramId {
        &self.program_id
    }

    fn names(&self) -> Vec<NameUse> {
        vec![NameUse::Find(Name::customer(&self.program_id, &self.referee))]
    }

    fn key(&self) -> Option<CommandKey> {
        None
    }

    fn states(&self) -> Vec<TypeId> {
        vec![
            TypeId::of::<ProgramsState>(),
            TypeId::of::<ReferralsState>(),
            TypeId::of::<PurchasesState>(),
            TypeId::of::<PointsState>(),
            TypeId::of::<StandingsState>(),
            TypeId::of::<LifecycleState>(),
        ]
    }

    fn ask(&self, asking: &mut Asking<'_>) -> Result<(), Defect> {
        let at = asking.at();
        asking.state::<StandingsState>()?.ask_instant(at);
        asking.state::<ReferralsState>()?.ask_names();
        Ok(())
    }

    fn decide(&self, decision: &mut Decision<'_>) -> Result<(), DecisionError> {
        let policy = current_policy(decision, &self.program_id)?;
        let account = require_customer(decision, &self.program_id, &self.referee)?;
        let referral = decision.state::<ReferralsState>()?.referral(account.account_id);
        let referral = referral.ok_or_else(|| referral_not_found(&self.referee))?;
        match referral.state {
            ReferralState::Converted { .. } => return Ok(()),
            ReferralState::Expired { at, .. } => {
                let refusal = Refusal::new(Reason::ReferralExpired, format!("the referral ended at {at}"));
                return Err(refusal.with("customer_id", &self.referee).with("expired_at", at).into());
            }
            ReferralState::Pending => {}
        }
        let campaign = policy.program.campaign(&referral.campaign_id);
        let campaign = campaign.ok_or_else(|| not_active(&referral.campaign_id))?;
        let qualifying = match campaign.conversion {
            Conversion::Manual => None,
            Conversion::FirstPurchase => {
                let purchases = decision.state::<PurchasesState>()?.purchases(account.account_id);
                let first = purchases.iter().find(|purchase| {
                    purchase.id.account_seq > referral.created_seq
                        && qualifies(campaign, purchase.spend)
                        && is_in_window(&policy.program, referral, purchase.happened_at)
                });
                let first = first.ok_or_else(|| {
                    Refusal::new(Reason::NotQualified, "the customer has made no purchase that qualifies")
                        .with("customer_id", &self.referee)
                        .with("minimum_purchase", policy.program.money(campaign.minimum_purchase))
                })?;
                Some(first.id)
            }
        };
        convert(decision, &policy, campaign, referral, qualifying)?;
        follow(decision, &policy)
    }

    fn tell(&self, decision: &Decision<'_>, _entries: &[Entry]) -> Result<Option<Told>, DecisionError> {
        tell_referral(decision, &self.program_id, &self.referee)
    }
}

fn not_active(campaign_id: &CampaignId) -> Refusal {
    Refusal::new(Reason::CampaignNotActive, format!("campaign {campaign_id} does not run"))
        .with("campaign_id", campaign_id)
}
