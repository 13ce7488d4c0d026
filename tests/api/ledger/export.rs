//! `ExportEntries`: all entries of a program, once each, of one moment, and at the caller's pace.

use std::collections::BTreeMap;

use futures_util::future::{join, join_all};
use goldbook::embedded_postgres::{OWNER_ROLE, SERVICE_ROLE, SUPERUSER};
use goldbook::proto;
use sqlx::AssertSqlSafe;
use tonic::{Code, Status, Streaming};

use crate::harness::{
    SHOP, START, Service, assert_refused, at, create_customer, grant_reward, purchase, shop, sorted_bad_fields,
};
use crate::rewards::batches::grant_all;
use crate::wait::{until, within};

pub(crate) type Stream = Streaming<proto::ExportEntriesResponse>;

/// The most bytes that a message may have for a client with usual settings.
const USUAL_LIMIT: usize = 4 * 1024 * 1024;

fn of(program_id: &str) -> proto::ExportEntriesRequest {
    proto::ExportEntriesRequest { program_id: program_id.to_owned(), ..Default::default() }
}

async fn begin(service: &Service, request: proto::ExportEntriesRequest) -> Result<Stream, Status> {
    Ok(service.ledger().export_entries(request).await?.into_inner())
}

/// Reads to the end; the sizes of the messages and all entries.
pub(crate) async fn finish(mut stream: Stream) -> Result<(Vec<usize>, Vec<proto::Entry>), Status> {
    let (mut sizes, mut entries) = (Vec::new(), Vec::new());
    while let Some(message) = stream.message().await? {
        assert_eq!((message.entries_total, message.as_of), (0, None));
        assert!(prost::Message::encoded_len(&message) < USUAL_LIMIT / 4);
        sizes.push(message.entries.len());
        entries.extend(message.entries);
    }
    Ok((sizes, entries))
}

/// Exports everything that is asked for; as many entries came as the first message said.
async fn export(service: &Service, request: proto::ExportEntriesRequest) -> Vec<proto::Entry> {
    let mut stream = begin(service, request).await.unwrap();
    let first = stream.message().await.unwrap().unwrap();
    assert_eq!((first.as_of, first.entries.len()), (Some(at(&service.clock.now().to_string())), 0));
    let (sizes, entries) = finish(stream).await.unwrap();
    assert!(sizes.iter().all(|size| (1..=500).contains(size)), "{sizes:?}");
    assert_eq!(usize::try_from(first.entries_total).unwrap(), entries.len());
    entries
}

/// The entries of some customers one list after the other, in the order of an export, without the program's own.
async fn listed(service: &Service, customers: &[&str]) -> Vec<proto::Entry> {
    let mut lists = join_all(customers.iter().map(|customer_id| service.entries(customer_id))).await;
    lists.sort_by(|one, other| one[0].account_id.cmp(&other[0].account_id));
    lists.concat()
}

fn of_customers(entries: Vec<proto::Entry>) -> Vec<proto::Entry> {
    entries.into_iter().filter(|entry| !entry.customer_id.is_empty()).collect()
}

fn place(entry: &proto::Entry) -> (String, i64) {
    (entry.account_id.clone(), entry.account_seq)
}

async fn start_with(customers: &[&str]) -> Service {
    let service = Service::start().await;
    service.apply_shop().await;
    for customer_id in customers {
        service.enrol(customer_id).await;
    }
    service
}

/// Adds so many rows with so many causes each to every customer's account, as the service never would.
pub(crate) async fn add_rows(service: &Service, count: i64, causes: i64) {
    let mut owner = service.database.connect(OWNER_ROLE).await;
    let insert = format!(
        "INSERT INTO ledger_entries
         SELECT account_id, account_seq + n, program_id, kind, from_pocket, to_pocket, points, detail, command_id,
                key_hash, fingerprint, principal_id, actor, reason, policy_version,
                array(SELECT replace(account_id::text, '-', '') || '.1' FROM generate_series(1, {causes})), trace_id,
                effective_at, recorded_at, hash_version, content_hash
         FROM ledger_entries, generate_series(1, {count}) n WHERE kind = 'tier_changed'"
    );
    sqlx::raw_sql(AssertSqlSafe(insert)).execute(&mut owner).await.unwrap();
}

/// What the database's processes that export entries do: state and what they wait for.
async fn processes(service: &Service) -> Vec<(String, Option<String>)> {
    let mut superuser = service.database.connect(SUPERUSER).await;
    sqlx::query_as(
        "SELECT state, wait_event FROM pg_stat_activity WHERE datname = current_database() AND usename = $1
           AND query LIKE 'SELECT e.account_id, e.account_seq%' AND query LIKE '%ORDER BY account_id, account_seq'",
    )
    .bind(SERVICE_ROLE)
    .fetch_all(&mut superuser)
    .await
    .unwrap()
}

/// Waits until the database has nothing to do for so long that only the caller can be what it waits for.
async fn until_held_back(service: &Service) {
    let mut looks = 0;
    until("the database is held back", async || {
        let processes = processes(service).await;
        let is_held = |(_, wait): &(String, Option<String>)| wait.as_deref() == Some("ClientWrite");
        looks = if processes.len() == 1 && processes.iter().all(is_held) { looks + 1 } else { 0 };
        (looks == 20).then_some(())
    })
    .await;
}

async fn until_nothing_runs(service: &Service) {
    until("no export runs", async || processes(service).await.is_empty().then_some(())).await;
}

#[tokio::test]
async fn export_entries_tells_every_entry_once_as_list_entries_does() {
    let service = start_with(&["anna", "ben", "cleo"]).await;
    for (customer_id, amount) in [("cleo", "250.00"), ("anna", "20.00"), ("dan", "600.00")] {
        service.purchase(customer_id, "order-1", amount).await.unwrap();
    }
    let count = service.count_entries().await;
    let entries = export(&service, of(SHOP)).await;
    assert_eq!(i64::try_from(entries.len()).unwrap(), count);
    assert!(entries.is_sorted_by(|one, other| place(one) < place(other)));
    let own: Vec<_> = entries.iter().filter(|entry| entry.customer_id.is_empty()).cloned().collect();
    assert_eq!(own.len(), 1);
    assert_eq!(own[0].kind(), proto::EntryKind::ProgramApplied);
    assert_eq!(of_customers(entries), listed(&service, &["anna", "ben", "cleo", "dan"]).await);
}

#[tokio::test]
async fn export_entries_tells_those_of_a_half_open_period() {
    let service = start_with(&["anna"]).await;
    for (now, key) in [("2026-01-16T12:00:00Z", "a"), ("2026-01-17T12:00:00Z", "b"), ("2026-01-18T12:00:00Z", "c")] {
        service.set_clock(now);
        service.grant("anna", 5, key).await.unwrap();
    }
    let period = async |start: Option<&str>, end: Option<&str>| {
        let request = proto::ExportEntriesRequest { start_time: start.map(at), end_time: end.map(at), ..of(SHOP) };
        let entries = of_customers(export(&service, request).await);
        entries.iter().map(|entry| entry.account_seq).collect::<Vec<_>>()
    };
    let (first, last) = ("2026-01-16T12:00:00Z", "2026-01-18T12:00:00Z");
    assert_eq!(period(None, None).await, [1, 2, 3, 4, 5]);
    assert_eq!(period(Some(first), None).await, [3, 4, 5]);
    assert_eq!(period(Some(first), Some(last)).await, [3, 4]);
    assert_eq!(period(None, Some(first)).await, [1, 2]);
    assert_eq!(period(Some("2026-01-16T12:00:00.000001Z"), Some("2026-01-18T12:00:00.000001Z")).await, [4, 5]);
    assert_eq!(period(Some("2027-01-01T00:00:00Z"), Some("2028-01-01T00:00:00Z")).await, [] as [i64; 0]);
}

#[tokio::test]
async fn export_entries_does_not_mix_programs() {
    let service = start_with(&["anna", "ben"]).await;
    service.apply(proto::Program { program_id: "outlet".to_owned(), ..shop() }).await.unwrap();
    let request = proto::CreateCustomerRequest { program_id: "outlet".to_owned(), ..create_customer("anna", "k") };
    service.customers().create_customer(request).await.unwrap();
    let (shop, outlet) = (export(&service, of(SHOP)).await, export(&service, of("outlet")).await);
    assert_eq!((shop.len(), outlet.len()), (5, 3));
    assert!(shop.iter().all(|entry| entry.program_id == SHOP));
    assert!(outlet.iter().all(|entry| entry.program_id == "outlet"));
}

#[tokio::test]
async fn export_entries_names_no_customer_who_was_forgotten() {
    let service = start_with(&["anna", "ben"]).await;
    let mut owner = service.database.connect(OWNER_ROLE).await;
    sqlx::query("DELETE FROM customers WHERE customer_id = 'ben'").execute(&mut owner).await.unwrap();
    let entries = export(&service, of(SHOP)).await;
    let mut customers: Vec<&str> = entries.iter().map(|entry| entry.customer_id.as_str()).collect();
    customers.sort_unstable();
    assert_eq!(customers, ["", "", "", "anna", "anna"]);
}

#[tokio::test]
async fn export_entries_tells_thousands_in_several_messages() {
    let customers: Vec<String> = (0..20).map(|i| format!("c-{i}")).collect();
    let customers: Vec<&str> = customers.iter().map(String::as_str).collect();
    let service = start_with(&customers).await;
    let grants = (0..3_000).map(|i| grant_reward(customers[i % 20], 5, &format!("k-{i}")));
    grant_all(&service, grants.collect()).await;
    let mut stream = begin(&service, of(SHOP)).await.unwrap();
    assert_eq!(stream.message().await.unwrap().unwrap().entries_total, 3_041);
    let (sizes, entries) = finish(stream).await.unwrap();
    assert!(sizes.len() >= 7, "{sizes:?}");
    assert_eq!(entries.len(), 3_041);
    assert_eq!(of_customers(entries), listed(&service, &customers).await);
}

#[tokio::test]
async fn export_entries_bounds_the_bytes_of_a_message() {
    let service = start_with(&["anna"]).await;
    // 70 kB each.
    add_rows(&service, 200, 2_000).await;
    let mut stream = begin(&service, of(SHOP)).await.unwrap();
    assert_eq!(stream.message().await.unwrap().unwrap().entries_total, 203);
    let (sizes, entries) = finish(stream).await.unwrap();
    assert!(sizes.len() > 40, "{sizes:?}");
    assert_eq!(entries.len(), 203);
}

#[tokio::test]
async fn export_entries_is_of_one_moment_while_writes_go_on() {
    let service = start_with(&["anna"]).await;
    // Each purchase that earns points is a command of two entries at least.
    let buy = async |i: usize| {
        let bought = purchase(&format!("c-{}", i % 7), &format!("order-{i}"), "30.00", service.clock.now());
        service.activities().record_activity(bought).await.unwrap();
    };
    let writes = async {
        for i in (0..400).step_by(4) {
            join_all((i..i + 4).map(buy)).await;
        }
    };
    let reads = async {
        let mut exports = Vec::new();
        for _ in 0..8 {
            exports.push(export(&service, of(SHOP)).await);
        }
        exports
    };
    let ((), exports) = join(writes, reads).await;
    let commands = |entries: &[proto::Entry]| {
        let mut counts = BTreeMap::new();
        for entry in entries {
            *counts.entry(entry.command_id.clone()).or_insert(0) += 1;
        }
        counts
    };
    let whole = commands(&export(&service, of(SHOP)).await);
    let mut before = 0;
    for entries in exports {
        for (command_id, count) in commands(&entries) {
            assert_eq!(count, whole[&command_id], "a part of {command_id}");
        }
        assert!(entries.is_sorted_by(|one, other| place(one) < place(other)));
        // No number is missing in between.
        for pair in entries.windows(2).filter(|pair| pair[0].account_id == pair[1].account_id) {
            assert_eq!(pair[0].account_seq + 1, pair[1].account_seq);
        }
        assert!(entries.len() >= before);
        before = entries.len();
    }
}

#[tokio::test]
async fn export_entries_reads_no_faster_than_the_caller_and_keeps_its_moment() {
    let service = start_with(&["anna", "ben"]).await;
    service.set_clock("2026-01-16T12:00:00Z");
    add_rows(&service, 6_000, 10).await;
    let mut stream = begin(&service, of(SHOP)).await.unwrap();
    let first = stream.message().await.unwrap().unwrap();
    assert_eq!((first.entries_total, first.as_of), (12_005, Some(at("2026-01-16T12:00:00Z"))));
    until_held_back(&service).await;
    // What is written now comes too late, and does not wait.
    service.purchase("zoe", "order-1", "250.00").await.unwrap();
    service.apply(proto::Program { display_name: "Other".to_owned(), ..shop() }).await.unwrap();
    let (_, entries) = finish(stream).await.unwrap();
    assert_eq!(entries.len(), 12_005);
    assert!(entries.is_sorted_by(|one, other| place(one) < place(other)));
    assert!(entries.iter().all(|entry| entry.effective_at == Some(at(START))));
    until_nothing_runs(&service).await;
}

#[tokio::test]
async fn export_entries_lets_two_run_and_frees_the_place_of_who_goes_away() {
    let service = start_with(&["anna"]).await;
    add_rows(&service, 8_000, 10).await;
    let mut running = Vec::new();
    for _ in 0..2 {
        running.push(begin(&service, of(SHOP)).await.unwrap());
    }
    let refused = begin(&service, of(SHOP)).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(refused.message().starts_with("2 exports run already"), "{refused:?}");
    assert!(tonic_types::StatusExt::get_details_retry_info(&refused).is_some());
    // Whoever has read a part goes as well as who has read nothing.
    running[0].message().await.unwrap();
    running[0].message().await.unwrap();
    for _ in 0..3 {
        running.remove(0);
        let next = async || begin(&service, of(SHOP)).await.ok();
        running.push(until("a free place", next).await);
    }
    // Three exports were given before the first of these, and each is an entry; those that were refused are none.
    for (stream, before) in running.into_iter().zip(3..) {
        let (_, entries) = finish_after_first(stream).await;
        assert_eq!(entries.len(), 8_003 + before);
    }
    until_nothing_runs(&service).await;
    // One that ended has freed its place when the caller sees the end.
    for _ in 0..2 {
        let both = join(begin(&service, of(SHOP)), begin(&service, of(SHOP))).await;
        for stream in [both.0, both.1] {
            finish_after_first(stream.unwrap()).await;
        }
    }
}

async fn finish_after_first(mut stream: Stream) -> (Vec<usize>, Vec<proto::Entry>) {
    within("the first message", stream.message()).await.unwrap().unwrap();
    within("the rest", finish(stream)).await.unwrap()
}

#[tokio::test]
async fn export_entries_does_not_end_as_if_complete_when_the_database_breaks() {
    let service = start_with(&["anna"]).await;
    add_rows(&service, 8_000, 10).await;
    let mut stream = begin(&service, of(SHOP)).await.unwrap();
    stream.message().await.unwrap().unwrap();
    until_held_back(&service).await;
    let mut superuser = service.database.connect(SUPERUSER).await;
    sqlx::query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = current_database() AND wait_event = 'ClientWrite'",
    )
    .execute(&mut superuser)
    .await
    .unwrap();
    let broken = within("the end", finish(stream)).await.unwrap_err();
    assert_eq!(broken.code(), Code::Unavailable, "{broken:?}");
    // With the entry of the export that broke.
    assert_eq!(export(&service, of(SHOP)).await.len(), 8_003 + 1);
}

#[tokio::test]
async fn export_entries_refuses_bad_fields_and_an_unknown_program() {
    let service = start_with(&[]).await;
    let bad = |program_id: &str, start_time, end_time| proto::ExportEntriesRequest {
        program_id: program_id.to_owned(),
        start_time,
        end_time,
        resume_token: String::new(),
    };
    let nanos = |nanos| Some(prost_types::Timestamp { seconds: 0, nanos });
    let refused = begin(&service, bad("S", Some(at(START)), Some(at(START)))).await;
    assert_eq!(sorted_bad_fields(refused), ["end_time", "program_id"]);
    let refused = begin(&service, bad("", nanos(-1), nanos(1_000_000_000))).await;
    assert_eq!(sorted_bad_fields(refused), ["end_time", "program_id", "start_time"]);
    // Refusals hold no place.
    for _ in 0..5 {
        assert_refused(begin(&service, of("nowhere")).await, Code::NotFound, "PROGRAM_NOT_FOUND");
    }
    assert_eq!(export(&service, of(SHOP)).await.len(), 1);
}
