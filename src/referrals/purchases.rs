//! The purchases of a referee, looked at again where a referral is converted by hand.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::book::{ActivityDetail, Defect, Detail, Entry, State};
use crate::ids::{AccountId, EntryId};

/// A purchase as the ledger tells it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RefereePurchase {
    /// The entry that accepted it.
    pub id: EntryId,
    /// Money spent, in minor units.
    pub spend: i64,
    /// When the customer made it.
    pub happened_at: Timestamp,
}

/// The purchases of accounts since they were referred, in the order they were accepted: only for converting by hand.
#[derive(Default)]
pub(crate) struct PurchasesState(BTreeMap<AccountId, Vec<RefereePurchase>>);

impl PurchasesState {
    /// An account's purchases, in the order they were accepted.
    #[must_use]
    pub(crate) fn purchases(&self, account_id: AccountId) -> &[RefereePurchase] {
        self.0.get(&account_id).map_or(&[], Vec::as_slice)
    }

    /// Adds the purchase that an entry accepted, if it did.
    pub(super) fn add(&mut self, entry: &Entry) {
        match entry.detail {
            Detail::Activity(ActivityDetail::ActivityAccepted { spend, happened_at, .. }) => {
                let purchase = RefereePurchase { id: entry.id, spend, happened_at };
                self.0.entry(entry.id.account_id).or_default().push(purchase);
            }
            // A refund takes no purchase off the list.
            Detail::Activity(ActivityDetail::RefundAccepted { .. } | ActivityDetail::FeedbackAccepted { .. })
            | Detail::Program(_)
            | Detail::Customer(_)
            | Detail::Points(_)
            | Detail::Tier(_)
            | Detail::Benefit(_)
            | Detail::Referral(_)
            | Detail::Complaint(_)
            | Detail::Goodwill(_)
            | Detail::Lifecycle(_)
            | Detail::Value(_) => {}
        }
    }
}

impl State for PurchasesState {
    fn apply(&mut self, entry: &Entry) -> Result<(), Defect> {
        self.add(entry);
        Ok(())
    }
}
