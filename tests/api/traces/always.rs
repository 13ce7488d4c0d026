//! What is exported whatever the sampler says.

use std::time::Duration;

use goldbook::embedded_postgres::{SERVICE_ROLE, SUPERUSER};
use goldbook::proto;
use goldbook::telemetry::TraceId;
use nix::sys::signal::Signal;
use sqlx::Connection as _;
use tonic::Code;

use super::is_error;
use crate::binary::Serving;
use crate::collector::{Span, attribute, endpoint, find_server_span, find_spans, links_to, traced};
use crate::harness::{Database, SHOP, Service, grant_reward};
use crate::metrics::page::get;
use crate::wait::pause;

/// A service that samples nothing.
async fn serve(database: &Database, always: &str) -> (Serving, Service) {
    let environment = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint()),
        ("OTEL_BSP_SCHEDULE_DELAY", "50"),
        ("OTEL_TRACES_SAMPLER", "always_off"),
        ("GOLDBOOK_ALWAYS_SAMPLE", always),
        ("GOLDBOOK_SLOW_MS", "1500"),
    ];
    let serving = Serving::start(&database.options(SERVICE_ROLE), &environment).await;
    let service = Service::at(serving.address, database.clone()).await;
    service.apply_shop().await;
    service.enrol("anna").await;
    (serving, service)
}

/// Makes grants with a note fail.
async fn break_notes(database: &Database) {
    let broken = "ALTER TABLE entry_notes ADD CONSTRAINT broken CHECK (false) NOT VALID";
    sqlx::raw_sql(broken).execute(&mut database.connect(SUPERUSER).await).await.unwrap();
}

fn failing(key: &str) -> proto::GrantRewardRequest {
    proto::GrantRewardRequest { note: "a note".to_owned(), ..grant_reward("anna", 1, key) }
}

/// Whether a metric leads to this trace.
async fn is_exemplar(serving: &Serving, trace: TraceId) -> bool {
    let page = get(serving.admin, "/metrics", "application/openmetrics-text").await.body;
    page.contains(&format!("trace_id=\"{trace}\""))
}

fn assert_sampled(span: &Span) {
    assert_eq!(span.flags & 1, 1, "{}", span.name);
}

#[tokio::test]
async fn a_failed_request_is_kept_with_its_batch_though_nothing_is_sampled() {
    let database = Database::create().await;
    let (serving, service) = serve(&database, "errors").await;
    let (good, request) = traced(grant_reward("anna", 1, "good"));
    let answer = service.rewards().grant_reward(request).await.unwrap();
    let traceparent = answer.metadata().get("traceparent").unwrap().to_str().unwrap().to_owned();
    assert!(traceparent.ends_with("-00"), "whoever comes after is told that it is not sampled: {traceparent}");
    let (refused, request) =
        traced(proto::GetCustomerRequest { program_id: SHOP.to_owned(), customer_id: "nobody".to_owned() });
    service.customers().get_customer(request).await.unwrap_err();
    break_notes(&database).await;
    let (failed, request) = traced(failing("bad"));
    let status = service.rewards().grant_reward(request).await.unwrap_err();
    assert_eq!(status.code(), Code::Internal);

    let server = find_server_span(failed).await;
    assert!(is_error(&server));
    assert_sampled(&server);
    assert_eq!(attribute(&server, "goldbook.program.id").as_deref(), Some(SHOP));
    let (wait, batch, statements) = find_spans("the batch that failed", |spans| {
        let wait = spans.iter().find(|span| span.trace_id == failed.0 && span.name == "book.wait")?;
        let batch = spans.iter().find(|span| span.name == "book.batch" && links_to(wait, span))?;
        let below = spans.iter().filter(|span| span.parent_span_id == batch.span_id).cloned().collect::<Vec<_>>();
        Some((wait.clone(), batch.clone(), below))
    })
    .await;
    assert_eq!(wait.parent_span_id, server.span_id);
    assert!(is_error(&batch) && links_to(&batch, &server));
    assert!(statements.iter().any(is_error), "the statement that failed is below it");
    statements.iter().chain([&wait, &batch]).for_each(assert_sampled);
    assert!(is_exemplar(&serving, failed).await && !is_exemplar(&serving, good).await);
    find_spans("the others", |spans| {
        assert!(!spans.iter().any(|span| span.trace_id == good.0 || span.trace_id == refused.0));
        Some(())
    })
    .await;
}

#[tokio::test]
async fn a_slow_request_is_kept_with_its_statements_and_no_line_of_the_log_tells_sql() {
    let database = Database::create().await;
    let (serving, service) = serve(&database, "slow").await;
    break_notes(&database).await;
    let (failed, request) = traced(failing("bad"));
    service.rewards().grant_reward(request).await.unwrap_err();

    let mut holder = database.connect(SUPERUSER).await;
    let mut held = holder.begin().await.unwrap();
    sqlx::raw_sql("LOCK TABLE customers").execute(&mut *held).await.unwrap();
    let (slow, request) =
        traced(proto::GetCustomerRequest { program_id: SHOP.to_owned(), customer_id: "anna".to_owned() });
    let mut customers = service.customers();
    let call = tokio::spawn(async move { customers.get_customer(request).await });
    pause(Duration::from_millis(1_700)).await;
    held.commit().await.unwrap();
    call.await.unwrap().unwrap();

    let server = find_server_span(slow).await;
    assert_sampled(&server);
    assert!(!is_error(&server));
    find_spans("the statement that waited", |spans| {
        let below = |span: &&Span| span.trace_id == slow.0 && span.parent_span_id == server.span_id;
        spans.iter().filter(below).find(|span| attribute(span, "db.system.name").is_some()).map(assert_sampled)
    })
    .await;
    assert!(is_exemplar(&serving, slow).await && !is_exemplar(&serving, failed).await);
    find_spans("the others", |spans| {
        assert!(!spans.iter().any(|span| span.trace_id == failed.0), "quick failures are not asked for");
        Some(())
    })
    .await;
    serving.signal(Signal::SIGTERM);
    let (status, log) = serving.wait().await;
    assert!(status.success());
    for line in log {
        let line = line.to_string();
        assert!(!line.contains("SELECT") && !line.contains("slow statement"), "{line}");
    }
}
