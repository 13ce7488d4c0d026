//! The erasures of a batch: those that it looks up by whom they were of, and those that it makes.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::book::{Defect, Entry, Key, State};
use crate::ids::{AccountId, CustomerId, ProgramId};

/// An erasure, as it is kept: it does not say whose it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Erasure {
    /// The account of who was erased.
    pub account_id: AccountId,
    /// When.
    pub erased_at: Timestamp,
    /// The idempotency key of the request, and its content, both hashed.
    pub key: Key,
    /// What became of the points.
    pub settled: Settled,
}

/// What became of the points of a customer who was erased.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Settled {
    /// How many expired.
    pub expired: i64,
    /// How many were paid out.
    pub paid_out: i64,
    /// How many were pending, and are cancelled.
    pub cancelled: i64,
}

/// Who is erased: all by which they may be known again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ErasedPerson {
    pub program_id: ProgramId,
    pub customer_id: CustomerId,
    /// Empty if it was unknown.
    pub email: String,
    /// Empty if it was unknown.
    pub phone: String,
}

/// The erasures of a batch.
#[derive(Debug, Default)]
pub(crate) struct ErasuresState {
    /// Customers of whom commands must know whether they were erased.
    pub(in crate::customers) asked: BTreeSet<(ProgramId, CustomerId)>,
    /// Accounts of whose dossiers commands must know whether they tell somebody who was erased.
    pub(in crate::customers) asked_dossiers: BTreeSet<AccountId>,
    /// The erasures of those customers, the newest last.
    pub(in crate::customers) found: BTreeMap<(ProgramId, CustomerId), Vec<Erasure>>,
    /// Those of the accounts whose dossiers do.
    pub(in crate::customers) found_dossiers: BTreeSet<AccountId>,
    pub(in crate::customers) new: Vec<(Erasure, ErasedPerson)>,
    /// Customers who were erased before, and of whom a token of theirs may have left something since.
    pub(in crate::customers) again: Vec<(ProgramId, CustomerId)>,
}

impl ErasuresState {
    /// Asks whether a customer was erased.
    pub(crate) fn ask(&mut self, program_id: &ProgramId, customer_id: &CustomerId) {
        self.asked.insert((program_id.clone(), customer_id.clone()));
    }

    /// Asks whether a dossier tells the e-mail address or phone number of somebody who was erased.
    pub(crate) fn ask_dossier(&mut self, account_id: AccountId) {
        self.asked_dossiers.insert(account_id);
    }

    /// The erasures of a customer, the newest last.
    ///
    /// # Errors
    /// [`Defect`] if nobody asked for them.
    pub(crate) fn of(&self, program_id: &ProgramId, customer_id: &CustomerId) -> Result<&[Erasure], Defect> {
        let name = (program_id.clone(), customer_id.clone());
        if !self.asked.contains(&name) {
            return Err(Defect::new("a command looks for erasures that it did not ask for"));
        }
        Ok(self.found.get(&name).map_or(&[], Vec::as_slice))
    }

    /// Whether a dossier that was [asked for](Self::ask_dossier) tells somebody who was erased.
    #[must_use]
    pub(crate) fn is_erased_person(&self, account_id: AccountId) -> bool {
        self.found_dossiers.contains(&account_id)
    }

    /// Whether this batch erases anyone.
    #[must_use]
    pub(crate) fn has_new(&self) -> bool {
        !self.new.is_empty()
    }

    /// Keeps an erasure, and by what the person may be known again.
    pub(super) fn add(&mut self, erasure: Erasure, person: ErasedPerson) {
        let name = (person.program_id.clone(), person.customer_id.clone());
        self.found.entry(name).or_default().push(erasure);
        self.new.push((erasure, person));
    }

    /// Removes what a token has left of a customer who was erased before.
    pub(super) fn clear_again(&mut self, program_id: ProgramId, customer_id: CustomerId) {
        self.again.push((program_id, customer_id));
    }
}

impl State for ErasuresState {
    /// Nothing: an erasure is a source of record, which no entry may tell.
    fn apply(&mut self, _entry: &Entry) -> Result<(), Defect> {
        Ok(())
    }
}
