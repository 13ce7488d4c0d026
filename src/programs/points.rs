//! What a program says of points once they are granted: when they vest, when they expire, how they may be spent.

use jiff::civil::{Date, Time, Weekday};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{Span, SpanRelativeTo, Timestamp, ToSpan as _};
use serde::{Deserialize, Serialize};

use crate::clock::END_OF_TIME;
use crate::money::Rate;

pub mod grpc;

/// What a program says of points. Where it says nothing, points are available at once, never expire, and have no
/// limits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PointsPolicy {
    /// When granted points become available, unless a grant says otherwise.
    pub vesting: VestingRule,
    /// When points expire, unless a grant says otherwise.
    pub expiry: ExpiryRule,
    /// How many points one redemption may take.
    pub redemption: RedemptionLimits,
    /// How many points a customer may earn.
    pub earning: EarningLimits,
    /// Whether and how expired points come back; not at all, if absent.
    pub reinstatement: Option<Reinstatement>,
    /// What a reversal takes where the points are spent.
    pub clawback: Clawback,
    /// How long a hold lasts if the request does not say; [`DEFAULT_HOLD`], if absent.
    pub hold_for: Option<Period>,
    /// What one point is worth in major units of the program's currency; unknown, if absent.
    pub point_value: Option<Rate>,
}

impl PointsPolicy {
    /// The same policy, in which a default that was spelled out is absent.
    #[must_use]
    pub fn without_defaults(mut self) -> Self {
        let limits = &mut self.redemption;
        limits.minimum = limits.minimum.filter(|minimum| *minimum != 1);
        limits.step = limits.step.filter(|step| *step != 1);
        self.hold_for = self.hold_for.filter(|period| period.to_string() != DEFAULT_HOLD);
        self
    }
}

/// How long a hold lasts where neither the program nor the request says so.
pub use goldbook_api::values::DEFAULT_HOLD;

/// When granted points become available.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VestingRule {
    /// As soon as they are granted.
    #[default]
    Immediate,
    /// At an instant.
    At(Timestamp),
    /// A period after the grant.
    After(Period),
    /// When somebody says that what they were granted for has happened; cancelled if nobody does within a period.
    OnEvent(Period),
}

/// When points expire.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExpiryRule {
    /// They do not expire.
    #[default]
    Never,
    /// At an instant.
    At(Timestamp),
    /// A period after they vested, at the end of that day, month, quarter or year.
    After {
        /// How long after they vested.
        period: Period,
        /// To the end of which calendar period the instant is moved; none for the end of its day.
        round_to: Option<CalendarPeriod>,
    },
    /// The whole balance together, a period after the customer's last accepted activity.
    Sliding(Period),
}

/// How many points one redemption or hold may take.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RedemptionLimits {
    /// The least; 1, if absent.
    pub minimum: Option<i64>,
    /// Only multiples of this; any number, if absent.
    pub step: Option<i64>,
    /// The most; whatever is available, if absent.
    pub maximum: Option<i64>,
}

/// How many points a customer may earn by purchases and by callers' grants.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EarningLimits {
    /// The most that one purchase or grant may bring: one that would bring more is refused.
    pub per_transaction: Option<i64>,
    /// The most within calendar periods: a grant that would bring more is cut to what is left. One cap for each kind
    /// of period.
    pub per_period: Vec<PeriodCap>,
}

/// The most that a customer may earn within a calendar period.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeriodCap {
    /// The kind of period.
    pub period: CalendarPeriod,
    /// The most points in one such period.
    pub points: i64,
}

/// How expired points come back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reinstatement {
    /// For how long after they expired.
    pub within: Period,
    /// How long they last from then on.
    pub valid_for: Period,
}

/// What a reversal of a grant takes where its points are not all there any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Clawback {
    /// What is pending or available of that grant's own lot.
    UnspentOnly,
    /// Also what is available of other lots.
    WithinBalance,
    /// All of it: what is not there becomes a debt.
    #[default]
    AllowDebt,
}

impl Clawback {
    /// The word in a program's document.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UnspentOnly => "unspent_only",
            Self::WithinBalance => "within_balance",
            Self::AllowDebt => "allow_debt",
        }
    }
}

/// A period of the calendar of a program's time zone. Weeks begin on Monday.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "calendar words")]
pub enum CalendarPeriod {
    Day,
    Week,
    Month,
    Quarter,
    Half,
    Year,
}

/// An ISO 8601 period above zero, such as `P1Y`, `P90D` or `PT12H`; at most a hundred years.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Period(Span);

impl Period {
    /// Parses the ISO 8601 form.
    ///
    /// # Errors
    /// If it is not such a period, not above zero, or beyond a hundred years.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        const EXPECTED: &str = "must be an ISO 8601 period above zero, in whole microseconds and of at most 100 years, \
                                such as P1Y, P90D or PT12H";
        // The parser also takes its own forms, such as `1 year`, and letters in lower case, which ISO 8601 does not.
        let is_iso = text.starts_with('P') && !text.bytes().any(|byte| byte.is_ascii_lowercase());
        let span: Span = text.parse().ok().filter(|_| is_iso).ok_or(EXPECTED)?;
        let is_bounded = span.is_positive()
            && span
                .compare((100.years(), SpanRelativeTo::from(Date::constant(2000, 1, 1))))
                .is_ok_and(std::cmp::Ordering::is_le);
        let is_in_micros = span.get_nanoseconds() == 0;
        if is_bounded && is_in_micros { Ok(Self(span)) } else { Err(EXPECTED) }
    }

    /// The period as the calendar counts it.
    #[must_use]
    pub(super) const fn span(&self) -> Span {
        self.0
    }

    /// The instant a period after another, by the calendar of a time zone: the same local time that many days, months
    /// or years later. The end of time, if it lies beyond.
    #[must_use]
    pub fn after(&self, instant: Timestamp, time_zone: &TimeZone) -> Timestamp {
        let zoned = instant.to_zoned(time_zone.clone());
        zoned.checked_add(self.0).map_or(END_OF_TIME, |later| later.timestamp().min(END_OF_TIME))
    }

    /// Whether it is no longer than so many years.
    #[must_use]
    pub fn is_within_years(&self, years: i64) -> bool {
        let most = (years.years(), SpanRelativeTo::from(Date::constant(2000, 1, 1)));
        self.0.compare(most).is_ok_and(std::cmp::Ordering::is_le)
    }

    /// Whether it has hours or less, so that it is none of whole days.
    #[must_use]
    pub fn has_time(&self) -> bool {
        let Self(span) = self;
        span.get_hours() != 0
            || span.get_minutes() != 0
            || span.get_seconds() != 0
            || span.get_milliseconds() != 0
            || span.get_microseconds() != 0
    }
}

impl PartialEq for Period {
    fn eq(&self, other: &Self) -> bool {
        self.0.fieldwise() == other.0.fieldwise()
    }
}

impl Eq for Period {}

impl std::fmt::Display for Period {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl TryFrom<String> for Period {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<Period> for String {
    fn from(period: Period) -> Self {
        period.to_string()
    }
}

impl CalendarPeriod {
    /// The word in a program's document.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::Quarter => "quarter",
            Self::Half => "half",
            Self::Year => "year",
        }
    }

    /// The first day of the period that a day lies in.
    #[must_use]
    pub(crate) fn first_day(self, day: Date) -> Date {
        let first_of_month = |month| Date::new(day.year(), month, 1).unwrap_or(day);
        match self {
            Self::Day => day,
            Self::Week => day.checked_sub(i64::from(day.weekday().since(Weekday::Monday)).days()).unwrap_or(day),
            Self::Month => day.first_of_month(),
            Self::Quarter => first_of_month((day.month() - 1) / 3 * 3 + 1),
            Self::Half => first_of_month((day.month() - 1) / 6 * 6 + 1),
            Self::Year => day.first_of_year(),
        }
    }

    /// The first day of the period after the one that begins with a day.
    #[must_use]
    pub(crate) fn next_first_day(self, first_day: Date) -> Option<Date> {
        let length = match self {
            Self::Day => 1.day(),
            Self::Week => 1.week(),
            Self::Month => 1.month(),
            Self::Quarter => 3.months(),
            Self::Half => 6.months(),
            Self::Year => 1.year(),
        };
        first_day.checked_add(length).ok()
    }

    /// The first day of the period that an instant lies in.
    #[must_use]
    pub fn first_day_at(self, instant: Timestamp, time_zone: &TimeZone) -> Date {
        let first = self.first_day(time_zone.to_datetime(instant).date());
        // Where clocks go back over midnight, they show the old day again after the new one has begun.
        let next = self.next_first_day(first);
        let begun = next.filter(|next| midnight(*next, time_zone).is_some_and(|midnight| midnight <= instant));
        begun.unwrap_or(first)
    }

    /// When a period begins, by its first day.
    #[must_use]
    pub fn begins_at(self, first_day: Date, time_zone: &TimeZone) -> Option<Timestamp> {
        midnight(first_day, time_zone)
    }

    /// The first instant of a local day; the end of time beyond the calendar.
    #[must_use]
    pub fn begin_of_day(day: Option<Date>, time_zone: &TimeZone) -> Timestamp {
        day.and_then(|day| midnight(day, time_zone)).unwrap_or(END_OF_TIME).min(END_OF_TIME)
    }

    /// When the period ends that an instant lies in: its first instant that is not in it any more.
    #[must_use]
    pub fn end_of(self, instant: Timestamp, time_zone: &TimeZone) -> Timestamp {
        Self::begin_of_day(self.next_first_day(self.first_day_at(instant, time_zone)), time_zone)
    }
}

/// The first instant of a local day; of a midnight that clocks show twice, the first.
fn midnight(day: Date, time_zone: &TimeZone) -> Option<Timestamp> {
    let midnight = time_zone.to_ambiguous_timestamp(day.to_datetime(Time::midnight()));
    match midnight.offset() {
        // The clocks skip midnight, and the day begins as they do: not always at the full hour after. By the clocks
        // after the skip, the missing midnight lies before it.
        AmbiguousOffset::Gap { after, .. } => {
            let before = after.to_timestamp(midnight.datetime()).ok()?;
            Some(time_zone.following(before).next()?.timestamp())
        }
        AmbiguousOffset::Unambiguous { .. } | AmbiguousOffset::Fold { .. } => midnight.earlier().ok(),
    }
}

impl ExpiryRule {
    /// The instant that was given, where it is given as one.
    #[must_use]
    pub const fn given_instant(&self) -> Option<Timestamp> {
        match self {
            Self::At(instant) => Some(*instant),
            Self::Never | Self::After { .. } | Self::Sliding(_) => None,
        }
    }

    /// When points expire that vest at an instant; for sliding expiry, if nothing moves it.
    #[must_use]
    pub fn of(&self, vested_at: Timestamp, time_zone: &TimeZone) -> Option<Timestamp> {
        match self {
            Self::Never => None,
            Self::At(instant) => Some(*instant),
            Self::After { period, round_to } => Some(last_instant(period, *round_to, vested_at, time_zone)),
            Self::Sliding(period) => Some(last_instant(period, None, vested_at, time_zone)),
        }
    }
}

/// The end of the day, or of a longer calendar period, that a period leads to; a period of hours ends to the instant.
fn last_instant(period: &Period, round_to: Option<CalendarPeriod>, from: Timestamp, time_zone: &TimeZone) -> Timestamp {
    let instant = period.after(from, time_zone);
    match round_to {
        None if period.has_time() => instant,
        None => CalendarPeriod::Day.end_of(instant, time_zone),
        Some(round_to) => round_to.end_of(instant, time_zone),
    }
}

impl Reinstatement {
    /// When points that come back at an instant expire again.
    #[must_use]
    pub fn expiry_of(&self, instant: Timestamp, time_zone: &TimeZone) -> Timestamp {
        last_instant(&self.valid_for, None, instant, time_zone)
    }

    /// Whether points that expired at one instant may come back at another.
    #[must_use]
    pub fn is_open(&self, expired_at: Timestamp, at: Timestamp, time_zone: &TimeZone) -> bool {
        at < self.closes_at(expired_at, time_zone)
    }

    /// The first instant at which points that expired at another may no longer come back.
    #[must_use]
    pub fn closes_at(&self, expired_at: Timestamp, time_zone: &TimeZone) -> Timestamp {
        self.within.after(expired_at, time_zone)
    }
}

#[cfg(test)]
mod tests;
