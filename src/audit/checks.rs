//! The checks of a chunk's accounts, one after the other.

use std::collections::BTreeSet;

use super::chunk::Chunk;
use super::model::Check;
use super::report::Report;
use crate::ids::AccountId;

/// The checks of a chunk's accounts, one after the other.
pub(super) struct ChunkChecks<'a> {
    chunk: &'a Chunk,
    /// The accounts with a head whose check has not begun.
    waiting: BTreeSet<AccountId>,
    /// The account whose entries are being read.
    open: Option<Check>,
    /// Accounts whose rows differ, each with how many differences a repair removes.
    pub(super) differing: Vec<(AccountId, u64)>,
}

impl<'a> ChunkChecks<'a> {
    /// Begins before the first entry of a chunk of which these accounts have a head.
    pub(super) const fn begin(chunk: &'a Chunk, waiting: BTreeSet<AccountId>) -> Self {
        Self { chunk, waiting, open: None, differing: Vec::new() }
    }

    /// The check of an account that is the same as before or comes after it. Ends the checks of all accounts before it.
    pub(super) fn move_to(&mut self, account_id: AccountId, report: &mut Report<'_>) -> &mut Check {
        let is_open = self.open.as_ref().is_some_and(|check| check.account_id() == account_id);
        if !is_open {
            self.finish_open(report);
            self.finish_waiting(report, |waiting| waiting < account_id);
            self.waiting.remove(&account_id);
        }
        self.open.get_or_insert_with(|| report.begin(account_id))
    }

    /// Ends the checks of all accounts. Returns those that are not repaired yet.
    pub(super) fn finish_all(mut self, report: &mut Report<'_>) -> Vec<(AccountId, u64)> {
        self.finish_open(report);
        self.finish_waiting(report, |_| true);
        self.differing
    }

    fn finish_open(&mut self, report: &mut Report<'_>) {
        if let Some(check) = self.open.take() {
            self.differing.extend(report.finish(check, self.chunk));
        }
    }

    /// Checks accounts that have a head and no entries.
    fn finish_waiting(&mut self, report: &mut Report<'_>, is_due: impl Fn(AccountId) -> bool) {
        while let Some(account_id) = self.waiting.first().copied().filter(|waiting| is_due(*waiting)) {
            self.waiting.remove(&account_id);
            let check = report.begin(account_id);
            self.differing.extend(report.finish(check, self.chunk));
        }
    }
}
