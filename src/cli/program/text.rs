//! How decimals and instants are written in a program's document.

use std::fmt;

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};

use super::super::amount::Amount;

/// Reads a decimal in quotes, and keeps it as it is written. A number without quotes would not be exact.
pub(super) fn decimal_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    struct Text;

    impl Visitor<'_> for Text {
        type Value = String;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a decimal in quotes, such as \"1\" or \"0.125\"")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<String, E> {
            let parsed = Amount::parse(text).map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self));
            parsed.map(|_| text.to_owned())
        }
    }

    deserializer.deserialize_str(Text)
}

/// Reads an instant of RFC 3339, in quotes or as TOML's own date-time.
pub(super) fn instant_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    const EXPECTED: &str = "expected an instant with its offset as in RFC 3339, such as 2026-03-01T00:00:00-05:00";

    #[derive(Deserialize)]
    #[serde(
        untagged,
        expecting = "expected an instant with its offset as in RFC 3339, such as 2026-03-01T00:00:00-05:00"
    )]
    enum Written {
        Text(String),
        Native(toml::value::Datetime),
    }

    let text = match Written::deserialize(deserializer)? {
        Written::Text(text) => text,
        Written::Native(datetime) => datetime.to_string(),
    };
    text.parse().map(Some).map_err(|_| de::Error::custom(EXPECTED))
}
