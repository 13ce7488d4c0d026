//! Complaints on the wire.

use jiff::Timestamp;
use jiff::civil::Date;

use crate::access::grpc::Admitted;
use crate::book::{ComplaintDeadline, ComplaintOutcome, ComplaintState, RemedyKind};
use crate::complaints::commands::Stands;
use crate::complaints::goodwill::state::Given;
use crate::complaints::model::Complaint;
use crate::complaints::reading::{Listed, Taken};
use crate::complaints::tally::{Handled, Tally, mean};
use crate::complaints::{FoundComplaint, WrittenGoodwill};
use crate::ids::{AccountId, CustomerId, EntryId};
use crate::money::{Currency, Money};
use crate::programs::complaints::grpc::write_priority;
use crate::proto;
use crate::proto::fields::{write_day, write_instant, write_money};

/// Who reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Audience {
    /// The customer, who is told what they were told before.
    Customer,
    /// Whoever deals with it.
    Staff,
}

impl Audience {
    pub(super) fn of(caller: &Admitted) -> Self {
        if caller.is_customer() { Self::Customer } else { Self::Staff }
    }
}

pub(super) fn write_stands(
    stands: &Stands,
    customer_id: &CustomerId,
    currency: Currency,
    audience: Audience,
) -> proto::Complaint {
    let Stands { complaint_id, complaint, owner } = stands;
    with_owner(write_complaint(complaint, *complaint_id, customer_id, currency), owner, audience)
}

pub(super) fn write_listed(
    listed: &Listed,
    customer_id: &CustomerId,
    currency: Currency,
    audience: Audience,
) -> proto::Complaint {
    let Listed { complaint_id, complaint, owner, text } = listed;
    let written = write_complaint(complaint, *complaint_id, customer_id, currency);
    proto::Complaint { text: text.clone(), ..with_owner(written, owner, audience) }
}

pub(super) fn write_found(
    found: &FoundComplaint,
    customer_id: &CustomerId,
    complaint_id: EntryId,
    audience: Audience,
) -> proto::Complaint {
    let FoundComplaint { complaint, owner, steps, given, currency } = found;
    let written = write_complaint(complaint, complaint_id, customer_id, *currency);
    proto::Complaint {
        text: steps.first().map(|opened| opened.text.clone()).unwrap_or_default(),
        steps: steps.iter().map(|step| write_step(step, audience)).collect(),
        goodwill: given.iter().map(|it| write_noted(complaint_id.account_id, it, audience)).collect(),
        ..with_owner(written, owner, audience)
    }
}

fn with_owner(complaint: proto::Complaint, owner: &str, audience: Audience) -> proto::Complaint {
    match audience {
        Audience::Customer => complaint,
        Audience::Staff => proto::Complaint { owner: owner.to_owned(), ..complaint },
    }
}

/// A complaint, without its words and steps.
fn write_complaint(
    complaint: &Complaint,
    complaint_id: EntryId,
    customer_id: &CustomerId,
    currency: Currency,
) -> proto::Complaint {
    let at = |at: Option<Timestamp>| at.map(write_instant);
    let remedy = complaint.remedy.map(|(kind, value, offered_at)| proto::Remedy {
        kind: write_remedy(kind).into(),
        value: value.map(|minor| write_money(Money { currency, minor })),
        offered_at: Some(write_instant(offered_at)),
    });
    let outcome =
        complaint.resolved.map_or(proto::ComplaintOutcome::Unspecified, |(_, outcome)| write_outcome(outcome));
    proto::Complaint {
        complaint_id: complaint_id.to_string(),
        customer_id: customer_id.to_string(),
        category_id: complaint.category_id.as_ref().map(ToString::to_string).unwrap_or_default(),
        priority: write_priority(complaint.priority).into(),
        state: write_state(complaint.state).into(),
        owner: String::new(),
        received_at: Some(write_instant(complaint.received_at)),
        clock_started_at: Some(write_instant(complaint.clock_started_at)),
        policy_version: complaint.policy_version,
        acknowledged_at: at(complaint.acknowledged_at),
        answered_at: at(complaint.answered_at),
        waiting_since: at(complaint.waiting_since()),
        acknowledge_by: at(complaint.deadlines.acknowledge_by),
        answer_by: at(complaint.deadlines.answer_by),
        resolve_by: at(complaint.deadlines.resolve_by),
        extended: complaint.extended,
        late_since: at(complaint.late_since),
        missed: complaint.missed.iter().map(|missed| write_deadline(*missed).into()).collect(),
        remedy,
        resolved_at: at(complaint.resolved.map(|(resolved_at, _)| resolved_at)),
        outcome: outcome.into(),
        handling_score: complaint.handling_score.map(Into::into),
        reopened: complaint.reopened,
        text: String::new(),
        steps: Vec::new(),
        goodwill: Vec::new(),
    }
}

/// The customer is not told why.
fn write_noted(
    account_id: AccountId,
    (account_seq, given, note): &(i64, Given, String),
    audience: Audience,
) -> proto::Goodwill {
    let note = if audience == Audience::Staff { note.clone() } else { String::new() };
    proto::Goodwill { note, ..write_goodwill(account_id, *account_seq, given) }
}

fn write_goodwill(account_id: AccountId, account_seq: i64, given: &Given) -> proto::Goodwill {
    proto::Goodwill {
        goodwill_id: EntryId { account_id, account_seq }.to_string(),
        given_at: Some(write_instant(given.given_at)),
        value: given.value,
        benefit_id: given.benefit_id.as_ref().map(ToString::to_string).unwrap_or_default(),
        note: String::new(),
    }
}

pub(super) fn write_goodwill_grant(written: &WrittenGoodwill) -> proto::GrantGoodwillResponse {
    let WrittenGoodwill { goodwill_id, given, effect, left, replayed } = written;
    let (id, is_benefit) = (effect.id.to_string(), given.benefit_id.is_some());
    let (reward_id, entitlement_id) = if is_benefit { (String::new(), id) } else { (id, String::new()) };
    proto::GrantGoodwillResponse {
        goodwill: Some(write_goodwill(goodwill_id.account_id, goodwill_id.account_seq, given)),
        reward_id,
        entitlement_id,
        left: *left,
        replayed: *replayed,
    }
}

fn write_step(step: &Taken, audience: Audience) -> proto::ComplaintStep {
    let is_shown = audience == Audience::Staff || step.is_told;
    proto::ComplaintStep {
        entry_id: step.entry_id.map(|entry_id| entry_id.to_string()).unwrap_or_default(),
        kind: write_kind(step.kind).into(),
        taken_at: Some(write_instant(step.taken_at)),
        state: write_state(step.state).into(),
        missed: step.missed.map_or(proto::ComplaintDeadline::Unspecified, write_deadline).into(),
        text: if is_shown { step.text.clone() } else { String::new() },
    }
}

/// A kind by the word that is stored.
fn write_kind(word: &str) -> proto::ComplaintStepKind {
    let name = word.strip_prefix("complaint_").unwrap_or(word).to_uppercase();
    let kind = proto::ComplaintStepKind::from_str_name(&format!("COMPLAINT_STEP_KIND_{name}"));
    kind.unwrap_or(proto::ComplaintStepKind::Unspecified)
}

const fn write_state(state: ComplaintState) -> proto::ComplaintState {
    match state {
        ComplaintState::Received => proto::ComplaintState::Received,
        ComplaintState::Acknowledged => proto::ComplaintState::Acknowledged,
        ComplaintState::Waiting => proto::ComplaintState::Waiting,
        ComplaintState::Escalated => proto::ComplaintState::Escalated,
        ComplaintState::Offered => proto::ComplaintState::Offered,
        ComplaintState::Resolved => proto::ComplaintState::Resolved,
    }
}

const fn write_outcome(outcome: ComplaintOutcome) -> proto::ComplaintOutcome {
    match outcome {
        ComplaintOutcome::Upheld => proto::ComplaintOutcome::Upheld,
        ComplaintOutcome::PartlyUpheld => proto::ComplaintOutcome::PartlyUpheld,
        ComplaintOutcome::Rejected => proto::ComplaintOutcome::Rejected,
        ComplaintOutcome::Withdrawn => proto::ComplaintOutcome::Withdrawn,
    }
}

const fn write_deadline(deadline: ComplaintDeadline) -> proto::ComplaintDeadline {
    match deadline {
        ComplaintDeadline::Acknowledgement => proto::ComplaintDeadline::Acknowledgement,
        ComplaintDeadline::Answer => proto::ComplaintDeadline::Answer,
        ComplaintDeadline::Resolution => proto::ComplaintDeadline::Resolution,
    }
}

const fn write_remedy(remedy: RemedyKind) -> proto::RemedyKind {
    match remedy {
        RemedyKind::Apology => proto::RemedyKind::Apology,
        RemedyKind::Repair => proto::RemedyKind::Repair,
        RemedyKind::Replacement => proto::RemedyKind::Replacement,
        RemedyKind::Refund => proto::RemedyKind::Refund,
        RemedyKind::Points => proto::RemedyKind::Points,
        RemedyKind::Benefit => proto::RemedyKind::Benefit,
        RemedyKind::Other => proto::RemedyKind::Other,
    }
}

pub(super) fn write_metrics((from, until): (Date, Date), tally: &Tally) -> proto::ComplaintMetrics {
    let handled = |it: Handled| {
        Some(proto::HandlingTime {
            complaints: it.complaints,
            mean_minutes: mean(it.minutes, it.complaints),
            in_time: it.in_time,
        })
    };
    proto::ComplaintMetrics {
        from: Some(write_day(from)),
        until: Some(write_day(until)),
        opened: tally.opened,
        reopened: tally.reopened,
        acknowledged: handled(tally.acknowledged),
        answered: handled(tally.answered),
        resolved: handled(tally.resolved),
        upheld: tally.upheld,
        partly_upheld: tally.partly_upheld,
        rejected: tally.rejected,
        withdrawn: tally.withdrawn,
        missed_acknowledgements: tally.missed_acknowledgements,
        missed_answers: tally.missed_answers,
        missed_resolutions: tally.missed_resolutions,
        escalated_by_hand: tally.escalated_by_hand,
        scored: tally.scored,
        mean_score: mean(tally.score_sum, tally.scored),
    }
}
