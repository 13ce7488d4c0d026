//! How long something may take.

use std::fmt;

use crate::AllowanceError;

/// The most days of an allowance: ten years with three leap days.
const MOST_DAYS: u32 = 3653;

/// What an allowance is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Unit {
    /// Minutes of business time, each of 60 seconds that pass within the hours of the calendar.
    BusinessMinutes,
    /// Whole business days after day zero.
    BusinessDays,
    /// Whole local days after day zero, business days or not.
    CalendarDays,
    /// Seven calendar days each.
    Weeks,
}

impl Unit {
    /// How many of this unit may be allowed: 5,260,320 business minutes, 3,653 business or calendar days, 521 weeks.
    /// Each is as long as ten years, or, of weeks, the most whole ones in them.
    #[must_use]
    pub const fn most(self) -> u32 {
        match self {
            Self::BusinessMinutes => MOST_DAYS * 24 * 60,
            Self::BusinessDays | Self::CalendarDays => MOST_DAYS,
            Self::Weeks => MOST_DAYS / 7,
        }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BusinessMinutes => "business minutes",
            Self::BusinessDays => "business days",
            Self::CalendarDays => "calendar days",
            Self::Weeks => "weeks",
        })
    }
}

/// How long something may take: a count of a [`Unit`], at least one and at most [`Unit::most`]. How each is counted
/// stands [at the top](crate#how-days-are-counted).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Allowance {
    unit: Unit,
    count: u32,
}

impl Allowance {
    /// An allowance of so many of a unit.
    ///
    /// # Errors
    ///
    /// The count is zero, or above [`Unit::most`].
    pub const fn new(unit: Unit, count: u32) -> Result<Self, AllowanceError> {
        if count == 0 {
            return Err(AllowanceError::Nothing { unit });
        }
        if count > unit.most() {
            return Err(AllowanceError::TooLong { unit, count });
        }
        Ok(Self { unit, count })
    }

    /// What it is counted in.
    #[must_use]
    pub const fn unit(self) -> Unit {
        self.unit
    }

    /// How many of the unit.
    #[must_use]
    pub const fn count(self) -> u32 {
        self.count
    }
}

/// Such as `15 business days`.
impl fmt::Display for Allowance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.count, self.unit)
    }
}
