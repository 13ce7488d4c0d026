//! The present: the database's, which every replica shares. Nothing here asks the machine.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

pub use goldbook_api::values::{END_OF_TIME, FIRST_INSTANT, LAST_INSTANT};
use jiff::Timestamp;

use crate::error::{Reason, Refusal};

/// Says what the present is, by what the database's clock told. Instants are whole microseconds.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    Database,
    Fixed(Arc<AtomicI64>),
}

impl Clock {
    /// The database's clock.
    #[must_use]
    pub const fn database() -> Self {
        Self(Source::Database)
    }

    /// A clock that stands at `start` until it is [set](Self::set), whatever the database tells: for tests.
    #[must_use]
    pub fn fixed(start: Timestamp) -> Self {
        Self(Source::Fixed(Arc::new(AtomicI64::new(start.as_microsecond()))))
    }

    /// Moves a fixed clock, forward or back; the database's clock stays as it is.
    pub fn set(&self, now: Timestamp) {
        if let Source::Fixed(micros) = &self.0 {
            micros.store(now.as_microsecond(), Ordering::SeqCst);
        }
    }

    /// What a fixed clock shows; nothing of the database's clock, which only a statement can ask.
    #[must_use]
    pub fn shown(&self) -> Option<Timestamp> {
        match &self.0 {
            Source::Database => None,
            Source::Fixed(micros) => Timestamp::from_microsecond(micros.load(Ordering::SeqCst)).ok(),
        }
    }

    /// The present, as of a statement in which the database's clock told `told`.
    #[must_use]
    pub fn present(&self, told: Timestamp) -> Timestamp {
        self.shown().unwrap_or(told)
    }
}

/// How far ahead of the database's clock a caller's may be.
pub const MAX_CLOCK_SKEW: jiff::SignedDuration = jiff::SignedDuration::from_mins(5);

/// Whether an instant that a caller reports lies in the future, beyond what clocks may differ.
#[must_use]
pub fn is_in_future(reported: Timestamp, now: Timestamp) -> bool {
    now.checked_add(MAX_CLOCK_SKEW).is_ok_and(|latest| reported > latest)
}

/// Answers come from what has happened.
///
/// # Errors
/// A refusal if `as_of` is later than `now`.
pub fn refuse_future(as_of: Timestamp, now: Timestamp) -> Result<(), Refusal> {
    refuse_future_in("as_of", as_of, now)
}

/// The same of an instant that has another name in its request.
///
/// # Errors
/// A refusal that names the field, if the instant is later than `now`.
pub fn refuse_future_in(field: &'static str, instant: Timestamp, now: Timestamp) -> Result<(), Refusal> {
    if instant <= now {
        return Ok(());
    }
    let message = format!("{field} {instant} lies in the future; it is {now} now");
    Err(Refusal::new(Reason::InstantInFuture, message).with(field, instant).with("now", now))
}

/// A date whose year may be unknown: month and day always, as in a birthday.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PartialDate {
    /// 1 to 9999, or 0 where it is unknown.
    pub year: i16,
    /// 1 to 12.
    pub month: i8,
    /// 1 to the last of the month; 29 February where the year is unknown.
    pub day: i8,
}
