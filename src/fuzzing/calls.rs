//! Calls of the service without a database, what holds for every answer, and what inputs begin with.

use std::cell::OnceCell;

use bytes::Bytes;
use http::{HeaderMap, Request};
use tonic::body::Body;
use tonic::{Code, Status};

use crate::server::fuzzing::{Answer, WithoutDatabase};
use crate::wire::fuzzing::Pieces;

/// The origin whose pages may call.
pub(super) const ORIGIN: &str = "https://shop.example";
/// How much clients take of headers that come together, by the count of HTTP/2: 32 bytes for each beside its text.
const MAX_HEADER_BYTES: usize = 8 * 1024;

thread_local! {
    static SERVICE: OnceCell<WithoutDatabase> = const { OnceCell::new() };
}

/// What became of a call.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) http_status: http::StatusCode,
    /// The code of gRPC with its message, unless there is none or the body has it.
    pub(super) status: Option<(Code, String)>,
    pub(super) body: Vec<u8>,
}

/// Calls the service, and checks what holds for every answer.
pub(super) fn call(request: Request<Body>) -> Outcome {
    SERVICE.with(|service| {
        let service = service.get_or_init(|| match WithoutDatabase::new(ORIGIN) {
            Ok(service) => service,
            Err(error) => unreachable!("the service cannot be put together: {error}"),
        });
        let answer = service.call(request);
        assert!(answer.is_some(), "there is no answer in time");
        answer.map_or_else(|| unreachable!("it is there"), check)
    })
}

fn check(answer: Answer) -> Outcome {
    let Answer { status: http_status, headers, body, trailers } = answer;
    let trailers = trailers.unwrap_or_default();
    for headers in [&headers, &trailers] {
        let size: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum();
        assert!(size <= MAX_HEADER_BYTES, "the headers of an answer have {size} bytes: {headers:?}");
    }
    let read = |headers: &HeaderMap| {
        let status = Status::from_header_map(headers)?;
        Some((status.code(), status.message().to_owned()))
    };
    let status = read(&trailers).or_else(|| read(&headers));
    if let Some((code, message)) = &status {
        assert!(is_told_to_callers(*code), "{code:?}: {message}");
    }
    Outcome { http_status, status, body }
}

/// Whether a call may end so, whatever was sent: nothing that a caller does is a failure of the service.
pub(super) fn is_told_to_callers(code: Code) -> bool {
    match code {
        Code::Ok
        | Code::InvalidArgument
        | Code::DeadlineExceeded
        | Code::NotFound
        | Code::PermissionDenied
        | Code::ResourceExhausted
        | Code::FailedPrecondition
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::Unavailable
        | Code::Unauthenticated => true,
        Code::Cancelled | Code::Unknown | Code::AlreadyExists | Code::Aborted | Code::Internal | Code::DataLoss => {
            false
        }
    }
}

/// A body of these bytes, in pieces of a size.
pub(super) fn body(bytes: &[u8], piece: usize) -> Body {
    let pieces: Vec<Bytes> = bytes.chunks(piece.max(1)).map(Bytes::copy_from_slice).collect();
    Body::new(Pieces(pieces.into_iter()))
}

/// A message behind its flag and its length.
pub(super) fn frame(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    [&[0], length.to_be_bytes().as_slice(), message].concat()
}

/// The messages of a body that the service wrote.
pub(super) fn messages(mut body: &[u8]) -> Vec<&[u8]> {
    let mut messages = Vec::new();
    while let Some((prefix, rest)) = body.split_first_chunk::<5>() {
        let [flag, length @ ..] = *prefix;
        assert_eq!(flag, 0, "an answer is compressed although nobody asked for it");
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        let split = rest.split_at_checked(length);
        assert!(split.is_some(), "an answer ends in the middle of a message");
        let Some((message, behind)) = split else { break };
        messages.push(message);
        body = behind;
    }
    messages
}

/// The first line of an input, and the rest.
pub(super) fn split_line(input: &[u8]) -> Option<(&str, &[u8])> {
    let end = input.iter().position(|byte| *byte == b'\n')?;
    let (line, rest) = input.split_at_checked(end)?;
    Some((str::from_utf8(line).ok()?, rest.get(1..)?))
}
