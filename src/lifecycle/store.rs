//! The SQL of lifecycles.

mod rows;

use std::any::TypeId;
use std::collections::BTreeMap;

use async_trait::async_trait;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;
use uuid::Uuid;

pub(super) use self::rows::find_decided;
use self::rows::{DecisionRow, LifecycleRow, decisions_part, lifecycles_part};
use super::state::LifecycleState;
use crate::book::store::read_entry;
use crate::book::{Answered, Capability, Depth, Entry, Facts, Scope, States, Store, Table};
use crate::database::{ReadPart, StoreError, Traced as _, WritePart, sent_as, write_part};
use crate::ids::{AccountId, EntryId};
use crate::programs::points::CalendarPeriod;
use crate::programs::state::ProgramsState;
use crate::satisfaction::model::LOOKED_AT;

/// The tables of lifecycles.
const TABLES: &[Table] = &[
    Table::projection("lifecycle_decisions", "format('lifecycle decided by entry %s', account_seq)"),
    Table::projection("lifecycles", "'lifecycle'"),
];

/// The room as the book knows it. Its state is loaded behind that of programs.
#[must_use]
pub(crate) fn capability() -> Capability {
    Capability::new(LifecycleState::default, LifecycleStore, TABLES)
}

struct LifecycleStore;

#[async_trait]
impl Store for LifecycleStore {
    fn reads(&self) -> Vec<TypeId> {
        vec![TypeId::of::<ProgramsState>()]
    }

    fn read_parts(&self, _states: &States, scope: &Scope) -> Result<Vec<ReadPart<States>>, StoreError> {
        let accounts: Vec<Uuid> = scope.accounts.iter().map(|account| account.0).collect();
        let mut parts = vec![lifecycles_part(accounts.clone())];
        if scope.depth == Depth::Whole {
            parts.push(decisions_part(accounts));
        }
        Ok(parts)
    }

    /// Reads what is known of customers about whom nothing was decided, where a program begins to.
    async fn load(&self, states: &mut States, scope: &Scope, connection: &mut PgConnection) -> Result<(), StoreError> {
        let programs: &ProgramsState = states.get_loaded()?;
        let current = scope.programs.iter().filter_map(|program_id| programs.current(program_id));
        let deciding =
            current.map(|current| current.policy.clone()).filter(|policy| policy.program.lifecycle.is_some());
        let deciding: Vec<_> = deciding.collect();
        if scope.depth != Depth::Asked || deciding.is_empty() {
            return Ok(());
        }
        let state: &LifecycleState = states.get()?;
        let unknown: Vec<Uuid> =
            scope.accounts.iter().filter(|id| state.get(**id).is_none()).map(|account| account.0).collect();
        if unknown.is_empty() {
            return Ok(());
        }
        let mut known = BTreeMap::new();
        for row in read_known(connection, &unknown).await? {
            let Some(policy) = deciding.iter().find(|policy| policy.program.program_id.as_str() == row.program_id)
            else {
                continue;
            };
            let time_zone = &policy.program.time_zone.0;
            let begin = |day: jiff_sqlx::Date| CalendarPeriod::Day.begins_at(day.to_jiff(), time_zone);
            let facts = Facts {
                purchases: row.purchases,
                spend: row.qualifying_spend,
                referrals: row.referrals,
                last_purchase_at: row.last_day.and_then(begin),
                open_complaints: row.open_complaints,
                ..Facts::default()
            };
            known.insert(AccountId(row.account_id), facts);
        }
        for row in read_answers(connection, &unknown).await? {
            if let Some(facts) = known.get_mut(&AccountId(row.account_id)) {
                let at = row.happened_at.to_jiff();
                let heard = |answer: Option<i32>| answer.map(|answer| Answered { answer, at });
                facts.satisfaction = facts.satisfaction.or(heard(row.satisfaction.map(i32::from)));
                facts.recommendation = facts.recommendation.or(heard(row.recommendation.map(i32::from)));
                facts.involvement = facts.involvement.or(heard(row.involvement.map(i32::from)));
                facts.brands = facts.brands.or(heard(row.brands));
            }
        }
        states.get_mut::<LifecycleState>()?.known = known;
        Ok(())
    }

    fn write_parts(&self, states: &States) -> Result<Vec<WritePart>, StoreError> {
        let state: &LifecycleState = states.get()?;
        let changed = state.changed.iter().filter_map(|id| Some(LifecycleRow::new(*id, state.rows.get(id)?)));
        let new = state.new.iter().filter_map(|key| Some(DecisionRow::new(*key, *state.decided.get(key)?)));
        let ended =
            state.ended.iter().map(|(account_id, at)| EndedRow { account_id: account_id.0, ended_at: at.to_sqlx() });
        Ok(vec![
            rows::upsert_lifecycles(changed.collect()),
            rows::insert_decisions(new.collect()),
            write_part!(
                "UPDATE lifecycles AS l SET ended_at = u.ended_at
                 FROM unnest($1::sent_lifecycle_end[]) AS u WHERE l.account_id = u.account_id",
                ended.collect::<Vec<EndedRow>>(),
            ),
        ])
    }
}

/// Whose customer is erased, and when.
#[derive(sqlx::Encode)]
struct EndedRow {
    account_id: Uuid,
    ended_at: jiff_sqlx::Timestamp,
}

sent_as!(EndedRow, "sent_lifecycle_end");

/// What was counted of a customer, whatever the program said of lifecycles.
struct KnownRow {
    account_id: Uuid,
    program_id: String,
    purchases: i64,
    qualifying_spend: i64,
    referrals: i64,
    last_day: Option<jiff_sqlx::Date>,
    open_complaints: i64,
}

async fn read_known(connection: &mut PgConnection, accounts: &[Uuid]) -> Result<Vec<KnownRow>, StoreError> {
    let rows = sqlx::query_as!(
        KnownRow,
        r#"SELECT s.account_id, a.program_id, s.purchases, s.qualifying_spend, s.referrals,
                  d.day AS "last_day?: jiff_sqlx::Date", c.open AS "open_complaints!"
           FROM unnest($1::uuid[]) AS u (account_id)
           JOIN standings s ON s.account_id = u.account_id
           JOIN accounts a ON a.account_id = u.account_id
           LEFT JOIN LATERAL (
               SELECT day FROM standing_days WHERE account_id = u.account_id AND purchases > 0 ORDER BY day DESC LIMIT 1
           ) d ON true
           CROSS JOIN LATERAL (
               SELECT count(*) AS open FROM complaints
               WHERE account_id = u.account_id AND resolved_at IS NULL AND ended_at IS NULL
           ) c"#,
        accounts,
    )
    .fetch_all(connection)
    .traced("SELECT standings")
    .await?;
    Ok(rows)
}

/// What a customer answered once.
struct AnswerRow {
    account_id: Uuid,
    happened_at: jiff_sqlx::Timestamp,
    satisfaction: Option<i16>,
    recommendation: Option<i16>,
    involvement: Option<i16>,
    brands: Option<i32>,
}

/// What customers answered, the latest first, of the last answers that were recorded.
async fn read_answers(connection: &mut PgConnection, accounts: &[Uuid]) -> Result<Vec<AnswerRow>, StoreError> {
    let rows = sqlx::query_as!(
        AnswerRow,
        r#"SELECT f.account_id AS "account_id!", f.happened_at AS "happened_at!: jiff_sqlx::Timestamp", f.satisfaction,
                  f.recommendation, f.involvement, f.brands
           FROM unnest($1::uuid[]) AS u (account_id)
           CROSS JOIN LATERAL (
               SELECT * FROM feedback WHERE account_id = u.account_id ORDER BY account_seq DESC LIMIT $2
           ) f
           ORDER BY f.happened_at DESC, f.account_seq DESC"#,
        accounts,
        LOOKED_AT,
    )
    .fetch_all(connection)
    .traced("SELECT feedback")
    .await?;
    Ok(rows)
}

/// The entry of a decision.
///
/// # Errors
/// If the database cannot be read, or the entry is missing.
pub(super) async fn read_decision(
    connection: &mut PgConnection,
    account_id: AccountId,
    account_seq: i64,
) -> Result<Entry, StoreError> {
    read_entry(connection, EntryId { account_id, account_seq }).await
}
