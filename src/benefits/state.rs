//! What the customers of a batch used of their benefits, and when their tier periods began.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::model::begins_tier_period;
use crate::book::{BenefitDetail, Cell, Defect, Detail, Entry, Row, State, UseCounts};
use crate::ids::{AccountId, BenefitId};

/// What commands ask for. Nothing else is loaded.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// Benefits of which the last use is needed.
    pub(super) benefits: BTreeSet<(AccountId, BenefitId)>,
    /// Uses that may be reversed, by their entries.
    pub(super) uses: BTreeSet<(AccountId, i64)>,
}

/// What customers used of their benefits.
#[derive(Default)]
pub(crate) struct BenefitsState {
    pub(super) asked: Asked,
    /// Uses and reversals, by account and entry: of each benefit that was asked for, the last.
    pub(super) uses: BTreeMap<(AccountId, i64), BenefitUse>,
    pub(super) new_uses: BTreeSet<(AccountId, i64)>,
    /// When tier periods began, by account and the entry that began them.
    pub(super) periods: BTreeMap<(AccountId, i64), Timestamp>,
    pub(super) new_periods: BTreeSet<(AccountId, i64)>,
}

/// A use of a benefit, or the reversal of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BenefitUse {
    /// The benefit.
    pub benefit_id: BenefitId,
    /// When.
    pub used_at: Timestamp,
    /// How many uses it counts as; of a reversal, how many it takes off.
    pub counted: i64,
    /// The entry of the use that this one reverses.
    pub reverses: Option<i64>,
    /// How often the benefit has been used from then on.
    pub counts: UseCounts,
}

impl BenefitsState {
    /// Asks for the last use of a benefit, and for the tier period of the account.
    pub(super) fn ask_benefit(&mut self, account_id: AccountId, benefit_id: &BenefitId) {
        self.asked.benefits.insert((account_id, benefit_id.clone()));
    }

    /// Asks for a use by its entry, for its reversal, and for the last use of the same benefit.
    pub(super) fn ask_use(&mut self, account_id: AccountId, seq: i64) {
        self.asked.uses.insert((account_id, seq));
    }

    /// The last use of a benefit that was [asked for](Self::ask_benefit), with its counts.
    pub(super) fn last_counts(&self, account_id: AccountId, benefit_id: &BenefitId) -> Option<&UseCounts> {
        let own = self.uses.range((account_id, i64::MIN)..=(account_id, i64::MAX));
        own.rev().find(|(_, it)| it.benefit_id == *benefit_id).map(|(_, it)| &it.counts)
    }

    /// A use by its entry that was [asked for](Self::ask_use); none if the entry is no use.
    pub(super) fn get_use(&self, account_id: AccountId, seq: i64) -> Option<&BenefitUse> {
        self.uses.get(&(account_id, seq)).filter(|it| it.reverses.is_none())
    }

    /// Whether a use was reversed.
    pub(super) fn is_reversed(&self, account_id: AccountId, seq: i64) -> bool {
        let mut own = self.uses.range((account_id, seq)..=(account_id, i64::MAX));
        own.any(|(_, it)| it.reverses == Some(seq))
    }

    /// The tier period of an account, by the number of the entry that began it; 0 for the one that began with the customer.
    pub(super) fn tier_period(&self, account_id: AccountId) -> i64 {
        self.periods.range((account_id, i64::MIN)..=(account_id, i64::MAX)).next_back().map_or(0, |((_, seq), _)| *seq)
    }

    fn apply_benefit(&mut self, entry: &Entry, detail: &BenefitDetail) -> Result<(), Defect> {
        let (account_id, used_at) = (entry.id.account_id, entry.effective_at);
        let (benefit_id, counted, reverses, counts) = match detail {
            BenefitDetail::BenefitUsed { benefit_id, counted, counts, .. } => (benefit_id, *counted, None, *counts),
            BenefitDetail::BenefitUseReversed { benefit_id, counted, used, counts } => {
                (benefit_id, *counted, Some(*used), *counts)
            }
        };
        let before = self.last_counts(account_id, benefit_id).map_or(0, |counts| counts.in_all);
        let after = if reverses.is_some() { before.checked_sub(counted) } else { before.checked_add(counted) };
        if after != Some(counts.in_all) {
            return Err(Defect::new(format!("entry {}: the benefit had been used {before} times before", entry.id)));
        }
        let key = (account_id, entry.id.account_seq);
        self.uses.insert(key, BenefitUse { benefit_id: benefit_id.clone(), used_at, counted, reverses, counts });
        self.new_uses.insert(key);
        Ok(())
    }
}

impl State for BenefitsState {
    fn apply(&mut self, entry: &Entry) -> Result<(), Defect> {
        match &entry.detail {
            Detail::Benefit(detail) => self.apply_benefit(entry, detail),
            Detail::Tier(detail) => {
                if begins_tier_period(entry, detail) {
                    let key = (entry.id.account_id, entry.id.account_seq);
                    self.periods.insert(key, entry.effective_at);
                    self.new_periods.insert(key);
                }
                Ok(())
            }
            Detail::Program(_)
            | Detail::Customer(_)
            | Detail::Activity(_)
            | Detail::Points(_)
            | Detail::Referral(_) => Ok(()),
        }
    }

    fn rows(&self, account_id: AccountId) -> Box<dyn Iterator<Item = Row<'_>> + Send + '_> {
        let whole = (account_id, i64::MIN)..=(account_id, i64::MAX);
        let uses = self.uses.range(whole.clone()).map(|((_, seq), it)| use_row(*seq, it));
        let periods = self.periods.range(whole).map(|((_, seq), began_at)| Row {
            noun: "tier period of entry",
            key: (*seq).into(),
            columns: vec![("began_at", (*began_at).into())],
        });
        Box::new(uses.chain(periods))
    }
}

fn use_row(seq: i64, it: &BenefitUse) -> Row<'_> {
    let UseCounts { day, tier_period, in_tier_period, in_month, in_quarter, in_half, in_year, in_all } = it.counts;
    Row {
        noun: "benefit use of entry",
        key: seq.into(),
        columns: vec![
            ("benefit_id", Cell::word(it.benefit_id.as_str())),
            ("used_at", it.used_at.into()),
            ("counted", it.counted.into()),
            ("reverses_seq", it.reverses.into()),
            ("day", Cell::text(day.to_string())),
            ("tier_period", tier_period.into()),
            ("in_tier_period", in_tier_period.into()),
            ("in_month", in_month.into()),
            ("in_quarter", in_quarter.into()),
            ("in_half", in_half.into()),
            ("in_year", in_year.into()),
            ("in_all", in_all.into()),
        ],
    }
}
