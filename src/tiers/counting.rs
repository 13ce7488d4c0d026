//! What is counted for tiers: day by day, and in all.

use jiff::civil::Date;

use crate::book::{ActivityDetail, Detail, Earnings, Entry, TierDetail};
use crate::programs::tier_policy::Metric;
use crate::programs::tier_policy::windows::DayRange;

/// What was counted on some days together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counted {
    /// What purchases cost less what was refunded, in minor units.
    pub spend: i64,
    /// The margin of purchases less that of what was refunded, in minor units.
    pub margin: i64,
    /// Points that purchases earned less those that refunds took off.
    pub points: i64,
    /// Purchases above zero that were not refunded as a whole.
    pub purchases: i64,
    /// Days with such a purchase.
    pub active_days: i64,
    /// Referrals that converted.
    pub referrals: i64,
}

/// What was counted on one local day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct DayCount {
    /// As [`Counted::spend`].
    pub spend: i64,
    /// As [`Counted::margin`].
    pub margin: i64,
    /// As [`Counted::points`].
    pub points: i64,
    /// As [`Counted::purchases`].
    pub purchases: i64,
    /// Purchases of any amount, also of nothing, that were not refunded as a whole.
    pub visits: i64,
    /// As [`Counted::referrals`].
    pub referrals: i64,
    /// The number of the last entry that counted on it.
    pub last_seq: i64,
}

impl DayCount {
    /// The day with more on it; nothing, if it cannot be counted. What is taken off is below zero.
    #[must_use]
    pub(crate) fn plus(self, more: &Self) -> Option<Self> {
        Some(Self {
            spend: self.spend.checked_add(more.spend)?,
            margin: self.margin.checked_add(more.margin)?,
            points: self.points.checked_add(more.points)?,
            purchases: self.purchases.checked_add(more.purchases)?,
            visits: self.visits.checked_add(more.visits)?,
            referrals: self.referrals.checked_add(more.referrals)?,
            last_seq: self.last_seq.max(more.last_seq),
        })
    }
}

impl Counted {
    /// What was counted of a metric.
    #[must_use]
    pub(crate) const fn of(&self, metric: Metric) -> i64 {
        match metric {
            Metric::Spend => self.spend,
            Metric::Margin => self.margin,
            Metric::Points => self.points,
            Metric::Purchases => self.purchases,
            Metric::ActiveDays => self.active_days,
            Metric::Referrals => self.referrals,
        }
    }

    /// Adds a day, so many times: once, or minus once to take it off.
    pub(crate) fn add(&mut self, day: &DayCount, times: i64) {
        let add = |sum: &mut i64, more: i64| *sum = sum.saturating_add(more.saturating_mul(times));
        add(&mut self.spend, day.spend);
        add(&mut self.margin, day.margin);
        add(&mut self.points, day.points);
        add(&mut self.purchases, day.purchases);
        add(&mut self.active_days, i64::from(day.purchases > 0));
        add(&mut self.referrals, day.referrals);
    }

    /// As an entry tells it, of a window.
    #[must_use]
    pub(crate) const fn in_window(&self, days: DayRange) -> Earnings {
        Earnings {
            from: days.from,
            until: days.until,
            margin: self.margin,
            points: self.points,
            purchases: self.purchases,
            active_days: self.active_days,
            referrals: self.referrals,
        }
    }
}

/// What an account has counted, as far as it was read.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    /// What was counted in its whole life.
    pub totals: Counted,
    /// Days on which something was counted, in their order.
    pub days: Vec<(Date, DayCount)>,
    /// Spans of days that were read. Where nothing is in them, nothing was counted.
    pub read: Vec<DayRange>,
}

/// Days that a decision needs were not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotRead;

impl History {
    /// The history of somebody who joins just now.
    #[must_use]
    pub(crate) fn empty() -> Self {
        Self { read: vec![DayRange::ALL], ..Self::default() }
    }

    /// Whether all days of a window were read.
    #[must_use]
    pub(crate) fn has_read(&self, window: DayRange) -> bool {
        self.read.iter().any(|read| covers(*read, window))
    }

    /// What was counted in a window.
    pub(crate) fn count(&self, window: DayRange) -> Result<Counted, NotRead> {
        if window == DayRange::ALL {
            return Ok(self.totals);
        }
        if !self.has_read(window) {
            return Err(NotRead);
        }
        let mut counted = Counted::default();
        for (_, day) in self.days.iter().filter(|(day, _)| window.contains(*day)) {
            counted.add(day, 1);
        }
        Ok(counted)
    }

    /// The same history with more on a day. None if it cannot be counted.
    #[must_use]
    pub(crate) fn with(&self, day: Date, more: &DayCount) -> Option<Self> {
        let mut with = self.clone();
        let place = with.days.binary_search_by_key(&day, |(day, _)| *day);
        let before = place.ok().and_then(|place| with.days.get(place)).map_or(DayCount::default(), |(_, count)| *count);
        let after = before.plus(more)?;
        match place.ok().and_then(|place| with.days.get_mut(place)) {
            Some(slot) => slot.1 = after,
            None => with.days.insert(place.unwrap_or_else(|place| place), (day, after)),
        }
        // What is too much in all is refused, where a window would only be full.
        with.totals.spend.checked_add(more.spend)?;
        with.totals.margin.checked_add(more.margin)?;
        with.totals.points.checked_add(more.points)?;
        with.totals.add(&before, -1);
        with.totals.add(&after, 1);
        Some(with)
    }

    /// The last entry that counted in a window.
    #[must_use]
    pub(crate) fn last_entry_in(&self, window: DayRange) -> Option<i64> {
        self.days.iter().filter(|(day, _)| window.contains(*day)).map(|(_, count)| count.last_seq).max()
    }
}

fn covers(read: DayRange, window: DayRange) -> bool {
    let from = read.from.is_none_or(|read| window.from.is_some_and(|from| read <= from));
    from && read.until.is_none_or(|read| window.until.is_some_and(|until| read >= until))
}

/// What an entry counts on a day.
#[must_use]
pub(crate) fn counted_by(entry: &Entry) -> Option<(Date, DayCount)> {
    let last_seq = entry.id.account_seq;
    match &entry.detail {
        Detail::Activity(ActivityDetail::ActivityAccepted { spend, counts: Some(counts), .. }) => {
            let (purchases, margin, points) = (i64::from(*spend > 0), counts.margin, counts.points);
            let visits = 1;
            Some((counts.day, DayCount { spend: *spend, margin, points, purchases, visits, referrals: 0, last_seq }))
        }
        Detail::Activity(ActivityDetail::RefundAccepted { spend, counts: Some(counts), .. }) => {
            let (purchases, margin, points) = (-i64::from(counts.whole), -counts.margin, -counts.points);
            let (spend, visits) = (-*spend, purchases);
            Some((counts.day, DayCount { spend, margin, points, purchases, visits, referrals: 0, last_seq }))
        }
        Detail::Tier(TierDetail::ReferralCounted { day, .. }) => {
            Some((*day, DayCount { referrals: 1, last_seq, ..DayCount::default() }))
        }
        Detail::Activity(_)
        | Detail::Tier(_)
        | Detail::Program(_)
        | Detail::Customer(_)
        | Detail::Points(_)
        | Detail::Benefit(_)
        | Detail::Referral(_)
        | Detail::Complaint(_)
        | Detail::Goodwill(_)
        | Detail::Lifecycle(_)
        | Detail::Value(_) => None,
    }
}
