//! What was earned in capped periods before it was counted: by a version of the program that had no such cap.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;

use crate::book::Scope;
use crate::database::{StoreError, Traced as _};
use crate::ids::{AccountId, ProgramId};
use crate::points::grants::caps::earned_in;
use crate::points::lots::LookedUp;
use crate::points::state::PointsState;
use crate::programs::model::ProgramVersion;
use crate::programs::points::CalendarPeriod;

/// Looks up what the accounts that earn have earned in running periods, where it is not known.
pub(super) async fn load(
    state: &mut PointsState,
    versions: &BTreeMap<ProgramId, Arc<ProgramVersion>>,
    scope: &Scope,
    connection: &mut PgConnection,
) -> Result<(), StoreError> {
    let mut windows = Vec::new();
    let (mut accounts, mut begins) = (Vec::new(), Vec::new());
    for (account_id, (program_id, instants)) in &state.asked.earnings {
        let Some(policy) = versions.get(program_id) else { continue };
        let (program, earning) = (&policy.program, state.lots.earning(*account_id));
        for cap in &program.points.earning.per_period {
            // Of several instants in several periods, the first: the others wait for the next batch.
            let day = instants.first().map(|at| cap.period.first_day_at(*at, &program.time_zone.0));
            let Some(day) = day.filter(|day| earned_in(earning, cap.period, *day, policy).is_none()) else { continue };
            let Some(begins_at) = cap.period.begins_at(day, &program.time_zone.0) else { continue };
            windows.push((*account_id, cap.period, day));
            accounts.push(account_id.0);
            begins.push(begins_at.to_sqlx());
        }
    }
    if windows.is_empty() {
        return Ok(());
    }
    // One that is alone keeps nobody waiting, and next time it is known.
    let most = if scope.is_alone { i64::MAX } else { scope.most_rows() };
    let sums = sum_earned(connection, &accounts, begins, most).await?;
    for ((account_id, period, day), points) in windows.into_iter().zip(sums) {
        note(state, account_id, period, LookedUp { day, points });
    }
    Ok(())
}

fn note(state: &mut PointsState, account_id: AccountId, period: CalendarPeriod, looked_up: LookedUp) {
    state.lots.looked_up.insert((account_id, period.as_str()), looked_up);
}

/// How many points accounts have earned since instants, in this order: what caps concern. An account's time never goes
/// back, so the first entry since an instant is found by halving, and only those behind it are read: none, where that
/// would be too many.
async fn sum_earned(
    connection: &mut PgConnection,
    accounts: &[uuid::Uuid],
    begins: Vec<jiff_sqlx::Timestamp>,
    most: i64,
) -> Result<Vec<i64>, StoreError> {
    let rows = sqlx::query!(
        r#"WITH periods AS MATERIALIZED (
               SELECT u.place, u.account_id, f.first_seq, a.head - f.first_seq + 1 AS entries
               FROM unnest($1::uuid[], $2::timestamptz[]) WITH ORDINALITY AS u (account_id, begins_at, place)
               JOIN accounts a ON a.account_id = u.account_id
               CROSS JOIN LATERAL (
                   WITH RECURSIVE search (low, high) AS (
                       SELECT 1::bigint, a.head + 1
                       UNION ALL
                       SELECT CASE WHEN m.effective_at < u.begins_at THEN m.account_seq + 1 ELSE s.low END,
                              CASE WHEN m.effective_at < u.begins_at THEN s.high ELSE m.account_seq END
                       FROM search s
                       JOIN ledger_entries m ON m.account_id = u.account_id AND m.account_seq = (s.low + s.high) / 2
                       WHERE s.low < s.high
                   )
                   SELECT low AS first_seq FROM search WHERE low = high
               ) f
           ), total AS MATERIALIZED (SELECT sum(entries)::bigint AS entries FROM periods)
           SELECT coalesce(sum(e.points), 0)::bigint AS "points!", (SELECT entries FROM total) AS "entries!"
           FROM periods p
           LEFT JOIN ledger_entries e ON e.account_id = p.account_id AND e.account_seq >= p.first_seq
               AND e.kind = 'points_granted' AND e.reason NOT IN ('referral_referrer', 'referral_referee')
               AND (SELECT entries FROM total) <= $3
           GROUP BY p.place ORDER BY p.place"#,
        accounts,
        begins,
        most,
    )
    .fetch_all(connection)
    .traced("SELECT ledger_entries")
    .await?;
    if rows.iter().any(|row| row.entries > most) {
        return Err(StoreError::TooManyRows { most });
    }
    Ok(rows.into_iter().map(|row| row.points).collect())
}
