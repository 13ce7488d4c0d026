//! The rules of ARCHITECTURE.md that source code can break, held by reading it: where the wire, SQL and I/O may
//! appear, and which room and which file may know which. Each rule is tried on a source that breaks it too, so that
//! none passes on everything.
//!
//! The reader knows Rust's comments, strings and paths, and follows `use` trees; it does not follow renames or macros.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test's helper fails as the test does, by a panic")]

#[path = "architecture/capability_page.rs"]
mod capability_page;
#[path = "architecture/client_commands.rs"]
mod client_commands;
#[path = "architecture/commands.rs"]
mod commands;
#[path = "architecture/names.rs"]
mod names;
#[path = "architecture/pages.rs"]
mod pages;
#[path = "architecture/reader.rs"]
mod reader;
#[path = "architecture/sql.rs"]
mod sql;
#[path = "architecture/tree.rs"]
mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use reader::{Breach, Exception, Named, Source, module_of, read_folder};

/// A room's rank: it may import rooms of a lower rank, and none of its own. `ledger` reads what all others wrote, and
/// `audit` tells whether it is right.
const RANKS: &[(&str, u8)] = &[
    ("audit", 7),
    ("activities", 6),
    ("benefits", 5),
    ("referrals", 5),
    ("liability", 5),
    ("imports", 5),
    ("rewards", 5),
    ("points", 4),
    ("tiers", 4),
    ("ledger", 4),
    ("customers", 3),
    ("programs", 2),
    ("book", 1),
];

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
/// Where I/O, waiting and the present belong. Every other file is pure.
const IMPURE_PLACES: &[&str] = &[
    // The wire.
    "*/grpc.rs",
    "*/grpc/*",
    "proto.rs",
    "proto/*",
    "status.rs",
    // Use cases that read in bulk. The others are the `mod.rs` of each room.
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
    "book/batch.rs",
    "book/batch/load.rs",
    "book/batch/names.rs",
    "book/batch/write.rs",
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

/// The source of the service.
static SOURCE: LazyLock<Vec<Source>> = LazyLock::new(|| read_folder("src", ""));

/// The tests: those in `tests/`, and the files of tests in the source.
static TESTS: LazyLock<Vec<Source>> = LazyLock::new(|| {
    let mut tests = read_folder("tests", "tests/");
    tests.extend(read_folder("crates/embedded-postgres/tests", "crates/embedded-postgres/tests/"));
    tests.extend(SOURCE.iter().filter(|source| source.file.contains("tests")).cloned());
    tests
});

/// Finds what breaks a rule in some sources.
type Rule = fn(&[Source]) -> Vec<Breach>;

/// The rule holds for the sources, and finds each of the `bad` ones and none of the `good`.
fn hold(promise: &str, rule: Rule, sources: &[Source], bad: &[(&str, &str)], good: &[(&str, &str)]) {
    for (file, text) in bad {
        assert!(!rule(&[Source::new(file, text)]).is_empty(), "the rule would miss this in {file}: {text}");
    }
    for (file, text) in good {
        let found = rule(&[Source::new(file, text)]);
        assert!(found.is_empty(), "the rule would refuse this in {file}: {text}");
    }
    let breaches: BTreeSet<Breach> = rule(sources).into_iter().collect();
    let list: Vec<String> = breaches.iter().map(|breach| format!("  {breach}")).collect();
    assert!(list.is_empty(), "{promise}, but for\n{}", list.join("\n"));
}

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

fn is_impure_place(source: &Source) -> bool {
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

fn rank_of(room: &str) -> Option<u8> {
    RANKS.iter().find(|(name, _)| *name == room).map(|(_, rank)| *rank)
}

/// The room that a path leads into.
fn target(named: &Named) -> Option<&str> {
    match named.segments.as_slice() {
        [top, room, ..] if top == "crate" => Some(room.trim_end_matches('!')),
        _ => None,
    }
}

fn imports_against_the_order(sources: &[Source]) -> Vec<Breach> {
    let breaches = |source: &Source| {
        let room = source.room().to_owned();
        // The doors, and the list of capabilities, know everyone; what all rooms share knows no room.
        let rank = match room.as_str() {
            "server" | "cli" | "capabilities" | "lib" | "main" => u8::MAX,
            shared => rank_of(shared).unwrap_or(0),
        };
        let is_wrong = move |named: &Named| {
            target(named).is_some_and(|to| match to {
                "server" | "cli" | "capabilities" => to != room && rank < u8::MAX,
                _ => to != room && rank_of(to).is_some_and(|below| below >= rank),
            })
        };
        source.breaches(is_wrong, &[])
    };
    sources.iter().flat_map(breaches).collect()
}

#[test]
fn rooms_know_only_the_rooms_below_them() {
    let bad = [
        ("book/batch.rs", "use crate::tiers::Tiers;"),
        ("tiers/model.rs", "use crate::points::amount::Points;"),
        ("customers/mod.rs", "use crate::{ids::ProgramId, ledger};"),
        ("programs/mod.rs", "use super::customers;"),
        ("referrals/grpc.rs", "super::super::activities::accept()"),
        ("benefits/mod.rs", "use crate::referrals;"),
        ("tiers/mod.rs", "use crate::server::Settings;"),
        ("audit/mod.rs", "use crate::capabilities::capabilities;"),
        ("paging.rs", "use crate::book::Entry;"),
        ("database.rs", "fn f(e: &crate::book::Entry) {}"),
    ];
    let good = [
        ("activities/model.rs", "use crate::{referrals::model::convert, tiers, book::Entry};"),
        ("ledger/mod.rs", "use crate::customers::find_account;"),
        ("book/batch.rs", "use super::store; use super::super::error::Error;"),
        ("tiers/grpc.rs", "use super::{CustomerTier, Tiers, rewards};"),
        ("server.rs", "use crate::activities::Activities;"),
        ("capabilities.rs", "use crate::{points, tiers};"),
    ];
    hold("imports between rooms run one way", imports_against_the_order, &SOURCE, &bad, &good);
}

/// Imports that lead back to where they began, by whatever way, among rooms or among files. `place_of` says which place
/// a path of a source leads into.
fn circles(
    sources: &[Source],
    own: fn(&Source) -> String,
    place_of: impl Fn(&Source, &Named) -> Option<String>,
) -> Vec<Breach> {
    let mut imports: BTreeMap<String, BTreeMap<String, (String, usize)>> = BTreeMap::new();
    for source in sources.iter().filter(|source| !matches!(source.room(), "lib" | "main")) {
        for named in &source.named {
            if let Some(to) = place_of(source, named).filter(|to| *to != own(source)) {
                let from = imports.entry(own(source)).or_default();
                from.entry(to).or_insert_with(|| (source.file.clone(), named.line));
            }
        }
    }
    let mut found = Vec::new();
    for (from, direct) in &imports {
        for (to, (file, line)) in direct {
            let (mut seen, mut open) = (BTreeSet::from([to]), vec![to]);
            while let Some(place) = open.pop() {
                open.extend(imports.get(place).into_iter().flat_map(BTreeMap::keys).filter(|next| seen.insert(*next)));
            }
            if seen.contains(from) {
                found.push(Breach {
                    file: file.clone(), line: *line, what: format!("{from} → {to} → … → {from}")
                });
            }
        }
    }
    found
}

fn circles_of_rooms(sources: &[Source]) -> Vec<Breach> {
    circles(sources, |source| source.room().to_owned(), |_, named| target(named).map(str::to_owned))
}

#[test]
fn imports_of_rooms_form_no_circle() {
    let sources = [
        Source::new("a/mod.rs", "use crate::b::B;"),
        Source::new("b.rs", "use crate::c::C;"),
        Source::new("c.rs", "fn f() { crate::a::f() }"),
        Source::new("d.rs", "use crate::a::A;"),
    ];
    let rooms: Vec<String> = circles_of_rooms(&sources).into_iter().map(|breach| breach.file).collect();
    assert_eq!(rooms, ["a/mod.rs", "b.rs", "c.rs"], "a circle is found at each of its rooms");
    hold("imports form no circle", circles_of_rooms, &SOURCE, &[], &[("a.rs", "use crate::b;")]);
}

/// Circles of files. Tests beside the code are left out, and so is the command line, which is a tree of commands.
fn circles_of_files(sources: &[Source]) -> Vec<Breach> {
    let modules: BTreeMap<Vec<String>, String> =
        sources.iter().map(|source| (module_of(&source.file), source.file.clone())).collect();
    let file_of = |path: &[String]| (1..=path.len()).rev().find_map(|length| modules.get(&path[..length]).cloned());
    let place_of = |source: &Source, named: &Named| {
        if named.depth > 0 {
            return None;
        }
        match named.segments.split_first() {
            Some((top, path)) if top == "crate" => file_of(path),
            // A path that begins with a module of the file's own.
            Some((child, _)) => {
                let mut path = module_of(&source.file);
                path.push(child.clone());
                modules.get(&path).filter(|_| named.segments.len() > 1).cloned()
            }
            None => None,
        }
    };
    let files: Vec<Source> = sources.iter().filter(|source| !source.file.contains("tests")).cloned().collect();
    circles(&files, |source| source.file.clone(), place_of)
}

#[test]
fn imports_of_files_form_no_circle() {
    let sources = [
        Source::new("a/mod.rs", "mod b; mod c; pub use b::B;"),
        Source::new("a/b.rs", "use super::c::C; mod tests { use super::super::c; }"),
        Source::new("a/c.rs", "fn f() { crate::a::f() }"),
        Source::new("d.rs", "use crate::a::A;"),
    ];
    let files: Vec<String> = circles_of_files(&sources).into_iter().map(|breach| breach.file).collect();
    assert_eq!(files, ["a/b.rs", "a/c.rs", "a/mod.rs"], "a circle is found at each of its files");
    let apart = [Source::new("a/mod.rs", "mod b; pub use b::B;"), Source::new("a/b.rs", "use super::super::d::D;")];
    assert_eq!(circles_of_files(&apart), []);
    hold("imports of files form no circle", circles_of_files, &SOURCE, &[], &[]);
}

fn ignored(sources: &[Source]) -> Vec<Breach> {
    let mut found = Vec::new();
    for source in sources {
        let words: Vec<&str> = source.tokens.iter().map(|(_, token)| token.as_str()).collect();
        for (i, window) in words.windows(2).enumerate().filter(|(_, window)| *window == ["#", "["]) {
            let attribute = words[i + window.len()..].iter().take_while(|token| **token != "]");
            if attribute.clone().any(|token| *token == "ignore") {
                let what = attribute.copied().collect::<Vec<_>>().join(" ");
                found.push(Breach { file: source.file.clone(), line: source.tokens[i].0, what });
            }
        }
    }
    found
}

#[test]
fn no_test_is_ignored() {
    let bad = [
        ("tests/api/tiers.rs", "#[test]\n#[ignore]\nfn f() {}"),
        ("tiers/model.rs", "#[ignore = \"slow\"]"),
        ("tests/api/tiers.rs", "#[cfg_attr(windows, ignore)]"),
    ];
    let good = [("tests/api/tiers.rs", "// #[ignore]\nlet text = \"#[ignore]\"; #[test] fn ignore() {}")];
    let everything: Vec<Source> = SOURCE.iter().chain(TESTS.iter()).cloned().collect();
    hold("every test runs", ignored, &everything, &bad, &good);
}

#[test]
fn every_exception_is_still_needed() {
    for Exception { file, path, why } in WIRE_EXCEPTIONS {
        let exception = Exception { file, path, why };
        let is_used = |source: &Source| source.named.iter().any(|named| source.excepts(&exception, named));
        assert!(SOURCE.iter().any(is_used), "{file} no longer names {path} ({why}): take it off the list");
    }
}
