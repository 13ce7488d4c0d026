//! The SQL of activities.

use async_trait::async_trait;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;
use uuid::Uuid;

use super::state::{ActivitiesState, ActivityRow};
use crate::book::{Capability, Defect, States, Store, Table, TableRights};
use crate::database::{StoreError, Traced as _, WritePart, sent_as, write_part};
use crate::ids::{AccountId, ActivityId, EntryId};

/// The tables of activities. The audit compares their rows with the entries that accepted them.
const TABLES: &[Table] = &[Table::source("activities", TableRights::AppendAndRemove)];

/// The room as the book knows it.
#[must_use]
pub(crate) fn capability() -> Capability {
    Capability::new(ActivitiesState::default, ActivitiesStore, TABLES)
}

struct ActivitiesStore;

#[async_trait]
impl Store for ActivitiesStore {
    // Loads nothing. An activity's id is its key, so the ledger tells whether it is known.

    fn write_parts(&self, states: &States) -> Result<Vec<WritePart>, StoreError> {
        let ActivitiesState { rows, erased } = states.get()?;
        let erase = write_part!(
            "DELETE FROM activities WHERE account_id = ANY($1::uuid[])",
            erased.iter().map(|account_id| account_id.0).collect::<Vec<Uuid>>(),
        );
        let part = write_part!(
            "INSERT INTO activities (account_id, account_seq, activity_id, kind, purchase_seq, amount, happened_at,
                 recorded_at)
             SELECT * FROM unnest($1::sent_activity[])",
            rows.iter().map(SentActivity::from).collect::<Vec<SentActivity>>(),
        );
        Ok(vec![part, erase])
    }
}

/// An activity as it is sent.
#[derive(sqlx::Encode)]
struct SentActivity {
    account_id: Uuid,
    account_seq: i64,
    activity_id: String,
    kind: &'static str,
    purchase_seq: Option<i64>,
    amount: i64,
    happened_at: jiff_sqlx::Timestamp,
    recorded_at: jiff_sqlx::Timestamp,
}

sent_as!(SentActivity, "sent_activity");

impl From<&ActivityRow> for SentActivity {
    fn from(row: &ActivityRow) -> Self {
        Self {
            account_id: row.entry_id.account_id.0,
            account_seq: row.entry_id.account_seq,
            activity_id: row.activity_id.as_str().to_owned(),
            kind: if row.purchase.is_some() { "refund" } else { "purchase" },
            purchase_seq: row.purchase.as_ref().map(|(entry_id, _)| entry_id.account_seq),
            amount: row.amount,
            happened_at: row.happened_at.to_sqlx(),
            recorded_at: row.recorded_at.to_sqlx(),
        }
    }
}

/// A page of an account's activities, the newest accepted first.
///
/// # Errors
/// If the database cannot be read.
pub(super) async fn list_activities(
    connection: &mut PgConnection,
    account_id: AccountId,
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<ActivityRow>, StoreError> {
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
            let entry_id = EntryId { account_id, account_seq: row.account_seq };
            let parse = |id: String| {
                ActivityId::try_from(id)
                    .map_err(|error| Defect::new(format!("the activity of entry {entry_id}: {error}")))
            };
            let purchase = match (row.purchase_seq, row.purchase_id) {
                (Some(account_seq), Some(id)) => Some((EntryId { account_id, account_seq }, parse(id)?)),
                _ => None,
            };
            Ok(ActivityRow {
                entry_id,
                activity_id: parse(row.activity_id)?,
                purchase,
                amount: row.amount,
                happened_at: row.happened_at.to_jiff(),
                recorded_at: row.recorded_at.to_jiff(),
            })
        })
        .collect()
}
