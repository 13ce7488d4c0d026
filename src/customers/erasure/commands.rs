//! The command that erases a customer, and what it means to those that would enrol one.

use std::any::TypeId;

use serde::Serialize;

use super::state::{ErasedPerson, Erasure, ErasuresState, Settled};
use crate::book::{
    Account, Actor, Asking, Command, CommandKey, CustomerDetail, Decision, DecisionError, Defect, Detail, Entry,
    EntryReason, ErasureReason, Key, KeyKind, Name, NameUse, NewEntry, Pocket, PocketMove, PointsDetail, Told,
};
use crate::customers::model::customer_not_found;
use crate::customers::state::CustomersState;
use crate::error::{Reason, Refusal};
use crate::ids::{CustomerId, IdempotencyKey, ProgramId};
use crate::programs::commands::current_policy;
use crate::programs::state::ProgramsState;

/// What becomes of the points that are available.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Disposal {
    /// They expire.
    Expire,
    /// The business pays them out.
    PayOut,
}

/// Erases a customer. The fields are described in customers.proto.
#[derive(Clone, Debug)]
pub(crate) struct EraseCustomer {
    pub program_id: ProgramId,
    pub customer_id: CustomerId,
    pub reason: ErasureReason,
    pub disposal: Disposal,
    pub key: IdempotencyKey,
}

impl EraseCustomer {
    fn name(&self) -> Name {
        Name::customer(&self.program_id, &self.customer_id)
    }

    /// The key of the request. It stands in the erasure and on no entry: once the name is gone, a repetition finds no
    /// account by it.
    fn own_key(&self) -> Key {
        Key::of_content("key", self.key.as_str(), &("erase_customer", self.disposal, self.reason))
    }

    /// The erasure that the key was used for.
    fn find_by_key(&self, erasures: &[Erasure]) -> Result<Option<Erasure>, Refusal> {
        let key = self.own_key();
        match erasures.iter().find(|erasure| erasure.key.hash == key.hash) {
            Some(erasure) if erasure.key.fingerprint == key.fingerprint => Ok(Some(*erasure)),
            Some(_) => Err(KeyKind::Idempotency.refuse_reuse()),
            None => Ok(None),
        }
    }

    /// The entries by which all points leave the pockets that are the customer's.
    fn forfeit(&self, account: &Account, policy_version: i32) -> (Settled, Vec<NewEntry>) {
        let (pending, available) = (account.balance.pending, account.balance.available);
        let to = match self.disposal {
            Disposal::Expire => Pocket::Expired,
            Disposal::PayOut => Pocket::Redeemed,
        };
        let moves = [(Pocket::Pending, Pocket::Cancelled, pending), (Pocket::Available, to, available)];
        let moves = moves.into_iter().filter(|(.., points)| *points > 0);
        let new_entries = moves.map(|(from, to, points)| NewEntry {
            detail: PointsDetail::PointsForfeited.into(),
            movement: Some(PocketMove { from, to, points }),
            actor: Actor::Caller,
            reason: EntryReason::Erasure,
            policy_version,
            causes: Vec::new(),
        });
        let settled = match self.disposal {
            Disposal::Expire => Settled { expired: available, paid_out: 0, cancelled: pending },
            Disposal::PayOut => Settled { expired: 0, paid_out: available, cancelled: pending },
        };
        (settled, new_entries.collect())
    }
}

impl Command for EraseCustomer {
    fn program_id(&self) -> &ProgramId {
        &self.program_id
    }

    fn names(&self) -> Vec<NameUse> {
        vec![NameUse::Find(self.name())]
    }

    fn key(&self) -> Option<CommandKey> {
        None
    }

    fn states(&self) -> Vec<TypeId> {
        vec![TypeId::of::<ProgramsState>(), TypeId::of::<CustomersState>(), TypeId::of::<ErasuresState>()]
    }

    fn ask(&self, asking: &mut Asking<'_>) -> Result<(), Defect> {
        asking.state::<ErasuresState>()?.ask(&self.program_id, &self.customer_id);
        Ok(())
    }

    fn decide(&self, decision: &mut Decision<'_>) -> Result<(), DecisionError> {
        let policy = current_policy(decision, &self.program_id)?;
        let erasures = decision.state::<ErasuresState>()?.of(&self.program_id, &self.customer_id)?;
        let (is_repeated, was_erased) = (self.find_by_key(erasures)?.is_some(), !erasures.is_empty());
        let Some(account) = decision.find(&self.name())? else {
            if !was_erased {
                return Err(customer_not_found(&self.customer_id).into());
            }
            // A token of theirs may have been used since, which adds a principal.
            let (program_id, customer_id) = (self.program_id.clone(), self.customer_id.clone());
            decision.keep(move |state: &mut ErasuresState| state.clear_again(program_id, customer_id));
            return Ok(());
        };
        if is_repeated {
            return Ok(());
        }
        if account.balance.held > 0 {
            return Err(points_held(account.balance.held).into());
        }
        let row = decision.state::<CustomersState>()?.get(account.account_id);
        let row = row.ok_or_else(|| customer_not_found(&self.customer_id))?;
        let person = ErasedPerson {
            program_id: self.program_id.clone(),
            customer_id: self.customer_id.clone(),
            email: row.dossier.email.clone(),
            phone: row.dossier.phone.clone(),
        };
        let (settled, forfeits) = self.forfeit(account, policy.version);
        let mut causes = Vec::with_capacity(forfeits.len());
        for new_entry in forfeits {
            causes.push(decision.post(account.account_id, new_entry)?);
        }
        let new_entry = NewEntry {
            detail: CustomerDetail::CustomerErased { why: self.reason }.into(),
            movement: None,
            actor: Actor::Caller,
            reason: EntryReason::Erasure,
            policy_version: policy.version,
            causes,
        };
        decision.post(account.account_id, new_entry)?;
        let erased_at = account.time_at(decision.at());
        let erasure = Erasure { account_id: account.account_id, erased_at, key: self.own_key(), settled };
        decision.keep(move |state: &mut ErasuresState| state.add(erasure, person));
        Ok(())
    }

    fn tell(&self, decision: &Decision<'_>, entries: &[Entry]) -> Result<Option<Told>, DecisionError> {
        let erasures = decision.state::<ErasuresState>()?.of(&self.program_id, &self.customer_id)?;
        let erasure = self.find_by_key(erasures)?.or_else(|| erasures.last().copied());
        let erasure = erasure.ok_or_else(|| Defect::new("a customer was erased, and no erasure was kept"))?;
        let is_now =
            entries.iter().any(|entry| matches!(entry.detail, Detail::Customer(CustomerDetail::CustomerErased { .. })));
        Ok(Some(Box::new(ToldErasure { erasure, replayed: !is_now })))
    }
}

/// What the caller of an erasure is told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ToldErasure {
    /// The erasure.
    pub erasure: Erasure,
    /// Whether the customer was erased before.
    pub replayed: bool,
}

/// The refusal to erase a customer whose points are set aside: whoever set them aside would be left with nothing.
fn points_held(held: i64) -> Refusal {
    let message = format!("{held} points are held for spends that are under way; capture or release them first");
    Refusal::new(Reason::PointsHeld, message).with("held", held)
}

/// Asks whether a customer was erased whom a command would enrol.
///
/// # Errors
/// [`Defect`] if the command did not list the state.
pub(crate) fn ask_before_enrolling(
    asking: &mut Asking<'_>,
    program_id: &ProgramId,
    customer_id: &CustomerId,
) -> Result<(), Defect> {
    let account_id = asking.find(&Name::customer(program_id, customer_id));
    if account_id.and_then(|account_id| asking.time_of(account_id)).is_none() {
        asking.state::<ErasuresState>()?.ask(program_id, customer_id);
    }
    Ok(())
}

/// Refuses to enrol a customer who was erased: a message that comes late must not bring them back.
///
/// # Errors
/// A refusal if they were erased; [`Defect`] if the command did not [ask](ask_before_enrolling).
pub(crate) fn refuse_erased(
    decision: &Decision<'_>,
    program_id: &ProgramId,
    customer_id: &CustomerId,
) -> Result<(), DecisionError> {
    let Some(erasure) = decision.state::<ErasuresState>()?.of(program_id, customer_id)?.last() else { return Ok(()) };
    let erased_at = erasure.erased_at;
    let message = format!(
        "customer {customer_id} was erased at {erased_at}; CreateCustomer with `returns` enrols one who comes back"
    );
    let refusal = Refusal::new(Reason::CustomerErased, message);
    Err(refusal.with("customer_id", customer_id).with("erased_at", erased_at).into())
}
