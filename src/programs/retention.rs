//! For how long a program keeps what is known of customers who do nothing any more.

use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use serde::{Deserialize, Serialize};

use crate::ids::ProgramId;

/// After how many days without activity something is erased. What is absent is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retention {
    /// What callers wrote beside entries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notes_days: Option<i32>,
    /// The dossier, with all consents.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dossier_days: Option<i32>,
}

/// What a program in force says of retention.
#[derive(Clone, Debug)]
pub(crate) struct ProgramRetention {
    /// The program.
    pub program_id: ProgramId,
    /// The version that is in force.
    pub version: i32,
    /// By whose calendar days are counted.
    pub time_zone: TimeZone,
    /// What it says.
    pub retention: Retention,
}

/// The instants that tell who is inactive: of an account to which nobody wrote after one of them, that goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// For notes; they are kept if it is absent.
    pub notes: Option<Timestamp>,
    /// For the dossier; it is kept if it is absent.
    pub dossier: Option<Timestamp>,
}

impl Retention {
    /// Whether everything is kept.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.notes_days.is_none() && self.dossier_days.is_none()
    }
}

impl ProgramRetention {
    /// The limits at an instant.
    #[must_use]
    pub(crate) fn limits_at(&self, now: Timestamp) -> Limits {
        let limit = |days| days_before(now, days, &self.time_zone);
        Limits { notes: self.retention.notes_days.map(limit), dossier: self.retention.dossier_days.map(limit) }
    }
}

/// The same local time so many days before. Where clocks were changed then, the earlier of what it may be: nothing goes
/// too early.
fn days_before(now: Timestamp, days: i32, time_zone: &TimeZone) -> Timestamp {
    let local = now.to_zoned(time_zone.clone()).datetime();
    let before = Span::new().try_days(i64::from(days)).and_then(|span| local.checked_sub(span));
    before.and_then(|before| time_zone.to_ambiguous_timestamp(before).earlier()).unwrap_or(Timestamp::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::programs::model::tests::program;

    fn limit(now: &str, days: i32) -> String {
        // In America/New_York.
        let zone = program().time_zone.0;
        days_before(now.parse().unwrap(), days, &zone).to_string()
    }

    #[test]
    fn days_go_by_the_local_calendar_and_never_come_early() {
        // Summer time began in between, so a day had 23 hours.
        assert_eq!(limit("2026-03-09T12:00:00-04:00", 1), "2026-03-08T16:00:00Z");
        assert_eq!(limit("2026-03-09T12:00:00-04:00", 2), "2026-03-07T17:00:00Z");
        // 02:30 was skipped on the 8th of March, and 01:30 came twice on the 1st of November.
        assert_eq!(limit("2026-03-10T02:30:00-04:00", 2), "2026-03-08T06:30:00Z");
        assert_eq!(limit("2026-11-03T01:30:00-05:00", 2), "2026-11-01T05:30:00Z");
        assert_eq!(limit("2026-01-15T12:00:00Z", 36_500), "1926-02-09T12:00:00Z");
    }
}
