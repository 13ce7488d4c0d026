//! What a batch keeps of value classes: rows are added, and never changed.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use jiff::civil::Date;

use super::model::Held;
use crate::book::{Cell, Defect, Detail, Entry, ProgramDetail, Row, State, ValueDetail};
use crate::ids::{AccountId, ProgramId, ValueClassId};

/// A decision about the class of a customer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClassRow {
    pub program_id: ProgramId,
    pub held: Held,
    /// The end at which it was decided, as the first day after the period.
    pub until: Date,
    /// Since when they are of the class.
    pub since: Timestamp,
    pub decided_at: Timestamp,
    pub policy_version: i32,
    pub measured: i64,
}

/// A classification of the customers of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ClassificationRow {
    pub(super) program_id: ProgramId,
    pub(super) until: Date,
    pub(super) effective_at: Timestamp,
}

/// The value classes of a batch's customers: of each the last decision, and the classifications of programs.
#[derive(Debug, Default)]
pub(crate) struct ClassesState {
    pub(super) rows: BTreeMap<(AccountId, i64), ClassRow>,
    pub(super) new: BTreeSet<(AccountId, i64)>,
    pub(super) classifications: BTreeMap<(AccountId, i64), ClassificationRow>,
    pub(super) new_classifications: BTreeSet<(AccountId, i64)>,
}

impl ClassesState {
    /// What a customer has.
    pub(super) fn held(&self, account_id: AccountId) -> Option<&ClassRow> {
        self.rows.range((account_id, i64::MIN)..=(account_id, i64::MAX)).next_back().map(|(_, row)| row)
    }

    /// The class of a customer, if they have one.
    #[must_use]
    pub(crate) fn class(&self, account_id: AccountId) -> Option<&ValueClassId> {
        self.held(account_id).map(|row| &row.held.class_id)
    }
}

impl State for ClassesState {
    fn apply(&mut self, entry: &Entry) -> Result<(), Defect> {
        let key = (entry.id.account_id, entry.id.account_seq);
        let (program_id, decided_at) = (entry.program_id.clone(), entry.effective_at);
        match &entry.detail {
            Detail::Program(ProgramDetail::CustomersClassed { classification }) => {
                let row = ClassificationRow { program_id, until: classification.until, effective_at: decided_at };
                self.classifications.insert(key, row);
                self.new_classifications.insert(key);
            }
            Detail::Value(ValueDetail::ValueClassDecided {
                before: _,
                class_id,
                until,
                level,
                measured,
                ends_below,
            }) => {
                let before = self.held(key.0).filter(|row| row.held.class_id == *class_id);
                let row = ClassRow {
                    program_id,
                    until: *until,
                    since: before.map_or(decided_at, |row| row.since),
                    held: Held { class_id: class_id.clone(), level: *level, ends_below: *ends_below },
                    decided_at,
                    policy_version: entry.policy_version,
                    measured: *measured,
                };
                self.rows.insert(key, row);
                self.new.insert(key);
            }
            Detail::Program(_)
            | Detail::Customer(_)
            | Detail::Activity(_)
            | Detail::Points(_)
            | Detail::Tier(_)
            | Detail::Benefit(_)
            | Detail::Referral(_)
            | Detail::Complaint(_)
            | Detail::Goodwill(_)
            | Detail::Lifecycle(_) => {}
        }
        Ok(())
    }

    fn rows(&self, account_id: AccountId) -> Box<dyn Iterator<Item = Row<'_>> + Send + '_> {
        let whole = (account_id, i64::MIN)..=(account_id, i64::MAX);
        let classes = self.rows.range(whole.clone()).map(|((_, seq), row)| class_row(*seq, row));
        let classifications = self.classifications.range(whole).map(|((_, seq), row)| Row {
            noun: "classification of entry",
            key: (*seq).into(),
            columns: vec![
                ("program_id", Cell::word(row.program_id.as_str())),
                ("until", Cell::text(row.until)),
                ("effective_at", row.effective_at.into()),
            ],
        });
        Box::new(classes.chain(classifications))
    }
}

fn class_row(seq: i64, row: &ClassRow) -> Row<'_> {
    Row {
        noun: "value class of entry",
        key: seq.into(),
        columns: vec![
            ("program_id", Cell::word(row.program_id.as_str())),
            ("class_id", Cell::word(row.held.class_id.as_str())),
            ("level", row.held.level.map_or(Cell::Absent, |level| Cell::word(level.as_str()))),
            ("until", Cell::text(row.until)),
            ("since", row.since.into()),
            ("decided_at", row.decided_at.into()),
            ("policy_version", row.policy_version.into()),
            ("measured", row.measured.into()),
            ("ends_below", row.held.ends_below.into()),
        ],
    }
}
