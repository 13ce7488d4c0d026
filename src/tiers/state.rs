//! The standings of a batch, and what each entry does to them.

use std::collections::{BTreeMap, BTreeSet};

use super::model::Standing;
use crate::book::{ActivityDetail, Cell, Defect, Detail, Entry, Row, State, TierDetail};
use crate::ids::{AccountId, TierId};

/// The standings of a batch.
#[derive(Default)]
pub(crate) struct StandingsState {
    pub(super) rows: BTreeMap<AccountId, Standing>,
    pub(super) changed: BTreeSet<AccountId>,
    /// Standings after the first entry that changed them in each block of entries, by account and entry.
    pub(super) marks: BTreeMap<(AccountId, i64), Standing>,
    pub(super) new_marks: BTreeSet<(AccountId, i64)>,
}

/// How many entries of an account are a block.
const BLOCK: i64 = 64;

/// The number of the last entry of a block, by one of its entries.
pub(super) const fn last_of_block(seq: i64) -> i64 {
    seq - seq % BLOCK + BLOCK - 1
}

impl StandingsState {
    /// A customer's standing.
    #[must_use]
    pub(crate) fn get(&self, account_id: AccountId) -> Option<&Standing> {
        self.rows.get(&account_id)
    }

    fn get_mut(&mut self, entry: &Entry) -> Result<&mut Standing, Defect> {
        let account_id = entry.id.account_id;
        self.changed.insert(account_id);
        self.rows.get_mut(&account_id).ok_or_else(|| Defect::new(format!("entry {}: no standing is loaded", entry.id)))
    }

    fn apply_tier(&mut self, entry: &Entry, detail: &TierDetail) -> Result<(), Defect> {
        match detail {
            TierDetail::TierChanged { from: None, to, .. } => {
                let standing = Standing {
                    tier_id: to.clone(),
                    since: entry.effective_at,
                    policy_version: entry.policy_version,
                    changed_seq: entry.id.account_seq,
                    cause_seq: cause_of(entry)?,
                    qualifying_spend: 0,
                    purchases: 0,
                    last_seq: 0,
                };
                self.changed.insert(entry.id.account_id);
                self.rows.insert(entry.id.account_id, standing);
            }
            TierDetail::TierChanged { from: Some(_), to, .. } => {
                let cause_seq = cause_of(entry)?;
                self.get_mut(entry)?.change_tier(entry, to, cause_seq);
            }
            TierDetail::TierImported { to, qualifying_spend, .. } => {
                let standing = self.get_mut(entry)?;
                standing.add_spend(entry, *qualifying_spend)?;
                if standing.tier_id != *to {
                    standing.change_tier(entry, to, entry.id.account_seq);
                }
            }
        }
        Ok(())
    }

    /// Keeps the standing if this is the first entry of its block that changed it.
    fn mark(&mut self, entry: &Entry) -> Result<(), Defect> {
        let (account_id, seq) = (entry.id.account_id, entry.id.account_seq);
        let standing = self.get_mut(entry)?;
        // Entries are numbered from 1: this standing is new.
        let is_new = standing.last_seq == 0;
        let is_first = is_new || last_of_block(standing.last_seq) != last_of_block(seq);
        standing.last_seq = seq;
        if is_first {
            let standing = standing.clone();
            self.marks.insert((account_id, seq), standing);
            self.new_marks.insert((account_id, seq));
        }
        Ok(())
    }

    fn apply_activity(&mut self, entry: &Entry, detail: &ActivityDetail) -> Result<(), Defect> {
        let standing = self.get_mut(entry)?;
        match detail {
            ActivityDetail::ActivityAccepted { spend, .. } => {
                standing.add_spend(entry, *spend)?;
                standing.purchases += i64::from(*spend > 0);
            }
            ActivityDetail::RefundAccepted { spend, .. } => {
                standing.qualifying_spend -= *spend;
                if standing.qualifying_spend < 0 {
                    return Err(Defect::new(format!("entry {}: more is refunded than was spent", entry.id)));
                }
            }
        }
        Ok(())
    }
}

impl Standing {
    fn change_tier(&mut self, entry: &Entry, to: &TierId, cause_seq: i64) {
        self.tier_id = to.clone();
        self.since = entry.effective_at;
        self.policy_version = entry.policy_version;
        self.changed_seq = entry.id.account_seq;
        self.cause_seq = cause_seq;
    }

    fn add_spend(&mut self, entry: &Entry, spend: i64) -> Result<(), Defect> {
        let spent = self.qualifying_spend.checked_add(spend);
        self.qualifying_spend = spent.ok_or_else(|| Defect::new(format!("entry {}: the spend overflows", entry.id)))?;
        Ok(())
    }
}

impl State for StandingsState {
    fn apply(&mut self, entry: &Entry) -> Result<(), Defect> {
        match &entry.detail {
            Detail::Tier(detail) => self.apply_tier(entry, detail)?,
            Detail::Activity(detail) => self.apply_activity(entry, detail)?,
            // Neither points nor anything else counts for a tier.
            Detail::Program(_) | Detail::Customer(_) | Detail::Points(_) | Detail::Referral(_) => return Ok(()),
        }
        self.mark(entry)
    }

    fn rows(&self, account_id: AccountId) -> Box<dyn Iterator<Item = Row<'_>> + Send + '_> {
        let own = self.rows.get(&account_id).into_iter().map(|standing| {
            let mut row = standing_row("standing", Cell::Absent, standing);
            row.columns.push(("last_seq", standing.last_seq.into()));
            row
        });
        let marks = self.marks.range((account_id, i64::MIN)..=(account_id, i64::MAX));
        Box::new(own.chain(marks.map(|((_, seq), mark)| standing_row("standing after entry", (*seq).into(), mark))))
    }
}

fn standing_row<'a>(noun: &'static str, key: Cell<'a>, standing: &'a Standing) -> Row<'a> {
    let columns = vec![
        ("tier_id", Cell::word(standing.tier_id.as_str())),
        ("since", standing.since.into()),
        ("policy_version", standing.policy_version.into()),
        ("changed_seq", standing.changed_seq.into()),
        ("cause_seq", standing.cause_seq.into()),
        ("qualifying_spend", standing.qualifying_spend.into()),
        ("purchases", standing.purchases.into()),
    ];
    Row { noun, key, columns }
}

fn cause_of(entry: &Entry) -> Result<i64, Defect> {
    let cause = entry.causes.first().filter(|cause| cause.account_id == entry.id.account_id);
    cause.map(|cause| cause.account_seq).ok_or_else(|| Defect::new(format!("entry {}: no cause", entry.id)))
}
