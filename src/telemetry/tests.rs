//! Real RPCs over loopback, real spans received over OTLP.

mod collector;
mod sink;

use std::pin::Pin;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::{Stream, StreamExt as _, stream};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::trace::v1::Span as Received;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Channel, Server};
use tonic::{Code, Request, Response, Status};
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tracing::{Instrument as _, Span};

use super::*;
use crate::wire::Methods;
use sink::{SINK, attribute, line, resource, text};

/// A service whose answer is what the request names.
struct Desk;

#[tonic::async_trait]
impl Health for Desk {
    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        match request.get_ref().service.as_str() {
            "write" => {
                let statement = statement("INSERT ledger_entries");
                link(&statement, &span_context(&Span::current()));
                async { record_program("cdnow") }.instrument(statement).await;
                tracing::info!(points = 10, "granted");
                Ok(Response::new(Default::default()))
            }
            "refuse" => {
                record_reason("CODE_EXPIRED");
                Err(Status::failed_precondition("the code has expired"))
            }
            "break" => {
                let statement = statement("SELECT accounts");
                fail_statement(&statement, "57P01");
                Err(Status::internal("broken"))
            }
            "panic" => panic!("a rule that does not hold"),
            "deadline" => match request.extensions().get::<Deadline>() {
                Some(Deadline(at)) if *at > tokio::time::Instant::now() => Ok(Response::new(Default::default())),
                _ => Err(Status::internal("no deadline")),
            },
            _ => std::future::pending().await,
        }
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let items = stream::iter([1, 2]).map(|item| {
            tracing::info_span!("item", item).in_scope(|| record_program("streamed"));
            Ok(HealthCheckResponse { status: item })
        });
        let then: Self::WatchStream = match request.get_ref().service.as_str() {
            "short" => Box::pin(items),
            "panic" => Box::pin(items.chain(stream::once(async { panic!("a stream that does not hold") }))),
            _ => Box::pin(items.chain(stream::pending())),
        };
        Ok(Response::new(then))
    }
}

/// Puts a deadline on requests at the server, so that no timer in the client competes with it.
#[derive(Clone)]
struct Hurried<S>(S);

impl<S: tower::Service<http::Request<B>>, B> tower::Service<http::Request<B>> for Hurried<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, mut request: http::Request<B>) -> S::Future {
        request.headers_mut().insert("grpc-timeout", http::HeaderValue::from_static("50m"));
        self.0.call(request)
    }
}

async fn serve(hurried: bool) -> HealthClient<Channel> {
    HealthClient::new(serve_channel(hurried).await)
}

async fn serve_channel(hurried: bool) -> Channel {
    LazyLock::force(&SINK);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let incoming = TcpListenerStream::new(listener);
    let layer = RpcLayer::new(Methods::read(&[tonic_health::pb::FILE_DESCRIPTOR_SET]).unwrap());
    let desk = HealthServer::new(Desk);
    if hurried {
        // tonic's own timer is set to the same time, as it would be if the client had sent the header.
        let server = Server::builder().timeout(Duration::from_millis(50));
        let layered = server.layer(tower::layer::layer_fn(Hurried)).layer(layer).add_service(desk);
        tokio::spawn(layered.serve_with_incoming(incoming));
    } else {
        tokio::spawn(Server::builder().layer(layer).add_service(desk).serve_with_incoming(incoming));
    }
    Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap()
}

/// A new trace of a caller's: the process has one collector, so no two tests may have the same.
fn new_trace() -> TraceId {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let number = LAST.fetch_add(1, Ordering::Relaxed) + 1;
    TraceId(u128::from(number).to_be_bytes())
}

/// A request that belongs to a new trace of the caller's.
fn traced(service: &str, sampled: bool) -> (TraceId, Request<HealthCheckRequest>) {
    let trace = new_trace();
    let mut request = Request::new(HealthCheckRequest { service: service.to_owned() });
    let traceparent = format!("00-{trace}-00f067aa0ba902b7-0{}", u8::from(sampled));
    request.metadata_mut().insert("traceparent", traceparent.parse().unwrap());
    (trace, request)
}

fn outcome(span: &Received) -> String {
    attribute(span, "rpc.response.status_code").expect("an outcome")
}

fn is_error(span: &Received) -> bool {
    span.status.as_ref().is_some_and(|status| status.code == StatusCode::Error as i32)
}

#[tokio::test]
async fn an_rpc_is_a_server_span_in_its_callers_trace_with_its_statements_below() {
    let mut client = serve(false).await;
    let (trace, request) = traced("write", true);
    let response = client.check(request).await.unwrap();
    let spans = SINK.spans(trace, 2).await;
    let server = spans.iter().find(|span| span.kind == SpanKind::Server as i32).unwrap();
    let statement = spans.iter().find(|span| span.kind == SpanKind::Client as i32).unwrap();

    assert_eq!(server.name, "grpc.health.v1.Health/Check");
    assert_eq!(server.parent_span_id, 0x00f0_67aa_0ba9_02b7_u64.to_be_bytes());
    assert_eq!(attribute(server, "rpc.system.name").as_deref(), Some("grpc"));
    assert_eq!(attribute(server, "rpc.method").as_deref(), Some("grpc.health.v1.Health/Check"));
    assert_eq!(attribute(server, "server.address").as_deref(), Some("127.0.0.1"));
    assert!(attribute(server, "server.port").is_some());
    assert_eq!(attribute(server, "goldbook.program.id").as_deref(), Some("cdnow"));
    assert_eq!(attribute(server, "error.type"), None);
    assert_eq!(outcome(server), "OK");
    assert!(!is_error(server));

    assert_eq!(statement.name, "INSERT ledger_entries");
    assert_eq!(statement.parent_span_id, server.span_id);
    assert_eq!(attribute(statement, "db.system.name").as_deref(), Some("postgresql"));
    assert_eq!(attribute(statement, "db.operation.name").as_deref(), Some("INSERT"));
    assert_eq!(attribute(statement, "db.collection.name").as_deref(), Some("ledger_entries"));
    assert_eq!(attribute(statement, "db.query.summary").as_deref(), Some("INSERT ledger_entries"));
    assert_eq!(statement.links.len(), 1);
    assert_eq!(statement.links[0].span_id, server.span_id);

    let span_id = u64::from_be_bytes(server.span_id.clone().try_into().unwrap());
    let traceparent = response.metadata().get("traceparent").unwrap().to_str().unwrap();
    assert_eq!(traceparent, format!("00-{trace}-{span_id:016x}-01"));

    let resource = resource();
    assert_eq!(text(&resource, "service.version").as_deref(), Some("1.2.3"));
    assert!(text(&resource, "service.name").is_some_and(|name| name.starts_with("goldbook")));

    let line = line(trace);
    assert_eq!(line["fields"]["message"], "granted");
    assert_eq!(line["fields"]["points"], 10);
    assert_eq!(line["trace_id"], trace.to_string());
    assert_eq!(line["span_id"], format!("{span_id:016x}"));
}

#[tokio::test]
async fn a_refusal_is_no_error_of_the_server_and_a_failure_is() {
    let mut client = serve(false).await;
    let (refused, request) = traced("refuse", true);
    let status = client.check(request).await.unwrap_err();
    assert!(status.metadata().contains_key("traceparent"));
    let (failed, request) = traced("break", true);
    client.check(request).await.unwrap_err();

    let spans = SINK.spans(refused, 1).await;
    assert_eq!(outcome(&spans[0]), "FAILED_PRECONDITION");
    assert_eq!(attribute(&spans[0], "goldbook.reason").as_deref(), Some("CODE_EXPIRED"));
    assert_eq!(attribute(&spans[0], "error.type"), None);
    assert!(!is_error(&spans[0]));

    let spans = SINK.spans(failed, 2).await;
    let server = spans.iter().find(|span| span.kind == SpanKind::Server as i32).unwrap();
    assert_eq!(attribute(server, "error.type").as_deref(), Some("INTERNAL"));
    assert!(is_error(server));
    let statement = spans.iter().find(|span| span.kind == SpanKind::Client as i32).unwrap();
    assert_eq!(attribute(statement, "db.response.status_code").as_deref(), Some("57P01"));
    assert!(is_error(statement));
}

#[tokio::test]
async fn a_panic_is_answered_as_a_defect_and_logged_with_its_message_and_trace() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        panics::log_panic(panic);
        before(panic);
    }));
    let mut client = serve(false).await;
    let (unary, request) = traced("panic", true);
    let status = client.check(request).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Internal, &*format!("internal error, trace {unary}")));
    let (streaming, request) = traced("panic", true);
    let items: Vec<_> = client.watch(request).await.unwrap().into_inner().collect().await;
    let status = items.last().unwrap().as_ref().unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Internal, &*format!("internal error, trace {streaming}")));

    for (trace, count, message) in
        [(unary, 1, "a rule that does not hold"), (streaming, 3, "a stream that does not hold")]
    {
        let spans = SINK.spans(trace, count).await;
        let server = spans.iter().find(|span| span.kind == SpanKind::Server as i32).unwrap();
        assert_eq!(outcome(server), "INTERNAL");
        assert!(is_error(server));
        let line = line(trace);
        assert_eq!(line["fields"]["panicked"], message);
        assert!(line["fields"]["location"].as_str().unwrap().contains("telemetry/tests.rs"), "{line}");
    }
}

#[tokio::test]
async fn a_deadline_that_passes_is_answered_as_such_and_never_as_cancelled() {
    let client = serve(true).await;
    let calls = (0..64).map(|_| {
        let mut client = client.clone();
        let (trace, request) = traced("slow", true);
        async move { (trace, client.check(request).await.unwrap_err()) }
    });
    for (trace, status) in join_all(calls).await {
        assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
        let spans = SINK.spans(trace, 1).await;
        assert_eq!(outcome(&spans[0]), "DEADLINE_EXCEEDED");
        assert!(is_error(&spans[0]));
    }
}

#[tokio::test]
async fn a_handler_sees_the_deadline() {
    let mut client = serve(false).await;
    let mut request = Request::new(HealthCheckRequest { service: "deadline".to_owned() });
    client.check(Request::new(request.get_ref().clone())).await.unwrap_err();
    request.set_timeout(Duration::from_secs(30));
    client.check(request).await.unwrap();
}

#[tokio::test]
async fn the_span_of_a_stream_ends_with_the_stream() {
    let mut client = serve(false).await;
    let (trace, request) = traced("short", true);
    let items: Vec<_> = client.watch(request).await.unwrap().into_inner().collect().await;
    assert_eq!(items.len(), 2);
    let spans = SINK.spans(trace, 3).await;
    let server = spans.iter().find(|span| span.kind == SpanKind::Server as i32).unwrap();
    assert_eq!(outcome(server), "OK");
    assert_eq!(attribute(server, "goldbook.program.id").as_deref(), Some("streamed"));
    for item in spans.iter().filter(|span| span.name == "item") {
        assert_eq!(item.parent_span_id, server.span_id);
        assert!(item.end_time_unix_nano <= server.end_time_unix_nano);
    }
}

#[tokio::test]
async fn a_stream_is_cut_at_the_deadline() {
    let mut client = serve(true).await;
    let (trace, request) = traced("long", true);
    let items: Vec<_> = client.watch(request).await.unwrap().into_inner().collect().await;
    assert_eq!(items.len(), 3);
    assert_eq!(items[2].as_ref().unwrap_err().code(), Code::DeadlineExceeded);
    let spans = SINK.spans(trace, 3).await;
    let server = spans.iter().find(|span| span.kind == SpanKind::Server as i32).unwrap();
    assert_eq!(outcome(server), "DEADLINE_EXCEEDED");
}

#[tokio::test]
async fn a_caller_that_goes_away_leaves_a_cancelled_span() {
    let mut client = serve(false).await;
    let (unary, request) = traced("slow", true);
    let _ = tokio::time::timeout(Duration::from_millis(50), client.check(request)).await.unwrap_err();
    let (streaming, request) = traced("long", true);
    let mut items = client.watch(request).await.unwrap().into_inner();
    items.next().await.unwrap().unwrap();
    drop(items);
    for (trace, count) in [(unary, 1), (streaming, 3)] {
        let spans = SINK.spans(trace, count).await;
        let server = spans.iter().find(|span| span.kind == SpanKind::Server as i32).unwrap();
        assert_eq!(outcome(server), "CANCELLED");
        assert!(!is_error(server));
    }
}

#[tokio::test]
async fn a_method_that_does_not_exist_gets_no_name_of_its_own() {
    let mut other = TraceServiceClient::new(serve_channel(false).await);
    let mut request = Request::new(ExportTraceServiceRequest::default());
    let trace = new_trace();
    request.metadata_mut().insert("traceparent", format!("00-{trace}-00f067aa0ba902b7-01").parse().unwrap());
    assert_eq!(other.export(request).await.unwrap_err().code(), Code::Unimplemented);
    let spans = SINK.spans(trace, 1).await;
    assert_eq!(spans[0].name, "grpc");
    assert_eq!(attribute(&spans[0], "rpc.method").as_deref(), Some("_OTHER"));
    assert!(!format!("{:?}", spans[0]).contains("Export"), "a caller may have made it up");
}

#[tokio::test]
async fn an_unsampled_callers_trace_is_kept_but_not_exported() {
    let mut client = serve(false).await;
    let (unsampled, request) = traced("write", false);
    let response = client.check(request).await.unwrap();
    let traceparent = response.metadata().get("traceparent").unwrap().to_str().unwrap();
    assert!(traceparent.starts_with(&format!("00-{unsampled}-")) && traceparent.ends_with("-00"), "{traceparent}");
    let (sampled, request) = traced("write", true);
    client.check(request).await.unwrap();
    SINK.spans(sampled, 2).await;
    assert!(SINK.spans(unsampled, 0).await.is_empty());
}
