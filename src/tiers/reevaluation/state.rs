//! Orders to apply a version to every customer, as commands see and keep them.

use jiff::Timestamp;

use crate::book::{Defect, DowngradeTime, Entry, State};
use crate::ids::{EntryId, ProgramId};

/// An order to apply a version to every customer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Order {
    /// The entry of the order.
    pub(crate) entry_id: EntryId,
    pub(crate) program_id: ProgramId,
    pub(crate) version: i32,
    pub(crate) downgrades: DowngradeTime,
    pub(crate) ordered_at: Timestamp,
}

/// How far an order has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) order: Order,
    pub(crate) tally: Tally,
    pub(crate) ended_at: Option<Timestamp>,
    pub(crate) superseded: bool,
}

/// What became of customers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) customers_done: i64,
    pub(crate) raised: i64,
    pub(crate) lowered: i64,
    pub(crate) redecided: i64,
    pub(crate) left_out: i64,
}

/// The orders of the batch's programs.
#[derive(Default)]
pub(crate) struct ReevaluationsState {
    /// Those that have not ended: program, version and entry.
    pub(super) open: Vec<(ProgramId, i32, EntryId)>,
    pub(super) new: Vec<Order>,
}

impl ReevaluationsState {
    /// The order about a version that has not ended.
    pub(super) fn open_of(&self, program_id: &ProgramId, version: i32) -> Option<EntryId> {
        let new = self.new.iter().map(|order| (&order.program_id, order.version, order.entry_id));
        let mut all =
            self.open.iter().map(|(program_id, version, entry_id)| (program_id, *version, *entry_id)).chain(new);
        all.find(|(program, by, _)| *program == program_id && *by == version).map(|(_, _, entry_id)| entry_id)
    }

    pub(super) fn add(&mut self, order: Order) {
        self.new.push(order);
    }
}

impl State for ReevaluationsState {
    /// Orders are a source of record: the entry tells of one, and the row is kept beside it.
    fn apply(&mut self, _entry: &Entry) -> Result<(), Defect> {
        Ok(())
    }
}
