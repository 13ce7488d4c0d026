//! What a batch keeps of purchases and of models of value: rows are added, and never changed.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use jiff::civil::Date;

use crate::book::{Cell, Defect, Detail, Entry, ProgramDetail, Row, State};
use crate::ids::{AccountId, ProgramId};
use crate::tiers::counting::counted_by;

/// What a purchase or a refund adds to its day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bought {
    pub(super) program_id: ProgramId,
    pub(super) day: Date,
    pub(super) effective_at: Timestamp,
    pub(super) spend: i64,
    pub(super) margin: i64,
    pub(super) visits: i16,
}

/// The purchases and refunds of a batch.
#[derive(Debug, Default)]
pub(crate) struct BoughtState {
    pub(super) rows: BTreeMap<(AccountId, i64), Bought>,
    pub(super) new: BTreeSet<(AccountId, i64)>,
}

impl State for BoughtState {
    fn apply(&mut self, entry: &Entry) -> Result<(), Defect> {
        if !matches!(entry.detail, Detail::Activity(_)) {
            return Ok(());
        }
        let Some((day, counted)) = counted_by(entry) else { return Ok(()) };
        let key = (entry.id.account_id, entry.id.account_seq);
        let visits = i16::try_from(counted.visits).map_err(|_| Defect::new("an entry counts as many purchases"))?;
        let (program_id, effective_at) = (entry.program_id.clone(), entry.effective_at);
        let (spend, margin) = (counted.spend, counted.margin);
        self.rows.insert(key, Bought { program_id, day, effective_at, spend, margin, visits });
        self.new.insert(key);
        Ok(())
    }

    fn rows(&self, account_id: AccountId) -> Box<dyn Iterator<Item = Row<'_>> + Send + '_> {
        let own = self.rows.range((account_id, i64::MIN)..=(account_id, i64::MAX));
        Box::new(own.map(|((_, seq), bought)| Row {
            noun: "purchase of entry",
            key: (*seq).into(),
            columns: vec![
                ("program_id", Cell::word(bought.program_id.as_str())),
                ("day", Cell::text(bought.day)),
                ("effective_at", bought.effective_at.into()),
                ("spend", bought.spend.into()),
                ("margin", bought.margin.into()),
                ("visits", i64::from(bought.visits).into()),
            ],
        }))
    }
}

/// A model that was fitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fitted {
    pub(super) program_id: ProgramId,
    pub(super) version: i32,
    pub(super) effective_at: Timestamp,
}

/// The models of a batch's programs.
#[derive(Debug, Default)]
pub(crate) struct ModelsState {
    /// The number of the latest.
    pub(super) latest: BTreeMap<ProgramId, i32>,
    pub(super) rows: BTreeMap<(AccountId, i64), Fitted>,
    pub(super) new: BTreeSet<(AccountId, i64)>,
}

impl ModelsState {
    /// The number of a program's next model.
    pub(super) fn next_version(&self, program_id: &ProgramId) -> Option<i32> {
        self.latest.get(program_id).copied().unwrap_or(0).checked_add(1)
    }
}

impl State for ModelsState {
    fn apply(&mut self, entry: &Entry) -> Result<(), Defect> {
        let Detail::Program(ProgramDetail::ValueModelFitted { model }) = &entry.detail else { return Ok(()) };
        let key = (entry.id.account_id, entry.id.account_seq);
        let (program_id, effective_at) = (entry.program_id.clone(), entry.effective_at);
        self.latest.insert(program_id.clone(), model.version);
        self.rows.insert(key, Fitted { program_id, version: model.version, effective_at });
        self.new.insert(key);
        Ok(())
    }

    fn rows(&self, account_id: AccountId) -> Box<dyn Iterator<Item = Row<'_>> + Send + '_> {
        let own = self.rows.range((account_id, i64::MIN)..=(account_id, i64::MAX));
        Box::new(own.map(|((_, seq), fitted)| Row {
            noun: "value model of entry",
            key: (*seq).into(),
            columns: vec![
                ("program_id", Cell::word(fitted.program_id.as_str())),
                ("version", i64::from(fitted.version).into()),
                ("effective_at", fitted.effective_at.into()),
            ],
        }))
    }
}
