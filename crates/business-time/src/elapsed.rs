//! How much business time has passed.

use jiff::{SignedDuration, Timestamp};

use crate::stretches::Stretches;
use crate::{BusinessCalendar, Pauses};

/// The business time from an instant to another one, in whole microseconds; negative if the second is the earlier one.
#[must_use]
pub fn business_time_between(from: Timestamp, until: Timestamp, calendar: &BusinessCalendar) -> SignedDuration {
    running_business_time_between(from, until, &Pauses::none(), calendar)
}

/// The business time from an instant to another one in which the clock runs: without what lies within pauses, an open
/// one included. Whole microseconds; negative if the second instant is the earlier one.
#[must_use]
pub fn running_business_time_between(
    from: Timestamp,
    until: Timestamp,
    pauses: &Pauses,
    calendar: &BusinessCalendar,
) -> SignedDuration {
    let (first, last) = (from.min(until).as_microsecond(), from.max(until).as_microsecond());
    let zone = calendar.time_zone();
    let running = pauses.running(first, last).flat_map(|(from, until)| Stretches::between(zone, from, until));
    let passed: i64 = running.map(|stretch| calendar.business_time_in(stretch)).sum();
    SignedDuration::from_micros(if from <= until { passed } else { -passed })
}
