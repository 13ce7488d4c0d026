//! What a page in a browser gets: gRPC-Web in both its forms, over both versions of HTTP, and only where its origin may
//! call. The requests are made by hand.

mod headers;
mod http1;
mod origins;
mod page;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use goldbook::access::grpc::Identities;
use goldbook::access::role::Role;
use goldbook::proto;
use goldbook::telemetry::TraceId;
use http::StatusCode;
use prost::Message;
use tonic::Code;

use crate::access::{apply_shop_by, enrol_by, key_of};
use crate::collector::{attribute, find_server_span, traced};
use crate::harness::{Clock, Database, SHOP, START, Service, bad_fields, grant_reward, reason};
use crate::proxy::Proxy;
use crate::wait::within;
use http1::{Connection, head};
use page::{Form, Http, Told, WAYS, call, send};

const GRANT: &str = "/goldbook.v1.RewardService/GrantReward";
const BATCH: &str = "/goldbook.v1.RewardService/BatchGrantRewards";
const EXPORT: &str = "/goldbook.v1.LedgerService/ExportEntries";
const PAGE: &str = "https://shop.example";
const LIMIT: usize = 4 * 1024 * 1024;

/// A message with its prefix.
fn frame(flag: u8, message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap();
    [&[flag], length.to_be_bytes().as_slice(), message].concat()
}

/// A grant of one point to Anna, as it is sent.
fn grant(key: &str) -> Vec<u8> {
    frame(0, &grant_reward("anna", 1, key).encode_to_vec())
}

/// The same with a note of this size.
fn sized(bytes: usize) -> Vec<u8> {
    let request = proto::GrantRewardRequest { note: "x".repeat(bytes), ..grant_reward("anna", 1, "big") };
    frame(0, &request.encode_to_vec())
}

async fn start_for(origins: &[&str]) -> Service {
    let service = Service::start_for_pages(Database::create().await, Identities::default(), origins).await;
    service.apply_shop().await;
    service.enrol("anna").await;
    service
}

async fn start() -> Service {
    start_for(&[]).await
}

/// The trace of a call that is to come, and its header.
fn traceparent() -> (TraceId, String) {
    let (trace, request) = traced(());
    (trace, request.metadata().get("traceparent").unwrap().to_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_call_is_answered_over_both_versions_of_http_in_both_forms() {
    let service = start().await;
    for way in WAYS {
        let (trace, traceparent) = traceparent();
        let told = call(&service, way, GRANT, &[("traceparent", &traceparent)], &grant(&format!("{way:?}"))).await;
        assert_eq!((told.http_status, told.status.code()), (StatusCode::OK, Code::Ok), "{way:?}");
        assert!(told.in_body, "{way:?}");
        assert_eq!(told.headers["content-type"], way.1.media_type());
        assert!(told.headers["traceparent"].to_str().unwrap().contains(&trace.to_string()));
        let granted = proto::GrantRewardResponse::decode(told.messages[0].clone()).unwrap();
        assert!(!granted.replayed && told.messages.len() == 1, "{granted:?}");
        let span = find_server_span(trace).await;
        assert_eq!(span.name, &GRANT[1..]);
        assert_eq!(attribute(&span, "rpc.response.status_code").as_deref(), Some("OK"));
    }
    assert_eq!(service.available("anna").await, 4);
}

#[tokio::test]
async fn the_other_names_of_grpc_web_are_taken_and_the_accepted_form_is_answered() {
    let service = start().await;
    for (content_type, form) in [
        ("application/grpc-web", Form::Binary),
        ("application/grpc-web-text", Form::Text),
        ("Application/gRPC-Web+Proto; charset=utf-8", Form::Binary),
    ] {
        for answer in [Form::Binary, Form::Text] {
            let headers = [("content-type", content_type), ("accept", answer.media_type())];
            let body = form.encode(&grant(&format!("{content_type} {answer:?}")));
            let told = Told::read(send(&service, Http::One, GRANT, &headers, body).await, answer);
            assert_eq!((told.status.code(), told.messages.len()), (Code::Ok, 1), "{content_type}");
            assert_eq!(told.headers["content-type"], answer.media_type());
        }
    }
    assert_eq!(service.available("anna").await, 6);
}

#[tokio::test]
async fn a_stream_is_answered_message_by_message() {
    let service = start().await;
    let request = proto::ExportEntriesRequest { program_id: SHOP.to_owned(), ..Default::default() };
    for way in WAYS {
        let told = call(&service, way, EXPORT, &[], &frame(0, &request.encode_to_vec())).await;
        assert_eq!(told.status.code(), Code::Ok, "{way:?}");
        let answers: Vec<_> =
            told.messages.into_iter().map(|it| proto::ExportEntriesResponse::decode(it).unwrap()).collect();
        assert!(answers.len() > 1 && answers[0].entries_total > 0, "{answers:?}");
        let count: usize = answers.iter().map(|answer| answer.entries.len()).sum();
        assert_eq!(count, usize::try_from(answers[0].entries_total).unwrap());
    }
}

#[tokio::test]
async fn a_stream_that_fails_midway_tells_its_status_behind_what_it_answered() {
    let service = start().await;
    for way in WAYS {
        let key = format!("{way:?}");
        let item = proto::BatchGrantRewardsRequest { item_id: key.clone(), grant: Some(grant_reward("anna", 1, &key)) };
        let body = [frame(0, &item.encode_to_vec()), frame(7, b"x")].concat();
        let told = call(&service, way, BATCH, &[], &body).await;
        assert_eq!(told.status.code(), Code::InvalidArgument, "{way:?}");
        assert_eq!(told.status.message(), "a message has the compression flag 7; only 0 and 1 are valid");
        assert!(told.in_body && told.messages.len() == 1, "{told:?}");
    }
    assert_eq!(service.available("anna").await, 4);
}

#[tokio::test]
async fn a_refusal_reaches_the_page_with_its_details() {
    let service = start().await;
    for way in WAYS {
        let unknown = frame(0, &grant_reward("nobody", 1, "gift").encode_to_vec());
        let (trace, traceparent) = traceparent();
        let told = call(&service, way, GRANT, &[("traceparent", &traceparent)], &unknown).await;
        assert_eq!((told.status.code(), reason(&told.status).as_str()), (Code::NotFound, "CUSTOMER_NOT_FOUND"));
        let span = find_server_span(trace).await;
        assert_eq!(attribute(&span, "rpc.response.status_code").as_deref(), Some("NOT_FOUND"));
        let told = call(&service, way, GRANT, &[], &sized(10_000)).await;
        assert_eq!((told.status.code(), bad_fields(&told.status)), (Code::InvalidArgument, vec!["note".to_owned()]));
        let told = call(&service, way, "/goldbook.v1.RewardService/NoSuchMethod", &[], &grant("nowhere")).await;
        told.assert_refused(Code::Unimplemented, "there is no method /goldbook.v1.RewardService/NoSuchMethod");
    }
}

#[tokio::test]
async fn bytes_that_break_a_rule_are_told_as_over_grpc() {
    let service = start().await;
    let invalid = Code::InvalidArgument;
    let truncated = (invalid, "the body ends in the middle of a message");
    let too_large = (Code::ResourceExhausted, "a message is larger than the limit of 4194304 bytes");
    let second = (invalid, "one message expected, and the body has another one after it");
    let trailers = frame(0x80, b"x: y\r\n");
    let cases = [
        (vec![], (invalid, "one message expected, and the body is empty")),
        (grant("cut")[..3].to_vec(), truncated),
        (grant("cut")[..9].to_vec(), truncated),
        (frame(2, b""), (invalid, "a message has the compression flag 2; only 0 and 1 are valid")),
        (trailers, (invalid, "a message has the compression flag 128; only 0 and 1 are valid")),
        (frame(1, b"x"), (invalid, "a message is flagged as compressed, and no grpc-encoding says how")),
        ([grant("one"), grant("two")].concat(), second),
        ([&[0], u32::MAX.to_be_bytes().as_slice()].concat(), too_large),
        (sized(LIMIT), too_large),
    ];
    for way in WAYS {
        for (body, (code, message)) in &cases {
            let told = call(&service, way, GRANT, &[], body).await;
            told.assert_refused(*code, message);
            assert_eq!(told.http_status, StatusCode::OK);
        }
        let told = call(&service, way, GRANT, &[("grpc-timeout", "soon")], &grant("soon")).await;
        told.assert_refused(invalid, "grpc-timeout must be 1 to 8 digits and one of H, M, S, m, u and n");
    }
    assert_eq!(service.available("anna").await, 0);
}

#[tokio::test]
async fn text_that_is_not_base64_is_told_and_is_no_error_of_ours() {
    let service = start().await;
    let whole = STANDARD.encode(grant("text"));
    let not_base64 = "the body is not base64, as its content-type says";
    let cut = "the body ends in the middle of a message";
    for http in [Http::One, Http::Two] {
        for (body, told) in [
            (whole.replacen('A', "*", 1), not_base64),
            (format!("{}\n", &whole[..7]), not_base64),
            (format!("===={whole}"), not_base64),
            (String::from_utf8_lossy(&grant("raw")).into_owned(), not_base64),
            (whole[..whole.len() - 1].to_owned(), cut),
            (whole[..whole.len() - 4].to_owned(), cut),
            ("A".to_owned(), cut),
        ] {
            let (trace, traceparent) = traceparent();
            let headers = [("content-type", Form::Text.media_type()), ("traceparent", &traceparent)];
            let response = send(&service, http, GRANT, &headers, body.clone().into_bytes()).await;
            Told::read(response, Form::Text).assert_refused(Code::InvalidArgument, told);
            let span = find_server_span(trace).await;
            assert_eq!(attribute(&span, "rpc.response.status_code").as_deref(), Some("INVALID_ARGUMENT"));
            assert_eq!(attribute(&span, "error.type"), None);
        }
        // A client may encode each part of its body by itself.
        let message = grant(&format!("{http:?}"));
        let parts: String = message.chunks(10).map(|part| STANDARD.encode(part)).collect();
        let headers = [("content-type", Form::Text.media_type())];
        let response = send(&service, http, GRANT, &headers, parts.into_bytes()).await;
        assert_eq!(Told::read(response, Form::Text).status.code(), Code::Ok);
    }
    assert_eq!(service.available("anna").await, 2);
}

#[tokio::test]
async fn pages_are_asked_who_calls() {
    let database = Database::create().await;
    let key = key_of(&database, "admin", Role::Admin, None).await;
    let identities = Identities { api_keys: true, ..Identities::default() };
    let service = Service::start_for_pages(database, identities, &[PAGE]).await;
    apply_shop_by(&service, &key).await;
    enrol_by(&service, &key, "anna").await;
    for way in WAYS {
        for credential in [None, Some("Bearer gbk_live_nothing")] {
            let credential = credential.map(|it| ("authorization", it));
            let headers: Vec<_> = credential.into_iter().chain([("origin", PAGE)]).collect();
            let told = call(&service, way, GRANT, &headers, &grant("refused")).await;
            assert_eq!(told.status.code(), Code::Unauthenticated);
            assert_eq!(reason(&told.status), "NOT_AUTHENTICATED");
            // The page can read why.
            assert_eq!(told.headers["access-control-allow-origin"], PAGE);
        }
        let bearer = format!("Bearer {key}");
        let told = call(&service, way, GRANT, &[("authorization", &bearer)], &grant(&format!("{way:?}"))).await;
        assert_eq!(told.status.code(), Code::Ok);
    }
}

#[tokio::test]
async fn a_page_is_answered_at_its_deadline() {
    let database = Database::create().await;
    let proxy = Proxy::before(&database);
    let service = Service::start_with(database, proxy.options(), Clock::fixed(START.parse().unwrap())).await;
    service.apply_shop().await;
    service.enrol("anna").await;
    proxy.hold_commits();
    // Over HTTP/2 tonic's client would not wait for the answer.
    for form in [Form::Binary, Form::Text] {
        let told = call(&service, (Http::One, form), GRANT, &[("grpc-timeout", "100m")], &grant("late")).await;
        told.assert_refused(Code::DeadlineExceeded, "the deadline passed before the answer was there");
    }
    proxy.release_commits();
}

#[tokio::test]
async fn http_1_without_grpc_web_is_told_what_there_is() {
    let service = start().await;
    let mut connection = Connection::open(service.address).await;
    for content_type in ["application/grpc", "application/grpc+proto"] {
        let response = connection.send("POST", GRANT, &[("content-type", content_type)], &grant("old")).await;
        assert_eq!(response.status, StatusCode::HTTP_VERSION_NOT_SUPPORTED);
        let told = Told::read(response, Form::Binary);
        told.assert_refused(Code::InvalidArgument, "gRPC needs HTTP/2; over HTTP/1.1 there is gRPC-Web");
    }
    for (method, path, content_type) in [
        ("POST", GRANT, "application/json"),
        ("POST", GRANT, "text/plain; application/grpc-web"),
        ("POST", GRANT, "application/grpc-web+json"),
        ("GET", "/", "text/html"),
        ("OPTIONS", "*", "text/html"),
        ("PUT", "/anything", "application/x-www-form-urlencoded"),
    ] {
        let response = connection.send(method, path, &[("content-type", content_type)], b"x").await;
        assert_eq!(response.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{method} {content_type}");
        assert_eq!(response.body, b"");
    }
    for method in ["GET", "PUT", "DELETE"] {
        let response = connection.send(method, GRANT, &[("content-type", Form::Binary.media_type())], b"").await;
        assert_eq!(response.status, StatusCode::METHOD_NOT_ALLOWED);
    }
    // What is no HTTP at all ends the connection.
    connection.write(b"\x16\x03\x01 hello\r\n\r\n").await;
    assert_eq!(connection.answer().await.unwrap().status, StatusCode::BAD_REQUEST);
    connection.closed().await;
    assert_eq!(service.available("anna").await, 0);
}

#[tokio::test]
async fn a_body_that_breaks_off_ends_the_call_and_is_no_error_of_ours() {
    let service = start().await;
    let whole = grant("broken");
    for form in [Form::Binary, Form::Text] {
        let body = form.encode(&whole);
        for sent in [0, 3, body.len() - 1] {
            let (trace, traceparent) = traceparent();
            let length = body.len().to_string();
            let headers =
                [("content-type", form.media_type()), ("content-length", &length), ("traceparent", &traceparent)];
            let mut connection = Connection::open(service.address).await;
            connection.write(head("POST", GRANT, &headers).as_bytes()).await;
            connection.write(&body[..sent]).await;
            connection.end().await;
            // A client that is still there may be told; the connection is over in any case.
            if let Some(response) = connection.answer().await {
                let told = Told::read(response, form);
                assert_eq!(told.status.code(), Code::InvalidArgument, "{told:?}");
                connection.closed().await;
            }
            let span = find_server_span(trace).await;
            let code = attribute(&span, "rpc.response.status_code").unwrap();
            assert!(["CANCELLED", "INVALID_ARGUMENT"].contains(&code.as_str()), "{code}");
            assert_eq!(attribute(&span, "error.type"), None);
        }
    }
    assert_eq!(service.available("anna").await, 0);
}

#[tokio::test]
async fn a_page_that_sends_too_much_hears_it_and_may_go_on() {
    let service = start().await;
    let body = sized(LIMIT * 2);
    for form in [Form::Binary, Form::Text] {
        let (oversized, good) = (form.encode(&body), form.encode(&grant(&format!("{form:?}"))));
        let content_type = ("content-type", form.media_type());
        let mut connection = Connection::open(service.address).await;
        let told = Told::read(connection.send("POST", GRANT, &[content_type], &oversized).await, form);
        told.assert_refused(Code::ResourceExhausted, "a message is larger than the limit of 4194304 bytes");
        let told = Told::read(connection.send("POST", GRANT, &[content_type], &good).await, form);
        assert_eq!(told.status.code(), Code::Ok);
    }
    assert_eq!(service.available("anna").await, 2);
}

#[tokio::test]
async fn a_refused_call_that_never_ends_is_closed() {
    let service = start().await;
    let told = "a message is larger than the limit of 4194304 bytes";
    let start_of = sized(LIMIT * 2)[..100].to_vec();
    let content_type = ("content-type", Form::Binary.media_type());
    // One announces more than it sends, and waits.
    let mut waiting = Connection::open(service.address).await;
    waiting.write(head("POST", GRANT, &[content_type, ("content-length", "8000000")]).as_bytes()).await;
    waiting.write(&start_of).await;
    Told::read(waiting.answer().await.unwrap(), Form::Binary).assert_refused(Code::ResourceExhausted, told);
    waiting.closed().await;
    // Another sends without an end.
    let mut sending = Connection::open(service.address).await;
    sending.write(head("POST", GRANT, &[content_type, ("content-length", "8000000000")]).as_bytes()).await;
    sending.write(&start_of).await;
    Told::read(sending.answer().await.unwrap(), Form::Binary).assert_refused(Code::ResourceExhausted, told);
    let piece = vec![0; 1024 * 1024];
    let mut taken = 0;
    while sending.try_write(&piece).await {
        taken += 1;
        assert!(taken < 100, "the service reads for ever");
    }
}

#[tokio::test]
async fn a_service_that_stops_answers_a_page_and_closes_what_is_idle() {
    let database = Database::create().await;
    let proxy = Proxy::before(&database);
    let mut service = Service::start_with(database, proxy.options(), Clock::fixed(START.parse().unwrap())).await;
    service.apply_shop().await;
    service.enrol("anna").await;
    let (mut idle, mut silent) = (Connection::open(service.address).await, Connection::open(service.address).await);
    let content_type = ("content-type", Form::Binary.media_type());
    idle.send("POST", GRANT, &[content_type], &grant("before")).await;
    proxy.hold_commits();
    let mut busy = Connection::open(service.address).await;
    let body = grant("during");
    let length = body.len().to_string();
    busy.write(head("POST", GRANT, &[content_type, ("content-length", &length)]).as_bytes()).await;
    busy.write(&body).await;
    proxy.holds(1).await;
    let (stop, running) = service.split_off_stop();
    stop.send(()).unwrap();
    idle.closed().await;
    silent.closed().await;
    assert!(!running.is_finished());
    proxy.release_commits();
    let told = Told::read(busy.answer().await.unwrap(), Form::Binary);
    assert_eq!((told.status.code(), told.messages.len()), (Code::Ok, 1));
    busy.closed().await;
    within("the end", running).await.unwrap();
}
