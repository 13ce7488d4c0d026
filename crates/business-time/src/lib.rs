//! Deadlines in business hours: when something falls due, and how much business time lies between two instants.
//!
//! [`due_at`] takes the instant at which a clock starts, an [`Allowance`], the [`Pauses`] in which the clock stands, and
//! a [`BusinessCalendar`]. An extension needs nothing more: it is another allowance from the same start.
//!
//! # What business time is
//!
//! An instant is business time if a local clock then shows a date and a time of day that the calendar has as hours. All
//! else follows from this one sentence:
//!
//! - Hours that a clock skips when it is put forward are not counted, for nobody lives them.
//! - An hour that comes twice, because a clock is put back, counts as often as it comes. Time is counted as it passes.
//! - A local date that a zone leaves out, as Samoa did 30 December 2011, has no time and is no day.
//! - Days need no midnight, and have whatever length they have.
//!
//! A local day ends with the last instant of its date. Where clocks are put back across midnight, the old date comes
//! again for a while. The day is not over before that.
//!
//! # How days are counted
//!
//! - **Day zero** is the local day of the start, whatever the hour, and even if it is no business day. Counting begins
//!   with the day after it. That is how regulators put it: "by the end of the fifth business day after the day on which
//!   it is received". Some rules allow that what comes in after hours is taken as received on the next business day,
//!   which never ends earlier. For these, start at [`BusinessCalendar::next_opening`].
//! - **A business day** is a local date on which business time passes. It ends when its last hours end.
//! - **A calendar day** is a local date, and ends when the date does. **A week** is seven calendar days.
//! - **A day counts if the clock runs at its end**, that is, if no pause covers the last moment of it. So a pause moves a
//!   deadline by the number of counted days whose ends it covers: none from 10:00 to 11:00, one from this afternoon to
//!   tomorrow morning. A day that is paused throughout never counts, and no deadline can fall into a pause.
//!
//! Other rules for pauses were considered. If every day that a pause touches were left out, pauses of a minute would buy
//! a day each. If only days were left out that are paused throughout, a deadline could pass while the clock stands, and
//! a pause from noon to noon would give nothing back.
//!
//! # What always holds
//!
//! - A later start, a larger allowance of the same unit and a longer or further pause never make anything due earlier.
//! - Business time adds up: from a to b and from b to c is from a to c.
//! - Nothing panics. Everything ends after steps that are bounded by the allowance and the numbers of special dates, of
//!   pauses and of the changes of the zone's clock.
//! - Instants are counted in microseconds. Finer parts are dropped.
//! - No clock is read, and no time zone is looked up.
//!
//! # Example
//!
//! ```
//! use business_time::{Allowance, BusinessCalendar, CalendarPlan, Interval, Pauses, Unit, due_at};
//! use jiff::civil::date;
//! use jiff::tz::TimeZone;
//!
//! # fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let day = vec![Interval::new(9 * 60, 17 * 60)];
//! let calendar = BusinessCalendar::new(CalendarPlan {
//!     time_zone: TimeZone::posix("GMT0BST,M3.5.0/1,M10.5.0")?,
//!     week: [day.clone(), day.clone(), day.clone(), day.clone(), day, vec![], vec![]],
//!     special_hours: vec![
//!         (date(2026, 12, 24), vec![Interval::new(9 * 60, 12 * 60)]), // a half day
//!         (date(2026, 12, 25), vec![]), // a holiday
//!         (date(2026, 12, 28), vec![]),
//!     ],
//! })?;
//! let received = "2026-12-22T11:30:00Z".parse()?;
//! let five_days = Allowance::new(Unit::BusinessDays, 5)?;
//! let due = due_at(received, five_days, &Pauses::none(), &calendar)?;
//! assert_eq!(due, Some("2026-12-31T17:00:00Z".parse()?));
//! # Ok(())
//! # }
//! # run().unwrap();
//! ```

mod allowance;
mod calendar;
mod due;
mod elapsed;
mod error;
mod pauses;
mod stretches;
#[cfg(test)]
mod tests;

pub use self::allowance::{Allowance, Unit};
pub use self::calendar::{BusinessCalendar, CalendarPlan, Interval};
pub use self::due::due_at;
pub use self::elapsed::{business_time_between, running_business_time_between};
pub use self::error::{AllowanceError, CalendarError, CalendarFault, Day, DueError, PausesError};
pub use self::pauses::{Pause, Pauses};

/// How many intervals of hours one day may have.
pub const MOST_INTERVALS: usize = 4;

/// How many dates with hours of their own, holidays among them, a calendar may have.
pub const MOST_SPECIAL_DATES: usize = 2000;
