//! The SQL of activities.

use async_trait::async_trait;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;
use uuid::Uuid;

use super::state::{ActivitiesState, ActivityRow, Deed};
use crate::book::{Capability, Defect, Scope, States, Store, Table, TableRights};
use crate::database::{ReadPart, StoreError, Traced as _, WritePart, selection, sent_as, write_part};
use crate::ids::{AccountId, ActivityId, EntryId, SurveyId};

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
    // Loads no activities. An activity's id is its key, so the ledger tells whether it is known.

    fn read_parts(&self, states: &States, _scope: &Scope) -> Result<Vec<ReadPart<States>>, StoreError> {
        let ActivitiesState { asked_surveys, .. } = states.get()?;
        if asked_surveys.is_empty() {
            return Ok(Vec::new());
        }
        let accounts: Vec<Uuid> = asked_surveys.iter().map(|(account_id, _)| account_id.0).collect();
        let surveys: Vec<String> = asked_surveys.iter().map(|(_, survey_id)| survey_id.to_string()).collect();
        let answered = selection!(
            "activities",
            AnsweredRow,
            r#"SELECT a.account_id, a.survey_id AS "survey_id!", a.account_seq
               FROM unnest($1::uuid[], $2::text[]) AS u (account_id, survey_id)
               JOIN LATERAL (
                   SELECT * FROM activities f WHERE f.account_id = u.account_id AND f.survey_id = u.survey_id OFFSET 0
               ) a ON TRUE"#,
            [accounts, surveys],
        );
        Ok(vec![answered.into_part(|states: &mut States, rows| {
            let state: &mut ActivitiesState = states.get_mut()?;
            for row in rows {
                let account_id = AccountId(row.account_id);
                let defect = |error| Defect::new(format!("a survey that account {} answered: {error}", account_id.0));
                let survey_id = SurveyId::try_from(row.survey_id).map_err(defect)?;
                let entry_id = EntryId { account_id, account_seq: row.account_seq };
                state.surveys.insert((account_id, survey_id), entry_id);
            }
            Ok(())
        })])
    }

    fn write_parts(&self, states: &States) -> Result<Vec<WritePart>, StoreError> {
        let ActivitiesState { rows, erased, .. } = states.get()?;
        let erase = write_part!(
            "DELETE FROM activities WHERE account_id = ANY($1::uuid[])",
            erased.iter().map(|account_id| account_id.0).collect::<Vec<Uuid>>(),
        );
        let part = write_part!(
            "INSERT INTO activities (account_id, account_seq, activity_id, kind, purchase_seq, amount, survey_id,
                 happened_at, recorded_at)
             SELECT * FROM unnest($1::sent_activity[])",
            rows.iter().map(SentActivity::from).collect::<Vec<SentActivity>>(),
        );
        Ok(vec![part, erase])
    }
}

/// A survey that was answered, as it is stored.
#[derive(sqlx::Decode)]
struct AnsweredRow {
    account_id: Uuid,
    survey_id: String,
    account_seq: i64,
}

/// An activity as it is sent.
#[derive(sqlx::Encode)]
struct SentActivity {
    account_id: Uuid,
    account_seq: i64,
    activity_id: String,
    kind: &'static str,
    purchase_seq: Option<i64>,
    amount: Option<i64>,
    survey_id: Option<String>,
    happened_at: jiff_sqlx::Timestamp,
    recorded_at: jiff_sqlx::Timestamp,
}

sent_as!(SentActivity, "sent_activity");

impl From<&ActivityRow> for SentActivity {
    fn from(row: &ActivityRow) -> Self {
        let (kind, purchase_seq, amount, survey_id) = match &row.what {
            Deed::Purchase { amount } => ("purchase", None, Some(*amount), None),
            Deed::Refund { purchase: (bought, _), amount } => ("refund", Some(bought.account_seq), Some(*amount), None),
            Deed::Feedback { survey_id, .. } => ("feedback", None, None, survey_id.as_ref().map(ToString::to_string)),
        };
        Self {
            account_id: row.entry_id.account_id.0,
            account_seq: row.entry_id.account_seq,
            activity_id: row.activity_id.as_str().to_owned(),
            kind,
            purchase_seq,
            amount,
            survey_id,
            happened_at: row.happened_at.to_sqlx(),
            recorded_at: row.recorded_at.to_sqlx(),
        }
    }
}

/// A page of an account's activities, the newest accepted first. Of feedback, what was answered is not here.
///
/// # Errors
/// If the database cannot be read.
pub(super) async fn list_activities(
    connection: &mut PgConnection,
    account_id: AccountId,
    before: i64,
    limit: i64,
) -> Result<Vec<ActivityRow>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT a.account_seq, a.activity_id, a.amount, a.survey_id, a.happened_at, a.recorded_at,
                  p.account_seq AS "purchase_seq?", p.activity_id AS "purchase_id?", n.note AS "note?"
           FROM activities a
           LEFT JOIN activities p ON p.account_id = a.account_id AND p.account_seq = a.purchase_seq
           LEFT JOIN entry_notes n ON n.account_id = a.account_id AND n.account_seq = a.account_seq AND a.kind = 'feedback'
           WHERE a.account_id = $1 AND a.account_seq < $2 ORDER BY a.account_seq DESC LIMIT $3"#,
        account_id.0,
        before,
        limit,
    )
    .fetch_all(connection)
    .traced("SELECT activities")
    .await?;
    rows.into_iter()
        .map(|row| {
            let entry_id = EntryId { account_id, account_seq: row.account_seq };
            let bad = |error: &str| Defect::new(format!("the activity of entry {entry_id}: {error}"));
            let parse = |id: String| ActivityId::try_from(id).map_err(bad);
            let survey_id = row.survey_id.map(SurveyId::try_from).transpose().map_err(bad)?;
            let what = match (row.purchase_seq, row.purchase_id, row.amount) {
                (Some(account_seq), Some(id), Some(amount)) => {
                    Deed::Refund { purchase: (EntryId { account_id, account_seq }, parse(id)?), amount }
                }
                (_, _, Some(amount)) => Deed::Purchase { amount },
                (_, _, None) => {
                    Deed::Feedback { survey_id, answers: Box::default(), text: row.note.unwrap_or_default() }
                }
            };
            Ok(ActivityRow {
                entry_id,
                activity_id: parse(row.activity_id)?,
                what,
                happened_at: row.happened_at.to_jiff(),
                recorded_at: row.recorded_at.to_jiff(),
            })
        })
        .collect()
}
