//! The head of a call with its body, in whatever pieces the body comes.

use http::{HeaderName, HeaderValue, Method, Request, Version};
use tonic::Code;

use super::calls::{Outcome, body, call};

/// The lines of a head, an empty one, and the body. The first line has the method of HTTP, the path and the version, each
/// other one a header. What `x-piece` says is the size of the pieces that the body comes in.
#[must_use]
pub fn metadata(input: &[u8]) -> bool {
    let Some(end) = input.windows(2).position(|window| window == b"\n\n") else { return false };
    let (head, rest) = input.split_at(end);
    let bytes = rest.get(2..).unwrap_or_default();
    let Some((make, piece)) = read_head(head) else { return false };
    let Some(whole) = make(body(bytes, bytes.len())) else { return false };
    let is_asking = whole.method() == Method::OPTIONS;
    let whole = call(whole);
    let is_grpc = whole.http_status == http::StatusCode::OK && !is_asking;
    assert!(!is_grpc || whole.status.is_some() || !whole.body.is_empty(), "an answer has no status: {whole:?}");
    if let Some(in_pieces) = make(body(bytes, piece)) {
        let in_pieces = call(in_pieces);
        let is_in_time = |outcome: &Outcome| {
            !outcome.status.as_ref().is_some_and(|(code, _)| *code == Code::DeadlineExceeded)
                && !String::from_utf8_lossy(&outcome.body).contains("grpc-status:4\r\n")
        };
        if is_in_time(&whole) && is_in_time(&in_pieces) {
            assert_eq!(whole, in_pieces, "a body in pieces of {piece} is another one");
        }
    }
    true
}

/// What makes a request of a body, and the size of its pieces.
fn read_head(head: &[u8]) -> Option<(impl Fn(tonic::body::Body) -> Option<Request<tonic::body::Body>>, usize)> {
    let mut lines = head.split(|byte| *byte == b'\n');
    let first = str::from_utf8(lines.next()?).ok()?;
    let mut words = first.split(' ');
    let method = Method::from_bytes(words.next()?.as_bytes()).ok()?;
    let uri: http::Uri = words.next()?.parse().ok()?;
    let version = match words.next()? {
        "1.1" => Version::HTTP_11,
        "2" => Version::HTTP_2,
        _ => return None,
    };
    let mut headers = Vec::new();
    let mut piece = 1;
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let (name, value) = line.split_at(colon);
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        if name == b"x-piece" {
            piece = str::from_utf8(value).ok()?.parse().ok()?;
        } else {
            headers.push((HeaderName::from_bytes(name).ok()?, HeaderValue::from_bytes(value).ok()?));
        }
    }
    let make = move |body| {
        let mut request = Request::new(body);
        *request.method_mut() = method.clone();
        *request.uri_mut() = uri.clone();
        *request.version_mut() = version;
        request.headers_mut().try_reserve(headers.len()).ok()?;
        for (name, value) in &headers {
            request.headers_mut().try_append(name.clone(), value.clone()).ok()?;
        }
        Some(request)
    };
    Some((make, piece))
}
