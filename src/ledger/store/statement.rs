//! The SQL that reads customers' statements.

use std::collections::BTreeMap;

use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;

use super::TimeRange;
use crate::book::store::{into_entries, select_entries};
use crate::book::{Entry, Pocket};
use crate::database::{StoreError, Traced as _};
use crate::error::Defect;
use crate::ids::{AccountId, ActivityId, EntryId};

/// Some consecutive entries of an account, by number. There are none if `last` is below `first`.
#[derive(Clone, Copy, Debug)]
pub(in crate::ledger) struct EntryRange {
    pub(in crate::ledger) first: i64,
    pub(in crate::ledger) last: i64,
}

/// How many points went from one pocket to another.
#[derive(Clone, Copy, Debug)]
pub(in crate::ledger) struct Flow {
    from: Pocket,
    to: Pocket,
    points: i128,
}

impl Flow {
    /// The flow of one entry, if it moved points.
    pub(in crate::ledger) fn of(entry: &Entry) -> Option<Self> {
        let movement = entry.movement?;
        Some(Self { from: movement.from, to: movement.to, points: movement.points.into() })
    }

    /// Adds the flow to sums in the order of [`Pocket::ALL`]. The sum of a source grows when points leave it.
    pub(in crate::ledger) fn add_to(self, sums: &mut [i128; 8]) {
        for (sum, pocket) in sums.iter_mut().zip(Pocket::ALL) {
            let is_source = matches!(pocket, Pocket::Issued | Pocket::Owed);
            let sign = if is_source { -1 } else { 1 };
            if *pocket == self.from {
                *sum -= sign * self.points;
            }
            if *pocket == self.to {
                *sum += sign * self.points;
            }
        }
    }
}

/// Which entries of an account took effect in a period. An account's time never goes back, so they are consecutive. If
/// there are none, the range is empty and begins where they would be.
pub(in crate::ledger) async fn find_entries_in(
    connection: &mut PgConnection,
    account_id: AccountId,
    range: TimeRange,
) -> Result<EntryRange, sqlx::Error> {
    let row = sqlx::query!(
        r#"SELECT count(*) FILTER (WHERE $2::timestamptz IS NOT NULL AND effective_at < $2) AS "before!",
                  count(*) FILTER (WHERE $3::timestamptz IS NULL OR effective_at < $3) AS "until!"
           FROM ledger_entries WHERE account_id = $1"#,
        account_id.0,
        range.from.map(|from| from.to_sqlx()) as _,
        range.until.map(|until| until.to_sqlx()) as _,
    )
    .fetch_one(connection)
    .traced("SELECT ledger_entries")
    .await?;
    // Numbers have no gaps, so a count of entries is the number of the last.
    Ok(EntryRange { first: row.before + 1, last: row.until })
}

/// Adds up the points that some entries moved, for each pair of pockets.
pub(in crate::ledger) async fn sum_flows(
    connection: &mut PgConnection,
    account_id: AccountId,
    range: EntryRange,
) -> Result<Vec<Flow>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT from_pocket AS "from_pocket!", to_pocket AS "to_pocket!", sum(points)::text AS "points!"
           FROM ledger_entries
           WHERE account_id = $1 AND account_seq BETWEEN $2 AND $3 AND points IS NOT NULL
           GROUP BY from_pocket, to_pocket"#,
        account_id.0,
        range.first,
        range.last,
    )
    .fetch_all(connection)
    .traced("SELECT ledger_entries")
    .await?;
    let damaged = || {
        let EntryRange { first, last } = range;
        let what = "one moves points between unknown pockets, or too many";
        Defect::new(format!("entries {first} to {last} of account {}: {what}", account_id.0))
    };
    rows.into_iter()
        .map(|row| {
            Ok(Flow {
                from: Pocket::from_stored(&row.from_pocket).ok_or_else(damaged)?,
                to: Pocket::from_stored(&row.to_pocket).ok_or_else(damaged)?,
                points: row.points.parse().map_err(|_| damaged())?,
            })
        })
        .collect()
}

/// The entries of a range that moved points, the oldest first.
pub(in crate::ledger) async fn list_moves(
    connection: &mut PgConnection,
    account_id: AccountId,
    range: EntryRange,
    limit: i64,
) -> Result<Vec<Entry>, StoreError> {
    let rows = select_entries!(
        "FROM ledger_entries e
         WHERE account_id = $1 AND account_seq BETWEEN $2 AND $3 AND points IS NOT NULL
         ORDER BY account_seq LIMIT $4",
        account_id.0,
        range.first,
        range.last,
        limit,
    )
    .fetch_all(connection)
    .traced("SELECT ledger_entries")
    .await?;
    into_entries(rows)
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
