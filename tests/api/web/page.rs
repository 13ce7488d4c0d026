//! Calls as a page makes them, and what it makes of the answers.

use std::future::poll_fn;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use tonic::{Code, Status};
use tower::Service as _;

use super::http1::{Connection, Response};
use crate::harness::Service;
use crate::wait::within;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Http {
    One,
    Two,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Form {
    Binary,
    Text,
}

/// Each way in which a page may call.
pub(super) const WAYS: [(Http, Form); 4] =
    [(Http::One, Form::Binary), (Http::One, Form::Text), (Http::Two, Form::Binary), (Http::Two, Form::Text)];

impl Form {
    pub(super) fn media_type(self) -> &'static str {
        match self {
            Self::Binary => "application/grpc-web+proto",
            Self::Text => "application/grpc-web-text+proto",
        }
    }

    pub(super) fn encode(self, body: &[u8]) -> Vec<u8> {
        match self {
            Self::Binary => body.to_vec(),
            Self::Text => STANDARD.encode(body).into_bytes(),
        }
    }

    /// The bytes of an answer, of which each part is encoded by itself.
    fn decode(self, body: &[u8]) -> Vec<u8> {
        match self {
            Self::Binary => body.to_vec(),
            Self::Text => body.chunks(4).flat_map(|group| STANDARD.decode(group).unwrap()).collect(),
        }
    }
}

/// What a page makes of an answer.
#[derive(Debug)]
pub(super) struct Told {
    pub http_status: StatusCode,
    pub headers: HeaderMap,
    pub messages: Vec<Bytes>,
    pub status: Status,
    /// Whether the status stood in the body.
    pub in_body: bool,
}

impl Told {
    pub(super) fn read(response: Response, form: Form) -> Self {
        let Response { status: http_status, headers, body } = response;
        let (mut messages, mut trailers) = (Vec::new(), None);
        let mut body = Bytes::from(form.decode(&body));
        while !body.is_empty() {
            let prefix = body.split_to(5);
            let content = body.split_to(u32::from_be_bytes(prefix[1..].try_into().unwrap()) as usize);
            match prefix[0] {
                0 => messages.push(content),
                0x80 => trailers = Some(String::from_utf8(content.to_vec()).unwrap()),
                flag => panic!("the flag {flag}"),
            }
        }
        let in_body = trailers.is_some();
        let status = match trailers {
            Some(trailers) => {
                let lines = trailers.lines().map(|line| line.split_once(':').unwrap());
                let parsed = lines.map(|(name, value)| {
                    (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value.trim()).unwrap())
                });
                Status::from_header_map(&parsed.collect())
            }
            None => Status::from_header_map(&headers),
        };
        let status = status.unwrap_or_else(|| panic!("no status: {http_status} {headers:?}"));
        Self { http_status, headers, messages, status, in_body }
    }

    /// Asserts that the call was refused with this code and message, and with nothing before.
    #[track_caller]
    pub(super) fn assert_refused(&self, code: Code, message: &str) {
        assert_eq!((self.status.code(), self.status.message()), (code, message));
        assert!(self.messages.is_empty(), "{:?}", self.messages);
    }

    /// Asserts that no header of the answer is one of CORS, not even one that says what it depends on.
    #[track_caller]
    pub(super) fn assert_no_cors(&self) {
        let is_cors = |name: &HeaderName| name.as_str().starts_with("access-control-") || name == "vary";
        assert!(!self.headers.keys().any(is_cors), "{:?}", self.headers);
    }
}

/// Sends a request over a version of HTTP.
pub(super) async fn send(
    service: &Service,
    http: Http,
    path: &str,
    headers: &[(&str, &str)],
    body: Vec<u8>,
) -> Response {
    if http == Http::One {
        return Connection::open(service.address).await.send("POST", path, headers, &body).await;
    }
    let mut request = Request::post(format!("http://{}{path}", service.address));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut channel = service.channel.clone();
    poll_fn(|cx| channel.poll_ready(cx)).await.unwrap();
    let body = tonic::body::Body::new(Full::new(Bytes::from(body)).map_err(|never| match never {}));
    let response = within("an answer", channel.call(request.body(body).unwrap())).await.unwrap();
    let (head, body) = response.into_parts();
    let body = within("the end of the answer", body.collect()).await.unwrap();
    assert!(body.trailers().is_none(), "a page cannot read trailers");
    Response { status: head.status, headers: head.headers, body: body.to_bytes().to_vec() }
}

/// Calls a method as a page does, with these headers besides.
pub(super) async fn call(
    service: &Service,
    (http, form): (Http, Form),
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Told {
    let headers = [&[("content-type", form.media_type()), ("x-grpc-web", "1")], headers].concat();
    Told::read(send(service, http, path, &headers, form.encode(body)).await, form)
}
