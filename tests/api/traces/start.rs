//! The start and the rounds of background work, as traces tell them.

use std::collections::BTreeSet;

use goldbook::embedded_postgres::{SERVICE_ROLE, SUPERUSER};
use opentelemetry_proto::tonic::common::v1::any_value::Value;

use super::is_error;
use crate::binary::Serving;
use crate::collector::{Span, endpoint, find_spans, origin_of, value};
use crate::harness::{Database, Service, shop};

/// What these tests give to a service.
fn environment(resource: &str) -> [(&str, &str); 4] {
    [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint()),
        ("OTEL_BSP_SCHEDULE_DELAY", "50"),
        ("OTEL_RESOURCE_ATTRIBUTES", resource),
        ("GOLDBOOK_LIABILITY_SECONDS", "1"),
    ]
}

fn is_of(span: &Span, instance: &str) -> bool {
    origin_of(&span.trace_id).tell("service.instance.id").as_deref() == Some(instance)
}

#[tokio::test]
async fn the_start_is_one_trace_from_its_postgres_to_the_first_health() {
    let directory = tempfile::tempdir().unwrap();
    let serving = Serving::start_own(directory.path(), &environment("service.instance.id=starting")).await;
    let (start, steps) = find_spans("the start", |spans| {
        let start = spans.iter().find(|span| span.name == "goldbook.start" && is_of(span, "starting"))?;
        let below = |span: &&Span| span.trace_id == start.trace_id && span.parent_span_id == start.span_id;
        Some((start.clone(), spans.iter().filter(below).cloned().collect::<Vec<_>>()))
    })
    .await;
    assert!(start.parent_span_id.is_empty() && !is_error(&start));
    let names: BTreeSet<&str> = steps.iter().map(|step| step.name.as_str()).collect();
    let expected = ["start.check", "start.first_health", "start.migrate", "start.postgres"];
    assert_eq!(names, expected.into());
    for step in &steps {
        assert!(step.start_time_unix_nano >= start.start_time_unix_nano, "{}", step.name);
        assert!(step.end_time_unix_nano <= start.end_time_unix_nano, "{}", step.name);
    }
    serving.signal(nix::sys::signal::Signal::SIGTERM);
    serving.wait().await;
}

#[tokio::test]
async fn a_round_of_background_work_is_a_trace_with_its_statements_and_says_if_it_failed() {
    let database = Database::create().await;
    let options = database.options(SERVICE_ROLE);
    let serving = Serving::start(&options, &environment("service.instance.id=rounds")).await;
    let client = Service::at(serving.address, database.clone()).await;
    client.apply(shop()).await.unwrap();
    for name in ["liability.sum_up", "book.apply_dues", "customers.retention"] {
        find_spans(name, |spans| {
            let round = spans.iter().find(|span| span.name == name && is_of(span, "rounds"))?;
            assert!(round.parent_span_id.is_empty() && !is_error(round));
            spans.iter().find(|span| span.parent_span_id == round.span_id).map(|statement| {
                assert_eq!(
                    value(&statement.attributes, "db.namespace"),
                    Some(Value::StringValue(database.name().to_owned()))
                );
            })
        })
        .await;
    }
    let broken = "ALTER TABLE liability_lease RENAME TO elsewhere";
    sqlx::raw_sql(broken).execute(&mut database.connect(SUPERUSER).await).await.unwrap();
    find_spans("a round that failed", |spans| {
        let is_it = |span: &&Span| span.name == "liability.sum_up" && is_error(span) && is_of(span, "rounds");
        let round = spans.iter().find(is_it)?;
        let error = value(&round.attributes, "error.type");
        assert_eq!(error, Some(Value::StringValue("round_failed".to_owned())));
        spans.iter().find(|span| span.parent_span_id == round.span_id && is_error(span)).map(drop)
    })
    .await;
    serving.kill().await;
}
