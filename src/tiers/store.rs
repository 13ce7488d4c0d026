//! The SQL of standings, and their state.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::future::BoxFuture;
use jiff_sqlx::ToSqlx as _;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::model::Standing;
use crate::book::store::EntryRow;
use crate::book::{Cell, Defect, Detail, Earlier, Entry, Projection, Row, Scope, State};
use crate::database::{Fetch, Traced as _};
use crate::ids::{AccountId, CustomerId, ProgramId, TierId};

/// The standings of a batch.
#[derive(Default)]
pub struct StandingsState {
    rows: BTreeMap<AccountId, Standing>,
    changed: BTreeSet<AccountId>,
}

impl StandingsState {
    /// A customer's standing.
    #[must_use]
    pub fn get(&self, account_id: AccountId) -> Option<&Standing> {
        self.rows.get(&account_id)
    }

    fn get_mut(&mut self, entry: &Entry) -> Result<&mut Standing, Defect> {
        let account_id = entry.id.account_id;
        self.changed.insert(account_id);
        self.rows.get_mut(&account_id).ok_or_else(|| Defect::new(format!("entry {}: no standing is loaded", entry.id)))
    }
}

impl State for StandingsState {
    fn load<'a>(
        &'a mut self,
        connection: &'a mut PgConnection,
        scope: &'a Scope,
        _earlier: Earlier<'a>,
    ) -> BoxFuture<'a, Result<(), sqlx::Error>> {
        Box::pin(async move {
            if !scope.accounts.is_empty() {
                self.rows = read_standings(connection, &scope.accounts).await?;
            }
            Ok(())
        })
    }

    fn apply(&mut self, entry: &Entry) -> Result<(), Defect> {
        match &entry.detail {
            Detail::TierChanged { from: None, to, .. } => {
                let standing = Standing {
                    tier_id: to.clone(),
                    since: entry.effective_at,
                    policy_version: entry.policy_version,
                    changed_seq: entry.id.account_seq,
                    cause_seq: cause_of(entry)?,
                    qualifying_spend: 0,
                    purchases: 0,
                };
                self.changed.insert(entry.id.account_id);
                self.rows.insert(entry.id.account_id, standing);
            }
            Detail::TierChanged { from: Some(_), to, .. } => {
                let cause_seq = cause_of(entry)?;
                let standing = self.get_mut(entry)?;
                standing.tier_id = to.clone();
                standing.since = entry.effective_at;
                standing.policy_version = entry.policy_version;
                standing.changed_seq = entry.id.account_seq;
                standing.cause_seq = cause_seq;
            }
            Detail::ActivityAccepted { spend, .. } => {
                let standing = self.get_mut(entry)?;
                let spent = standing.qualifying_spend.checked_add(*spend);
                standing.qualifying_spend =
                    spent.ok_or_else(|| Defect::new(format!("entry {}: the spend overflows", entry.id)))?;
                standing.purchases += i64::from(*spend > 0);
            }
            Detail::RefundAccepted { spend, .. } => {
                let standing = self.get_mut(entry)?;
                standing.qualifying_spend -= *spend;
                if standing.qualifying_spend < 0 {
                    return Err(Defect::new(format!("entry {}: more is refunded than was spent", entry.id)));
                }
            }
            Detail::TierImported { to, qualifying_spend, .. } => {
                let standing = self.get_mut(entry)?;
                let spent = standing.qualifying_spend.checked_add(*qualifying_spend);
                standing.qualifying_spend =
                    spent.ok_or_else(|| Defect::new(format!("entry {}: the spend overflows", entry.id)))?;
                if standing.tier_id != *to {
                    standing.tier_id = to.clone();
                    standing.since = entry.effective_at;
                    standing.policy_version = entry.policy_version;
                    standing.changed_seq = entry.id.account_seq;
                    standing.cause_seq = entry.id.account_seq;
                }
            }
            // Everything else concerns other states.
            _ => {}
        }
        Ok(())
    }

    fn write<'a>(&'a mut self, connection: &'a mut PgConnection) -> BoxFuture<'a, Result<(), sqlx::Error>> {
        Box::pin(async move {
            if self.changed.is_empty() {
                return Ok(());
            }
            let changed = self.changed.iter().filter_map(|id| Some((*id, self.rows.get(id)?)));
            upsert_standings(connection, changed).await
        })
    }

    fn projection(&self) -> Option<&dyn Projection> {
        Some(self)
    }
}

impl Projection for StandingsState {
    fn rows(&self, account_id: AccountId) -> Box<dyn Iterator<Item = Row<'_>> + Send + '_> {
        Box::new(self.rows.get(&account_id).into_iter().map(|standing| Row {
            noun: "standing",
            key: Cell::Absent,
            columns: vec![
                ("tier_id", Cell::word(standing.tier_id.as_str())),
                ("since", standing.since.into()),
                ("policy_version", standing.policy_version.into()),
                ("changed_seq", standing.changed_seq.into()),
                ("cause_seq", standing.cause_seq.into()),
                ("qualifying_spend", standing.qualifying_spend.into()),
                ("purchases", standing.purchases.into()),
            ],
        }))
    }

    fn delete<'a>(
        &'a self,
        connection: &'a mut PgConnection,
        account_id: AccountId,
    ) -> BoxFuture<'a, Result<(), sqlx::Error>> {
        Box::pin(async move {
            sqlx::query!("DELETE FROM standings WHERE account_id = $1", account_id.0)
                .execute(connection)
                .traced("DELETE standings")
                .await
                .map(drop)
        })
    }
}

fn cause_of(entry: &Entry) -> Result<i64, Defect> {
    let cause = entry.causes.first().filter(|cause| cause.account_id == entry.id.account_id);
    cause.map(|cause| cause.account_seq).ok_or_else(|| Defect::new(format!("entry {}: no cause", entry.id)))
}

fn parse_tier_id(text: String) -> Result<TierId, sqlx::Error> {
    TierId::try_from(text).map_err(|error| sqlx::Error::Decode(error.into()))
}

async fn read_standings(
    connection: &mut PgConnection,
    accounts: &[AccountId],
) -> Result<BTreeMap<AccountId, Standing>, sqlx::Error> {
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
                tier_id: parse_tier_id(row.tier_id)?,
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
) -> Result<(), sqlx::Error> {
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
pub struct FoundStanding {
    /// The customer's account.
    pub account_id: AccountId,
    /// The standing.
    pub standing: Standing,
    /// The program version in force.
    pub current_version: i32,
}

/// Reads many customers' standings in one statement.
#[must_use]
pub fn fetch_standings() -> Fetch<(ProgramId, CustomerId), FoundStanding> {
    Arc::new(|pool: PgPool, keys: Arc<[(ProgramId, CustomerId)]>| {
        Box::pin(async move {
            let programs: Vec<&str> = keys.iter().map(|(program_id, _)| program_id.as_str()).collect();
            let customers: Vec<&str> = keys.iter().map(|(_, customer_id)| customer_id.as_str()).collect();
            let rows = sqlx::query!(
                r#"SELECT u.place AS "place!", s.account_id, s.tier_id, s.since, s.policy_version, s.changed_seq,
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
                    tier_id: parse_tier_id(row.tier_id)?,
                    since: row.since.to_jiff(),
                    policy_version: row.policy_version,
                    changed_seq: row.changed_seq,
                    cause_seq: row.cause_seq,
                    qualifying_spend: row.qualifying_spend,
                    purchases: row.purchases,
                };
                let place = usize::try_from(row.place - 1).unwrap_or(usize::MAX);
                if let Some(slot) = found.get_mut(place) {
                    let account_id = AccountId(row.account_id);
                    *slot = Some(FoundStanding { account_id, standing, current_version: row.version });
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
pub async fn list_changes(
    connection: &mut PgConnection,
    account_id: AccountId,
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<Entry>, sqlx::Error> {
    let rows = sqlx::query_as!(
        EntryRow,
        "SELECT account_id, account_seq, program_id, from_pocket, to_pocket, points, detail, command_id, key_hash,
                fingerprint, actor, reason, policy_version, causes, trace_id, effective_at, recorded_at, content_hash
         FROM ledger_entries
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
    rows.into_iter().map(Entry::try_from).collect()
}
