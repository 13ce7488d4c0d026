//! The SQL of satisfaction.

mod index;

use async_trait::async_trait;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;
use uuid::Uuid;

use super::state::{Feedback, SatisfactionState};
use crate::book::{
    AcsiAnswers, Answers, Capability, Defect, DeliveredValue, Depth, EntryRange, FactorAnswer, FeedbackChannel, Scope,
    States, Store, Table,
};
use crate::database::{ReadPart, StoreError, Traced as _, WritePart, selection, sent_as, write_part};
use crate::ids::{AccountId, FactorId, ProgramId};

pub(super) use index::{Counted, count};

/// The tables of satisfaction.
const TABLES: &[Table] = &[Table::projection("feedback", "format('feedback of entry %s', account_seq)")];

/// The room as the book knows it.
#[must_use]
pub(crate) fn capability() -> Capability {
    Capability::new(SatisfactionState::default, SatisfactionStore, TABLES)
}

struct SatisfactionStore;

#[async_trait]
impl Store for SatisfactionStore {
    // Rows are only ever added, so a batch looks at none that is stored.

    fn read_parts(&self, _states: &States, scope: &Scope) -> Result<Vec<ReadPart<States>>, StoreError> {
        if scope.depth != Depth::Whole {
            return Ok(Vec::new());
        }
        let accounts: Vec<Uuid> = scope.accounts.iter().map(|account| account.0).collect();
        let all = selection!(
            "feedback",
            FeedbackRow,
            "SELECT account_id, account_seq, program_id, day, happened_at, effective_at, channel, satisfaction, recommendation,
                 acsi_satisfaction, acsi_expectation, acsi_ideal, factor_ids, factor_scores, importances, received, cost_money,
                 cost_time, cost_effort, cost_nerves, involvement, brands
             FROM feedback WHERE account_id = ANY($1)",
            [accounts],
        );
        Ok(vec![all.into_part(|states: &mut States, rows| {
            let state: &mut SatisfactionState = states.get_mut()?;
            for row in rows {
                let key = (AccountId(row.account_id), row.account_seq);
                state.rows.insert(key, row.into_feedback()?);
            }
            Ok(())
        })])
    }

    fn write_parts(&self, states: &States) -> Result<Vec<WritePart>, StoreError> {
        let SatisfactionState { rows, new } = states.get()?;
        let sent = new.iter().filter_map(|key| Some(FeedbackRow::new(*key, rows.get(key)?)));
        Ok(vec![write_part!(
            "INSERT INTO feedback (account_id, account_seq, program_id, day, happened_at, effective_at, channel, satisfaction,
                 recommendation, acsi_satisfaction, acsi_expectation, acsi_ideal, factor_ids, factor_scores, importances,
                 received, cost_money, cost_time, cost_effort, cost_nerves, involvement, brands)
             SELECT * FROM unnest($1::sent_feedback[])",
            sent.collect::<Vec<FeedbackRow>>(),
        )])
    }
}

/// Feedback as it is stored, and as it is sent.
#[derive(sqlx::Encode, sqlx::Decode)]
struct FeedbackRow {
    account_id: Uuid,
    account_seq: i64,
    program_id: String,
    day: jiff_sqlx::Date,
    happened_at: jiff_sqlx::Timestamp,
    effective_at: jiff_sqlx::Timestamp,
    channel: Option<String>,
    satisfaction: Option<i16>,
    recommendation: Option<i16>,
    acsi_satisfaction: Option<i16>,
    acsi_expectation: Option<i16>,
    acsi_ideal: Option<i16>,
    factor_ids: Vec<String>,
    factor_scores: Vec<i16>,
    /// Zero where it was not said.
    importances: Vec<i16>,
    received: Option<i64>,
    cost_money: Option<i64>,
    cost_time: Option<i64>,
    cost_effort: Option<i64>,
    cost_nerves: Option<i64>,
    involvement: Option<i16>,
    brands: Option<i32>,
}

sent_as!(FeedbackRow, "sent_feedback");

impl FeedbackRow {
    fn new((account_id, account_seq): (AccountId, i64), feedback: &Feedback) -> Self {
        let Feedback { program_id, day, happened_at, effective_at, answers } = feedback;
        let (acsi, value) = (answers.acsi, answers.value);
        Self {
            account_id: account_id.0,
            account_seq,
            program_id: program_id.to_string(),
            day: day.to_sqlx(),
            happened_at: happened_at.to_sqlx(),
            effective_at: effective_at.to_sqlx(),
            channel: answers.channel.map(|channel| channel.as_str().to_owned()),
            satisfaction: answers.satisfaction,
            recommendation: answers.recommendation,
            acsi_satisfaction: acsi.map(|acsi| acsi.satisfaction),
            acsi_expectation: acsi.map(|acsi| acsi.expectation),
            acsi_ideal: acsi.map(|acsi| acsi.ideal),
            factor_ids: answers.factors.iter().map(|it| it.factor_id.to_string()).collect(),
            factor_scores: answers.factors.iter().map(|it| it.score).collect(),
            importances: answers.factors.iter().map(|it| it.importance.unwrap_or(0)).collect(),
            received: value.map(|value| value.received),
            cost_money: value.map(|value| value.money),
            cost_time: value.map(|value| value.time),
            cost_effort: value.map(|value| value.effort),
            cost_nerves: value.map(|value| value.nerves),
            involvement: answers.involvement,
            brands: answers.brands,
        }
    }

    fn into_feedback(self) -> Result<Feedback, Defect> {
        let name = format!("the feedback of entry {} of account {}", self.account_seq, self.account_id);
        let bad = |what: String| Defect::new(format!("{name}: {what}"));
        let channel = self.channel.map(|word| match FeedbackChannel::from_stored(&word) {
            Some(channel) => Ok(channel),
            None => Err(Defect::unknown(format!("{name}: unknown channel {word}"))),
        });
        let acsi = match (self.acsi_satisfaction, self.acsi_expectation, self.acsi_ideal) {
            (Some(satisfaction), Some(expectation), Some(ideal)) => {
                Some(AcsiAnswers { satisfaction, expectation, ideal })
            }
            _ => None,
        };
        let costs = (self.cost_money, self.cost_time, self.cost_effort, self.cost_nerves);
        let value = match (self.received, costs) {
            (Some(received), (Some(money), Some(time), Some(effort), Some(nerves))) => {
                Some(DeliveredValue { received, money, time, effort, nerves })
            }
            _ => None,
        };
        let told = self.factor_scores.into_iter().zip(self.importances);
        let factors = self.factor_ids.into_iter().zip(told).map(|(factor_id, (score, importance))| {
            let factor_id = FactorId::try_from(factor_id).map_err(|error| bad(error.to_owned()))?;
            Ok(FactorAnswer { factor_id, score, importance: Some(importance).filter(|importance| *importance > 0) })
        });
        Ok(Feedback {
            program_id: ProgramId::try_from(self.program_id).map_err(|error| bad(error.to_owned()))?,
            day: self.day.to_jiff(),
            happened_at: self.happened_at.to_jiff(),
            effective_at: self.effective_at.to_jiff(),
            answers: Answers {
                satisfaction: self.satisfaction,
                recommendation: self.recommendation,
                acsi,
                factors: factors.collect::<Result<_, Defect>>()?,
                value,
                channel: channel.transpose()?,
                involvement: self.involvement,
                brands: self.brands,
            },
        })
    }
}

/// Feedback of an account that entries of a range accepted, by their numbers, the last first; at most `limit`.
///
/// # Errors
/// If the database cannot be read.
pub(super) async fn read_feedback(
    connection: &mut PgConnection,
    account_id: AccountId,
    range: EntryRange,
    limit: i64,
) -> Result<Vec<(i64, Feedback)>, StoreError> {
    let rows = sqlx::query_as!(
        FeedbackRow,
        r#"SELECT account_id, account_seq, program_id, day, happened_at, effective_at, channel, satisfaction, recommendation, acsi_satisfaction,
                  acsi_expectation, acsi_ideal, factor_ids, factor_scores, importances, received,
                  cost_money, cost_time, cost_effort, cost_nerves, involvement, brands
           FROM feedback
           WHERE account_id = $1 AND account_seq BETWEEN $2 AND $3
           ORDER BY account_seq DESC LIMIT $4"#,
        account_id.0,
        range.first,
        range.last,
        limit,
    )
    .fetch_all(connection)
    .traced("SELECT feedback")
    .await?;
    rows.into_iter().map(|row| Ok((row.account_seq, row.into_feedback()?))).collect()
}
