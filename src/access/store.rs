//! The SQL of principals: the ids that entries name them by.

pub(crate) mod keys;

use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::principal::{KnownPrincipal, Principal, PrincipalKind};
use crate::book::{Table, TableRights};
use crate::database::Traced as _;
use crate::error::{Defect, Error};
use crate::ids::PrincipalId;

/// The tables of access.
pub(crate) const TABLES: &[Table] = &[
    Table::source("principals", TableRights::AppendChangeAndRemove),
    Table::source("api_keys", TableRights::AppendAndChange),
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
        let kind = kind.map_err(|_| Defect::new(format!("principal {}: unknown kind {}", row.principal_id, row.kind)));
        let known = kind.map(|kind| KnownPrincipal { kind, issuer: row.issuer, subject: row.subject });
        (PrincipalId(row.principal_id), known)
    });
    Ok(read.collect())
}

/// How often a principal is looked for who is being added elsewhere at the same time.
const TRIES: usize = 3;

/// The id of a principal, who is added if they were never seen before.
pub(super) async fn find_or_add(pool: &PgPool, principal: &Principal) -> Result<PrincipalId, Error> {
    #[expect(clippy::disallowed_methods, reason = "names a principal; no time is read out of it")]
    let new_id = Uuid::now_v7();
    let programs = principal.customer_programs();
    for _ in 0..TRIES {
        // An insert that gives way to one elsewhere shows nothing of it to its own statement.
        let found = sqlx::query_scalar!(
            r#"WITH added AS (
                   INSERT INTO principals (principal_id, kind, issuer, subject, customer_id, program_ids)
                   VALUES ($1, $2, $3, $4, $5, $6)
                   ON CONFLICT (kind, issuer, subject) DO NOTHING RETURNING principal_id
               )
               SELECT principal_id AS "principal_id!" FROM added
               UNION ALL SELECT principal_id FROM principals WHERE kind = $2 AND issuer = $3 AND subject = $4"#,
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
