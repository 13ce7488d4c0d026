//! A collector in the test process, and a page that log lines are written on.

use std::io;
use std::sync::{LazyLock, Mutex, mpsc};
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span as Received;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};
use tracing_subscriber::util::SubscriberInitExt as _;

use super::super::targets::OURS;
use super::super::*;

/// What the process's one subscriber writes to: a collector in a thread of its own, and a page of log lines.
pub(super) static SINK: LazyLock<Sink> = LazyLock::new(Sink::install);

pub(super) struct Sink {
    telemetry: Telemetry,
}

static RECEIVED: Mutex<Vec<Received>> = Mutex::new(Vec::new());
static RESOURCE: Mutex<Vec<KeyValue>> = Mutex::new(Vec::new());
static LINES: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Page;

impl io::Write for Page {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LINES.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Receiver;

#[tonic::async_trait]
impl TraceService for Receiver {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        for resource in request.into_inner().resource_spans {
            *RESOURCE.lock().unwrap() = resource.resource.unwrap().attributes;
            RECEIVED.lock().unwrap().extend(resource.scope_spans.into_iter().flat_map(|scope| scope.spans));
        }
        Ok(Response::new(Default::default()))
    }
}

impl Sink {
    fn install() -> Self {
        let (send_address, address) = mpsc::channel();
        std::thread::spawn(move || {
            tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                send_address.send(listener.local_addr().unwrap()).unwrap();
                let receiver = Server::builder().add_service(TraceServiceServer::new(Receiver));
                receiver.serve_with_incoming(TcpListenerStream::new(listener)).await.unwrap();
            });
        });
        let collector = Collector::At(format!("http://{}", address.recv().unwrap()));
        let export = Export { traces: collector, logs: Collector::Off, always_sample: AlwaysSample::default() };
        let (provider, counters) = export::tracer_provider("1.2.3", &export).unwrap();
        let logs = Logs { filter: format!("warn,{OURS}=info"), format: LogFormat::Json };
        subscriber(&provider, "1.2.3", Gate::new(true, &logs, None, || Page).unwrap()).try_init().unwrap();
        Self { telemetry: Telemetry { provider, counters, records: None } }
    }

    /// The spans of a trace once there are as many.
    pub(super) async fn spans(&self, trace: TraceId, count: usize) -> Vec<Received> {
        let until = Instant::now() + Duration::from_secs(10);
        loop {
            self.telemetry.flush().await;
            let all = RECEIVED.lock().unwrap().clone();
            let found: Vec<_> = all.into_iter().filter(|span| span.trace_id == trace.0).collect();
            if found.len() >= count {
                return found;
            }
            assert!(Instant::now() < until, "{} of {count} spans came: {found:#?}", found.len());
        }
    }
}

/// The attributes of whoever sent the last spans.
pub(super) fn resource() -> Vec<KeyValue> {
    RESOURCE.lock().unwrap().clone()
}

/// The log line that belongs to a trace.
pub(super) fn line(trace: TraceId) -> serde_json::Value {
    let page = String::from_utf8(LINES.lock().unwrap().clone()).unwrap();
    let line = page.lines().find(|line| line.contains(&trace.to_string())).expect("a line of this trace");
    serde_json::from_str(line).unwrap()
}

pub(super) fn attribute(span: &Received, key: &str) -> Option<String> {
    text(&span.attributes, key)
}

pub(super) fn text(attributes: &[KeyValue], key: &str) -> Option<String> {
    match attributes.iter().find(|attribute| attribute.key == key)?.value.clone()? {
        AnyValue { value: Some(Value::StringValue(text)) } => Some(text),
        AnyValue { value: Some(Value::IntValue(number)) } => Some(number.to_string()),
        other => panic!("{key} is {other:?}"),
    }
}
