//! Instants as people write and read them, in the program's time zone.

use goldbook_api::values::{FIRST_INSTANT, LAST_INSTANT};
use goldbook_api::zones;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::error::CliError;

/// The time zone of this name, by the data that is built into this program.
pub(super) fn time_zone(name: &str) -> Result<TimeZone, CliError> {
    zones::find(name).ok_or_else(|| {
        let version = zones::version();
        CliError::failed(format_args!("the time zone {name} is not in this program's time zone data, {version}"))
    })
}

/// Why a text names no instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// It is neither a day nor an instant, or lies before the year 1.
    Malformed,
    /// It lies in the last hours of the year 9999, after [`LAST_INSTANT`].
    TooLate,
}

/// The first instant of a day where the program is, or an instant as RFC 3339 writes it.
pub(super) fn parse(text: &str, zone: &TimeZone) -> Result<Timestamp, Unreadable> {
    if let Some(instant) = read(text, zone).filter(|instant| *instant >= FIRST_INSTANT) {
        return if instant <= LAST_INSTANT { Ok(instant) } else { Err(Unreadable::TooLate) };
    }
    // A text that is an instant one year earlier is not malformed, but too late.
    let earlier = text.strip_prefix("9999").map(|rest| format!("9998{rest}"));
    let is_too_late = earlier.is_some_and(|earlier| read(&earlier, zone).is_some());
    Err(if is_too_late { Unreadable::TooLate } else { Unreadable::Malformed })
}

fn read(text: &str, zone: &TimeZone) -> Option<Timestamp> {
    if let Ok(instant) = text.parse::<Timestamp>() {
        return Some(instant);
    }
    // A longer text that begins with a date is no day: it is an instant that lacks its offset.
    let day: Date = text.parse().ok().filter(|_| text.len() == "1997-01-18".len())?;
    // A day does not always begin at midnight.
    let begin = day.to_zoned(zone.clone()).ok()?.start_of_day().ok()?;
    Some(begin.timestamp())
}

/// The period that a command line names by `--from` and `--until`.
///
/// # Errors
/// If one of them names no instant, or the period ends before it begins.
pub(super) fn parse_period(
    from: Option<&str>,
    until: Option<&str>,
    zone: &TimeZone,
) -> Result<(Option<Timestamp>, Option<Timestamp>), CliError> {
    let from = parse_option("--from", from, zone)?;
    let until = parse_option("--until", until, zone)?;
    if let (Some(from), Some(until)) = (from, until)
        && until <= from
    {
        return Err(CliError::usage("--until must be later than --from"));
    }
    Ok((from, until))
}

/// The instant that an option of a command line names.
///
/// # Errors
/// If it names none.
pub(super) fn parse_option(name: &str, text: Option<&str>, zone: &TimeZone) -> Result<Option<Timestamp>, CliError> {
    let Some(text) = text else { return Ok(None) };
    match parse(text, zone) {
        Ok(instant) => Ok(Some(instant)),
        Err(Unreadable::Malformed) => Err(CliError::usage(format_args!(
            "{name} is {text}, not an instant such as 1997-01-18T15:30:00-05:00 or a day such as 1997-01-18"
        ))),
        Err(Unreadable::TooLate) => {
            Err(CliError::usage(format_args!("{name} is {text}, later than {LAST_INSTANT}, the last instant there is")))
        }
    }
}

/// Reads an instant from the wire. Returns none if its fields are no valid instant.
pub(super) fn from_wire(instant: &prost_types::Timestamp) -> Option<Timestamp> {
    Timestamp::new(instant.seconds, instant.nanos).ok()
}

/// An instant of the wire as other tools read it, in UTC. None if there is none, or no valid one.
pub(super) fn write(instant: Option<&prost_types::Timestamp>) -> Option<String> {
    instant.and_then(from_wire).map(|at| at.to_string())
}

/// An instant of the wire as people in this time zone write it, to the second.
pub(super) fn show(instant: Option<&prost_types::Timestamp>, zone: &TimeZone) -> String {
    let Some(instant) = instant.and_then(from_wire) else { return "?".to_owned() };
    instant.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S %Z").to_string()
}

/// The same on two short lines.
pub(super) fn show_on_two_lines(instant: Option<&prost_types::Timestamp>, zone: &TimeZone) -> String {
    let Some(instant) = instant.and_then(from_wire) else { return "?".to_owned() };
    instant.to_zoned(zone.clone()).strftime("%Y-%m-%d\n%H:%M:%S").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_shown_in_the_programs_time_zone() {
        let zone = time_zone("America/New_York").unwrap();
        let instant = prost_types::Timestamp { seconds: 852_094_800, nanos: 0 };
        assert_eq!(show(Some(&instant), &zone), "1997-01-01 00:00:00 EST");
        assert_eq!(show(None, &zone), "?");
        assert!(time_zone("Atlantis/Capital").is_err());
    }

    #[test]
    fn a_day_begins_when_it_begins_there() {
        // In São Paulo the clocks went from 23:59:59 straight to 01:00:00.
        let zone = time_zone("America/Sao_Paulo").unwrap();
        assert_eq!(parse("2018-11-04", &zone), Ok("2018-11-04T03:00:00Z".parse().unwrap()));
    }

    #[test]
    fn what_is_too_late_is_told_from_what_is_no_instant() {
        let zone = time_zone("America/New_York").unwrap();
        assert_eq!(parse("9999-12-30", &zone), Ok("9999-12-30T05:00:00Z".parse().unwrap()));
        for late in ["9999-12-31", "9999-12-31T23:59:59Z", "9999-12-30T22:00:00.1Z", "9999-12-30T23:00:00Z"] {
            assert_eq!(parse(late, &zone), Err(Unreadable::TooLate), "{late}");
        }
        assert_eq!(parse("0001-01-01", &zone), Ok("0001-01-01T04:56:02Z".parse().unwrap()));
        for bad in [
            "0000-12-31",
            "0000-12-31T23:59:59Z",
            "-000001-01-01T00:00:00Z",
            "",
            "9999",
            "9999-12-32",
            "9999-12-31T00:00:00",
            "10000-01-01",
            "never",
            "9999-02-29",
        ] {
            assert_eq!(parse(bad, &zone), Err(Unreadable::Malformed), "{bad}");
        }
    }
}
