//! Metrics over OTLP.

use std::sync::{Arc, Mutex};

use goldbook::embedded_postgres::SERVICE_ROLE;
use nix::sys::signal::Signal;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{ExportMetricsServiceRequest, ExportMetricsServiceResponse};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

use crate::binary::Serving;
use crate::harness::{Database, Service};

#[derive(Clone, Default)]
struct Receiver(Arc<Mutex<Vec<ExportMetricsServiceRequest>>>);

#[tonic::async_trait]
impl MetricsService for Receiver {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        self.0.lock().unwrap().push(request.into_inner());
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}

#[tokio::test]
async fn a_collector_gets_the_same_metrics_at_the_end_at_the_latest() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let receiver = Receiver::default();
    let server = Server::builder().add_service(MetricsServiceServer::new(receiver.clone()));
    let listening = tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));

    let database = Database::create().await;
    let environment =
        [("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", endpoint.as_str()), ("OTEL_SERVICE_NAME", "points of the shop")];
    let serving = Serving::start(&database.options(SERVICE_ROLE), &environment).await;
    let service = Service::at(serving.address, database).await;
    service.apply_shop().await;
    service.enrol("anna").await;
    service.grant("anna", 40, "gift").await.unwrap();
    serving.signal(Signal::SIGTERM);
    let (status, _) = serving.wait().await;
    assert!(status.success(), "{status}");
    listening.abort();

    let received = receiver.0.lock().unwrap();
    let last = received.last().unwrap().resource_metrics.first().unwrap();
    let attributes = &last.resource.as_ref().unwrap().attributes;
    let is = |key: &str| attributes.iter().find(|attribute| attribute.key == key).cloned().unwrap().value.unwrap();
    assert_eq!(format!("{:?}", is("service.name").value.unwrap()), "StringValue(\"points of the shop\")");
    is("service.instance.id");
    let scope = last.scope_metrics.first().unwrap();
    let instrumentation = scope.scope.as_ref().unwrap();
    assert_eq!(
        (instrumentation.name.as_str(), instrumentation.version.as_str()),
        ("goldbook", env!("CARGO_PKG_VERSION"))
    );
    let granted = scope.metrics.iter().find(|metric| metric.name == "goldbook.points.granted").unwrap();
    assert_eq!(granted.unit, "{point}");
    let Some(Data::Sum(sum)) = &granted.data else { panic!("{granted:?}") };
    assert_eq!(format!("{:?}", sum.data_points.first().unwrap().value.unwrap()), "AsInt(40)");
    let calls = scope.metrics.iter().find(|metric| metric.name == "rpc.server.call.duration").unwrap();
    assert!(matches!(calls.data, Some(Data::Histogram(_))));
}
