//! Where the wire may appear, and which files are pure.

use crate::reader::{Breach, Exception, Named, Source};
use crate::{RANKS, SOURCE, hold, outside};

/// Crates of the wire. Whatever they generate or carry is a caller's form of things, not ours.
const WIRE: &[&str] = &[
    "tonic",
    "tonic_types",
    "tonic_health",
    "tonic_reflection",
    "tonic_web",
    "prost",
    "prost_types",
    "crate::proto",
    "goldbook_api",
];
/// Where a proto may be seen.
const WIRE_PLACES: &[&str] = &[
    "*/grpc.rs",
    "*/grpc/*",
    "proto.rs",
    "proto/*",
    "status.rs",
    "server/*",
    "listener/*",
    "telemetry/*",
    "web/*",
    "wire/*",
    "cli/*",
    "fuzzing/*",
];
/// What the interface says about single values is no message.
const WIRE_EXCEPTIONS: &[Exception] = &[
    Exception { file: "ids.rs", path: "goldbook_api::values", why: "the form of names" },
    Exception { file: "clock.rs", path: "goldbook_api::values", why: "the last instants" },
    Exception { file: "money.rs", path: "goldbook_api::values", why: "which sums are exact" },
    Exception { file: "programs/points.rs", path: "goldbook_api::values", why: "how long a hold lasts by default" },
    Exception { file: "programs/model.rs", path: "goldbook_api::zones", why: "the one place of time zones" },
    Exception { file: "points/amount.rs", path: "goldbook_api::values", why: "how many points one entry moves" },
];
/// Where I/O, waiting and the present belong. Every other file is pure.
const IMPURE_PLACES: &[&str] = &[
    // The wire.
    "*/grpc.rs",
    "*/grpc/*",
    "proto.rs",
    "proto/*",
    "status.rs",
    "web/*",
    "wire/*",
    // Use cases that read in bulk. The others are the `mod.rs` of each room.
    "ledger/export.rs",
    "ledger/statement.rs",
    "privacy/reading.rs",
    "tiers/reading.rs",
    "tiers/reevaluation/worker.rs",
    "benefits/packages/worker.rs",
    "tiers/simulation.rs",
    "tiers/statistics.rs",
    "tiers/walking.rs",
    "segments/reading.rs",
    "value/reading.rs",
    "value/classes/asking.rs",
    "value/classes/measuring.rs",
    "value/classes/worker.rs",
    "liability/summing.rs",
    "customers/retention/worker.rs",
    "audit/chunk.rs",
    "audit/pass.rs",
    "audit/repair.rs",
    // Stores.
    "*/store.rs",
    "*/store/*",
    // The path of a write: from the queue to the commit, and what runs beside it.
    "book/intake.rs",
    "book/job.rs",
    "book/lane/*",
    "book/batch.rs",
    "book/batch/load.rs",
    "book/batch/names.rs",
    "book/batch/write.rs",
    "book/capability.rs",
    "book/past.rs",
    "book/reading.rs",
    "book/instants.rs",
    "book/worker.rs",
    // The doors, and what the service runs on.
    "main.rs",
    "admin.rs",
    "rounds.rs",
    "server/*",
    "listener/*",
    "access/allowance.rs",
    "database/*",
    "embedded_postgres.rs",
    "telemetry/*",
    "cli/*",
    "fuzzing/*",
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

pub(crate) fn is_impure_place(source: &Source) -> bool {
    let is_use_cases = || RANKS.iter().any(|(room, _)| source.file == format!("{room}/mod.rs"));
    source.is_in(IMPURE_PLACES) || is_use_cases()
}

fn impure_files(sources: &[Source]) -> Vec<Breach> {
    let is_impure = |named: &Named| IMPURE.iter().any(|it| named.holds(it));
    let pure = sources.iter().filter(|source| !is_impure_place(source));
    pure.flat_map(|source| source.breaches(is_impure, &[])).collect()
}

#[test]
fn every_file_is_pure_but_those_of_a_few_kinds() {
    let bad = [
        ("tiers/model.rs", "use sqlx::PgConnection;"),
        ("tiers/state.rs", "async fn decide() {}"),
        ("points/holds/commands.rs", "let x = later().await;"),
        ("points/lots/apply.rs", "use std::{collections::BTreeMap, fs};"),
        ("points/grants/mod.rs", "async fn grant() {}"),
        ("book/batch/decide.rs", "async fn decide_all() {}"),
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

#[test]
fn every_exception_is_still_needed() {
    for Exception { file, path, why } in WIRE_EXCEPTIONS {
        let exception = Exception { file, path, why };
        let is_used = |source: &Source| source.named.iter().any(|named| source.excepts(&exception, named));
        assert!(SOURCE.iter().any(is_used), "{file} no longer names {path} ({why}): take it off the list");
    }
}
