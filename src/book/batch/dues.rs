//! Applying dues: what time alone does to accounts becomes entries before a command is decided.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::accept::Origin;
use super::memory::Batch;
use crate::book::account::Account;
use crate::book::decision::DecisionError;
use crate::book::entry::NewEntry;
use crate::book::job::Job;
use crate::book::state::NextDue;
use crate::error::Defect;
use crate::ids::{AccountId, EntryId};

impl Batch<'_> {
    /// Turns whatever is due on accounts by an instant into entries, in due order.
    pub(super) fn apply_dues(
        &mut self,
        accounts: &BTreeSet<AccountId>,
        job: &Job,
        at: Timestamp,
    ) -> Result<(), DecisionError> {
        for account_id in accounts {
            while self.is_due(*account_id, at) {
                self.apply_next_due(*account_id, job, at)?;
            }
        }
        Ok(())
    }

    fn apply_next_due(&mut self, account_id: AccountId, job: &Job, at: Timestamp) -> Result<(), DecisionError> {
        // What became due by this very batch may be in a state that was not loaded. It waits for the next batch.
        if !self.accounts_with_dues.contains(&account_id) {
            return Err(DecisionError::NotLoaded);
        }
        let Some(account) = self.accounts.get(&account_id) else { return Err(DecisionError::NotLoaded) };
        let until = account.time_at(at);
        match self.states.decide_next_due(account, until) {
            NextDue::Entries(due_at, new_entries) => {
                let new_entries = give_ids(account, new_entries);
                self.accept(new_entries, Origin::of_due(job, due_at))?;
            }
            // The first of the dues are always read: so each batch applies some of them.
            NextDue::NotLoaded if self.changed.contains(&account_id) => return Err(DecisionError::DuesRemain),
            NextDue::NotLoaded => {
                let account = account_id.0;
                return Err(Defect::new(format!("account {account}: what is due by {until} was not read")).into());
            }
            // The head told a due too early.
            NextDue::Nothing => {}
        }
        self.correct_next_due(account_id);
        Ok(())
    }

    /// Tells the head what is due next. That may have been too early; now that everything due is loaded, it is known.
    fn correct_next_due(&mut self, account_id: AccountId) {
        let next_due_at = self.states.next_due(account_id);
        if let Some(account) = self.accounts.get_mut(&account_id) {
            account.next_due_at = next_due_at;
            self.changed.insert(account_id);
        }
    }
}

/// Gives an account's new entries the next numbers.
fn give_ids(account: &Account, new_entries: Vec<NewEntry>) -> Vec<(EntryId, NewEntry)> {
    let mut id = account.next_entry_id();
    let mut placed = Vec::with_capacity(new_entries.len());
    for new_entry in new_entries {
        placed.push((id, new_entry));
        id.account_seq = id.account_seq.saturating_add(1);
    }
    placed
}
