//! The goodwill of a batch: what was given to customers, and what was drawn from pots.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::limits::{add, counts_on};
use crate::book::{Cell, Defect, Detail, Entry, GivenCounts, GoodwillDetail, Row, State};
use crate::ids::{AccountId, BenefitId};

/// Something that a customer was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Given {
    /// The complaint that it was given for, by the number of the entry that opened it.
    pub complaint: Option<i64>,
    pub given_at: Timestamp,
    /// As how many points it counts.
    pub value: i64,
    /// The benefit; points, if absent.
    pub benefit_id: Option<BenefitId>,
}

impl Given {
    /// What an entry gave; none, if it is no such entry.
    #[must_use]
    pub(crate) fn of_entry(entry: &Entry) -> Option<Self> {
        let Detail::Goodwill(GoodwillDetail::GoodwillGiven { value, benefit_id, complaint, .. }) = &entry.detail else {
            return None;
        };
        let (value, benefit_id, complaint) = (*value, benefit_id.clone(), *complaint);
        Some(Self { complaint, given_at: entry.effective_at, value, benefit_id })
    }
}

/// What an account counts, and the entry that last told it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Counted {
    pub(super) counts: GivenCounts,
    pub(super) last_seq: i64,
}

/// The goodwill of a batch.
#[derive(Default)]
pub(crate) struct GoodwillState {
    /// Accounts of which it must be known what they count.
    pub(super) asked: BTreeSet<AccountId>,
    pub(super) counted: BTreeMap<AccountId, Counted>,
    pub(super) changed: BTreeSet<AccountId>,
    /// What was given, by account and entry: only added.
    pub(super) given: BTreeMap<(AccountId, i64), Given>,
    pub(super) new: BTreeSet<(AccountId, i64)>,
}

impl GoodwillState {
    /// Asks what an account counts.
    pub(super) fn ask(&mut self, account_id: AccountId) {
        self.asked.insert(account_id);
    }

    /// What an account counts that was asked for; nothing, if absent.
    pub(super) fn counts(&self, account_id: AccountId) -> Option<GivenCounts> {
        self.counted.get(&account_id).map(|counted| counted.counts)
    }
}

impl State for GoodwillState {
    fn apply(&mut self, entry: &Entry) -> Result<(), Defect> {
        let Detail::Goodwill(detail) = &entry.detail else { return Ok(()) };
        let (account_id, last_seq) = (entry.id.account_id, entry.id.account_seq);
        let (GoodwillDetail::GoodwillGiven { value, counts, .. } | GoodwillDetail::GoodwillDrawn { value, counts }) =
            detail;
        let before = counts_on(self.counts(account_id), counts.day);
        if add(&before, *value) != Some(*counts) {
            return Err(Defect::new(format!("entry {}: it does not count on from what was given before", entry.id)));
        }
        self.counted.insert(account_id, Counted { counts: *counts, last_seq });
        self.changed.insert(account_id);
        if let Some(given) = Given::of_entry(entry) {
            self.given.insert((account_id, last_seq), given);
            self.new.insert((account_id, last_seq));
        }
        Ok(())
    }

    fn rows(&self, account_id: AccountId) -> Box<dyn Iterator<Item = Row<'_>> + Send + '_> {
        let counted = self.counted.get(&account_id).into_iter().map(counted_row);
        let given = self.given.range((account_id, i64::MIN)..=(account_id, i64::MAX));
        Box::new(counted.chain(given.map(|((_, seq), given)| given_row(*seq, given))))
    }
}

fn counted_row(counted: &Counted) -> Row<'_> {
    let GivenCounts { day, in_day, in_week, in_month, in_quarter, in_half, in_year } = counted.counts;
    Row {
        noun: "goodwill counts",
        key: Cell::Absent,
        columns: vec![
            ("last_seq", counted.last_seq.into()),
            ("day", Cell::text(day)),
            ("in_day", in_day.into()),
            ("in_week", in_week.into()),
            ("in_month", in_month.into()),
            ("in_quarter", in_quarter.into()),
            ("in_half", in_half.into()),
            ("in_year", in_year.into()),
        ],
    }
}

fn given_row(seq: i64, given: &Given) -> Row<'_> {
    Row {
        noun: "goodwill of entry",
        key: seq.into(),
        columns: vec![
            ("complaint_seq", given.complaint.into()),
            ("given_at", given.given_at.into()),
            ("value", given.value.into()),
            ("benefit_id", given.benefit_id.as_ref().map_or(Cell::Absent, |it| Cell::word(it.as_str()))),
        ],
    }
}
