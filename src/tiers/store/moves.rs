//! What became of the tiers of customers, month by month.

use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::book::{Defect, TierMove};
use crate::database::{StoreError, Traced as _};
use crate::ids::AccountId;
use crate::tiers::statistics::tally::{Became, Months};

/// What became of accounts' tiers in each month until an instant: the place of the month, what, and how often.
///
/// # Errors
/// If the database cannot be read, or an entry cannot be understood.
pub(in crate::tiers) async fn count_moves(
    connection: &mut PgConnection,
    accounts: &[AccountId],
    months: &Months,
    until: Timestamp,
) -> Result<Vec<(usize, Became, i64)>, StoreError> {
    let ids: Vec<Uuid> = accounts.iter().map(|account| account.0).collect();
    let begins: Vec<jiff_sqlx::Timestamp> = months.begins.iter().map(|begin| begin.to_sqlx()).collect();
    // `width_bucket` tells 0 before the first month.
    let rows = sqlx::query!(
        r#"SELECT m.month AS "month!", m.kind AS "kind!", m.change, m.is_first AS "is_first!", count(*) AS "count!"
           FROM (
               SELECT width_bucket(e.effective_at, $2::timestamptz[]) AS month, e.kind, e.detail ->> 'change' AS change,
                      e.detail ->> 'from' IS NULL AS is_first
               FROM unnest($1::uuid[]) AS u (wanted)
               JOIN ledger_entries e ON e.account_id = u.wanted
               WHERE e.kind IN ('tier_changed', 'tier_imported', 'tier_overridden', 'tier_released')
                 AND (e.kind <> 'tier_imported' OR e.detail ->> 'hidden' IS NOT NULL
                      OR e.detail ->> 'from' IS DISTINCT FROM e.detail ->> 'to')
                 AND e.effective_at <= $3
           ) m
           WHERE m.month > 0
           GROUP BY 1, 2, 3, 4"#,
        &ids,
        &begins as _,
        until.to_sqlx() as _,
    )
    .fetch_all(connection)
    .traced("SELECT ledger_entries")
    .await?;
    let moves: Result<Vec<_>, Defect> = rows
        .into_iter()
        .map(|row| {
            let became = match (row.kind.as_str(), row.change.as_deref()) {
                ("tier_changed", None) if row.is_first => Became::Joined,
                ("tier_changed", change) => {
                    let known = |word: &str| TierMove::from_stored(word).ok_or_else(|| unknown(word));
                    Became::of_move(change.map(known).transpose()?)
                }
                ("tier_imported", _) => Became::Imported,
                ("tier_overridden", _) => Became::Overridden,
                (_, _) => Became::Released,
            };
            Ok((usize::try_from(row.month - 1).unwrap_or(0), became, row.count))
        })
        .collect();
    Ok(moves?)
}

fn unknown(word: &str) -> Defect {
    Defect::unknown(format!("a change of a tier is {word:?}"))
}
