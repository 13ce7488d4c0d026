//! The standings of a batch, and what each entry does to them.

use std::collections::{BTreeMap, BTreeSet};

use super::model::Standing;
use crate::book::{Cell, Defect, Detail, Entry, Row, State};
use crate::ids::AccountId;

/// The standings of a batch.
#[derive(Default)]
pub struct StandingsState {
    pub(super) rows: BTreeMap<AccountId, Standing>,
    pub(super) changed: BTreeSet<AccountId>,
}

impl StandingsState {
    /// A customer's standing.
    #[must_use]
    pub fn get(&self, account_id: AccountId) -> Option<&Standing> {
        self.rows.get(&account_id)
    }

    fn get_mut(&mut self, entry: &Entry) -> Result<&mut Standing, Defect> {
        let account_id = entry.id.account_id;
        self.changed.insert(account_id);
        self.rows.get_mut(&account_id).ok_or_else(|| Defect::new(format!("entry {}: no standing is loaded", entry.id)))
    }
}

impl State for StandingsState {
    fn apply(&mut self, entry: &Entry) -> Result<(), Defect> {
        match &entry.detail {
            Detail::TierChanged { from: None, to, .. } => {
                let standing = Standing {
                    tier_id: to.clone(),
                    since: entry.effective_at,
                    policy_version: entry.policy_version,
                    changed_seq: entry.id.account_seq,
                    cause_seq: cause_of(entry)?,
                    qualifying_spend: 0,
                    purchases: 0,
                };
                self.changed.insert(entry.id.account_id);
                self.rows.insert(entry.id.account_id, standing);
            }
            Detail::TierChanged { from: Some(_), to, .. } => {
                let cause_seq = cause_of(entry)?;
                let standing = self.get_mut(entry)?;
                standing.tier_id = to.clone();
                standing.since = entry.effective_at;
                standing.policy_version = entry.policy_version;
                standing.changed_seq = entry.id.account_seq;
                standing.cause_seq = cause_seq;
            }
            Detail::ActivityAccepted { spend, .. } => {
                let standing = self.get_mut(entry)?;
                let spent = standing.qualifying_spend.checked_add(*spend);
                standing.qualifying_spend =
                    spent.ok_or_else(|| Defect::new(format!("entry {}: the spend overflows", entry.id)))?;
                standing.purchases += i64::from(*spend > 0);
            }
            Detail::RefundAccepted { spend, .. } => {
                let standing = self.get_mut(entry)?;
                standing.qualifying_spend -= *spend;
                if standing.qualifying_spend < 0 {
                    return Err(Defect::new(format!("entry {}: more is refunded than was spent", entry.id)));
                }
            }
            Detail::TierImported { to, qualifying_spend, .. } => {
                let standing = self.get_mut(entry)?;
                let spent = standing.qualifying_spend.checked_add(*qualifying_spend);
                standing.qualifying_spend =
                    spent.ok_or_else(|| Defect::new(format!("entry {}: the spend overflows", entry.id)))?;
                if standing.tier_id != *to {
                    standing.tier_id = to.clone();
                    standing.since = entry.effective_at;
                    standing.policy_version = entry.policy_version;
                    standing.changed_seq = entry.id.account_seq;
                    standing.cause_seq = entry.id.account_seq;
                }
            }
            // Everything else concerns other states.
            _ => {}
        }
        Ok(())
    }

    fn rows(&self, account_id: AccountId) -> Box<dyn Iterator<Item = Row<'_>> + Send + '_> {
        Box::new(self.rows.get(&account_id).into_iter().map(|standing| Row {
            noun: "standing",
            key: Cell::Absent,
            columns: vec![
                ("tier_id", Cell::word(standing.tier_id.as_str())),
                ("since", standing.since.into()),
                ("policy_version", standing.policy_version.into()),
                ("changed_seq", standing.changed_seq.into()),
                ("cause_seq", standing.cause_seq.into()),
                ("qualifying_spend", standing.qualifying_spend.into()),
                ("purchases", standing.purchases.into()),
            ],
        }))
    }
}

fn cause_of(entry: &Entry) -> Result<i64, Defect> {
    let cause = entry.causes.first().filter(|cause| cause.account_id == entry.id.account_id);
    cause.map(|cause| cause.account_seq).ok_or_else(|| Defect::new(format!("entry {}: no cause", entry.id)))
}
