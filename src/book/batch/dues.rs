//! Applying dues: what time alone does to accounts becomes entries before a command is decided.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::accept::Origin;
use super::memory::{Batch, MAX_DUES};
use crate::book::account::Account;
use crate::book::decision::DecisionError;
use crate::book::entry::NewEntry;
use crate::book::job::Job;
use crate::book::state::NextDue;
use crate::error::Defect;
use crate::ids::{AccountId, EntryId};

/// The most dues of one kind that are read of an account, and the fewest.
const MOST_OF_ONE_ACCOUNT: usize = 256;
const FEWEST_OF_ONE_ACCOUNT: usize = 4;

/// How many dues of each kind are read of each of so many accounts.
pub(super) fn most_dues_of(accounts: usize) -> i64 {
    let share = (MAX_DUES / accounts.max(1)).clamp(FEWEST_OF_ONE_ACCOUNT, MOST_OF_ONE_ACCOUNT);
    i64::try_from(share).unwrap_or(i64::MAX)
}

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
        if self.dues_left == 0 {
            return Err(DecisionError::DuesRemain);
        }
        let Some(account) = self.accounts.get(&account_id) else { return Err(DecisionError::NotLoaded) };
        let until = account.time_at(at);
        match self.states.decide_next_due(account, until) {
            NextDue::Entries(due_at, new_entries) => {
                let new_entries = give_ids(account, new_entries);
                self.dues_left -= 1;
                self.accept(new_entries, Origin::of_due(job, due_at)).map_err(|error| {
                    // Time cannot be refused: the rows contradict each other.
                    error.into_defect(|why| format!("account {}: what is due at {due_at}: {why}", account_id.0))
                })?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_reads_few_dues_of_many_accounts_and_many_of_few() {
        let read = |accounts: usize| usize::try_from(most_dues_of(accounts)).unwrap() * accounts;
        assert_eq!(most_dues_of(1), 256);
        assert_eq!(most_dues_of(1_000_000), 4);
        assert!((1..=256).all(|accounts| read(accounts) <= MAX_DUES));
    }
}
