//! Numbers beyond 2^53 in JSON. Many readers count with doubles and would change them, so they travel as strings. What is
//! hashed has numbers alone.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

/// The largest number up to which every reader of JSON counts exactly.
const EXACT: u128 = 1 << 53;

/// JSON with its integers beyond 2^53 as strings.
#[must_use]
pub(crate) fn quote_wide_numbers(json: &str) -> String {
    let is_of_number = |character: char| character.is_ascii_digit() || "+-.eE".contains(character);
    let mut quoted = String::with_capacity(json.len());
    let (mut rest, mut in_string, mut is_escaped) = (json, false, false);
    while let Some(character) = rest.chars().next() {
        if !in_string && (character == '-' || character.is_ascii_digit()) {
            let (number, after) = rest.split_at(rest.find(|it| !is_of_number(it)).unwrap_or(rest.len()));
            let is_wide = number.parse::<i128>().is_ok_and(|number| number.unsigned_abs() > EXACT);
            let quote = if is_wide { "\"" } else { "" };
            quoted.extend([quote, number, quote]);
            rest = after;
            continue;
        }
        in_string ^= character == '"' && !is_escaped;
        is_escaped = in_string && character == '\\' && !is_escaped;
        quoted.push(character);
        rest = rest.get(character.len_utf8()..).unwrap_or_default();
    }
    quoted
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Wide {
    Number(i64),
    Text(String),
}

impl Wide {
    fn read<E: serde::de::Error>(self) -> Result<i64, E> {
        match self {
            Self::Number(number) => Ok(number),
            Self::Text(text) => text.parse().map_err(|error| E::custom(format_args!("{text:?} is no number: {error}"))),
        }
    }
}

/// Reads a number, whichever way it travelled.
pub(super) fn number<'de, D: Deserializer<'de>>(json: D) -> Result<i64, D::Error> {
    Wide::deserialize(json).map_err(|_| D::Error::custom("expected a whole number"))?.read()
}

/// As [`number`], of one that may be absent.
pub(super) fn optional<'de, D: Deserializer<'de>>(json: D) -> Result<Option<i64>, D::Error> {
    number(json).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_beyond_2_to_the_53_become_strings_and_nothing_else_changes() {
        for (json, expected) in [
            (r#"{"a":9007199254740992,"b":-9007199254740992}"#, r#"{"a":9007199254740992,"b":-9007199254740992}"#),
            (r#"{"a":9007199254740993,"b":-9007199254740993}"#, r#"{"a":"9007199254740993","b":"-9007199254740993"}"#),
            (r#"[9223372036854775807, 1.5e300]"#, r#"["9223372036854775807", 1.5e300]"#),
            (r#"{"9007199254740993":"ä \"9007199254740993\\"}"#, r#"{"9007199254740993":"ä \"9007199254740993\\"}"#),
            ("9007199254740993", r#""9007199254740993""#),
            ("", ""),
        ] {
            assert_eq!(quote_wide_numbers(json), expected);
        }
    }
}
