//! The commands of complaints: opening one, and every further step.

use jiff::Timestamp;

use super::model::{Clock, Complaint, MAX_OPEN, MAX_STEPS, category_not_found, complaint_not_found, refuse_state};
use super::state::ComplaintsState;
use crate::book::{
    Actor, Asking, Command, CommandKey, ComplaintChange, ComplaintDeadline, ComplaintDetail, ComplaintOutcome,
    ComplaintPriority, ComplaintState, Deadlines, Decision, DecisionError, Defect, Detail, Entry, EntryReason,
    FeedbackChannel, NewEntry, RemedyKind, Told,
};
use crate::error::{Reason, Refusal};
use crate::ids::{AccountId, ComplaintCategoryId, EntryId, IdempotencyKey, ValueClassId};
use crate::lifecycle::follow;
use crate::lifecycle::state::LifecycleState;
use crate::money::Money;
use crate::points::state::{Note, PointsState};
use crate::points::subject::{Subject, about_a_customer, keep_note, key_of};
use crate::programs::model::ProgramVersion;
use crate::programs::state::ProgramsState;
use crate::value::classes::state::ClassesState;

/// Opens a complaint. The fields are described in complaints.proto.
#[derive(Clone, Debug)]
pub(crate) struct OpenComplaint {
    pub subject: Subject,
    pub category_id: Option<ComplaintCategoryId>,
    pub priority: ComplaintPriority,
    pub channel: Option<FeedbackChannel>,
    pub received_at: Option<Timestamp>,
    pub owner: String,
    pub text: String,
    pub key: IdempotencyKey,
}

/// Takes a step of a complaint.
#[derive(Clone, Debug)]
pub(crate) struct StepComplaint {
    pub subject: Subject,
    pub complaint_id: EntryId,
    pub step: Step,
    pub text: String,
    pub key: IdempotencyKey,
}

/// A step of a complaint, as it is asked for.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Acknowledge,
    Update(Box<Update>),
    Offer { remedy: RemedyKind, value: Option<Money> },
    Resolve { outcome: ComplaintOutcome, handling_score: Option<i16> },
    Reopen,
}

/// What is to change about a complaint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Update {
    pub change: ComplaintChange,
    /// Who deals with it from now on; nobody, if it is empty.
    pub owner: Option<String>,
    pub escalated: bool,
}

/// A complaint as a command leaves it.
#[derive(Clone, Debug)]
pub(crate) struct Stands {
    pub complaint_id: EntryId,
    pub complaint: Complaint,
    pub owner: String,
}

fn tell(decision: &Decision<'_>, complaint_id: EntryId) -> Result<Option<Told>, DecisionError> {
    let state: &ComplaintsState = decision.state()?;
    let key = (complaint_id.account_id, complaint_id.account_seq);
    let missing = || Defect::new(format!("complaint {complaint_id} is not loaded"));
    let mut complaint = state.get(key.0, key.1).ok_or_else(missing)?.clone();
    // What is late already is told as late, whether that is written yet or not.
    complaint.pass_time(key.1, decision.at());
    Ok(Some(Box::new(Stands { complaint_id, complaint, owner: state.owner(key.0, key.1).to_owned() })))
}

fn by_caller(detail: ComplaintDetail, policy_version: i32, causes: Vec<EntryId>) -> NewEntry {
    NewEntry {
        detail: detail.into(),
        movement: None,
        actor: Actor::Caller,
        reason: EntryReason::Complaint,
        policy_version,
        causes,
    }
}

fn require_room(state: &ComplaintsState, account_id: AccountId) -> Result<(), Refusal> {
    if state.open(account_id).count() < MAX_OPEN {
        return Ok(());
    }
    let message = format!("the customer has {MAX_OPEN} complaints that are not resolved");
    Err(Refusal::new(Reason::TooManyComplaints, message).with("maximum", MAX_OPEN))
}

fn keep_words(decision: &mut Decision<'_>, entry_id: EntryId, text: &str) {
    keep_note(decision, entry_id, &Note { text: text.to_owned(), author: String::new() });
}

impl Command for OpenComplaint {
    about_a_customer!(ProgramsState, PointsState, ComplaintsState, LifecycleState, ClassesState);

    fn key(&self) -> Option<CommandKey> {
        let category_id = self.category_id.as_ref().map(ComplaintCategoryId::as_str);
        let received_at = self.received_at.map(Timestamp::as_microsecond);
        let said = (&self.owner, &self.text);
        Some(key_of(&self.key, &("open_complaint", category_id, self.priority, self.channel, received_at, said)))
    }

    fn ask(&self, asking: &mut Asking<'_>) -> Result<(), Defect> {
        if let Some(account_id) = asking.find(&self.subject.name()) {
            let state = asking.state::<ComplaintsState>()?;
            state.ask(account_id, None);
            // A repetition tells the complaint as it is, resolved or not.
            if let Some(CommandKey { key, .. }) = self.key() {
                state.ask_opened_by(account_id, key.hash);
            }
        }
        Ok(())
    }

    fn decide(&self, decision: &mut Decision<'_>) -> Result<(), DecisionError> {
        let (policy, account) = self.subject.begin(decision)?;
        let account_id = account.account_id;
        let at = account.time_at(decision.at());
        let received_at = self.received_at.unwrap_or(at);
        if self.received_at.is_some() && crate::clock::is_in_future(received_at, decision.now()) {
            let now = decision.now();
            let message = format!("received_at {received_at} lies in the future; it is {now} now");
            let refusal = Refusal::new(Reason::InstantInFuture, message).with("received_at", received_at);
            return Err(refusal.with("now", now).into());
        }
        if let Some(category_id) = &self.category_id
            && !policy.program.complaints.has_category(category_id)
        {
            return Err(category_not_found(category_id).into());
        }
        require_room(decision.state()?, account_id)?;
        let (category_id, priority, channel) = (self.category_id.clone(), self.priority, self.channel);
        let deadlines = Deadlines::default();
        let value_class_id = decision.state::<ClassesState>()?.class(account_id).cloned();
        let mut detail =
            ComplaintDetail::ComplaintOpened { category_id, priority, channel, value_class_id, received_at, deadlines };
        if let Some(opened) = Complaint::opened(&policy.program.program_id, policy.version, &detail)
            && let ComplaintDetail::ComplaintOpened { deadlines, .. } = &mut detail
        {
            *deadlines = Clock::of(&policy.program)?.deadlines(&opened, at)?;
        }
        let entry_id = decision.post(account_id, by_caller(detail, policy.version, Vec::new()))?;
        keep_words(decision, entry_id, &self.text);
        let owner = self.owner.clone();
        decision.keep(move |state: &mut ComplaintsState| state.set_owner(entry_id, owner));
        follow(decision, &policy)
    }

    fn tell(&self, decision: &Decision<'_>, entries: &[Entry]) -> Result<Option<Told>, DecisionError> {
        let is_opened =
            |entry: &&Entry| matches!(entry.detail, Detail::Complaint(ComplaintDetail::ComplaintOpened { .. }));
        match entries.iter().find(is_opened) {
            Some(opened) => tell(decision, opened.id),
            None => Ok(None),
        }
    }
}

impl StepComplaint {
    /// The entries that the step writes, each without where the complaint stands then.
    fn details(
        &self,
        complaint: &Complaint,
        policy: &ProgramVersion,
        clock: &Clock<'_>,
        (at, value_class): (Timestamp, Option<&ValueClassId>),
    ) -> Result<Vec<ComplaintDetail>, DecisionError> {
        let number = self.complaint_id.account_seq;
        let (state, deadlines) = (ComplaintState::Received, Deadlines::default());
        let took = || clock.minutes_taken(complaint, at);
        let first_answer = || if complaint.answered_at.is_none() { took().map(Some) } else { Ok(None) };
        if complaint.resolved.is_some() && !self.fits_resolved() {
            return Err(refuse_state(complaint, "it takes no such step any more").into());
        }
        Ok(match &self.step {
            Step::Acknowledge => {
                if complaint.acknowledged_at.is_some() {
                    return Err(refuse_state(complaint, "the customer was told before that it was received").into());
                }
                let took = took()?;
                vec![ComplaintDetail::ComplaintAcknowledged { complaint: number, state, took, deadlines }]
            }
            Step::Update(update) => {
                let Update { change, escalated, owner: _ } = &**update;
                self.check_change(change, complaint, clock)?;
                let took = if change.answered { first_answer()? } else { None };
                let change = ComplaintChange { took, ..change.clone() };
                let mut details = Vec::new();
                // What is noted, be it of an owner alone, is a step; an escalation is another one.
                if change != ComplaintChange::default() || !*escalated {
                    details.push(ComplaintDetail::ComplaintUpdated { complaint: number, state, change, deadlines });
                }
                if *escalated {
                    let missed = None;
                    details.push(ComplaintDetail::ComplaintEscalated { complaint: number, state, missed, deadlines });
                }
                details
            }
            Step::Offer { remedy, value } => {
                if let Some(value) = value {
                    policy.program.require_currency(value.currency)?;
                }
                let (value, took) = (value.map(|value| value.minor), first_answer()?);
                let remedy = *remedy;
                vec![ComplaintDetail::RemedyOffered { complaint: number, state, remedy, value, took, deadlines }]
            }
            Step::Resolve { outcome, handling_score } => {
                let (outcome, handling_score, took) = (*outcome, *handling_score, took()?);
                vec![ComplaintDetail::ComplaintResolved { complaint: number, outcome, handling_score, took }]
            }
            Step::Reopen => {
                if complaint.resolved.is_none() {
                    return Err(refuse_state(complaint, "it is not resolved").into());
                }
                let value_class_id = value_class.cloned();
                vec![ComplaintDetail::ComplaintReopened { complaint: number, value_class_id, deadlines }]
            }
        })
    }

    /// Whether the step can be taken of a complaint that is resolved.
    fn fits_resolved(&self) -> bool {
        match &self.step {
            Step::Reopen => true,
            Step::Update(update) => {
                let ComplaintChange { handling_score: _, ref category_id, priority, answered, took, waiting, extended } =
                    update.change;
                let is_rest = category_id.is_none() && priority.is_none() && !answered && took.is_none();
                is_rest && waiting.is_none() && !extended && !update.escalated
            }
            Step::Acknowledge | Step::Offer { .. } | Step::Resolve { .. } => false,
        }
    }

    /// Refuses a change that does not fit where the complaint stands.
    fn check_change(
        &self,
        change: &ComplaintChange,
        complaint: &Complaint,
        clock: &Clock<'_>,
    ) -> Result<(), DecisionError> {
        if change.handling_score.is_some() && complaint.resolved.is_none() {
            return Err(refuse_state(complaint, "its handling is scored once it is resolved").into());
        }
        if change.handling_score.is_some() && complaint.handling_score.is_some() {
            return Err(refuse_state(complaint, "its handling was scored before").into());
        }
        if let Some(category_id) = &change.category_id
            && !clock.has_category(category_id)
        {
            return Err(category_not_found(category_id).into());
        }
        match change.waiting {
            Some(true) if complaint.is_waiting() => Err(refuse_state(complaint, "one waits already").into()),
            Some(false) if !complaint.is_waiting() => Err(refuse_state(complaint, "one does not wait").into()),
            Some(_) | None if change.extended && complaint.extended => {
                Err(refuse_state(complaint, "it was given more time before").into())
            }
            Some(_) | None if change.extended && complaint.missed.contains(&ComplaintDeadline::Resolution) => {
                Err(refuse_state(complaint, "it was not resolved in time, so more time is too late").into())
            }
            Some(_) | None if change.extended => {
                let mut changed = complaint.clone();
                changed.category_id = change.category_id.clone().or(changed.category_id);
                changed.priority = change.priority.unwrap_or(changed.priority);
                if clock.can_extend(&changed) {
                    return Ok(());
                }
                Err(refuse_state(complaint, "the program gives no more time").into())
            }
            Some(_) | None => Ok(()),
        }
    }

    fn name(&self) -> &'static str {
        match self.step {
            Step::Acknowledge => "acknowledge_complaint",
            Step::Update(_) => "update_complaint",
            Step::Offer { .. } => "offer_remedy",
            Step::Resolve { .. } => "resolve_complaint",
            Step::Reopen => "reopen_complaint",
        }
    }
}

impl Command for StepComplaint {
    about_a_customer!(ProgramsState, PointsState, ComplaintsState, LifecycleState, ClassesState);

    fn key(&self) -> Option<CommandKey> {
        let content = match &self.step {
            Step::Acknowledge | Step::Reopen => serde_json::Value::Null,
            Step::Update(update) => serde_json::json!([update.change, update.owner, update.escalated]),
            Step::Offer { remedy, value } => {
                serde_json::json!([remedy, value.map(|value| (value.currency.code(), value.minor))])
            }
            Step::Resolve { outcome, handling_score } => serde_json::json!([outcome, handling_score]),
        };
        let named = (self.name(), self.complaint_id.to_string(), &self.text);
        Some(key_of(&self.key, &(named, content.to_string())))
    }

    fn ask(&self, asking: &mut Asking<'_>) -> Result<(), Defect> {
        if let Some((account_id, number)) = self.subject.own(asking, self.complaint_id) {
            asking.state::<ComplaintsState>()?.ask(account_id, Some(number));
        }
        Ok(())
    }

    fn decide(&self, decision: &mut Decision<'_>) -> Result<(), DecisionError> {
        let (current, account) = self.subject.begin(decision)?;
        let (account_id, at) = (account.account_id, account.time_at(decision.at()));
        let state: &ComplaintsState = decision.state()?;
        let own = Some(self.complaint_id).filter(|own| own.account_id == account_id);
        let complaint = own.and_then(|own| state.get(account_id, own.account_seq));
        let complaint = complaint.ok_or_else(|| complaint_not_found(self.complaint_id))?;
        let is_reopened = matches!(self.step, Step::Reopen);
        if complaint.steps >= MAX_STEPS && !matches!(self.step, Step::Resolve { .. }) {
            let message = format!("the complaint has {MAX_STEPS} steps: it can only be resolved");
            return Err(Refusal::new(Reason::TooManyComplaintSteps, message).with("maximum", MAX_STEPS).into());
        }
        // What a clock was started by decides, until another one starts.
        let version = if is_reopened { None } else { Some(complaint.policy_version) };
        let policy = match version.filter(|version| *version != current.version) {
            Some(version) => {
                let found = state.version(&self.subject.program_id, version);
                found.ok_or_else(|| Defect::new(format!("version {version} of a complaint is not loaded")))?
            }
            None => current,
        };
        let clock = Clock::of(&policy.program)?;
        let mut before = complaint.clone();
        let value_class = decision.state::<ClassesState>()?.class(account_id);
        let details = self.details(complaint, &policy, &clock, (at, value_class))?;
        if is_reopened {
            require_room(state, account_id)?;
        }
        for detail in details {
            let detail = clock.complete(&before, at, policy.version, detail)?;
            before.take(at, policy.version, &detail);
            let entry_id = decision.post(account_id, by_caller(detail, policy.version, vec![self.complaint_id]))?;
            // What is said is said once.
            if before.steps == complaint.steps.saturating_add(1) {
                keep_words(decision, entry_id, &self.text);
            }
        }
        if let Step::Update(update) = &self.step
            && let Some(owner) = update.owner.clone()
        {
            let complaint_id = self.complaint_id;
            decision.keep(move |state: &mut ComplaintsState| state.set_owner(complaint_id, owner));
        }
        let (current, _) = self.subject.begin(decision)?;
        follow(decision, &current)
    }

    fn tell(&self, decision: &Decision<'_>, _entries: &[Entry]) -> Result<Option<Told>, DecisionError> {
        tell(decision, self.complaint_id)
    }
}
