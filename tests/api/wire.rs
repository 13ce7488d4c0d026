//! What a caller is told whose bytes are not what gRPC asks for. The requests are made by hand: no client sends them.

mod elements;

use std::future::poll_fn;
use std::io::Write as _;

use bytes::Bytes;
use goldbook::proto;
use goldbook::proto::batch_grant_rewards_response::Outcome;
use goldbook::telemetry::TraceId;
use http::{HeaderMap, Request, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use prost::Message;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::codec::CompressionEncoding::{Gzip, Zstd};
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tower::Service as _;

use crate::collector::{attribute, find_server_span, traced};
use crate::harness::{SHOP, Service, bad_fields, grant_reward};
use crate::wait::within;

const GRANT: &str = "/goldbook.v1.RewardService/GrantReward";
const BATCH: &str = "/goldbook.v1.RewardService/BatchGrantRewards";
const EXPORT: &str = "/goldbook.v1.LedgerService/ExportEntries";
const GRPC: (&str, &str) = ("content-type", "application/grpc");
const LIMIT: usize = 4 * 1024 * 1024;

/// What came back.
struct Answer {
    http_status: StatusCode,
    headers: HeaderMap,
    messages: Vec<Bytes>,
    status: Status,
}

impl Answer {
    /// Asserts that the call was refused with this code and message, and with nothing before.
    #[track_caller]
    fn assert_refused(&self, code: Code, message: &str) {
        assert_eq!((self.status.code(), self.status.message()), (code, message));
        assert!(self.messages.is_empty(), "{:?}", self.messages);
    }
}

/// Sends a request whose body comes in these pieces, with these trailers if there are any.
async fn send(
    service: &Service,
    path: &str,
    headers: &[(&str, &str)],
    pieces: impl IntoIterator<Item = Vec<u8>>,
    trailers: Option<HeaderMap>,
) -> Answer {
    let mut request = Request::post(format!("http://{}{path}", service.address)).header("te", "trailers");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let data = pieces.into_iter().map(|piece| Frame::data(Bytes::from(piece)));
    let frames: Vec<_> = data.chain(trailers.map(Frame::trailers)).map(Ok::<_, Status>).collect();
    let body = if frames.is_empty() {
        tonic::body::Body::empty()
    } else {
        tonic::body::Body::new(StreamBody::new(tokio_stream::iter(frames)))
    };
    let mut channel = service.channel.clone();
    poll_fn(|cx| channel.poll_ready(cx)).await.unwrap();
    let response = within("an answer", channel.call(request.body(body).unwrap())).await.unwrap();
    let (head, body) = response.into_parts();
    let body = within("the end of the answer", body.collect()).await.unwrap();
    let trailers = body.trailers().cloned().unwrap_or_default();
    let status = Status::from_header_map(&head.headers).or_else(|| Status::from_header_map(&trailers)).unwrap();
    let (mut bytes, mut messages) = (body.to_bytes(), Vec::new());
    while !bytes.is_empty() {
        let prefix = bytes.split_to(5);
        messages.push(bytes.split_to(u32::from_be_bytes(prefix[1..].try_into().unwrap()) as usize));
    }
    Answer { http_status: head.status, headers: head.headers, messages, status }
}

/// Calls a method with a body in one piece.
async fn call(service: &Service, path: &str, body: Vec<u8>) -> Answer {
    send(service, path, &[GRPC], [body], None).await
}

/// Calls a method with a body whose messages may be compressed like this.
async fn call_compressed(service: &Service, path: &str, encoding: &str, body: Vec<u8>) -> Answer {
    send(service, path, &[GRPC, ("grpc-encoding", encoding)], [body], None).await
}

/// A message with its prefix.
fn frame(flag: u8, message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap();
    [&[flag], length.to_be_bytes().as_slice(), message].concat()
}

fn gzip(message: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(message).unwrap();
    encoder.finish().unwrap()
}

fn zstd(message: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(message, 3).unwrap()
}

type Compress = fn(&[u8]) -> Vec<u8>;
const COMPRESSIONS: [(&str, Compress); 2] = [("gzip", gzip), ("zstd", zstd)];

/// A grant of one point to Anna, as it is sent.
fn grant(key: &str) -> Vec<u8> {
    frame(0, &grant_reward("anna", 1, key).encode_to_vec())
}

/// The same in a batch, without its prefix.
fn item(key: &str) -> Vec<u8> {
    let grant = Some(grant_reward("anna", 1, key));
    proto::BatchGrantRewardsRequest { item_id: key.to_owned(), grant }.encode_to_vec()
}

/// A request that grants one point, with a note of this size.
fn sized(bytes: usize) -> Vec<u8> {
    proto::GrantRewardRequest { note: "x".repeat(bytes), ..grant_reward("anna", 1, "big") }.encode_to_vec()
}

async fn start() -> Service {
    let service = Service::start().await;
    service.apply_shop().await;
    service.enrol("anna").await;
    service
}

#[tokio::test]
async fn a_call_without_a_message_is_told_that_one_is_expected() {
    let service = start().await;
    let none = "one message expected, and the body is empty";
    for path in [GRANT, EXPORT] {
        send(&service, path, &[GRPC], [], None).await.assert_refused(Code::InvalidArgument, none);
        send(&service, path, &[GRPC], [vec![]], None).await.assert_refused(Code::InvalidArgument, none);
        let trailers = Some(HeaderMap::new());
        send(&service, path, &[GRPC], [], trailers).await.assert_refused(Code::InvalidArgument, none);
    }
    // A stream may have no items.
    let answer = send(&service, BATCH, &[GRPC], [], None).await;
    assert_eq!((answer.status.code(), answer.messages.len()), (Code::Ok, 0));
}

#[tokio::test]
async fn a_message_that_is_cut_short_is_told_as_such_wherever_it_is_cut() {
    let service = start().await;
    let whole = grant("cut");
    let truncated = "the body ends in the middle of a message";
    for end in [1, 4, 5, 6, whole.len() - 1] {
        let body = whole[..end].to_vec();
        call(&service, GRANT, body.clone()).await.assert_refused(Code::InvalidArgument, truncated);
        let trailers = HeaderMap::from_iter([("x-end".parse().unwrap(), "1".parse().unwrap())]);
        let answer = send(&service, GRANT, &[GRPC], [body], Some(trailers)).await;
        answer.assert_refused(Code::InvalidArgument, truncated);
    }
    for (encoding, compress) in COMPRESSIONS {
        let mut body = frame(1, &compress(&whole[5..]));
        body.pop();
        let answer = call_compressed(&service, GRANT, encoding, body).await;
        answer.assert_refused(Code::InvalidArgument, truncated);
    }
    assert_eq!(service.available("anna").await, 0);
}

#[tokio::test]
async fn a_message_may_come_in_any_pieces_and_before_trailers() {
    let service = start().await;
    let bytewise = |body: Vec<u8>| body.into_iter().map(|byte| vec![byte]);
    let answer = send(&service, GRANT, &[GRPC], bytewise(grant("bytes")), Some(HeaderMap::new())).await;
    assert_eq!((answer.status.code(), answer.messages.len()), (Code::Ok, 1), "{:?}", answer.status);
    for (encoding, compress) in COMPRESSIONS {
        // Each message of a stream may be compressed or not.
        let body = [
            frame(1, &compress(&item(&format!("{encoding}-1")))),
            frame(0, &item(&format!("{encoding}-2"))),
            frame(1, &compress(&item(&format!("{encoding}-3")))),
        ];
        let headers = [GRPC, ("grpc-encoding", encoding)];
        let answer = send(&service, BATCH, &headers, bytewise(body.concat()), None).await;
        assert_eq!((answer.status.code(), answer.messages.len()), (Code::Ok, 3), "{:?}", answer.status);
    }
    assert_eq!(service.available("anna").await, 7);
}

#[tokio::test]
async fn a_bad_compression_flag_is_told() {
    let service = start().await;
    let message = grant_reward("anna", 1, "flag").encode_to_vec();
    for flag in [2, 255] {
        let told = format!("a message has the compression flag {flag}; only 0 and 1 are valid");
        call(&service, GRANT, frame(flag, &message)).await.assert_refused(Code::InvalidArgument, &told);
        let answer = call_compressed(&service, GRANT, "gzip", frame(flag, &message)).await;
        answer.assert_refused(Code::InvalidArgument, &told);
    }
    let told = "a message is flagged as compressed, and no grpc-encoding says how";
    call(&service, GRANT, frame(1, &gzip(&message))).await.assert_refused(Code::InvalidArgument, told);
    let answer = call_compressed(&service, GRANT, "identity", frame(1, &gzip(&message))).await;
    answer.assert_refused(Code::InvalidArgument, told);
    assert_eq!(service.available("anna").await, 0);
}

#[tokio::test]
async fn a_message_beyond_the_limit_exhausts_a_resource_and_hears_the_limit() {
    let service = start().await;
    let told = "a message is larger than the limit of 4194304 bytes";
    // Its prefix is enough, whatever would follow.
    let announced = u32::try_from(LIMIT + 1).unwrap().to_be_bytes();
    let prefix = [&[0], announced.as_slice()].concat();
    call(&service, GRANT, prefix).await.assert_refused(Code::ResourceExhausted, told);
    call(&service, GRANT, frame(0, &sized(LIMIT))).await.assert_refused(Code::ResourceExhausted, told);
    // Right at the limit, it is read, and its note is what is wrong.
    let overhead = sized(LIMIT).len() - LIMIT;
    let largest = sized(LIMIT - overhead);
    assert_eq!(largest.len(), LIMIT);
    assert_eq!(bad_fields(&call(&service, GRANT, frame(0, &largest)).await.status), ["note"]);
    for (encoding, compress) in COMPRESSIONS {
        let answer = call_compressed(&service, GRANT, encoding, frame(1, &compress(&largest))).await;
        assert_eq!(bad_fields(&answer.status), ["note"]);
        let grown = frame(1, &compress(&sized(LIMIT - overhead + 1)));
        assert!(grown.len() < LIMIT / 100);
        let told = format!("{told} when it is decompressed");
        let answer = call_compressed(&service, GRANT, encoding, grown).await;
        answer.assert_refused(Code::ResourceExhausted, &told);
    }
    assert_eq!(service.available("anna").await, 0);
}

#[tokio::test]
async fn a_message_that_cannot_be_decompressed_is_told() {
    let service = start().await;
    let message = grant_reward("anna", 1, "garbled").encode_to_vec();
    for (encoding, compress) in COMPRESSIONS {
        let whole = compress(&message);
        let mut flipped = whole.clone();
        flipped[0] ^= 0xff;
        let other = if encoding == "gzip" { zstd(&message) } else { gzip(&message) };
        let told = format!("a message cannot be decompressed with {encoding}");
        for bad in [message.clone(), whole[..whole.len() - 1].to_vec(), flipped, other] {
            let answer = call_compressed(&service, GRANT, encoding, frame(1, &bad)).await;
            answer.assert_refused(Code::InvalidArgument, &told);
        }
        // What is not flagged as compressed is not.
        let answer = call_compressed(&service, GRANT, encoding, grant(encoding)).await;
        assert_eq!(answer.status.code(), Code::Ok, "{:?}", answer.status);
    }
    assert_eq!(service.available("anna").await, 2);
}

/// Each member or frame takes work, also an empty one: a message of many would take seconds.
#[tokio::test]
async fn a_message_compressed_in_many_pieces_is_refused() {
    let service = start().await;
    for (name, compress) in COMPRESSIONS {
        let pieces = compress(b"").repeat(100_000);
        let begin = [pieces.as_slice(), &compress(&grant_reward("anna", 1, name).encode_to_vec())].concat();
        let refused = call_compressed(&service, GRANT, name, frame(1, &begin)).await;
        assert_eq!(refused.status.code(), Code::InvalidArgument, "{name}: {}", refused.status.message());
    }
    assert_eq!(service.available("anna").await, 0);
}

#[tokio::test]
async fn an_unknown_compression_is_unimplemented_and_the_known_ones_are_told() {
    let service = start().await;
    let answer = call_compressed(&service, GRANT, "br", grant("br")).await;
    let told = "the grpc-encoding br is not supported; identity, gzip and zstd are";
    answer.assert_refused(Code::Unimplemented, told);
    assert_eq!(answer.headers["grpc-accept-encoding"], "identity,gzip,zstd");
    let answer = call_compressed(&service, GRANT, &"x".repeat(8_000), grant("long")).await;
    assert_eq!(answer.status.code(), Code::Unimplemented);
    assert!(answer.status.message().len() < 250, "{:?}", answer.status);
    assert_eq!(service.available("anna").await, 0);
}

#[tokio::test]
async fn health_takes_compressed_messages_as_every_service_does() {
    let service = start().await;
    for encoding in [Gzip, Zstd] {
        let request = HealthCheckRequest { service: "goldbook.v1.RewardService".to_owned() };
        service.health().send_compressed(encoding).check(request).await.unwrap();
    }
}

#[tokio::test]
async fn a_malformed_timeout_is_told_and_the_call_is_not_carried_out() {
    let service = start().await;
    let told = "grpc-timeout must be 1 to 8 digits and one of H, M, S, m, u and n";
    for timeout in ["", "S", "5", "5s", "5x", "+5S", "-5S", "1.5S", "5 S", "123456789S"] {
        let answer = send(&service, GRANT, &[GRPC, ("grpc-timeout", timeout)], [grant("timed")], None).await;
        answer.assert_refused(Code::InvalidArgument, told);
    }
    assert_eq!(service.available("anna").await, 0);
    for unit in ["H", "M", "S", "m", "u", "n"] {
        let timeout = format!("99999999{unit}");
        let answer = send(&service, GRANT, &[GRPC, ("grpc-timeout", &timeout)], [grant(unit)], None).await;
        // A tenth of a second is not long.
        let in_time = [Code::Ok, Code::DeadlineExceeded];
        assert!(in_time.contains(&answer.status.code()), "{unit}: {:?}", answer.status);
    }
}

#[tokio::test]
async fn what_is_not_grpc_is_an_unsupported_media_type() {
    let service = start().await;
    let told = "the content-type must be application/grpc, application/grpc-web or application/grpc-web-text, \
                each with or without +proto";
    let bad = ["application/json", "application/grpc+json", "application/grpcx", "text/plain", ""];
    for headers in bad.map(|content_type| vec![("content-type", content_type)]).into_iter().chain([vec![]]) {
        for path in [GRANT, BATCH, "/", "/nothing/here"] {
            let answer = send(&service, path, &headers, [grant("json")], None).await;
            assert_eq!(answer.http_status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{headers:?}");
            answer.assert_refused(Code::InvalidArgument, told);
        }
    }
    assert_eq!(service.available("anna").await, 0);
    for content_type in ["application/grpc+proto", "application/grpc;charset=utf-8", "Application/gRPC"] {
        let answer = send(&service, GRANT, &[("content-type", content_type)], [grant(content_type)], None).await;
        assert_eq!(answer.http_status, StatusCode::OK);
        assert_eq!(answer.status.code(), Code::Ok, "{content_type}: {:?}", answer.status);
    }
}

#[tokio::test]
async fn a_method_that_does_not_exist_is_named_and_not_at_any_length() {
    let service = start().await;
    for path in ["/goldbook.v1.RewardService/NoSuchMethod", "/goldbook.v1.NoSuchService/GrantReward", "/", "/x.Y/%0A"] {
        let answer = call(&service, path, grant("nowhere")).await;
        answer.assert_refused(Code::Unimplemented, &format!("there is no method {path}"));
        assert_eq!(answer.http_status, StatusCode::OK);
    }
    let answer = call(&service, &format!("/x.Y/{}", "z".repeat(8_000)), grant("far")).await;
    answer.assert_refused(Code::Unimplemented, &format!("there is no method /x.Y/{}...", "z".repeat(123)));
}

#[tokio::test]
async fn a_second_message_is_refused_and_nothing_of_the_first_is_written() {
    let service = start().await;
    let told = "one message expected, and the body has another one after it";
    let two = [grant("one"), grant("two")];
    call(&service, GRANT, two.concat()).await.assert_refused(Code::InvalidArgument, told);
    send(&service, GRANT, &[GRPC], two, None).await.assert_refused(Code::InvalidArgument, told);
    for (encoding, compress) in COMPRESSIONS {
        let compressed = frame(1, &compress(&grant("three")[5..]));
        let answer = call_compressed(&service, GRANT, encoding, [compressed, grant("four")].concat()).await;
        answer.assert_refused(Code::InvalidArgument, told);
    }
    let export = proto::ExportEntriesRequest { program_id: SHOP.to_owned(), ..Default::default() };
    let export = frame(0, &export.encode_to_vec());
    assert_eq!(call(&service, EXPORT, export.clone()).await.status.code(), Code::Ok);
    call(&service, EXPORT, export.repeat(2)).await.assert_refused(Code::InvalidArgument, told);
    assert_eq!(service.available("anna").await, 0);
}

#[tokio::test]
async fn a_stream_that_breaks_at_a_message_is_answered_up_to_it_and_then_told() {
    let service = start().await;
    let too_large = [&[0], u32::MAX.to_be_bytes().as_slice()].concat();
    let breaks = [
        (frame(7, b"x"), Code::InvalidArgument, "a message has the compression flag 7; only 0 and 1 are valid"),
        (too_large, Code::ResourceExhausted, "a message is larger than the limit of 4194304 bytes"),
        (frame(1, b"x"), Code::InvalidArgument, "a message cannot be decompressed with gzip"),
        (vec![0, 0, 0], Code::InvalidArgument, "the body ends in the middle of a message"),
    ];
    for (number, (bad, code, told)) in breaks.into_iter().enumerate() {
        let items = ["one", "two"].map(|name| format!("{name}-{number}"));
        let good = [frame(0, &item(&items[0])), frame(1, &gzip(&item(&items[1])))].concat();
        let answer = call_compressed(&service, BATCH, "gzip", [good, bad].concat()).await;
        assert_eq!((answer.status.code(), answer.status.message()), (code, told));
        let mut granted = Vec::new();
        for message in answer.messages {
            let proto::BatchGrantRewardsResponse { item_id, outcome } = Message::decode(message).unwrap();
            assert!(matches!(outcome, Some(Outcome::Granted(_))), "{outcome:?}");
            granted.push(item_id);
        }
        granted.sort();
        assert_eq!(granted, items);
    }
    assert_eq!(service.available("anna").await, 8);
}

/// The headers of a call that belongs to a new trace.
fn traced_headers() -> (TraceId, Vec<(&'static str, String)>) {
    let (trace, request) = traced(());
    let traceparent = request.metadata().get("traceparent").unwrap().to_str().unwrap().to_owned();
    (trace, vec![("traceparent", traceparent)])
}

/// Asserts that a call's span tells of this outcome, and that it is no error of the service.
async fn assert_no_error_of_ours(trace: TraceId, code: &str) {
    let span = find_server_span(trace).await;
    assert_eq!(span.name, &GRANT[1..]);
    assert_eq!(attribute(&span, "rpc.response.status_code").as_deref(), Some(code));
    assert_eq!(attribute(&span, "error.type"), None);
}

#[tokio::test]
async fn a_call_that_is_refused_for_its_bytes_has_its_server_span() {
    let service = start().await;
    let (json, soon) = (("content-type", "application/json"), ("grpc-timeout", "soon"));
    for (headers, body, code) in [
        (vec![json], grant("json"), "INVALID_ARGUMENT"),
        (vec![GRPC, soon], grant("soon"), "INVALID_ARGUMENT"),
        (vec![GRPC], vec![], "INVALID_ARGUMENT"),
        (vec![GRPC], frame(0, &sized(LIMIT)), "RESOURCE_EXHAUSTED"),
    ] {
        let (trace, traceparent) = traced_headers();
        let traceparent = traceparent.iter().map(|(name, value)| (*name, value.as_str()));
        let headers: Vec<_> = headers.into_iter().chain(traceparent).collect();
        let answer = send(&service, GRANT, &headers, [body], None).await;
        assert!(answer.headers.contains_key("traceparent"));
        assert_no_error_of_ours(trace, code).await;
    }
}

#[tokio::test]
async fn a_caller_that_goes_away_in_the_middle_of_a_message_is_no_error_of_ours() {
    let service = start().await;
    for (is_broken, code) in [(false, "CANCELLED"), (true, "INVALID_ARGUMENT")] {
        let (trace, headers) = traced_headers();
        let mut request = Request::post(format!("http://{}{GRANT}", service.address)).header(GRPC.0, GRPC.1);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let (pieces, body) = mpsc::channel(2);
        pieces.send(Ok(Frame::data(Bytes::from(vec![0, 0])))).await.unwrap();
        let body = tonic::body::Body::new(StreamBody::new(ReceiverStream::new(body)));
        let mut channel = service.channel.clone();
        poll_fn(|cx| channel.poll_ready(cx)).await.unwrap();
        let call = tokio::spawn(channel.call(request.body(body).unwrap()));
        // The connection keeps its calls in order, so this one comes after the other has begun.
        service.available("anna").await;
        if is_broken {
            // The client tells the service that it has an internal error.
            pieces.send(Err(Status::unknown("lost"))).await.unwrap();
        } else {
            call.abort();
        }
        assert!(within("the end of the call", call).await.is_ok_and(|answer| answer.is_err()) == is_broken);
        assert_no_error_of_ours(trace, code).await;
    }
}

#[tokio::test]
async fn bytes_that_are_no_message_are_told_as_such() {
    let service = start().await;
    for body in [&b"\xff\xff\xff"[..], b"\x0a\x05ab", b"\x0a\x01\xff", b"\x08"] {
        for path in [GRANT, EXPORT] {
            let refused = call(&service, path, frame(0, body)).await;
            let message = "the body is no message of this method: failed to decode Protobuf message: ";
            assert!(refused.status.message().starts_with(message), "{}", refused.status.message());
            assert_eq!(refused.status.code(), Code::InvalidArgument);
        }
    }
}

/// A frame tells where the next one begins, so the stream goes on.
#[tokio::test]
async fn an_item_that_is_no_message_fails_alone() {
    let service = start().await;
    let bad = frame(0, b"\x0a\x05ab");
    let body = [frame(0, &item("a")), bad.clone(), frame(0, &item("b")), bad, frame(0, &item("c"))].concat();
    let answer = call(&service, BATCH, body).await;
    assert_eq!(answer.status.code(), Code::Ok);
    let mut outcomes: Vec<(String, i32)> = answer
        .messages
        .iter()
        .map(|message| {
            let answer = proto::BatchGrantRewardsResponse::decode(&message[..]).unwrap();
            let code = match answer.outcome.unwrap() {
                Outcome::Granted(_) => 0,
                Outcome::Error(error) => error.code,
            };
            (answer.item_id, code)
        })
        .collect();
    outcomes.sort();
    let invalid = i32::from(Code::InvalidArgument);
    let expected = [("", invalid), ("", invalid), ("a", 0), ("b", 0), ("c", 0)];
    assert_eq!(outcomes, expected.map(|(item_id, code)| (item_id.to_owned(), code)));
    assert_eq!(service.available("anna").await, 3);
}
