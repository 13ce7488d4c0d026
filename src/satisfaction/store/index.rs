//! Counts what a program's customers said.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::book::{Defect, DeliveredValue};
use crate::database::{StoreError, Traced as _};
use crate::ids::{AccountId, FactorId, ProgramId};
use crate::satisfaction::index::{FactorTally, Tally};

/// What is counted: feedback of these days that was recorded by an instant.
#[derive(Clone, Debug)]
pub(in crate::satisfaction) struct Counted<'a> {
    pub(in crate::satisfaction) program_id: &'a ProgramId,
    /// The first day of each part of the period, in order.
    pub(in crate::satisfaction) first_days: &'a [Date],
    /// The first day after the period.
    pub(in crate::satisfaction) until: Date,
    pub(in crate::satisfaction) as_of: Timestamp,
    /// The factors that are counted.
    pub(in crate::satisfaction) factors: &'a [&'a FactorId],
    /// The customers whose feedback is counted; all, if absent.
    pub(in crate::satisfaction) members: Option<&'a [AccountId]>,
}

/// What was said on the days of each part, in the order of the parts.
///
/// # Errors
/// If the database cannot be read.
pub(in crate::satisfaction) async fn count(
    connection: &mut PgConnection,
    counted: &Counted<'_>,
) -> Result<Vec<Tally>, StoreError> {
    let mut tallies: Vec<Tally> = counted.first_days.iter().map(|_| Tally::default()).collect();
    let Some(from) = counted.first_days.first() else { return Ok(tallies) };
    let first_days: Vec<jiff_sqlx::Date> = counted.first_days.iter().map(|day| day.to_sqlx()).collect();
    let members: Vec<Uuid> = counted.members.unwrap_or_default().iter().map(|account| account.0).collect();
    let rows = sqlx::query!(
        r#"SELECT width_bucket(day, $5::date[]) AS "part!", count(*) AS "answers!",
                  ARRAY[count(*) FILTER (WHERE satisfaction = 1), count(*) FILTER (WHERE satisfaction = 2),
                        count(*) FILTER (WHERE satisfaction = 3), count(*) FILTER (WHERE satisfaction = 4),
                        count(*) FILTER (WHERE satisfaction = 5)] AS "satisfaction!",
                  ARRAY[count(*) FILTER (WHERE recommendation = 0), count(*) FILTER (WHERE recommendation = 1),
                        count(*) FILTER (WHERE recommendation = 2), count(*) FILTER (WHERE recommendation = 3),
                        count(*) FILTER (WHERE recommendation = 4), count(*) FILTER (WHERE recommendation = 5),
                        count(*) FILTER (WHERE recommendation = 6), count(*) FILTER (WHERE recommendation = 7),
                        count(*) FILTER (WHERE recommendation = 8), count(*) FILTER (WHERE recommendation = 9),
                        count(*) FILTER (WHERE recommendation = 10)] AS "recommendation!",
                  count(acsi_satisfaction) AS "acsi!",
                  ARRAY[coalesce(sum(acsi_satisfaction), 0), coalesce(sum(acsi_expectation), 0),
                        coalesce(sum(acsi_ideal), 0)] AS "acsi_sums!",
                  count(received) AS "values!",
                  ARRAY[coalesce(round(avg(received)), 0), coalesce(round(avg(cost_money)), 0),
                        coalesce(round(avg(cost_time)), 0), coalesce(round(avg(cost_effort)), 0),
                        coalesce(round(avg(cost_nerves)), 0)]::bigint[] AS "means!"
           FROM feedback LEFT JOIN unnest($6::uuid[]) AS m (member) ON m.member = account_id
           WHERE program_id = $1 AND day >= $2 AND day < $3 AND effective_at <= $4 AND ($7 OR m.member IS NOT NULL)
           GROUP BY 1"#,
        counted.program_id.as_str(),
        from.to_sqlx() as _,
        counted.until.to_sqlx() as _,
        counted.as_of.to_sqlx() as _,
        &first_days as _,
        &members,
        counted.members.is_none(),
    )
    .fetch_all(&mut *connection)
    .traced("SELECT feedback")
    .await?;
    for row in rows {
        let Some(tally) = part(&mut tallies, row.part) else { continue };
        tally.answers = row.answers;
        tally.satisfaction = exactly(row.satisfaction)?;
        tally.recommendation = exactly(row.recommendation)?;
        (tally.acsi, tally.acsi_sums) = (row.acsi, exactly(row.acsi_sums)?);
        let [received, money, time, effort, nerves] = exactly(row.means)?;
        tally.value = Some((row.values, DeliveredValue { received, money, time, effort, nerves }));
    }
    count_factors(connection, counted, (&first_days, &members), &mut tallies).await?;
    Ok(tallies)
}

async fn count_factors(
    connection: &mut PgConnection,
    counted: &Counted<'_>,
    (first_days, members): (&[jiff_sqlx::Date], &[Uuid]),
    tallies: &mut [Tally],
) -> Result<(), StoreError> {
    let names: BTreeMap<&str, &FactorId> = counted.factors.iter().map(|it| (it.as_str(), *it)).collect();
    if names.is_empty() {
        return Ok(());
    }
    let factors: Vec<&str> = names.keys().copied().collect();
    let rows = sqlx::query!(
        r#"SELECT width_bucket(f.day, $4::date[]) AS "part!", u.factor_id AS "factor_id!", count(*) AS "answers!",
                  sum(u.score) AS "sum!", count(*) FILTER (WHERE u.importance > 0) AS "importance_answers!",
                  sum(u.importance) AS "importance_sum!"
           FROM feedback f
           LEFT JOIN unnest($6::uuid[]) AS m (member) ON m.member = f.account_id
           CROSS JOIN LATERAL unnest(f.factor_ids, f.factor_scores, f.importances) AS u (factor_id, score, importance)
           WHERE f.program_id = $1 AND f.day >= ($4::date[])[1] AND f.day < $2 AND f.effective_at <= $3
             AND u.factor_id = ANY ($5) AND ($7 OR m.member IS NOT NULL)
           GROUP BY 1, 2"#,
        counted.program_id.as_str(),
        counted.until.to_sqlx() as _,
        counted.as_of.to_sqlx() as _,
        first_days as _,
        &factors as _,
        members,
        counted.members.is_none(),
    )
    .fetch_all(connection)
    .traced("SELECT feedback")
    .await?;
    for row in rows {
        let factor_id = names.get(row.factor_id.as_str()).copied();
        let Some((tally, factor_id)) = part(tallies, row.part).zip(factor_id) else { continue };
        let factor = FactorTally {
            answers: row.answers,
            sum: row.sum,
            importance_answers: row.importance_answers,
            importance_sum: row.importance_sum,
        };
        tally.factors.insert(factor_id.clone(), factor);
    }
    Ok(())
}

/// A part by its number, which Postgres counts from 1.
fn part(tallies: &mut [Tally], number: i32) -> Option<&mut Tally> {
    tallies.get_mut(usize::try_from(number).ok()?.checked_sub(1)?)
}

fn exactly<const N: usize>(numbers: Vec<i64>) -> Result<[i64; N], Defect> {
    numbers.try_into().map_err(|_| Defect::new("a count of feedback has more or fewer numbers than it asked for"))
}
