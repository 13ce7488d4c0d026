//! What a capability keeps in memory for the accounts of one batch, and what time does to them. It is pure: the rows are
//! read and written by a [`Store`](super::capability::Store).

use std::any::{Any, TypeId};
use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::account::Account;
use super::entry::{Entry, NewEntry};
use super::projection::Row;
use crate::error::Defect;
use crate::ids::{AccountId, EntryId, ProgramId};

/// What a batch is about: a statement that loads anything does so for all of it.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// The locked accounts that have entries already, sorted.
    pub accounts: Vec<AccountId>,
    /// The programs that the batch's commands belong to, sorted.
    pub programs: Vec<ProgramId>,
    /// The last entry of each program's own account, where the batch knows it: what the entries up to it decide can be
    /// remembered. None of a program that does not exist.
    pub last_of_programs: BTreeMap<ProgramId, EntryId>,
    /// Those of the accounts that time alone does something to by `latest`.
    pub due: Vec<AccountId>,
    /// The present: of a read for an instant, that one.
    pub now: Timestamp,
    /// The latest instant that the batch runs at, or that one of the due accounts has reached already.
    pub latest: Timestamp,
    /// How much is read of what an account may have thousands of.
    pub depth: Depth,
    /// How many dues of each kind are read of an account, with [`Depth::Asked`].
    pub most_dues: i64,
    /// Whether one command is all that the batch carries out.
    pub is_alone: bool,
}

impl Scope {
    /// How many rows of one table are read, with [`Depth::Asked`]. Beyond that, reading fails with
    /// [`TooManyRows`](crate::database::StoreError::TooManyRows): a batch of several commands is then split, and one that
    /// is alone is refused.
    #[must_use]
    pub const fn most_rows(&self) -> i64 {
        if self.is_alone { 262_144 } else { 4_096 }
    }
}

/// How much is read of what an account may have thousands of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Depth {
    /// What the commands asked for, and as many dues as one batch writes.
    #[default]
    Asked,
    /// What the commands asked for, and all dues.
    Due,
    /// Every row of the accounts, however many there are.
    Whole,
}

/// Something that time alone will do to an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Due {
    /// The instant at which it falls due.
    pub at: Timestamp,
    /// What it does to the account.
    pub kind: DueKind,
}

/// What a due does. Of several dues at one instant, those that stand here first come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DueKind {
    /// Pending points become available, or what they waited for was missed.
    Vest,
    /// Held points come back.
    ReleaseHold,
    /// A tier ends, is renewed or is reached.
    EndTier,
    /// An override of a tier ends.
    EndOverride,
    /// Available points reach their expiry.
    Expire,
    /// A referral that has not converted ends.
    EndReferral,
    /// A package is given to a customer who has reached a tier.
    GivePackage,
    /// A complaint misses a deadline.
    EscalateComplaint,
    /// A customer has been silent for so long that they stand elsewhere.
    MoveInLifecycle,
}

/// What time does to an account next.
#[derive(Debug)]
pub enum NextDue {
    /// Nothing until the instant that was asked about.
    Nothing,
    /// It writes these entries, at this instant.
    Entries(Timestamp, Vec<NewEntry>),
    /// Something that was not loaded.
    NotLoaded,
}

/// One capability's rows in a batch.
///
/// A row that entries decide is a function of its own account's entries alone, so that accounts can be rebuilt one at a
/// time. A state that no command of the batch asks for is not loaded.
pub trait State: Any + Send + Sync {
    /// Applies one entry to the rows: the same when writing, when folding and when rebuilding.
    ///
    /// # Errors
    /// [`Defect`] if the entry contradicts what the rows say.
    fn apply(&mut self, entry: &Entry) -> Result<(), Defect>;

    /// What time alone does to these rows, if it does anything. A state that has dues is loaded wherever an account has
    /// something due, whether a command asks for it or not.
    fn dues(&self) -> Option<&dyn Dues> {
        None
    }

    /// An account's rows that entries decide, by their nouns and, of one noun, by their keys, both ascending.
    fn rows(&self, _account_id: AccountId) -> Box<dyn Iterator<Item = Row<'_>> + Send + '_> {
        Box::new(std::iter::empty())
    }
}

/// What time alone does to the rows of a state.
pub trait Dues {
    /// What it will do next to the account, by these rows. It may be told too early, never too late.
    fn next_due(&self, account_id: AccountId) -> Option<Due>;

    /// What a due writes that [`next_due`](Self::next_due) told. Empty if it is not loaded.
    fn decide_due(&self, account: &Account, due: Due) -> Vec<NewEntry>;
}

/// The states of capabilities, in the capabilities' order.
pub struct States {
    states: Vec<Box<dyn State>>,
    /// Those whose stored rows were read.
    loaded: BTreeSet<TypeId>,
}

impl FromIterator<Box<dyn State>> for States {
    fn from_iter<I: IntoIterator<Item = Box<dyn State>>>(states: I) -> Self {
        Self { states: states.into_iter().collect(), loaded: BTreeSet::new() }
    }
}

impl States {
    /// One capability's state, to read.
    ///
    /// # Errors
    /// [`Defect`] if no capability has such a state.
    pub fn get<S: State>(&self) -> Result<&S, Defect> {
        let found = self.states.iter().find_map(|state| (state.as_ref() as &dyn Any).downcast_ref());
        found.ok_or_else(|| missing::<S>())
    }

    /// One capability's state, to change.
    ///
    /// # Errors
    /// [`Defect`] if no capability has such a state.
    pub fn get_mut<S: State>(&mut self) -> Result<&mut S, Defect> {
        let found = self.states.iter_mut().find_map(|state| (state.as_mut() as &mut dyn Any).downcast_mut());
        found.ok_or_else(|| missing::<S>())
    }

    /// A state that another capability's store reads while it loads its own.
    ///
    /// # Errors
    /// [`Defect`] if it is not loaded: its capability stands behind the one that reads it, or no command asked for it.
    pub(crate) fn get_loaded<S: State>(&self) -> Result<&S, Defect> {
        if self.loaded.contains(&TypeId::of::<S>()) {
            return self.get();
        }
        Err(Defect::new(format!("{} is read before it is loaded", std::any::type_name::<S>())))
    }

    /// Notes that the stored rows of a state were read.
    pub(super) fn note_loaded(&mut self, state: TypeId) {
        self.loaded.insert(state);
    }

    /// Whether a state of this type is among them.
    pub(super) fn contain(&self, state: TypeId) -> bool {
        self.states.iter().any(|own| (own.as_ref() as &dyn Any).type_id() == state)
    }

    /// Applies an entry to every state.
    ///
    /// # Errors
    /// [`Defect`] of the first state that the entry contradicts.
    pub fn apply(&mut self, entry: &Entry) -> Result<(), Defect> {
        self.states.iter_mut().try_for_each(|state| state.apply(entry))
    }

    fn with_dues(&self) -> impl Iterator<Item = &dyn Dues> {
        self.states.iter().filter_map(|state| state.dues())
    }

    /// The earliest due of an account.
    #[must_use]
    pub fn next_due(&self, account_id: AccountId) -> Option<Timestamp> {
        self.with_dues().filter_map(|state| state.next_due(account_id)).min().map(|due| due.at)
    }

    /// What time does first to the account, by `until`.
    #[must_use]
    pub fn decide_next_due(&self, account: &Account, until: Timestamp) -> NextDue {
        let dues = self.with_dues().filter_map(|state| Some((state.next_due(account.account_id)?, state)));
        let Some((due, state)) = dues.min_by_key(|(due, _)| *due) else { return NextDue::Nothing };
        if due.at > until {
            return NextDue::Nothing;
        }
        let new_entries = state.decide_due(account, due);
        if new_entries.is_empty() { NextDue::NotLoaded } else { NextDue::Entries(due.at, new_entries) }
    }

    /// An account's projected rows, state by state.
    pub fn rows(&self, account_id: AccountId) -> impl Iterator<Item = Box<dyn Iterator<Item = Row<'_>> + Send + '_>> {
        self.states.iter().map(move |state| state.rows(account_id))
    }
}

fn missing<S>() -> Defect {
    Defect::new(format!("no capability has a {}", std::any::type_name::<S>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Badges;

    impl State for Badges {
        fn apply(&mut self, _entry: &Entry) -> Result<(), Defect> {
            Ok(())
        }
    }

    #[test]
    fn a_state_that_is_read_before_it_is_loaded_is_a_defect() {
        let mut states: States = [Box::new(Badges) as Box<dyn State>].into_iter().collect();
        assert!(states.get::<Badges>().is_ok());
        let defect = states.get_loaded::<Badges>().err().map(|defect| defect.to_string());
        assert!(defect.is_some_and(|text| text.ends_with("Badges is read before it is loaded")));
        states.note_loaded(TypeId::of::<Badges>());
        assert!(states.get_loaded::<Badges>().is_ok());
    }
}
