//! The SQL of activities, and their shelf.

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::book::{Defect, Entry, Scope, Shelf};
use crate::database::Traced as _;
use crate::ids::{AccountId, ActivityId, EntryId};

/// An activity as stored: for now always a purchase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActivityRow {
    /// The entry that accepted it.
    pub entry_id: EntryId,
    /// The business's own name of it.
    pub activity_id: ActivityId,
    /// What was spent, in minor units of the program's currency.
    pub amount: i64,
    /// When the customer did it.
    pub happened_at: Timestamp,
    /// When the service accepted it.
    pub recorded_at: Timestamp,
}

/// The activities that a batch accepted: a source of record, only ever added to.
#[derive(Default)]
pub struct ActivityShelf(Vec<ActivityRow>);

impl ActivityShelf {
    /// Adds an accepted activity.
    pub fn add(&mut self, row: ActivityRow) {
        self.0.push(row);
    }
}

impl Shelf for ActivityShelf {
    fn load<'a>(
        &'a mut self,
        _connection: &'a mut PgConnection,
        _scope: &'a Scope,
    ) -> BoxFuture<'a, Result<(), sqlx::Error>> {
        // Whether an activity is known already is told by the ledger: its id is its key.
        Box::pin(async { Ok(()) })
    }

    fn apply(&mut self, _entry: &Entry) -> Result<(), Defect> {
        Ok(())
    }

    fn write<'a>(&'a mut self, connection: &'a mut PgConnection) -> BoxFuture<'a, Result<(), sqlx::Error>> {
        Box::pin(async move { if self.0.is_empty() { Ok(()) } else { insert_activities(connection, &self.0).await } })
    }
}

async fn insert_activities(connection: &mut PgConnection, rows: &[ActivityRow]) -> Result<(), sqlx::Error> {
    let accounts: Vec<Uuid> = rows.iter().map(|row| row.entry_id.account_id.0).collect();
    let seqs: Vec<i64> = rows.iter().map(|row| row.entry_id.account_seq).collect();
    let names: Vec<&str> = rows.iter().map(|row| row.activity_id.as_str()).collect();
    let amounts: Vec<i64> = rows.iter().map(|row| row.amount).collect();
    let happened: Vec<_> = rows.iter().map(|row| row.happened_at.to_sqlx()).collect();
    let recorded: Vec<_> = rows.iter().map(|row| row.recorded_at.to_sqlx()).collect();
    sqlx::query!(
        "INSERT INTO activities (account_id, account_seq, activity_id, kind, amount, happened_at, recorded_at)
         SELECT account_id, account_seq, activity_id, 'purchase', amount, happened_at, recorded_at
         FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::bigint[], $5::timestamptz[], $6::timestamptz[])
         AS u (account_id, account_seq, activity_id, amount, happened_at, recorded_at)",
        &accounts,
        &seqs,
        &names as _,
        &amounts,
        &happened,
        &recorded,
    )
    .execute(connection)
    .traced("INSERT activities")
    .await?;
    Ok(())
}

/// A page of an account's activities, the newest accepted first.
///
/// # Errors
/// If the database cannot be read.
pub async fn list_activities(
    connection: &mut PgConnection,
    account_id: AccountId,
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<ActivityRow>, sqlx::Error> {
    let rows = sqlx::query!(
        "SELECT account_seq, activity_id, amount, happened_at, recorded_at FROM activities
         WHERE account_id = $1 AND account_seq < $2 ORDER BY account_seq DESC LIMIT $3",
        account_id.0,
        before.unwrap_or(i64::MAX),
        limit,
    )
    .fetch_all(connection)
    .traced("SELECT activities")
    .await?;
    rows.into_iter()
        .map(|row| {
            let activity_id = ActivityId::try_from(row.activity_id);
            Ok(ActivityRow {
                entry_id: EntryId { account_id, account_seq: row.account_seq },
                activity_id: activity_id.map_err(|error| sqlx::Error::Decode(error.into()))?,
                amount: row.amount,
                happened_at: row.happened_at.to_jiff(),
                recorded_at: row.recorded_at.to_jiff(),
            })
        })
        .collect()
}
