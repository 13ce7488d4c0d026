//! The SQL that reads the ledger.

pub(super) mod actions;
pub mod command;
pub(super) mod statement;

use futures_util::StreamExt as _;

use futures_util::stream::BoxStream;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::book::store::{EntryRow, entry_row, select_entries};
use crate::book::{EntryRange, StoredEntry};
use crate::database::{StoreError, Traced as _, read_page};
use crate::error::Defect;
use crate::ids::{AccountId, CustomerId, EntryId, ProgramId};

/// Which of an account's entries to list.
#[derive(Clone, Debug, Default)]
pub struct EntryFilter {
    /// Kinds as they are stored. If there are none, entries of every kind are listed.
    pub kinds: Vec<String>,
    /// Entries that took effect at this instant or later.
    pub from: Option<Timestamp>,
    /// Entries that took effect before this instant.
    pub until: Option<Timestamp>,
    /// Whether the newest comes first. Otherwise the oldest does.
    pub newest_first: bool,
}

impl EntryFilter {
    /// Which of the entries of its period the page after a cursor looks at, at most so many; and whether there are more
    /// behind them.
    #[must_use]
    pub fn look_at(&self, within: EntryRange, after: Option<i64>, most: i64) -> (EntryRange, bool) {
        let EntryRange { first, last } = within;
        if self.newest_first {
            let last = after.map_or(last, |after| last.min(after - 1));
            let range = EntryRange { first: first.max(last - most + 1), last };
            (range, range.first > first && last >= first)
        } else {
            let first = after.map_or(first, |after| first.max(after + 1));
            let range = EntryRange { first, last: last.min(first + most - 1) };
            (range, range.last < last)
        }
    }
}

/// An entry and its customer. There is no customer for an account of the program, nor for one who was forgotten.
pub type OwnedEntry = (StoredEntry, Option<CustomerId>);

/// A range of instants. Its first instant belongs to it, its last does not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimeRange {
    /// When it begins. Absent: before every entry.
    pub from: Option<Timestamp>,
    /// When it ends. Absent: after every entry.
    pub until: Option<Timestamp>,
}

/// A page of an account's entries, of those that the page looks at.
///
/// # Errors
/// If the database cannot be read.
pub async fn list_entries(
    connection: &mut PgConnection,
    account_id: AccountId,
    filter: &EntryFilter,
    range: EntryRange,
    limit: i64,
) -> Result<Vec<StoredEntry>, StoreError> {
    let stored = |row: Result<EntryRow, sqlx::Error>| Ok::<_, StoreError>(row?.into());
    if filter.newest_first {
        let select = select_entries!(
            "FROM ledger_entries e
             WHERE account_id = $1 AND account_seq BETWEEN $2 AND $3
               AND (cardinality($4::text[]) = 0 OR kind = ANY($4))
             ORDER BY account_seq DESC LIMIT $5",
            account_id.0,
            range.first,
            range.last,
            &filter.kinds,
            limit,
        );
        read_page(select.fetch(connection).map(stored), StoredEntry::bytes).traced("SELECT ledger_entries").await
    } else {
        let select = select_entries!(
            "FROM ledger_entries e
             WHERE account_id = $1 AND account_seq BETWEEN $2 AND $3
               AND (cardinality($4::text[]) = 0 OR kind = ANY($4))
             ORDER BY account_seq LIMIT $5",
            account_id.0,
            range.first,
            range.last,
            &filter.kinds,
            limit,
        );
        read_page(select.fetch(connection).map(stored), StoredEntry::bytes).traced("SELECT ledger_entries").await
    }
}

/// One entry of a program.
///
/// # Errors
/// If the database cannot be read.
pub async fn read_entry(
    connection: &mut PgConnection,
    program_id: &ProgramId,
    entry_id: EntryId,
) -> Result<Option<StoredEntry>, StoreError> {
    let row = select_entries!(
        "FROM ledger_entries e WHERE account_id = $1 AND account_seq = $2 AND program_id = $3",
        entry_id.account_id.0,
        entry_id.account_seq,
        program_id.as_str(),
    )
    .fetch_optional(connection)
    .traced("SELECT ledger_entries")
    .await?;
    Ok(row.map(StoredEntry::from))
}

/// How many entries of a program took effect in a period, behind one in the order of an export.
///
/// # Errors
/// If the database cannot be read.
pub async fn count_entries(
    connection: &mut PgConnection,
    program_id: &ProgramId,
    range: TimeRange,
    after: Option<EntryId>,
) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM ledger_entries
         WHERE program_id = $1 AND ($2::timestamptz IS NULL OR effective_at >= $2)
           AND ($3::timestamptz IS NULL OR effective_at < $3) AND (account_id, account_seq) > ($4, $5)"#,
        program_id.as_str(),
        range.from.map(|instant| instant.to_sqlx()) as _,
        range.until.map(|instant| instant.to_sqlx()) as _,
        after.map_or(Uuid::nil(), |after| after.account_id.0),
        after.map_or(0, |after| after.account_seq),
    )
    .fetch_one(connection)
    .traced("SELECT ledger_entries")
    .await
}

/// The entries of a program that took effect in a period, by account and number. Each comes with the customer whose
/// account it is on, if there is one. Those up to `after` are left out. Rows are read one by one as the caller asks for
/// them.
pub fn scan_entries<'a>(
    connection: &'a mut PgConnection,
    program_id: &ProgramId,
    range: TimeRange,
    after: Option<EntryId>,
) -> BoxStream<'a, Result<OwnedEntry, StoreError>> {
    let rows = select_entries!(
        with r#"(SELECT c.customer_id FROM customers c WHERE c.account_id = e.account_id) AS "customer_id?"
           FROM ledger_entries e
           WHERE program_id = $1 AND ($2::timestamptz IS NULL OR effective_at >= $2)
             AND ($3::timestamptz IS NULL OR effective_at < $3) AND (account_id, account_seq) > ($4, $5)
           ORDER BY account_id, account_seq"#,
        program_id.as_str(),
        range.from.map(|instant| instant.to_sqlx()) as _,
        range.until.map(|instant| instant.to_sqlx()) as _,
        after.map_or(Uuid::nil(), |after| after.account_id.0),
        after.map_or(0, |after| after.account_seq),
    );
    let rows = rows.map(|row| {
        let customer_id = row.customer_id.map(CustomerId::try_from).transpose();
        let customer_id =
            customer_id.map_err(|error| Defect::new(format!("the customer id of account {}: {error}", row.account_id)));
        let entry: EntryRow = entry_row!(row);
        Ok((entry.into(), customer_id?))
    });
    rows.fetch(connection).map(|row| row?.map_err(|defect: Defect| StoreError::from(defect))).boxed()
}
