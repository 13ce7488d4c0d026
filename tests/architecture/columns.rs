//! Rows that travel as records: their columns are known by their order alone, so each list of them has the same one.

use std::collections::BTreeMap;

use crate::tree::{Tree, hold};

/// Where a macro has the columns of lots.
const LOTS: &str = "src/points/store/lots.rs";
/// Where a macro has the columns of standings.
const STANDINGS: &str = "src/tiers/store/rows.rs";

/// The text between the first two of these.
fn between<'a>(text: &'a str, begin: &str, end: &str) -> Option<&'a str> {
    Some(text.split_once(begin)?.1.split_once(end)?.0)
}

/// The fields of a struct of a file, in order.
fn fields(text: &str, name: &str) -> Vec<String> {
    let body = between(text, &format!("struct {name} {{\n"), "\n}").unwrap_or_default();
    let lines = body.lines().map(str::trim).filter(|line| !line.starts_with("//") && !line.starts_with('#'));
    let fields = lines.filter_map(|line| Some(line.split_once(": ")?.0.rsplit(' ').next()?.to_owned()));
    fields.collect()
}

/// The columns of the composite types that migrations make.
fn types(tree: &Tree) -> BTreeMap<String, Vec<String>> {
    let texts = tree.below("migrations/", ".sql").flat_map(|(_, text)| text.split("CREATE TYPE ").skip(1));
    let parsed = texts.filter_map(|text| {
        let (name, rest) = text.split_once(" AS (\n")?;
        let lines = rest.split_once("\n)")?.0.lines().map(str::trim);
        Some((name.to_owned(), lines.filter_map(|line| Some(line.split(' ').next()?.to_owned())).collect()))
    });
    parsed.collect()
}

/// What a list of selected columns calls them.
fn selected(list: &str) -> Vec<String> {
    let names = list.split(',').map(|column| {
        let column = column.trim();
        let alias = column.rsplit_once(" AS ").map(|(_, alias)| alias.trim_matches('"'));
        let name = alias.unwrap_or_else(|| column.rsplit('.').next().unwrap_or(column));
        name.split(['!', '?', ':']).next().unwrap_or(name).to_owned()
    });
    names.collect()
}

fn differ(file: &str, what: &str, found: &[String], expected: &[String]) -> Option<String> {
    let is_same = found == expected && !found.is_empty();
    (!is_same).then(|| format!("{file}: {what}: {} is not {}", found.join(", "), expected.join(", ")))
}

fn columns_out_of_order(tree: &Tree) -> Vec<String> {
    let (types, mut found) = (types(tree), Vec::new());
    for (file, text) in tree.below("src/", ".rs") {
        for sent in text.split("\nsent_as!(").skip(1) {
            let Some((name, rest)) = sent.split_once(", \"") else { continue };
            let of_type = rest.split('"').next().and_then(|name| types.get(name)).cloned().unwrap_or_default();
            found.extend(differ(file, name, &fields(text, name), &of_type));
        }
        for insert in text.split("INSERT INTO ").skip(1) {
            let is_of_a_type = between(insert, ")\n", "[]").map(str::trim);
            let name = is_of_a_type.and_then(|it| it.strip_prefix("SELECT * FROM unnest($1::"));
            let Some(name) = name.filter(|name| name.starts_with("sent_")) else { continue };
            let columns = selected(between(insert, "(", ")").unwrap_or_default());
            found.extend(differ(file, name, &columns, &types.get(name).cloned().unwrap_or_default()));
        }
        // One that is handed to a macro has its columns there.
        let selections =
            text.split(" selection!(").skip(1).filter(|it| !it.lines().next().is_some_and(|line| line.ends_with("),")));
        for part in selections {
            let Some(name) = part.split(',').nth(1).map(str::trim) else { continue };
            let columns = selected(between(part, "SELECT ", "FROM ").unwrap_or_default());
            found.extend(differ(file, name, &columns, &fields(text, name)));
        }
    }
    let (file, text) = (LOTS, tree.text(LOTS));
    let list = between(text, r##"$read_for + r#""##, "FROM ").unwrap_or_default();
    let columns = selected(&format!("why{list}"));
    found.extend(differ(file, "LotRow", &columns, &fields(text, "LotRow")));
    let (file, text) = (STANDINGS, tree.text(STANDINGS));
    let list = between(text, r##"$first + ""##, r##", " + $last_seq"##).unwrap_or_default();
    let columns = selected(&format!("{list}, last_seq"));
    found.extend(differ(file, "StandingRow", &columns, &fields(text, "StandingRow")));
    found
}

#[test]
fn columns_of_records_stand_in_one_order() {
    let tree = &crate::tree::TREE;
    let changed = |path: &str, from: &str, to: &str| Tree::clone(tree).replaced(path, from, to);
    let wrong = [
        changed("migrations/0007_lots.sql", "    pending        bigint,\n", ""),
        changed(LOTS, "    pending: i64,\n    available: i64,\n", "    available: i64,\n    pending: i64,\n"),
        changed(STANDINGS, "forced_until, forced_seq,", "forced_from, forced_seq,"),
        changed("src/points/store/writes.rs", "pending, available, held", "available, pending, held"),
        changed(LOTS, "\"expired!\"", "\"expiry!\""),
        changed("src/programs/store.rs", "    version: i32,\n    document", "    versions: i32,\n    document"),
    ];
    hold(columns_out_of_order, &wrong);
}
