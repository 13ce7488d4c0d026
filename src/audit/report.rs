//! What an audit tells while it runs.

use super::chunk::Chunk;
use super::model::{Check, Difference, DifferenceKind};
use super::record::Tally;
use crate::book::Capabilities;
use crate::ids::AccountId;

/// Is told how an audit goes.
pub trait Listener: Send {
    /// The audit begins and expects about so many entries, if it can know.
    fn begin(&mut self, _entries: Option<u64>) {}

    /// So many entries have been read.
    fn read(&mut self, _entries: u64) {}

    /// Something is a newer version's, and not compared.
    fn newer(&mut self, _what: &str) {}

    /// Rows do not say what the entries say.
    fn found(&mut self, difference: &Difference);

    /// An account was compared, up to its last entry, of this number.
    fn compared(&mut self, _account_id: AccountId, _last_seq: i64) {}

    /// An account's rows were built anew.
    fn repaired(&mut self, _account_id: AccountId) {}

    /// An account's rows were not built anew, because its entries are damaged.
    fn not_repaired(&mut self, _account_id: AccountId) {}
}

/// Tells and counts differences.
pub(super) struct Report<'a> {
    pub(super) capabilities: &'a Capabilities,
    pub(super) listener: &'a mut dyn Listener,
    pub(super) tally: Tally,
}

impl Report<'_> {
    pub(super) fn tell(&mut self, difference: &Difference) {
        self.tally.differences += 1;
        self.tally.remaining += 1;
        self.listener.found(difference);
    }

    pub(super) fn tell_newer(&mut self, what: &str) {
        self.tally.newer += 1;
        self.listener.newer(what);
    }

    /// Tells that a row of an account is stray.
    pub(super) fn tell_stray(&mut self, account_id: AccountId, what: &str) {
        let what = format!("account {}: {what}", account_id.0);
        self.tell(&Difference { account_id, kind: DifferenceKind::Source, what });
    }

    /// Begins the check of an account.
    pub(super) fn begin(&self, account_id: AccountId) -> Check {
        Check::new(account_id, self.capabilities.new_projections())
    }

    /// Ends the check of an account. If its rows differ, returns the account and how many differences a repair removes.
    pub(super) fn finish(&mut self, check: Check, chunk: &Chunk) -> Option<(AccountId, u64)> {
        let account_id = check.account_id();
        self.tally.accounts += 1;
        self.listener.compared(account_id, check.last_seq());
        let unreadable = chunk.unreadable.get(&account_id);
        let newer = unreadable.filter(|unreadable| unreadable.is_newer).map(|unreadable| unreadable.why.as_str());
        if let Some(newer) = check.newer().or(newer) {
            self.tell_newer(&format!("account {}: {newer}", account_id.0));
            return None;
        }
        if let Some(unreadable) = unreadable {
            let what = format!("rows of account {} cannot be understood: {}", account_id.0, unreadable.why);
            self.tell(&Difference { account_id, kind: DifferenceKind::Projection, what });
            return Some((account_id, 1));
        }
        let mut differences = 0;
        let stored = chunk.apart.get(&account_id).unwrap_or(&chunk.states);
        let differs = check.finish(chunk.heads.get(&account_id), stored, &mut |difference| {
            if difference.kind == DifferenceKind::Projection {
                differences += 1;
            }
            self.tell(&difference);
        });
        differs.then_some((account_id, differences))
    }
}
