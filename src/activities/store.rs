//! The SQL of activities, and their state.

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::book::{Defect, Earlier, Entry, Scope, State};
use crate::database::Traced as _;
use crate::ids::{AccountId, ActivityId, EntryId};

/// An activity as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActivityRow {
    /// The entry that accepted it.
    pub entry_id: EntryId,
    /// The business's own name of it.
    pub activity_id: ActivityId,
    /// Of a refund: the entry that accepted its purchase, and the business's own name of that.
    pub purchase: Option<(EntryId, ActivityId)>,
    /// What was spent or given back, in minor units of the program's currency.
    pub amount: i64,
    /// When the customer did it.
    pub happened_at: Timestamp,
    /// When the service accepted it.
    pub recorded_at: Timestamp,
}

/// The activities that a batch accepted: a source of record, only ever added to.
#[derive(Default)]
pub struct ActivitiesState(Vec<ActivityRow>);

impl ActivitiesState {
    /// Adds an accepted activity.
    pub fn add(&mut self, row: ActivityRow) {
        self.0.push(row);
    }
}

impl State for ActivitiesState {
    fn load<'a>(
        &'a mut self,
        _connection: &'a mut PgConnection,
        _scope: &'a Scope,
        _earlier: Earlier<'a>,
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
    let purchases: Vec<Option<i64>> =
        rows.iter().map(|row| row.purchase.as_ref().map(|(entry_id, _)| entry_id.account_seq)).collect();
    let amounts: Vec<i64> = rows.iter().map(|row| row.amount).collect();
    let happened: Vec<_> = rows.iter().map(|row| row.happened_at.to_sqlx()).collect();
    let recorded: Vec<_> = rows.iter().map(|row| row.recorded_at.to_sqlx()).collect();
    sqlx::query!(
        "INSERT INTO activities (account_id, account_seq, activity_id, kind, purchase_seq, amount, happened_at, recorded_at)
         SELECT account_id, account_seq, activity_id, CASE WHEN purchase_seq IS NULL THEN 'purchase' ELSE 'refund' END,
             purchase_seq, amount, happened_at, recorded_at
         FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::bigint[], $5::bigint[], $6::timestamptz[],
             $7::timestamptz[])
         AS u (account_id, account_seq, activity_id, purchase_seq, amount, happened_at, recorded_at)",
        &accounts,
        &seqs,
        &names as _,
        &purchases as _,
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
        r#"SELECT a.account_seq, a.activity_id, a.amount, a.happened_at, a.recorded_at,
                  p.account_seq AS "purchase_seq?", p.activity_id AS "purchase_id?"
           FROM activities a
           LEFT JOIN activities p ON p.account_id = a.account_id AND p.account_seq = a.purchase_seq
           WHERE a.account_id = $1 AND a.account_seq < $2 ORDER BY a.account_seq DESC LIMIT $3"#,
        account_id.0,
        before.unwrap_or(i64::MAX),
        limit,
    )
    .fetch_all(connection)
    .traced("SELECT activities")
    .await?;
    rows.into_iter()
        .map(|row| {
            let parse = |id: String| ActivityId::try_from(id).map_err(|error| sqlx::Error::Decode(error.into()));
            let purchase = match (row.purchase_seq, row.purchase_id) {
                (Some(account_seq), Some(id)) => Some((EntryId { account_id, account_seq }, parse(id)?)),
                _ => None,
            };
            Ok(ActivityRow {
                entry_id: EntryId { account_id, account_seq: row.account_seq },
                activity_id: parse(row.activity_id)?,
                purchase,
                amount: row.amount,
                happened_at: row.happened_at.to_jiff(),
                recorded_at: row.recorded_at.to_jiff(),
            })
        })
        .collect()
}
