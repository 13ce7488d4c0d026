//! The SQL of rewards: grants with the notes beside them.

use std::collections::BTreeMap;

use sqlx::PgConnection;

use crate::book::Entry;
use crate::book::store::{into_entries, select_entries};
use crate::database::{StoreError, Traced as _};
use crate::ids::AccountId;

/// A page of an account's grants, the newest first, with the notes beside them.
///
/// # Errors
/// If the database cannot be read.
pub(super) async fn list_grants(
    connection: &mut PgConnection,
    account_id: AccountId,
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<(Entry, String)>, StoreError> {
    let rows = select_entries!(
        "FROM lots l JOIN ledger_entries e ON e.account_id = l.account_id AND e.account_seq = l.lot_seq
         WHERE l.account_id = $1 AND l.lot_seq < $2 ORDER BY l.lot_seq DESC LIMIT $3",
        account_id.0,
        before.unwrap_or(i64::MAX),
        limit,
    )
    .fetch_all(&mut *connection)
    .traced("SELECT lots")
    .await?;
    let entries = into_entries(rows)?;
    let seqs: Vec<i64> = entries.iter().map(|entry| entry.id.account_seq).collect();
    let notes = sqlx::query!(
        "SELECT account_seq, note FROM entry_notes WHERE account_id = $1 AND account_seq = ANY($2)",
        account_id.0,
        &seqs,
    )
    .fetch_all(connection)
    .traced("SELECT entry_notes")
    .await?;
    let mut notes: BTreeMap<i64, String> = notes.into_iter().map(|row| (row.account_seq, row.note)).collect();
    let with_note = |entry: Entry| {
        let note = notes.remove(&entry.id.account_seq).unwrap_or_default();
        (entry, note)
    };
    Ok(entries.into_iter().map(with_note).collect())
}
