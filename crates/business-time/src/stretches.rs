//! Stretches of time in which a zone keeps one offset from UTC. Within each, a local clock runs as time passes, so that
//! counting needs no more than whole numbers. Gaps and folds lie between stretches.
//!
//! All numbers are microseconds: of real time since 1970 began in UTC, or of local time since a local clock showed that.
//! Local days are numbered from 1970-01-01, which is day 0.

use jiff::Timestamp;
use jiff::civil::{Date, date};
use jiff::tz::{TimeZone, TimeZoneFollowingTransitions};

use crate::Interval;

/// A minute.
pub(crate) const MINUTE: i64 = 60_000_000;

/// A day of 24 hours.
pub(crate) const DAY: i64 = 24 * 60 * MINUTE;

/// More than any offset from UTC: jiff has none of 26 hours.
const WIDEST_OFFSET: i64 = 26 * 60 * MINUTE;

/// The hours of a day that is open throughout.
pub(crate) const ALL_DAY: &[Interval] = &[Interval::new(0, 24 * 60)];

/// The last instant that can be told.
pub(crate) fn last_instant() -> i64 {
    Timestamp::MAX.as_microsecond()
}

/// The number of a local day.
pub(crate) fn number_of(day: Date) -> i64 {
    day.duration_since(date(1970, 1, 1)).as_secs().div_euclid(24 * 60 * 60)
}

/// The instant of a number, or the first or last one that can be told.
fn instant(number: i64) -> Timestamp {
    Timestamp::from_microsecond(number).unwrap_or(if number < 0 { Timestamp::MIN } else { Timestamp::MAX })
}

/// A stretch of real time, from an instant to before another one, with one offset.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stretch {
    pub(crate) from: i64,
    pub(crate) until: i64,
    pub(crate) offset: i64,
}

impl Stretch {
    /// What a local clock shows at its beginning.
    pub(crate) fn local_from(self) -> i64 {
        self.from.saturating_add(self.offset)
    }

    /// What a local clock would show at its end, had it not been changed.
    pub(crate) fn local_until(self) -> i64 {
        self.until.saturating_add(self.offset)
    }
}

/// The stretches of a zone between two instants, in their order and without a gap between them.
pub(crate) struct Stretches<'a> {
    changes: TimeZoneFollowingTransitions<'a>,
    from: i64,
    until: i64,
    offset: i64,
}

impl<'a> Stretches<'a> {
    /// From an instant to before another one.
    pub(crate) fn between(zone: &'a TimeZone, from: i64, until: i64) -> Self {
        let first = instant(from);
        Self { changes: zone.following(first), from, until, offset: offset_at(zone, first) }
    }
}

impl Iterator for Stretches<'_> {
    type Item = Stretch;

    fn next(&mut self) -> Option<Stretch> {
        if self.from >= self.until {
            return None;
        }
        let change = self.changes.next().map(|change| (change.timestamp().as_microsecond(), change.offset().seconds()));
        let stretch = |until| Stretch { from: self.from, until, offset: self.offset };
        let (stretch, offset) = match change {
            Some((at, offset)) if at < self.until => (stretch(at), i64::from(offset) * 1_000_000),
            Some(_) | None => (stretch(self.until), self.offset),
        };
        self.from = stretch.until;
        self.offset = offset;
        Some(stretch)
    }
}

/// The offset at an instant.
fn offset_at(zone: &TimeZone, at: Timestamp) -> i64 {
    i64::from(zone.to_offset(at).seconds()) * 1_000_000
}

/// What a local clock shows at an instant.
pub(crate) fn local_at(zone: &TimeZone, at: Timestamp) -> i64 {
    at.as_microsecond().saturating_add(offset_at(zone, at))
}

/// Whether a local day may end after the last instant that can be told.
pub(crate) fn is_too_late(day: i64) -> bool {
    day.saturating_add(1).saturating_mul(DAY).saturating_add(WIDEST_OFFSET) > last_instant()
}

/// When some hours of a local day, which are in order, have passed for good; none if nothing of them ever passes.
pub(crate) fn end_of_hours(zone: &TimeZone, day: i64, hours: &[Interval]) -> Option<i64> {
    let midnight = day.saturating_mul(DAY);
    let (from, until) = (midnight.saturating_sub(WIDEST_OFFSET), midnight.saturating_add(DAY + WIDEST_OFFSET));
    let end_within = |stretch: Stretch| {
        hours.iter().rev().find_map(|interval| {
            let opens = midnight.saturating_add(interval.begin()).max(stretch.local_from());
            let closes = midnight.saturating_add(interval.end()).min(stretch.local_until());
            (opens < closes).then_some(closes - stretch.offset)
        })
    };
    Stretches::between(zone, from, until).filter_map(end_within).last()
}

/// The local day of an instant: the first one that is not over yet. Where clocks are put back across midnight, the old
/// day is not over when the new date is first shown.
pub(crate) fn day_of(zone: &TimeZone, at: Timestamp) -> i64 {
    let shown = local_at(zone, at).div_euclid(DAY);
    let before = shown.saturating_sub(1);
    match end_of_hours(zone, before, ALL_DAY) {
        Some(end) if end > at.as_microsecond() => before,
        Some(_) | None => shown,
    }
}
