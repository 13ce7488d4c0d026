//! Where the wire and SQL may appear, which files are pure, and who may import a file of SQL.

use crate::reader::{Breach, Exception, Named, Source};
use crate::{SOURCE, hold};

/// Crates of the wire. Whatever they generate or carry is a caller's form of things, not ours.
const WIRE: &[&str] = &[
    "tonic",
    "tonic_types",
    "tonic_health",
    "tonic_reflection",
    "prost",
    "prost_types",
    "crate::proto",
    "goldbook_api",
];
/// Where a proto may be seen.
const WIRE_PLACES: &[&str] =
    &["*/grpc.rs", "*/grpc/*", "proto.rs", "proto/*", "status.rs", "server.rs", "telemetry/*", "cli/*"];
/// What the interface says about single values is no message.
const WIRE_EXCEPTIONS: &[Exception] = &[
    Exception { file: "ids.rs", path: "goldbook_api::values", why: "the form of names" },
    Exception { file: "clock.rs", path: "goldbook_api::values", why: "the last instants" },
    Exception { file: "money.rs", path: "goldbook_api::values", why: "which sums are exact" },
    Exception { file: "programs/points.rs", path: "goldbook_api::values", why: "how long a hold lasts by default" },
];
/// Names by which a statement is made.
const SQL: &[&str] = &[
    "query!",
    "query_as!",
    "query_scalar!",
    "query_file!",
    "query_file_as!",
    "query_file_scalar!",
    "sqlx::query",
    "sqlx::query_as",
    "sqlx::query_scalar",
    "sqlx::query_with",
    "sqlx::raw_sql",
    "sqlx::QueryBuilder",
    "sqlx::migrate!",
    "raw_sql",
    "QueryBuilder",
];
const SQL_PLACES: &[&str] = &["*/store.rs", "*/store/*", "database.rs"];

/// Where I/O, waiting and the present belong. Every other file is pure.
const IMPURE_PLACES: &[&str] = &[
    // The wire.
    "*/grpc.rs",
    "*/grpc/*",
    "proto.rs",
    "proto/*",
    "status.rs",
    // Use cases, and those that read in bulk.
    "*/mod.rs",
    "ledger/export.rs",
    "ledger/statement.rs",
    "liability/summing.rs",
    "audit/chunk.rs",
    "audit/repair.rs",
    // Stores.
    "*/store.rs",
    "*/store/*",
    // The path of a write: from the queue to the commit, and what runs beside it.
    "book/intake.rs",
    "book/job.rs",
    "book/lane/*",
    "book/batch/*",
    "book/capability.rs",
    "book/reading.rs",
    "book/worker.rs",
    // The doors, and what the service runs on.
    "main.rs",
    "server.rs",
    "database.rs",
    "embedded_postgres.rs",
    "telemetry/*",
    "cli/*",
];

/// What a rule has no business with: I/O, waiting, the present, chance.
const IMPURE: &[&str] = &[
    "sqlx",
    "tokio",
    "futures_util",
    "std::fs",
    "std::net",
    "std::io",
    "std::env",
    "std::process",
    "std::thread",
    "rand",
    "crate::clock::Clock",
    "crate::database",
    "async",
    "await",
];

fn outside(sources: &[Source], places: &[&str], forbidden: &[&str], exceptions: &[Exception]) -> Vec<Breach> {
    let others = sources.iter().filter(|source| !source.is_in(places));
    others.flat_map(|source| source.breaches(|named| forbidden.iter().any(|it| named.holds(it)), exceptions)).collect()
}

fn wire_leaks(sources: &[Source]) -> Vec<Breach> {
    outside(sources, WIRE_PLACES, WIRE, WIRE_EXCEPTIONS)
}

#[test]
fn tonic_and_generated_types_stay_on_the_wire() {
    let bad = [
        ("tiers/mod.rs", "use tonic::Status;"),
        ("tiers/store.rs", "fn f() -> Result<(), tonic::Status> { todo!() }"),
        ("book/batch.rs", "use crate::{ids, proto::Entry};"),
        ("rewards/mod.rs", "use super::proto;"),
        ("customers/model.rs", "use crate::proto::fields::{PartialDate, parse_money};"),
        ("money.rs", "use goldbook_api::google::Money;"),
        ("tiers/model.rs", "use goldbook_api::values::check_name;"),
        ("paging.rs", "let code = prost_types::Timestamp::default();"),
    ];
    let good = [
        ("tiers/grpc.rs", "use tonic::Status;"),
        ("proto/fields.rs", "use tonic::Request;"),
        (
            "tiers/mod.rs",
            "// use tonic::Status;\n/* tonic::Status /* prost */ */ const S: &str = r#\"tonic::\"Status\"#;",
        ),
    ];
    hold("the wire is seen in grpc.rs and at the doors only", wire_leaks, &SOURCE, &bad, &good);
}

fn stray_statements(sources: &[Source]) -> Vec<Breach> {
    outside(sources, SQL_PLACES, SQL, &[])
}

#[test]
fn sql_is_written_in_stores_only() {
    let bad = [
        ("tiers/mod.rs", "sqlx::query!(\"SELECT 1\").fetch_one(c)"),
        ("tiers/mod.rs", "use sqlx::query_as; fn f() { query_as!(Row, \"SELECT 1\") }"),
        ("server.rs", "use sqlx::{PgPool, raw_sql};"),
        ("book/batch.rs", "let sql = sqlx::query_scalar::<_, i64>(text);"),
        ("store.rs", "sqlx::query(\"SELECT 1\")"),
    ];
    let good = [
        ("tiers/store.rs", "sqlx::query!(\"SELECT 1\")"),
        ("database.rs", "sqlx::raw_sql(\"SELECT 1\")"),
        ("tiers/mod.rs", "use sqlx::PgPool; // sqlx::query!\nlet query = \"sqlx::query!\";"),
    ];
    hold("SQL is written in store.rs files and database.rs", stray_statements, &SOURCE, &bad, &good);
}

fn impure_files(sources: &[Source]) -> Vec<Breach> {
    let is_impure = |named: &Named| IMPURE.iter().any(|it| named.holds(it));
    let pure = sources.iter().filter(|source| !source.is_in(IMPURE_PLACES));
    pure.flat_map(|source| source.breaches(is_impure, &[])).collect()
}

#[test]
fn every_file_is_pure_but_those_of_a_few_kinds() {
    let bad = [
        ("tiers/model.rs", "use sqlx::PgConnection;"),
        ("tiers/state.rs", "async fn decide() {}"),
        ("points/holds/commands.rs", "let x = later().await;"),
        ("points/lots/apply.rs", "use std::{collections::BTreeMap, fs};"),
        ("book/decision.rs", "fn f(clock: &crate::clock::Clock) {}"),
        ("money.rs", "use tokio::time::Instant;"),
        ("a_new_room/rules.rs", "let code = rand::random_range(0..9);"),
    ];
    let good = [
        ("tiers/mod.rs", "async fn f() {}"),
        ("points/store/load.rs", "async fn f() {}"),
        ("tiers/model.rs", "use std::collections::BTreeMap; let epoch = Timestamp::UNIX_EPOCH; is_in_future(at, now)"),
    ];
    hold("rules do no I/O, do not wait and read no clock", impure_files, &SOURCE, &bad, &good);
}

/// Imports of a file of SQL: by a rule, or by another room that is not a file of SQL itself.
fn imports_of_sql(sources: &[Source]) -> Vec<Breach> {
    let others = sources.iter().filter(|source| !source.is_in(SQL_PLACES) && !source.file.starts_with("cli/"));
    let breaches = |source: &Source| {
        let (room, may_use_its_own) = (source.room().to_owned(), source.is_in(IMPURE_PLACES));
        let is_wrong = move |named: &Named| match named.segments.as_slice() {
            [top, to, rest @ ..] if top == "crate" && rest.iter().any(|segment| segment == "store") => {
                *to != room || !may_use_its_own
            }
            [own, _, ..] if own == "store" => !may_use_its_own,
            _ => false,
        };
        source.breaches(is_wrong, &[])
    };
    others.flat_map(breaches).collect()
}

#[test]
fn files_of_sql_are_imported_by_their_own_rooms_use_cases_and_by_sql() {
    let bad = [
        ("points/grants/model.rs", "use crate::points::store::load;"),
        ("tiers/state.rs", "use super::store::read_standings;"),
        ("tiers/mod.rs", "use crate::programs::store::read_version;"),
        ("audit/model.rs", "use crate::book::store::scan::ScannedEntry;"),
    ];
    let good = [
        ("tiers/mod.rs", "use store::FoundStanding; use super::tiers::store::f;"),
        ("tiers/store.rs", "use crate::book::store::EntryRow;"),
        ("points/store/load.rs", "use crate::book::store::find_keys;"),
        ("tiers/mod.rs", "use crate::programs::read_version;"),
    ];
    hold("rules and other rooms import no file of SQL", imports_of_sql, &SOURCE, &bad, &good);
}

#[test]
fn every_exception_is_still_needed() {
    for Exception { file, path, why } in WIRE_EXCEPTIONS {
        let exception = Exception { file, path, why };
        let is_used = |source: &Source| source.named.iter().any(|named| source.excepts(&exception, named));
        assert!(SOURCE.iter().any(is_used), "{file} no longer names {path} ({why}): take it off the list");
    }
}
