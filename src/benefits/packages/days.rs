//! Which days of other years have their anniversary on a day. It is pure.

use jiff::civil::Date;

/// How many years back an anniversary is looked for.
const YEARS: i16 = 120;

/// The day of February that 29 February has in other years, if a day is that.
fn stands_for_leap_day(day: Date) -> bool {
    day.month() == 2 && day.day() == 28 && !day.in_leap_year()
}

/// Months and days whose anniversary a day is: its own, and 29 February on 28 February of a year that has no other.
#[must_use]
pub(super) fn dates_of(day: Date) -> Vec<(i8, i8)> {
    let leap_day = stands_for_leap_day(day).then_some((2, 29));
    std::iter::once((day.month(), day.day())).chain(leap_day).collect()
}

/// The days of former years whose anniversary a day is, the latest first.
#[must_use]
pub(super) fn days_before(day: Date) -> Vec<Date> {
    let years = (1..=YEARS).filter_map(|years| day.year().checked_sub(years));
    let days = years.flat_map(|year| dates_of(day).into_iter().filter_map(move |(m, d)| Date::new(year, m, d).ok()));
    days.collect()
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    #[test]
    fn the_leap_day_has_its_day_in_every_year() {
        assert_eq!(dates_of(date(2027, 2, 28)), [(2, 28), (2, 29)]);
        assert_eq!(dates_of(date(2028, 2, 28)), [(2, 28)]);
        assert_eq!(dates_of(date(2028, 2, 29)), [(2, 29)]);
        assert_eq!(dates_of(date(2100, 2, 28)), [(2, 28), (2, 29)]);
        assert_eq!(dates_of(date(2027, 3, 1)), [(3, 1)]);
        // Each day of the calendar comes once a year.
        for year in [2027, 2028] {
            let days = date(year, 1, 1).series(jiff::Span::new().days(1)).take_while(|day| day.year() == year);
            let mut all: Vec<(i8, i8)> = days.flat_map(dates_of).collect();
            all.sort_unstable();
            let own = date(2028, 1, 1).series(jiff::Span::new().days(1)).take(366);
            assert_eq!(all, own.map(|day| (day.month(), day.day())).collect::<Vec<_>>());
        }
    }

    #[test]
    fn years_are_counted_from_days_that_there_were() {
        let of = |day: Date| days_before(day).into_iter().take(4).collect::<Vec<_>>();
        assert_eq!(of(date(2027, 5, 3)), [date(2026, 5, 3), date(2025, 5, 3), date(2024, 5, 3), date(2023, 5, 3)]);
        assert_eq!(of(date(2028, 2, 29)), [date(2024, 2, 29), date(2020, 2, 29), date(2016, 2, 29), date(2012, 2, 29)]);
        assert_eq!(of(date(2025, 2, 28)), [date(2024, 2, 28), date(2024, 2, 29), date(2023, 2, 28), date(2022, 2, 28)]);
        assert_eq!(days_before(date(2027, 5, 3)).len(), 120);
    }
}
