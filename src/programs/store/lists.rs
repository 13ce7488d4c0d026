//! Pages of programs.

use futures_util::StreamExt as _;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;

use super::catalogue::parse_version;
use crate::access::principal::ProgramSet;
use crate::book::Defect;
use crate::database::{Listed, StoreError, Traced as _, read_page};
use crate::ids::ProgramId;
use crate::programs::Having;
use crate::programs::model::{ProgramVersion, Zone};
use crate::programs::retention::ProgramRetention;

/// The versions in force, by program.
///
/// # Errors
/// If the database cannot be read.
pub(in crate::programs) async fn list_versions(
    connection: &mut PgConnection,
    programs: &ProgramSet,
    after: Option<&ProgramId>,
    limit: i64,
    now: Option<Timestamp>,
) -> Result<Vec<Listed<ProgramVersion>>, StoreError> {
    let only: Option<Vec<String>> = match programs {
        ProgramSet::All => None,
        ProgramSet::Only(programs) => Some(programs.iter().map(ToString::to_string).collect()),
    };
    let select = sqlx::query!(
        "SELECT p.program_id, v.document, v.version, v.applied_at, v.effective_from FROM programs p
         JOIN program_versions v ON v.program_id = p.program_id
          AND v.version = version_at(p.versions, p.starts, coalesce($4, clock_timestamp()))
         WHERE p.program_id > $1 AND ($3::text[] IS NULL OR p.program_id = ANY ($3)) ORDER BY p.program_id LIMIT $2",
        after.map_or("", ProgramId::as_str),
        limit,
        only.as_deref(),
        now.map(|now| now.to_sqlx()) as _,
    );
    let rows = select.fetch(connection).map(|row| {
        let row = row?;
        let item = parse_version(row.document, row.version, row.applied_at, row.effective_from);
        Ok::<_, StoreError>(Listed { cursor: row.program_id, item })
    });
    read_page(rows, |row| row.bytes(ProgramVersion::bytes)).traced("SELECT program_versions").await
}

/// A page of the versions in force whose documents have something, by program, and what the database's clock told.
///
/// # Errors
/// If the database cannot be read.
pub(in crate::programs) async fn list_having(
    connection: &mut PgConnection,
    having: Having,
    after: &str,
    limit: i64,
    now: Option<Timestamp>,
) -> Result<(Vec<Listed<ProgramVersion>>, Timestamp), StoreError> {
    let (path, is_of_any_version) = match having {
        Having::Celebrations => {
            (r#"$.packages[*].occasion ? (@ == "birthday" || @ == "enrolment_anniversary")"#, false)
        }
        Having::ValueClassesEver => ("$.value_classes", true),
    };
    let rows = sqlx::query!(
        r#"SELECT p.program_id, v.document, v.version, v.applied_at, v.effective_from, clock_timestamp() AS "told!"
           FROM programs p JOIN program_versions v ON v.program_id = p.program_id
            AND v.version = version_at(p.versions, p.starts, coalesce($3, clock_timestamp()))
           WHERE p.program_id > $1
             AND EXISTS (
                 SELECT FROM program_versions w
                 WHERE w.program_id = p.program_id AND (w.version = v.version OR $5) AND w.document @? $4::text::jsonpath
             )
           ORDER BY p.program_id LIMIT $2"#,
        after,
        limit,
        now.map(|now| now.to_sqlx()) as _,
        path,
        is_of_any_version,
    )
    .fetch_all(connection)
    .traced("SELECT program_versions")
    .await?;
    let told = rows.first().map(|row| row.told.to_jiff()).unwrap_or_default();
    let listed = rows.into_iter().map(|row| {
        let item = parse_version(row.document, row.version, row.applied_at, row.effective_from);
        Listed { cursor: row.program_id, item }
    });
    Ok((listed.collect(), told))
}

/// A page of the programs whose versions in force do not keep everything for ever, by program.
///
/// # Errors
/// If the database cannot be read.
pub(in crate::programs) async fn list_retentions(
    connection: &mut PgConnection,
    after: &str,
    limit: i64,
    now: Option<Timestamp>,
) -> Result<Vec<Listed<ProgramRetention>>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT p.program_id, v.version, v.document ->> 'time_zone' AS time_zone,
                  v.document -> 'retention' AS "retention!"
           FROM programs p JOIN program_versions v ON v.program_id = p.program_id
            AND v.version = version_at(p.versions, p.starts, coalesce($3, clock_timestamp()))
           WHERE p.program_id > $1 AND v.document -> 'retention' IS NOT NULL ORDER BY p.program_id LIMIT $2"#,
        after,
        limit,
        now.map(|now| now.to_sqlx()) as _,
    )
    .fetch_all(connection)
    .traced("SELECT program_versions")
    .await?;
    let listed = rows.into_iter().map(|row| {
        let damaged = |what: String| Defect::new(format!("the retention of program {:?}: {what}", row.program_id));
        let parse = || {
            let program_id =
                ProgramId::try_from(row.program_id.as_str()).map_err(|error| damaged(error.to_string()))?;
            let zone = Zone::try_from(row.time_zone.unwrap_or_default()).map_err(|error| damaged(error.to_owned()))?;
            let retention = serde_json::from_value(row.retention).map_err(|error| {
                Defect::unread(format_args!("the retention of program {:?}", row.program_id), &error)
            })?;
            Ok(ProgramRetention { program_id, version: row.version, time_zone: zone.0, retention })
        };
        Listed { item: parse(), cursor: row.program_id.clone() }
    });
    Ok(listed.collect())
}
