//! What entries say of rows that the audit has to look up elsewhere.

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::ids::{AccountId, EntryId, ProgramId};

/// An accepted activity, as its entry tells it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Accepted {
    /// The entry that accepted the activity.
    pub(super) id: EntryId,
    /// For a refund, the number of the purchase's entry.
    pub(super) purchase: Option<i64>,
    /// The money spent or given back, in minor units; none of feedback.
    pub(super) amount: Option<i64>,
    /// When the activity happened.
    pub(super) happened_at: Timestamp,
    /// When the entry was written.
    pub(super) recorded_at: Timestamp,
    /// The key of the command that wrote the entry.
    pub(super) key_hash: Option<[u8; 32]>,
}

/// An accepted activity, as its row tells it.
pub(super) struct StoredActivity {
    pub(super) id: EntryId,
    pub(super) activity_id: String,
    pub(super) purchase: Option<i64>,
    pub(super) amount: Option<i64>,
    pub(super) happened_at: Timestamp,
    pub(super) recorded_at: Timestamp,
}

/// What entries say of other rows, collected so that it is looked up for many entries at once.
#[derive(Debug, Default)]
pub(super) struct Mentions {
    /// Entries that other entries name: first the named one, then the one that names it.
    pub(super) references: Vec<(EntryId, EntryId)>,
    /// Activities that were accepted.
    pub(super) accepted: Vec<Accepted>,
    /// Versions of programs, each with the entry that says it was applied.
    pub(super) versions: Vec<(EntryId, ProgramId, i32)>,
    /// Accounts with more keys than are remembered.
    pub(super) crowded: Vec<AccountId>,
    /// Entries of a newer version: nobody here knows what they accepted.
    pub(super) newer: BTreeSet<EntryId>,
}

impl Mentions {
    /// Forgets what was collected, so that the next entries begin anew.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}
