//! What the headers of a call say about its bytes.

use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName};

use super::breach::Breach;
use super::compression::Compression;

pub(crate) const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
const GRPC_ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
/// The content types of gRPC with protobuf.
const GRPC: [&[u8]; 2] = [b"application/grpc", b"application/grpc+proto"];
/// How much of what a caller sent stands in a message to them. Clients bound the headers that carry it.
const MAX_SHOWN: usize = 128;

/// Whether a call says that it is gRPC with protobuf.
pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    let Some(content_type) = headers.get(CONTENT_TYPE) else { return false };
    let essence = media_type(content_type.as_bytes());
    GRPC.iter().any(|grpc| essence.eq_ignore_ascii_case(grpc))
}

/// A media type without its parameters: a charset, for one, says nothing about protobuf.
pub(crate) fn media_type(value: &[u8]) -> &[u8] {
    value.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii()
}

/// Whether the caller's deadline, if there is one, can be understood.
pub(super) fn check_timeout(headers: &HeaderMap) -> Result<(), Breach> {
    let Some(timeout) = headers.get(GRPC_TIMEOUT) else { return Ok(()) };
    parse_timeout(timeout.as_bytes()).map(|_| ()).ok_or(Breach::Timeout)
}

/// One to eight digits and a unit, as the gRPC protocol has it.
pub(crate) fn parse_timeout(text: &[u8]) -> Option<Duration> {
    let (unit, digits) = text.split_last()?;
    if !(1..=8).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let count = digits.iter().fold(0, |count: u64, digit| count * 10 + u64::from(digit - b'0'));
    match unit {
        b'H' => Some(Duration::from_secs(count * 3_600)),
        b'M' => Some(Duration::from_secs(count * 60)),
        b'S' => Some(Duration::from_secs(count)),
        b'm' => Some(Duration::from_millis(count)),
        b'u' => Some(Duration::from_micros(count)),
        b'n' => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

/// How the messages of a call are compressed. The header is taken out then, since messages go on decompressed.
pub(super) fn take_compression(headers: &mut HeaderMap) -> Result<Option<Compression>, Breach> {
    let Some(encoding) = headers.get(GRPC_ENCODING) else { return Ok(None) };
    let compression = match encoding.as_bytes() {
        b"identity" => return Ok(None),
        b"gzip" => Compression::Gzip,
        b"zstd" => Compression::Zstd,
        other => return Err(Breach::Encoding(shorten(other))),
    };
    headers.remove(GRPC_ENCODING);
    Ok(Some(compression))
}

/// What a caller sent, so that it can be repeated to them: its beginning, with a `?` for what is no visible ASCII.
pub(super) fn shorten(text: &[u8]) -> String {
    let visible = |byte: &u8| if byte.is_ascii_graphic() { char::from(*byte) } else { '?' };
    let shown: String = text.iter().take(MAX_SHOWN).map(visible).collect();
    if text.len() > MAX_SHOWN { shown + "..." } else { shown }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn timeouts_are_read_as_the_protocol_writes_them() {
        assert_eq!(parse_timeout(b"99999999H"), Some(Duration::from_secs(99_999_999 * 3_600)));
        for (text, micros) in [("2M", 120_000_000), ("3S", 3_000_000), ("250m", 250_000), ("07u", 7), ("9000n", 9)] {
            assert_eq!(parse_timeout(text.as_bytes()), Some(Duration::from_micros(micros)), "{text}");
        }
        for bad in ["", "m", "1", "1x", "+1m", "-1m", "1.5S", "1 S", "123456789m", "1é", "٣S"] {
            assert_eq!(parse_timeout(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn grpc_is_told_from_what_only_begins_like_it() {
        let says = |content_type: &[u8]| {
            let value = HeaderValue::from_bytes(content_type).unwrap();
            is_grpc(&HeaderMap::from_iter([(CONTENT_TYPE, value)]))
        };
        for good in
            ["application/grpc", "application/grpc+proto", "Application/GRPC", "application/grpc; charset=utf-8"]
        {
            assert!(says(good.as_bytes()), "{good}");
        }
        for bad in ["", "application/json", "application/grpc+json", "application/grpc-web", "application/grpcx", "é"]
        {
            assert!(!says(bad.as_bytes()), "{bad}");
        }
        assert!(!is_grpc(&HeaderMap::new()));
    }

    #[test]
    fn what_a_caller_sent_is_repeated_in_part_and_without_control_characters() {
        assert_eq!(shorten(b"/a.B/C\n\x1b\xff"), "/a.B/C???");
        let long = shorten(&[b'x'; 10_000]);
        assert_eq!(long, "x".repeat(MAX_SHOWN) + "...");
    }
}
