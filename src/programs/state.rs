//! The programs of a batch: the version of each that is in force, and what is new.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::model::ProgramVersion;
use crate::book::{Cell, Defect, Detail, Entry, ProgramDetail, Row, State};
use crate::ids::{AccountId, ProgramId};

/// The version of a program that is in force.
#[derive(Clone, Debug)]
pub struct Current {
    /// The program's own account.
    pub account_id: AccountId,
    /// The version, with the whole document.
    pub policy: Arc<ProgramVersion>,
}

/// Which version of a program is in force, as its row says it.
#[derive(Clone, Debug)]
pub(super) struct ProgramRow {
    pub(super) account_id: AccountId,
    pub(super) program_id: ProgramId,
    pub(super) version: i32,
    pub(super) applied_at: Timestamp,
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
    /// Versions that were in force before the present one.
    pub(super) former: BTreeMap<(ProgramId, i32), Arc<ProgramVersion>>,
}

impl ProgramsState {
    /// The version in force, if the program exists.
    #[must_use]
    pub fn current(&self, program_id: &ProgramId) -> Option<&Current> {
        self.current.get(program_id)
    }

    /// Whether this batch puts another version in force than the one by which its rows were read.
    #[must_use]
    pub fn is_new(&self, program_id: &ProgramId) -> bool {
        self.new_versions.iter().any(|version| version.program.program_id == *program_id)
    }

    /// Asks for the last versions before the one in force.
    pub fn ask_former(&mut self, program_id: &ProgramId) {
        self.asked_former.insert(program_id.clone());
    }

    /// The version before one of the last, if there is one and it was [asked for](Self::ask_former).
    #[must_use]
    pub fn before(&self, program_id: &ProgramId, version: i32) -> Option<&Arc<ProgramVersion>> {
        self.former.get(&(program_id.clone(), version.checked_sub(1)?))
    }

    /// Adds a version; the entry that goes with it puts it in force.
    pub fn add_version(&mut self, account_id: AccountId, version: ProgramVersion) {
        let program_id = version.program.program_id.clone();
        let policy = Arc::new(version.clone());
        if let Some(former) = self.current.insert(program_id.clone(), Current { account_id, policy }) {
            self.former.insert((program_id, former.policy.version), former.policy);
        }
        self.new_versions.push(version);
    }
}

impl State for ProgramsState {
    fn apply(&mut self, entry: &Entry) -> Result<(), Defect> {
        match entry.detail {
            Detail::Program(ProgramDetail::ProgramApplied { version }) => {
                let row = ProgramRow {
                    account_id: entry.id.account_id,
                    program_id: entry.program_id.clone(),
                    version,
                    applied_at: entry.effective_at,
                };
                self.changed.insert(entry.id.account_id, row);
            }
            // None of these changes which version is in force.
            Detail::Program(ProgramDetail::EntriesExported { .. })
            | Detail::Customer(_)
            | Detail::Activity(_)
            | Detail::Points(_)
            | Detail::Tier(_)
            | Detail::Benefit(_)
            | Detail::Referral(_) => {}
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
                ("version", row.version.into()),
                ("applied_at", row.applied_at.into()),
            ],
        }))
    }
}
