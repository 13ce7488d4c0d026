//! A collector of traces and logs in the test process: every service of the process traces into it, over OTLP.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, OnceLock, mpsc};

use goldbook::telemetry::{self, AlwaysSample, Collector, Export, LogFormat, Logs, Telemetry, TraceId};
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{LogsService, LogsServiceServer};
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

pub(crate) use opentelemetry_proto::tonic::logs::v1::LogRecord;
pub(crate) use opentelemetry_proto::tonic::trace::v1::Span;
pub(crate) use opentelemetry_proto::tonic::trace::v1::span::SpanKind;

use crate::wait::until;

/// The process's one tracer.
static TRACER: LazyLock<Telemetry> = LazyLock::new(install);
/// Where it listens.
static ENDPOINT: OnceLock<String> = OnceLock::new();
/// The newest spans; the oldest make room for them.
static RECEIVED: Mutex<VecDeque<Span>> = Mutex::new(VecDeque::new());
const MOST_SPANS: usize = 100_000;
/// Who sent the spans of each trace first.
static ORIGINS: LazyLock<Mutex<HashMap<Vec<u8>, Arc<Origin>>>> = LazyLock::new(Mutex::default);
/// Every log record that programs have sent.
static RECORDS: Mutex<Vec<(Arc<Origin>, LogRecord)>> = Mutex::new(Vec::new());

/// Who made what was received.
#[derive(Debug, PartialEq)]
pub(crate) struct Origin {
    pub resource: Vec<KeyValue>,
    pub scope: InstrumentationScope,
    pub schema_url: String,
}

impl Origin {
    fn new(resource: &Option<Resource>, scope: Option<InstrumentationScope>, schema_url: String) -> Arc<Self> {
        let mut resource = resource.as_ref().unwrap().attributes.clone();
        resource.sort_by(|one, other| one.key.cmp(&other.key));
        Arc::new(Self { resource, scope: scope.unwrap(), schema_url })
    }

    /// What the resource says of itself.
    pub(crate) fn tell(&self, key: &str) -> Option<String> {
        text(&self.resource, key)
    }
}

/// The span that calls of [`traced`] have as their parent.
pub(crate) const CALLER: [u8; 8] = 0x00f0_67aa_0ba9_02b7_u64.to_be_bytes();

struct Receiver;

#[tonic::async_trait]
impl TraceService for Receiver {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let mut received = RECEIVED.lock().unwrap();
        let mut origins = ORIGINS.lock().unwrap();
        for from in request.into_inner().resource_spans {
            for scope in from.scope_spans {
                let origin = Origin::new(&from.resource, scope.scope, scope.schema_url);
                for span in scope.spans {
                    origins.entry(span.trace_id.clone()).or_insert_with(|| Arc::clone(&origin));
                    received.push_back(span);
                }
            }
        }
        let surplus = received.len().saturating_sub(MOST_SPANS);
        received.drain(..surplus);
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl LogsService for Receiver {
    async fn export(
        &self,
        request: Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        let mut records = RECORDS.lock().unwrap();
        for from in request.into_inner().resource_logs {
            for scope in from.scope_logs {
                let origin = Origin::new(&from.resource, scope.scope, scope.schema_url);
                records.extend(scope.log_records.into_iter().map(|record| (Arc::clone(&origin), record)));
            }
        }
        Ok(Response::new(ExportLogsServiceResponse::default()))
    }
}

fn install() -> Telemetry {
    let (send_address, address) = mpsc::channel();
    // A runtime of its own, since the tests' come and go.
    std::thread::spawn(move || {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            send_address.send(listener.local_addr().unwrap()).unwrap();
            let receiver = TraceServiceServer::new(Receiver).max_decoding_message_size(usize::MAX);
            let server = Server::builder().add_service(receiver).add_service(LogsServiceServer::new(Receiver));
            server.serve_with_incoming(TcpListenerStream::new(listener)).await.unwrap();
        });
    });
    let endpoint = ENDPOINT.get_or_init(|| format!("http://{}", address.recv().unwrap()));
    let traces = Collector::At(endpoint.clone());
    let export = Export { traces, logs: Collector::Off, always_sample: AlwaysSample::default() };
    // Tests break things on purpose; their log is only of interest to whoever asks for it.
    let filter = std::env::var("GOLDBOOK_LOG").unwrap_or_else(|_| "off".to_owned());
    telemetry::init("test", &export, &Logs { filter, format: LogFormat::Plain }).unwrap()
}

/// Makes sure that services of this process are traced.
pub(crate) fn install_tracer() {
    LazyLock::force(&TRACER);
}

/// Where programs send their traces to that are to be received here.
pub(crate) fn endpoint() -> &'static str {
    install_tracer();
    ENDPOINT.get().unwrap()
}

/// A request that belongs to a new trace of its caller's.
pub(crate) fn traced<T>(message: T) -> (TraceId, Request<T>) {
    static TRACES: AtomicU64 = AtomicU64::new(1);
    let number = u128::from(TRACES.fetch_add(1, Ordering::Relaxed));
    let trace = TraceId(number.to_be_bytes());
    let mut request = Request::new(message);
    let caller = u64::from_be_bytes(CALLER);
    request.metadata_mut().insert("traceparent", format!("00-{trace}-{caller:016x}-01").parse().unwrap());
    (trace, request)
}

/// Looks at what the collector has received until `find` finds what it looks for.
pub(crate) async fn find_spans<T>(what: &str, find: impl Fn(&[Span]) -> Option<T>) -> T {
    until(what, async || {
        TRACER.flush().await;
        find(RECEIVED.lock().unwrap().make_contiguous())
    })
    .await
}

/// The server span of a trace.
pub(crate) async fn find_server_span(trace: TraceId) -> Span {
    find_spans("the server span", |spans| {
        let is_server = |span: &&Span| span.trace_id == trace.0 && span.kind() == SpanKind::Server;
        spans.iter().find(is_server).cloned()
    })
    .await
}

/// Whether a span links to another.
pub(crate) fn links_to(from: &Span, to: &Span) -> bool {
    from.links.iter().any(|link| link.trace_id == to.trace_id && link.span_id == to.span_id)
}

/// Who sent the spans of a trace.
pub(crate) fn origin_of(trace_id: &[u8]) -> Arc<Origin> {
    Arc::clone(&ORIGINS.lock().unwrap()[trace_id])
}

/// Looks at the log records that a program has sent, by its `service.instance.id`, until `find` finds what it looks for.
pub(crate) async fn find_records<T>(
    what: &str,
    instance: &str,
    find: impl Fn(&[(Arc<Origin>, LogRecord)]) -> Option<T>,
) -> T {
    until(what, async || {
        let all = RECORDS.lock().unwrap().clone();
        let is_its = |origin: &Origin| origin.tell("service.instance.id").as_deref() == Some(instance);
        find(&all.into_iter().filter(|(origin, _)| is_its(origin)).collect::<Vec<_>>())
    })
    .await
}

/// An attribute as text.
pub(crate) fn attribute(span: &Span, key: &str) -> Option<String> {
    text(&span.attributes, key)
}

/// An attribute as it was sent.
pub(crate) fn value(attributes: &[KeyValue], key: &str) -> Option<Value> {
    attributes.iter().find(|attribute| attribute.key == key)?.value.clone()?.value
}

fn text(attributes: &[KeyValue], key: &str) -> Option<String> {
    match value(attributes, key)? {
        Value::StringValue(text) => Some(text),
        Value::IntValue(number) => Some(number.to_string()),
        other => panic!("{key} is {other:?}"),
    }
}

/// A text as a record has it.
pub(crate) fn told(value: &Option<AnyValue>) -> Option<&str> {
    match value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text),
        other => panic!("{other:?} is no text"),
    }
}
