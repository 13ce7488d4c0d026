//! An account as its entries say it is: the same code as when writing, in memory, for time travel and rebuilding.

use jiff::Timestamp;
use uuid::Uuid;

use super::account::Account;
use super::account_kind::AccountKind;
use super::entry::{Entry, NewEntry, Place};
use super::state::{NextDue, States};
use crate::error::Defect;
use crate::ids::PrincipalId;

/// An account and its rows as they were at an instant.
pub struct Folded {
    /// The head and the balance.
    pub account: Account,
    /// Every capability's rows of this account.
    pub states: States,
    /// What [`apply_dues`](Self::apply_dues) has done in memory.
    pub applied_dues: Vec<Entry>,
}

impl Folded {
    /// Applies an account's entries, in order and from the first, to empty states.
    ///
    /// # Errors
    /// [`Defect`] if the entries contradict each other.
    pub fn from_entries(entries: &[Entry], states: States) -> Result<Option<Self>, Defect> {
        let Some(first) = entries.first() else { return Ok(None) };
        let kind = AccountKind::of(&first.detail);
        let account = Account::empty(first.id.account_id, first.program_id.clone(), kind);
        let mut folded = Self { account, states, applied_dues: Vec::new() };
        folded.extend(entries)?;
        Ok(Some(folded))
    }

    /// Applies the next entries of the account.
    ///
    /// # Errors
    /// [`Defect`] if the entries contradict each other.
    pub fn extend(&mut self, entries: &[Entry]) -> Result<(), Defect> {
        for entry in entries {
            if entry.id != self.account.next_entry_id() {
                return Err(Defect::new(format!("entry {} is missing", self.account.next_entry_id())));
            }
            self.account.apply(entry).map_err(|error| Defect::new(format!("entry {}: {error}", entry.id)))?;
            self.states.apply(entry)?;
        }
        self.account.next_due_at = self.states.next_due(self.account.account_id);
        Ok(())
    }

    /// Does in memory whatever time alone does to the account by `until`: what the book would write if it were
    /// touched then. Returns whether that was all; not all of very many dues may have been read.
    ///
    /// # Errors
    /// [`Defect`] if a due contradicts the entries.
    pub fn apply_dues(&mut self, until: Timestamp) -> Result<bool, Defect> {
        loop {
            let (due_at, new_entries) = match self.states.decide_next_due(&self.account, until) {
                NextDue::Entries(due_at, new_entries) => (due_at, new_entries),
                NextDue::Nothing => return Ok(true),
                NextDue::NotLoaded => return Ok(false),
            };
            for new_entry in new_entries {
                self.apply_new_entry(due_at, new_entry)?;
            }
        }
    }

    fn apply_new_entry(&mut self, due_at: Timestamp, new_entry: NewEntry) -> Result<(), Defect> {
        let effective_at = self.account.time_at(due_at);
        let entry = new_entry.at(Place {
            id: self.account.next_entry_id(),
            program_id: self.account.program_id.clone(),
            command_id: Uuid::nil(),
            key: None,
            principal_id: PrincipalId::NOBODY,
            trace_id: [0; 16],
            effective_at,
            recorded_at: effective_at,
        });
        self.account.apply(&entry).map_err(|error| Defect::new(format!("entry {}: {error}", entry.id)))?;
        self.states.apply(&entry)?;
        self.applied_dues.push(entry);
        Ok(())
    }
}
