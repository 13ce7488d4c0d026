//! What the customers of a batch used of their benefits, what was granted to them, and when their tier periods began.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::grants::Grant;
use super::model::begins_tier_period;
use super::packages::state::{Given, Packages, rows};
use super::rights::BY_TIER;
use crate::book::{
    Account, BenefitDetail, Cell, CustomerDetail, Defect, Detail, Due, Dues, Entry, NewEntry, Row, State, UseCounts,
};
use crate::ids::{AccountId, BenefitId};

/// What commands ask for. Nothing else is loaded.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// Benefits of which the last uses are needed, and the grants in force, with the earliest instant.
    pub(super) benefits: BTreeMap<(AccountId, BenefitId), Timestamp>,
    /// Accounts of which all grants in force are needed, with the earliest instant.
    pub(super) accounts: BTreeMap<AccountId, Timestamp>,
    /// Grants that are needed whether they are in force or not, by their entries.
    pub(super) grants: BTreeSet<(AccountId, i64)>,
    /// Uses that may be reversed, by their entries.
    pub(super) uses: BTreeSet<(AccountId, i64)>,
}

/// What customers used of their benefits.
#[derive(Default)]
pub(crate) struct BenefitsState {
    pub(super) asked: Asked,
    /// What was granted, by account and entry.
    pub(super) grants: BTreeMap<(AccountId, i64), Grant>,
    pub(super) changed_grants: BTreeSet<(AccountId, i64)>,
    /// Uses and reversals, by account and entry: of each benefit that was asked for, the last by the tiers and by each grant.
    pub(super) uses: BTreeMap<(AccountId, i64), BenefitUse>,
    pub(super) new_uses: BTreeSet<(AccountId, i64)>,
    /// When tier periods began, by account and the entry that began them.
    pub(super) periods: BTreeMap<(AccountId, i64), Timestamp>,
    pub(super) new_periods: BTreeSet<(AccountId, i64)>,
    pub(super) packages: Packages,
}

/// A use of a benefit, or the reversal of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BenefitUse {
    /// The benefit.
    pub benefit_id: BenefitId,
    /// When.
    pub used_at: Timestamp,
    /// The entry of the grant that gave it; [`BY_TIER`] where a tier did.
    pub granted: i64,
    /// How many uses it counts as; of a reversal, how many it takes off.
    pub counted: i64,
    /// The entry of the use that this one reverses.
    pub reverses: Option<i64>,
    /// How often the benefit has been used by that right from then on.
    pub counts: UseCounts,
}

impl BenefitsState {
    /// Asks for the last use of a benefit by the tiers, for the grants of it that are in force at an instant or later, with
    /// the last use of each, and for the tier period of the account.
    pub(super) fn ask_benefit(&mut self, account_id: AccountId, benefit_id: &BenefitId, at: Timestamp) {
        let earliest = self.asked.benefits.entry((account_id, benefit_id.clone())).or_insert(at);
        *earliest = at.min(*earliest);
    }

    /// Asks for all grants of an account that are in force at an instant or later.
    pub(super) fn ask_grants(&mut self, account_id: AccountId, at: Timestamp) {
        let earliest = self.asked.accounts.entry(account_id).or_insert(at);
        *earliest = at.min(*earliest);
    }

    /// Asks for a grant by its entry, in force or not.
    pub(super) fn ask_grant(&mut self, account_id: AccountId, seq: i64) {
        self.asked.grants.insert((account_id, seq));
    }

    /// A grant by its entry that was asked for; none if the entry is no grant.
    pub(super) fn get_grant(&self, account_id: AccountId, seq: i64) -> Option<&Grant> {
        self.grants.get(&(account_id, seq))
    }

    /// The grants of an account that are in force at an instant, by their entries, as far as they were asked for.
    pub(super) fn grants_in_force(&self, account_id: AccountId, at: Timestamp) -> impl Iterator<Item = (i64, &Grant)> {
        let own = self.grants.range((account_id, i64::MIN)..=(account_id, i64::MAX));
        own.filter(move |(_, grant)| grant.ended_by(at).is_none()).map(|((_, seq), grant)| (*seq, grant))
    }

    /// Asks for a use by its entry, for its reversal, and for the last use of the same benefit by the same right.
    pub(super) fn ask_use(&mut self, account_id: AccountId, seq: i64) {
        self.asked.uses.insert((account_id, seq));
    }

    /// The last use of a benefit that was [asked for](Self::ask_benefit) by a grant or, with [`BY_TIER`], by the tiers: with
    /// its counts.
    pub(super) fn last_counts(
        &self,
        account_id: AccountId,
        benefit_id: &BenefitId,
        granted: i64,
    ) -> Option<&UseCounts> {
        let own = self.uses.range((account_id, i64::MIN)..=(account_id, i64::MAX));
        let mut same = own.rev().filter(|(_, it)| it.granted == granted && it.benefit_id == *benefit_id);
        same.next().map(|(_, it)| &it.counts)
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
        self.tier_period_at(account_id, i64::MAX)
    }

    /// The tier period that an entry of an account is in.
    fn tier_period_at(&self, account_id: AccountId, seq: i64) -> i64 {
        self.periods.range((account_id, i64::MIN)..=(account_id, seq)).next_back().map_or(0, |((_, began), _)| *began)
    }

    fn apply_benefit(&mut self, entry: &Entry, detail: &BenefitDetail) -> Result<(), Defect> {
        let used_at = entry.effective_at;
        match detail {
            BenefitDetail::BenefitUsed { benefit_id, granted, counted, counts, .. } => {
                let (benefit_id, granted) = (benefit_id.clone(), granted.unwrap_or(BY_TIER));
                let (counted, counts, reverses) = (*counted, *counts, None);
                self.count(entry, BenefitUse { benefit_id, used_at, granted, counted, reverses, counts })
            }
            BenefitDetail::BenefitUseReversed { benefit_id, granted, counted, used, counts } => {
                let (benefit_id, granted) = (benefit_id.clone(), granted.unwrap_or(BY_TIER));
                let (counted, counts, reverses) = (*counted, *counts, Some(*used));
                self.count(entry, BenefitUse { benefit_id, used_at, granted, counted, reverses, counts })
            }
            BenefitDetail::EntitlementGranted { .. } => {
                let key = (entry.id.account_id, entry.id.account_seq);
                self.grants.extend(Grant::of_entry(entry).map(|grant| (key, grant)));
                self.changed_grants.insert(key);
                Ok(())
            }
            BenefitDetail::PackageGiven { .. } => {
                Given::of(detail).into_iter().for_each(|given| self.packages.note_given(entry, given));
                Ok(())
            }
            BenefitDetail::EntitlementRevoked { granted, .. } => {
                let key = (entry.id.account_id, *granted);
                let missing = || Defect::new(format!("entry {}: no grant {granted} is loaded", entry.id));
                let grant = self.grants.get_mut(&key).ok_or_else(missing)?;
                if let Some(ended_at) = grant.ended_by(entry.effective_at) {
                    return Err(Defect::new(format!("entry {}: the grant ended at {ended_at}", entry.id)));
                }
                grant.revoked_at = Some(entry.effective_at);
                self.changed_grants.insert(key);
                Ok(())
            }
        }
    }

    /// Keeps a use, or the reversal of one.
    fn count(&mut self, entry: &Entry, it: BenefitUse) -> Result<(), Defect> {
        let key = (entry.id.account_id, entry.id.account_seq);
        let before = self.last_counts(key.0, &it.benefit_id, it.granted).map_or(0, |counts| counts.in_all);
        let after = if it.reverses.is_some() { before.checked_sub(it.counted) } else { before.checked_add(it.counted) };
        if after != Some(it.counts.in_all) {
            return Err(Defect::new(format!("entry {}: the benefit had been used {before} times before", entry.id)));
        }
        self.uses.insert(key, it);
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
                self.packages.note_reached(entry, detail);
                Ok(())
            }
            Detail::Customer(CustomerDetail::CustomerErased { .. }) => {
                self.packages.note_erased(entry);
                Ok(())
            }
            Detail::Program(_)
            | Detail::Customer(_)
            | Detail::Activity(_)
            | Detail::Points(_)
            | Detail::Referral(_)
            | Detail::Complaint(_)
            | Detail::Goodwill(_)
            | Detail::Lifecycle(_)
            | Detail::Value(_) => Ok(()),
        }
    }

    fn dues(&self) -> Option<&dyn Dues> {
        Some(self)
    }

    fn rows(&self, account_id: AccountId) -> Box<dyn Iterator<Item = Row<'_>> + Send + '_> {
        let whole = (account_id, i64::MIN)..=(account_id, i64::MAX);
        let grants = self.grants.range(whole.clone()).map(|((_, seq), grant)| grant_row(*seq, grant));
        let uses = self.uses.range(whole.clone()).map(|((_, seq), it)| use_row(*seq, it));
        let periods = self.periods.range(whole).map(|((_, seq), began_at)| Row {
            noun: "tier period of entry",
            key: (*seq).into(),
            columns: vec![("began_at", (*began_at).into())],
        });
        let (owed, given) = rows(&self.packages, account_id);
        Box::new(grants.chain(uses).chain(given).chain(owed).chain(periods))
    }
}

impl Dues for BenefitsState {
    fn next_due(&self, account_id: AccountId) -> Option<Due> {
        self.packages.next_due(account_id, |seq| self.tier_period_at(account_id, seq))
    }

    fn decide_due(&self, account: &Account, due: Due) -> Vec<NewEntry> {
        let account_id = account.account_id;
        let in_force = |at| self.grants_in_force(account_id, at).count();
        self.packages.decide_due(account, due, |seq| self.tier_period_at(account_id, seq), in_force)
    }
}

fn grant_row(seq: i64, grant: &Grant) -> Row<'_> {
    Row {
        noun: "benefit grant of entry",
        key: seq.into(),
        columns: vec![
            ("benefit_id", Cell::word(grant.benefit_id.as_str())),
            ("tier_id", grant.tier_id.as_ref().map_or(Cell::Absent, |tier_id| Cell::word(tier_id.as_str()))),
            ("policy_version", grant.policy_version.into()),
            ("granted_at", grant.granted_at.into()),
            ("use_limit", grant.limit.into()),
            ("counts_companions", grant.counts_companions.into()),
            ("ends_at", grant.ends_at.into()),
            ("revoked_at", grant.revoked_at.into()),
            ("package_id", grant.package_id.as_ref().map_or(Cell::Absent, |it| Cell::word(it.as_str()))),
        ],
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
            ("granted_seq", it.granted.into()),
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
