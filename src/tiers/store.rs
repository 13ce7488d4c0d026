//! The SQL of standings.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::model::Standing;
use super::state::{StandingsState, last_of_block};
use crate::book::store::{into_entries, read_entries_between, select_entries};
use crate::book::{Capability, Defect, Depth, Entry, Scope, State as _, States, Store, Table};
use crate::database::{Fetch, ReadPart, Selection, StoreError, Traced as _, WritePart, selection, sent_as, write_part};
use crate::ids::{AccountId, CustomerId, ProgramId, TierId};

/// The tables of tiers.
const TABLES: &[Table] = &[
    Table::projection("standings", "'standing'"),
    Table::projection("standing_marks", "format('standing after entry %s', account_seq)"),
];

/// The room as the book knows it.
#[must_use]
pub(crate) fn capability() -> Capability {
    Capability::new(StandingsState::default, StandingsStore, TABLES)
}

struct StandingsStore;

#[async_trait]
impl Store for StandingsStore {
    fn read_parts(&self, _states: &States, scope: &Scope) -> Result<Vec<ReadPart<States>>, StoreError> {
        let ids: Vec<Uuid> = scope.accounts.iter().map(|account| account.0).collect();
        let marks = (scope.depth == Depth::Whole).then(|| marks_of(ids.clone()).into_part(take_marks));
        Ok(std::iter::once(standings_of(ids).into_part(take_standings)).chain(marks).collect())
    }

    fn write_parts(&self, states: &States) -> Result<Vec<WritePart>, StoreError> {
        let state: &StandingsState = states.get()?;
        let changed = state.changed.iter().filter_map(|id| Some(StandingRow::new(*id, state.rows.get(id)?)));
        // A mark is numbered by the last entry that changed it.
        let new_marks = state.new_marks.iter().filter_map(|key| Some(StandingRow::new(key.0, state.marks.get(key)?)));
        Ok(vec![upsert_standings(changed.collect()), insert_marks(new_marks.collect())])
    }
}

fn parse_tier_id(account_id: Uuid, text: String) -> Result<TierId, Defect> {
    TierId::try_from(text).map_err(|error| Defect::new(format!("the standing of account {account_id}: {error}")))
}

/// The standing in a row: its columns are the same wherever it is stored. The last names the entry after which it was so.
macro_rules! standing_in {
    ($row:ident, $last_seq:ident) => {
        Standing {
            tier_id: parse_tier_id($row.account_id, $row.tier_id)?,
            since: $row.since.to_jiff(),
            policy_version: $row.policy_version,
            changed_seq: $row.changed_seq,
            cause_seq: $row.cause_seq,
            qualifying_spend: $row.qualifying_spend,
            purchases: $row.purchases,
            last_seq: $row.$last_seq,
        }
    };
}

/// A standing as it is stored, and as it is sent.
#[derive(sqlx::Encode, sqlx::Decode)]
struct StandingRow {
    account_id: Uuid,
    tier_id: String,
    since: jiff_sqlx::Timestamp,
    policy_version: i32,
    changed_seq: i64,
    cause_seq: i64,
    qualifying_spend: i64,
    purchases: i64,
    last_seq: i64,
}

sent_as!(StandingRow, "sent_standing");

impl StandingRow {
    fn new(account_id: AccountId, standing: &Standing) -> Self {
        Self {
            account_id: account_id.0,
            tier_id: standing.tier_id.as_str().to_owned(),
            since: standing.since.to_sqlx(),
            policy_version: standing.policy_version,
            changed_seq: standing.changed_seq,
            cause_seq: standing.cause_seq,
            qualifying_spend: standing.qualifying_spend,
            purchases: standing.purchases,
            last_seq: standing.last_seq,
        }
    }
}

fn standings_of(accounts: Vec<Uuid>) -> Selection<StandingRow> {
    selection!(
        "standings",
        StandingRow,
        "SELECT account_id, tier_id, since, policy_version, changed_seq, cause_seq, qualifying_spend, purchases, last_seq
         FROM standings WHERE account_id = ANY($1)",
        [accounts],
    )
}

fn take_standings(states: &mut States, rows: Vec<StandingRow>) -> Result<(), StoreError> {
    let state: &mut StandingsState = states.get_mut()?;
    for row in rows {
        state.rows.insert(AccountId(row.account_id), standing_in!(row, last_seq));
    }
    Ok(())
}

fn upsert_standings(rows: Vec<StandingRow>) -> WritePart {
    write_part!(
        "INSERT INTO standings (account_id, tier_id, since, policy_version, changed_seq, cause_seq, qualifying_spend,
             purchases, last_seq)
         SELECT * FROM unnest($1::sent_standing[])
         ON CONFLICT (account_id) DO UPDATE SET tier_id = excluded.tier_id, since = excluded.since,
             policy_version = excluded.policy_version, changed_seq = excluded.changed_seq,
             cause_seq = excluded.cause_seq, qualifying_spend = excluded.qualifying_spend,
             purchases = excluded.purchases, last_seq = excluded.last_seq",
        rows,
    )
}

fn insert_marks(rows: Vec<StandingRow>) -> WritePart {
    write_part!(
        "INSERT INTO standing_marks (account_id, account_seq, tier_id, since, policy_version, changed_seq, cause_seq,
             qualifying_spend, purchases)
         SELECT account_id, last_seq, tier_id, since, policy_version, changed_seq, cause_seq, qualifying_spend, purchases
         FROM unnest($1::sent_standing[])",
        rows,
    )
}

#[derive(sqlx::Decode)]
struct MarkRow {
    account_id: Uuid,
    account_seq: i64,
    tier_id: String,
    since: jiff_sqlx::Timestamp,
    policy_version: i32,
    changed_seq: i64,
    cause_seq: i64,
    qualifying_spend: i64,
    purchases: i64,
}

impl TryFrom<MarkRow> for ((AccountId, i64), Standing) {
    type Error = Defect;

    fn try_from(row: MarkRow) -> Result<Self, Defect> {
        let key = (AccountId(row.account_id), row.account_seq);
        Ok((key, standing_in!(row, account_seq)))
    }
}

fn marks_of(accounts: Vec<Uuid>) -> Selection<MarkRow> {
    selection!(
        "standing_marks",
        MarkRow,
        "SELECT account_id, account_seq, tier_id, since, policy_version, changed_seq, cause_seq, qualifying_spend,
             purchases
         FROM standing_marks WHERE account_id = ANY($1)",
        [accounts],
    )
}

fn take_marks(states: &mut States, rows: Vec<MarkRow>) -> Result<(), StoreError> {
    let marks: Result<_, Defect> = rows.into_iter().map(TryInto::try_into).collect();
    states.get_mut::<StandingsState>()?.marks = marks?;
    Ok(())
}

/// A standing after one of the account's entries: the last that is kept until then, and what changed it since. None
/// before the first.
///
/// # Errors
/// If the database cannot be read, or the entries contradict each other.
pub(super) async fn read_standing_at(
    snapshot: &mut PgConnection,
    account_id: AccountId,
    last: i64,
) -> Result<Option<Standing>, StoreError> {
    let mark = sqlx::query_as!(
        MarkRow,
        "SELECT account_id, account_seq, tier_id, since, policy_version, changed_seq, cause_seq, qualifying_spend,
             purchases
         FROM standing_marks WHERE account_id = $1 AND account_seq <= $2 ORDER BY account_seq DESC LIMIT 1",
        account_id.0,
        last,
    )
    .fetch_optional(&mut *snapshot)
    .traced("SELECT standing_marks")
    .await?;
    let Some(mark) = mark else { return Ok(None) };
    let (key, standing) = mark.try_into()?;
    // Behind these entries it changed first in one that is marked, too.
    let entries = read_entries_between(snapshot, account_id, key.1 + 1, last.min(last_of_block(key.1))).await?;
    let mut state = StandingsState { rows: BTreeMap::from([(account_id, standing)]), ..StandingsState::default() };
    for entry in &entries {
        state.apply(entry)?;
    }
    Ok(state.rows.remove(&account_id))
}

/// The standing of an account, as it is stored.
///
/// # Errors
/// If the database cannot be read.
pub(super) async fn read_standing(
    connection: &mut PgConnection,
    account_id: AccountId,
) -> Result<Option<Standing>, StoreError> {
    let row = standings_of(vec![account_id.0]).fetch(connection).await?.pop();
    row.map(|row| Ok(standing_in!(row, last_seq))).transpose()
}

/// A standing as a read finds it.
#[derive(Clone, Debug)]
pub(super) struct FoundStanding {
    /// The customer's account.
    pub account_id: AccountId,
    /// The standing, as it is stored.
    pub standing: Standing,
    /// The program version in force.
    pub current_version: i32,
    /// What the database's clock told as it was read; the instant, where it was read for one.
    pub told: Timestamp,
}

/// Reads many customers' standings in one statement.
#[must_use]
pub(super) fn fetch_standings() -> Fetch<(ProgramId, CustomerId), FoundStanding> {
    Arc::new(|pool: PgPool, keys: Arc<[(ProgramId, CustomerId)]>| {
        Box::pin(async move {
            let programs: Vec<&str> = keys.iter().map(|(program_id, _)| program_id.as_str()).collect();
            let customers: Vec<&str> = keys.iter().map(|(_, customer_id)| customer_id.as_str()).collect();
            let rows = sqlx::query!(
                r#"SELECT u.place AS "place!", (SELECT clock_timestamp()) AS "told!", s.account_id, s.tier_id, s.since,
                          s.policy_version, s.changed_seq, s.cause_seq, s.qualifying_spend, s.purchases, s.last_seq,
                          p.version
                   FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS u (program_id, name, place)
                   -- Each lookup stands alone, whatever the planner knew of the tables when it planned this: see `by_key`.
                   JOIN LATERAL (
                       SELECT f.account_id FROM names f
                       WHERE f.program_id = u.program_id AND f.space = 'customer' AND f.name = u.name OFFSET 0
                   ) n ON TRUE
                   JOIN LATERAL (SELECT * FROM standings f WHERE f.account_id = n.account_id OFFSET 0) s ON TRUE
                   JOIN LATERAL (SELECT * FROM programs f WHERE f.program_id = u.program_id OFFSET 0) p ON TRUE"#,
                &programs as _,
                &customers as _,
            )
            .fetch_all(&pool)
            .traced("SELECT standings")
            .await?;
            let mut found = vec![None; keys.len()];
            for row in rows {
                let standing = standing_in!(row, last_seq);
                let place = usize::try_from(row.place - 1).unwrap_or(usize::MAX);
                if let Some(slot) = found.get_mut(place) {
                    let (account_id, told) = (AccountId(row.account_id), row.told.to_jiff());
                    *slot = Some(FoundStanding { account_id, standing, current_version: row.version, told });
                }
            }
            Ok(found)
        })
    })
}

/// A page of an account's changes of tier, the newest first.
///
/// # Errors
/// If the database cannot be read.
pub(super) async fn list_changes(
    connection: &mut PgConnection,
    account_id: AccountId,
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<Entry>, StoreError> {
    let rows = select_entries!(
        "FROM ledger_entries e
         WHERE account_id = $1 AND account_seq < $2
           AND kind IN ('tier_changed', 'tier_imported')
           AND (kind = 'tier_changed' OR detail->>'from' IS DISTINCT FROM detail->>'to')
         ORDER BY account_seq DESC LIMIT $3",
        account_id.0,
        before.unwrap_or(i64::MAX),
        limit,
    )
    .fetch_all(connection)
    .traced("SELECT ledger_entries")
    .await?;
    into_entries(rows)
}
