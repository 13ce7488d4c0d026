//! The pages say what the repository is. Every path, name and link on them exists, and nothing that a page must tell is
//! left out. Each check is tried on a repository in which it is broken.

use std::collections::BTreeMap;

use crate::RANKS;
use crate::tree::{TREE, Tree, hold, is_path, spans};

/// The capability that the page adds. It does not exist, so its files are not there.
pub(crate) const EXAMPLE: &str = "badges";
pub(crate) const PAGE: &str = "docs/adding-a-capability.md";
const ARCHITECTURE: &str = "ARCHITECTURE.md";
const OPERATIONS: &str = "docs/operations.md";
const CHANGELOG: &str = "CHANGELOG.md";

/// Pairs of a name and the file that it stands in: two spans with nothing between them but `in`.
fn names_in_files(page: &str) -> Vec<(String, String)> {
    let text = page.split_whitespace().collect::<Vec<_>>().join(" ");
    let parts: Vec<&str> = text.split('`').collect();
    let found = parts.windows(3).enumerate().filter(|(i, window)| i % 2 == 1 && window[1] == " in ");
    found.map(|(_, window)| (window[0].to_owned(), window[2].to_owned())).collect()
}

/// The paths that `a/{b,c}.rs` stands for.
fn expand(path: &str) -> Vec<String> {
    let Some((begin, rest)) = path.split_once('{') else { return vec![path.to_owned()] };
    let (choices, end) = rest.split_once('}').unwrap();
    choices.split(',').flat_map(|choice| expand(&format!("{begin}{choice}{end}"))).collect()
}

/// The pages that tell how things are. Decisions are left out: they tell how things were.
fn pages(tree: &Tree) -> impl Iterator<Item = &str> {
    let pages = tree.below("", ".md").map(|(path, _)| path);
    pages.filter(|path| !path.contains('/') || path.starts_with("docs/") && path.matches('/').count() == 1)
}

/// Whether a page means a file of the repository by this. Two pages mean one by anything that looks like a path.
fn is_meant(page: &str, span: &str) -> bool {
    let folders = ["src/", "tests/", "crates/", "docs/", "migrations/", "proto/", "scripts/", "examples/"];
    is_path(span) && ([PAGE, ARCHITECTURE].contains(&page) || folders.iter().any(|folder| span.starts_with(folder)))
}

fn missing_paths(tree: &Tree) -> Vec<String> {
    let mut missing = Vec::new();
    for page in pages(tree) {
        let paths = spans(tree.text(page)).into_iter().filter(|span| is_meant(page, span));
        for path in paths.flat_map(|span| expand(&span)).filter(|path| !path.contains(EXAMPLE)) {
            // A name alone is one that several files have.
            let is_name = || !path.contains('/') && tree.0.keys().any(|file| file.ends_with(&format!("/{path}")));
            if !tree.has(&path) && !is_name() {
                missing.push(format!("{page} names {path}, which is not there"));
            }
        }
        for (name, path) in names_in_files(tree.text(page)) {
            if is_meant(page, &path) && !path.contains(EXAMPLE) && !tree.text(&path).contains(&name) {
                missing.push(format!("{page} says that `{name}` is in {path}, and it is not"));
            }
        }
    }
    // The page names the tests of this folder without their files.
    let tests = spans(tree.text(PAGE)).into_iter().filter(|span| span.starts_with("every_") && span.len() > 6);
    let is_there = |test: &String| {
        tree.below("tests/architecture/", ".rs").any(|(_, text)| text.contains(&format!("\nfn {test}()")))
    };
    missing.extend(tests.filter(|test| !is_there(test)).map(|test| format!("{PAGE} names {test}, which is no test")));
    missing
}

fn broken_links(tree: &Tree) -> Vec<String> {
    let mut broken = Vec::new();
    for page in tree.below("", ".md").map(|(path, _)| path) {
        let targets = tree.text(page).split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(to, _)| to);
        for target in targets.filter(|target| !target.contains("://")) {
            let target = target.split('#').next().unwrap_or_default();
            let mut path: Vec<&str> = page.split('/').collect();
            path.pop();
            for part in target.split('/') {
                match part {
                    ".." => drop(path.pop()),
                    part => path.push(part),
                }
            }
            if !target.is_empty() && !tree.has(&path.join("/")) {
                broken.push(format!("{page} links to {target}, which is not there"));
            }
        }
    }
    broken
}

#[test]
fn every_link_between_pages_leads_somewhere() {
    let tree = || TREE.clone();
    let wrong = [
        tree().replaced(PAGE, "(../ARCHITECTURE.md)", "(../MAP.md)"),
        tree().replaced(ARCHITECTURE, "(docs/decisions/README.md)", "(docs/decided/README.md)"),
    ];
    hold(broken_links, &wrong);
}

#[test]
fn every_path_and_name_on_the_pages_exists() {
    let tree = || TREE.clone();
    let wrong = [
        tree().without("src/book/table.rs").without("tests/api/main.rs").without("src/capabilities.rs"),
        tree().replaced(PAGE, "`src/lib.rs`", "`src/moved.rs`"),
        tree().replaced("src/status.rs", "code_of", "status_of"),
        tree().replaced("src/book/state.rs", "trait State", "trait Shape"),
        tree().replaced(ARCHITECTURE, "`src/capabilities.rs`", "`src/{capabilities,gone}.rs`"),
        tree().replaced(PAGE, "`every_rpc_is_in_the_changelog`", "`every_rpc_is_told`"),
        tree().replaced("docs/README.md", "# ", "`src/gone.rs` "),
    ];
    hold(missing_paths, &wrong);
}

/// The body of an enum in a file.
fn enum_in<'a>(tree: &'a Tree, path: &str, name: &str) -> Option<&'a str> {
    let (_, rest) = tree.text(path).split_once(&format!("enum {name} {{"))?;
    Some(rest.split_once("\n}")?.0)
}

/// The tables of outcomes name types where they are, and every way in which a command of a batch can end.
fn untrue_outcomes(tree: &Tree) -> Vec<String> {
    let section = tree.text(ARCHITECTURE).split("\n## ").find(|section| section.starts_with("The outcomes"));
    let rows = section.unwrap_or_default().lines().filter(|line| line.starts_with("| `"));
    let mut wrong = Vec::new();
    let mut bodies = BTreeMap::new();
    for row in rows {
        let cells = spans(row);
        let (name, path) = (&cells[0], &cells[cells.len() - 1]);
        match enum_in(tree, path, name) {
            Some(body) => drop(bodies.insert(name.clone(), body)),
            None => wrong.push(format!("{ARCHITECTURE} says that {name} is an enum in {path}")),
        }
    }
    let named = spans(section.unwrap_or_default());
    for (name, variant) in named.iter().filter_map(|span| span.split_once("::")) {
        if !bodies.get(name).is_some_and(|body| body.contains(&format!("\n    {variant}"))) {
            wrong.push(format!("{ARCHITECTURE} names {name}::{variant}, which is not there"));
        }
    }
    let lines = bodies.get("CommandOutcome").copied().unwrap_or_default().lines();
    let variants =
        lines.filter_map(|line| line.strip_prefix("    ").filter(|line| line.starts_with(char::is_uppercase)));
    let variants = variants.filter_map(|line| line.split(['(', ',']).next());
    let untold = variants.filter(|variant| !named.contains(&format!("CommandOutcome::{variant}")));
    wrong.extend(untold.map(|variant| format!("{ARCHITECTURE} does not tell of CommandOutcome::{variant}")));
    wrong
}

#[test]
fn every_outcome_of_a_command_is_told() {
    let tree = || TREE.clone();
    let outcomes = "src/book/outcome.rs";
    let wrong = [
        tree().replaced(outcomes, "    DuesRemain,", "    DuesRemain,\n    Merged(Written),"),
        tree().replaced(outcomes, "    DuesRemain,", "    DuesLeft,"),
        tree().replaced("src/error.rs", "    Overloaded,", "    Full,"),
        tree().replaced("src/book/state.rs", "enum NextDue {", "enum Next {"),
    ];
    hold(untrue_outcomes, &wrong);
}

fn untold_tables(tree: &Tree) -> Vec<String> {
    let told = spans(tree.text(OPERATIONS));
    let untold = tree.declared().into_iter().filter(|(name, _)| !told.iter().any(|span| span == name));
    untold.map(|(name, _)| format!("{OPERATIONS} does not tell what the service may do with {name}")).collect()
}

#[test]
fn every_table_is_told_to_operators() {
    let tree = || TREE.clone();
    let wrong = [
        tree().replaced(OPERATIONS, "`standings`", "standings"),
        tree().with("src/made_up/store.rs", "Table::source(\"others\", TableRights::Append)"),
    ];
    hold(untold_tables, &wrong);
}

/// Every folder of the source has its row on the map, and every rank its room.
fn rooms_without_a_row(tree: &Tree) -> Vec<String> {
    let mut wrong = Vec::new();
    let rows: Vec<&str> = tree.text(ARCHITECTURE).lines().filter(|line| line.starts_with("| ")).collect();
    for (path, _) in tree.below("src/", "/mod.rs") {
        let folder = path.trim_end_matches("mod.rs");
        if folder.split('/').count() == 3 && !rows.iter().any(|row| row.contains(&format!("`{folder}`"))) {
            wrong.push(format!("{ARCHITECTURE} has no row for {folder}"));
        }
    }
    let gone = RANKS.iter().filter(|(room, _)| !tree.has(&format!("src/{room}/mod.rs")));
    wrong.extend(gone.map(|(room, _)| format!("there is no room {room}, and it has a rank")));
    wrong
}

#[test]
fn every_room_has_its_row() {
    let tree = || TREE.clone();
    let wrong = [tree().with("src/made_up/mod.rs", ""), tree().without("src/tiers/mod.rs")];
    hold(rooms_without_a_row, &wrong);
}

fn unannounced_rpcs(tree: &Tree) -> Vec<String> {
    let changelog = spans(tree.text(CHANGELOG));
    let rpcs = tree.below("proto/goldbook/", ".proto").flat_map(|(_, text)| text.split("\n  rpc ").skip(1));
    let rpcs: Vec<&str> = rpcs.filter_map(|rest| rest.split_once('(')).map(|(name, _)| name).collect();
    let missing = rpcs.iter().filter(|rpc| !changelog.iter().any(|span| span == *rpc));
    let mut wrong: Vec<String> = missing.map(|rpc| format!("{CHANGELOG} does not name {rpc}")).collect();
    if rpcs.is_empty() {
        wrong.push("the protos have no methods".to_owned());
    }
    wrong
}

#[test]
fn every_rpc_is_in_the_changelog() {
    let tree = || TREE.clone();
    let wrong = [
        tree().with("proto/goldbook/v1/made_up.proto", "service MadeUpService {\n  rpc MakeUp(A) returns (B);\n}"),
        tree().replaced(CHANGELOG, "`ListTierChanges`", "changes"),
    ];
    hold(unannounced_rpcs, &wrong);
}
