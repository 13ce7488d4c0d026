//! Log lines that are sent over OTLP.

use std::time::Duration;

use goldbook::embedded_postgres::{SERVICE_ROLE, SUPERUSER};
use goldbook::proto;
use goldbook::telemetry::TraceId;
use nix::sys::signal::Signal;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Told;
use serde_json::Value;
use tonic::Code;

use crate::binary::{Serving, Watched};
use crate::collector::{
    LogRecord, endpoint, find_records, find_server_span, find_spans, origin_of, told, traced, value,
};
use crate::harness::{Database, Service, grant_reward};
use crate::wait::{pause, until};

/// Makes a call fail, which is logged, and finds the record of that under the call's trace.
async fn log_a_failure(instance: &str, more: &[(&str, &str)]) -> (Watched, TraceId) {
    let database = Database::create().await;
    let resource = format!("service.instance.id={instance}");
    let environment = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint()),
        ("OTEL_BSP_SCHEDULE_DELAY", "50"),
        ("OTEL_BLRP_SCHEDULE_DELAY", "50"),
        ("OTEL_RESOURCE_ATTRIBUTES", resource.as_str()),
    ];
    let environment = [environment.as_slice(), more].concat();
    let serving = Serving::start(&database.options(SERVICE_ROLE), &environment).await;
    // The loud ones would wait for a reader.
    let serving = serving.watch();
    let service = Service::at(serving.address, database.clone()).await;
    service.apply_shop().await;
    service.enrol("anna").await;
    let broken = "ALTER TABLE entry_notes ADD CONSTRAINT broken CHECK (false) NOT VALID";
    sqlx::raw_sql(broken).execute(&mut database.connect(SUPERUSER).await).await.unwrap();
    let bad = proto::GrantRewardRequest { note: "a note".to_owned(), ..grant_reward("anna", 1, "bad") };
    let (trace, request) = traced(bad);
    let status = service.rewards().grant_reward(request).await.unwrap_err();
    assert_eq!(status.code(), Code::Internal);

    let (origin, record) = find_records("the record of the failure", instance, |records| {
        records.iter().find(|(_, record)| record.trace_id == trace.0 && record.severity_text == "ERROR").cloned()
    })
    .await;
    assert_eq!(origin.scope.name, "goldbook");
    assert_eq!(origin.scope.version, env!("CARGO_PKG_VERSION"));
    assert_eq!(record.severity_number, 17);
    assert!(record.time_unix_nano > 0);
    assert!(told(&record.body).is_some_and(|body| !body.is_empty()));
    assert!(matches!(
        told_of(&record, "goldbook.log.target"),
        Some(Told::StringValue(target)) if target.starts_with("goldbook::")
    ));
    assert!(record.attributes.iter().all(|attribute| attribute.key.starts_with("goldbook.")), "{record:?}");
    (serving, trace)
}

/// Stops a service; what it logged since it began to listen.
async fn stop(serving: Watched) -> Vec<Value> {
    serving.stop().await.iter().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// An attribute of a record.
fn told_of(record: &LogRecord, key: &str) -> Option<Told> {
    value(&record.attributes, key)
}

#[tokio::test]
async fn lines_of_the_log_are_sent_with_the_resource_and_the_ids_of_their_spans() {
    let (serving, trace) = log_a_failure("logs-and-traces", &[]).await;
    find_server_span(trace).await;
    let origin = origin_of(&trace.0);
    assert_eq!(origin.tell("service.instance.id").as_deref(), Some("logs-and-traces"), "the one that was given");
    find_records("the first line", "logs-and-traces", |records| {
        let (of_line, record) = records.iter().find(|(_, record)| told(&record.body) == Some("listening"))?;
        assert_eq!(of_line.resource, origin.resource, "the same for traces and logs");
        assert_eq!(record.severity_text, "INFO");
        assert_eq!(told_of(record, "goldbook.tls"), Some(Told::BoolValue(false)));
        Some(())
    })
    .await;
    let log = stop(serving).await;
    let flushed = log.iter().find(|line| line["fields"]["message"] == "logs flushed").unwrap();
    let complaint = log.iter().find(|line| line["target"].as_str().unwrap().starts_with("opentelemetry"));
    assert_eq!(complaint, None, "nothing is given to who sends after the last flush");
    assert_eq!(flushed["fields"]["records_dropped"], 0, "{flushed}");
    // Everything that was written before the last flush was sent, and nothing else: sending tells nothing that is sent.
    let sent = flushed["fields"]["records_sent"].as_u64().unwrap();
    find_records("every line", "logs-and-traces", |records| (records.len() as u64 == sent).then_some(())).await;
    let written = log.iter().take_while(|line| line["fields"]["message"] != "logs flushed").count() as u64;
    // "listening" and what came before it was read while the service started.
    assert!(sent >= written && sent < written + 10, "{sent} sent, {written} written since");
    find_records("what is said of the traces", "logs-and-traces", |records| {
        records.iter().any(|(_, record)| told(&record.body) == Some("traces flushed")).then_some(())
    })
    .await;
}

#[tokio::test]
async fn logs_are_sent_without_traces_and_traces_without_logs() {
    let (serving, trace) = log_a_failure("only-logs", &[("OTEL_TRACES_EXPORTER", "none")]).await;
    let log = stop(serving).await;
    let says = |message: &str| log.iter().any(|line| line["fields"]["message"] == message);
    assert!(says("logs flushed") && !says("traces flushed"));
    find_spans("no span", |spans| {
        assert!(!spans.iter().any(|span| span.trace_id == trace.0));
        Some(())
    })
    .await;

    let database = Database::create().await;
    let environment = [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint()), ("OTEL_LOGS_EXPORTER", "none")];
    let serving = Serving::start(&database.options(SERVICE_ROLE), &environment).await;
    serving.signal(Signal::SIGTERM);
    let (_, log) = serving.wait().await;
    let says = |message: &str| log.iter().any(|line| line["fields"]["message"] == message);
    assert!(says("traces flushed") && !says("logs flushed"));
}

#[tokio::test]
async fn what_sending_tells_of_itself_is_written_and_never_sent() {
    let everything = [("GOLDBOOK_LOG", "info,h2=trace,hyper=trace,tonic=trace,tower=trace,opentelemetry_sdk=debug")];
    let (serving, _) = log_a_failure("loud", &everything).await;
    // Were the exporter's own connection told of, each batch that is sent would bring the next, for ever.
    let mut last = 0;
    until("an end of what is sent", async || {
        let count = find_records("records", "loud", |records| Some(records.len())).await;
        pause(Duration::from_millis(500)).await;
        (std::mem::replace(&mut last, count) == count).then_some(())
    })
    .await;
    let log = stop(serving).await;
    let of_sending = |line: &&Value| line["target"].as_str().is_some_and(|target| target.starts_with("h2"));
    assert!(log.iter().any(|line| of_sending(&line)));
}
