//! The programs of a batch: the version of each that is in force, and what is new.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::agenda::{Agenda, Planned};
use super::model::ProgramVersion;
use crate::book::{Cell, Defect, Detail, Entry, ProgramDetail, Row, State};
use crate::ids::{AccountId, ProgramId};

/// The version of a program that is in force.
#[derive(Clone, Debug)]
pub(crate) struct Current {
    /// The version, with the whole document.
    pub policy: Arc<ProgramVersion>,
    /// Which versions follow.
    pub agenda: Agenda,
}

/// Which versions of a program are in force, as its row says it.
#[derive(Clone, Debug)]
pub(super) struct ProgramRow {
    pub(super) account_id: AccountId,
    pub(super) program_id: ProgramId,
    pub(super) agenda: Agenda,
}

/// Gives commands the program version in force, and keeps new ones.
#[derive(Default)]
pub struct ProgramsState {
    pub(super) current: BTreeMap<ProgramId, Current>,
    /// What is stored, where everything is read.
    pub(super) stored: BTreeMap<AccountId, ProgramRow>,
    pub(super) changed: BTreeMap<AccountId, ProgramRow>,
    pub(super) new_versions: Vec<ProgramVersion>,
    /// The programs of which commands tell former versions.
    pub(super) asked_former: BTreeSet<ProgramId>,
    /// The latest version, and the last ones before it.
    pub(super) former: BTreeMap<(ProgramId, i32), Arc<ProgramVersion>>,
}

impl ProgramsState {
    /// The version in force, if the program exists.
    #[must_use]
    pub(crate) fn current(&self, program_id: &ProgramId) -> Option<&Current> {
        self.current.get(program_id)
    }

    /// Whether this batch puts another version in force than the one by which its rows were read.
    #[must_use]
    pub fn is_new(&self, program_id: &ProgramId) -> bool {
        self.new_versions.iter().any(|version| version.program.program_id == *program_id)
    }

    /// Asks for the latest version, and the last ones before it.
    pub fn ask_former(&mut self, program_id: &ProgramId) {
        self.asked_former.insert(program_id.clone());
    }

    /// The version before one of the last, if there is one and it was [asked for](Self::ask_former).
    #[must_use]
    pub fn before(&self, program_id: &ProgramId, version: i32) -> Option<&Arc<ProgramVersion>> {
        self.former.get(&(program_id.clone(), version.checked_sub(1)?))
    }

    /// A version that was [asked for](Self::ask_former).
    #[must_use]
    pub(crate) fn version(&self, program_id: &ProgramId, version: i32) -> Option<&Arc<ProgramVersion>> {
        self.former.get(&(program_id.clone(), version))
    }

    /// Adds a version; the entry that goes with it says from when on it decides.
    pub(crate) fn add_version(&mut self, version: ProgramVersion) {
        let key = (version.program.program_id.clone(), version.version);
        self.former.insert(key, Arc::new(version.clone()));
        self.new_versions.push(version);
    }

    /// Which versions of a program are in force after what this batch has written; none of one that is not there.
    #[must_use]
    pub(crate) fn agenda(&self, program_id: &ProgramId) -> Agenda {
        let changed = self.changed.values().find(|row| row.program_id == *program_id).map(|row| &row.agenda);
        changed.or_else(|| Some(&self.current.get(program_id)?.agenda)).cloned().unwrap_or_default()
    }
}

impl State for ProgramsState {
    fn apply(&mut self, entry: &Entry) -> Result<(), Defect> {
        match entry.detail {
            Detail::Program(ProgramDetail::ProgramApplied { version, effective_from }) => {
                let added = Planned { version, effective_from: effective_from.unwrap_or(entry.effective_at) };
                let row = ProgramRow {
                    account_id: entry.id.account_id,
                    program_id: entry.program_id.clone(),
                    agenda: self.agenda(&entry.program_id).with(added, entry.effective_at),
                };
                self.changed.insert(entry.id.account_id, row);
            }
            // None of these changes which version is in force.
            Detail::Program(
                ProgramDetail::EntriesExported { .. }
                | ProgramDetail::ReevaluationOrdered { .. }
                | ProgramDetail::ValueModelFitted { .. }
                | ProgramDetail::CustomersClassed { .. },
            )
            | Detail::Customer(_)
            | Detail::Activity(_)
            | Detail::Points(_)
            | Detail::Tier(_)
            | Detail::Benefit(_)
            | Detail::Referral(_)
            | Detail::Complaint(_)
            | Detail::Goodwill(_)
            | Detail::Lifecycle(_)
            | Detail::Value(_) => {}
        }
        Ok(())
    }

    fn rows(&self, account_id: AccountId) -> Box<dyn Iterator<Item = Row<'_>> + Send + '_> {
        let row = self.changed.get(&account_id).or_else(|| self.stored.get(&account_id));
        Box::new(row.into_iter().map(|row| Row {
            noun: "program",
            key: Cell::Absent,
            columns: vec![
                ("program_id", Cell::word(row.program_id.as_str())),
                ("agenda", Cell::text(row.agenda.to_string())),
            ],
        }))
    }
}
