//! `goldbook export`: what it writes parses back, is complete, and is there only when it is.

use std::collections::BTreeMap;
use std::path::Path;

use goldbook::embedded_postgres::SERVICE_ROLE;
use goldbook::proto;
use tokio::io::{AsyncBufReadExt as _, BufReader};

use super::export::add_rows;
use crate::binary::{Ended, Serving, goldbook, run};
use crate::harness::{Database, SHOP, Service, create_customer, instant, purchase};
use crate::wait::within;

/// A customer whose id has all that CSV needs quotes for.
const ANNA: &str = "anna \"the first\", of 2";

/// A service in another process with the shop and two customers, and its address.
async fn start() -> (Serving, Service, String) {
    let database = Database::create().await;
    let serving = Serving::start(&database.options(SERVICE_ROLE), &[]).await;
    let service = Service::at(serving.address, database).await;
    service.apply_shop().await;
    service.customers().create_customer(create_customer(ANNA, "k")).await.unwrap();
    service.enrol("ben").await;
    let address = format!("http://{}", serving.address);
    (serving, service, address)
}

async fn export(address: &str, args: &[&str]) -> Ended {
    run(&[&["export", "--address", address, "--program", SHOP], args].concat()).await
}

/// Every entry, as the interface tells it, by id.
async fn expected(service: &Service) -> BTreeMap<String, proto::Entry> {
    let request = proto::ExportEntriesRequest { program_id: SHOP.to_owned(), ..Default::default() };
    let mut stream = service.ledger().export_entries(request).await.unwrap().into_inner();
    let mut entries = BTreeMap::new();
    while let Some(message) = stream.message().await.unwrap() {
        entries.extend(message.entries.into_iter().map(|entry| (entry.entry_id.clone(), entry)));
    }
    entries
}

fn rows_of_csv(text: &str) -> Vec<BTreeMap<String, String>> {
    csv::Reader::from_reader(text.as_bytes()).deserialize().map(Result::unwrap).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn word(name: &str, prefix: &str) -> String {
    name.strip_prefix(prefix).unwrap().to_lowercase()
}

#[tokio::test]
async fn export_writes_csv_that_parses_back_to_every_field_of_every_entry() {
    let (_serving, service, address) = start().await;
    service.purchase(ANNA, "order-1", "250.00").await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("entries.csv");
    let ended = export(&address, &["--output", file.to_str().unwrap()]).await;
    assert!(ended.status.success(), "{}", ended.stderr);
    assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), ("", "8 entries exported\n"));
    let text = std::fs::read_to_string(&file).unwrap();
    let entries = expected(&service).await;
    let rows = rows_of_csv(&text);
    // Since then there is an entry that tells of the export.
    assert_eq!((rows.len(), entries.len()), (8, 9));
    for row in &rows {
        let entry = &entries[&row["entry_id"]];
        let pocket = |pocket: proto::Pocket| word(pocket.as_str_name(), "POCKET_");
        let moved = entry.r#move.map(|moved| [pocket(moved.from()), pocket(moved.to()), moved.points.to_string()]);
        let [from, to, points] = moved.unwrap_or_default();
        let told = |column: &str| {
            let at: jiff::Timestamp = row[column].parse().unwrap();
            Some(instant(at))
        };
        assert_eq!((told("effective_at"), told("recorded_at")), (entry.effective_at, entry.recorded_at));
        let others = BTreeMap::from([
            ("entry_id", entry.entry_id.clone()),
            ("account_id", entry.account_id.clone()),
            ("account_seq", entry.account_seq.to_string()),
            ("program_id", SHOP.to_owned()),
            ("customer_id", entry.customer_id.clone()),
            ("kind", word(entry.kind().as_str_name(), "ENTRY_KIND_")),
            ("from_pocket", from),
            ("to_pocket", to),
            ("points", points),
            ("principal_id", entry.principal_id.clone()),
            ("actor", word(entry.actor().as_str_name(), "ACTOR_")),
            ("reason", word(entry.reason().as_str_name(), "ENTRY_REASON_")),
            ("policy_version", entry.policy_version.to_string()),
            ("cause_entry_ids", entry.cause_entry_ids.join(" ")),
            ("command_id", entry.command_id.clone()),
            ("trace_id", entry.trace_id.clone()),
            ("content_hash", hex(&entry.content_hash)),
            ("detail", entry.detail_json.clone()),
        ]);
        assert_eq!(row.len(), others.len() + 2);
        for (column, value) in others {
            assert_eq!(row[column], value, "{column}");
        }
    }
    assert_eq!(rows.iter().filter(|row| row["customer_id"] == ANNA).count(), 5);
    // To standard output come the same bytes, of what was there before the first export.
    let first_export = entries.values().find(|entry| entry.kind() == proto::EntryKind::EntriesExported).unwrap();
    let at = first_export.effective_at.unwrap();
    let until = jiff::Timestamp::new(at.seconds, at.nanos).unwrap().to_string();
    let shown = export(&address, &["--format", "csv", "--until", &until]).await;
    assert_eq!((shown.stdout, shown.stderr), (text, ended.stderr));
}

#[tokio::test]
async fn export_writes_json_lines_that_parse_back_and_are_complete() {
    let (_serving, service, address) = start().await;
    add_rows(&service, 1_000, 2).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("entries.jsonl");
    std::fs::write(&file, "older").unwrap();
    let ended = export(&address, &["--format", "jsonl", "--output", file.to_str().unwrap()]).await;
    assert!(ended.status.success(), "{}", ended.stderr);
    assert_eq!(ended.stderr, "2,005 entries exported\n");
    let text = std::fs::read_to_string(&file).unwrap();
    let entries = expected(&service).await;
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2_005);
    let mut seen = Vec::new();
    for line in &lines {
        let entry = &entries[line["entry_id"].as_str().unwrap()];
        assert_eq!(line["account_seq"], entry.account_seq);
        assert_eq!(line["content_hash"], hex(&entry.content_hash));
        assert_eq!(line["cause_entry_ids"], serde_json::json!(entry.cause_entry_ids));
        assert_eq!(line["detail"], serde_json::from_str::<serde_json::Value>(&entry.detail_json).unwrap());
        let customer_id = Some(entry.customer_id.as_str()).filter(|customer_id| !customer_id.is_empty());
        assert_eq!(line["customer_id"].as_str(), customer_id);
        seen.push((entry.account_id.clone(), entry.account_seq));
    }
    assert!(seen.is_sorted_by(|one, other| one < other));
    assert_eq!(names(folder.path()), ["entries.jsonl"]);
}

#[tokio::test]
async fn export_tells_a_period_and_days_begin_where_the_program_is() {
    let (_serving, service, address) = start().await;
    for (activity_id, happened_at) in [("a", "2024-03-01T04:59:59Z"), ("b", "2024-03-01T05:00:00Z")] {
        let mut bought = purchase(&format!("c-{activity_id}"), activity_id, "5.00", happened_at.parse().unwrap());
        bought.as_history = true;
        service.activities().record_activity(bought).await.unwrap();
    }
    let customers = async |args: &[&str]| {
        let shown = export(&address, args).await;
        assert!(shown.status.success(), "{}", shown.stderr);
        let mut customers: Vec<String> =
            rows_of_csv(&shown.stdout).into_iter().map(|mut row| row.remove("customer_id").unwrap()).collect();
        customers.sort();
        customers.dedup();
        customers
    };
    // Midnight in New York.
    assert_eq!(customers(&["--until", "2024-03-01"]).await, ["c-a"]);
    assert_eq!(customers(&["--from", "2024-03-01", "--until", "2024-03-02"]).await, ["c-b"]);
    assert_eq!(customers(&["--from", "2024-03-01T04:59:59Z", "--until", "2024-03-01T05:00:00Z"]).await, ["c-a"]);
    assert_eq!(customers(&["--until", "2000-01-01"]).await, [] as [&str; 0]);
}

fn names(folder: &Path) -> Vec<String> {
    let files = std::fs::read_dir(folder).unwrap();
    files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect()
}

#[tokio::test]
async fn export_that_fails_leaves_what_was_there_and_says_so_by_its_exit_code() {
    let (_serving, _service, address) = start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("entries.csv");
    std::fs::write(&file, "older").unwrap();
    let output = file.to_str().unwrap();
    let nowhere = ["export", "--address", &address, "--program", "nowhere", "--output", output];
    let missing = folder.path().join("missing/entries.csv");
    let late = "--until is 9999-12-31, later than 9999-12-30T22:00:00Z";
    let cases: [(Ended, i32, &str); 6] = [
        (run(&nowhere).await, 1, "PROGRAM_NOT_FOUND"),
        (export(&address, &["--output", output, "--from", "yesterday"]).await, 2, "--from is yesterday"),
        (export(&address, &["--from", "2024-01-02", "--until", "2024-01-02"]).await, 2, "--until must be later"),
        (export(&address, &["--until", "9999-12-31"]).await, 2, late),
        (export(&address, &["--output", missing.to_str().unwrap()]).await, 2, "No such file or directory"),
        (export(&address, &["--format", "xml"]).await, 2, "possible values: csv, jsonl"),
    ];
    for (ended, code, told) in cases {
        assert_eq!(ended.status.code(), Some(code), "{}", ended.stderr);
        assert!(ended.stderr.contains(told), "{told} in {}", ended.stderr);
        assert_eq!(ended.stdout, "");
    }
    assert_eq!(
        (names(folder.path()), std::fs::read(&file).unwrap()),
        (vec!["entries.csv".to_owned()], b"older".into())
    );
}

#[tokio::test]
async fn export_ends_quietly_when_nobody_reads_its_output_any_more() {
    let (_serving, service, address) = start().await;
    add_rows(&service, 5_000, 2).await;
    for format in ["csv", "jsonl"] {
        let args = ["export", "--address", &address, "--program", SHOP, "--format", format];
        let mut child = goldbook().args(args).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = within("the first line", lines.next_line()).await.unwrap().unwrap();
        assert!(line.contains("entry_id"), "{line}");
        drop(lines);
        let ended = within("the end", child.wait_with_output()).await.unwrap();
        assert_eq!(String::from_utf8(ended.stderr).unwrap(), "");
        assert!(ended.status.success(), "{:?}", ended.status);
    }
}
