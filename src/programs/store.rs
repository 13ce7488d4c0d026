//! The SQL of programs, and the state that gives commands the version in force.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;
use uuid::Uuid;

use super::model::{Program, ProgramVersion};
use crate::book::{Cell, Defect, Depth, Detail, Earlier, Entry, Projection, Row, Scope, State};
use crate::database::Traced as _;
use crate::ids::{AccountId, ProgramId};

/// Every version that was ever read. Versions never change, so they are never read twice.
#[derive(Clone, Debug, Default)]
pub struct Catalogue(Arc<RwLock<Versions>>);

type Versions = HashMap<(ProgramId, i32), Arc<ProgramVersion>>;

impl Catalogue {
    /// A version that was read before.
    #[must_use]
    pub fn get(&self, key: &(ProgramId, i32)) -> Option<Arc<ProgramVersion>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    /// The versions named, in their order; those that do not exist are left out.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub async fn read(
        &self,
        connection: &mut PgConnection,
        keys: &[(ProgramId, i32)],
    ) -> Result<Vec<Arc<ProgramVersion>>, sqlx::Error> {
        let missing: Vec<&(ProgramId, i32)> = keys.iter().filter(|key| self.get(key).is_none()).collect();
        if !missing.is_empty() {
            let read = read_versions(connection, &missing).await?;
            let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
            for version in read {
                known.insert((version.program.program_id.clone(), version.version), Arc::new(version));
            }
        }
        Ok(keys.iter().filter_map(|key| self.get(key)).collect())
    }
}

/// The version of a program that is in force.
#[derive(Clone, Debug)]
pub struct Current {
    /// The program's own account.
    pub account_id: AccountId,
    /// The version.
    pub policy: Arc<ProgramVersion>,
}

#[derive(Clone, Debug)]
struct ProgramRow {
    account_id: AccountId,
    program_id: ProgramId,
    version: i32,
    applied_at: Timestamp,
}

/// Gives commands the program version in force, and writes new ones.
#[derive(Default)]
pub struct ProgramsState {
    catalogue: Catalogue,
    current: BTreeMap<ProgramId, Current>,
    /// What is stored, where everything is read.
    stored: BTreeMap<AccountId, ProgramRow>,
    changed: BTreeMap<AccountId, ProgramRow>,
    new_versions: Vec<ProgramVersion>,
}

impl ProgramsState {
    /// An empty state that remembers what was read in `catalogue`.
    #[must_use]
    pub fn new(catalogue: Catalogue) -> Self {
        Self { catalogue, ..Self::default() }
    }

    /// The version in force, if the program exists.
    #[must_use]
    pub fn current(&self, program_id: &ProgramId) -> Option<&Current> {
        self.current.get(program_id)
    }

    /// Adds a version; the entry that goes with it puts it in force.
    pub fn add_version(&mut self, account_id: AccountId, version: ProgramVersion) {
        let program_id = version.program.program_id.clone();
        self.current.insert(program_id, Current { account_id, policy: Arc::new(version.clone()) });
        self.new_versions.push(version);
    }
}

impl State for ProgramsState {
    fn load<'a>(
        &'a mut self,
        connection: &'a mut PgConnection,
        scope: &'a Scope,
        _earlier: Earlier<'a>,
    ) -> BoxFuture<'a, Result<(), sqlx::Error>> {
        Box::pin(async move {
            if scope.depth == Depth::Whole {
                self.stored = read_programs(connection, &scope.accounts).await?;
            }
            if scope.programs.is_empty() {
                return Ok(());
            }
            let programs = read_current(connection, &scope.programs).await?;
            let keys: Vec<_> = programs.iter().map(|(program_id, _, version)| (program_id.clone(), *version)).collect();
            let versions = self.catalogue.read(connection, &keys).await?;
            if versions.len() != programs.len() {
                return Err(sqlx::Error::Decode("a program's version in force is missing".into()));
            }
            for ((program_id, account_id, _), policy) in programs.into_iter().zip(versions) {
                self.current.insert(program_id, Current { account_id, policy });
            }
            Ok(())
        })
    }

    fn apply(&mut self, entry: &Entry) -> Result<(), Defect> {
        if let Detail::ProgramApplied { version } = entry.detail {
            let row = ProgramRow {
                account_id: entry.id.account_id,
                program_id: entry.program_id.clone(),
                version,
                applied_at: entry.effective_at,
            };
            self.changed.insert(entry.id.account_id, row);
        }
        Ok(())
    }

    fn write<'a>(&'a mut self, connection: &'a mut PgConnection) -> BoxFuture<'a, Result<(), sqlx::Error>> {
        Box::pin(async move {
            if !self.new_versions.is_empty() {
                insert_versions(connection, &self.new_versions).await?;
            }
            if !self.changed.is_empty() {
                upsert_programs(connection, self.changed.values()).await?;
            }
            Ok(())
        })
    }

    fn projection(&self) -> Option<&dyn Projection> {
        Some(self)
    }
}

impl Projection for ProgramsState {
    fn rows(&self, account_id: AccountId) -> Box<dyn Iterator<Item = Row<'_>> + Send + '_> {
        let row = self.changed.get(&account_id).or_else(|| self.stored.get(&account_id));
        Box::new(row.into_iter().map(|row| Row {
            noun: "program",
            key: Cell::Absent,
            columns: vec![
                ("program_id", Cell::word(row.program_id.as_str())),
                ("version", row.version.into()),
                ("applied_at", row.applied_at.into()),
            ],
        }))
    }

    fn delete<'a>(
        &'a self,
        connection: &'a mut PgConnection,
        account_id: AccountId,
    ) -> BoxFuture<'a, Result<(), sqlx::Error>> {
        Box::pin(async move {
            sqlx::query!("DELETE FROM programs WHERE account_id = $1", account_id.0)
                .execute(connection)
                .traced("DELETE programs")
                .await
                .map(drop)
        })
    }
}

async fn read_programs(
    connection: &mut PgConnection,
    accounts: &[AccountId],
) -> Result<BTreeMap<AccountId, ProgramRow>, sqlx::Error> {
    let ids: Vec<Uuid> = accounts.iter().map(|account| account.0).collect();
    let rows = sqlx::query!(
        "SELECT account_id, program_id, version, applied_at FROM programs WHERE account_id = ANY($1)",
        &ids,
    )
    .fetch_all(connection)
    .traced("SELECT programs")
    .await?;
    rows.into_iter()
        .map(|row| {
            let account_id = AccountId(row.account_id);
            let program_id = parse_program_id(row.program_id)?;
            let applied_at = row.applied_at.to_jiff();
            Ok((account_id, ProgramRow { account_id, program_id, version: row.version, applied_at }))
        })
        .collect()
}

async fn read_current(
    connection: &mut PgConnection,
    programs: &[ProgramId],
) -> Result<Vec<(ProgramId, AccountId, i32)>, sqlx::Error> {
    let names: Vec<String> = programs.iter().map(ToString::to_string).collect();
    let rows = sqlx::query!(
        "SELECT program_id, account_id, version FROM programs WHERE program_id = ANY($1) ORDER BY program_id",
        &names,
    )
    .fetch_all(connection)
    .traced("SELECT programs")
    .await?;
    rows.into_iter()
        .map(|row| Ok((parse_program_id(row.program_id)?, AccountId(row.account_id), row.version)))
        .collect()
}

async fn read_versions(
    connection: &mut PgConnection,
    keys: &[&(ProgramId, i32)],
) -> Result<Vec<ProgramVersion>, sqlx::Error> {
    let names: Vec<String> = keys.iter().map(|(program_id, _)| program_id.to_string()).collect();
    let versions: Vec<i32> = keys.iter().map(|(_, version)| *version).collect();
    let rows = sqlx::query!(
        "SELECT v.document, v.version, v.applied_at
         FROM unnest($1::text[], $2::int[]) AS k (program_id, version)
         JOIN program_versions v ON v.program_id = k.program_id AND v.version = k.version",
        &names,
        &versions,
    )
    .fetch_all(connection)
    .traced("SELECT program_versions")
    .await?;
    rows.into_iter().map(|row| parse_version(row.document, row.version, row.applied_at)).collect()
}

async fn insert_versions(connection: &mut PgConnection, versions: &[ProgramVersion]) -> Result<(), sqlx::Error> {
    let names: Vec<String> = versions.iter().map(|version| version.program.program_id.to_string()).collect();
    let numbers: Vec<i32> = versions.iter().map(|version| version.version).collect();
    let documents: Result<Vec<_>, _> = versions.iter().map(|version| serde_json::to_value(&version.program)).collect();
    let documents = documents.map_err(|error| sqlx::Error::Encode(Box::new(error)))?;
    let applied: Vec<_> = versions.iter().map(|version| version.applied_at.to_sqlx()).collect();
    sqlx::query!(
        "INSERT INTO program_versions (program_id, version, document, applied_at)
         SELECT * FROM unnest($1::text[], $2::int[], $3::jsonb[], $4::timestamptz[])",
        &names,
        &numbers,
        &documents,
        &applied,
    )
    .execute(connection)
    .traced("INSERT program_versions")
    .await?;
    Ok(())
}

async fn upsert_programs(
    connection: &mut PgConnection,
    programs: impl Iterator<Item = &ProgramRow>,
) -> Result<(), sqlx::Error> {
    let (mut accounts, mut names, mut versions, mut applied) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for program in programs {
        accounts.push(program.account_id.0);
        names.push(program.program_id.to_string());
        versions.push(program.version);
        applied.push(program.applied_at.to_sqlx());
    }
    sqlx::query!(
        "INSERT INTO programs (account_id, program_id, version, applied_at)
         SELECT * FROM unnest($1::uuid[], $2::text[], $3::int[], $4::timestamptz[])
         ON CONFLICT (account_id) DO UPDATE SET version = excluded.version, applied_at = excluded.applied_at",
        &accounts as &[Uuid],
        &names,
        &versions,
        &applied,
    )
    .execute(connection)
    .traced("INSERT programs")
    .await?;
    Ok(())
}

/// One version, or the one in force.
///
/// # Errors
/// If the database cannot be read.
pub async fn read_version(
    connection: &mut PgConnection,
    program_id: &ProgramId,
    version: Option<i32>,
) -> Result<Option<ProgramVersion>, sqlx::Error> {
    let row = sqlx::query!(
        "SELECT v.document, v.version, v.applied_at FROM programs p
         JOIN program_versions v ON v.program_id = p.program_id AND v.version = coalesce($2, p.version)
         WHERE p.program_id = $1",
        program_id.as_str(),
        version,
    )
    .fetch_optional(connection)
    .traced("SELECT program_versions")
    .await?;
    row.map(|row| parse_version(row.document, row.version, row.applied_at)).transpose()
}

/// The number of the version that was in force at an instant; before the first was applied, the first.
///
/// # Errors
/// If the database cannot be read.
pub async fn read_version_number_at(
    connection: &mut PgConnection,
    program_id: &ProgramId,
    at: Timestamp,
) -> Result<Option<i32>, sqlx::Error> {
    sqlx::query_scalar!(
        "SELECT coalesce(max(version) FILTER (WHERE applied_at <= $2), min(version)) FROM program_versions
         WHERE program_id = $1",
        program_id.as_str(),
        at.to_sqlx() as _,
    )
    .fetch_one(connection)
    .traced("SELECT program_versions")
    .await
}

/// The versions in force, by program.
///
/// # Errors
/// If the database cannot be read.
pub async fn list_versions(
    connection: &mut PgConnection,
    after: Option<&str>,
    limit: i64,
) -> Result<Vec<ProgramVersion>, sqlx::Error> {
    let rows = sqlx::query!(
        "SELECT v.document, v.version, v.applied_at FROM programs p
         JOIN program_versions v ON v.program_id = p.program_id AND v.version = p.version
         WHERE p.program_id > $1 ORDER BY p.program_id LIMIT $2",
        after.unwrap_or(""),
        limit,
    )
    .fetch_all(connection)
    .traced("SELECT program_versions")
    .await?;
    rows.into_iter().map(|row| parse_version(row.document, row.version, row.applied_at)).collect()
}

fn parse_version(
    document: serde_json::Value,
    version: i32,
    applied_at: jiff_sqlx::Timestamp,
) -> Result<ProgramVersion, sqlx::Error> {
    let program: Program = serde_json::from_value(document).map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
    Ok(ProgramVersion { program, version, applied_at: applied_at.to_jiff() })
}

fn parse_program_id(text: String) -> Result<ProgramId, sqlx::Error> {
    ProgramId::try_from(text).map_err(|error| sqlx::Error::Decode(error.into()))
}
