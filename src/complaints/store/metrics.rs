//! Counts what became of a program's complaints.

use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;

use crate::complaints::tally::{Handled, Tally};
use crate::database::{StoreError, Traced as _};
use crate::ids::{ComplaintCategoryId, ProgramId};

/// What is counted: steps that were taken in the parts of a period, by an instant.
#[derive(Clone, Debug)]
pub(in crate::complaints) struct Counted<'a> {
    pub(in crate::complaints) program_id: &'a ProgramId,
    /// The first instant of each part of the period, in order.
    pub(in crate::complaints) begins: &'a [Timestamp],
    /// The first instant after the period.
    pub(in crate::complaints) until: Timestamp,
    pub(in crate::complaints) as_of: Timestamp,
    pub(in crate::complaints) category_id: Option<&'a ComplaintCategoryId>,
}

/// What became of complaints in each part, in the order of the parts.
///
/// # Errors
/// If the database cannot be read.
pub(in crate::complaints) async fn count(
    connection: &mut PgConnection,
    counted: &Counted<'_>,
) -> Result<Vec<Tally>, StoreError> {
    let mut tallies: Vec<Tally> = counted.begins.iter().map(|_| Tally::default()).collect();
    let Some(from) = counted.begins.first() else { return Ok(tallies) };
    let begins: Vec<jiff_sqlx::Timestamp> = counted.begins.iter().map(|begin| begin.to_sqlx()).collect();
    let rows = sqlx::query!(
        r#"SELECT width_bucket(taken_at, $5::timestamptz[]) AS "part!",
                  count(*) FILTER (WHERE kind = 'complaint_opened') AS "opened!",
                  count(*) FILTER (WHERE kind = 'complaint_reopened') AS "reopened!",
                  count(*) FILTER (WHERE acknowledged) AS "acknowledged!",
                  coalesce(sum(took) FILTER (WHERE acknowledged), 0)::bigint AS "acknowledged_took!",
                  count(*) FILTER (WHERE acknowledged AND NOT was_late) AS "acknowledged_in_time!",
                  count(*) FILTER (WHERE answered) AS "answered!",
                  coalesce(sum(took) FILTER (WHERE answered), 0)::bigint AS "answered_took!",
                  count(*) FILTER (WHERE answered AND NOT was_late) AS "answered_in_time!",
                  count(outcome) AS "resolved!",
                  coalesce(sum(took) FILTER (WHERE outcome IS NOT NULL), 0)::bigint AS "resolved_took!",
                  count(*) FILTER (WHERE outcome IS NOT NULL AND NOT was_late) AS "resolved_in_time!",
                  count(*) FILTER (WHERE outcome = 'upheld') AS "upheld!",
                  count(*) FILTER (WHERE outcome = 'partly_upheld') AS "partly_upheld!",
                  count(*) FILTER (WHERE outcome = 'rejected') AS "rejected!",
                  count(*) FILTER (WHERE outcome = 'withdrawn') AS "withdrawn!",
                  count(*) FILTER (WHERE missed = 'acknowledgement') AS "missed_acknowledgements!",
                  count(*) FILTER (WHERE missed = 'answer') AS "missed_answers!",
                  count(*) FILTER (WHERE missed = 'resolution') AS "missed_resolutions!",
                  count(*) FILTER (WHERE kind = 'complaint_escalated' AND missed IS NULL) AS "by_hand!",
                  count(handling_score) AS "scored!", coalesce(sum(handling_score), 0) AS "score_sum!"
           FROM complaint_steps
           WHERE program_id = $1 AND taken_at >= $2 AND taken_at < $3 AND taken_at <= $4
             AND ($6::text IS NULL OR category_id = $6)
           GROUP BY 1"#,
        counted.program_id.as_str(),
        from.to_sqlx() as _,
        counted.until.to_sqlx() as _,
        counted.as_of.to_sqlx() as _,
        &begins as _,
        counted.category_id.map(ComplaintCategoryId::as_str),
    )
    .fetch_all(connection)
    .traced("SELECT complaint_steps")
    .await?;
    for row in rows {
        // Postgres counts the parts from 1.
        let place = usize::try_from(row.part).ok().and_then(|part| part.checked_sub(1));
        let Some(tally) = place.and_then(|place| tallies.get_mut(place)) else { continue };
        *tally = Tally {
            opened: row.opened,
            reopened: row.reopened,
            acknowledged: Handled {
                complaints: row.acknowledged,
                minutes: row.acknowledged_took,
                in_time: row.acknowledged_in_time,
            },
            answered: Handled { complaints: row.answered, minutes: row.answered_took, in_time: row.answered_in_time },
            resolved: Handled { complaints: row.resolved, minutes: row.resolved_took, in_time: row.resolved_in_time },
            upheld: row.upheld,
            partly_upheld: row.partly_upheld,
            rejected: row.rejected,
            withdrawn: row.withdrawn,
            missed_acknowledgements: row.missed_acknowledgements,
            missed_answers: row.missed_answers,
            missed_resolutions: row.missed_resolutions,
            escalated_by_hand: row.by_hand,
            scored: row.scored,
            score_sum: row.score_sum,
        };
    }
    Ok(tallies)
}
