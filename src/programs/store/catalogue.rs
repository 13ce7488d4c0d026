//! The catalogue of the versions that were read: which each program's entries put in force, and what they say.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, PoisonError, RwLock};

use jiff::Timestamp;
use sqlx::PgConnection;

use crate::database::{StoreError, Traced as _};
use crate::error::Defect;
use crate::ids::{AccountId, EntryId, ProgramId};
use crate::programs::agenda::Agenda;
use crate::programs::model::{Program, ProgramVersion};

/// How many versions are remembered at most, and how large they may be together, by their documents.
const MAX_VERSIONS: usize = 4_096;
const MAX_BYTES: usize = 64 * 1024 * 1024;

/// Versions that were read. They never change, so those that are remembered are not read again.
#[derive(Clone, Debug, Default)]
pub struct Catalogue(Arc<RwLock<Versions>>);

pub(super) type VersionKey = (ProgramId, i32);

/// What is remembered. The version that was read first is forgotten first.
#[derive(Debug, Default)]
struct Versions {
    known: HashMap<VersionKey, (Arc<ProgramVersion>, usize)>,
    order: VecDeque<VersionKey>,
    bytes: usize,
    /// Which versions are in force as of each program's last entry, by the program's account: the entries up to it decide.
    in_force: HashMap<AccountId, (EntryId, ProgramId, Agenda)>,
}

impl Versions {
    fn remember(&mut self, key: VersionKey, version: Arc<ProgramVersion>, bytes: usize) {
        if self.known.contains_key(&key) {
            return;
        }
        while self.known.len() >= MAX_VERSIONS || self.bytes.saturating_add(bytes) > MAX_BYTES {
            let Some(oldest) = self.order.pop_front() else { break };
            if let Some((_, bytes)) = self.known.remove(&oldest) {
                self.bytes -= bytes;
            }
        }
        self.bytes += bytes;
        self.order.push_back(key.clone());
        self.known.insert(key, (version, bytes));
    }
}

impl Catalogue {
    /// A version that was read before, if it is remembered.
    #[must_use]
    pub fn get(&self, key: &(ProgramId, i32)) -> Option<Arc<ProgramVersion>> {
        let versions = self.0.read().unwrap_or_else(PoisonError::into_inner);
        versions.known.get(key).map(|(version, _)| version.clone())
    }

    /// The version in force at an instant, and those that follow, after the last entry of a program's own account: if they
    /// are remembered.
    pub(super) fn in_force(&self, last: EntryId, at: Timestamp) -> Option<(Arc<ProgramVersion>, Agenda)> {
        let versions = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let (_, program_id, agenda) =
            versions.in_force.get(&last.account_id).filter(|(entry_id, ..)| *entry_id == last)?;
        if !agenda.covers(at) {
            return None;
        }
        let key = (program_id.clone(), agenda.at(at)?.version);
        versions.known.get(&key).map(|(version, _)| (version.clone(), agenda.clone()))
    }

    /// Remembers which versions are in force after the last entry of a program's account.
    pub(super) fn remember_in_force(&self, last: EntryId, program_id: &ProgramId, agenda: &Agenda) {
        let mut versions = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if versions.in_force.len() >= MAX_VERSIONS {
            versions.in_force.clear();
        }
        versions.in_force.insert(last.account_id, (last, program_id.clone(), agenda.clone()));
    }

    /// The named versions, in the order in which they are named. Those that do not exist are left out.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub async fn read(
        &self,
        connection: &mut PgConnection,
        keys: &[(ProgramId, i32)],
    ) -> Result<Vec<Arc<ProgramVersion>>, StoreError> {
        let mut found: HashMap<&VersionKey, Arc<ProgramVersion>> =
            keys.iter().filter_map(|key| Some((key, self.get(key)?))).collect();
        let missing: Vec<&VersionKey> = keys.iter().filter(|key| !found.contains_key(key)).collect();
        if !missing.is_empty() {
            for version in read_versions(connection, &missing).await? {
                let bytes = serde_json::to_vec(&version.program).map_or(0, |document| document.len());
                let key = (version.program.program_id.clone(), version.version);
                let version = Arc::new(version);
                if let Some(named) = missing.iter().find(|named| ***named == key) {
                    found.insert(named, version.clone());
                }
                self.0.write().unwrap_or_else(PoisonError::into_inner).remember(key, version, bytes);
            }
        }
        Ok(keys.iter().filter_map(|key| found.get(key).cloned()).collect())
    }
}

async fn read_versions(
    connection: &mut PgConnection,
    keys: &[&(ProgramId, i32)],
) -> Result<Vec<ProgramVersion>, StoreError> {
    let names: Vec<String> = keys.iter().map(|(program_id, _)| program_id.to_string()).collect();
    let versions: Vec<i32> = keys.iter().map(|(_, version)| *version).collect();
    let rows = sqlx::query!(
        "SELECT v.document, v.version, v.applied_at, v.effective_from
         FROM unnest($1::text[], $2::int[]) AS k (program_id, version)
         JOIN program_versions v ON v.program_id = k.program_id AND v.version = k.version",
        &names,
        &versions,
    )
    .fetch_all(connection)
    .traced("SELECT program_versions")
    .await?;
    rows.into_iter()
        .map(|row| Ok(parse_version(row.document, row.version, row.applied_at, row.effective_from)?))
        .collect()
}

/// A version as its row has it.
pub(super) fn parse_version(
    document: serde_json::Value,
    version: i32,
    applied_at: jiff_sqlx::Timestamp,
    effective_from: jiff_sqlx::Timestamp,
) -> Result<ProgramVersion, Defect> {
    let program_id = document.get("program_id").and_then(serde_json::Value::as_str).map(str::to_owned);
    let program: Program = serde_json::from_value(document).map_err(|error| {
        let program_id = program_id.as_deref().unwrap_or("without an id");
        Defect::unread(format_args!("version {version} of program {program_id}"), &error)
    })?;
    let (applied_at, effective_from) = (applied_at.to_jiff(), effective_from.to_jiff());
    Ok(ProgramVersion { program, version, applied_at, effective_from })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::programs::model::tests::program;

    fn remember(versions: &mut Versions, number: i32, bytes: usize) {
        let version = ProgramVersion {
            program: program(),
            version: number,
            applied_at: Timestamp::UNIX_EPOCH,
            effective_from: Timestamp::UNIX_EPOCH,
        };
        versions.remember((version.program.program_id.clone(), number), Arc::new(version), bytes);
    }

    fn numbers(versions: &Versions) -> Vec<i32> {
        let mut numbers: Vec<i32> = versions.known.keys().map(|(_, number)| *number).collect();
        numbers.sort_unstable();
        numbers
    }

    #[test]
    fn no_more_versions_are_remembered_than_fit_and_the_newest_always_is() {
        let mut versions = Versions::default();
        let count = i32::try_from(MAX_VERSIONS).unwrap();
        (0..count + 100).for_each(|number| remember(&mut versions, number, 1));
        assert_eq!(numbers(&versions), (100..count + 100).collect::<Vec<_>>());
        assert_eq!((versions.bytes, versions.order.len()), (MAX_VERSIONS, MAX_VERSIONS));

        remember(&mut versions, -1, MAX_BYTES - 10);
        assert_eq!(versions.known.len(), 11);
        remember(&mut versions, -2, MAX_BYTES * 2);
        assert_eq!(numbers(&versions), [-2]);
        remember(&mut versions, -3, 1);
        assert_eq!((numbers(&versions), versions.bytes), (vec![-3], 1));
    }
}
