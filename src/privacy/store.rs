//! The SQL of a person's document, beside what the other rooms read.

use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use sqlx::PgConnection;

use super::document::OwnPrincipal;
use crate::book::Entry;
use crate::book::store::{EntryRow, entry_row, select_entries};
use crate::database::{StoreError, Traced as _};
use crate::error::Defect;
use crate::ids::{AccountId, CustomerId, ProgramId};

/// All entries of an account in order, each with what a caller wrote beside it. Rows are read one by one as they are asked
/// for.
pub(super) fn scan_noted_entries(
    connection: &mut PgConnection,
    account_id: AccountId,
) -> BoxStream<'_, Result<(Entry, String), StoreError>> {
    let rows = select_entries!(
        with r#"n.note AS "note?"
           FROM ledger_entries e
           LEFT JOIN entry_notes n ON n.account_id = e.account_id AND n.account_seq = e.account_seq
           WHERE e.account_id = $1 ORDER BY e.account_seq"#,
        account_id.0,
    );
    let rows = rows.map(|row| {
        let note = row.note.unwrap_or_default();
        let entry: EntryRow = entry_row!(row);
        Ok((Entry::try_from(&entry)?, note))
    });
    rows.fetch(connection).map(|row| row?.map_err(|defect: Defect| StoreError::from(defect))).boxed()
}

/// The principals that stand for a customer of a program. A customer of the same id elsewhere may be somebody else.
pub(super) async fn read_own_principals(
    connection: &mut PgConnection,
    program_id: &ProgramId,
    customer_id: &CustomerId,
) -> Result<Vec<OwnPrincipal>, StoreError> {
    let rows = sqlx::query!(
        "SELECT p.principal_id, p.kind, p.issuer, p.subject, p.first_seen
         FROM principals p
         WHERE p.customer_id = $2 AND (p.program_ids IS NULL OR $1 = ANY (p.program_ids))
         ORDER BY p.first_seen, p.principal_id",
        program_id.as_str(),
        customer_id.as_str(),
    )
    .fetch_all(connection)
    .traced("SELECT principals")
    .await?;
    let principals = rows.into_iter().map(|row| OwnPrincipal {
        principal_id: row.principal_id,
        kind: row.kind,
        issuer: row.issuer,
        subject: row.subject,
        first_seen: row.first_seen.to_jiff(),
    });
    Ok(principals.collect())
}
