//! What there is to tell of a customer's standing.

use std::sync::Arc;

use jiff::Timestamp;

use super::counting::History;
use super::standing::Standing;
use crate::book::{Earnings, Entry, EntryReason};
use crate::ids::EntryId;
use crate::programs::model::{ProgramVersion, Tier};

/// A customer's standing, with the policy that explains it.
#[derive(Clone, Debug)]
pub(crate) struct CustomerTier {
    /// The tier held.
    pub standing: Standing,
    /// What was counted for it.
    pub history: History,
    /// What earned the tier as it was reached or renewed: what was spent, and the rest.
    pub earned: Option<(i64, Earnings)>,
    /// The entry that changed the tier.
    pub changed: EntryId,
    /// The entry that caused the change; the same, if nothing in the book did.
    pub cause: EntryId,
    /// Who set the override that is in force, if one is.
    pub set_by: Option<SetBy>,
    /// The program version in force at `as_of`.
    pub policy: Arc<ProgramVersion>,
    /// The tier held: as the version in force has it, or else as the version that decided had it.
    pub tier: Tier,
    /// The instant that the answer is for.
    pub as_of: Timestamp,
    /// What time has done to the account by then that is not written yet.
    pub dues: Vec<Entry>,
}

/// How an override came about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SetBy {
    /// The entry that set it.
    pub entry_id: EntryId,
    /// When.
    pub set_at: Timestamp,
    /// The program version that was in force.
    pub policy_version: i32,
    /// Why.
    pub reason: EntryReason,
    /// Who decided it, as the caller said; empty once it was erased.
    pub author: String,
    /// What was said about it; empty once it was erased.
    pub note: String,
}
