//! Accepting new entries: they are applied to heads and states, and join the list of what is written.

use std::collections::BTreeMap;

use jiff::Timestamp;
use uuid::Uuid;

use super::memory::Batch;
use crate::book::account::Account;
use crate::book::decision::{DecisionError, overflow};
use crate::book::entry::{Entry, NewEntry, Place};
use crate::book::job::Job;
use crate::book::key::Key;
use crate::ids::{AccountId, EntryId, PrincipalId};

/// On whose behalf entries are accepted.
pub(super) struct Origin {
    command_id: Uuid,
    principal_id: PrincipalId,
    trace_id: [u8; 16],
    at: Timestamp,
    /// The key of the command, and the account whose first entry carries it.
    key: Option<(AccountId, Key)>,
}

impl Origin {
    /// A command that runs at an instant.
    pub(super) fn of_command(job: &Job, scope: Option<AccountId>, at: Timestamp) -> Self {
        let key = scope.map(|scope| (scope, job.key.key));
        Self { command_id: job.command_id, principal_id: job.principal_id, trace_id: job.trace_id.0, at, key }
    }

    /// Time, at the instant of a due. The entries belong to no command and nobody, but to the trace of the one that they precede.
    #[expect(clippy::disallowed_methods, reason = "names what a due writes; no time is read out of it")]
    pub(super) fn of_due(job: &Job, due_at: Timestamp) -> Self {
        let principal_id = PrincipalId::NOBODY;
        Self { command_id: Uuid::now_v7(), principal_id, trace_id: job.trace_id.0, at: due_at, key: None }
    }

    /// The key, if this is the first entry on the account that it belongs to.
    fn hand_over_key(&mut self, account_id: AccountId) -> Option<Key> {
        let (_, key) = self.key.take_if(|(scope, _)| *scope == account_id)?;
        Some(key)
    }
}

impl Batch<'_> {
    /// Applies new entries to heads and states, all or none, and lists them to be written.
    pub(super) fn accept(
        &mut self,
        new_entries: Vec<(EntryId, NewEntry)>,
        mut origin: Origin,
    ) -> Result<Vec<Entry>, DecisionError> {
        // Heads are copied, so that a refusal half way leaves no trace.
        let mut heads = self.copy_heads(&new_entries)?;
        let mut entries = Vec::with_capacity(new_entries.len());
        for (id, new_entry) in new_entries {
            let Some(head) = heads.get_mut(&id.account_id) else { return Err(DecisionError::NotLoaded) };
            let entry = new_entry.at(Place {
                id,
                program_id: head.program_id.clone(),
                command_id: origin.command_id,
                key: origin.hand_over_key(id.account_id),
                principal_id: origin.principal_id,
                trace_id: origin.trace_id,
                effective_at: head.time_at(origin.at),
                recorded_at: self.now,
            });
            head.apply(&entry).map_err(|_| overflow())?;
            entries.push(entry);
        }
        for entry in &entries {
            self.states.apply(entry)?;
        }
        self.replace_heads(heads);
        self.entries.extend(entries.iter().cloned());
        Ok(entries)
    }

    fn copy_heads(&self, new_entries: &[(EntryId, NewEntry)]) -> Result<BTreeMap<AccountId, Account>, DecisionError> {
        let mut heads = BTreeMap::new();
        for (id, _) in new_entries {
            let Some(account) = self.accounts.get(&id.account_id) else { return Err(DecisionError::NotLoaded) };
            heads.entry(id.account_id).or_insert_with(|| account.clone());
        }
        Ok(heads)
    }

    fn replace_heads(&mut self, heads: BTreeMap<AccountId, Account>) {
        for (account_id, mut head) in heads {
            // States may not have loaded all that is due: the head's own instant stays where it is earlier.
            let due_at = self.states.next_due(account_id);
            head.next_due_at = head.next_due_at.into_iter().chain(due_at).min();
            self.accounts.insert(account_id, head);
            self.changed.insert(account_id);
        }
    }
}
