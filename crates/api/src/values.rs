//! What the protos' comments say about single values: bounds and forms that a client can check before it sends.

use jiff::Timestamp;

/// The longest name that a caller may choose, in characters.
pub const MAX_NAME_CHARS: usize = 128;
/// The longest identifier inside a program document, in characters.
pub const MAX_SLUG_CHARS: usize = 63;

/// The last instant that the service counts with, such as the end of points: 9999-01-01T00:00:00Z. In every time zone
/// it is far enough from the end of the year 9999, where `google.protobuf.Timestamp` and the calendar end.
pub const END_OF_TIME: Timestamp = Timestamp::constant(253_370_764_800, 0);

/// The first instant that `google.protobuf.Timestamp` has: 0001-01-01T00:00:00Z. Postgres has none that is much earlier.
pub const FIRST_INSTANT: Timestamp = Timestamp::constant(-62_135_596_800, 0);

/// The last instant that can be named at all: 9999-12-30T22:00:00Z. Later ones have no local time in some time zones.
pub const LAST_INSTANT: Timestamp = Timestamp::constant(253_402_207_200, 0);

/// The most points that one ledger entry moves: no request and no rule of a program names more.
pub const MAX_POINTS: i64 = 1_000_000_000_000;

/// How long a hold lasts if neither it nor its program says so, as an ISO 8601 period.
pub const DEFAULT_HOLD: &str = "P7D";

/// Checks a name that a caller chose: of a customer, of an activity, of an attempt to write.
///
/// # Errors
/// What it must be, for people.
pub fn check_name(text: &str) -> Result<(), &'static str> {
    let count = text.chars().count();
    if count == 0 || count > MAX_NAME_CHARS || text.chars().any(char::is_control) {
        return Err("must be 1 to 128 characters without control characters");
    }
    Ok(())
}

/// Checks the identifier of a program, or of something in a program document.
///
/// # Errors
/// What it must be, for people.
pub fn check_slug(text: &str) -> Result<(), &'static str> {
    let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if text.is_empty() || text.len() > MAX_SLUG_CHARS || !text.bytes().all(legal) || text.starts_with('-') {
        return Err("must be 1 to 63 characters of a-z, 0-9 and '-', and must not begin with '-'");
    }
    Ok(())
}

/// A sum of money, as whole units and nanos, in the minor units of a currency that has so many decimals: at most 9.
///
/// # Errors
/// What it must be, for people: if it is negative, too large, or not a whole number of minor units.
pub fn to_minor_units(units: i64, nanos: i32, decimals: u32) -> Result<i64, &'static str> {
    if units < 0 || !(0..1_000_000_000).contains(&nanos) {
        return Err("must be zero or more, with nanos from 0 to 999,999,999");
    }
    let minor_per_unit = 10_i64.saturating_pow(decimals.min(9));
    let nanos_per_minor = 1_000_000_000 / minor_per_unit;
    let nanos = i64::from(nanos);
    if nanos % nanos_per_minor != 0 {
        return Err("must be exact in the currency's minor unit");
    }
    units
        .checked_mul(minor_per_unit)
        .and_then(|minor| minor.checked_add(nanos / nanos_per_minor))
        .ok_or("is larger than can be counted in minor units")
}

/// An instant on the wire, cut to whole microseconds, which is what the service keeps.
#[must_use]
pub fn write_instant(instant: Timestamp) -> prost_types::Timestamp {
    let micros = instant.as_microsecond();
    prost_types::Timestamp {
        seconds: micros.div_euclid(1_000_000),
        nanos: i32::try_from(micros.rem_euclid(1_000_000) * 1_000).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_bounded_in_characters_and_not_in_bytes() {
        assert_eq!(check_name(&"é".repeat(MAX_NAME_CHARS)), Ok(()));
        for bad in ["", "a\0b", &"é".repeat(MAX_NAME_CHARS + 1)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_slug_is_lower_case_and_does_not_begin_with_a_dash() {
        assert_eq!(check_slug("cdnow-1"), Ok(()));
        for bad in ["", "-a", "A", "a_b", &"a".repeat(MAX_SLUG_CHARS + 1)] {
            assert!(check_slug(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_sum_must_be_exact_in_the_minor_unit() {
        assert_eq!(to_minor_units(29, 330_000_000, 2), Ok(2_933));
        assert_eq!(to_minor_units(29, 0, 0), Ok(29));
        assert_eq!(to_minor_units(0, 1, 9), Ok(1));
        for (units, nanos, decimals) in [(29, 331_000_000, 2), (29, 10_000_000, 0), (-1, 0, 2), (i64::MAX, 0, 2)] {
            assert!(to_minor_units(units, nanos, decimals).is_err(), "{units} {nanos} {decimals}");
        }
    }

    #[test]
    fn an_instant_before_1970_has_nanos_of_zero_or_more() {
        let instant = Timestamp::new(-1, -500_000_000).unwrap_or_default();
        assert_eq!(write_instant(instant), prost_types::Timestamp { seconds: -2, nanos: 500_000_000 });
    }
}
