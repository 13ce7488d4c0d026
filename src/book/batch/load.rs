//! The phases that lock and read: accounts, keys, states.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use sqlx::PgConnection;

use super::dues::most_dues_of;
use super::memory::Batch;
use crate::book::capability::Capabilities;
use crate::book::decision::Asking;
use crate::book::name::{Name, NameSpace};
use crate::book::state::{Depth, Scope};
use crate::book::store;
use crate::book::store::accounts::{Found, LockedAccount, Owner, WantedName};
use crate::clock::Clock;
use crate::database::StoreError;
use crate::error::{Defect, with_causes};
use crate::ids::{AccountId, EntryId};

impl Batch<'_> {
    /// Finds the owners of names, and locks their accounts, those related to them and others, but for those that somebody
    /// else holds: no command waits for the account of another. The statement also tells which keys were used, which entry
    /// is the last of each program, and the batch's instant. Each time that accounts are locked, programs are asked for
    /// again: so none of these has an entry by a version that is newer than the one of this batch.
    pub(super) async fn find_and_lock(
        &mut self,
        names: &[WantedName<'_>],
        accounts: &[AccountId],
        connection: &mut PgConnection,
    ) -> Result<(), StoreError> {
        let programs: Vec<Name> = self.program_ids().into_iter().map(Name::program).collect();
        let mut wanted = names.to_vec();
        wanted.extend(programs.iter().map(|name| WantedName {
            name,
            key_hash: None,
            is_locked: false,
            with_related: false,
        }));
        // Where others wrote on an account before it was locked, it is looked at once more. It does not change again, so
        // that is done as often at most as there are accounts.
        while !self.take_in(&wanted, store::accounts::find_and_lock(connection, &wanted, accounts).await?)? {}
        Ok(())
    }

    /// Takes in what was found. Says whether it is true under the locks.
    fn take_in(&mut self, wanted: &[WantedName<'_>], found: Found) -> Result<bool, Defect> {
        self.told = self.told.max(found.told);
        // Whoever looks a second time believes nothing of the first.
        for WantedName { name, .. } in wanted.iter().filter(|wanted| wanted.is_locked) {
            self.names.remove(*name);
        }
        let mut heads = BTreeMap::new();
        for LockedAccount { account_id, head, account } in found.locked {
            heads.insert(account_id, head);
            self.held.remove(&account_id);
            match account {
                Ok(account) => drop(self.accounts.insert(account_id, account)),
                Err(defect) => drop(self.unreadable.insert(account_id, defect)),
            }
        }
        let (mut is_true, mut missing) = (true, BTreeSet::new());
        let asked_for_related =
            |owner: &&Owner| owner.place.and_then(|place| wanted.get(place)).is_some_and(|wanted| wanted.with_related);
        let asked: BTreeSet<AccountId> =
            found.owners.iter().filter(asked_for_related).map(|owner| owner.account_id).collect();
        self.related.retain(|(from, _)| !asked.contains(from));
        for Owner { place, account_id, head, is_used, related_to } in found.owners {
            self.related.extend(related_to.map(|from| (from, account_id)));
            let wanted = place.and_then(|place| wanted.get(place));
            if let Some(WantedName { name, is_locked, .. }) = wanted {
                if name.space == NameSpace::Program {
                    self.programs.insert(name.program_id.clone(), EntryId { account_id, account_seq: head });
                }
                if !is_locked {
                    continue;
                }
                self.names.insert((*name).clone(), account_id);
            }
            match heads.get(&account_id) {
                Some(locked_head) => is_true &= *locked_head == head,
                None if head == 0 => drop(missing.insert(account_id.0.to_string())),
                None => drop(self.held.insert(account_id)),
            }
            if let Some(key_hash) = wanted.and_then(|wanted| wanted.key_hash).filter(|_| is_used) {
                self.used_keys.insert((account_id, key_hash));
            }
        }
        if missing.is_empty() {
            return Ok(is_true);
        }
        let missing: Vec<String> = missing.into_iter().collect();
        let missing = missing.join(", ");
        Err(Defect::new(format!("names or commands lead to accounts that do not exist: {missing}")))
    }

    /// Sets the batch's instant: what the database's clock told after the last lock.
    pub(super) async fn read_instant(
        &mut self,
        clock: &Clock,
        connection: &mut PgConnection,
    ) -> Result<(), StoreError> {
        let told = match self.told {
            Some(told) => told,
            // Read while the batch is under way already: see `Instants`.
            None => store::instants::read_clock(connection).await?,
        };
        self.now = clock.present(told);
        Ok(())
    }

    /// Reads the entries of commands whose keys were used before.
    pub(super) async fn load_keys(&mut self, connection: &mut PgConnection) -> Result<(), StoreError> {
        let used = self.used_keys.iter().filter(|(account_id, _)| self.accounts.contains_key(account_id));
        let keys: Vec<(AccountId, [u8; 32])> = used.copied().collect();
        if keys.is_empty() {
            return Ok(());
        }
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
        let due: Vec<AccountId> = self.accounts_with_dues.iter().copied().collect();
        let scope = Scope {
            accounts: self.locked_accounts(),
            programs: self.program_ids().into_iter().cloned().collect(),
            last_of_programs: self.programs.clone(),
            most_dues: most_dues_of(due.len()),
            due,
            now: self.now,
            latest,
            depth: Depth::Asked,
            is_alone: self.jobs.len() == 1,
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
        let defect = match error {
            StoreError::Defect(defect) => defect.clone(),
            StoreError::Database(_)
            | StoreError::ConnectTimedOut { .. }
            | StoreError::TooManyDues
            | StoreError::TooManyRows { .. } => Defect::new(with_causes(error)),
        };
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ProgramId;

    #[test]
    fn a_second_look_forgets_names_that_are_gone_and_no_program_that_it_only_reads() {
        let program_id = ProgramId::try_from("shop").unwrap();
        let name = Name::program(&program_id);
        let mut batch = Batch::new(&[], std::iter::empty().collect());
        batch.names.insert(name.clone(), AccountId::generate());
        for (is_locked, is_kept) in [(false, true), (true, false)] {
            let wanted = [WantedName { name: &name, key_hash: None, is_locked, with_related: false }];
            assert!(batch.take_in(&wanted, Found::default()).unwrap());
            assert_eq!(batch.names.contains_key(&name), is_kept);
        }
    }
}
