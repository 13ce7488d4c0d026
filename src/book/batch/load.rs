//! The phases that lock and read: related accounts, locks, keys, states.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use sqlx::PgConnection;

use super::dues::most_dues_of;
use super::memory::Batch;
use crate::book::capability::Capabilities;
use crate::book::decision::Asking;
use crate::book::state::{Depth, Scope};
use crate::book::store;
use crate::clock::Clock;
use crate::database::StoreError;
use crate::error::{Defect, with_causes};
use crate::ids::{AccountId, ProgramId};

/// The most rows of one table that a batch of several commands reads. If it needs more, it is split.
const MAX_ROWS_TOGETHER: i64 = 4_096;
/// The most rows of one table that a command alone reads. If it needs more, it is refused.
const MAX_ROWS_ALONE: i64 = 262_144;

impl Batch<'_> {
    /// Asks the capabilities which accounts the commands may touch beyond those that they name.
    pub(super) async fn find_related_accounts(
        &mut self,
        capabilities: &Capabilities,
        connection: &mut PgConnection,
    ) -> Result<(), StoreError> {
        self.related = capabilities.find_related(connection, &self.wanted_states(), &self.named_accounts()).await?;
        Ok(())
    }

    /// The accounts of all names, without the new ones. One that has several names is listed as often.
    fn named_accounts(&self) -> Vec<AccountId> {
        self.names.values().filter(|account_id| !self.opened.contains(account_id)).copied().collect()
    }

    /// Locks the accounts that the commands may touch, in one statement, but for those that somebody else holds: no
    /// command waits for the account of another. The statement also brings the batch's instant.
    pub(super) async fn lock_accounts(
        &mut self,
        clock: &Clock,
        connection: &mut PgConnection,
    ) -> Result<(), StoreError> {
        let mut to_lock: BTreeSet<AccountId> = self.named_accounts().into_iter().collect();
        to_lock.extend(self.jobs.iter().flat_map(|job| job.command.accounts()));
        to_lock.extend(self.related.iter().map(|(_, related)| *related));
        let account_ids: Vec<AccountId> = to_lock.iter().copied().collect();
        let (locked, told) = match account_ids.as_slice() {
            [] => (Vec::new(), None),
            some => store::accounts::lock_free_accounts(connection, some).await?,
        };
        // Read after the last lock, and under way already: see `Instants`.
        let told = match told {
            Some(told) => told,
            None => store::instants::read_clock(connection).await?,
        };
        self.now = clock.present(told);
        for (account_id, account) in locked {
            to_lock.remove(&account_id);
            match account {
                Ok(account) => drop(self.accounts.insert(account_id, account)),
                Err(defect) => drop(self.unreadable.insert(account_id, defect)),
            }
        }
        if to_lock.is_empty() {
            return Ok(());
        }
        let not_locked: Vec<AccountId> = to_lock.iter().copied().collect();
        self.held = store::accounts::find_existing(connection, &not_locked).await?;
        let missing: Vec<String> = to_lock.difference(&self.held).map(|account_id| account_id.0.to_string()).collect();
        if !missing.is_empty() {
            let missing = missing.join(", ");
            return Err(Defect::new(format!("names or commands lead to accounts that do not exist: {missing}")).into());
        }
        Ok(())
    }

    /// Reads the entries of commands whose keys were used before.
    pub(super) async fn load_keys(&mut self, connection: &mut PgConnection) -> Result<(), StoreError> {
        // Each key once, however many commands carry it: its entries are read as often as it is asked for.
        let mut keys: BTreeSet<(AccountId, [u8; 32])> = BTreeSet::new();
        for job in self.jobs {
            if let Some(scope) = self.scope_of(job)
                && self.accounts.contains_key(&scope)
                && !self.opened.contains(&scope)
            {
                keys.insert((scope, job.key.key.hash));
            }
        }
        if keys.is_empty() {
            return Ok(());
        }
        let keys: Vec<(AccountId, [u8; 32])> = keys.into_iter().collect();
        // The first entry of each command carries its key; the others follow.
        let mut current = None;
        for entry in store::find_keys(connection, &keys).await? {
            if let Some(key) = entry.key {
                current = Some((entry.id.account_id, key.hash));
            }
            if let Some(current) = current {
                self.entries_by_key.entry(current).or_default().push(entry);
            }
        }
        Ok(())
    }

    /// Reads what the commands ask for, and what is due.
    pub(super) async fn load_states(
        &mut self,
        capabilities: &Capabilities,
        connection: &mut PgConnection,
    ) -> Result<(), StoreError> {
        let latest = self.find_dues();
        for job in self.jobs {
            let (at, wanted_states) = (self.instant_of(job), &job.states);
            let (names, accounts, states) = (&self.names, &self.accounts, &mut self.states);
            job.command.ask(&mut Asking { names, accounts, at, states, wanted_states })?;
        }
        let programs: BTreeSet<ProgramId> = self.jobs.iter().map(|job| job.command.program_id().clone()).collect();
        let due: Vec<AccountId> = self.accounts_with_dues.iter().copied().collect();
        let scope = Scope {
            accounts: self.locked_accounts(),
            programs: programs.into_iter().collect(),
            most_dues: most_dues_of(due.len()),
            due,
            latest,
            depth: Depth::Asked,
            most_rows: if self.jobs.len() > 1 { MAX_ROWS_TOGETHER } else { MAX_ROWS_ALONE },
        };
        let wanted = self.wanted_states();
        capabilities.load_wanted(&mut self.states, &wanted, &scope, connection).await
    }

    /// After rows could not be understood: goes on without the accounts that are only related to a command's own, if it
    /// is alone. So another's rows, such as the referrer's, fail it only where it needs them. Says whether there are any.
    pub(super) fn leave_related_out(&mut self, error: &StoreError, capabilities: &Capabilities) -> bool {
        let [job] = self.jobs else { return false };
        let own: BTreeSet<AccountId> = self.own_accounts_of(job).collect();
        let (kept, left_out): (BTreeMap<_, _>, BTreeMap<_, _>) =
            std::mem::take(&mut self.accounts).into_iter().partition(|(account_id, _)| own.contains(account_id));
        self.accounts = kept;
        let is_mended = error.is_of_a_row() && !left_out.is_empty();
        let defect = Defect::new(with_causes(error));
        self.unreadable.extend(left_out.into_keys().map(|account_id| (account_id, defect.clone())));
        self.states = capabilities.new_states();
        self.accounts_with_dues.clear();
        is_mended
    }

    /// Notes the accounts with dues; returns the latest instant up to which dues are applied.
    fn find_dues(&mut self) -> Timestamp {
        let last_command_at = self.jobs.iter().map(|job| self.instant_of(job)).max().unwrap_or(self.now);
        let mut latest = last_command_at;
        for account in self.accounts.values() {
            if account.is_due(last_command_at) {
                self.accounts_with_dues.insert(account.account_id);
                // An account that has reached a later instant stays there, even for a command that tells of the past.
                latest = latest.max(account.time_at(last_command_at));
            }
        }
        latest
    }
}
