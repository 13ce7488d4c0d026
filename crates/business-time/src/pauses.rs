//! When a clock stands still.

use std::iter;

use jiff::Timestamp;

use crate::PausesError;

/// A time in which the clock stands: from an instant, to before another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pause {
    /// When the clock stops.
    pub from: Timestamp,
    /// When it goes on; none while the pause is open. A pause that ends as it begins changes nothing.
    pub until: Option<Timestamp>,
}

/// The pauses of one clock, sorted and apart from each other. One may begin as another ends. Only the last may be open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pauses(Vec<Pause>);

impl Pauses {
    /// No pauses: the clock always runs.
    #[must_use]
    pub const fn none() -> Self {
        Self(Vec::new())
    }

    /// Some pauses, in their order.
    ///
    /// # Errors
    ///
    /// The first pause that ends before it begins, begins before the one in front of it has ended, or is open although
    /// another one follows.
    pub fn new(pauses: Vec<Pause>) -> Result<Self, PausesError> {
        let mut before: Option<Pause> = None;
        for (place, pause) in pauses.iter().enumerate() {
            if pause.until.is_some_and(|until| until < pause.from) {
                return Err(PausesError::Backwards { place });
            }
            match before.map(|before| before.until) {
                Some(None) => return Err(PausesError::OpenBeforeLast { place: place.saturating_sub(1) }),
                Some(Some(until)) if pause.from < until => return Err(PausesError::OutOfOrder { place }),
                Some(Some(_)) | None => before = Some(*pause),
            }
        }
        Ok(Self(pauses))
    }

    /// Whether the last pause is open.
    #[must_use]
    pub fn are_open(&self) -> bool {
        self.0.last().is_some_and(|pause| pause.until.is_none())
    }

    /// The pauses in their order.
    #[must_use]
    pub fn as_slice(&self) -> &[Pause] {
        &self.0
    }

    /// The pause that covers the last moment before `end`, in microseconds, if one does.
    pub(crate) fn over(&self, end: i64) -> Option<&Pause> {
        let begun = self.0.partition_point(|pause| pause.from.as_microsecond() < end);
        let last = begun.checked_sub(1).and_then(|place| self.0.get(place))?;
        last.until.is_none_or(|until| end <= until.as_microsecond()).then_some(last)
    }

    /// Where the clock runs between two instants: from when, and to before when, in microseconds.
    pub(crate) fn running(&self, from: i64, until: i64) -> impl Iterator<Item = (i64, i64)> {
        let goes_on = self.0.iter().map(|pause| pause.until.map_or(i64::MAX, Timestamp::as_microsecond));
        let stops = self.0.iter().map(|pause| pause.from.as_microsecond());
        let pieces = iter::once(i64::MIN).chain(goes_on).zip(stops.chain(iter::once(i64::MAX)));
        pieces.map(move |(start, end)| (start.max(from), end.min(until))).filter(|(start, end)| start < end)
    }
}
