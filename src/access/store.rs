//! The SQL of principals: the ids that entries name them by.

pub(crate) mod keys;

use jiff::SignedDuration;
use jiff_sqlx::ToSqlx as _;
use sqlx::{Connection as _, PgConnection, PgPool};
use uuid::Uuid;

use super::principal::{KnownPrincipal, Principal, PrincipalKind};
use crate::book::{Table, TableRights};
use crate::clock::Clock;
use crate::database::{StoreError, Traced as _};
use crate::error::{Defect, Error};
use crate::ids::PrincipalId;

/// The tables of access.
pub(crate) const TABLES: &[Table] = &[
    Table::source("principals", TableRights::AppendChangeAndRemove),
    Table::source("api_keys", TableRights::AppendAndChange),
    Table::report("principal_rounds", TableRights::AppendAndChange),
];

/// What ids of principals stand for; of those who are not erased. One that cannot be understood, such as a newer
/// version's, is told as a defect.
pub(super) async fn read_principals(
    connection: &mut PgConnection,
    ids: &[PrincipalId],
) -> Result<Vec<(PrincipalId, Result<KnownPrincipal, Defect>)>, sqlx::Error> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    let rows = sqlx::query!(
        "SELECT p.principal_id, p.kind, p.issuer, p.subject FROM unnest($1::uuid[]) AS u (principal_id)
         CROSS JOIN LATERAL (
             SELECT principal_id, kind, issuer, subject FROM principals p
             WHERE p.principal_id = u.principal_id OFFSET 0
         ) p",
        &ids,
    )
    .fetch_all(connection)
    .traced("SELECT principals")
    .await?;
    let read = rows.into_iter().map(|row| {
        let kind = row.kind.parse::<PrincipalKind>();
        let kind =
            kind.map_err(|_| Defect::unknown(format!("principal {}: unknown kind {}", row.principal_id, row.kind)));
        let known = kind.map(|kind| KnownPrincipal { kind, issuer: row.issuer, subject: row.subject });
        (PrincipalId(row.principal_id), known)
    });
    Ok(read.collect())
}

/// Removes a principal. Says whether there was one.
pub(super) async fn delete_principal(connection: &mut PgConnection, id: PrincipalId) -> Result<bool, sqlx::Error> {
    let delete = sqlx::query!("DELETE FROM principals WHERE principal_id = $1", id.0);
    let deleted = delete.execute(connection).traced("DELETE principals").await?;
    Ok(deleted.rows_affected() > 0)
}

/// How often a principal is looked for who is being added elsewhere at the same time.
const TRIES: usize = 3;
/// How long after a round through the principals began the next one begins. A principal is left alone for as long: the
/// customer may be about to be enrolled.
const ROUND: SignedDuration = SignedDuration::from_hours(24);

/// The id of a principal, who is added if they were never seen before.
pub(super) async fn find_or_add(pool: &PgPool, principal: &Principal) -> Result<PrincipalId, Error> {
    #[expect(clippy::disallowed_methods, reason = "names a principal; no time is read out of it")]
    let new_id = Uuid::now_v7();
    let programs = principal.customer_programs();
    for _ in 0..TRIES {
        // An insert that gives way to one elsewhere shows nothing of it to its own statement.
        let found = sqlx::query_scalar!(
            r#"WITH known AS (
                   SELECT principal_id FROM principals
                   WHERE kind = $2 AND issuer = $3 AND subject = $4
                     AND ($5::text IS NULL AND customer_id IS NULL
                          OR customer_id = $5 AND (program_ids IS NULL OR $6::text[] <@ program_ids))
               ), added AS (
                   INSERT INTO principals AS p (principal_id, kind, issuer, subject, customer_id, program_ids)
                   SELECT $1, $2, $3, $4, $5, $6 WHERE NOT EXISTS (SELECT FROM known)
                   ON CONFLICT (kind, issuer, subject, customer_id) DO UPDATE
                   SET program_ids = CASE
                           WHEN p.program_ids IS NULL OR excluded.program_ids IS NULL THEN NULL
                           ELSE ARRAY(SELECT DISTINCT unnest(p.program_ids || excluded.program_ids) ORDER BY 1)
                       END
                   WHERE excluded.customer_id IS NOT NULL
                   RETURNING principal_id
               )
               SELECT principal_id AS "principal_id!" FROM added UNION ALL SELECT principal_id FROM known"#,
            new_id,
            principal.kind.as_str(),
            principal.issuer,
            principal.subject,
            principal.customer_id.as_ref().map(|customer_id| customer_id.as_str()),
            programs.as_deref(),
        )
        .fetch_optional(pool)
        .traced("INSERT principals")
        .await?;
        if let Some(id) = found {
            return Ok(PrincipalId(id));
        }
    }
    Err(Error::Unavailable)
}

/// Removes those of the next page of principals who are customers and whose customer does not exist in any of their
/// programs. Tells whether there was such a page: none until a day after the last round began.
pub(super) async fn forget_page(connection: &mut PgConnection, clock: &Clock, limit: i64) -> Result<bool, StoreError> {
    let mut transaction = connection.begin().traced("BEGIN").await?;
    let round = sqlx::query!(
        r#"SELECT begun_at AS "begun_at?: jiff_sqlx::Timestamp", after_principal_id, is_over, clock_timestamp() AS "told!"
           FROM principal_rounds FOR UPDATE"#,
    )
    .fetch_one(&mut *transaction)
    .traced("SELECT principal_rounds")
    .await?;
    let now = clock.present(round.told.to_jiff());
    let age = round.begun_at.map(|begun_at| now.duration_since(begun_at.to_jiff()).abs());
    if round.is_over && age.is_some_and(|age| age < ROUND) {
        return Ok(false);
    }
    let page = sqlx::query_scalar!(
        "SELECT principal_id FROM principals WHERE principal_id > $1 ORDER BY principal_id LIMIT $2",
        round.after_principal_id.filter(|_| !round.is_over).unwrap_or(Uuid::nil()),
        limit,
    )
    .fetch_all(&mut *transaction)
    .traced("SELECT principals")
    .await?;
    sqlx::query!(
        "DELETE FROM principals p
         WHERE p.principal_id = ANY ($1) AND p.customer_id IS NOT NULL AND p.first_seen < $2
           AND NOT EXISTS (
               SELECT FROM names n
               WHERE n.name = p.customer_id AND n.space = 'customer'
                 AND (p.program_ids IS NULL OR n.program_id = ANY (p.program_ids))
           )",
        &page,
        now.saturating_sub(ROUND).unwrap_or(now).to_sqlx() as _,
    )
    .execute(&mut *transaction)
    .traced("DELETE principals")
    .await?;
    let begun_at = round.begun_at.filter(|_| !round.is_over).map_or(now, jiff_sqlx::Timestamp::to_jiff);
    sqlx::query!(
        "UPDATE principal_rounds SET begun_at = $1, after_principal_id = $2, is_over = $3",
        begun_at.to_sqlx() as _,
        page.last(),
        page.is_empty(),
    )
    .execute(&mut *transaction)
    .traced("UPDATE principal_rounds")
    .await?;
    transaction.commit().traced("COMMIT").await?;
    Ok(!page.is_empty())
}
