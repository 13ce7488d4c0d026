//! The complaints of a batch's customers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::model::Complaint;
use crate::book::{
    Account, Actor, Cell, ComplaintDeadline, ComplaintDetail, ComplaintOutcome, CustomerDetail, Defect, Detail, Due,
    DueKind, Dues, Entry, EntryReason, NewEntry, Row, State,
};
use crate::ids::{AccountId, ComplaintCategoryId, EntryId, ProgramId};
use crate::programs::model::ProgramVersion;

/// A step of a complaint, with what is counted of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StepRow {
    /// The entry that opened the complaint.
    pub opened: i64,
    pub program_id: ProgramId,
    pub taken_at: Timestamp,
    pub kind: &'static str,
    /// The category of the complaint then.
    pub category_id: Option<ComplaintCategoryId>,
    pub acknowledged: bool,
    /// Whether it was the first answer.
    pub answered: bool,
    pub took: Option<i64>,
    /// Whether the deadline that it meets was missed before.
    pub was_late: bool,
    pub missed: Option<ComplaintDeadline>,
    pub outcome: Option<ComplaintOutcome>,
    pub handling_score: Option<i16>,
}

/// The complaints of a batch.
#[derive(Default)]
pub(crate) struct ComplaintsState {
    /// Accounts of which all open complaints are needed, and single complaints, open or not.
    pub(super) asked: BTreeSet<AccountId>,
    pub(super) asked_complaints: BTreeSet<(AccountId, i64)>,
    /// Complaints that may have been opened by a key, hashed.
    pub(super) asked_keys: BTreeSet<(AccountId, [u8; 32])>,
    pub(super) complaints: BTreeMap<(AccountId, i64), Complaint>,
    pub(super) changed: BTreeSet<(AccountId, i64)>,
    pub(super) steps: BTreeMap<(AccountId, i64), StepRow>,
    pub(super) new_steps: BTreeSet<(AccountId, i64)>,
    /// Accounts of which all open complaints were read.
    pub(super) loaded: BTreeSet<AccountId>,
    /// Others whose customers are erased, and when.
    pub(super) ended: BTreeMap<AccountId, Timestamp>,
    /// Who deals with complaints that were asked for.
    pub(super) owners: BTreeMap<(AccountId, i64), String>,
    pub(super) changed_owners: BTreeSet<(AccountId, i64)>,
    /// Accounts whose customers are erased: nobody is named any more.
    pub(super) erased: BTreeSet<AccountId>,
    /// The versions of programs that the clocks of these complaints were started by.
    pub(super) versions: BTreeMap<(ProgramId, i32), Arc<ProgramVersion>>,
}

impl ComplaintsState {
    /// Asks for all open complaints of an account, and for one of them, open or not.
    pub(super) fn ask(&mut self, account_id: AccountId, complaint: Option<i64>) {
        self.asked.insert(account_id);
        self.asked_complaints.extend(complaint.map(|complaint| (account_id, complaint)));
    }

    /// Asks for the complaint that was opened by a key, open or not.
    pub(super) fn ask_opened_by(&mut self, account_id: AccountId, key: [u8; 32]) {
        self.asked_keys.insert((account_id, key));
    }

    /// A complaint by the entry that opened it, as far as it was asked for.
    pub(super) fn get(&self, account_id: AccountId, opened: i64) -> Option<&Complaint> {
        self.complaints.get(&(account_id, opened))
    }

    /// The open complaints of an account that was asked for.
    pub(super) fn open(&self, account_id: AccountId) -> impl Iterator<Item = (i64, &Complaint)> {
        let own = self.complaints.range((account_id, i64::MIN)..=(account_id, i64::MAX));
        own.filter(|(_, complaint)| complaint.is_open()).map(|((_, opened), complaint)| (*opened, complaint))
    }

    /// Who deals with a complaint that was asked for; empty, if nobody was named.
    pub(super) fn owner(&self, account_id: AccountId, opened: i64) -> &str {
        self.owners.get(&(account_id, opened)).map_or("", String::as_str)
    }

    /// Names who deals with a complaint; nobody, if it is empty.
    pub(super) fn set_owner(&mut self, complaint_id: EntryId, owner: String) {
        let key = (complaint_id.account_id, complaint_id.account_seq);
        if self.owner(key.0, key.1) != owner {
            self.owners.insert(key, owner);
            self.changed_owners.insert(key);
        }
    }

    /// A version of a program that a complaint's clock was started by.
    pub(super) fn version(&self, program_id: &ProgramId, version: i32) -> Option<Arc<ProgramVersion>> {
        self.versions.get(&(program_id.clone(), version)).cloned()
    }

    fn apply_complaint(&mut self, entry: &Entry, detail: &ComplaintDetail) -> Result<(), Defect> {
        let key = (entry.id.account_id, detail.complaint().unwrap_or(entry.id.account_seq));
        let step = match Complaint::opened(&entry.program_id, entry.policy_version, detail) {
            Some(opened) => {
                let step = step_of(entry, key.1, detail, &opened);
                self.complaints.insert(key, opened);
                step
            }
            None => {
                let missing = || Defect::new(format!("entry {}: no complaint {} is loaded", entry.id, key.1));
                let complaint = self.complaints.get_mut(&key).ok_or_else(missing)?;
                let before = complaint.clone();
                complaint.take(entry.effective_at, entry.policy_version, detail);
                let category_id = complaint.category_id.clone();
                StepRow { category_id, ..step_of(entry, key.1, detail, &before) }
            }
        };
        self.changed.insert(key);
        let step_key = (key.0, entry.id.account_seq);
        self.steps.insert(step_key, step);
        self.new_steps.insert(step_key);
        Ok(())
    }

    fn end_all(&mut self, entry: &Entry) {
        let account_id = entry.id.account_id;
        let own = self.complaints.range_mut((account_id, i64::MIN)..=(account_id, i64::MAX));
        for (key, complaint) in own.filter(|(_, complaint)| complaint.is_open()) {
            complaint.end(entry.effective_at);
            self.changed.insert(*key);
        }
        // What was not read is written unseen.
        if !self.loaded.contains(&account_id) {
            self.ended.insert(account_id, entry.effective_at);
        }
        self.owners.retain(|(of, _), _| *of != account_id);
        self.changed_owners.retain(|(of, _)| *of != account_id);
        self.erased.insert(account_id);
    }
}

/// A step with what is counted of it, of a complaint as it was before.
fn step_of(entry: &Entry, opened: i64, detail: &ComplaintDetail, before: &Complaint) -> StepRow {
    let plain = StepRow {
        opened,
        program_id: entry.program_id.clone(),
        taken_at: entry.effective_at,
        kind: detail.into(),
        category_id: before.category_id.clone(),
        acknowledged: false,
        answered: false,
        took: None,
        was_late: false,
        missed: None,
        outcome: None,
        handling_score: None,
    };
    let was_late = |deadline| before.missed.contains(&deadline);
    let answer = |took: Option<i64>| StepRow {
        answered: took.is_some(),
        took,
        was_late: took.is_some() && was_late(ComplaintDeadline::Answer),
        ..plain.clone()
    };
    match detail {
        ComplaintDetail::ComplaintOpened { .. } | ComplaintDetail::ComplaintReopened { .. } => plain,
        ComplaintDetail::ComplaintAcknowledged { took, .. } => StepRow {
            acknowledged: true,
            took: Some(*took),
            was_late: was_late(ComplaintDeadline::Acknowledgement),
            ..plain
        },
        ComplaintDetail::ComplaintUpdated { change, .. } => {
            StepRow { handling_score: change.handling_score, ..answer(change.took) }
        }
        ComplaintDetail::ComplaintEscalated { missed, .. } => StepRow { missed: *missed, ..plain },
        ComplaintDetail::RemedyOffered { took, .. } => answer(*took),
        ComplaintDetail::ComplaintResolved { outcome, handling_score, took, .. } => StepRow {
            took: Some(*took),
            was_late: was_late(ComplaintDeadline::Resolution),
            outcome: Some(*outcome),
            handling_score: *handling_score,
            ..plain
        },
    }
}

impl State for ComplaintsState {
    fn apply(&mut self, entry: &Entry) -> Result<(), Defect> {
        match &entry.detail {
            Detail::Complaint(detail) => self.apply_complaint(entry, detail),
            Detail::Customer(CustomerDetail::CustomerErased { .. }) => {
                self.end_all(entry);
                Ok(())
            }
            Detail::Program(_)
            | Detail::Customer(_)
            | Detail::Activity(_)
            | Detail::Points(_)
            | Detail::Tier(_)
            | Detail::Benefit(_)
            | Detail::Referral(_)
            | Detail::Goodwill(_)
            | Detail::Lifecycle(_)
            | Detail::Value(_) => Ok(()),
        }
    }

    fn dues(&self) -> Option<&dyn Dues> {
        Some(self)
    }

    fn rows(&self, account_id: AccountId) -> Box<dyn Iterator<Item = Row<'_>> + Send + '_> {
        let whole = (account_id, i64::MIN)..=(account_id, i64::MAX);
        let complaints = self.complaints.range(whole.clone()).map(|((_, opened), it)| complaint_row(*opened, it));
        let steps = self.steps.range(whole).map(|((_, seq), step)| step_row(*seq, step));
        Box::new(complaints.chain(steps))
    }
}

impl Dues for ComplaintsState {
    fn next_due(&self, account_id: AccountId) -> Option<Due> {
        let at = self.open(account_id).filter_map(|(_, complaint)| complaint.next_due()).map(|(at, _)| at).min()?;
        Some(Due { at, kind: DueKind::EscalateComplaint })
    }

    fn decide_due(&self, account: &Account, due: Due) -> Vec<NewEntry> {
        let account_id = account.account_id;
        let mut open = self.open(account_id);
        let first = open.find_map(|(opened, complaint)| {
            let (_, missed) = complaint.next_due().filter(|(at, _)| *at == due.at)?;
            Some((opened, complaint, missed))
        });
        let Some((opened, complaint, missed)) = first else { return Vec::new() };
        vec![NewEntry {
            detail: complaint.miss(opened, missed).into(),
            movement: None,
            actor: Actor::Time,
            reason: EntryReason::TimeReached,
            policy_version: complaint.policy_version,
            causes: vec![EntryId { account_id, account_seq: opened }],
        }]
    }
}

fn complaint_row(opened: i64, it: &Complaint) -> Row<'_> {
    let instants = |all: Vec<Timestamp>| Cell::text(all.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "));
    let missed = it.missed.iter().map(|missed| missed.as_str()).collect::<Vec<_>>().join(" ");
    let word = |word: Option<&'static str>| word.map_or(Cell::Absent, Cell::word);
    Row {
        noun: "complaint of entry",
        key: opened.into(),
        columns: vec![
            ("program_id", Cell::word(it.program_id.as_str())),
            ("category_id", it.category_id.as_ref().map_or(Cell::Absent, |it| Cell::word(it.as_str()))),
            ("priority", Cell::word(it.priority.as_str())),
            ("channel", word(it.channel.map(|channel| channel.as_str()))),
            ("value_class_id", it.value_class_id.as_ref().map_or(Cell::Absent, |it| Cell::word(it.as_str()))),
            ("state", Cell::word(it.state.as_str())),
            ("received_at", it.received_at.into()),
            ("clock_started_at", it.clock_started_at.into()),
            ("policy_version", it.policy_version.into()),
            ("acknowledged_at", it.acknowledged_at.into()),
            ("answered_at", it.answered_at.into()),
            ("paused_from", instants(it.pauses.iter().map(|(from, _)| *from).collect())),
            ("paused_until", instants(it.pauses.iter().filter_map(|(_, until)| *until).collect())),
            ("acknowledge_by", it.deadlines.acknowledge_by.into()),
            ("answer_by", it.deadlines.answer_by.into()),
            ("resolve_by", it.deadlines.resolve_by.into()),
            ("extended", it.extended.into()),
            ("late_since", it.late_since.into()),
            ("missed", Cell::text(missed)),
            ("escalated", it.escalated.into()),
            ("remedy", word(it.remedy.map(|(remedy, ..)| remedy.as_str()))),
            ("remedy_value", it.remedy.and_then(|(_, value, _)| value).into()),
            ("offered_at", it.remedy.map(|(.., at)| at).into()),
            ("resolved_at", it.resolved.map(|(at, _)| at).into()),
            ("outcome", word(it.resolved.map(|(_, outcome)| outcome.as_str()))),
            ("handling_score", it.handling_score.map(i64::from).into()),
            ("reopened", it.reopened.into()),
            ("steps", it.steps.into()),
            ("ended_at", it.ended_at.into()),
        ],
    }
}

fn step_row(seq: i64, it: &StepRow) -> Row<'_> {
    let word = |word: Option<&'static str>| word.map_or(Cell::Absent, Cell::word);
    Row {
        noun: "complaint step of entry",
        key: seq.into(),
        columns: vec![
            ("opened_seq", it.opened.into()),
            ("program_id", Cell::word(it.program_id.as_str())),
            ("taken_at", it.taken_at.into()),
            ("kind", Cell::word(it.kind)),
            ("category_id", it.category_id.as_ref().map_or(Cell::Absent, |it| Cell::word(it.as_str()))),
            ("acknowledged", it.acknowledged.into()),
            ("answered", it.answered.into()),
            ("took", it.took.into()),
            ("was_late", it.was_late.into()),
            ("missed", word(it.missed.map(|missed| missed.as_str()))),
            ("outcome", word(it.outcome.map(|outcome| outcome.as_str()))),
            ("handling_score", it.handling_score.map(i64::from).into()),
        ],
    }
}
