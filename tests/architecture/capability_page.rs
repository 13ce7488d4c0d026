//! `docs/adding-a-capability.md` and `ARCHITECTURE.md` say what the code is. Every path and every name in them exists,
//! every capability has the files and the declarations that the steps ask for, and what a step calls an error is one.
//! Each check is tried on a repository in which something was forgotten.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use crate::RANKS;
use crate::reader::module_of;

const PAGE: &str = "docs/adding-a-capability.md";
const ARCHITECTURE: &str = "ARCHITECTURE.md";
const THIS: &str = "tests/architecture/capability_page.rs";
const LIST: &str = "src/capabilities.rs";
const DETAILS: &str = "src/book/detail/mod.rs";
const LEDGER_PROTO: &str = "proto/goldbook/v1/ledger.proto";
const DAMAGES: &str = "tests/api/audit/damages.rs";
const OPERATIONS: &str = "docs/operations.md";
const CHANGELOG: &str = "CHANGELOG.md";
/// The capability of the page, which does not exist.
const EXAMPLE: &str = "badges";

/// The files of the repository by their paths from its root, with their texts.
#[derive(Clone)]
struct Tree(BTreeMap<String, String>);

static TREE: LazyLock<Tree> = LazyLock::new(|| {
    fn visit(folder: &Path, prefix: &str, files: &mut BTreeMap<String, String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let path = format!("{prefix}{name}");
            if matches!(path.as_str(), "target" | ".git" | ".goldbook" | ".sqlx") {
                continue;
            }
            if entry.path().is_dir() {
                visit(&entry.path(), &format!("{path}/"), files);
            } else {
                files.insert(path, fs::read_to_string(entry.path()).unwrap_or_default());
            }
        }
    }
    let mut files = BTreeMap::new();
    visit(Path::new(env!("CARGO_MANIFEST_DIR")), "", &mut files);
    Tree(files)
});

impl Tree {
    fn text(&self, path: &str) -> &str {
        self.0.get(path).map_or("", String::as_str)
    }

    /// The files below a folder with this ending.
    fn below<'a>(&'a self, folder: &'a str, ending: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        let files = self.0.iter().map(|(path, text)| (path.as_str(), text.as_str()));
        files.filter(move |(path, _)| path.starts_with(folder) && path.ends_with(ending))
    }

    /// Whether there is such a file or folder. A `*` stands for a part of a name.
    fn has(&self, path: &str) -> bool {
        let wanted: Vec<&str> = path.trim_end_matches('/').split('/').collect();
        self.0.keys().any(|file| {
            let parts: Vec<&str> = file.split('/').collect();
            parts.len() >= wanted.len() && wanted.iter().zip(&parts).all(|(wanted, part)| fits(wanted, part))
        })
    }

    fn with(mut self, path: &str, text: &str) -> Self {
        self.0.insert(path.to_owned(), text.to_owned());
        self
    }

    fn without(mut self, path: &str) -> Self {
        assert!(self.0.remove(path).is_some(), "there is no {path}");
        self
    }

    fn replaced(mut self, path: &str, from: &str, to: &str) -> Self {
        let text = self.0.get_mut(path).unwrap();
        assert!(text.contains(from), "{path} has no {from}");
        *text = text.replace(from, to);
        self
    }

    /// The rooms of the list of capabilities, each with the function that it declares one by.
    fn listed(&self) -> Vec<(&str, &str)> {
        let lines = self.text(LIST).lines().map(str::trim).filter(|line| line.ends_with("),"));
        lines.filter_map(|line| line.split_once('(')?.0.split_once("::")).collect()
    }

    fn rooms(&self) -> BTreeSet<&str> {
        self.listed().into_iter().map(|(room, _)| room).collect()
    }

    /// The tables that stores declare, each with whether it is a projection.
    fn declared(&self) -> Vec<(&str, bool)> {
        let stores = self.below("src/", "/store.rs").flat_map(|(_, text)| text.split("Table").skip(1));
        let declared = stores.filter_map(|rest| {
            let is_projection = rest.starts_with("::projection(");
            let begins = ["::projection(", "::source(", " {"];
            let rest = begins.iter().find_map(|begin| rest.strip_prefix(begin))?.trim_start();
            let name = rest.trim_start_matches("name:").trim_start().strip_prefix('"')?.split_once('"')?.0;
            Some((name, is_projection))
        });
        declared.collect()
    }
}

fn fits(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        Some((begin, end)) => name.len() >= begin.len() + end.len() && name.starts_with(begin) && name.ends_with(end),
        None => pattern == name,
    }
}

/// A check: what it finds wrong in a repository.
type Check = fn(&Tree) -> Vec<String>;

/// The check finds nothing wrong in the repository, and something in each of the `wrong` ones.
fn hold(check: Check, wrong: &[Tree]) {
    for (i, tree) in wrong.iter().enumerate() {
        assert!(!check(tree).is_empty(), "the check would miss wrong repository {i}");
    }
    let found = check(&TREE);
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

/// What stands between backticks on a page.
fn spans(page: &str) -> Vec<String> {
    let text = page.split_whitespace().collect::<Vec<_>>().join(" ");
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Pairs of a name and the file that it stands in: two spans with nothing between them but `in`.
fn names_in_files(page: &str) -> Vec<(String, String)> {
    let text = page.split_whitespace().collect::<Vec<_>>().join(" ");
    let parts: Vec<&str> = text.split('`').collect();
    let found = parts.windows(3).enumerate().filter(|(i, window)| i % 2 == 1 && window[1] == " in ");
    found.map(|(_, window)| (window[0].to_owned(), window[2].to_owned())).collect()
}

fn is_path(span: &str) -> bool {
    let endings = [".rs", ".md", ".sql", ".proto", ".toml", ".sh"];
    let is_plain = span.chars().all(|c| c.is_ascii_alphanumeric() || "_./-*{},<>".contains(c));
    is_plain && (span.contains('/') || endings.iter().any(|ending| span.ends_with(ending)))
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
    // The page names the tests of this file without it.
    let tests = spans(tree.text(PAGE)).into_iter().filter(|span| span.starts_with("every_") && span.len() > 6);
    let this = tree.text(THIS);
    missing
        .extend(tests.filter(|test| !this.contains(&format!("\nfn {test}()"))).map(|test| format!("no test {test}")));
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
        tree().without("src/book/table.rs").without("tests/api/main.rs").without(LIST),
        tree().replaced(PAGE, "`src/lib.rs`", "`src/moved.rs`"),
        tree().replaced("src/status.rs", "code_of", "status_of"),
        tree().replaced("src/book/state.rs", "trait State", "trait Shape"),
        tree().replaced(ARCHITECTURE, "`src/capabilities.rs`", "`src/{capabilities,gone}.rs`"),
        tree().replaced(PAGE, "`every_rpc_is_in_the_changelog`", "`every_rpc_is_told`"),
        tree().replaced("docs/README.md", "# ", "`src/gone.rs` "),
    ];
    hold(missing_paths, &wrong);
}

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
        tree().replaced(PAGE, "src/badges/state.rs", "src/badges/shelf.rs"),
        tree().replaced(LIST, "tiers::capability(),", "tiers::capability(),\n        made_up::capability(),"),
    ];
    hold(missing_files, &wrong);
}

fn badly_listed_capabilities(tree: &Tree) -> Vec<String> {
    let mut declared = Vec::new();
    for (path, text) in tree.below("src/", ".rs") {
        let room = path.split('/').nth(1).unwrap_or_default();
        let names = text.split("pub fn ").skip(1).filter_map(|rest| rest.split_once('(')).map(|(name, _)| name);
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
        let is_pinned = text.contains(&format!("{name}::VARIANTS,"));
        if !is_read || !is_pinned {
            wrong.push(format!("{DETAILS} does not read {name}, or does not pin its JSON"));
        }
    }
    wrong
}

#[test]
fn every_enum_of_details_is_read_and_pinned() {
    let tree = || TREE.clone();
    let wrong = [
        tree().replaced(DETAILS, "TierDetail::VARIANTS.contains(", "OtherDetail::VARIANTS.contains("),
        tree().replaced(DETAILS, "TierDetail::VARIANTS,", ""),
        tree().replaced(DETAILS, "pub enum Detail {", "pub enum Detail {\n    MadeUp(MadeUpDetail),"),
    ];
    hold(unread_details, &wrong);
}

/// The kinds that the enums of details have, in the words of the wire.
fn kinds(tree: &Tree) -> Vec<String> {
    let mut kinds = Vec::new();
    for (_, text) in tree.below("src/book/detail/", ".rs").filter(|(path, _)| *path != DETAILS) {
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
        tree().replaced("src/tiers/mod.rs", "pub mod state;", ""),
    ];
    hold(stray_sources, &wrong);
}

#[test]
fn every_file_of_the_tests_is_a_module() {
    let tree = || TREE.clone();
    let wrong = [tree().with("tests/api/made_up.rs", ""), tree().replaced("tests/api/main.rs", "mod tiers;", "")];
    hold(stray_tests, &wrong);
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
