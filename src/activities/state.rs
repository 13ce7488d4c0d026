//! The activities that a batch accepted.

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::book::{CustomerDetail, Defect, Detail, Entry, State};
use crate::ids::{AccountId, ActivityId, EntryId};

/// An activity as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ActivityRow {
    /// The entry that accepted it.
    pub entry_id: EntryId,
    /// The business's own name of it.
    pub activity_id: ActivityId,
    /// Of a refund: the entry that accepted its purchase, and the business's own name of that.
    pub purchase: Option<(EntryId, ActivityId)>,
    /// What was spent or given back, in minor units of the program's currency.
    pub amount: i64,
    /// When the customer did it.
    pub happened_at: Timestamp,
    /// When the service accepted it.
    pub recorded_at: Timestamp,
}

/// The activities that a batch accepted. They are a source of record: rows are added, and erased with their customer.
#[derive(Default)]
pub(crate) struct ActivitiesState {
    pub(super) rows: Vec<ActivityRow>,
    /// Accounts whose customers are erased, and with them what they did.
    pub(super) erased: BTreeSet<AccountId>,
}

impl ActivitiesState {
    /// Adds an accepted activity.
    pub(crate) fn add(&mut self, row: ActivityRow) {
        self.rows.push(row);
    }
}

impl State for ActivitiesState {
    /// Only forgets: an activity is a source of record, and the ledger tells only what it counts for.
    fn apply(&mut self, entry: &Entry) -> Result<(), Defect> {
        if let Detail::Customer(CustomerDetail::CustomerErased { .. }) = entry.detail {
            let account_id = entry.id.account_id;
            self.rows.retain(|row| row.entry_id.account_id != account_id);
            self.erased.insert(account_id);
        }
        Ok(())
    }
}
