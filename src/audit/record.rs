//! What is remembered of audits that came to their end.

use jiff::{SignedDuration, Timestamp};

/// How much of the ledger an audit reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// All of it.
    Full,
    /// The accounts that were written to since the last audit that was clean.
    SinceLast,
}

impl Extent {
    /// The stored word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::SinceLast => "since_last",
        }
    }

    /// The extent with this stored word.
    #[must_use]
    pub fn from_stored(word: &str) -> Option<Self> {
        [Self::Full, Self::SinceLast].into_iter().find(|extent| extent.as_str() == word)
    }
}

/// What an audit counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Entries that were read.
    pub entries: u64,
    /// Accounts that were compared.
    pub accounts: u64,
    /// Differences that were found.
    pub differences: u64,
    /// Differences that were found and not repaired.
    pub remaining: u64,
    /// Accounts whose rows were built anew.
    pub repaired: u64,
    /// Accounts, and versions of programs, that a newer version wrote to in a way that this one does not know. What it can
    /// prove of them was checked; they are not repaired.
    pub newer: u64,
}

/// An audit that came to its end. It is clean if none of its differences remain and it knew all that it read; the next
/// audit of what is new begins after the last clean one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Accounts with an entry that was recorded after this instant were read; all accounts if there is none.
    pub since: Option<Timestamp>,
    /// Whatever was recorded by this instant was there to be read. None if it could not be seen which batches were under
    /// way, or something was met that a newer version wrote; then the next audit of what is new begins no later for this one.
    pub covers: Option<Timestamp>,
    /// When it began, by the database's clock.
    pub begun_at: Timestamp,
    /// What it counted.
    pub tally: Tally,
}

impl Record {
    /// How much of the ledger was read. An audit of what is new reads all if none before it was clean.
    #[must_use]
    pub const fn extent(&self) -> Extent {
        if self.since.is_some() { Extent::SinceLast } else { Extent::Full }
    }
}

/// The last audit of an extent that came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastAudit {
    /// What it read.
    pub extent: Extent,
    /// When it ended.
    pub ended_at: Timestamp,
    /// How long ago that was, by the database's clock; below zero if that clock went back since.
    pub age: SignedDuration,
    /// The differences that it found and did not repair.
    pub differences: u64,
    /// The accounts, and versions of programs, that it did not compare, since a newer version wrote what it does not know.
    pub newer: u64,
}

/// By how much an audit of what is new reaches back behind what is covered already: the database's clock may have been
/// put back a little, such as by a failover to a machine whose clock is behind.
const MARGIN: SignedDuration = SignedDuration::from_mins(5);

/// After which instant entries are new, if all that was recorded by `covered` was found clean.
pub(super) fn new_since(covered: Timestamp) -> Timestamp {
    covered.saturating_sub(MARGIN).unwrap_or(Timestamp::MIN)
}
