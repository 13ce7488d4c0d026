//! The activities that a batch accepted.

use jiff::Timestamp;

use crate::book::{Defect, Entry, State};
use crate::ids::{ActivityId, EntryId};

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

/// The activities that a batch accepted. They are a source of record, to which rows are only added.
#[derive(Default)]
pub(crate) struct ActivitiesState(pub(super) Vec<ActivityRow>);

impl ActivitiesState {
    /// Adds an accepted activity.
    pub(crate) fn add(&mut self, row: ActivityRow) {
        self.0.push(row);
    }
}

impl State for ActivitiesState {
    /// Does nothing: an activity is a source of record, and the ledger tells only what it counts for.
    fn apply(&mut self, _entry: &Entry) -> Result<(), Defect> {
        Ok(())
    }
}
