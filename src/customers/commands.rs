//! The commands of customers: enrolling one, and changing parts of a dossier.

use std::any::TypeId;

use jiff::Timestamp;

use super::erasure::commands::{ask_before_enrolling, refuse_erased};
use super::erasure::state::ErasuresState;
use super::model::{Dossier, Joining, MarketingConsent, Part, customer_not_found, enrol};
use super::state::{Customer, CustomerRow, CustomersState};
use crate::book::{
    Account, Actor, Asking, Command, CommandKey, CustomerDetail, Decision, DecisionError, Defect, Entry, EntryReason,
    Key, KeyKind, Name, NameUse, NewEntry, Told,
};
use crate::clock::is_in_future;
use crate::error::{Reason, Refusal};
use crate::ids::{CustomerId, IdempotencyKey, ProgramId};
use crate::programs::commands::current_policy;
use crate::programs::model::ProgramVersion;
use crate::programs::state::ProgramsState;

/// The locked account of a customer who exists, for decisions.
///
/// # Errors
/// A refusal if the customer does not exist.
pub(crate) fn require_customer<'a>(
    decision: &Decision<'a>,
    program_id: &ProgramId,
    customer_id: &CustomerId,
) -> Result<&'a Account, DecisionError> {
    let account = decision.find(&Name::customer(program_id, customer_id))?;
    Ok(account.ok_or_else(|| customer_not_found(customer_id))?)
}

/// Enrols a customer of whom nothing but the name is known yet.
///
/// # Errors
/// A refusal if they were erased, else [`DecisionError`] as [`enrol`].
pub(crate) fn enrol_by_name(
    decision: &mut Decision<'_>,
    policy: &ProgramVersion,
    account: &Account,
    customer_id: &CustomerId,
    joining: Joining,
) -> Result<(), DecisionError> {
    refuse_erased(decision, &policy.program.program_id, customer_id)?;
    enrol(decision, policy, account, joining)?;
    keep_dossier(decision, account, customer_id, Dossier::default(), Vec::new());
    Ok(())
}

fn keep_dossier(
    decision: &mut Decision<'_>,
    account: &Account,
    customer_id: &CustomerId,
    dossier: Dossier,
    consents: Vec<MarketingConsent>,
) {
    let created_at = account.time_at(decision.at());
    let row = CustomerRow {
        account_id: account.account_id,
        program_id: account.program_id.clone(),
        customer_id: customer_id.clone(),
        dossier,
        stored: serde_json::Value::Null,
        revision: 1,
        created_at,
        updated_at: created_at,
    };
    decision.keep(move |state: &mut CustomersState| state.put(row, consents));
}

/// Enrols a customer with a dossier. The fields are described in customers.proto.
#[derive(Clone, Debug)]
pub(crate) struct CreateCustomer {
    pub program_id: ProgramId,
    pub customer_id: CustomerId,
    pub dossier: Dossier,
    pub consents: Vec<MarketingConsent>,
    /// Whether a customer who was erased comes back.
    pub returns: bool,
    pub key: IdempotencyKey,
}

impl Command for CreateCustomer {
    fn program_id(&self) -> &ProgramId {
        &self.program_id
    }

    fn names(&self) -> Vec<NameUse> {
        vec![NameUse::FindOrOpen(Name::customer(&self.program_id, &self.customer_id))]
    }

    fn key(&self) -> Option<CommandKey> {
        let content = ("create_customer", &self.dossier, &self.consents, self.returns);
        let key = Key::of_content("key", self.key.as_str(), &content);
        Some(CommandKey { key, kind: KeyKind::Idempotency })
    }

    fn states(&self) -> Vec<TypeId> {
        vec![TypeId::of::<ProgramsState>(), TypeId::of::<ErasuresState>()]
    }

    fn ask(&self, asking: &mut Asking<'_>) -> Result<(), Defect> {
        ask_before_enrolling(asking, &self.program_id, &self.customer_id)
    }

    fn decide(&self, decision: &mut Decision<'_>) -> Result<(), DecisionError> {
        let policy = current_policy(decision, &self.program_id)?;
        let account =
            decision.find(&Name::customer(&self.program_id, &self.customer_id))?.ok_or(DecisionError::NotLoaded)?;
        if account.head > 0 {
            let message = format!("customer {} exists already", self.customer_id);
            let refusal = Refusal::new(Reason::CustomerAlreadyExists, message);
            return Err(refusal.with("customer_id", &self.customer_id).into());
        }
        refuse_future_consents(&self.consents, decision.now())?;
        if !self.returns {
            refuse_erased(decision, &self.program_id, &self.customer_id)?;
        }
        enrol(decision, &policy, account, Joining::Now)?;
        keep_dossier(decision, account, &self.customer_id, self.dossier.clone(), self.consents.clone());
        Ok(())
    }
}

/// Changes parts of a dossier; naturally idempotent. The fields are described in customers.proto.
#[derive(Clone, Debug)]
pub(crate) struct UpdateCustomer {
    pub program_id: ProgramId,
    pub customer_id: CustomerId,
    pub dossier: Dossier,
    pub consents: Vec<MarketingConsent>,
    pub parts: Vec<Part>,
    /// The revision that the caller read, if it insists on it.
    pub revision: Option<i64>,
}

impl UpdateCustomer {
    /// The consents that it would add.
    fn asked_consents(&self) -> &[MarketingConsent] {
        if self.parts.contains(&Part::MarketingConsents) { &self.consents } else { &[] }
    }
}

impl Command for UpdateCustomer {
    fn program_id(&self) -> &ProgramId {
        &self.program_id
    }

    fn names(&self) -> Vec<NameUse> {
        vec![NameUse::Find(Name::customer(&self.program_id, &self.customer_id))]
    }

    fn key(&self) -> Option<CommandKey> {
        None
    }

    fn states(&self) -> Vec<TypeId> {
        vec![TypeId::of::<ProgramsState>(), TypeId::of::<CustomersState>()]
    }

    fn ask(&self, asking: &mut Asking<'_>) -> Result<(), Defect> {
        if let Some(account_id) = asking.find(&Name::customer(&self.program_id, &self.customer_id)) {
            let state: &mut CustomersState = asking.state()?;
            state.ask_consents(account_id, self.asked_consents());
            state.ask_current(account_id);
        }
        Ok(())
    }

    fn decide(&self, decision: &mut Decision<'_>) -> Result<(), DecisionError> {
        let policy = current_policy(decision, &self.program_id)?;
        let account = require_customer(decision, &self.program_id, &self.customer_id)?;
        let state: &CustomersState = decision.state()?;
        let row = state.get(account.account_id).ok_or_else(|| customer_not_found(&self.customer_id))?;
        if self.revision.is_some_and(|revision| revision != row.revision) {
            let refusal = Refusal::new(Reason::EtagMismatch, "the dossier changed since its etag was read");
            return Err(refusal.with("etag", row.revision).into());
        }
        refuse_future_consents(&self.consents, decision.now())?;
        let is_new = |consent: &&MarketingConsent| !state.is_recorded(account.account_id, consent);
        let new_consents: Vec<MarketingConsent> = self.asked_consents().iter().filter(is_new).cloned().collect();
        let mut changed = row.clone();
        changed.dossier.replace_parts(&self.dossier, &self.parts);
        if changed.dossier == row.dossier && new_consents.is_empty() {
            return Ok(());
        }
        changed.revision = row.revision.saturating_add(1);
        changed.updated_at = decision.at().max(row.updated_at);
        let new_entry = NewEntry {
            detail: CustomerDetail::DossierUpdated { revision: changed.revision }.into(),
            movement: None,
            actor: Actor::Caller,
            reason: EntryReason::DossierUpdate,
            policy_version: policy.version,
            causes: Vec::new(),
        };
        decision.post(account.account_id, new_entry)?;
        decision.keep(move |state: &mut CustomersState| state.put(changed, new_consents));
        Ok(())
    }

    fn tell(&self, decision: &Decision<'_>, _entries: &[Entry]) -> Result<Option<Told>, DecisionError> {
        let account = require_customer(decision, &self.program_id, &self.customer_id)?;
        let state: &CustomersState = decision.state()?;
        let row = state.get(account.account_id).ok_or_else(|| customer_not_found(&self.customer_id))?;
        Ok(Some(Box::new(Customer { row: row.clone(), consents: state.current(account.account_id) })))
    }
}

/// Refuses a consent that is dated after the present.
fn refuse_future_consents(consents: &[MarketingConsent], now: Timestamp) -> Result<(), Refusal> {
    match consents.iter().find(|consent| is_in_future(consent.decided_at, now)) {
        Some(consent) => Err(Refusal::new(Reason::InstantInFuture, "a consent was decided in the future")
            .with("decided_at", consent.decided_at)),
        None => Ok(()),
    }
}
