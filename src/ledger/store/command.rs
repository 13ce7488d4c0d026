//! The SQL that finds what one command wrote.

use sqlx::PgConnection;

use crate::book::store::{EntryRow, select_entries};
use crate::database::{StoreError, Traced as _};
use crate::ids::EntryId;

/// All rows of the command that wrote an entry, on whatever accounts, by account and number; none if there is no such
/// entry. They are as they are stored: also those that this version of the service does not understand.
///
/// All rows of a command were written at the same instant, and rows lie in the order in which they were written. So the
/// index of instants leads to the few pages that they are on, however large the ledger is.
///
/// # Errors
/// If the database cannot be read.
pub(in crate::ledger) async fn read_command_of(
    connection: &mut PgConnection,
    entry_id: EntryId,
) -> Result<Vec<EntryRow>, StoreError> {
    let rows = select_entries!(
        "FROM ledger_entries o
         JOIN ledger_entries e ON e.recorded_at = o.recorded_at AND e.command_id = o.command_id
         WHERE o.account_id = $1 AND o.account_seq = $2
         ORDER BY e.account_id, e.account_seq",
        entry_id.account_id.0,
        entry_id.account_seq,
    )
    .fetch_all(connection)
    .traced("SELECT ledger_entries")
    .await?;
    Ok(rows)
}
