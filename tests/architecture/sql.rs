//! Where SQL is written, who may import a file of SQL, and what such a file may hand on.

use crate::places::is_impure_place;
use crate::reader::{Breach, Named, Source};
use crate::{SOURCE, hold, outside};

/// Names by which a statement is made.
const SQL: &[&str] = &[
    "query!",
    "query_as!",
    "query_scalar!",
    "query_file!",
    "query_file_as!",
    "query_file_scalar!",
    "selection!",
    "write_part!",
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
/// Where SQL is written.
const SQL_PLACES: &[&str] = &["*/store.rs", "*/store/*", "database/*"];

fn stray_statements(sources: &[Source]) -> Vec<Breach> {
    outside(sources, SQL_PLACES, SQL, &[])
}

#[test]
fn sql_is_written_in_stores_only() {
    let bad = [
        ("tiers/mod.rs", "sqlx::query!(\"SELECT 1\").fetch_one(c)"),
        ("tiers/mod.rs", "use sqlx::query_as; fn f() { query_as!(Row, \"SELECT 1\") }"),
        ("server.rs", "use sqlx::{PgPool, raw_sql};"),
        ("points/lots.rs", "write_part!(\"INSERT INTO lots SELECT 1\", rows)"),
        ("book/batch.rs", "let sql = sqlx::query_scalar::<_, i64>(text);"),
        ("store.rs", "sqlx::query(\"SELECT 1\")"),
    ];
    let good = [
        ("tiers/store.rs", "sqlx::query!(\"SELECT 1\")"),
        ("database.rs", "sqlx::raw_sql(\"SELECT 1\")"),
        ("tiers/mod.rs", "use sqlx::PgPool; // sqlx::query!\nlet query = \"sqlx::query!\";"),
    ];
    hold("SQL is written in store.rs files and the database's", stray_statements, &SOURCE, &bad, &good);
}

/// Imports of a file of SQL: by a rule, or by another room that is not a file of SQL itself.
fn imports_of_sql(sources: &[Source]) -> Vec<Breach> {
    let others = sources.iter().filter(|source| !source.is_in(SQL_PLACES) && !source.file.starts_with("cli/"));
    let breaches = |source: &Source| {
        let (room, may_use_its_own) = (source.room().to_owned(), is_impure_place(source));
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
        ("audit/model.rs", "use crate::book::store::scan::StoredEntry;"),
        ("points/grants/mod.rs", "use crate::points::store::load;"),
    ];
    let good = [
        ("tiers/mod.rs", "use store::FoundStanding; use super::tiers::store::f;"),
        ("tiers/store.rs", "use crate::book::store::EntryRow;"),
        ("points/store/load.rs", "use crate::book::store::find_keys;"),
        ("tiers/mod.rs", "use crate::programs::read_version;"),
    ];
    hold("rules and other rooms import no file of SQL", imports_of_sql, &SOURCE, &bad, &good);
}

/// What a room hands on of its SQL beside types: how the book knows it.
const HANDED_ON: &[&str] = &[
    "capability",
    "classes_capability",
    "erasures_capability",
    "goodwill_capability",
    "purchases_capability",
    "models_capability",
    "reevaluations_capability",
    "TABLES",
];

/// Re-exports of what a file of SQL holds. By them another room would reach a statement and skip the use cases.
fn reexported_sql(sources: &[Source]) -> Vec<Breach> {
    let is_type =
        |name: &str| name.starts_with(|c: char| c.is_uppercase()) && name.contains(|c: char| c.is_lowercase());
    let is_wrong = |named: &Named| {
        let name = named.segments.last().map_or("", String::as_str);
        named.segments.iter().any(|segment| segment == "store") && !HANDED_ON.contains(&name) && !is_type(name)
    };
    let mut found = Vec::new();
    for source in sources.iter().filter(|source| !source.is_in(SQL_PLACES)) {
        let words: Vec<&str> = source.tokens.iter().map(|(_, token)| token.as_str()).collect();
        for (i, window) in words.windows(2).enumerate().filter(|(_, window)| *window == ["pub", "use"]) {
            let tree: Vec<&str> = words[i + window.len()..].iter().copied().take_while(|token| *token != ";").collect();
            let line = source.tokens[i].0;
            let handed_on = Source::new(&source.file, &tree.join(" ")).breaches(is_wrong, &[]);
            found.extend(handed_on.into_iter().map(|breach| Breach { line, ..breach }));
        }
    }
    found
}

#[test]
fn rooms_hand_on_no_statements() {
    let bad = [
        ("programs/mod.rs", "pub use store::{Catalogue, capability, read_version};"),
        ("customers/mod.rs", "pub(crate) use self::store::read_customers;"),
        ("customers/mod.rs", "pub(crate) use store::read_customers as Customers;"),
        ("tiers/mod.rs", "pub(crate) use store::*;"),
        ("tiers/mod.rs", "pub(crate) use store;"),
        ("ledger/mod.rs", "mod a; pub use crate::book::store::scan;"),
        ("ledger/mod.rs", "pub(crate) use store::PAGE;"),
    ];
    let good = [
        ("programs/mod.rs", "pub use store::{Catalogue, capability}; use store::read_version;"),
        ("liability/mod.rs", "pub(crate) use store::TABLES; pub use summing::sum;"),
        ("audit/store.rs", "pub(super) use crate::book::store::scan;"),
    ];
    hold("a room hands on its capability, its tables and types of SQL alone", reexported_sql, &SOURCE, &bad, &good);
}
