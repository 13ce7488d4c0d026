//! From the RPC to the rows and back: every call can be followed through its trace, and no trace tells about people.

mod always;
mod command;
mod conventions;
mod ending;
mod logs;
mod start;
mod streams;
mod tls;

use goldbook::embedded_postgres::{SERVICE_ROLE, SUPERUSER};
use goldbook::proto;
use goldbook::telemetry::TraceId;
use nix::sys::signal::Signal;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use tokio::net::TcpListener;
use tonic::Code;

use crate::binary::Serving;
use crate::collector::{CALLER, Span, SpanKind, attribute, find_server_span, find_spans, links_to, traced, value};
use crate::harness::{Database, SHOP, Service, create_customer, grant_reward, purchase, reason};
use crate::wait::within;

/// The spans of one write: of its RPC, of its wait, and of the batch that carried it with its statements.
struct Followed {
    server: Span,
    wait: Span,
    batch: Span,
    statements: Vec<Span>,
}

/// Follows a write from its trace to the statements, by parents and links.
async fn follow_write(trace: TraceId) -> Followed {
    find_spans("the whole trace", |spans| {
        let mut ours = spans.iter().filter(|span| span.trace_id == trace.0);
        let server = ours.clone().find(|span| span.kind() == SpanKind::Server)?;
        let wait = ours.find(|span| span.name == "book.wait")?;
        let batch = spans.iter().find(|span| span.name == "book.batch" && links_to(wait, span))?;
        let below = |span: &&Span| span.trace_id == batch.trace_id && span.parent_span_id == batch.span_id;
        Some(Followed {
            server: server.clone(),
            wait: wait.clone(),
            batch: batch.clone(),
            statements: spans.iter().filter(below).cloned().collect(),
        })
    })
    .await
}

/// What a purchase sends that converts a referral.
const CONVERSION: [&str; 5] = [
    "BEGIN",
    // Also finds who brought Ben, and locks that one's account.
    "SELECT accounts",
    "SELECT referrals, standings, standing_days, lifecycles",
    "INSERT ledger_entries",
    "COMMIT",
];

/// The statements as they were sent, one after the other.
fn in_order(statements: &[Span]) -> Vec<&str> {
    let mut statements: Vec<&Span> = statements.iter().collect();
    statements.sort_by_key(|statement| statement.start_time_unix_nano);
    statements.into_iter().map(|statement| statement.name.as_str()).collect()
}

fn is_error(span: &Span) -> bool {
    span.status.as_ref().is_some_and(|status| status.code() == StatusCode::Error)
}

#[tokio::test]
async fn record_activity_can_be_followed_from_the_rpc_to_the_granted_rows_and_back() {
    let service = Service::start().await;
    service.apply_shop().await;
    let code = service.share_code("anna", "friends").await;
    service.refer("ben", &code).await;
    let (trace, request) = traced(purchase("ben", "order-1", "250.00", service.clock.now()));
    let response = service.activities().record_activity(request).await.unwrap();
    let traceparent = response.metadata().get("traceparent").unwrap().to_str().unwrap().to_owned();
    assert!(response.into_inner().referral_converted);

    let Followed { server, wait, batch, statements } = follow_write(trace).await;
    assert_eq!(server.name, "goldbook.v1.ActivityService/RecordActivity");
    assert_eq!(server.parent_span_id, CALLER);
    for (key, value) in [
        ("rpc.system.name", "grpc"),
        ("rpc.method", "goldbook.v1.ActivityService/RecordActivity"),
        ("rpc.response.status_code", "OK"),
        ("goldbook.program.id", SHOP),
        ("server.address", "127.0.0.1"),
    ] {
        assert_eq!(attribute(&server, key).as_deref(), Some(value), "{key}");
    }
    assert!(!is_error(&server));
    let span_id = u64::from_be_bytes(server.span_id.clone().try_into().unwrap());
    assert_eq!(traceparent, format!("00-{trace}-{span_id:016x}-01"));

    assert_eq!(wait.parent_span_id, server.span_id);
    assert!(links_to(&batch, &server), "the batch links back to the request");
    assert!(batch.parent_span_id.is_empty() && batch.trace_id != server.trace_id, "a batch belongs to no one request");
    assert_eq!(value(&batch.attributes, "goldbook.batch.size"), Some(Value::IntValue(1)), "a number");

    for statement in &statements {
        assert_eq!(statement.kind(), SpanKind::Client, "{}", statement.name);
        assert_eq!(attribute(statement, "db.system.name").as_deref(), Some("postgresql"), "{}", statement.name);
        let operation = attribute(statement, "db.operation.name").unwrap();
        let collection = attribute(statement, "db.collection.name");
        let tables = statement.name.split_once(' ').map_or("", |(_, tables)| tables);
        assert_eq!(operation, statement.name.split(' ').next().unwrap());
        // Of several tables none is named as the one.
        assert_eq!(collection.as_deref(), Some(tables).filter(|it| !it.is_empty() && !it.contains(',')));
        assert_eq!(attribute(statement, "db.query.summary"), Some(statement.name.clone()));
        assert!(!is_error(statement), "{}", statement.name);
        assert!(statement.start_time_unix_nano >= batch.start_time_unix_nano);
        assert!(statement.end_time_unix_nano <= batch.end_time_unix_nano);
    }
    assert_eq!(in_order(&statements), CONVERSION);

    // The rows, as Postgres has them.
    let mut connection = service.database.connect(SUPERUSER).await;
    let select = "SELECT n.name, e.reason, e.points FROM ledger_entries e JOIN names n USING (account_id)
                  WHERE e.trace_id = $1 AND e.reason LIKE 'referral_%' AND e.points > 0 AND n.space = 'customer'
                  ORDER BY n.name";
    let granted: Vec<(String, String, i64)> =
        sqlx::query_as(select).bind(trace.0.as_slice()).fetch_all(&mut connection).await.unwrap();
    let row = |name: &str, reason: &str, points| (name.to_owned(), reason.to_owned(), points);
    assert_eq!(granted, [row("anna", "referral_referrer", 500), row("ben", "referral_referee", 250)]);

    // The rows, as the ledger tells them; and from each row back to the call that wrote it.
    for (customer, points) in [("anna", 500), ("ben", 250)] {
        let entries = service.entries(customer).await;
        let rows: Vec<_> = entries.iter().filter(|entry| entry.trace_id == trace.to_string()).collect();
        let granted = rows.iter().find(|entry| entry.r#move.as_ref().is_some_and(|moved| moved.points == points));
        let entry_id = granted.expect("the reward's entry").entry_id.clone();
        let request = proto::GetEntryRequest { program_id: SHOP.to_owned(), entry_id };
        let entry = service.ledger().get_entry(request).await.unwrap().into_inner().entry.unwrap();
        let written_by = TraceId(u128::from_str_radix(&entry.trace_id, 16).unwrap().to_be_bytes());
        let server = find_server_span(written_by).await;
        assert_eq!(server.name, "goldbook.v1.ActivityService/RecordActivity");
    }
    let earlier = service.entries("anna").await;
    assert!(earlier.iter().any(|entry| entry.trace_id != trace.to_string()), "each call has its own trace");
}

#[tokio::test]
async fn a_grant_takes_four_statements_once_its_program_was_read() {
    let service = Service::start().await;
    service.apply_shop().await;
    service.enrol("anna").await;
    let (trace, request) = traced(grant_reward("anna", 10, "k"));
    service.rewards().grant_reward(request).await.unwrap();
    let Followed { statements, .. } = follow_write(trace).await;
    assert_eq!(in_order(&statements), ["BEGIN", "SELECT accounts", "INSERT ledger_entries", "COMMIT"]);
}

#[tokio::test]
async fn every_entry_has_the_trace_of_the_call_that_wrote_it_when_many_share_a_batch() {
    let service = Service::start().await;
    service.apply_shop().await;
    let mut calls = tokio::task::JoinSet::new();
    for number in 0..50 {
        let (trace, request) = traced(purchase(&format!("c{number}"), "order-1", "10.00", service.clock.now()));
        let mut activities = service.activities();
        calls.spawn(async move {
            activities.record_activity(request).await.unwrap();
            (number, trace)
        });
    }
    for (number, trace) in within("every call", calls.join_all()).await {
        let entries = service.entries(&format!("c{number}")).await;
        assert!(!entries.is_empty());
        assert!(entries.iter().all(|entry| entry.trace_id == trace.to_string()), "c{number}: {entries:#?}");
        let Followed { server, batch, .. } = follow_write(trace).await;
        assert!(links_to(&batch, &server));
    }
}

#[tokio::test]
async fn a_refusal_shows_its_reason_and_is_no_error_of_the_service() {
    let service = Service::start().await;
    service.apply_shop().await;
    let refused =
        proto::RecordActivityRequest { enrol: false, ..purchase("nobody", "order-1", "10.00", service.clock.now()) };
    let (trace, request) = traced(refused);
    let status = service.activities().record_activity(request).await.unwrap_err();
    assert_eq!(reason(&status), "CUSTOMER_NOT_FOUND");
    let server = find_server_span(trace).await;
    assert_eq!(attribute(&server, "goldbook.reason").as_deref(), Some("CUSTOMER_NOT_FOUND"));
    assert_eq!(attribute(&server, "goldbook.program.id").as_deref(), Some(SHOP));
    assert_eq!(attribute(&server, "rpc.response.status_code").as_deref(), Some("NOT_FOUND"));
    assert_eq!(attribute(&server, "error.type"), None);
    assert!(!is_error(&server));
}

#[tokio::test]
async fn get_customer_tier_links_to_the_batch_of_reads_that_answered_it_and_back() {
    let service = Service::start().await;
    service.apply_shop().await;
    service.enrol("anna").await;
    let (trace, request) = traced(proto::GetCustomerTierRequest {
        program_id: SHOP.to_owned(),
        customer_id: "anna".to_owned(),
        as_of: None,
    });
    service.tiers().get_customer_tier(request).await.unwrap();
    let server = find_server_span(trace).await;
    let (batch, statements) = find_spans("the batch of reads", |spans| {
        let batch = spans.iter().find(|span| span.name == "read.batch" && links_to(span, &server))?;
        let below = |span: &&Span| span.trace_id == batch.trace_id && span.parent_span_id == batch.span_id;
        let statements: Vec<Span> = spans.iter().filter(below).cloned().collect();
        Some((batch.clone(), statements))
    })
    .await;
    assert!(links_to(&server, &batch), "the request links to the batch: {:?}", server.links);
    let size = value(&batch.attributes, "goldbook.read.batch.size");
    assert!(matches!(size, Some(Value::IntValue(1..))), "a number: {size:?}");
    assert!(!statements.is_empty());
    assert!(statements.iter().all(|statement| statement.kind() == SpanKind::Client));
}

#[tokio::test]
async fn no_span_tells_about_a_person() {
    // Words that nothing else in the process says.
    let personal = ["cust0mer-x7q", "quentin.x7q@example.org", "Quentinx7q", "+4930123x7q", "order-x7q", "note-x7q"];
    let [customer_id, email, name, phone, activity_id, note] = personal;
    let service = Service::start().await;
    service.apply_shop().await;
    let mut traces = Vec::new();
    let mut follow = |trace: TraceId| traces.push(trace);

    let mut create = create_customer(customer_id, "enrol");
    let customer = create.customer.as_mut().unwrap();
    customer.email = email.to_owned();
    customer.given_name = name.to_owned();
    customer.attributes.insert("phone".to_owned(), phone.to_owned());
    let (trace, request) = traced(create.clone());
    service.customers().create_customer(request).await.unwrap();
    follow(trace);
    let (trace, request) = traced(purchase(customer_id, activity_id, "250.00", service.clock.now()));
    service.activities().record_activity(request).await.unwrap();
    follow(trace);
    let mut grant = grant_reward(customer_id, 10, "key");
    grant.note = note.to_owned();
    let (trace, request) = traced(grant.clone());
    service.rewards().grant_reward(request).await.unwrap();
    follow(trace);
    let read = proto::GetCustomerRequest { program_id: SHOP.to_owned(), customer_id: customer_id.to_owned() };
    let (trace, request) = traced(read);
    service.customers().get_customer(request).await.unwrap();
    follow(trace);

    // Refused, bad, and broken: an error tells no more.
    create.idempotency_key = "other".to_owned();
    let (trace, request) = traced(create.clone());
    service.customers().create_customer(request).await.unwrap_err();
    follow(trace);
    create.customer.as_mut().unwrap().email = format!("{email}\n");
    let (trace, request) = traced(create);
    service.customers().create_customer(request).await.unwrap_err();
    follow(trace);
    let mut connection = service.database.connect(SUPERUSER).await;
    sqlx::raw_sql("ALTER TABLE entry_notes ADD CONSTRAINT broken CHECK (false) NOT VALID")
        .execute(&mut connection)
        .await
        .unwrap();
    grant.idempotency_key = "broken".to_owned();
    let (trace, request) = traced(grant);
    let status = service.rewards().grant_reward(request).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Internal, format!("internal error, trace {trace}").as_str()));
    follow(trace);

    for trace in traces {
        find_server_span(trace).await;
    }
    find_spans("every span", |spans| {
        for span in spans {
            let told = format!("{span:?}");
            for word in personal {
                assert!(!told.contains(word), "{word} in {told}");
            }
        }
        Some(())
    })
    .await;
}

/// Runs a service with this collector; what it says about its traces and its log records when it stops.
async fn serve_with_collector(endpoint: &str) -> [serde_json::Value; 2] {
    let database = Database::create().await;
    let environment = [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint), ("OTEL_BSP_SCHEDULE_DELAY", "50")];
    let serving = Serving::start(&database.options(SERVICE_ROLE), &environment).await;
    let client = Service::at(serving.address, database).await;
    let calls = async {
        client.apply_shop().await;
        client.enrol("anna").await;
        for number in 0..100 {
            assert!(!client.grant("anna", 1, &format!("gift-{number}")).await.unwrap().replayed);
        }
        assert_eq!(client.available("anna").await, 100);
    };
    // An exporter gives up after ten seconds: no call waited for one.
    tokio::time::timeout(std::time::Duration::from_secs(9), calls).await.expect("calls wait for the collector");
    serving.signal(Signal::SIGTERM);
    let (status, log) = serving.wait().await;
    assert!(status.success(), "{status}");
    ["traces flushed", "logs flushed"]
        .map(|message| log.iter().find(|line| line["fields"]["message"] == message).expect(message).clone())
}

/// Nothing was sent, and all of it is counted.
fn assert_all_dropped([traces, logs]: [serde_json::Value; 2]) {
    assert_eq!(traces["fields"]["spans_exported"], 0, "{traces}");
    assert!(traces["fields"]["spans_dropped"].as_u64().unwrap() > 300, "{traces}");
    assert_eq!(logs["fields"]["records_sent"], 0, "{logs}");
    assert!(logs["fields"]["records_dropped"].as_u64().unwrap() > 0, "{logs}");
}

#[tokio::test]
async fn a_collector_that_is_away_costs_spans_and_log_records_and_no_call() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    assert_all_dropped(serve_with_collector(&format!("http://{address}")).await);
}

#[tokio::test]
async fn a_collector_that_hangs_costs_spans_and_log_records_and_no_call() {
    // Connections are taken by the system and answered by nobody.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    assert_all_dropped(serve_with_collector(&format!("http://{}", listener.local_addr().unwrap())).await);
}
