//! The SQL that reads customers' statements.

use std::collections::BTreeMap;

use futures_util::StreamExt as _;
use sqlx::PgConnection;

use crate::book::store::select_entries;
use crate::book::{Entry, EntryRange};
use crate::database::{StoreError, Traced as _, read_page};
use crate::error::Defect;
use crate::ids::{AccountId, ActivityId, EntryId};

/// The entries of a range that moved points, the oldest first.
pub(in crate::ledger) async fn list_moves(
    connection: &mut PgConnection,
    account_id: AccountId,
    range: EntryRange,
    limit: i64,
) -> Result<Vec<Entry>, StoreError> {
    let select = select_entries!(
        "FROM ledger_entries e
         WHERE account_id = $1 AND account_seq BETWEEN $2 AND $3 AND points IS NOT NULL
         ORDER BY account_seq LIMIT $4",
        account_id.0,
        range.first,
        range.last,
        limit,
    );
    let rows = select.fetch(connection).map(|row| Ok::<_, StoreError>(Entry::try_from(&row?)?));
    read_page(rows, Entry::bytes).traced("SELECT ledger_entries").await
}

/// The business's own names of activities, by the numbers of the entries that accepted them.
pub(in crate::ledger) async fn read_activity_ids(
    connection: &mut PgConnection,
    account_id: AccountId,
    seqs: &[i64],
) -> Result<BTreeMap<i64, ActivityId>, StoreError> {
    let rows = sqlx::query!(
        "SELECT account_seq, activity_id FROM activities WHERE account_id = $1 AND account_seq = ANY($2)",
        account_id.0,
        seqs,
    )
    .fetch_all(connection)
    .traced("SELECT activities")
    .await?;
    rows.into_iter()
        .map(|row| {
            let entry_id = EntryId { account_id, account_seq: row.account_seq };
            let activity_id = ActivityId::try_from(row.activity_id)
                .map_err(|error| Defect::new(format!("the activity of entry {entry_id}: {error}")))?;
            Ok((row.account_seq, activity_id))
        })
        .collect()
}

/// The notes that callers wrote beside entries, each with its author, by the numbers of the entries.
pub(in crate::ledger) async fn read_notes(
    connection: &mut PgConnection,
    account_id: AccountId,
    seqs: &[i64],
) -> Result<BTreeMap<i64, (String, String)>, sqlx::Error> {
    let rows = sqlx::query!(
        "SELECT account_seq, note, author FROM entry_notes WHERE account_id = $1 AND account_seq = ANY($2)",
        account_id.0,
        seqs,
    )
    .fetch_all(connection)
    .traced("SELECT entry_notes")
    .await?;
    Ok(rows.into_iter().map(|row| (row.account_seq, (row.note, row.author))).collect())
}
