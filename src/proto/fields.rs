//! Fields that many messages share: wire ⇄ domain.

pub use goldbook_api::values::write_instant;
use jiff::Timestamp;
use jiff::civil::Date;

use super::google;
use crate::clock::{FIRST_INSTANT, LAST_INSTANT, PartialDate};
use crate::error::Fields;
use crate::money::{Currency, Money};

const MAX_LANGUAGE_TAG: usize = 35;

/// The last second of the year 9999, after which `google.protobuf.Timestamp` has none.
const LAST_SECOND: i64 = 253_402_300_799;

/// Parses an instant that may be absent; truncated to microseconds.
pub fn parse_optional_instant(
    fields: &mut Fields,
    field: &str,
    instant: Option<&prost_types::Timestamp>,
) -> Option<Timestamp> {
    parse_instant_to(fields, field, instant?, LAST_INSTANT)
}

/// Parses an instant that is not after another; truncated to microseconds.
pub fn parse_instant_to(
    fields: &mut Fields,
    field: &str,
    instant: &prost_types::Timestamp,
    last: Timestamp,
) -> Option<Timestamp> {
    let is_valid = (FIRST_INSTANT.as_second()..=LAST_SECOND).contains(&instant.seconds)
        && (0..1_000_000_000).contains(&instant.nanos);
    if !is_valid {
        fields.refuse(field, "must be a valid google.protobuf.Timestamp");
        return None;
    }
    // The last of the valid ones are more than can be held here.
    let parsed = Timestamp::new(instant.seconds, instant.nanos - instant.nanos % 1_000).ok();
    fields.check(field, parsed.filter(|instant| *instant <= last).ok_or_else(|| format!("must not be after {last}")))
}

/// Parses an instant that must be there.
pub fn parse_instant(fields: &mut Fields, field: &str, instant: Option<&prost_types::Timestamp>) -> Option<Timestamp> {
    if instant.is_none() {
        fields.refuse(field, "must be set");
    }
    parse_optional_instant(fields, field, instant)
}

/// Parses a sum of money that must be there, exact in the minor unit of its own currency.
pub fn parse_money(fields: &mut Fields, field: &str, money: Option<&google::Money>) -> Option<Money> {
    let Some(money) = money else {
        fields.refuse(field, "must be set");
        return None;
    };
    let currency = fields.check(format!("{field}.currency_code"), Currency::parse(&money.currency_code))?;
    fields.check(field, Money::parse(currency, money.units, money.nanos))
}

/// A sum of money on the wire.
#[must_use]
pub fn write_money(money: Money) -> google::Money {
    let (units, nanos) = money.to_units_and_nanos();
    google::Money { currency_code: money.currency.code().to_owned(), units, nanos }
}

/// A sum of money on the wire that may be below zero, in minor units: then both its parts are.
#[must_use]
pub fn write_signed_money(currency: Currency, minor: i64) -> google::Money {
    let size = Money { currency, minor: minor.checked_abs().unwrap_or(i64::MAX) };
    let google::Money { currency_code, units, nanos } = write_money(size);
    if minor < 0 {
        google::Money { currency_code, units: -units, nanos: -nanos }
    } else {
        google::Money { currency_code, units, nanos }
    }
}

/// Parses text of at most `max` characters without control characters; it may be empty.
pub fn parse_text(fields: &mut Fields, field: &str, text: &str, max: usize) -> Option<String> {
    let is_good = text.chars().count() <= max && !text.chars().any(char::is_control);
    let expected = format!("must be at most {max} characters without control characters");
    fields.check(field, if is_good { Ok(text.to_owned()) } else { Err(expected) })
}

/// Parses a language tag as in BCP 47, which need not be of a language that there is.
pub fn parse_language_tag(fields: &mut Fields, field: &str, tag: &str) -> Option<String> {
    let tag = parse_text(fields, field, tag, MAX_LANGUAGE_TAG)?;
    let expected = "must be a BCP 47 language tag, such as de or pt-BR";
    fields.check(field, if is_language_tag(&tag) { Ok(tag) } else { Err(expected) })
}

fn is_language_tag(tag: &str) -> bool {
    let mut parts = tag.split('-');
    let is_alphanumeric = |part: &str| (1..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric());
    parts.next().is_some_and(|part| (2..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphabetic()))
        && parts.all(is_alphanumeric)
}

/// Parses a date with a month and a day.
pub fn parse_date(fields: &mut Fields, field: &str, date: google::Date) -> Option<PartialDate> {
    // A leap year stands in for an unknown one.
    let year = if date.year == 0 { 2_000 } else { date.year };
    let civil = || {
        let year = i16::try_from(year).ok().filter(|year| (1..=9_999).contains(year))?;
        Date::new(year, i8::try_from(date.month).ok()?, i8::try_from(date.day).ok()?).ok()
    };
    let partial = civil().map(|civil| PartialDate {
        year: if date.year == 0 { 0 } else { civil.year() },
        month: civil.month(),
        day: civil.day(),
    });
    fields.check(field, partial.ok_or("must be a date of the calendar with month and day; the year may be 0"))
}

/// Parses a day of the calendar, with its year, that may be absent.
pub fn parse_optional_day(fields: &mut Fields, field: &str, day: Option<google::Date>) -> Option<Date> {
    let google::Date { year, month, day } = day?;
    let civil = || {
        let year = i16::try_from(year).ok().filter(|year| (1..=9_998).contains(year))?;
        Date::new(year, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok()
    };
    fields.check(field, civil().ok_or("must be a date of the calendar with year, month and day"))
}

/// A day of the calendar on the wire.
#[must_use]
pub fn write_day(day: Date) -> google::Date {
    google::Date { year: day.year().into(), month: day.month().into(), day: day.day().into() }
}

/// A date on the wire.
#[must_use]
pub fn write_date(date: PartialDate) -> google::Date {
    google::Date { year: date.year.into(), month: date.month.into(), day: date.day.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::END_OF_TIME;

    #[test]
    fn language_tags_that_could_be_meant_are_taken() {
        assert!(["de", "pt-BR", "zh-Hant-TW"].into_iter().all(is_language_tag));
        assert!(!["", "d", "de_DE", "de-", "d3"].into_iter().any(is_language_tag));
    }

    #[test]
    fn an_instant_that_is_valid_but_too_late_is_told_the_last_one() {
        let told = |seconds, nanos, last| {
            let mut fields = Fields::default();
            let parsed = parse_instant_to(&mut fields, "at", &prost_types::Timestamp { seconds, nanos }, last);
            assert_eq!(parsed.is_some(), fields.is_clean());
            fields.finish().err().map(|error| {
                let crate::error::Error::Invalid(violations) = error else { panic!("{error}") };
                violations[0].description.clone()
            })
        };
        let named = Some("must not be after 9999-12-30T22:00:00Z".to_owned());
        let counted = Some("must not be after 9999-01-01T00:00:00Z".to_owned());
        let invalid = Some("must be a valid google.protobuf.Timestamp".to_owned());
        let (end, last) = (END_OF_TIME.as_second(), LAST_INSTANT.as_second());
        assert_eq!((told(last, 999, LAST_INSTANT), told(end, 999, END_OF_TIME)), (None, None));
        assert_eq!((told(last, 1_000, LAST_INSTANT), told(end, 1_000, END_OF_TIME)), (named.clone(), counted.clone()));
        assert_eq!((told(LAST_SECOND, 0, LAST_INSTANT), told(LAST_SECOND, 0, END_OF_TIME)), (named, counted));
        assert_eq!((told(LAST_SECOND + 1, 0, LAST_INSTANT), told(0, -1, LAST_INSTANT)), (invalid.clone(), invalid));
    }
}
