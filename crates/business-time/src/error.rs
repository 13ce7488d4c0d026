//! What can be wrong with a calendar, an allowance or pauses, and why there is no deadline.

use std::fmt;

use jiff::civil::{Date, Weekday};

use crate::{Interval, MOST_INTERVALS, MOST_SPECIAL_DATES, Unit};

/// Why a plan is no calendar: all that is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CalendarError {
    /// The faults, at least one: those of weekdays from Monday on, then those of dates in the order of the plan.
    pub faults: Vec<CalendarFault>,
}

impl fmt::Display for CalendarError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, fault) in self.faults.iter().enumerate() {
            let separator = if i == 0 { "" } else { "; " };
            write!(f, "{separator}{fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for CalendarError {}

/// One thing that is wrong with a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CalendarFault {
    /// An interval ends when it begins, or before.
    #[error("{interval} on {day} is empty: hours end after they begin")]
    EmptyInterval {
        /// The day that has it.
        day: Day,
        /// The interval.
        interval: Interval,
    },
    /// An interval goes on after midnight. What is left of it belongs to the next day.
    #[error("{interval} on {day} goes on after 24:00: give the rest to the next day")]
    PastMidnight {
        /// The day that has it.
        day: Day,
        /// The interval.
        interval: Interval,
    },
    /// Two intervals of a day have time in common.
    #[error("{first} and {second} on {day} overlap: make one interval of them")]
    Overlap {
        /// The day that has them.
        day: Day,
        /// The one that begins first.
        first: Interval,
        /// The other one.
        second: Interval,
    },
    /// A day has more than [`MOST_INTERVALS`] intervals.
    #[error("{day} has {count} intervals: a day has at most {MOST_INTERVALS}")]
    TooManyIntervals {
        /// The day that has them.
        day: Day,
        /// How many they are.
        count: usize,
    },
    /// No weekday has hours, so that nothing could ever fall due.
    #[error("no weekday has hours: at least one needs some")]
    NoHours,
    /// A date is given hours more than once.
    #[error("{date} is given special hours more than once")]
    RepeatedDate {
        /// The date, which is told once.
        date: Date,
    },
    /// There are more than [`MOST_SPECIAL_DATES`] dates. They are then not looked at one by one.
    #[error("{count} dates have special hours: at most {MOST_SPECIAL_DATES} may")]
    TooManySpecialDates {
        /// How many they are.
        count: usize,
    },
}

/// Whose hours a fault is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Day {
    /// A day of every week.
    Weekday(Weekday),
    /// A date with hours of its own.
    Date(Date),
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Weekday(weekday) => write!(f, "{weekday:?}"),
            Self::Date(date) => write!(f, "{date}"),
        }
    }
}

/// Why a count of some unit is no allowance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AllowanceError {
    /// The count is zero. What may take no time falls due when it starts, and needs no calendar.
    #[error("an allowance of no {unit} leaves no time: allow at least one")]
    Nothing {
        /// What was counted.
        unit: Unit,
    },
    /// The count comes to more than ten years.
    #[error("{count} {unit} are too many: at most {} may be allowed, which are ten years", .unit.most())]
    TooLong {
        /// What was counted.
        unit: Unit,
        /// How many there were.
        count: u32,
    },
}

/// Why some pauses are no sound list. Places in the list are counted from zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PausesError {
    /// A pause ends before it begins.
    #[error("pause {place} ends before it begins")]
    Backwards {
        /// Its place in the list.
        place: usize,
    },
    /// A pause begins before the one in front of it has ended: they overlap, or are out of order.
    #[error("pause {place} begins before the one in front of it has ended")]
    OutOfOrder {
        /// The place of the later one in the list.
        place: usize,
    },
    /// A pause is open, and another one follows.
    #[error("pause {place} is open, and another one follows: only the last may be open")]
    OpenBeforeLast {
        /// The place of the open one in the list.
        place: usize,
    },
}

/// Why there is no deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DueError {
    /// The deadline would be later than the instants that can be told, which end with the year 9999. Days are not
    /// counted in its last days either.
    #[error("it would fall due after the year 9999")]
    TooLate,
}
