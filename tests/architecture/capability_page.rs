//! `docs/adding-a-capability.md` says how to add a capability. Every capability has the files and the declarations that
//! its steps ask for, and what a step calls an error is one. Each check is tried on a repository in which something was
//! forgotten.

use std::collections::BTreeSet;

use crate::pages::{EXAMPLE, PAGE};
use crate::reader::module_of;
use crate::tree::{TREE, Tree, hold, is_path, spans};

const LIST: &str = "src/capabilities.rs";
const DETAILS: &str = "src/book/detail/mod.rs";
/// Where the JSON of details is pinned.
const PINS: &str = "src/book/detail/tests.rs";
const LEDGER_PROTO: &str = "proto/goldbook/v1/ledger.proto";
const DAMAGES: &str = "tests/api/audit/damages.rs";

/// Steps are numbered without a gap; each says what happens to whoever forgets it, and names a file.
fn incomplete_steps(tree: &Tree) -> Vec<String> {
    let mut wrong = Vec::new();
    for (i, step) in tree.text(PAGE).split("\n## ").skip(1).enumerate() {
        let title = step.lines().next().unwrap_or_default();
        if !title.starts_with(&format!("{}. ", i + 1)) {
            wrong.push(format!("step {title} is not number {}", i + 1));
        }
        if !step.contains("\n**Forgotten:** ") || !spans(step).iter().any(|span| is_path(span)) {
            wrong.push(format!("step {title} does not say what to do where, or what happens without it"));
        }
    }
    wrong
}

#[test]
fn every_step_names_files_and_what_happens_without_it() {
    let tree = || TREE.clone();
    let wrong = [tree().replaced(PAGE, "## 3. ", "## 4. "), tree().replaced(PAGE, "**Forgotten:** ", "")];
    hold(incomplete_steps, &wrong);
}

/// The files that a capability has by the page: those that it calls the room's own, with whether all have them.
fn files_of_the_page(tree: &Tree) -> Vec<(String, bool)> {
    let rows = tree.text(PAGE).lines().filter_map(|line| line.strip_prefix("| `src/badges/")?.split_once("` | "));
    let rows = rows.map(|(name, rest)| (format!("src/{EXAMPLE}/{name}"), rest.starts_with("always")));
    let others = [format!("src/book/detail/{EXAMPLE}.rs"), format!("tests/api/{EXAMPLE}.rs")];
    rows.chain(others.into_iter().map(|file| (file, true))).collect()
}

fn missing_files(tree: &Tree) -> Vec<String> {
    let mut missing = Vec::new();
    let files = files_of_the_page(tree);
    if files.len() < 8 {
        missing.push(format!("{PAGE} has no table of the files of a room"));
    }
    for (file, is_always_there) in &files {
        if !tree.text(PAGE).contains(&format!("`{file}`")) {
            missing.push(format!("{PAGE} does not name {file}"));
        }
        let has = |room: &&&str| tree.has(&file.replace(EXAMPLE, room));
        let rooms = tree.rooms();
        if *is_always_there {
            missing.extend(rooms.iter().filter(|room| !has(room)).map(|room| format!("{room} has no {file}")));
        } else if !rooms.iter().any(|room| has(&room)) {
            missing.push(format!("no capability has a {file}"));
        }
    }
    missing
}

#[test]
fn every_capability_has_the_files_of_the_page() {
    let tree = || TREE.clone();
    let wrong = [
        tree().without("src/tiers/state.rs"),
        tree().without("tests/api/tiers.rs"),
        tree().replaced(PAGE, "src/badges/state.rs", "src/badges/cupboard.rs"),
        tree().replaced(LIST, "tiers::capability(),", "tiers::capability(),\n        made_up::capability(),"),
    ];
    hold(missing_files, &wrong);
}

fn badly_listed_capabilities(tree: &Tree) -> Vec<String> {
    let mut declared = Vec::new();
    for (path, text) in tree.below("src/", ".rs") {
        let room = path.split('/').nth(1).unwrap_or_default();
        let names = text.split(" fn ").skip(1).filter_map(|rest| rest.split_once('(')).map(|(name, _)| name);
        declared.extend(names.filter(|name| name.ends_with("capability")).map(|name| (room, name)));
    }
    let mut listed = tree.listed();
    declared.sort_unstable();
    listed.sort_unstable();
    if listed == declared && !listed.is_empty() {
        return Vec::new();
    }
    vec![format!("{LIST} lists {listed:?}, and the rooms declare {declared:?}")]
}

#[test]
fn every_capability_is_listed_once() {
    let tree = || TREE.clone();
    let wrong = [
        tree().replaced(LIST, "tiers::capability(),", ""),
        tree().replaced(LIST, "tiers::capability(),", "tiers::capability(),\n        tiers::capability(),"),
        tree().replaced(LIST, "referrals::purchases_capability(),", ""),
        tree().with("src/made_up/store.rs", "pub fn capability() -> Capability {}"),
    ];
    hold(badly_listed_capabilities, &wrong);
}

fn badly_declared_tables(tree: &Tree) -> Vec<String> {
    let created = tree.below("migrations/", ".sql").flat_map(|(_, text)| text.split("\nCREATE TABLE ").skip(1));
    let mut created: Vec<&str> = created.filter_map(|rest| rest.split_once(' ')).map(|(name, _)| name).collect();
    let mut declared: Vec<&str> = tree.declared().into_iter().map(|(name, _)| name).collect();
    created.sort_unstable();
    declared.sort_unstable();
    if created == declared && !created.is_empty() {
        return Vec::new();
    }
    vec![format!("migrations create {created:?}, and stores declare {declared:?}")]
}

#[test]
fn every_table_is_declared_once() {
    let tree = || TREE.clone();
    let wrong = [
        tree().with("migrations/9999_made_up.sql", "-- Made up.\nCREATE TABLE made_up (account_id uuid);"),
        tree().replaced("src/tiers/store.rs", "\"standings\"", "\"standing\""),
        tree().with("src/made_up/store.rs", "Table::projection(\"standings\", \"'standing'\")"),
    ];
    hold(badly_declared_tables, &wrong);
}

/// What a room keeps is compared in an audit by its rows; a due that is told is decided.
fn badly_kept_rows(tree: &Tree) -> Vec<String> {
    let mut wrong = Vec::new();
    for room in tree.rooms() {
        let files: Vec<(&str, &str)> = tree.0.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
        let state = tree.text(&format!("src/{room}/state.rs"));
        let folder = format!("src/{room}/");
        let mut own = files.iter().filter(|(path, _)| path.starts_with(&folder));
        let has_projection = own.any(|(path, text)| path.ends_with("store.rs") && text.contains("Table::projection("));
        if has_projection && !state.contains("fn rows(") {
            wrong.push(format!("src/{room}/state.rs lists no rows, and the room has a projection"));
        }
        if state.contains("fn next_due(") != state.contains("fn decide_due(") {
            wrong.push(format!("src/{room}/state.rs has one of next_due and decide_due without the other"));
        }
    }
    wrong
}

#[test]
fn every_projection_is_compared_and_every_due_decided() {
    let tree = || TREE.clone();
    let wrong = [
        tree().replaced("src/tiers/state.rs", "fn rows(", "fn no_rows("),
        tree().replaced("src/points/state.rs", "fn decide_due(", "fn decide("),
        tree().replaced("src/points/state.rs", "fn next_due(", "fn next("),
    ];
    hold(badly_kept_rows, &wrong);
}

fn undamaged_projections(tree: &Tree) -> Vec<String> {
    let text = tree.text(DAMAGES);
    let is_damaged = |name: &str| {
        let statements = ["UPDATE", "INSERT INTO", "DELETE FROM"].map(|verb| format!("{verb} {name} "));
        statements.iter().any(|statement| text.contains(statement)) || text.contains(&format!("DELETE FROM {name}\""))
    };
    let projections = tree.declared().into_iter().filter(|(_, is_projection)| *is_projection);
    let missing = projections.filter(|(name, _)| !is_damaged(name));
    missing.map(|(name, _)| format!("{DAMAGES} does no damage to {name}")).collect()
}

#[test]
fn every_projection_is_damaged_once() {
    let tree = || TREE.clone();
    let wrong = [
        tree().replaced(DAMAGES, "INTO reversals", "INTO others"),
        tree().with("src/made_up/store.rs", "Table::projection(\n    \"made_up\", \"'badge'\")"),
    ];
    hold(undamaged_projections, &wrong);
}

/// Reading a detail tries the enums one by one, by a list that no compiler checks.
fn unread_details(tree: &Tree) -> Vec<String> {
    let text = tree.text(DETAILS);
    let variants = text.split_once("pub enum Detail {").and_then(|(_, rest)| rest.split_once("\n}"));
    let variants = variants.map(|(body, _)| body).unwrap_or_default().lines().map(str::trim);
    let enums: Vec<&str> = variants.filter_map(|line| line.split_once('(')?.1.strip_suffix("),")).collect();
    let mut wrong = Vec::new();
    if enums.is_empty() {
        wrong.push(format!("{DETAILS} has no enums of details"));
    }
    for name in enums {
        let is_read = text.contains(&format!("{name}::VARIANTS.contains("));
        let is_pinned = tree.text(PINS).contains(&format!("{name}::VARIANTS,"));
        if !is_read || !is_pinned {
            wrong.push(format!("{DETAILS} does not read {name}, or {PINS} does not pin its JSON"));
        }
    }
    wrong
}

#[test]
fn every_enum_of_details_is_read_and_pinned() {
    let tree = || TREE.clone();
    let wrong = [
        tree().replaced(DETAILS, "TierDetail::VARIANTS.contains(", "OtherDetail::VARIANTS.contains("),
        tree().replaced(PINS, "TierDetail::VARIANTS,", ""),
        tree().replaced(DETAILS, "pub enum Detail {", "pub enum Detail {\n    MadeUp(MadeUpDetail),"),
    ];
    hold(unread_details, &wrong);
}

/// The kinds that the enums of details have, in the words of the wire.
fn kinds(tree: &Tree) -> Vec<String> {
    let mut kinds = Vec::new();
    for (_, text) in tree.below("src/book/detail/", ".rs").filter(|(path, _)| ![DETAILS, PINS].contains(path)) {
        let body = text.split_once("Detail {\n").and_then(|(_, rest)| rest.split_once("\n}"));
        let lines = body.map(|(body, _)| body).unwrap_or_default().lines();
        let variants = lines.filter_map(|line| line.strip_prefix("    ")?.strip_suffix([',', '{']));
        for variant in variants.map(str::trim).filter(|variant| variant.starts_with(char::is_uppercase)) {
            let mut name = "ENTRY_KIND".to_owned();
            for letter in variant.chars() {
                if letter.is_uppercase() {
                    name.push('_');
                }
                name.push(letter.to_ascii_uppercase());
            }
            kinds.push(name);
        }
    }
    kinds.sort_unstable();
    kinds
}

/// A kind is stored by its name on the wire, by which callers ask for entries of a kind. No compiler checks that.
fn kinds_with_two_names(tree: &Tree) -> Vec<String> {
    let mut wrong = Vec::new();
    let words = tree.text(LEDGER_PROTO).split_whitespace().filter(|word| word.starts_with("ENTRY_KIND_"));
    let mut on_the_wire: Vec<&str> = words.filter(|word| *word != "ENTRY_KIND_UNSPECIFIED").collect();
    on_the_wire.sort_unstable();
    let stored = kinds(tree);
    if stored != on_the_wire || stored.is_empty() {
        wrong.push(format!("{LEDGER_PROTO} has {on_the_wire:?}, and src/book/detail/ has {stored:?}"));
    }
    for line in tree.text("src/book/grpc.rs").lines() {
        if let Some((detail, kind)) = line.split_once(" => proto::EntryKind::")
            && !detail.split(' ').any(|word| word.ends_with(&format!("Detail::{}", kind.trim_end_matches(','))))
        {
            wrong.push(format!("src/book/grpc.rs gives a kind another name:{line}"));
        }
    }
    wrong
}

#[test]
fn every_kind_has_one_name() {
    let tree = || TREE.clone();
    let wrong = [
        tree().replaced(LEDGER_PROTO, "ENTRY_KIND_TIER_CHANGED", "ENTRY_KIND_TIER_MOVED"),
        tree().replaced("src/book/detail/tiers.rs", "    TierChanged {", "    TierMoved {"),
        tree().replaced("src/book/grpc.rs", "proto::EntryKind::TierChanged", "proto::EntryKind::TierImported"),
    ];
    hold(kinds_with_two_names, &wrong);
}

/// Files of a crate that no file declares as its module: Rust does not compile them, and says nothing.
fn stray_files(tree: &Tree, folder: &str, roots: &[&str]) -> Vec<String> {
    let mut modules = BTreeSet::new();
    for (path, text) in tree.below(folder, ".rs") {
        let file = &path[folder.len()..];
        let mut own = module_of(file);
        if roots.contains(&file) {
            own.clear();
        }
        let declared = text.lines().filter_map(|line| line.trim().strip_suffix(';')?.split_once("mod "));
        // A visibility may stand before it, and nothing else.
        for (_, name) in declared.filter(|(before, _)| before.is_empty() || before.starts_with("pub")) {
            let mut module = own.clone();
            module.push(name.to_owned());
            modules.insert(module);
        }
    }
    let files = tree.below(folder, ".rs").map(|(path, _)| &path[folder.len()..]);
    let stray = files.filter(|file| !roots.contains(file) && !modules.contains(&module_of(file)));
    stray.map(|file| format!("{folder}{file} is no module of the crate")).collect()
}

fn stray_sources(tree: &Tree) -> Vec<String> {
    stray_files(tree, "src/", &["lib.rs", "main.rs"])
}

fn stray_tests(tree: &Tree) -> Vec<String> {
    stray_files(tree, "tests/api/", &["main.rs"])
}

#[test]
fn every_file_of_the_source_is_a_module() {
    let tree = || TREE.clone();
    let wrong = [
        tree().with("src/made_up/mod.rs", ""),
        tree().with("src/tiers/made_up.rs", ""),
        tree().replaced("src/tiers/mod.rs", "pub(crate) mod state;", ""),
    ];
    hold(stray_sources, &wrong);
}

#[test]
fn every_file_of_the_tests_is_a_module() {
    let tree = || TREE.clone();
    let wrong = [tree().with("tests/api/made_up.rs", ""), tree().replaced("tests/api/main.rs", "mod tiers;", "")];
    hold(stray_tests, &wrong);
}

/// A word that fits no test would choose none, and nobody would notice.
fn words_that_choose_no_tests(tree: &Tree) -> Vec<String> {
    let script = tree.text(".ci/run");
    let chosen = script.lines().find_map(|line| line.strip_prefix("matters_most='")?.strip_suffix('\''));
    let Some(chosen) = chosen else { return vec![".ci/run: it chooses no tests".to_owned()] };
    let folders = ["tests/api", "crates/embedded-postgres/tests/embedded_postgres"];
    let file_of = |word: &str| word.trim_end_matches("::").replace("::", "/");
    let is_there = |word: &&str| folders.iter().any(|folder| tree.has(&format!("{folder}/{}.rs", file_of(word))));
    chosen
        .split(' ')
        .filter(|word| !is_there(word))
        .map(|word| format!(".ci/run: no file has the tests {word}"))
        .collect()
}

#[test]
fn tests_that_are_chosen_by_words_exist() {
    let tree = || TREE.clone();
    let wrong = [
        tree().replaced(".ci/run", " bounds:: ", " boundaries:: "),
        tree().without("tests/api/newer/schema.rs"),
        tree().replaced(".ci/run", "matters_most=", "matters="),
    ];
    hold(words_that_choose_no_tests, &wrong);
}
