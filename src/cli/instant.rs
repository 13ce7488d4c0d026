//! Instants as people write and read them, in the program's time zone.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::CliError;

/// The program's time zone, from the data that came with this program: the machine may have none.
pub(super) fn time_zone(name: &str) -> Result<TimeZone, CliError> {
    TimeZone::get(name)
        .map_err(|error| CliError::failed(format_args!("this program does not know the time zone {name}: {error}")))
}

/// The first instant of a day where the program is, or an instant as RFC 3339 writes it.
pub(super) fn parse(text: &str, zone: &TimeZone) -> Option<Timestamp> {
    if let Ok(instant) = text.parse::<Timestamp>() {
        return Some(instant);
    }
    // A longer text that begins with a date is an instant without its offset, and not a day.
    let day: Date = text.parse().ok().filter(|_| text.len() == "1997-01-18".len())?;
    // The day's own beginning, which is not always midnight.
    let begin = day.to_zoned(zone.clone()).ok()?.start_of_day().ok()?;
    Some(begin.timestamp())
}

/// From the wire; none for what is no instant.
pub(super) fn from_wire(instant: &prost_types::Timestamp) -> Option<Timestamp> {
    Timestamp::new(instant.seconds, instant.nanos).ok()
}

/// An instant of the wire, as a person in this time zone writes it, to the second.
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
        assert_eq!(parse("2018-11-04", &zone), Some("2018-11-04T03:00:00Z".parse().unwrap()));
    }
}
