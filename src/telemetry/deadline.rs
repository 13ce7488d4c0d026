//! How long a caller is willing to wait, read from `grpc-timeout`.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::HeaderMap;
use tokio::time::{Instant, Sleep};

/// When the caller of the current request stops waiting, in the request's extensions if the caller set it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(pub Instant);

/// Waits for a deadline. The timer proper is made on the first wait, which quick answers never come to.
#[derive(Debug)]
pub(super) struct Timer {
    at: Instant,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Timer {
    pub(super) fn from_headers(headers: &HeaderMap) -> Option<Self> {
        let timeout = parse(headers.get("grpc-timeout")?.to_str().ok()?)?;
        // Beyond what the clock can count is as good as never.
        let at = Instant::now().checked_add(timeout)?;
        Some(Self { at, sleep: None })
    }

    pub(super) fn deadline(&self) -> Deadline {
        Deadline(self.at)
    }

    /// Ready once the deadline has passed; without a timer, never.
    pub(super) fn poll(timer: &mut Option<Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(Self { at, sleep }) = timer else { return Poll::Pending };
        if Instant::now() >= *at {
            return Poll::Ready(());
        }
        sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(*at))).as_mut().poll(cx)
    }
}

/// At most eight digits and a unit, as the gRPC protocol has it; what is not that is ignored, as tonic does.
fn parse(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if !(1..=8).contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(count * 3_600)),
        "M" => Some(Duration::from_secs(count * 60)),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read_as_the_protocol_writes_them() {
        assert_eq!(parse("99999999H"), Some(Duration::from_secs(99_999_999 * 3_600)));
        assert_eq!(parse("250m"), Some(Duration::from_millis(250)));
        for bad in ["", "m", "1", "1x", "+1m", "123456789m", "1é"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
