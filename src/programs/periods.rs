//! Periods that somebody asks about, in days of a program's calendar. It is pure.

use jiff::ToSpan as _;
use jiff::civil::Date;

use super::points::CalendarPeriod;
use crate::error::Violation;

/// The most parts that a period is divided into.
const MAX_PARTS: usize = 60;

/// Divides a period: the first day of each part, and the first day after it. It ends with the present day, and is a year long, if
/// nothing else is asked.
///
/// # Errors
/// What is wrong, where it has no days or too many parts.
pub(crate) fn divide(
    today: Date,
    (from, until): (Option<Date>, Option<Date>),
    each: Option<CalendarPeriod>,
) -> Result<Vec<(Date, Date)>, Violation> {
    let invalid = |field: &str, description: &str| {
        Err(Violation { field: field.to_owned(), description: description.to_owned() })
    };
    let until = until.or_else(|| today.tomorrow().ok()).unwrap_or(Date::MAX);
    let from = from.or_else(|| until.checked_sub(1.year()).ok()).unwrap_or(Date::MIN);
    if from >= until {
        return invalid("until", "must be after from");
    }
    let Some(each) = each else { return Ok(vec![(from, until)]) };
    let mut parts: Vec<(Date, Date)> = Vec::new();
    let mut first = from;
    while first < until {
        if parts.len() == MAX_PARTS {
            return invalid("each", "must divide the period into at most 60 parts");
        }
        let next = each.next_first_day(each.first_day(first)).unwrap_or(until).min(until);
        parts.push((first, next));
        first = next;
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    fn parts(
        from: Option<Date>,
        until: Option<Date>,
        each: Option<CalendarPeriod>,
    ) -> Result<Vec<(Date, Date)>, String> {
        divide(date(2026, 2, 28), (from, until), each).map_err(|violation| violation.field)
    }

    #[test]
    fn a_period_is_the_last_year_if_nothing_else_is_asked() {
        assert_eq!(parts(None, None, None), Ok(vec![(date(2025, 3, 1), date(2026, 3, 1))]));
        let until = Some(date(2024, 2, 29));
        assert_eq!(parts(None, until, None), Ok(vec![(date(2023, 2, 28), date(2024, 2, 29))]));
    }

    #[test]
    fn parts_are_those_of_the_calendar_and_the_first_and_last_may_be_short() {
        let months = parts(Some(date(2026, 1, 15)), Some(date(2026, 3, 10)), Some(CalendarPeriod::Month)).unwrap();
        let days = [date(2026, 1, 15), date(2026, 2, 1), date(2026, 3, 1), date(2026, 3, 10)];
        assert!(months.iter().copied().eq(days.into_iter().zip(days.into_iter().skip(1))));
    }

    #[test]
    fn a_period_has_days_and_not_too_many_parts() {
        let day = Some(date(2026, 1, 1));
        assert_eq!(parts(day, day, None).unwrap_err(), "until");
        let (from, until) = (Some(date(2021, 3, 1)), Some(date(2026, 3, 1)));
        assert_eq!(parts(from, until, Some(CalendarPeriod::Month)).unwrap().len(), 60);
        let from = Some(date(2021, 2, 28));
        assert_eq!(parts(from, until, Some(CalendarPeriod::Month)).unwrap_err(), "each");
        assert!(parts(Some(Date::MIN), Some(Date::MAX), Some(CalendarPeriod::Day)).is_err());
    }
}
