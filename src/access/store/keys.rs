//! The SQL of API keys.

use std::collections::BTreeSet;

use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::access::key::{KeptKey, KeyChange, KeyChangeKind, KeyChangesWanted, KeyHash, KeyTerms};
use crate::access::principal::ProgramSet;
use crate::access::role::Role;
use crate::database::{StoreError, Traced as _};
use crate::error::Defect;
use crate::ids::ProgramId;

/// The index that keeps a name from having more than two live keys.
const TWO_LIVE: &str = "api_keys_two_live";

/// What became of an attempt to keep a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It is kept.
    Yes,
    /// Its name has two live keys already.
    TwoAreLive,
}

/// Keeps a new key, in a place that no live key of its name has.
pub(crate) async fn insert_key(
    connection: &mut PgConnection,
    key_id: Uuid,
    (hash, prefix): (KeyHash, &str),
    terms: &KeyTerms,
) -> Result<Kept, StoreError> {
    let programs = match &terms.programs {
        ProgramSet::All => None,
        ProgramSet::Only(programs) => Some(programs.iter().map(ToString::to_string).collect::<Vec<String>>()),
    };
    let roles: Vec<String> = terms.roles.iter().map(|role| role.as_str().to_owned()).collect();
    // A key that has expired leaves its place.
    sqlx::query!(
        "UPDATE api_keys SET revoked_at = expires_at, revoked_by = 'expiry'
         WHERE name = $1 AND revoked_at IS NULL AND expires_at <= clock_timestamp()",
        terms.name,
    )
    .execute(&mut *connection)
    .traced("UPDATE api_keys")
    .await?;
    let inserted = sqlx::query!(
        "INSERT INTO api_keys (key_id, name, slot, key_hash, prefix, roles, programs, expires_at)
         SELECT $1, $2, CASE WHEN EXISTS (
             SELECT FROM api_keys WHERE name = $2 AND slot = 1 AND revoked_at IS NULL
         ) THEN 2 ELSE 1 END, $3, $4, $5, $6, $7",
        key_id,
        terms.name,
        &hash.0,
        prefix,
        &roles,
        programs.as_deref(),
        terms.expires_at.map(|at| at.to_sqlx()) as _,
    )
    .execute(connection)
    .traced("INSERT api_keys")
    .await;
    match inserted {
        Ok(_) => Ok(Kept::Yes),
        Err(sqlx::Error::Database(error)) if error.constraint() == Some(TWO_LIVE) => Ok(Kept::TwoAreLive),
        Err(error) => Err(error.into()),
    }
}

/// Revokes the key that begins so. Tells whether there is one that was not revoked before.
pub(crate) async fn revoke_key(connection: &mut PgConnection, prefix: &str) -> Result<bool, StoreError> {
    let revoked = sqlx::query!(
        "UPDATE api_keys SET revoked_at = clock_timestamp(), revoked_by = session_user
         WHERE prefix = $1 AND revoked_at IS NULL",
        prefix,
    )
    .execute(connection)
    .traced("UPDATE api_keys")
    .await?;
    Ok(revoked.rows_affected() == 1)
}

/// A key as Postgres returns it.
struct KeyRow {
    key_id: Uuid,
    name: String,
    key_hash: Vec<u8>,
    prefix: String,
    roles: Vec<String>,
    programs: Option<Vec<String>>,
    created_at: jiff_sqlx::Timestamp,
    expires_at: Option<jiff_sqlx::Timestamp>,
    revoked_at: Option<jiff_sqlx::Timestamp>,
    last_used_at: Option<jiff_sqlx::Timestamp>,
}

impl TryFrom<KeyRow> for (KeyHash, KeptKey) {
    type Error = Defect;

    fn try_from(row: KeyRow) -> Result<Self, Defect> {
        let damaged = |what: &str| Defect::new(format!("API key {}: {what}", row.prefix));
        let roles = row.roles.iter().map(|role| role.parse::<Role>().map_err(|_| damaged("unknown role")));
        let parse = |program: &String| ProgramId::try_from(program.as_str()).map_err(damaged);
        let programs = match &row.programs {
            None => ProgramSet::All,
            Some(programs) => ProgramSet::Only(programs.iter().map(parse).collect::<Result<BTreeSet<_>, _>>()?),
        };
        let terms = KeyTerms {
            roles: roles.collect::<Result<_, _>>()?,
            programs,
            expires_at: row.expires_at.map(jiff_sqlx::Timestamp::to_jiff),
            name: row.name.clone(),
        };
        let hash = row.key_hash.as_slice().try_into().map_err(|_| damaged("hash length"))?;
        let kept = KeptKey {
            key_id: row.key_id,
            prefix: row.prefix.clone(),
            terms,
            created_at: row.created_at.to_jiff(),
            revoked_at: row.revoked_at.map(jiff_sqlx::Timestamp::to_jiff),
            last_used_at: row.last_used_at.map(jiff_sqlx::Timestamp::to_jiff),
        };
        Ok((KeyHash(hash), kept))
    }
}

/// Every key that was ever made, by name and age.
pub(crate) async fn list_keys(connection: &mut PgConnection) -> Result<Vec<KeptKey>, StoreError> {
    let rows = sqlx::query_as!(
        KeyRow,
        "SELECT key_id, name, key_hash, prefix, roles, programs, created_at, expires_at, revoked_at, last_used_at
         FROM api_keys ORDER BY name, created_at",
    )
    .fetch_all(connection)
    .traced("SELECT api_keys")
    .await?;
    let keys: Result<Vec<(KeyHash, KeptKey)>, Defect> = rows.into_iter().map(TryInto::try_into).collect();
    Ok(keys?.into_iter().map(|(_, key)| key).collect())
}

/// What the database's clock tells.
pub(crate) async fn read_present(connection: &mut PgConnection) -> Result<Timestamp, StoreError> {
    let now = sqlx::query_scalar!(r#"SELECT clock_timestamp() AS "now!""#)
        .fetch_one(connection)
        .traced("SELECT clock_timestamp")
        .await?;
    Ok(now.to_jiff())
}

/// The keys that count now, and what the database's clock tells. One that cannot be understood, such as with a role of a
/// newer version, is told as a defect and left out.
pub(crate) async fn read_live_keys(
    connection: &mut PgConnection,
) -> Result<(Vec<Result<(KeyHash, KeptKey), Defect>>, Timestamp), StoreError> {
    let now = read_present(connection).await?;
    let rows = sqlx::query_as!(
        KeyRow,
        "SELECT key_id, name, key_hash, prefix, roles, programs, created_at, expires_at, revoked_at, last_used_at
         FROM api_keys WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > clock_timestamp())",
    )
    .fetch_all(connection)
    .traced("SELECT api_keys")
    .await?;
    Ok((rows.into_iter().map(TryInto::try_into).collect(), now))
}

/// Notes that keys were used.
pub(crate) async fn note_uses(connection: &mut PgConnection, keys: &[Uuid]) -> Result<(), StoreError> {
    sqlx::query!("UPDATE api_keys SET last_used_at = clock_timestamp() WHERE key_id = ANY ($1)", keys)
        .execute(connection)
        .traced("UPDATE api_keys")
        .await?;
    Ok(())
}

/// Changes that somebody made to keys, the newest first, and at most so many. That a key ended by itself is no such change,
/// although it is noted once its place is needed.
pub(crate) async fn list_key_changes(
    connection: &mut PgConnection,
    wanted: KeyChangesWanted<'_>,
    limit: i64,
) -> Result<Vec<KeyChange>, sqlx::Error> {
    let KeyChangesWanted { program_id, kinds, from, before: (at, key_id, number) } = wanted;
    let rows = sqlx::query!(
        r#"SELECT key_id AS "key_id!", number AS "number!", done_at AS "done_at!: jiff_sqlx::Timestamp",
                  done_by AS "done_by!", name AS "name!", prefix AS "prefix!",
                  counts_in_all_programs AS "counts_in_all_programs!"
           FROM (
               (SELECT key_id, 1::bigint AS number, created_at AS done_at, created_by AS done_by, name, prefix,
                       programs IS NULL AS counts_in_all_programs
                FROM api_keys
                WHERE $2 AND (programs IS NULL OR $1 = ANY(programs))
                  AND (created_at, key_id, 1::bigint) < ($4, $5, $6)
                  AND created_at >= coalesce($7, '-infinity'::timestamptz)
                ORDER BY created_at DESC, key_id DESC LIMIT $8)
               UNION ALL
               (SELECT key_id, 2::bigint, revoked_at, coalesce(revoked_by, ''), name, prefix, programs IS NULL
                FROM api_keys
                WHERE $3 AND (programs IS NULL OR $1 = ANY(programs)) AND revoked_at IS NOT NULL
                  AND (revoked_by IS DISTINCT FROM 'expiry' OR revoked_at IS DISTINCT FROM expires_at)
                  AND (revoked_at, key_id, 2::bigint) < ($4, $5, $6)
                  AND revoked_at >= coalesce($7, '-infinity'::timestamptz)
                ORDER BY revoked_at DESC, key_id DESC LIMIT $8)
           ) changes
           ORDER BY done_at DESC, key_id DESC, number DESC LIMIT $8"#,
        program_id.as_str(),
        kinds.contains(&KeyChangeKind::Created),
        kinds.contains(&KeyChangeKind::Revoked),
        at.to_sqlx() as _,
        key_id,
        number,
        from.map(|instant| instant.to_sqlx()) as _,
        limit,
    )
    .fetch_all(connection)
    .traced("SELECT api_keys")
    .await?;
    let changes = rows.into_iter().map(|row| KeyChange {
        key_id: row.key_id,
        kind: if row.number == KeyChangeKind::Created.number() {
            KeyChangeKind::Created
        } else {
            KeyChangeKind::Revoked
        },
        at: row.done_at.to_jiff(),
        by: row.done_by,
        name: row.name,
        prefix: row.prefix,
        counts_in_all_programs: row.counts_in_all_programs,
    });
    Ok(changes.collect())
}

/// Whether somebody has a change of keys under way. Whoever changes keys holds this lock from before they ask the clock,
/// and until everyone sees the change.
pub(crate) async fn are_keys_being_changed(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (
               SELECT FROM pg_locks l JOIN pg_database d ON d.oid = l.database AND d.datname = current_database()
               WHERE l.relation = 'api_keys'::regclass AND l.mode = 'RowExclusiveLock' AND l.pid <> pg_backend_pid()
           ) AS "is_one_under_way!""#,
    )
    .fetch_one(connection)
    .traced("SELECT pg_locks")
    .await
}

/// The seconds that are left until the next key expires that still counts, by the database's clock. None where none of them
/// has an end.
pub(crate) async fn read_next_expiry(connection: &mut PgConnection) -> Result<Option<f64>, StoreError> {
    let left = sqlx::query_scalar!(
        "SELECT extract(epoch FROM min(expires_at) - clock_timestamp())::double precision FROM api_keys
         WHERE revoked_at IS NULL AND expires_at > clock_timestamp()",
    )
    .fetch_one(connection)
    .traced("SELECT api_keys")
    .await?;
    Ok(left)
}
