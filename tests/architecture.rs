//! The rules of ARCHITECTURE.md that source code can break, held by reading it. This file holds the order of rooms;
//! each other theme has a file beside it. Each rule is tried on a source that breaks it too, so that none passes on
//! everything.
//!
//! The reader knows Rust's comments, strings and paths, and follows `use` trees; it does not follow renames or macros.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test's helper fails as the test does, by a panic")]

#[path = "architecture/capability_page.rs"]
mod capability_page;
#[path = "architecture/circles.rs"]
mod circles;
#[path = "architecture/client_commands.rs"]
mod client_commands;
#[path = "architecture/columns.rs"]
mod columns;
#[path = "architecture/commands.rs"]
mod commands;
#[path = "architecture/names.rs"]
mod names;
#[path = "architecture/pages.rs"]
mod pages;
#[path = "architecture/places.rs"]
mod places;
#[path = "architecture/reader.rs"]
mod reader;
#[path = "architecture/sql.rs"]
mod sql;
#[path = "architecture/tree.rs"]
mod tree;

use std::collections::BTreeSet;
use std::sync::LazyLock;

use reader::{Breach, Exception, Named, Source, read_folder};

/// A room's rank: it may import rooms of a lower rank, and none of its own. `ledger` reads what all others wrote,
/// `audit` tells whether it is right, and `privacy` gives people what is known of them.
const RANKS: &[(&str, u8)] = &[
    ("audit", 10),
    ("privacy", 10),
    ("segments", 10),
    ("activities", 9),
    ("complaints", 9),
    ("benefits", 8),
    ("referrals", 8),
    ("liability", 8),
    ("imports", 8),
    ("rewards", 8),
    ("lifecycle", 7),
    ("value", 7),
    ("satisfaction", 6),
    ("tiers", 6),
    ("points", 5),
    ("ledger", 5),
    ("customers", 4),
    ("programs", 3),
    ("access", 2),
    ("book", 1),
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
        // The doors, and the list of capabilities, know everyone; what all rooms share knows no room. What tries every
        // decoder is no part of the program.
        let rank = match room.as_str() {
            "server" | "cli" | "capabilities" | "lib" | "main" | "fuzzing" => u8::MAX,
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
        ("points/amount.rs", "use crate::tiers::standing::Standing;"),
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
