//! What spans say of who made them, and what they never say.

use goldbook::embedded_postgres::SERVICE_ROLE;
use goldbook::proto;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use tonic::Code;
use uuid::Uuid;

use super::follow_write;
use crate::binary::Serving;
use crate::collector::{attribute, endpoint, find_server_span, find_spans, origin_of, traced, value};
use crate::harness::{Bytes, Database, SHOP, Service, grant_reward};

#[tokio::test]
async fn spans_say_what_made_them_which_replica_and_of_which_database_statements_are() {
    let database = Database::create().await;
    let options = database.options(SERVICE_ROLE);
    let environment = [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint()), ("OTEL_BSP_SCHEDULE_DELAY", "50")];
    let mut instances = Vec::new();
    for replica in 0..2 {
        let serving = Serving::start(&options, &environment).await;
        let client = Service::at(serving.address, database.clone()).await;
        client.apply_shop().await;
        client.enrol("anna").await;
        let (trace, request) = traced(grant_reward("anna", 10, &format!("gift-{replica}")));
        client.rewards().grant_reward(request).await.unwrap();
        let followed = follow_write(trace).await;

        let origin = origin_of(&trace.0);
        assert_eq!(origin.scope.name, "goldbook");
        assert_eq!(origin.scope.version, env!("CARGO_PKG_VERSION"));
        assert_eq!(origin.schema_url, "https://opentelemetry.io/schemas/1.42.0");
        assert_eq!(origin.tell("service.name").as_deref(), Some("goldbook"));
        assert_eq!(origin.tell("service.version").as_deref(), Some(env!("CARGO_PKG_VERSION")));
        let instance = origin.tell("service.instance.id").unwrap();
        assert_eq!(instance.parse::<Uuid>().unwrap().get_version_num(), 4);
        assert_eq!(origin_of(&followed.batch.trace_id), origin, "all that a process sends is of one resource");
        instances.push(instance);

        assert!(!followed.statements.is_empty());
        for statement in &followed.statements {
            let socket = options.get_socket().unwrap().to_str().unwrap();
            assert_eq!(attribute(statement, "db.namespace").as_deref(), Some(database.name()));
            assert_eq!(attribute(statement, "server.address").as_deref(), Some(socket));
            assert_eq!(attribute(statement, "server.port"), None, "a socket has none");
        }
        serving.kill().await;
    }
    assert_ne!(instances[0], instances[1]);
}

#[tokio::test]
async fn a_method_that_does_not_exist_leaves_nothing_of_its_path_in_any_span() {
    const MARK: &str = "AnnaSmithx7q";
    let service = Service::start().await;
    for path in [format!("/goldbook.v1.TierService/{MARK}"), format!("/{MARK}/Get"), format!("/{MARK}?{MARK}")] {
        let (trace, request) = traced(Vec::new());
        let mut client = tonic::client::Grpc::new(service.channel.clone());
        client.ready().await.unwrap();
        let status = client.unary(request, path.parse().unwrap(), Bytes).await.unwrap_err();
        assert_eq!(status.code(), Code::Unimplemented);
        let server = find_server_span(trace).await;
        assert_eq!(server.name, "grpc");
        assert_eq!(attribute(&server, "rpc.method").as_deref(), Some("_OTHER"));
    }
    find_spans("every span", |spans| {
        assert!(!spans.iter().any(|span| format!("{span:?}").contains(MARK)));
        Some(())
    })
    .await;
}

#[tokio::test]
async fn attributes_of_our_own_have_a_namespace() {
    let service = Service::start().await;
    service.apply_shop().await;
    service.enrol("anna").await;
    let read = proto::GetCustomerRequest { program_id: SHOP.to_owned(), customer_id: "anna".to_owned() };
    let (trace, request) = traced(read);
    service.customers().get_customer(request).await.unwrap();
    let server = find_server_span(trace).await;
    assert_eq!(value(&server.attributes, "goldbook.program.id"), Some(Value::StringValue(SHOP.to_owned())));
    find_spans("every span", |spans| {
        for attribute in spans.iter().flat_map(|span| &span.attributes) {
            let is_known = ["goldbook.", "rpc.", "db.", "server.", "error.type"]
                .iter()
                .any(|namespace| attribute.key.starts_with(namespace));
            // What `tracing` measures by itself is switched off.
            assert!(is_known, "{}", attribute.key);
        }
        Some(())
    })
    .await;
}
