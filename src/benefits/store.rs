//! The SQL of benefits.

pub(super) mod grants;
pub(super) mod periods;

use async_trait::async_trait;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;
use uuid::Uuid;

use super::packages::store as packages;
use super::state::{BenefitUse, BenefitsState};
use crate::book::{Capability, Defect, Depth, Scope, States, Store, Table, TableRights, UseCounts};
use crate::database::{ReadPart, Selection, StoreError, Traced as _, WritePart, selection, sent_as, write_part};
use crate::ids::{AccountId, BenefitId};
use crate::programs::Catalogue;

/// The tables of benefits.
const TABLES: &[Table] = &[
    Table::projection("benefit_grants", "format('benefit grant of entry %s', granted_seq)"),
    Table::projection("benefit_uses", "format('benefit use of entry %s', account_seq)"),
    Table::source("package_rounds", TableRights::AppendChangeAndRemove),
    Table::projection("packages_given", "format('package of entry %s', given_seq)"),
    Table::projection("packages_owed", "format('package owed for tier %s', tier_id)"),
    Table::projection("tier_periods", "format('tier period of entry %s', began_seq)"),
];

/// The room as the book knows it. Versions of programs that are read are remembered in `catalogue`.
#[must_use]
pub(crate) fn capability(catalogue: Catalogue) -> Capability {
    Capability::new(BenefitsState::default, BenefitsStore { catalogue }, TABLES)
}

struct BenefitsStore {
    catalogue: Catalogue,
}

#[async_trait]
impl Store for BenefitsStore {
    fn read_parts(&self, states: &States, scope: &Scope) -> Result<Vec<ReadPart<States>>, StoreError> {
        let state: &BenefitsState = states.get()?;
        if scope.depth == Depth::Whole {
            let accounts: Vec<Uuid> = scope.accounts.iter().map(|account| account.0).collect();
            let mut parts = packages::whole_parts(&accounts);
            parts.push(all_uses_of(accounts.clone()).into_part(take_uses));
            parts.push(periods::all_periods_of(accounts.clone()).into_part(periods::take_periods));
            parts.push(grants::all_grants_of(accounts).into_part(grants::take_grants));
            return Ok(parts);
        }
        let mut parts = packages::due_parts(scope);
        if !state.asked.benefits.is_empty() {
            parts.push(last_uses_of(state).into_part(take_uses));
            parts.push(last_uses_of_grants(state).into_part(take_uses));
            parts.push(periods::last_periods_of(state).into_part(periods::take_periods));
        }
        parts.extend(grants::read_parts(state, scope.most_rows()));
        if !state.asked.uses.is_empty() {
            parts.push(uses_with_reversals_of(state).into_part(take_uses));
        }
        Ok(parts)
    }

    async fn load(&self, states: &mut States, scope: &Scope, connection: &mut PgConnection) -> Result<(), StoreError> {
        packages::load(states, scope, &self.catalogue, connection).await
    }

    fn write_parts(&self, states: &States) -> Result<Vec<WritePart>, StoreError> {
        let state: &BenefitsState = states.get()?;
        let uses = state.new_uses.iter().filter_map(|key| Some(UseRow::new(*key, state.uses.get(key)?)));
        let own = [insert_uses(uses.collect()), periods::write_part(state), grants::write_part(state)];
        Ok(own.into_iter().chain(packages::write_parts(state)).collect())
    }
}

/// A use as it is stored, and as it is sent.
#[derive(sqlx::Encode, sqlx::Decode)]
struct UseRow {
    account_id: Uuid,
    account_seq: i64,
    benefit_id: String,
    used_at: jiff_sqlx::Timestamp,
    granted_seq: i64,
    counted: i64,
    reverses_seq: Option<i64>,
    day: jiff_sqlx::Date,
    tier_period: i64,
    in_tier_period: i64,
    in_month: i64,
    in_quarter: i64,
    in_half: i64,
    in_year: i64,
    in_all: i64,
}

sent_as!(UseRow, "sent_benefit_use");

impl UseRow {
    fn new((account_id, account_seq): (AccountId, i64), it: &BenefitUse) -> Self {
        let UseCounts { day, tier_period, in_tier_period, in_month, in_quarter, in_half, in_year, in_all } = it.counts;
        Self {
            account_id: account_id.0,
            account_seq,
            benefit_id: it.benefit_id.to_string(),
            used_at: it.used_at.to_sqlx(),
            granted_seq: it.granted,
            counted: it.counted,
            reverses_seq: it.reverses,
            day: day.to_sqlx(),
            tier_period,
            in_tier_period,
            in_month,
            in_quarter,
            in_half,
            in_year,
            in_all,
        }
    }

    fn into_use(self) -> Result<BenefitUse, Defect> {
        let account_id = self.account_id;
        let benefit_id = BenefitId::try_from(self.benefit_id);
        let benefit_id =
            benefit_id.map_err(|error| Defect::new(format!("a benefit use of account {account_id}: {error}")))?;
        let counts = UseCounts {
            day: self.day.to_jiff(),
            tier_period: self.tier_period,
            in_tier_period: self.in_tier_period,
            in_month: self.in_month,
            in_quarter: self.in_quarter,
            in_half: self.in_half,
            in_year: self.in_year,
            in_all: self.in_all,
        };
        let (granted, counted, reverses) = (self.granted_seq, self.counted, self.reverses_seq);
        Ok(BenefitUse { benefit_id, used_at: self.used_at.to_jiff(), granted, counted, reverses, counts })
    }
}

fn take_uses(states: &mut States, rows: Vec<UseRow>) -> Result<(), StoreError> {
    let state: &mut BenefitsState = states.get_mut()?;
    for row in rows {
        let key = (AccountId(row.account_id), row.account_seq);
        state.uses.insert(key, row.into_use()?);
    }
    Ok(())
}

fn all_uses_of(accounts: Vec<Uuid>) -> Selection<UseRow> {
    selection!(
        "benefit_uses",
        UseRow,
        "SELECT account_id, account_seq, benefit_id, used_at, granted_seq, counted, reverses_seq, day, tier_period, in_tier_period,
             in_month, in_quarter, in_half, in_year, in_all
         FROM benefit_uses WHERE account_id = ANY($1)",
        [accounts],
    )
}

/// The last use of each benefit by the tiers.
fn last_uses_of(state: &BenefitsState) -> Selection<UseRow> {
    let (accounts, benefits, _) = benefits_of(state);
    selection!(
        "benefit_uses",
        UseRow,
        "SELECT u.account_id, u.account_seq, u.benefit_id, u.used_at, u.granted_seq, u.counted, u.reverses_seq, u.day,
             u.tier_period, u.in_tier_period, u.in_month, u.in_quarter, u.in_half, u.in_year, u.in_all
         FROM unnest($1::uuid[], $2::text[]) AS w (account_id, benefit_id)
         JOIN LATERAL (
             SELECT * FROM benefit_uses f
             WHERE f.account_id = w.account_id AND f.benefit_id = w.benefit_id AND f.granted_seq = 0
             ORDER BY f.used_at DESC, f.account_seq DESC LIMIT 1
         ) u ON TRUE",
        [accounts, benefits],
    )
}

/// The last use by each grant of the benefits that is in force, and by each grant that is named.
fn last_uses_of_grants(state: &BenefitsState) -> Selection<UseRow> {
    let (accounts, benefits, instants) = benefits_of(state);
    let (named, seqs) = grants::named_grants(state);
    selection!(
        "benefit_uses",
        UseRow,
        "SELECT u.account_id, u.account_seq, u.benefit_id, u.used_at, u.granted_seq, u.counted, u.reverses_seq, u.day,
             u.tier_period, u.in_tier_period, u.in_month, u.in_quarter, u.in_half, u.in_year, u.in_all
         FROM (
             SELECT g.account_id, g.benefit_id, g.granted_seq
             FROM unnest($1::uuid[], $2::text[], $3::timestamptz[]) AS w (account_id, benefit_id, at)
             JOIN LATERAL (
                 SELECT * FROM benefit_grants f
                 WHERE f.account_id = w.account_id AND f.benefit_id = w.benefit_id
                   AND coalesce(least(f.ends_at, f.revoked_at), 'infinity') > w.at
                 OFFSET 0
             ) g ON TRUE
             UNION
             SELECT g.account_id, g.benefit_id, g.granted_seq
             FROM unnest($4::uuid[], $5::bigint[]) AS n (account_id, granted_seq)
             JOIN benefit_grants g ON g.account_id = n.account_id AND g.granted_seq = n.granted_seq
         ) w
         JOIN LATERAL (
             SELECT * FROM benefit_uses f
             WHERE f.account_id = w.account_id AND f.benefit_id = w.benefit_id AND f.granted_seq = w.granted_seq
             ORDER BY f.used_at DESC, f.account_seq DESC LIMIT 1
         ) u ON TRUE",
        [accounts, benefits, instants, named, seqs],
    )
}

/// The benefits that commands ask for, as columns.
fn benefits_of(state: &BenefitsState) -> (Vec<Uuid>, Vec<String>, Vec<jiff_sqlx::Timestamp>) {
    let asked = &state.asked.benefits;
    let accounts = asked.keys().map(|(account_id, _)| account_id.0).collect();
    let benefits = asked.keys().map(|(_, benefit_id)| benefit_id.to_string()).collect();
    (accounts, benefits, asked.values().map(|at| at.to_sqlx()).collect())
}

/// Uses that may be reversed, each with its reversal, if there is one, and with the last use of the same benefit by the
/// same right.
fn uses_with_reversals_of(state: &BenefitsState) -> Selection<UseRow> {
    let accounts: Vec<Uuid> = state.asked.uses.iter().map(|(account_id, _)| account_id.0).collect();
    let seqs: Vec<i64> = state.asked.uses.iter().map(|(_, seq)| *seq).collect();
    selection!(
        "benefit_uses",
        UseRow,
        r#"SELECT u.account_id AS "account_id!", u.account_seq AS "account_seq!", u.benefit_id AS "benefit_id!",
               u.used_at AS "used_at!", u.granted_seq AS "granted_seq!", u.counted AS "counted!", u.reverses_seq, u.day AS "day!",
               u.tier_period AS "tier_period!", u.in_tier_period AS "in_tier_period!", u.in_month AS "in_month!",
               u.in_quarter AS "in_quarter!", u.in_half AS "in_half!", u.in_year AS "in_year!", u.in_all AS "in_all!"
           FROM unnest($1::uuid[], $2::bigint[]) AS w (account_id, account_seq)
           JOIN LATERAL (
               (SELECT * FROM benefit_uses f WHERE f.account_id = w.account_id AND f.account_seq = w.account_seq)
               UNION ALL
               (SELECT * FROM benefit_uses f WHERE f.account_id = w.account_id AND f.reverses_seq = w.account_seq)
               UNION ALL
               (SELECT l.* FROM benefit_uses f
                JOIN LATERAL (
                    SELECT * FROM benefit_uses g
                    WHERE g.account_id = f.account_id AND g.benefit_id = f.benefit_id AND g.granted_seq = f.granted_seq
                    ORDER BY g.used_at DESC, g.account_seq DESC LIMIT 1
                ) l ON TRUE
                WHERE f.account_id = w.account_id AND f.account_seq = w.account_seq)
           ) u ON TRUE"#,
        [accounts, seqs],
    )
}

fn insert_uses(rows: Vec<UseRow>) -> WritePart {
    write_part!(
        "INSERT INTO benefit_uses (account_id, account_seq, benefit_id, used_at, granted_seq, counted, reverses_seq, day,
             tier_period,
             in_tier_period, in_month, in_quarter, in_half, in_year, in_all)
         SELECT * FROM unnest($1::sent_benefit_use[])",
        rows,
    )
}

/// The last uses of some benefits of an account by the tiers, by an instant.
///
/// # Errors
/// If the database cannot be read.
pub(super) async fn read_last_uses(
    connection: &mut PgConnection,
    account_id: AccountId,
    benefits: &[BenefitId],
    by: Timestamp,
) -> Result<Vec<BenefitUse>, StoreError> {
    let benefits: Vec<&str> = benefits.iter().map(BenefitId::as_str).collect();
    let rows = sqlx::query_as!(
        UseRow,
        "SELECT u.account_id, u.account_seq, u.benefit_id, u.used_at, u.granted_seq, u.counted, u.reverses_seq, u.day, u.tier_period,
             u.in_tier_period, u.in_month, u.in_quarter, u.in_half, u.in_year, u.in_all
         FROM unnest($2::text[]) AS w (benefit_id)
         JOIN LATERAL (
             SELECT * FROM benefit_uses f
             WHERE f.account_id = $1 AND f.benefit_id = w.benefit_id AND f.granted_seq = 0 AND f.used_at <= $3
             ORDER BY f.used_at DESC, f.account_seq DESC LIMIT 1
         ) u ON TRUE",
        account_id.0,
        &benefits as _,
        by.to_sqlx() as _,
    )
    .fetch_all(connection)
    .traced("SELECT benefit_uses")
    .await?;
    Ok(rows.into_iter().map(UseRow::into_use).collect::<Result<_, _>>()?)
}
