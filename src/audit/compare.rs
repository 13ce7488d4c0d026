//! Compares rows as the entries say they are with rows as they are stored, and tells where and by how much they differ.

use std::cmp::Ordering;

use super::mentions::{Accepted, StoredActivity};
use crate::activities::commands::key_hash;
use crate::book::{Account, Cell, Row, States};
use crate::ids::{AccountId, ActivityId};

/// Tells every row of an account that differs, is missing, or should not be there.
pub(super) fn compare_rows(account_id: AccountId, folded: &States, stored: &States, differ: &mut dyn FnMut(String)) {
    // Both hold the same states in the same order.
    for (folded, stored) in folded.rows(account_id).zip(stored.rows(account_id)) {
        compare_all(account_id, folded, stored, differ);
    }
}

/// Tells every row of two lists that differs, is missing, or should not be there. Both are sorted.
fn compare_all<'a>(
    account_id: AccountId,
    folded: impl Iterator<Item = Row<'a>>,
    stored: impl Iterator<Item = Row<'a>>,
    differ: &mut dyn FnMut(String),
) {
    let (mut folded, mut stored) = (folded.peekable(), stored.peekable());
    loop {
        let order = match (folded.peek(), stored.peek()) {
            (None, None) => break,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(folded), Some(stored)) => place(folded).cmp(&place(stored)),
        };
        let folded = if order.is_le() { folded.next() } else { None };
        let stored = if order.is_ge() { stored.next() } else { None };
        match (folded, stored) {
            (Some(folded), Some(stored)) => compare_columns(account_id, &folded, &stored, differ),
            (Some(missing), None) => {
                differ(format!("{} is missing: by the entries it has {}", name(account_id, &missing), list(&missing)));
            }
            (None, Some(extra)) => {
                differ(format!(
                    "{} is stored and no entry makes it: it has {}",
                    name(account_id, &extra),
                    list(&extra)
                ));
            }
            (None, None) => {}
        }
    }
}

/// Tells every column in which two rows differ.
fn compare_columns(account_id: AccountId, folded: &Row<'_>, stored: &Row<'_>, differ: &mut dyn FnMut(String)) {
    // Nearly all rows are equal, so nothing is formatted for them.
    if folded.columns == stored.columns {
        return;
    }
    for ((column, by_entries), (_, as_stored)) in folded.columns.iter().zip(&stored.columns) {
        if by_entries != as_stored {
            let row = name(account_id, folded);
            let by = distance(by_entries, as_stored);
            differ(format!("{row}: {column} is {by_entries} by the entries, {as_stored} as stored{by}"));
        }
    }
}

/// Tells in what an account's head differs from what the entries say.
pub(super) fn compare_heads(
    account_id: AccountId,
    folded: Option<&Account>,
    stored: Option<&Account>,
    differ: &mut dyn FnMut(String),
) {
    let (Some(folded), Some(stored)) = (folded, stored) else {
        if let Some(folded) = folded {
            differ(format!("account {} has {} entries and no head", account_id.0, folded.head));
        }
        return;
    };
    compare_columns(account_id, &folded.row(), &stored.row(), differ);
    compare_all(account_id, folded.balance_rows(), stored.balance_rows(), differ);
    // A stored time may be too early: then the service looks too soon, and looks again. It must not be too late.
    let Some(due_at) = folded.next_due_at else { return };
    let account = account_id.0;
    match stored.next_due_at {
        Some(noted) if noted <= due_at => {}
        Some(noted) => differ(format!(
            "account {account}: next_due_at is {due_at} by the entries, {noted} as stored (late by {:#})",
            noted.duration_since(due_at)
        )),
        None => differ(format!("account {account}: next_due_at is {due_at} by the entries, none as stored")),
    }
}

/// What rows are sorted by.
fn place<'a>(row: &'a Row<'_>) -> (&'static str, &'a Cell<'a>) {
    (row.noun, &row.key)
}

fn name(account_id: AccountId, row: &Row<'_>) -> String {
    let account = account_id.0;
    match (row.noun, &row.key) {
        ("", _) => format!("account {account}"),
        (noun, Cell::Absent) => format!("{noun} of account {account}"),
        (noun, key) => format!("{noun} {key} of account {account}"),
    }
}

fn list(row: &Row<'_>) -> String {
    let columns = row.columns.iter().filter(|(_, cell)| !matches!(cell, Cell::Absent | Cell::Number(0)));
    columns.map(|(column, cell)| format!("{column} {cell}")).collect::<Vec<_>>().join(", ")
}

/// By how much a stored value is off; empty for what has no distance.
fn distance(by_entries: &Cell<'_>, as_stored: &Cell<'_>) -> String {
    match (by_entries, as_stored) {
        (Cell::Number(a), Cell::Number(b)) => format!(" ({:+})", i128::from(*b) - i128::from(*a)),
        (Cell::Instant(a), Cell::Instant(b)) => {
            let by = b.duration_since(*a);
            format!(" ({}{:#})", if by.is_negative() { "-" } else { "+" }, by.abs())
        }
        _ => String::new(),
    }
}

/// Tells in what an activity's row differs from the entry that accepted it.
pub(super) fn compare_activity(entry: &Accepted, row: &StoredActivity, mut tell: impl FnMut(String)) {
    let id = entry.id;
    let mut compare = |column: &str, by_entry: String, as_stored: String| {
        if by_entry != as_stored {
            tell(format!("activity of entry {id}: {column} is {by_entry} by the entry, {as_stored} as stored"));
        }
    };
    let number = |number: Option<i64>| number.map_or_else(|| "none".to_owned(), |number| number.to_string());
    compare("purchase_seq", number(entry.purchase), number(row.purchase));
    compare("amount", number(entry.amount), number(row.amount));
    compare("happened_at", entry.happened_at.to_string(), row.happened_at.to_string());
    compare("recorded_at", entry.recorded_at.to_string(), row.recorded_at.to_string());
    // The ledger knows an activity's id by its hash alone.
    let hash = ActivityId::try_from(row.activity_id.as_str()).ok().map(|id| key_hash(&id));
    if hash.is_none() || hash != entry.key_hash {
        tell(format!("activity of entry {id}: its id is not the one that was accepted"));
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn row<'a>(columns: &[(&'static str, Cell<'a>)]) -> Row<'a> {
        Row { noun: "lot", key: Cell::Number(5), columns: columns.to_vec() }
    }

    fn differences(folded: &Row<'_>, stored: &Row<'_>) -> Vec<String> {
        let mut told = Vec::new();
        compare_columns(AccountId(Uuid::nil()), folded, stored, &mut |what| told.push(what));
        told
    }

    #[test]
    fn a_difference_says_where_and_by_how_much() {
        let at = |text: &str| Cell::Instant(text.parse().unwrap());
        let folded =
            row(&[("available", 40.into()), ("slides", false.into()), ("vests_at", at("2026-01-01T00:00:00Z"))]);
        assert_eq!(differences(&folded, &folded.clone()), [""; 0]);
        let stored =
            row(&[("available", 50.into()), ("slides", true.into()), ("vests_at", at("2026-01-01T01:00:00Z"))]);
        let lot = "lot 5 of account 00000000-0000-0000-0000-000000000000";
        assert_eq!(
            differences(&folded, &stored),
            [
                format!("{lot}: available is 40 by the entries, 50 as stored (+10)"),
                format!("{lot}: slides is false by the entries, true as stored"),
                format!("{lot}: vests_at is 2026-01-01T00:00:00Z by the entries, 2026-01-01T01:00:00Z as stored (+1h)"),
            ]
        );
        let extremes = (row(&[("points", i64::MIN.into())]), row(&[("points", i64::MAX.into())]));
        assert!(differences(&extremes.0, &extremes.1)[0].ends_with("(+18446744073709551615)"));
    }
}
