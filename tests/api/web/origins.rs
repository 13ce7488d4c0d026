//! Whose pages may call, and what their browsers are told of it.

use goldbook::access::grpc::Identities;
use goldbook::embedded_postgres::SERVICE_ROLE;
use http::{HeaderMap, StatusCode};
use tonic::Code;

use super::http1::{Connection, Response};
use super::page::{Form, Http, Told, WAYS, call, send};
use super::{GRANT, PAGE, grant, start_for, traceparent};
use crate::binary::{Serving, run};
use crate::collector::{find_server_span, find_spans};
use crate::harness::{Database, Service};

/// What a browser asks before a page may call.
fn preflight(origin: &str) -> [(&str, &str); 3] {
    let wanted = "content-type,x-grpc-web,x-user-agent,grpc-timeout,authorization,traceparent,tracestate";
    [("origin", origin), ("access-control-request-method", "POST"), ("access-control-request-headers", wanted)]
}

#[track_caller]
fn words(headers: &HeaderMap, name: &str) -> Vec<String> {
    let mut words: Vec<_> = headers[name].to_str().unwrap().split(',').map(|word| word.trim().to_owned()).collect();
    words.sort();
    words
}

#[tokio::test]
async fn a_browser_hears_that_a_page_of_an_allowed_origin_may_call() {
    let database = Database::create().await;
    let identities = Identities { api_keys: true, ..Identities::default() };
    let service = Service::start_for_pages(database, identities, &["http://localhost:5173", PAGE]).await;
    let mut connection = Connection::open(service.address).await;
    for path in [GRANT, "/nothing/here"] {
        for origin in ["http://localhost:5173", PAGE] {
            let Response { status, headers, body } = connection.send("OPTIONS", path, &preflight(origin), b"").await;
            assert_eq!((status, body.len()), (StatusCode::OK, 0));
            assert_eq!(headers["access-control-allow-origin"], origin);
            assert_eq!(headers["access-control-allow-methods"], "POST");
            assert_eq!(headers["access-control-max-age"], "3600");
            let expected = [
                "authorization",
                "content-type",
                "grpc-timeout",
                "traceparent",
                "tracestate",
                "x-grpc-web",
                "x-user-agent",
            ];
            assert_eq!(words(&headers, "access-control-allow-headers"), expected);
            for never in ["access-control-allow-credentials", "grpc-status", "traceparent"] {
                assert!(!headers.contains_key(never), "{headers:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_page_of_an_allowed_origin_can_read_answers() {
    let service = start_for(&["http://localhost:5173", PAGE]).await;
    for way in WAYS {
        let told = call(&service, way, GRANT, &[("origin", PAGE)], &grant(&format!("{way:?}"))).await;
        assert_eq!((told.status.code(), told.messages.len()), (Code::Ok, 1));
        assert_eq!(told.headers["access-control-allow-origin"], PAGE);
        let readable = ["grpc-message", "grpc-status", "grpc-status-details-bin", "traceparent"];
        assert_eq!(words(&told.headers, "access-control-expose-headers"), readable);
        assert!(!told.headers.contains_key("access-control-allow-credentials"));
        // So can one that speaks another protocol, and learns why it has no answer.
        let json = [("origin", PAGE), ("content-type", "application/json")];
        let told = send(&service, way.0, GRANT, &json, b"{}".to_vec()).await;
        assert_eq!(told.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
        assert_eq!(told.headers["access-control-allow-origin"], PAGE);
    }
}

#[tokio::test]
async fn a_page_of_another_origin_is_refused_and_nothing_is_written() {
    for origins in [&[PAGE][..], &[]] {
        let service = start_for(origins).await;
        for origin in ["https://evil.example", "http://shop.example", "https://shop.example:8443", "null", ""] {
            for way in WAYS {
                let told = call(&service, way, GRANT, &[("origin", origin)], &grant("evil")).await;
                told.assert_refused(Code::PermissionDenied, "pages of this origin may not call");
                assert_eq!(told.http_status, StatusCode::FORBIDDEN);
                told.assert_no_cors();
            }
            // Neither by plain gRPC, nor when the browser asks first.
            let grpc = [("content-type", "application/grpc"), ("te", "trailers"), ("origin", origin)];
            let response = send(&service, Http::Two, GRANT, &grpc, grant("evil")).await;
            assert_eq!(response.status, StatusCode::FORBIDDEN);
            let mut connection = Connection::open(service.address).await;
            let response = connection.send("OPTIONS", GRANT, &preflight(origin), b"").await;
            assert_eq!((response.status, response.body.len()), (StatusCode::FORBIDDEN, 0));
            Told::read(response, Form::Binary).assert_no_cors();
        }
        assert_eq!(service.available("anna").await, 0);
    }
}

#[tokio::test]
async fn a_call_that_is_no_pages_has_no_header_of_cors() {
    for origins in [&[PAGE][..], &[]] {
        let service = start_for(origins).await;
        for way in WAYS {
            let told = call(&service, way, GRANT, &[], &grant(&format!("{way:?}"))).await;
            assert_eq!(told.status.code(), Code::Ok);
            told.assert_no_cors();
        }
    }
}

#[tokio::test]
async fn what_a_browser_asks_before_a_call_has_no_span() {
    let service = start_for(&[PAGE]).await;
    let mut connection = Connection::open(service.address).await;
    let (asked, asking) = traceparent();
    let (called, calling) = traceparent();
    let headers = [&preflight(PAGE)[..], &[("traceparent", &asking)]].concat();
    assert_eq!(connection.send("OPTIONS", GRANT, &headers, b"").await.status, StatusCode::OK);
    call(&service, WAYS[0], GRANT, &[("origin", PAGE), ("traceparent", &calling)], &grant("called")).await;
    // Spans come in the order in which they end.
    find_server_span(called).await;
    let found = find_spans("the spans", |spans| Some(spans.iter().any(|span| span.trace_id == asked.0))).await;
    assert!(!found);
}

#[tokio::test]
async fn serve_takes_origins_and_refuses_what_is_none_with_a_reason() {
    for (bad, told) in [
        ("*", "name each origin"),
        ("null", "it names nobody"),
        ("https://shop.example/cart", "an origin is scheme://host"),
        ("https://a.example,*", "name each origin"),
    ] {
        let ended = run(&["serve", "--cors-origin", bad]).await;
        assert_eq!(ended.status.code(), Some(2), "{bad}");
        let stderr = ended.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(stderr.contains(told), "{stderr}");
    }
    let database = Database::create().await;
    let origins = ("GOLDBOOK_CORS_ORIGINS", "https://a.example,HTTPS://B.example:443");
    let serving = Serving::start(&database.options(SERVICE_ROLE), &[origins]).await;
    let mut connection = Connection::open(serving.address).await;
    for (origin, status) in [
        ("https://a.example", StatusCode::OK),
        ("https://b.example", StatusCode::OK),
        ("https://c.example", StatusCode::FORBIDDEN),
    ] {
        let response = connection.send("OPTIONS", GRANT, &preflight(origin), b"").await;
        assert_eq!(response.status, status, "{origin}");
    }
}
