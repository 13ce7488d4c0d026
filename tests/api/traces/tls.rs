//! A collector that wants TLS.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use goldbook::embedded_postgres::SERVICE_ROLE;
use nix::sys::signal::Signal;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{LogsService, LogsServiceServer};
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{ExportMetricsServiceRequest, ExportMetricsServiceResponse};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use rcgen::SanType;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Certificate, Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status};

use crate::access::tls::Root;
use crate::binary::{Serving, run_in};
use crate::harness::{Database, Service};

/// What came.
#[derive(Clone, Default)]
struct Receiver(Arc<Mutex<BTreeSet<&'static str>>>);

impl Receiver {
    fn take<T: Default>(&self, what: &'static str) -> Result<Response<T>, Status> {
        self.0.lock().unwrap().insert(what);
        Ok(Response::new(T::default()))
    }
}

#[tonic::async_trait]
impl TraceService for Receiver {
    async fn export(
        &self,
        _request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.take("traces")
    }
}

#[tonic::async_trait]
impl MetricsService for Receiver {
    async fn export(
        &self,
        _request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        self.take("metrics")
    }
}

#[tonic::async_trait]
impl LogsService for Receiver {
    async fn export(
        &self,
        _request: Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        self.take("logs")
    }
}

/// Who vouches for a collector and for those who may send to it, and the files that a service has of it.
struct Authority {
    root: Root,
    folder: tempfile::TempDir,
}

impl Authority {
    fn new() -> Self {
        let authority = Self { root: Root::new(), folder: tempfile::tempdir().unwrap() };
        let (certificate, key) = authority.root.issue(vec![SanType::DnsName("goldbook.test".try_into().unwrap())]);
        std::fs::write(authority.path("ca.pem"), authority.root.pem()).unwrap();
        std::fs::write(authority.path("own.crt"), certificate).unwrap();
        std::fs::write(authority.path("own.key"), key).unwrap();
        authority
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn name(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }
}

/// What a collector got that this authority vouches for and that asks for certificates, from a service whose variables are these.
async fn receive_from(vouching: &Authority, variables: &[(&str, String)]) -> BTreeSet<&'static str> {
    let (certificate, key) = vouching.root.issue(vec![SanType::DnsName("localhost".try_into().unwrap())]);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let receiver = Receiver::default();
    let tls = ServerTlsConfig::new().identity(Identity::from_pem(certificate, key));
    let tls = tls.client_ca_root(Certificate::from_pem(vouching.root.pem()));
    let server = Server::builder().tls_config(tls).unwrap();
    let server = { server }.add_service(TraceServiceServer::new(receiver.clone()));
    let server = server.add_service(MetricsServiceServer::new(receiver.clone()));
    let server = server.add_service(LogsServiceServer::new(receiver.clone()));
    let listening = tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));

    let database = Database::create().await;
    let mut environment = vec![("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str())];
    environment.extend(variables.iter().map(|(name, value)| (*name, value.as_str())));
    let serving = Serving::start(&database.options(SERVICE_ROLE), &environment).await;
    let service = Service::at(serving.address, database).await;
    service.apply_shop().await;
    serving.signal(Signal::SIGTERM);
    let (status, _) = serving.wait().await;
    assert!(status.success(), "{status}");
    listening.abort();
    receiver.0.lock().unwrap().clone()
}

#[tokio::test]
async fn a_collector_is_reached_over_tls_with_the_files_of_the_standard_variables() {
    let authority = Authority::new();
    let variables = [
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", authority.name("ca.pem")),
        ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", authority.name("own.crt")),
        ("OTEL_EXPORTER_OTLP_CLIENT_KEY", authority.name("own.key")),
    ];
    assert_eq!(receive_from(&authority, &variables).await, BTreeSet::from(["logs", "metrics", "traces"]));

    // A signal may have an authority of its own, which here vouches for nobody that is met.
    let stranger = Authority::new();
    let of_metrics = ("OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE", stranger.name("ca.pem"));
    let variables = variables.into_iter().chain([of_metrics]).collect::<Vec<_>>();
    assert_eq!(receive_from(&authority, &variables).await, BTreeSet::from(["logs", "traces"]));
}

#[tokio::test]
async fn a_collector_that_nobody_vouches_for_gets_nothing_and_stops_nobody() {
    // It is in no list of this machine.
    assert_eq!(receive_from(&Authority::new(), &[]).await, BTreeSet::new());
}

#[tokio::test]
async fn files_for_a_collector_that_are_not_there_are_told_before_anything_begins() {
    let authority = Authority::new();
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://localhost:4317");
    let serve = ["serve", "--listen", "127.0.0.1:0", "--database-url", "postgres://nobody@127.0.0.1:1/nothing"];
    let missing = authority.name("missing.pem");
    let ended = run_in(&[endpoint, ("OTEL_EXPORTER_OTLP_CERTIFICATE", &missing)], &serve).await;
    assert_eq!(ended.status.code(), Some(2), "{}", ended.stderr);
    assert!(
        ended.stderr.contains(&format!("OTEL_EXPORTER_OTLP_CERTIFICATE={missing}: No such file")),
        "{}",
        ended.stderr
    );

    let certificate = authority.name("own.crt");
    let ended = run_in(&[endpoint, ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", &certificate)], &serve).await;
    assert_eq!(ended.status.code(), Some(2), "{}", ended.stderr);
    assert!(ended.stderr.contains("OTEL_EXPORTER_OTLP_CLIENT_KEY"), "{}", ended.stderr);
}
