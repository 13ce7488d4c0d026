//! What this crate promises, in the plainest way: every minute is looked at, with jiff's own local times.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::*;

/// A calendar and pauses. All instants are whole minutes.
#[derive(Clone, Debug)]
pub(super) struct Model {
    pub(super) plan: CalendarPlan,
    pub(super) pauses: Vec<Pause>,
}

const MINUTE: SignedDuration = SignedDuration::from_mins(1);

/// The minutes from an instant to before another one.
pub(super) fn minutes(from: Timestamp, until: Timestamp) -> impl Iterator<Item = Timestamp> {
    std::iter::successors(Some(from), |minute| Some(*minute + MINUTE)).take_while(move |minute| *minute < until)
}

impl Model {
    /// The local date of a minute, and whether it is business time.
    fn look(&self, minute: Timestamp) -> (Date, bool) {
        let local = self.plan.time_zone.to_datetime(minute);
        let special = self.plan.special_hours.iter().find(|(date, _)| *date == local.date());
        let weekday = local.weekday().to_monday_zero_offset() as usize;
        let hours = special.map_or(&self.plan.week[weekday], |(_, hours)| hours);
        let time = local.hour() as u16 * 60 + local.minute() as u16;
        (local.date(), hours.iter().any(|it| it.from <= time && time < it.until))
    }

    /// Whether the clock runs in a minute.
    fn runs(&self, minute: Timestamp) -> bool {
        !self.pauses.iter().any(|pause| pause.from <= minute && pause.until.is_none_or(|until| minute < until))
    }

    /// How many minutes of business time pass while the clock runs.
    pub(super) fn passed(&self, from: Timestamp, until: Timestamp) -> i64 {
        minutes(from, until).filter(|minute| self.look(*minute).1 && self.runs(*minute)).count() as i64
    }

    /// When so many minutes have passed, if that is before `end`.
    pub(super) fn due_of_minutes(&self, start: Timestamp, count: u32, end: Timestamp) -> Option<Timestamp> {
        let running = minutes(start, end).filter(|minute| self.look(*minute).1 && self.runs(*minute));
        running.map(|minute| minute + MINUTE).nth(count as usize - 1)
    }

    /// When the last of so many days ends, if that is a day before `end`.
    pub(super) fn due_of_days(
        &self,
        start: Timestamp,
        business: bool,
        count: u32,
        end: Timestamp,
    ) -> Option<Timestamp> {
        // The last minute of each date, and of its hours.
        let (mut dates, mut hours) = (BTreeMap::new(), BTreeMap::new());
        for minute in minutes(start - SignedDuration::from_hours(48), end) {
            let (date, open) = self.look(minute);
            dates.insert(date, minute);
            if open {
                hours.insert(date, minute);
            }
        }
        let day_zero = *dates.iter().find(|(_, last)| **last >= start).unwrap().0;
        let days = if business { hours } else { dates };
        let counted = days.into_iter().filter(|(date, last)| *date > day_zero && self.runs(*last));
        let due = counted.map(|(_, last)| last + MINUTE).nth(count as usize - 1)?;
        (due < end - SignedDuration::from_hours(24)).then_some(due)
    }
}
