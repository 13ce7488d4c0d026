//! When something falls due.

use jiff::Timestamp;

use crate::stretches::{ALL_DAY, MINUTE, Stretches, day_of, end_of_hours, is_too_late, last_instant};
use crate::{Allowance, BusinessCalendar, DueError, Pauses, Unit};

/// The instant at which something falls due that started at `start`; none while an open pause keeps the clock from
/// getting there.
///
/// What is done before this instant is in time. It is the first one at which the allowance is used up:
///
/// - of business minutes, the first instant before which so much business time has passed since the start, outside of
///   pauses. If that is the end of a day's hours, it is due then and not when the next hours begin;
/// - of days and weeks, the end of the last day, as told [at the top](crate#how-days-are-counted): of a business day when
///   its hours end, of a calendar day when the local date does.
///
/// Pauses before the start and after the deadline change nothing, not even an open one.
///
/// # Errors
///
/// It would fall due after the year 9999.
pub fn due_at(
    start: Timestamp,
    allowance: Allowance,
    pauses: &Pauses,
    calendar: &BusinessCalendar,
) -> Result<Option<Timestamp>, DueError> {
    let count = allowance.count();
    let due = match allowance.unit() {
        Unit::BusinessMinutes => due_of_time(start, i64::from(count) * MINUTE, pauses, calendar)?,
        Unit::BusinessDays => DayCount::new(start, true, pauses, calendar).find_end_of(count)?,
        Unit::CalendarDays => DayCount::new(start, false, pauses, calendar).find_end_of(count)?,
        Unit::Weeks => DayCount::new(start, false, pauses, calendar).find_end_of(count.saturating_mul(7))?,
    };
    due.map(|due| Timestamp::from_microsecond(due).map_err(|_| DueError::TooLate)).transpose()
}

/// When so much business time, in microseconds and more than none, has passed outside of pauses.
pub(crate) fn due_of_time(
    start: Timestamp,
    allowed: i64,
    pauses: &Pauses,
    calendar: &BusinessCalendar,
) -> Result<Option<i64>, DueError> {
    let mut left = allowed;
    for (from, until) in pauses.running(start.as_microsecond(), last_instant()) {
        for stretch in Stretches::between(calendar.time_zone(), from, until) {
            let passed = calendar.business_time_in(stretch);
            if passed >= left {
                return Ok(Some(calendar.instant_after(stretch, left)));
            }
            left -= passed;
        }
    }
    out_of_time(pauses)
}

/// What there is to say when all instants that can be told have passed.
fn out_of_time(pauses: &Pauses) -> Result<Option<i64>, DueError> {
    if pauses.are_open() { Ok(None) } else { Err(DueError::TooLate) }
}

/// Counts days from day zero on.
pub(crate) struct DayCount<'a> {
    pauses: &'a Pauses,
    calendar: &'a BusinessCalendar,
    /// Business days alone are counted, and end with their hours.
    business: bool,
    /// The day that was looked at last.
    day: i64,
    /// How many days were looked at. A test bounds it.
    pub(crate) looked_at: u32,
}

impl<'a> DayCount<'a> {
    /// Day zero is the local day of the start.
    pub(crate) fn new(start: Timestamp, business: bool, pauses: &'a Pauses, calendar: &'a BusinessCalendar) -> Self {
        Self { pauses, calendar, business, day: day_of(calendar.time_zone(), start), looked_at: 0 }
    }

    /// When the last of so many days ends, in microseconds; none if an open pause comes first.
    ///
    /// It ends: of seven days in a row one has hours by its weekday. Such a day counts, or it is a special date, or a
    /// pause covers its end, which each pause does for two days that are looked at, or a change of the clock skips its
    /// hours, which is rare in any zone. There are at most seven days for each of these.
    pub(crate) fn find_end_of(&mut self, count: u32) -> Result<Option<i64>, DueError> {
        let zone = self.calendar.time_zone();
        let mut left = count;
        loop {
            self.day = self.day.saturating_add(1);
            self.looked_at = self.looked_at.saturating_add(1);
            if is_too_late(self.day) {
                return out_of_time(self.pauses);
            }
            let hours = if self.business { self.calendar.hours_of_day(self.day) } else { ALL_DAY };
            let Some(end) = end_of_hours(zone, self.day, hours) else { continue };
            match self.pauses.over(end).map(|pause| pause.until) {
                Some(None) => return Ok(None),
                // The next day to look at is the one on which the clock goes on.
                Some(Some(until)) => self.day = self.day.max(day_of(zone, until).saturating_sub(1)),
                None if left <= 1 => return Ok(Some(end)),
                None => left -= 1,
            }
        }
    }
}
