//! The SQL of grants.

use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::benefits::grants::{Grant, MAX_GRANTS};
use crate::benefits::state::BenefitsState;
use crate::book::{Defect, States};
use crate::database::{ReadPart, Selection, StoreError, Traced as _, WritePart, selection, sent_as, write_part};
use crate::ids::{AccountId, BenefitId, PackageId, TierId};

/// A grant as it is stored, and as it is sent.
#[derive(sqlx::Encode, sqlx::Decode)]
pub(in crate::benefits) struct GrantRow {
    account_id: Uuid,
    granted_seq: i64,
    benefit_id: String,
    tier_id: Option<String>,
    policy_version: i32,
    granted_at: jiff_sqlx::Timestamp,
    use_limit: Option<i64>,
    counts_companions: bool,
    ends_at: Option<jiff_sqlx::Timestamp>,
    revoked_at: Option<jiff_sqlx::Timestamp>,
    package_id: Option<String>,
}

sent_as!(GrantRow, "sent_benefit_grant");

impl GrantRow {
    fn new((account_id, granted_seq): (AccountId, i64), grant: &Grant) -> Self {
        Self {
            account_id: account_id.0,
            granted_seq,
            benefit_id: grant.benefit_id.to_string(),
            tier_id: grant.tier_id.as_ref().map(ToString::to_string),
            policy_version: grant.policy_version,
            granted_at: grant.granted_at.to_sqlx(),
            use_limit: grant.limit,
            counts_companions: grant.counts_companions,
            ends_at: grant.ends_at.map(|at| at.to_sqlx()),
            revoked_at: grant.revoked_at.map(|at| at.to_sqlx()),
            package_id: grant.package_id.as_ref().map(ToString::to_string),
        }
    }

    fn into_grant(self) -> Result<Grant, Defect> {
        let account_id = self.account_id;
        let damaged = |error: &str| Defect::new(format!("a benefit grant of account {account_id}: {error}"));
        let tier_id = self.tier_id.map(TierId::try_from).transpose();
        let package_id = self.package_id.map(PackageId::try_from).transpose();
        Ok(Grant {
            benefit_id: BenefitId::try_from(self.benefit_id).map_err(damaged)?,
            tier_id: tier_id.map_err(damaged)?,
            policy_version: self.policy_version,
            granted_at: self.granted_at.to_jiff(),
            limit: self.use_limit,
            counts_companions: self.counts_companions,
            ends_at: self.ends_at.map(jiff_sqlx::Timestamp::to_jiff),
            revoked_at: self.revoked_at.map(jiff_sqlx::Timestamp::to_jiff),
            package_id: package_id.map_err(damaged)?,
        })
    }
}

pub(in crate::benefits) fn take_grants(states: &mut States, rows: Vec<GrantRow>) -> Result<(), StoreError> {
    let state: &mut BenefitsState = states.get_mut()?;
    for row in rows {
        let key = (AccountId(row.account_id), row.granted_seq);
        state.grants.insert(key, row.into_grant()?);
    }
    Ok(())
}

pub(super) fn all_grants_of(accounts: Vec<Uuid>) -> Selection<GrantRow> {
    selection!(
        "benefit_grants",
        GrantRow,
        "SELECT account_id, granted_seq, benefit_id, tier_id, policy_version, granted_at, use_limit, counts_companions,
             ends_at, revoked_at, package_id
         FROM benefit_grants WHERE account_id = ANY($1)",
        [accounts],
    )
}

/// The grants of accounts that end last, as many as one customer may have at a time: they tell how many were in force at any
/// instant, up to the most.
pub(in crate::benefits) fn last_grants_of(accounts: Vec<Uuid>) -> Selection<GrantRow> {
    let most = i64::try_from(MAX_GRANTS).unwrap_or(i64::MAX);
    selection!(
        "benefit_grants",
        GrantRow,
        "SELECT g.account_id, g.granted_seq, g.benefit_id, g.tier_id, g.policy_version, g.granted_at, g.use_limit,
             g.counts_companions, g.ends_at, g.revoked_at, g.package_id
         FROM unnest($1::uuid[]) AS w (account_id)
         JOIN LATERAL (
             SELECT * FROM benefit_grants f WHERE f.account_id = w.account_id
             ORDER BY coalesce(least(f.ends_at, f.revoked_at), 'infinity') DESC LIMIT $2
         ) g ON TRUE",
        [accounts, most],
    )
}

/// What is read of the grants that commands ask for, which may be so many together: of each customer as many as one may have
/// at a time.
pub(super) fn read_parts(state: &BenefitsState, most: i64) -> Vec<ReadPart<States>> {
    let mut parts = Vec::new();
    let asked = &state.asked;
    if !asked.benefits.is_empty() || !asked.accounts.is_empty() {
        parts.push(grants_in_force_of(state, most).into_part(move |states: &mut States, rows| {
            if i64::try_from(rows.len()).is_ok_and(|count| count <= most) {
                return take_grants(states, rows);
            }
            Err(StoreError::TooManyRows { most })
        }));
    }
    if !asked.grants.is_empty() {
        parts.push(named_grants_of(state).into_part(take_grants));
    }
    parts
}

/// The grants that are in force: of some accounts all, of others those of a benefit.
fn grants_in_force_of(state: &BenefitsState, most: i64) -> Selection<GrantRow> {
    let of_benefits = state.asked.benefits.iter();
    let of_benefits =
        of_benefits.map(|((account_id, benefit_id), at)| (account_id.0, Some(benefit_id.to_string()), *at));
    let of_accounts = state.asked.accounts.iter().map(|(account_id, at)| (account_id.0, None, *at));
    let (mut accounts, mut benefits, mut instants) = (Vec::new(), Vec::new(), Vec::new());
    for (account_id, benefit_id, at) in of_benefits.chain(of_accounts) {
        accounts.push(account_id);
        benefits.push(benefit_id);
        instants.push(at.to_sqlx());
    }
    let limit = most.saturating_add(1);
    selection!(
        "benefit_grants",
        GrantRow,
        "SELECT g.account_id, g.granted_seq, g.benefit_id, g.tier_id, g.policy_version, g.granted_at, g.use_limit,
             g.counts_companions, g.ends_at, g.revoked_at, g.package_id
         FROM unnest($1::uuid[], $2::text[], $3::timestamptz[]) AS w (account_id, benefit_id, at)
         JOIN LATERAL (
             SELECT * FROM benefit_grants f
             WHERE f.account_id = w.account_id AND coalesce(least(f.ends_at, f.revoked_at), 'infinity') > w.at
               AND (w.benefit_id IS NULL OR f.benefit_id = w.benefit_id)
             OFFSET 0
         ) g ON TRUE
         LIMIT $4",
        [accounts, benefits, instants, limit],
    )
}

/// The grants that commands name, as columns.
pub(super) fn named_grants(state: &BenefitsState) -> (Vec<Uuid>, Vec<i64>) {
    state.asked.grants.iter().map(|(account_id, seq)| (account_id.0, *seq)).unzip()
}

fn named_grants_of(state: &BenefitsState) -> Selection<GrantRow> {
    let (accounts, seqs) = named_grants(state);
    selection!(
        "benefit_grants",
        GrantRow,
        "SELECT g.account_id, g.granted_seq, g.benefit_id, g.tier_id, g.policy_version, g.granted_at, g.use_limit,
             g.counts_companions, g.ends_at, g.revoked_at, g.package_id
         FROM unnest($1::uuid[], $2::bigint[]) AS w (account_id, granted_seq)
         JOIN benefit_grants g ON g.account_id = w.account_id AND g.granted_seq = w.granted_seq",
        [accounts, seqs],
    )
}

/// Writes the grants that changed: of one that is there, only that it was revoked.
pub(super) fn write_part(state: &BenefitsState) -> WritePart {
    let changed = state.changed_grants.iter();
    let rows: Vec<GrantRow> = changed.filter_map(|key| Some(GrantRow::new(*key, state.grants.get(key)?))).collect();
    write_part!(
        "INSERT INTO benefit_grants (account_id, granted_seq, benefit_id, tier_id, policy_version, granted_at, use_limit,
             counts_companions, ends_at, revoked_at, package_id)
         SELECT * FROM unnest($1::sent_benefit_grant[])
         ON CONFLICT (account_id, granted_seq) DO UPDATE SET revoked_at = excluded.revoked_at",
        rows,
    )
}

/// A grant, and how often it was used.
#[derive(Clone, Debug)]
pub(crate) struct FoundGrant {
    /// The entry that granted it.
    pub granted_seq: i64,
    /// What was granted.
    pub grant: Grant,
    /// How often it was used.
    pub used: i64,
}

/// A grant with how often it was used, as it is stored.
struct FoundRow {
    grant: GrantRow,
    used: i64,
}

impl FoundRow {
    fn into_found(self) -> Result<FoundGrant, StoreError> {
        let Self { grant, used } = self;
        Ok(FoundGrant { granted_seq: grant.granted_seq, grant: grant.into_grant()?, used })
    }
}

/// A page of the grants of an account that were in force at an instant, the oldest first, with how often they had been used
/// by then.
///
/// # Errors
/// If the database cannot be read.
pub(in crate::benefits) async fn list_in_force(
    connection: &mut PgConnection,
    account_id: AccountId,
    at: Timestamp,
    after: i64,
    limit: i64,
) -> Result<Vec<FoundGrant>, StoreError> {
    let rows = sqlx::query_as!(
        FoundRow,
        r#"SELECT ROW (g.account_id, g.granted_seq, g.benefit_id, g.tier_id, g.policy_version, g.granted_at, g.use_limit,
                       g.counts_companions, g.ends_at, g.revoked_at, g.package_id)::sent_benefit_grant
                      AS "grant!: GrantRow", coalesce(u.in_all, 0) AS "used!"
           FROM (
               SELECT * FROM benefit_grants f
               WHERE f.account_id = $1 AND f.granted_seq > $3
                 AND tstzrange(f.granted_at, coalesce(least(f.ends_at, f.revoked_at), 'infinity')) @> $2::timestamptz
               OFFSET 0
           ) g
           LEFT JOIN LATERAL (
               SELECT f.in_all FROM benefit_uses f
               WHERE f.account_id = g.account_id AND f.benefit_id = g.benefit_id AND f.granted_seq = g.granted_seq
                 AND f.used_at <= $2
               ORDER BY f.used_at DESC, f.account_seq DESC LIMIT 1
           ) u ON TRUE
           ORDER BY g.granted_seq LIMIT $4"#,
        account_id.0,
        at.to_sqlx() as _,
        after,
        limit,
    )
    .fetch_all(connection)
    .traced("SELECT benefit_grants")
    .await?;
    rows.into_iter().map(FoundRow::into_found).collect()
}

/// A page of all that was ever granted to an account, the oldest first, with how often each grant was used.
///
/// # Errors
/// If the database cannot be read.
pub(in crate::benefits) async fn list_all(
    connection: &mut PgConnection,
    account_id: AccountId,
    after: i64,
    limit: i64,
) -> Result<Vec<FoundGrant>, StoreError> {
    let rows = sqlx::query_as!(
        FoundRow,
        r#"SELECT ROW (g.account_id, g.granted_seq, g.benefit_id, g.tier_id, g.policy_version, g.granted_at, g.use_limit,
                       g.counts_companions, g.ends_at, g.revoked_at, g.package_id)::sent_benefit_grant
                      AS "grant!: GrantRow", coalesce(u.in_all, 0) AS "used!"
           FROM (
               SELECT * FROM benefit_grants f WHERE f.account_id = $1 AND f.granted_seq > $2
               ORDER BY f.granted_seq LIMIT $3
           ) g
           LEFT JOIN LATERAL (
               SELECT f.in_all FROM benefit_uses f
               WHERE f.account_id = g.account_id AND f.benefit_id = g.benefit_id AND f.granted_seq = g.granted_seq
               ORDER BY f.used_at DESC, f.account_seq DESC LIMIT 1
           ) u ON TRUE
           ORDER BY g.granted_seq"#,
        account_id.0,
        after,
        limit,
    )
    .fetch_all(connection)
    .traced("SELECT benefit_grants")
    .await?;
    rows.into_iter().map(FoundRow::into_found).collect()
}
