//! The SQL of packages.

pub(super) mod rounds;

use std::collections::BTreeSet;

use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;
use uuid::Uuid;

use super::state::{Given, Owed};
use crate::benefits::state::BenefitsState;
use crate::benefits::store::grants::{last_grants_of, take_grants};
use crate::benefits::store::periods::{reached_periods_of, take_periods};
use crate::book::{Defect, Occasion, Scope, States};
use crate::database::{
    ReadPart, Selection, StoreError, Traced as _, WritePart, read_parts, selection, sent_as, write_part,
};
use crate::ids::{AccountId, PackageId, ProgramId, TierId};
use crate::programs::Catalogue;
use crate::tiers::state::StandingsState;

/// What a customer is owed, as it is stored, and as it is sent.
#[derive(sqlx::Encode, sqlx::Decode)]
struct OwedRow {
    account_id: Uuid,
    tier_id: String,
    package_id: String,
    program_id: String,
    reached_seq: i64,
    owed_at: jiff_sqlx::Timestamp,
    policy_version: i32,
    settled_seq: Option<i64>,
}

sent_as!(OwedRow, "sent_package_owed");

/// Whose customer is erased, and by which entry.
#[derive(sqlx::Encode)]
struct EndedRow {
    account_id: Uuid,
    settled_seq: i64,
}

sent_as!(EndedRow, "sent_package_end");

/// A package that was given, as it is stored, and as it is sent.
#[derive(sqlx::Encode, sqlx::Decode)]
struct GivenRow {
    account_id: Uuid,
    given_seq: i64,
    package_id: String,
    occasion: String,
    tier_id: Option<String>,
    tier_period: Option<i64>,
    year: Option<i64>,
}

sent_as!(GivenRow, "sent_package_given");

fn damaged(account_id: Uuid, error: &str) -> Defect {
    Defect::new(format!("a package of account {account_id}: {error}"))
}

fn take_owed(states: &mut States, rows: Vec<OwedRow>) -> Result<(), StoreError> {
    let state: &mut BenefitsState = states.get_mut()?;
    for row in rows {
        let damaged = |error: &str| damaged(row.account_id, error);
        let owed = Owed {
            package_id: PackageId::try_from(row.package_id).map_err(damaged)?,
            program_id: ProgramId::try_from(row.program_id).map_err(damaged)?,
            reached: row.reached_seq,
            owed_at: row.owed_at.to_jiff(),
            policy_version: row.policy_version,
            settled: row.settled_seq,
        };
        let tier_id = TierId::try_from(row.tier_id).map_err(damaged)?;
        state.packages.owed.entry(AccountId(row.account_id)).or_default().insert(tier_id, owed);
    }
    Ok(())
}

fn take_given(states: &mut States, rows: Vec<GivenRow>) -> Result<(), StoreError> {
    let state: &mut BenefitsState = states.get_mut()?;
    for row in rows {
        let damaged = |error: &str| damaged(row.account_id, error);
        let given = Given {
            package_id: PackageId::try_from(row.package_id).map_err(damaged)?,
            occasion: Occasion::from_stored(&row.occasion).ok_or_else(|| damaged("its occasion is unknown"))?,
            tier_id: row.tier_id.map(TierId::try_from).transpose().map_err(damaged)?,
            tier_period: row.tier_period,
            year: row.year.map(i16::try_from).transpose().map_err(|_| damaged("its year is none"))?,
        };
        state.packages.given.insert((AccountId(row.account_id), row.given_seq), given);
    }
    Ok(())
}

/// What is read where everything is.
pub(in crate::benefits) fn whole_parts(accounts: &[Uuid]) -> Vec<ReadPart<States>> {
    vec![all_owed_of(accounts.to_vec()).into_part(take_owed), all_given_of(accounts.to_vec()).into_part(take_given)]
}

/// What is read of the accounts that are due. Mostly nobody is owed anything.
pub(in crate::benefits) fn due_parts(scope: &Scope) -> Vec<ReadPart<States>> {
    if scope.due.is_empty() {
        return Vec::new();
    }
    let accounts = scope.due.iter().map(|account_id| account_id.0).collect();
    vec![owed_of(accounts).into_part(take_owed)]
}

/// Reads what decides about packages that are owed, and about those that will be as time raises tiers of the accounts.
pub(in crate::benefits) async fn load(
    states: &mut States,
    scope: &Scope,
    catalogue: &Catalogue,
    connection: &mut PgConnection,
) -> Result<(), StoreError> {
    if scope.due.is_empty() {
        return Ok(());
    }
    // Standings have dues, too, and are loaded before: so this one is loaded wherever anything is due.
    let standings: &StandingsState = states.get_loaded()?;
    let (mut versions, mut accounts) = standings.may_rise(scope.latest);
    let due: BTreeSet<AccountId> = scope.due.iter().copied().collect();
    let packages = &mut states.get_mut::<BenefitsState>()?.packages;
    accounts.extend(packages.owed.keys());
    accounts.retain(|account_id| due.contains(account_id));
    packages.loaded = due;
    if accounts.is_empty() {
        return Ok(());
    }
    let named = packages.owed.values().flat_map(|own| own.values()).filter(|owed| owed.settled.is_none());
    let named: BTreeSet<(ProgramId, i32)> = named.map(|owed| (owed.program_id.clone(), owed.policy_version)).collect();
    versions.extend(catalogue.read(connection, &named.into_iter().collect::<Vec<_>>()).await?);
    let ids: Vec<Uuid> = accounts.iter().map(|account_id| account_id.0).collect();
    let parts = vec![
        reached_periods_of(ids.clone()).into_part(take_periods),
        given_in_period_of(ids.clone()).into_part(take_given),
        last_grants_of(ids).into_part(take_grants),
    ];
    read_parts(connection, parts, states).await?;
    let packages = &mut states.get_mut::<BenefitsState>()?.packages;
    packages.read = accounts;
    packages.versions = versions.into_iter().map(|it| ((it.program.program_id.clone(), it.version), it)).collect();
    Ok(())
}

/// Whether an account is owed a package that it may be given by an instant, as it is written.
///
/// # Errors
/// If the database cannot be read.
pub(in crate::benefits) async fn is_owed(
    connection: &mut PgConnection,
    account_id: AccountId,
    by: Timestamp,
) -> Result<bool, StoreError> {
    // What was given before in the tier period is no due, and stays.
    let is_owed = sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM packages_owed WHERE account_id = $1 AND settled_seq IS NULL)
               AND EXISTS (SELECT FROM accounts WHERE account_id = $1 AND next_due_at <= $2) AS "is_owed!""#,
        account_id.0,
        by.to_sqlx() as _,
    )
    .fetch_one(connection)
    .traced("SELECT packages_owed")
    .await?;
    Ok(is_owed)
}

fn owed_of(accounts: Vec<Uuid>) -> Selection<OwedRow> {
    selection!(
        "packages_owed",
        OwedRow,
        "SELECT account_id, tier_id, package_id, program_id, reached_seq, owed_at, policy_version, settled_seq
         FROM packages_owed WHERE account_id = ANY($1) AND settled_seq IS NULL",
        [accounts],
    )
}

fn all_owed_of(accounts: Vec<Uuid>) -> Selection<OwedRow> {
    selection!(
        "packages_owed",
        OwedRow,
        "SELECT account_id, tier_id, package_id, program_id, reached_seq, owed_at, policy_version, settled_seq
         FROM packages_owed WHERE account_id = ANY($1)",
        [accounts],
    )
}

fn all_given_of(accounts: Vec<Uuid>) -> Selection<GivenRow> {
    selection!(
        "packages_given",
        GivenRow,
        "SELECT account_id, given_seq, package_id, occasion, tier_id, tier_period, year FROM packages_given
         WHERE account_id = ANY($1)",
        [accounts],
    )
}

/// What accounts were given in these tier periods.
fn given_in_period_of(accounts: Vec<Uuid>) -> Selection<GivenRow> {
    selection!(
        "packages_given",
        GivenRow,
        "SELECT g.account_id, g.given_seq, g.package_id, g.occasion, g.tier_id, g.tier_period, g.year
         FROM unnest($1::uuid[]) AS w (account_id)
         JOIN LATERAL (
             SELECT coalesce((SELECT max(f.began_seq) FROM tier_periods f WHERE f.account_id = w.account_id), 0) AS period
             UNION
             SELECT coalesce((SELECT max(f.began_seq) FROM tier_periods f
                              WHERE f.account_id = o.account_id AND f.began_seq <= o.reached_seq), 0)
             FROM packages_owed o WHERE o.account_id = w.account_id AND o.settled_seq IS NULL
         ) p ON TRUE
         JOIN LATERAL (
             SELECT * FROM packages_given f WHERE f.account_id = w.account_id AND f.tier_period = p.period OFFSET 0
         ) g ON TRUE",
        [accounts],
    )
}

/// What is written about packages.
pub(in crate::benefits) fn write_parts(state: &BenefitsState) -> Vec<WritePart> {
    let packages = &state.packages;
    let owed = packages.changed_owed.iter().filter_map(|(account_id, tier_id)| {
        let it = packages.owed.get(account_id)?.get(tier_id)?;
        Some(OwedRow {
            account_id: account_id.0,
            tier_id: tier_id.to_string(),
            package_id: it.package_id.to_string(),
            program_id: it.program_id.to_string(),
            reached_seq: it.reached,
            owed_at: it.owed_at.to_sqlx(),
            policy_version: it.policy_version,
            settled_seq: it.settled,
        })
    });
    let given = packages.new_given.iter().filter_map(|key| Some((key, packages.given.get(key)?)));
    let given = given.map(|((account_id, given_seq), it)| GivenRow {
        account_id: account_id.0,
        given_seq: *given_seq,
        package_id: it.package_id.to_string(),
        occasion: it.occasion.as_str().to_owned(),
        tier_id: it.tier_id.as_ref().map(ToString::to_string),
        tier_period: it.tier_period,
        year: it.year.map(i64::from),
    });
    let ended = packages.ended.iter();
    let ended = ended.map(|(account_id, seq)| EndedRow { account_id: account_id.0, settled_seq: *seq });
    vec![upsert_owed(owed.collect()), end_owed(ended.collect()), insert_given(given.collect())]
}

fn upsert_owed(rows: Vec<OwedRow>) -> WritePart {
    write_part!(
        "INSERT INTO packages_owed (account_id, tier_id, package_id, program_id, reached_seq, owed_at, policy_version,
             settled_seq)
         SELECT * FROM unnest($1::sent_package_owed[])
         ON CONFLICT (account_id, tier_id) DO UPDATE SET package_id = excluded.package_id, program_id = excluded.program_id,
             reached_seq = excluded.reached_seq, owed_at = excluded.owed_at, policy_version = excluded.policy_version,
             settled_seq = excluded.settled_seq",
        rows,
    )
}

fn insert_given(rows: Vec<GivenRow>) -> WritePart {
    write_part!(
        "INSERT INTO packages_given (account_id, given_seq, package_id, occasion, tier_id, tier_period, year)
         SELECT * FROM unnest($1::sent_package_given[])",
        rows,
    )
}

/// Takes from customers who are erased what they are owed, of which nothing was read.
fn end_owed(rows: Vec<EndedRow>) -> WritePart {
    write_part!(
        "UPDATE packages_owed o SET settled_seq = u.settled_seq FROM unnest($1::sent_package_end[]) AS u
         WHERE o.account_id = u.account_id AND o.settled_seq IS NULL",
        rows,
    )
}
