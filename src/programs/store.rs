//! The SQL of programs.

mod catalogue;
pub(super) mod lists;

use std::collections::BTreeMap;

use async_trait::async_trait;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;
use uuid::Uuid;

pub use self::catalogue::Catalogue;
use self::catalogue::{VersionKey, parse_version};
use super::agenda::Agenda;
use super::model::{ProgramVersion, Which};
use super::state::{Current, ProgramRow, ProgramsState};
use crate::book::{Capability, Defect, Depth, Scope, States, Store, Table, TableRights};
use crate::clock::Clock;
use crate::database::{StoreError, Traced as _, WritePart, sent_as, write_part};
use crate::ids::{AccountId, EntryId, ProgramId};

/// The tables of programs.
pub(super) const TABLES: &[Table] = &[
    Table::projection("programs", "'program'").with_scanned_strays(&[
        "SELECT n.account_id, 'a name of a program belongs to an account that is not the program''s'
         FROM names n JOIN accounts a ON a.account_id = n.account_id
         LEFT JOIN programs p ON p.account_id = n.account_id AND p.program_id = n.program_id
         WHERE n.space = 'program' AND p.account_id IS NULL",
    ]),
    Table::source("program_versions", TableRights::Append),
];

/// How many versions before the one in force are read for an answer.
const MAX_FORMER: i32 = 8;

/// The room as the book knows it. What was read of versions is remembered in `catalogue`.
#[must_use]
pub fn capability(catalogue: Catalogue) -> Capability {
    Capability::new(ProgramsState::default, ProgramsStore { catalogue }, TABLES)
}

struct ProgramsStore {
    catalogue: Catalogue,
}

#[async_trait]
impl Store for ProgramsStore {
    async fn load(&self, states: &mut States, scope: &Scope, connection: &mut PgConnection) -> Result<(), StoreError> {
        let state: &mut ProgramsState = states.get_mut()?;
        if scope.depth == Depth::Whole {
            state.stored = read_programs(connection, &scope.accounts).await?;
        }
        self.load_in_force(state, scope, connection).await?;
        self.load_former(state, connection).await
    }

    fn write_parts(&self, states: &States) -> Result<Vec<WritePart>, StoreError> {
        let state: &ProgramsState = states.get()?;
        Ok(vec![insert_versions(&state.new_versions)?, upsert_programs(state.changed.values())])
    }
}

impl ProgramsStore {
    /// Reads the versions in force, as far as they are not remembered.
    async fn load_in_force(
        &self,
        state: &mut ProgramsState,
        scope: &Scope,
        connection: &mut PgConnection,
    ) -> Result<(), StoreError> {
        let mut unknown = Vec::new();
        for program_id in &scope.programs {
            let last = scope.last_of_programs.get(program_id);
            match last.and_then(|last| self.catalogue.in_force(*last, scope.now)) {
                Some((policy, agenda)) => {
                    state.current.insert(program_id.clone(), Current { policy, agenda });
                }
                None => unknown.push(program_id.clone()),
            }
        }
        if unknown.is_empty() {
            return Ok(());
        }
        let programs = read_current(connection, &unknown).await?;
        let mut keys: Vec<VersionKey> = Vec::with_capacity(programs.len());
        for InForce { program_id, agenda, .. } in &programs {
            let number = if agenda.covers(scope.now) {
                agenda.at(scope.now).map(|planned| planned.version)
            } else {
                read_version_number_at(connection, program_id, scope.now).await?
            };
            keys.push((program_id.clone(), number.unwrap_or_default()));
        }
        let versions = self.catalogue.read(connection, &keys).await?;
        if versions.len() != programs.len() {
            let is_found = |(program_id, number): &&VersionKey| {
                versions.iter().any(|it| it.program.program_id == *program_id && it.version == *number)
            };
            let missing = keys.iter().filter(|key| !is_found(key));
            let missing: Vec<String> =
                missing.map(|(program_id, version)| format!("{version} of {program_id}")).collect();
            return Err(Defect::new(format!("the version in force is missing: {}", missing.join(", "))).into());
        }
        for (InForce { program_id, agenda, last }, policy) in programs.into_iter().zip(versions) {
            self.catalogue.remember_in_force(last, &program_id, &agenda);
            state.current.insert(program_id, Current { policy, agenda });
        }
        Ok(())
    }

    /// Reads the latest versions, and those before them, where commands tell them: as many as may have been applied since the
    /// acknowledgement of a commit was lost. The former are told to repetitions alone, so one that cannot be understood
    /// stops nobody.
    async fn load_former(&self, state: &mut ProgramsState, connection: &mut PgConnection) -> Result<(), StoreError> {
        let latest_of =
            |program_id: &ProgramId| Some((program_id.clone(), state.current(program_id)?.agenda.latest()?.version));
        let latest: Vec<VersionKey> = state.asked_former.iter().filter_map(latest_of).collect();
        let former_of = |(program_id, version): &VersionKey| {
            let program_id = program_id.clone();
            (version.saturating_sub(MAX_FORMER).max(1)..*version).map(move |number| (program_id.clone(), number))
        };
        let former: Vec<VersionKey> = latest.iter().flat_map(former_of).collect();
        for keys in [latest, former].into_iter().filter(|keys| !keys.is_empty()) {
            match self.catalogue.read(connection, &keys).await {
                Ok(versions) => {
                    let key_of = |it: &ProgramVersion| (it.program.program_id.clone(), it.version);
                    state.former.extend(versions.into_iter().map(|it| (key_of(&it), it)));
                }
                Err(StoreError::Defect(defect)) => {
                    tracing::error!(failure = %defect, "a former version of a program cannot be understood");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

async fn read_programs(
    connection: &mut PgConnection,
    accounts: &[AccountId],
) -> Result<BTreeMap<AccountId, ProgramRow>, StoreError> {
    let ids: Vec<Uuid> = accounts.iter().map(|account| account.0).collect();
    let rows = sqlx::query!(
        r#"SELECT account_id, program_id, versions, starts AS "starts!: Vec<jiff_sqlx::Timestamp>"
           FROM programs WHERE account_id = ANY($1)"#,
        &ids,
    )
    .fetch_all(connection)
    .traced("SELECT programs")
    .await?;
    rows.into_iter()
        .map(|row| {
            let account_id = AccountId(row.account_id);
            let program_id = parse_program_id(row.program_id)?;
            Ok((
                account_id,
                ProgramRow {
                    account_id,
                    program_id,
                    agenda: Agenda::new(&row.versions, row.starts.into_iter().map(jiff_sqlx::Timestamp::to_jiff)),
                },
            ))
        })
        .collect()
}

/// Which versions of a program are in force, and by which entry of the program's own account.
struct InForce {
    program_id: ProgramId,
    agenda: Agenda,
    last: EntryId,
}

async fn read_current(connection: &mut PgConnection, programs: &[ProgramId]) -> Result<Vec<InForce>, StoreError> {
    let names: Vec<String> = programs.iter().map(ToString::to_string).collect();
    let rows = sqlx::query!(
        r#"SELECT p.program_id, p.account_id, p.versions, p.starts AS "starts!: Vec<jiff_sqlx::Timestamp>", a.head
           FROM programs p JOIN accounts a ON a.account_id = p.account_id
           WHERE p.program_id = ANY($1) ORDER BY p.program_id"#,
        &names,
    )
    .fetch_all(connection)
    .traced("SELECT programs")
    .await?;
    rows.into_iter()
        .map(|row| {
            let last = EntryId { account_id: AccountId(row.account_id), account_seq: row.head };
            let agenda = Agenda::new(&row.versions, row.starts.into_iter().map(jiff_sqlx::Timestamp::to_jiff));
            Ok(InForce { program_id: parse_program_id(row.program_id)?, agenda, last })
        })
        .collect()
}

/// A version as it is sent.
#[derive(sqlx::Encode)]
struct SentVersion {
    program_id: String,
    version: i32,
    document: serde_json::Value,
    applied_at: jiff_sqlx::Timestamp,
    effective_from: jiff_sqlx::Timestamp,
}

sent_as!(SentVersion, "sent_version");

fn insert_versions(versions: &[ProgramVersion]) -> Result<WritePart, Defect> {
    let mut rows = Vec::with_capacity(versions.len());
    for ProgramVersion { program, version, applied_at, effective_from } in versions {
        let program_id = program.program_id.to_string();
        let defect = |error| Defect::new(format!("the document of {program_id} cannot be written down: {error}"));
        let document = serde_json::to_value(program).map_err(defect)?;
        let (applied_at, effective_from) = (applied_at.to_sqlx(), effective_from.to_sqlx());
        rows.push(SentVersion { program_id, version: *version, document, applied_at, effective_from });
    }
    Ok(write_part!(
        "INSERT INTO program_versions (program_id, version, document, applied_at, effective_from)
         SELECT * FROM unnest($1::sent_version[])",
        rows,
    ))
}

/// A program as it is sent.
#[derive(sqlx::Encode)]
struct SentProgram {
    account_id: Uuid,
    program_id: String,
    versions: Vec<i32>,
    starts: Vec<jiff_sqlx::Timestamp>,
}

sent_as!(SentProgram, "sent_program");

fn upsert_programs<'a>(programs: impl Iterator<Item = &'a ProgramRow>) -> WritePart {
    let rows = programs.map(|program| SentProgram {
        account_id: program.account_id.0,
        program_id: program.program_id.to_string(),
        versions: program.agenda.versions().iter().map(|planned| planned.version).collect(),
        starts: program.agenda.versions().iter().map(|planned| planned.effective_from.to_sqlx()).collect(),
    });
    write_part!(
        "INSERT INTO programs (account_id, program_id, versions, starts)
         SELECT * FROM unnest($1::sent_program[])
         ON CONFLICT (account_id) DO UPDATE SET versions = excluded.versions, starts = excluded.starts",
        rows.collect::<Vec<SentProgram>>(),
    )
}

/// One version.
///
/// # Errors
/// If the database cannot be read.
pub(super) async fn read_version(
    connection: &mut PgConnection,
    program_id: &ProgramId,
    which: Which,
) -> Result<Option<ProgramVersion>, StoreError> {
    let (number, is_latest, at) = match which {
        Which::Number(number) => (Some(number), false, None),
        Which::Latest => (None, true, None),
        Which::InForce(at) => (None, false, at),
    };
    let row = sqlx::query!(
        "SELECT v.document, v.version, v.applied_at, v.effective_from FROM programs p
         JOIN program_versions v ON v.program_id = p.program_id AND v.version = CASE
             WHEN $2::integer IS NOT NULL THEN $2
             WHEN $3 THEN p.versions[cardinality(p.versions)]
             ELSE version_at(p.versions, p.starts, coalesce($4, clock_timestamp()))
         END
         WHERE p.program_id = $1",
        program_id.as_str(),
        number,
        is_latest,
        at.map(|at| at.to_sqlx()) as _,
    )
    .fetch_optional(connection)
    .traced("SELECT program_versions")
    .await?;
    Ok(row.map(|row| parse_version(row.document, row.version, row.applied_at, row.effective_from)).transpose()?)
}

/// Which versions of a program are in force and are to begin, and the present; none of one that is not there.
///
/// # Errors
/// If the database cannot be read.
pub(super) async fn read_agenda(
    connection: &mut PgConnection,
    program_id: &ProgramId,
    clock: &Clock,
) -> Result<(Agenda, Timestamp), StoreError> {
    let row = sqlx::query!(
        r#"SELECT p.versions AS "versions?", p.starts AS "starts?: Vec<jiff_sqlx::Timestamp>", t.told AS "told!"
           FROM (SELECT clock_timestamp() AS told) t LEFT JOIN programs p ON p.program_id = $1"#,
        program_id.as_str(),
    )
    .fetch_one(connection)
    .traced("SELECT programs")
    .await?;
    let agenda = row
        .versions
        .zip(row.starts)
        .map(|(versions, starts)| Agenda::new(&versions, starts.into_iter().map(jiff_sqlx::Timestamp::to_jiff)));
    Ok((agenda.unwrap_or_default(), clock.present(row.told.to_jiff())))
}

/// The number of the version that was in force at an instant; before the first was applied, the first.
///
/// # Errors
/// If the database cannot be read.
pub(super) async fn read_version_number_at(
    connection: &mut PgConnection,
    program_id: &ProgramId,
    at: Timestamp,
) -> Result<Option<i32>, StoreError> {
    sqlx::query_scalar!(
        "SELECT coalesce(max(version) FILTER (WHERE effective_from <= $2), min(version)) FROM program_versions
         WHERE program_id = $1",
        program_id.as_str(),
        at.to_sqlx() as _,
    )
    .fetch_one(connection)
    .traced("SELECT program_versions")
    .await
    .map_err(StoreError::from)
}

/// The versions that were applied by the second of two instants, from the one that was in force at the first; at most
/// `limit`. Before the first was applied, that one was.
///
/// # Errors
/// If the database cannot be read.
pub(super) async fn read_versions_between(
    connection: &mut PgConnection,
    program_id: &ProgramId,
    from: Timestamp,
    until: Timestamp,
    limit: i64,
) -> Result<Vec<ProgramVersion>, StoreError> {
    let rows = sqlx::query!(
        "SELECT document, version, applied_at, effective_from FROM program_versions
         WHERE program_id = $1 AND applied_at <= greatest($3, (SELECT min(applied_at) FROM program_versions
                                                               WHERE program_id = $1))
           AND version >= coalesce((SELECT max(version) FROM program_versions
                                    WHERE program_id = $1 AND effective_from <= $2), 1)
         ORDER BY version LIMIT $4",
        program_id.as_str(),
        from.to_sqlx() as _,
        until.to_sqlx() as _,
        limit,
    )
    .fetch_all(connection)
    .traced("SELECT program_versions")
    .await?;
    rows.into_iter()
        .map(|row| Ok(parse_version(row.document, row.version, row.applied_at, row.effective_from)?))
        .collect()
}

fn parse_program_id(text: String) -> Result<ProgramId, StoreError> {
    let described = format!("the program id {text:?}");
    ProgramId::try_from(text).map_err(|error| Defect::new(format!("{described}: {error}")).into())
}
