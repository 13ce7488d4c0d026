//! How all customers of a program are counted: a few at a time, for so long, and no further than the present.

use std::time::Duration;

use jiff::civil::Date;
use jiff::{Timestamp, ToSpan as _};
use tokio::task::spawn_blocking;

use super::fitting::{Learned, Window};
use super::store;
use crate::book::Instants;
use crate::database::{ExportBounds, ExportPlace, ExportPlaces, Slot};
use crate::error::{Defect, Error, Violation};
use crate::ids::{PrincipalId, ProgramId};
use crate::money::Currency;
use crate::programs::model::{ProgramVersion, program_not_found};
use crate::programs::read_version_at;

/// How long customers may be counted for one answer.
const LIMIT: Duration = ExportBounds::COUNTS.limit;
/// The most days that are kept to measure on, if nothing is said.
const MOST_HOLDOUT: i32 = 365;

/// A place to count in, with the program and the instant that it is counted for.
pub(super) struct Counting {
    pub(super) place: ExportPlace,
    pub(super) as_of: Timestamp,
    pub(super) policy: ProgramVersion,
}

/// What was counted, in a place that is still taken.
pub(super) struct Counted {
    pub(super) window: Window,
    pub(super) currency: Currency,
    pub(super) slot: Slot,
}

impl Counting {
    /// Takes a place to count in, as of an instant.
    ///
    /// # Errors
    /// If too many count already, the instant lies ahead, or the program is unknown.
    pub(super) async fn begin(
        (places, instants): (&ExportPlaces, &Instants),
        program_id: &ProgramId,
        as_of: Option<Timestamp>,
        principal_id: PrincipalId,
    ) -> Result<Self, Error> {
        let mut place = places.take(principal_id).await?;
        let as_of = instants.close("as_of", as_of).await?;
        place.begin_snapshot().await?;
        let policy = read_version_at(&mut place.connection, program_id, as_of).await?;
        let policy = policy.ok_or_else(|| program_not_found(program_id))?;
        Ok(Self { place, as_of, policy })
    }

    /// The day after the present one, beyond which nobody may ask.
    ///
    /// # Errors
    /// If `until` lies behind it.
    pub(super) fn require_begun(&self, until: Option<Date>) -> Result<Date, Error> {
        let tomorrow = self.policy.program.day_of(self.as_of).saturating_add(1.day());
        if until.is_some_and(|until| until > tomorrow) {
            return Err(invalid("until", "must be no later than the day after that of as_of"));
        }
        Ok(tomorrow)
    }

    /// What the customers bought, in a window that is asked for. If nothing is said, a quarter of the days is kept to measure on,
    /// at least so many.
    ///
    /// # Errors
    /// If the window has no days, or they are not counted in time.
    pub(super) async fn learn(
        mut self,
        program_id: &ProgramId,
        (from, until, holdout_days): (Option<Date>, Option<Date>, Option<i32>),
        least_holdout: i32,
    ) -> Result<(Learned, Counted), Error> {
        self.require_begun(until)?;
        let Self { place, as_of, policy } = &mut self;
        let as_of = *as_of;
        let until = until.unwrap_or_else(|| policy.program.day_of(as_of));
        let first = within(store::first_day(&mut place.connection, program_id, (from, until), as_of)).await?;
        let days = first.map_or(0, |first| (until - first).get_days());
        let holdout_days = holdout_days.unwrap_or_else(|| (days / 4).clamp(least_holdout, MOST_HOLDOUT));
        let learned_until = until.saturating_sub(holdout_days.days());
        if from.is_some_and(|from| from >= learned_until) {
            return Err(invalid("until", "must be more than holdout_days after from"));
        }
        let window = Window { from, learned_until, until, as_of };
        let learned = within(store::read_histories(&mut place.connection, program_id, &window)).await?;
        let currency = policy.program.currency;
        Ok((learned, Counted { window, currency, slot: self.place.into_slot() }))
    }
}

/// Calculates where no other call waits for it. The place is taken until the end, also where the caller is gone.
///
/// # Errors
/// If the calculation panics.
pub(super) async fn blocking<T: Send + 'static>(
    slot: Slot,
    calculate: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Defect> {
    let calculation = spawn_blocking(move || {
        let calculated = calculate();
        drop(slot);
        calculated
    });
    calculation.await.map_err(|error| Defect::new(format!("a calculation ended early: {error}")))
}

/// Counts for no longer than one answer may take.
///
/// # Errors
/// If the database cannot be read, or not in time.
pub(crate) async fn within<T, E: Into<Error>>(count: impl Future<Output = Result<T, E>>) -> Result<T, Error> {
    let too_long = |_| {
        let seconds = LIMIT.as_secs();
        Error::Exhausted(format!(
            "the customers were not gone through in {seconds} seconds; what asks for less takes less time"
        ))
    };
    tokio::time::timeout(LIMIT, count).await.map_err(too_long)?.map_err(Into::into)
}

fn invalid(field: &str, description: &str) -> Error {
    Error::Invalid(vec![Violation { field: field.to_owned(), description: description.to_owned() }])
}
