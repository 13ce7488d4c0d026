//! The one source of the present: everything that needs to know the time is handed a [`Clock`].

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

pub use goldbook_api::values::{END_OF_TIME, LAST_INSTANT};
use jiff::Timestamp;

use crate::error::{Reason, Refusal};

/// Tells the present instant, in whole microseconds.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System,
    Fixed(Arc<AtomicI64>),
}

impl Clock {
    /// The machine's clock.
    #[must_use]
    pub const fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands at `start` until it is [set](Self::set): for tests.
    #[must_use]
    pub fn fixed(start: Timestamp) -> Self {
        Self(Source::Fixed(Arc::new(AtomicI64::new(start.as_microsecond()))))
    }

    /// Moves a fixed clock, forward or back; the machine's clock stays as it is.
    pub fn set(&self, now: Timestamp) {
        if let Source::Fixed(micros) = &self.0 {
            micros.store(now.as_microsecond(), Ordering::SeqCst);
        }
    }

    /// The present instant, truncated to microseconds, the ledger's precision.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place that asks the machine")]
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Source::System => truncate_to_micros(Timestamp::now()),
            Source::Fixed(micros) => Timestamp::from_microsecond(micros.load(Ordering::SeqCst)).unwrap_or_default(),
        }
    }
}

/// Drops what Postgres cannot keep: a `timestamptz` counts microseconds.
#[must_use]
pub fn truncate_to_micros(instant: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(instant.as_nanosecond().div_euclid(1_000).try_into().unwrap_or_default())
        .unwrap_or_default()
}

/// How far ahead of this service's clock a caller's may be.
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
