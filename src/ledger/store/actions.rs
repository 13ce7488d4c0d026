//! The SQL that finds the entries of privileged actions.

use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;

use crate::database::{StoreError, Traced as _};
use crate::error::Defect;
use crate::ids::{AccountId, EntryId, PrincipalId, ProgramId};
use crate::ledger::actions::{ActionFilter, ActionKind, ActionPlace, WrittenAction};

/// The entries that stand for actions before a place, the newest first. Of each kind no more are read than the limit, by
/// an index of such entries alone: its condition must stand here word for word.
pub(in crate::ledger) async fn list_actions(
    connection: &mut PgConnection,
    program_id: &ProgramId,
    filter: &ActionFilter,
    before: ActionPlace,
    limit: i64,
) -> Result<Vec<WrittenAction>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT e.kind, e.account_id, e.account_seq, e.recorded_at, e.principal_id
           FROM unnest($2::text[]) AS k (kind)
           CROSS JOIN LATERAL (
               SELECT e.kind, e.account_id, e.account_seq, e.recorded_at, e.principal_id FROM ledger_entries e
               WHERE e.program_id = $1 AND e.kind = k.kind
                 AND e.kind IN ('program_applied', 'points_adjusted', 'entry_reversed', 'debt_incurred',
                                'entries_exported', 'customer_exported', 'customer_erased', 'tier_overridden',
                                'tier_released', 'entitlement_granted', 'entitlement_revoked', 'reevaluation_ordered', 'value_model_fitted')
                 AND e.actor = 'caller'
                 AND (e.key_hash IS NOT NULL OR e.kind NOT IN ('entry_reversed', 'debt_incurred'))
                 AND (e.recorded_at, e.account_id, e.account_seq) < ($3, $4, $5)
                 AND e.recorded_at >= coalesce($6, '-infinity'::timestamptz)
               ORDER BY e.recorded_at DESC, e.account_id DESC, e.account_seq DESC LIMIT $7 OFFSET 0
           ) e
           ORDER BY e.recorded_at DESC, e.account_id DESC, e.account_seq DESC LIMIT $7"#,
        program_id.as_str(),
        &filter.entry_kinds(),
        before.at.to_sqlx() as _,
        before.id,
        before.number,
        filter.from.map(|instant| instant.to_sqlx()) as _,
        limit,
    )
    .fetch_all(connection)
    .traced("SELECT ledger_entries")
    .await?;
    rows.into_iter()
        .map(|row| {
            let entry_id = EntryId { account_id: AccountId(row.account_id), account_seq: row.account_seq };
            let kind = ActionKind::of_entry(&row.kind)
                .ok_or_else(|| Defect::new(format!("entry {entry_id}: an entry of kind {} is no action", row.kind)))?;
            let (written_at, principal_id) = (row.recorded_at.to_jiff(), PrincipalId(row.principal_id));
            Ok(WrittenAction { kind, entry_id, written_at, principal_id })
        })
        .collect()
}
