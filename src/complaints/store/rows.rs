//! Rows of complaints and their steps, as they are stored, and as they are sent.

use std::collections::BTreeSet;

use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use strum::VariantNames as _;
use uuid::Uuid;

use crate::book::{
    ComplaintDeadline, ComplaintDetail, ComplaintOutcome, ComplaintPriority, ComplaintState, Deadlines, Defect,
    FeedbackChannel, RemedyKind, States,
};
use crate::complaints::model::Complaint;
use crate::complaints::state::{ComplaintsState, StepRow};
use crate::database::{ReadPart, StoreError, selection, sent_as};
use crate::ids::{AccountId, ComplaintCategoryId, ProgramId, ValueClassId};

/// A complaint.
#[derive(sqlx::Encode, sqlx::Decode)]
pub(super) struct ComplaintRow {
    pub(super) account_id: Uuid,
    pub(super) opened_seq: i64,
    pub(super) program_id: String,
    pub(super) category_id: Option<String>,
    pub(super) priority: String,
    pub(super) channel: Option<String>,
    pub(super) value_class_id: Option<String>,
    pub(super) state: String,
    pub(super) received_at: jiff_sqlx::Timestamp,
    pub(super) clock_started_at: jiff_sqlx::Timestamp,
    pub(super) policy_version: i32,
    pub(super) acknowledged_at: Option<jiff_sqlx::Timestamp>,
    pub(super) answered_at: Option<jiff_sqlx::Timestamp>,
    pub(super) paused_from: Vec<jiff_sqlx::Timestamp>,
    pub(super) paused_until: Vec<jiff_sqlx::Timestamp>,
    pub(super) acknowledge_by: Option<jiff_sqlx::Timestamp>,
    pub(super) answer_by: Option<jiff_sqlx::Timestamp>,
    pub(super) resolve_by: Option<jiff_sqlx::Timestamp>,
    pub(super) extended: bool,
    pub(super) late_since: Option<jiff_sqlx::Timestamp>,
    pub(super) missed: Vec<String>,
    pub(super) escalated: bool,
    pub(super) remedy: Option<String>,
    pub(super) remedy_value: Option<i64>,
    pub(super) offered_at: Option<jiff_sqlx::Timestamp>,
    pub(super) resolved_at: Option<jiff_sqlx::Timestamp>,
    pub(super) outcome: Option<String>,
    pub(super) handling_score: Option<i16>,
    pub(super) reopened: i32,
    pub(super) steps: i32,
    pub(super) ended_at: Option<jiff_sqlx::Timestamp>,
}

sent_as!(ComplaintRow, "sent_complaint");

impl ComplaintRow {
    pub(super) fn new((account_id, opened_seq): (AccountId, i64), it: &Complaint) -> Self {
        let at = |at: Option<Timestamp>| at.map(|at| at.to_sqlx());
        let word = |word: &'static str| word.to_owned();
        Self {
            account_id: account_id.0,
            opened_seq,
            program_id: it.program_id.to_string(),
            category_id: it.category_id.as_ref().map(ToString::to_string),
            priority: word(it.priority.as_str()),
            channel: it.channel.map(|channel| word(channel.as_str())),
            value_class_id: it.value_class_id.as_ref().map(ToString::to_string),
            state: word(it.state.as_str()),
            received_at: it.received_at.to_sqlx(),
            clock_started_at: it.clock_started_at.to_sqlx(),
            policy_version: it.policy_version,
            acknowledged_at: at(it.acknowledged_at),
            answered_at: at(it.answered_at),
            paused_from: it.pauses.iter().map(|(from, _)| from.to_sqlx()).collect(),
            paused_until: it.pauses.iter().filter_map(|(_, until)| at(*until)).collect(),
            acknowledge_by: at(it.deadlines.acknowledge_by),
            answer_by: at(it.deadlines.answer_by),
            resolve_by: at(it.deadlines.resolve_by),
            extended: it.extended,
            late_since: at(it.late_since),
            missed: it.missed.iter().map(|missed| word(missed.as_str())).collect(),
            escalated: it.escalated,
            remedy: it.remedy.map(|(remedy, ..)| word(remedy.as_str())),
            remedy_value: it.remedy.and_then(|(_, value, _)| value),
            offered_at: at(it.remedy.map(|(.., offered_at)| offered_at)),
            resolved_at: at(it.resolved.map(|(resolved_at, _)| resolved_at)),
            outcome: it.resolved.map(|(_, outcome)| word(outcome.as_str())),
            handling_score: it.handling_score,
            reopened: it.reopened,
            steps: it.steps,
            ended_at: at(it.ended_at),
        }
    }

    pub(super) fn into_complaint(self) -> Result<Complaint, Defect> {
        let (account_id, opened) = (self.account_id, self.opened_seq);
        let bad = |error: &str| damaged(account_id, opened, error);
        let unknown =
            |word: &str| Defect::unknown(format!("complaint {opened} of account {account_id}: unknown {word}"));
        let at = |at: Option<jiff_sqlx::Timestamp>| at.map(jiff_sqlx::Timestamp::to_jiff);
        let missed = self.missed.iter().map(|word| ComplaintDeadline::from_stored(word).ok_or_else(|| unknown(word)));
        let channel = self.channel.map(|word| FeedbackChannel::from_stored(&word).ok_or_else(|| unknown(&word)));
        let remedy = match (self.remedy, at(self.offered_at)) {
            (Some(word), Some(offered_at)) => {
                let remedy = RemedyKind::from_stored(&word).ok_or_else(|| unknown(&word))?;
                Some((remedy, self.remedy_value, offered_at))
            }
            _ => None,
        };
        let resolved = match (at(self.resolved_at), self.outcome) {
            (Some(resolved_at), Some(word)) => {
                Some((resolved_at, ComplaintOutcome::from_stored(&word).ok_or_else(|| unknown(&word))?))
            }
            _ => None,
        };
        let mut ends = self.paused_until.into_iter();
        let pauses = self.paused_from.into_iter().map(|from| (from.to_jiff(), at(ends.next()))).collect();
        Ok(Complaint {
            program_id: ProgramId::try_from(self.program_id).map_err(bad)?,
            category_id: self.category_id.map(ComplaintCategoryId::try_from).transpose().map_err(bad)?,
            priority: ComplaintPriority::from_stored(&self.priority).ok_or_else(|| unknown(&self.priority))?,
            channel: channel.transpose()?,
            value_class_id: self.value_class_id.map(ValueClassId::try_from).transpose().map_err(bad)?,
            state: ComplaintState::from_stored(&self.state).ok_or_else(|| unknown(&self.state))?,
            received_at: self.received_at.to_jiff(),
            clock_started_at: self.clock_started_at.to_jiff(),
            policy_version: self.policy_version,
            acknowledged_at: at(self.acknowledged_at),
            answered_at: at(self.answered_at),
            pauses,
            deadlines: Deadlines {
                acknowledge_by: at(self.acknowledge_by),
                answer_by: at(self.answer_by),
                resolve_by: at(self.resolve_by),
            },
            extended: self.extended,
            late_since: at(self.late_since),
            missed: missed.collect::<Result<_, _>>()?,
            escalated: self.escalated,
            remedy,
            resolved,
            handling_score: self.handling_score,
            reopened: self.reopened,
            steps: self.steps,
            ended_at: at(self.ended_at),
        })
    }
}

/// A step.
#[derive(sqlx::Encode, sqlx::Decode)]
pub(super) struct StepSent {
    pub(super) account_id: Uuid,
    pub(super) account_seq: i64,
    pub(super) opened_seq: i64,
    pub(super) program_id: String,
    pub(super) taken_at: jiff_sqlx::Timestamp,
    pub(super) kind: String,
    pub(super) category_id: Option<String>,
    pub(super) acknowledged: bool,
    pub(super) answered: bool,
    pub(super) took: Option<i64>,
    pub(super) was_late: bool,
    pub(super) missed: Option<String>,
    pub(super) outcome: Option<String>,
    pub(super) handling_score: Option<i16>,
}

sent_as!(StepSent, "sent_complaint_step");

impl StepSent {
    pub(super) fn new((account_id, account_seq): (AccountId, i64), it: &StepRow) -> Self {
        Self {
            account_id: account_id.0,
            account_seq,
            opened_seq: it.opened,
            program_id: it.program_id.to_string(),
            taken_at: it.taken_at.to_sqlx(),
            kind: it.kind.to_owned(),
            category_id: it.category_id.as_ref().map(ToString::to_string),
            acknowledged: it.acknowledged,
            answered: it.answered,
            took: it.took,
            was_late: it.was_late,
            missed: it.missed.map(|missed| missed.as_str().to_owned()),
            outcome: it.outcome.map(|outcome| outcome.as_str().to_owned()),
            handling_score: it.handling_score,
        }
    }

    fn into_step(self) -> Result<StepRow, Defect> {
        let (account_id, opened) = (self.account_id, self.opened_seq);
        let bad = |error: &str| damaged(account_id, opened, error);
        let unknown =
            |word: &str| Defect::unknown(format!("complaint {opened} of account {account_id}: unknown {word}"));
        let missed = self.missed.map(|word| ComplaintDeadline::from_stored(&word).ok_or_else(|| unknown(&word)));
        let outcome = self.outcome.map(|word| ComplaintOutcome::from_stored(&word).ok_or_else(|| unknown(&word)));
        Ok(StepRow {
            opened,
            program_id: ProgramId::try_from(self.program_id).map_err(bad)?,
            taken_at: self.taken_at.to_jiff(),
            kind: ComplaintDetail::VARIANTS
                .iter()
                .find(|kind| **kind == self.kind)
                .ok_or_else(|| unknown(&self.kind))?,
            category_id: self.category_id.map(ComplaintCategoryId::try_from).transpose().map_err(bad)?,
            acknowledged: self.acknowledged,
            answered: self.answered,
            took: self.took,
            was_late: self.was_late,
            missed: missed.transpose()?,
            outcome: outcome.transpose()?,
            handling_score: self.handling_score,
        })
    }
}

fn take_complaints(states: &mut States, rows: Vec<ComplaintRow>) -> Result<(), StoreError> {
    let state: &mut ComplaintsState = states.get_mut()?;
    for row in rows {
        let key = (AccountId(row.account_id), row.opened_seq);
        state.complaints.insert(key, row.into_complaint()?);
    }
    Ok(())
}

fn take_steps(states: &mut States, rows: Vec<StepSent>) -> Result<(), StoreError> {
    let state: &mut ComplaintsState = states.get_mut()?;
    for row in rows {
        let key = (AccountId(row.account_id), row.account_seq);
        state.steps.insert(key, row.into_step()?);
    }
    Ok(())
}

/// Who deals with a complaint.
#[derive(sqlx::Encode, sqlx::Decode)]
pub(super) struct OwnerRow {
    pub(super) account_id: Uuid,
    pub(super) opened_seq: i64,
    pub(super) owner: String,
}

sent_as!(OwnerRow, "sent_complaint_owner");

/// Everything of accounts.
pub(super) fn whole_parts(accounts: Vec<Uuid>) -> Vec<ReadPart<States>> {
    let same_accounts = accounts.clone();
    let complaints = selection!(
        "complaints",
        ComplaintRow,
        "SELECT account_id, opened_seq, program_id, category_id, priority, channel, value_class_id, state, received_at, clock_started_at,
             policy_version, acknowledged_at, answered_at, paused_from, paused_until, acknowledge_by, answer_by, resolve_by,
             extended, late_since, missed, escalated, remedy, remedy_value, offered_at, resolved_at, outcome, handling_score,
             reopened, steps, ended_at
         FROM complaints WHERE account_id = ANY($1)",
        [same_accounts],
    );
    let steps = selection!(
        "complaint_steps",
        StepSent,
        "SELECT account_id, account_seq, opened_seq, program_id, taken_at, kind, category_id, acknowledged, answered, took,
             was_late, missed, outcome, handling_score
         FROM complaint_steps WHERE account_id = ANY($1)",
        [accounts],
    );
    vec![complaints.into_part(take_complaints), steps.into_part(take_steps)]
}

/// All complaints of accounts that are open: not more than one may have at a time, however many there were.
pub(super) fn open_part(needed: BTreeSet<AccountId>) -> ReadPart<States> {
    let accounts: Vec<Uuid> = needed.iter().map(|account_id| account_id.0).collect();
    let open = selection!(
        "complaints",
        ComplaintRow,
        "SELECT c.account_id, c.opened_seq, c.program_id, c.category_id, c.priority, c.channel, c.value_class_id, c.state, c.received_at,
             c.clock_started_at, c.policy_version, c.acknowledged_at, c.answered_at, c.paused_from, c.paused_until,
             c.acknowledge_by, c.answer_by, c.resolve_by, c.extended, c.late_since, c.missed, c.escalated, c.remedy,
             c.remedy_value, c.offered_at, c.resolved_at, c.outcome, c.handling_score, c.reopened, c.steps, c.ended_at
         FROM unnest($1::uuid[]) AS u (account_id)
         JOIN LATERAL (
             SELECT * FROM complaints f
             WHERE f.account_id = u.account_id AND f.resolved_at IS NULL AND f.ended_at IS NULL OFFSET 0
         ) c ON TRUE",
        [accounts],
    );
    open.into_part(move |states: &mut States, rows| {
        states.get_mut::<ComplaintsState>()?.loaded.extend(needed);
        take_complaints(states, rows)
    })
}

/// Single complaints, open or not.
pub(super) fn named_parts(asked: &BTreeSet<(AccountId, i64)>) -> Vec<ReadPart<States>> {
    let accounts: Vec<Uuid> = asked.iter().map(|(account_id, _)| account_id.0).collect();
    let numbers: Vec<i64> = asked.iter().map(|(_, opened)| *opened).collect();
    let (same_accounts, same_numbers) = (accounts.clone(), numbers.clone());
    let named = selection!(
        "complaints",
        ComplaintRow,
        "SELECT c.account_id, c.opened_seq, c.program_id, c.category_id, c.priority, c.channel, c.value_class_id, c.state, c.received_at,
             c.clock_started_at, c.policy_version, c.acknowledged_at, c.answered_at, c.paused_from, c.paused_until,
             c.acknowledge_by, c.answer_by, c.resolve_by, c.extended, c.late_since, c.missed, c.escalated, c.remedy,
             c.remedy_value, c.offered_at, c.resolved_at, c.outcome, c.handling_score, c.reopened, c.steps, c.ended_at
         FROM unnest($1::uuid[], $2::bigint[]) AS u (account_id, opened_seq)
         JOIN LATERAL (
             SELECT * FROM complaints f WHERE f.account_id = u.account_id AND f.opened_seq = u.opened_seq OFFSET 0
         ) c ON TRUE",
        [same_accounts, same_numbers],
    );
    let owners = selection!(
        "complaint_owners",
        OwnerRow,
        "SELECT o.account_id, o.opened_seq, o.owner
         FROM unnest($1::uuid[], $2::bigint[]) AS u (account_id, opened_seq)
         JOIN LATERAL (
             SELECT * FROM complaint_owners f WHERE f.account_id = u.account_id AND f.opened_seq = u.opened_seq OFFSET 0
         ) o ON TRUE",
        [accounts, numbers],
    );
    vec![named.into_part(take_complaints), owners.into_part(take_owners)]
}

/// Complaints that keys of commands opened before.
pub(super) fn keyed_parts(asked: &BTreeSet<(AccountId, [u8; 32])>) -> Vec<ReadPart<States>> {
    let accounts: Vec<Uuid> = asked.iter().map(|(account_id, _)| account_id.0).collect();
    let keys: Vec<Vec<u8>> = asked.iter().map(|(_, key)| key.to_vec()).collect();
    let (same_accounts, same_keys) = (accounts.clone(), keys.clone());
    let opened = selection!(
        "complaints",
        ComplaintRow,
        "SELECT c.account_id, c.opened_seq, c.program_id, c.category_id, c.priority, c.channel, c.value_class_id, c.state, c.received_at,
             c.clock_started_at, c.policy_version, c.acknowledged_at, c.answered_at, c.paused_from, c.paused_until,
             c.acknowledge_by, c.answer_by, c.resolve_by, c.extended, c.late_since, c.missed, c.escalated, c.remedy,
             c.remedy_value, c.offered_at, c.resolved_at, c.outcome, c.handling_score, c.reopened, c.steps, c.ended_at
         FROM unnest($1::uuid[], $2::bytea[]) AS u (account_id, key_hash)
         JOIN LATERAL (
             SELECT * FROM ledger_entries f WHERE f.account_id = u.account_id AND f.key_hash = u.key_hash OFFSET 0
         ) e ON TRUE
         JOIN complaints c ON c.account_id = e.account_id AND c.opened_seq = e.account_seq",
        [same_accounts, same_keys],
    );
    let owners = selection!(
        "complaint_owners",
        OwnerRow,
        "SELECT o.account_id, o.opened_seq, o.owner
         FROM unnest($1::uuid[], $2::bytea[]) AS u (account_id, key_hash)
         JOIN LATERAL (
             SELECT * FROM ledger_entries f WHERE f.account_id = u.account_id AND f.key_hash = u.key_hash OFFSET 0
         ) e ON TRUE
         JOIN complaint_owners o ON o.account_id = e.account_id AND o.opened_seq = e.account_seq",
        [accounts, keys],
    );
    vec![opened.into_part(take_complaints), owners.into_part(take_owners)]
}

fn take_owners(states: &mut States, rows: Vec<OwnerRow>) -> Result<(), StoreError> {
    let state: &mut ComplaintsState = states.get_mut()?;
    state.owners.extend(rows.into_iter().map(|row| ((AccountId(row.account_id), row.opened_seq), row.owner)));
    Ok(())
}

/// What is wrong with a row of a complaint.
fn damaged(account_id: Uuid, opened: i64, error: &str) -> Defect {
    Defect::new(format!("complaint {opened} of account {account_id}: {error}"))
}
