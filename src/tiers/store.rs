//! The SQL of standings.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::model::Standing;
use super::state::StandingsState;
use crate::book::store::{into_entries, select_entries};
use crate::book::{Capability, Defect, Entry, Scope, States, Store, Table};
use crate::database::{Fetch, StoreError, Traced as _};
use crate::ids::{AccountId, CustomerId, ProgramId, TierId};

/// The tables of tiers.
const TABLES: &[Table] = &[Table::projection("standings", "'standing'")];

/// The room as the book knows it.
#[must_use]
pub(crate) fn capability() -> Capability {
    Capability::new(StandingsState::default, StandingsStore, TABLES)
}

struct StandingsStore;

#[async_trait]
impl Store for StandingsStore {
    async fn load(&self, states: &mut States, scope: &Scope, connection: &mut PgConnection) -> Result<(), StoreError> {
        if !scope.accounts.is_empty() {
            let state: &mut StandingsState = states.get_mut()?;
            state.rows = read_standings(connection, &scope.accounts).await?;
        }
        Ok(())
    }

    async fn write(&self, states: &States, connection: &mut PgConnection) -> Result<(), StoreError> {
        let state: &StandingsState = states.get()?;
        if state.changed.is_empty() {
            return Ok(());
        }
        let changed = state.changed.iter().filter_map(|id| Some((*id, state.rows.get(id)?)));
        upsert_standings(connection, changed).await
    }
}

fn parse_tier_id(account_id: Uuid, text: String) -> Result<TierId, Defect> {
    TierId::try_from(text).map_err(|error| Defect::new(format!("the standing of account {account_id}: {error}")))
}

async fn read_standings(
    connection: &mut PgConnection,
    accounts: &[AccountId],
) -> Result<BTreeMap<AccountId, Standing>, StoreError> {
    let ids: Vec<Uuid> = accounts.iter().map(|account| account.0).collect();
    let rows = sqlx::query!(
        "SELECT account_id, tier_id, since, policy_version, changed_seq, cause_seq, qualifying_spend, purchases
         FROM standings WHERE account_id = ANY($1)",
        &ids,
    )
    .fetch_all(connection)
    .traced("SELECT standings")
    .await?;
    rows.into_iter()
        .map(|row| {
            let standing = Standing {
                tier_id: parse_tier_id(row.account_id, row.tier_id)?,
                since: row.since.to_jiff(),
                policy_version: row.policy_version,
                changed_seq: row.changed_seq,
                cause_seq: row.cause_seq,
                qualifying_spend: row.qualifying_spend,
                purchases: row.purchases,
            };
            Ok((AccountId(row.account_id), standing))
        })
        .collect()
}

async fn upsert_standings<'a>(
    connection: &mut PgConnection,
    standings: impl Iterator<Item = (AccountId, &'a Standing)>,
) -> Result<(), StoreError> {
    let (mut accounts, mut tiers, mut since, mut policies) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut changed, mut causes, mut spends, mut purchases) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (account_id, standing) in standings {
        accounts.push(account_id.0);
        tiers.push(standing.tier_id.as_str());
        since.push(standing.since.to_sqlx());
        policies.push(standing.policy_version);
        changed.push(standing.changed_seq);
        causes.push(standing.cause_seq);
        spends.push(standing.qualifying_spend);
        purchases.push(standing.purchases);
    }
    sqlx::query!(
        "INSERT INTO standings (account_id, tier_id, since, policy_version, changed_seq, cause_seq, qualifying_spend,
             purchases)
         SELECT * FROM unnest($1::uuid[], $2::text[], $3::timestamptz[], $4::int[], $5::bigint[], $6::bigint[],
             $7::bigint[], $8::bigint[])
         ON CONFLICT (account_id) DO UPDATE SET tier_id = excluded.tier_id, since = excluded.since,
             policy_version = excluded.policy_version, changed_seq = excluded.changed_seq,
             cause_seq = excluded.cause_seq, qualifying_spend = excluded.qualifying_spend,
             purchases = excluded.purchases",
        &accounts,
        &tiers as _,
        &since,
        &policies,
        &changed,
        &causes,
        &spends,
        &purchases,
    )
    .execute(connection)
    .traced("INSERT standings")
    .await?;
    Ok(())
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
                r#"SELECT u.place AS "place!", (SELECT clock_timestamp()) AS "told!", s.account_id, s.tier_id, s.since, s.policy_version, s.changed_seq,
                          s.cause_seq, s.qualifying_spend, s.purchases, p.version
                   FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS u (program_id, name, place)
                   JOIN names n ON n.program_id = u.program_id AND n.space = 'customer' AND n.name = u.name
                   JOIN standings s ON s.account_id = n.account_id
                   JOIN programs p ON p.program_id = u.program_id"#,
                &programs as _,
                &customers as _,
            )
            .fetch_all(&pool)
            .traced("SELECT standings")
            .await?;
            let mut found = vec![None; keys.len()];
            for row in rows {
                let standing = Standing {
                    tier_id: parse_tier_id(row.account_id, row.tier_id)?,
                    since: row.since.to_jiff(),
                    policy_version: row.policy_version,
                    changed_seq: row.changed_seq,
                    cause_seq: row.cause_seq,
                    qualifying_spend: row.qualifying_spend,
                    purchases: row.purchases,
                };
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
           AND (kind = 'tier_changed' OR kind = 'tier_imported' AND detail->'from' <> detail->'to')
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
