//! Which days count together at an instant, and until when what they earn is kept. Days are those of the program's time
//! zone, and every window is half-open.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

use super::{KeptRule, TierPolicy, TierWindow, UpgradeTime, day_after};
use crate::programs::points::{CalendarPeriod, Period};

/// Some days in a row: from one on, before another. Open where there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DayRange {
    /// The first day.
    pub from: Option<Date>,
    /// The first day that is not in it any more.
    pub until: Option<Date>,
}

impl DayRange {
    /// All days.
    pub const ALL: Self = Self { from: None, until: None };

    /// Whether a day is in it.
    #[must_use]
    pub fn contains(&self, day: Date) -> bool {
        self.from.is_none_or(|from| day >= from) && self.until.is_none_or(|until| day < until)
    }
}

/// Until when a tier is kept that is earned now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeptUntil {
    /// As long as the condition holds.
    ConditionFails,
    /// Until an instant.
    Instant(Timestamp),
    /// For ever.
    Never,
}

/// Days whose activities decide a standing at an instant, and until when what they earn is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InEffect {
    /// The days.
    pub days: DayRange,
    /// Until when.
    pub kept: KeptUntil,
}

/// The calendar of one customer's standing.
#[derive(Clone, Copy, Debug)]
pub struct Calendar<'a> {
    /// What the program says.
    pub policy: &'a TierPolicy,
    /// Where the program's days begin and end.
    pub time_zone: &'a TimeZone,
    /// The local day on which the customer joined; the beginning of their years.
    pub enrolled_on: Option<Date>,
}

impl Calendar<'_> {
    /// The local day of an instant.
    #[must_use]
    pub fn day_of(&self, at: Timestamp) -> Date {
        CalendarPeriod::Day.first_day_at(at, self.time_zone)
    }

    /// The first instant of a local day; the end of time beyond the calendar.
    #[must_use]
    pub fn begins_at(&self, day: Option<Date>) -> Timestamp {
        CalendarPeriod::begin_of_day(day, self.time_zone)
    }

    /// Whether the window has periods, one after the other.
    #[must_use]
    pub const fn has_periods(&self) -> bool {
        matches!(self.policy.window, TierWindow::Calendar(_) | TierWindow::EnrolmentYear)
    }

    /// The window that a day lies in: of a rolling window, the one that ends with the day. That one is open at its end,
    /// since what is told a few minutes ahead of the clock counts as soon as it is told.
    #[must_use]
    pub fn window_of(&self, day: Date) -> DayRange {
        match &self.policy.window {
            TierWindow::Lifetime => DayRange::ALL,
            TierWindow::Rolling(period) => DayRange { from: Some(first_that_counts(day, period)), until: None },
            TierWindow::Calendar(period) => {
                let from = period.first_day(day);
                DayRange { from: Some(from), until: period.next_first_day(from) }
            }
            TierWindow::EnrolmentYear => self.enrolment_year_of(day),
        }
    }

    /// The year from an anniversary of the enrolment that a day lies in. Who joined on 29 February has their anniversary
    /// on the last of February in other years.
    fn enrolment_year_of(&self, day: Date) -> DayRange {
        let begin = self.enrolled_on.unwrap_or_else(|| day.first_of_year());
        let anniversary = |years: i64| begin.checked_add(Span::new().try_years(years).ok()?).ok();
        let mut years = i64::from(day.year()) - i64::from(begin.year());
        if anniversary(years).is_none_or(|anniversary| anniversary > day) {
            years -= 1;
        }
        DayRange { from: anniversary(years), until: anniversary(years + 1) }
    }

    /// The window before another, where windows are periods.
    fn before(&self, window: DayRange) -> Option<DayRange> {
        Some(self.window_of(window.from?.yesterday().ok()?))
    }

    /// When the period ends that an instant lies in; none, if there are no periods.
    #[must_use]
    pub fn period_end(&self, at: Timestamp) -> Option<Timestamp> {
        let window = self.window_of(self.day_of(at));
        self.has_periods().then(|| self.begins_at(window.until))
    }

    /// Until when a tier is kept that is reached at an instant, where it is kept for a time.
    #[must_use]
    pub fn kept_from(&self, at: Timestamp) -> KeptUntil {
        match &self.policy.kept {
            KeptRule::Always => KeptUntil::Never,
            KeptRule::WhileConditionHolds if self.policy.upgrade == UpgradeTime::AtOnce => KeptUntil::ConditionFails,
            KeptRule::WhileConditionHolds | KeptRule::UntilEndOfPeriod => {
                self.period_end(at).map_or(KeptUntil::Never, KeptUntil::Instant)
            }
            KeptRule::UntilEndOfNextPeriod => {
                let next = self.window_of(self.day_of(at)).until.map(|day| self.window_of(day));
                KeptUntil::Instant(self.begins_at(next.and_then(|next| next.until)))
            }
            KeptRule::For(period) => KeptUntil::Instant(self.begins_at(day_after(self.day_of(at), period))),
        }
    }

    /// The windows that decide a standing at an instant, each with the end of what it earns. What the present period
    /// earns counts at once, or else from its end on; and what is kept until the end of the next period was earned in
    /// the one before, too.
    #[must_use]
    pub fn in_effect(&self, at: Timestamp) -> Vec<InEffect> {
        let current = self.window_of(self.day_of(at));
        let earned = match self.policy.upgrade {
            UpgradeTime::AtOnce => Some(current),
            UpgradeTime::AtPeriodEnd => self.before(current),
        };
        let own = earned.map(|days| InEffect { days, kept: self.kept_from(at) });
        let earlier = earned.filter(|_| self.has_periods()).and_then(|days| self.before(days));
        let earlier = match &self.policy.kept {
            KeptRule::UntilEndOfNextPeriod => {
                let kept = KeptUntil::Instant(self.begins_at(current.until));
                earlier.map(|days| InEffect { days, kept })
            }
            // A tier that ends with a period was earned in it.
            KeptRule::For(_) => {
                let yesterday = self.day_of(at).yesterday().ok().map(|day| self.window_of(day));
                let ended = earlier.filter(|_| yesterday != Some(current));
                ended.map(|days| InEffect { days, kept: self.kept_from(at) })
            }
            KeptRule::Always | KeptRule::WhileConditionHolds | KeptRule::UntilEndOfPeriod => None,
        };
        own.into_iter().chain(earlier).collect()
    }

    /// The windows whose activities decide whether a tier that ends at an instant is kept on. During a period of grace
    /// they go on.
    #[must_use]
    pub fn deciding_end(&self, ends_at: Timestamp) -> Vec<InEffect> {
        let in_effect = self.in_effect(ends_at).into_iter();
        let last_day = self.day_of(ends_at).yesterday().ok();
        let has_periods = self.has_periods();
        let ended = in_effect.filter(|it| !has_periods || last_day.is_some_and(|day| it.days.contains(day)));
        ended.map(|it| InEffect { days: DayRange { until: None, ..it.days }, ..it }).collect()
    }

    /// The first day that any decision at an instant looks at; none, if it looks at no days one by one. `ends_at` is
    /// when the tier ends that is held.
    #[must_use]
    pub fn first_day_needed(&self, at: Timestamp, ends_at: Option<Timestamp>) -> Option<Date> {
        let first = |windows: Vec<InEffect>| windows.iter().filter_map(|it| it.days.from).min();
        let current = self.window_of(self.day_of(at)).from;
        let of_end = ends_at.and_then(|ends_at| first(self.deciding_end(ends_at)));
        current.into_iter().chain(first(self.in_effect(at))).chain(of_end).min()
    }
}

/// The first day that still counts on another, where each counts for a period.
fn first_that_counts(day: Date, period: &Period) -> Date {
    let counts = |first: Date| day_after(first, period).is_none_or(|end| end > day);
    let mut first = day.checked_sub(period.span()).unwrap_or(Date::MIN);
    while counts(first) {
        let Ok(earlier) = first.yesterday() else { return first };
        first = earlier;
    }
    while !counts(first) {
        let Ok(later) = first.tomorrow() else { return first };
        first = later;
    }
    first
}
