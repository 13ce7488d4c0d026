//! The standings of a batch with the days that count for them, and what each entry and time do to them.

mod dues;
mod rows;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;

use self::rows::{day_row, standing_row};
use super::counting::{Counted, DayCount, History, counted_by};
use super::standing::{Standing, TierOverride};
use crate::book::{
    ActivityDetail, Cell, Counts, CustomerDetail, Defect, Detail, Dues, Earnings, Entry, EntryReason, Occasion,
    Outlook, Row, State, TierDetail, TierMove,
};
use crate::ids::{AccountId, ProgramId, TierId};
use crate::programs::model::ProgramVersion;
use crate::programs::tier_policy::windows::DayRange;

/// What commands ask for.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// The earliest instant at which a command decides.
    pub(super) earliest: Option<Timestamp>,
    /// The earliest instant at which one decides about an account.
    pub(super) instants: BTreeMap<AccountId, Timestamp>,
    /// When activities happened.
    pub(super) happened: BTreeSet<(AccountId, Timestamp)>,
    /// The keys of purchases that are refunded.
    pub(super) purchases: BTreeSet<(AccountId, [u8; 32])>,
}

/// The versions of a program that decide what is due, in their order.
#[derive(Debug, Default)]
pub(super) struct DueVersions {
    pub(super) versions: Vec<Arc<ProgramVersion>>,
    /// Whether versions that were applied later were not read.
    pub(super) has_more: bool,
}

/// The standings of a batch.
#[derive(Default)]
pub(crate) struct StandingsState {
    pub(super) asked: Asked,
    pub(super) rows: BTreeMap<AccountId, Standing>,
    pub(super) changed: BTreeSet<AccountId>,
    /// Accounts whose customers are erased, so that time does nothing to their standing any more.
    pub(super) ended: BTreeSet<AccountId>,
    /// Standings after the first entry that changed them in each block of entries, by account and entry.
    pub(super) marks: BTreeMap<(AccountId, i64), Standing>,
    pub(super) new_marks: BTreeSet<(AccountId, i64)>,
    /// What was counted, by account and day.
    pub(super) days: BTreeMap<(AccountId, Date), DayCount>,
    pub(super) changed_days: BTreeSet<(AccountId, Date)>,
    /// Which days of an account were read.
    pub(super) read: BTreeMap<AccountId, Vec<DayRange>>,
    /// Days as they were at the end of earlier blocks of entries, by account, day and the last entry that counted.
    pub(super) day_marks: BTreeMap<(AccountId, Date, i64), DayCount>,
    pub(super) new_day_marks: BTreeSet<(AccountId, Date, i64)>,
    /// The versions that decide what is due.
    pub(super) versions: BTreeMap<ProgramId, DueVersions>,
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

    /// What was counted for a customer, as far as it was read.
    #[must_use]
    pub(crate) fn history(&self, account_id: AccountId) -> History {
        let days = self.days.range((account_id, Date::MIN)..=(account_id, Date::MAX));
        History {
            totals: self.rows.get(&account_id).map_or(Counted::default(), |standing| standing.totals),
            days: days.map(|((_, day), count)| (*day, *count)).collect(),
            read: self.read.get(&account_id).cloned().unwrap_or_default(),
        }
    }

    /// Asks for what decides a standing at an instant: of accounts that are not named, too, such as a referrer's.
    pub(crate) fn ask_instant(&mut self, at: Timestamp) {
        self.asked.earliest = self.asked.earliest.into_iter().chain([at]).min();
    }

    /// Asks for what decides a standing once something is counted that happened at an instant.
    pub(crate) fn ask_activity(&mut self, account_id: AccountId, at: Timestamp, happened_at: Timestamp) {
        let earliest = self.asked.instants.entry(account_id).or_insert(at);
        *earliest = at.min(*earliest);
        self.asked.happened.insert((account_id, happened_at));
    }

    /// Asks for what decides a standing once a purchase is refunded.
    pub(crate) fn ask_refund(&mut self, account_id: AccountId, at: Timestamp, purchase: [u8; 32]) {
        let earliest = self.asked.instants.entry(account_id).or_insert(at);
        *earliest = at.min(*earliest);
        self.asked.purchases.insert((account_id, purchase));
    }

    fn get_mut(&mut self, entry: &Entry) -> Result<&mut Standing, Defect> {
        let account_id = entry.id.account_id;
        self.changed.insert(account_id);
        self.rows.get_mut(&account_id).ok_or_else(|| Defect::new(format!("entry {}: no standing is loaded", entry.id)))
    }

    fn apply_tier(&mut self, entry: &Entry, detail: &TierDetail) -> Result<(), Defect> {
        match detail {
            TierDetail::TierChanged { from: None, to, enrolled_on, .. } => {
                let account_id = entry.id.account_id;
                let cause_seq = cause_of(entry)?;
                let standing = Standing::new(to.clone(), entry.effective_at, entry.policy_version, *enrolled_on);
                let standing = Standing { changed_seq: entry.id.account_seq, cause_seq, ..standing };
                self.changed.insert(account_id);
                self.rows.insert(account_id, standing);
                self.read.insert(account_id, vec![DayRange::ALL]);
            }
            TierDetail::TierChanged { from: Some(_), to, hidden, change, former_ends_at, earned, outlook, .. } => {
                let cause_seq = cause_of(entry)?;
                let standing = self.get_mut(entry)?;
                standing.outlook = *outlook;
                let own = hidden.as_ref().unwrap_or(to);
                // Where only the end is another one, the tier rests on what it rested on.
                let is_retimed = *change == Some(TierMove::Redecided) && standing.own_tier_id() == own;
                let window = earned.map(|Earnings { from, until, .. }| DayRange { from, until });
                standing.rest_on(own, *change, window, *former_ends_at, entry.reason == EntryReason::Refund);
                let gave = (standing.policy_version, standing.changed_seq, standing.cause_seq);
                standing.decide(entry, to, hidden.as_ref(), cause_seq)?;
                if is_retimed && earned.is_none() {
                    (standing.policy_version, standing.changed_seq, standing.cause_seq) = gave;
                }
            }
            TierDetail::TierImported { to, hidden, qualifying_spend, outlook, .. } => {
                let standing = self.get_mut(entry)?;
                standing.totals.spend = add(entry, standing.totals.spend, *qualifying_spend)?;
                standing.outlook = *outlook;
                if standing.own_tier_id() != hidden.as_ref().unwrap_or(to) {
                    (standing.earned, standing.former) = (None, None);
                    standing.decide(entry, to, hidden.as_ref(), entry.id.account_seq)?;
                } else {
                    standing.hold(entry, to);
                }
            }
            TierDetail::TierOverridden { to, hidden, tier_id, force, ends_at, .. } => {
                let forced = TierOverride {
                    force: *force,
                    tier_id: tier_id.clone(),
                    ends_at: *ends_at,
                    set_seq: entry.id.account_seq,
                    hidden: hidden.clone(),
                };
                let standing = self.get_mut(entry)?;
                standing.forced = Some(forced);
                standing.hold(entry, to);
            }
            TierDetail::TierReleased { to, .. } => {
                let standing = self.get_mut(entry)?;
                standing.forced = None;
                standing.hold(entry, to);
            }
            TierDetail::ReferralCounted { outlook, .. } => {
                self.get_mut(entry)?.outlook = *outlook;
                if let Some((day, more)) = counted_by(entry) {
                    self.count(entry, day, &more)?;
                }
            }
        }
        Ok(())
    }

    /// Counts something on a day. What the day was at the end of an earlier block of entries is kept.
    fn count(&mut self, entry: &Entry, day: Date, more: &DayCount) -> Result<(), Defect> {
        let key = (entry.id.account_id, day);
        let defect = |what: &str| Defect::new(format!("entry {}: {what}", entry.id));
        if !self.read.get(&key.0).is_some_and(|read| read.iter().any(|range| range.contains(day))) {
            return Err(defect("the day that it counts on is not loaded"));
        }
        let before = self.days.get(&key).copied();
        if let Some(before) = before.filter(|it| last_of_block(it.last_seq) != last_of_block(entry.id.account_seq)) {
            let mark = (key.0, day, before.last_seq);
            self.day_marks.insert(mark, before);
            self.new_day_marks.insert(mark);
        }
        let before = before.unwrap_or_default();
        let after = before.plus(more).ok_or_else(|| defect("what is counted overflows"))?;
        self.days.insert(key, after);
        self.changed_days.insert(key);
        let standing = self.get_mut(entry)?;
        standing.totals.margin = add(entry, standing.totals.margin, more.margin)?;
        standing.totals.points = add(entry, standing.totals.points, more.points)?;
        standing.totals.referrals = add(entry, standing.totals.referrals, more.referrals)?;
        standing.totals.active_days += i64::from(after.purchases > 0) - i64::from(before.purchases > 0);
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
        let (spend, purchases, counts) = match detail {
            ActivityDetail::ActivityAccepted { spend, counts, .. } => (*spend, i64::from(*spend > 0), counts),
            ActivityDetail::RefundAccepted { spend, counts, .. } => {
                (-*spend, -i64::from(counts.is_some_and(|counts| counts.whole)), counts)
            }
            ActivityDetail::FeedbackAccepted { .. } => return Ok(()),
        };
        let standing = self.get_mut(entry)?;
        standing.totals.spend = add(entry, standing.totals.spend, spend)?;
        standing.totals.purchases += purchases;
        standing.accepted += purchases.max(0);
        if standing.totals.spend < 0 {
            return Err(Defect::new(format!("entry {}: more is refunded than was spent", entry.id)));
        }
        if let Some(Counts { outlook, former_lost, .. }) = counts {
            standing.outlook = *outlook;
            if *former_lost {
                standing.former = None;
            }
        }
        match counted_by(entry) {
            Some((day, more)) => self.count(entry, day, &more),
            None => Ok(()),
        }
    }

    /// The accounts whose standings time decides by an instant, and the versions by which it does so that give packages to
    /// those whose tier rises. None, if no version does.
    #[must_use]
    pub(crate) fn may_rise(&self, by: Timestamp) -> (Vec<Arc<ProgramVersion>>, BTreeSet<AccountId>) {
        let all = self.versions.values().flat_map(|it| &it.versions);
        let giving = all.filter(|version| version.program.has_packages_for(Occasion::TierReached));
        let giving: Vec<Arc<ProgramVersion>> = giving.cloned().collect();
        let is_due = |standing: &Standing| !giving.is_empty() && standing.next_due().is_some_and(|due| due.at <= by);
        let due = self.rows.iter().filter(|(_, standing)| is_due(standing)).map(|(account_id, _)| *account_id);
        let due = due.collect();
        (giving, due)
    }

    /// The version that was in force at an instant, as far as it was read.
    fn version_at(&self, program_id: &ProgramId, at: Timestamp) -> Option<&Arc<ProgramVersion>> {
        let DueVersions { versions, has_more } = self.versions.get(program_id)?;
        let is_known = !has_more || versions.last().is_some_and(|last| last.applied_at > at);
        let by_then = versions.iter().rev().find(|version| version.effective_from <= at);
        // Before the first one of all, that one decides.
        by_then.or_else(|| versions.first().filter(|first| first.version == 1)).filter(|_| is_known)
    }
}

impl Standing {
    /// The customer holds a tier from an entry on.
    fn hold(&mut self, entry: &Entry, to: &TierId) {
        if self.tier_id != *to {
            self.since = entry.effective_at;
        }
        self.tier_id = to.clone();
    }

    /// The customer's own tier was decided.
    fn decide(&mut self, entry: &Entry, to: &TierId, hidden: Option<&TierId>, cause_seq: i64) -> Result<(), Defect> {
        match (&mut self.forced, hidden) {
            (None, None) => {}
            (Some(forced), Some(hidden)) => forced.hidden = hidden.clone(),
            (None, Some(_)) | (Some(_), None) => {
                return Err(Defect::new(format!("entry {}: it contradicts the override of the standing", entry.id)));
            }
        }
        self.hold(entry, to);
        self.policy_version = entry.policy_version;
        self.changed_seq = entry.id.account_seq;
        self.cause_seq = cause_seq;
        Ok(())
    }
}

fn add(entry: &Entry, sum: i64, more: i64) -> Result<i64, Defect> {
    sum.checked_add(more).ok_or_else(|| Defect::new(format!("entry {}: what is counted overflows", entry.id)))
}

impl State for StandingsState {
    fn apply(&mut self, entry: &Entry) -> Result<(), Defect> {
        match &entry.detail {
            Detail::Tier(detail) => self.apply_tier(entry, detail)?,
            // What somebody says counts for no tier.
            Detail::Activity(ActivityDetail::FeedbackAccepted { .. }) => return Ok(()),
            Detail::Activity(detail) => self.apply_activity(entry, detail)?,
            // It needs no standing that is loaded: who erases a customer asks for none.
            Detail::Customer(CustomerDetail::CustomerErased { .. }) => {
                let account_id = entry.id.account_id;
                self.ended.insert(account_id);
                if let Some(standing) = self.rows.get_mut(&account_id) {
                    standing.outlook = Outlook::default();
                    if let Some(forced) = &mut standing.forced {
                        forced.ends_at = None;
                    }
                }
                return Ok(());
            }
            // Neither points nor anything else counts for a tier.
            Detail::Program(_)
            | Detail::Customer(_)
            | Detail::Points(_)
            | Detail::Benefit(_)
            | Detail::Referral(_)
            | Detail::Complaint(_)
            | Detail::Goodwill(_)
            | Detail::Lifecycle(_)
            | Detail::Value(_) => {
                return Ok(());
            }
        }
        self.mark(entry)
    }

    fn dues(&self) -> Option<&dyn Dues> {
        Some(self)
    }

    fn rows(&self, account_id: AccountId) -> Box<dyn Iterator<Item = Row<'_>> + Send + '_> {
        let own = self.rows.get(&account_id).into_iter().map(|standing| {
            let mut row = standing_row("standing", Cell::Absent, standing);
            row.columns.push(("last_seq", standing.last_seq.into()));
            row
        });
        let marks = self.marks.range((account_id, i64::MIN)..=(account_id, i64::MAX));
        let marks = marks.map(|((_, seq), mark)| standing_row("standing after entry", (*seq).into(), mark));
        let days = self.days.range((account_id, Date::MIN)..=(account_id, Date::MAX));
        let days = days.map(|((_, day), count)| day_row("standing day", Cell::text(day.to_string()), count));
        let day_marks = self.day_marks.range((account_id, Date::MIN, i64::MIN)..=(account_id, Date::MAX, i64::MAX));
        let day_marks = day_marks.map(|((_, day, seq), count)| {
            day_row("standing day after entry", Cell::text(format!("{day} {seq:019}")), count)
        });
        Box::new(own.chain(marks).chain(days).chain(day_marks))
    }
}

fn cause_of(entry: &Entry) -> Result<i64, Defect> {
    let cause = entry.causes.first().filter(|cause| cause.account_id == entry.id.account_id);
    cause.map(|cause| cause.account_seq).ok_or_else(|| Defect::new(format!("entry {}: no cause", entry.id)))
}
