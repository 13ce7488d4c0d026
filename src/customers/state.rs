//! The dossiers of a batch, and the consents that go with them.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::model::{Dossier, MarketingConsent, current_consents};
use crate::book::{CustomerDetail, Defect, Detail, Entry, State};
use crate::ids::{AccountId, CustomerId, ProgramId};

/// A customer's dossier as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CustomerRow {
    /// The account on the ledger.
    pub account_id: AccountId,
    /// The program that the customer belongs to.
    pub program_id: ProgramId,
    /// The business's own name of the customer.
    pub customer_id: CustomerId,
    /// Who they are and how to reach them.
    pub dossier: Dossier,
    /// The JSON that is stored of it, with what this version does not know; null for one that is not stored yet.
    pub stored: serde_json::Value,
    /// Counts changes; the etag.
    pub revision: i64,
    /// When they were enrolled.
    pub created_at: Timestamp,
    /// When the dossier changed last.
    pub updated_at: Timestamp,
}

impl CustomerRow {
    /// About how many bytes it takes in a page, with some consents.
    #[must_use]
    pub(crate) fn bytes(&self) -> usize {
        1_000 + serde_json::to_vec(&self.dossier).map_or(0, |dossier| dossier.len())
    }
}

/// A dossier with everything recorded about contact.
#[derive(Clone, Debug)]
pub(crate) struct Customer {
    /// The dossier, as it is stored.
    pub row: CustomerRow,
    /// The consents that hold, and perhaps others before them, in the order recorded.
    pub consents: Vec<MarketingConsent>,
}

/// Dossiers and consents of a batch: sources of record, which no entry changes.
#[derive(Default)]
pub(crate) struct CustomersState {
    pub(super) rows: BTreeMap<AccountId, CustomerRow>,
    /// Consents of which commands must know whether they were recorded before, and those that were.
    pub(super) asked: Vec<(AccountId, MarketingConsent)>,
    pub(super) recorded: BTreeMap<AccountId, Vec<MarketingConsent>>,
    /// The consents that hold, of accounts whose commands tell them; those that this batch adds stand last.
    pub(super) current: BTreeMap<AccountId, Vec<MarketingConsent>>,
    pub(super) changed: BTreeSet<AccountId>,
    pub(super) new_consents: Vec<(AccountId, i64, MarketingConsent)>,
    /// Accounts whose customers are erased.
    pub(super) erased: BTreeSet<AccountId>,
    /// Accounts of which no consent may stay that was recorded before.
    pub(super) without_consents: BTreeSet<AccountId>,
}

impl CustomersState {
    /// An account's dossier, if it was loaded and has one.
    #[must_use]
    pub(crate) fn get(&self, account_id: AccountId) -> Option<&CustomerRow> {
        self.rows.get(&account_id)
    }

    /// Whether this batch writes the account's dossier.
    #[must_use]
    pub(crate) fn is_changed(&self, account_id: AccountId) -> bool {
        self.changed.contains(&account_id)
    }

    /// Asks whether consents were recorded before.
    pub(crate) fn ask_consents(&mut self, account_id: AccountId, consents: &[MarketingConsent]) {
        self.asked.extend(consents.iter().map(|consent| (account_id, consent.clone())));
    }

    /// Whether a consent was recorded before, of those that were [asked for](Self::ask_consents).
    #[must_use]
    pub(crate) fn is_recorded(&self, account_id: AccountId, consent: &MarketingConsent) -> bool {
        self.recorded.get(&account_id).is_some_and(|recorded| recorded.contains(consent))
    }

    /// Asks for the consents of an account that hold.
    pub(crate) fn ask_current(&mut self, account_id: AccountId) {
        self.current.entry(account_id).or_default();
    }

    /// The consents that hold, of an account that was [asked for](Self::ask_current).
    #[must_use]
    pub(crate) fn current(&self, account_id: AccountId) -> Vec<MarketingConsent> {
        self.current.get(&account_id).map(|consents| current_consents(consents)).unwrap_or_default()
    }

    /// Keeps a new or changed dossier, with the consents that this revision adds.
    pub(crate) fn put(&mut self, row: CustomerRow, consents: Vec<MarketingConsent>) {
        let account_id = row.account_id;
        for consent in consents {
            self.recorded.entry(account_id).or_default().push(consent.clone());
            if let Some(current) = self.current.get_mut(&account_id) {
                current.push(consent.clone());
            }
            self.new_consents.push((account_id, row.revision, consent));
        }
        self.changed.insert(account_id);
        self.rows.insert(account_id, row);
    }
}

impl State for CustomersState {
    /// Only forgets: a dossier is a source of record, and the ledger tells only its revision.
    fn apply(&mut self, entry: &Entry) -> Result<(), Defect> {
        let account_id = entry.id.account_id;
        if let Detail::Customer(CustomerDetail::CustomerErased { .. }) = entry.detail {
            self.rows.remove(&account_id);
            self.changed.remove(&account_id);
            self.erased.insert(account_id);
        }
        if let Detail::Customer(CustomerDetail::CustomerErased { .. } | CustomerDetail::DossierErased { .. }) =
            entry.detail
        {
            self.new_consents.retain(|(of, ..)| *of != account_id);
            self.recorded.remove(&account_id);
            // Commands behind this one in the batch may still tell what they add.
            self.current.entry(account_id).and_modify(Vec::clear);
            self.without_consents.insert(account_id);
        }
        Ok(())
    }
}
