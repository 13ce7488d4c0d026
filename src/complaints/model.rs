//! A complaint, what its steps make of it, and how its deadlines are counted. It is pure.

use business_time::{Allowance, BusinessCalendar, Pause, Pauses, due_at, running_business_time_between};
use jiff::Timestamp;

use crate::book::{
    ComplaintChange, ComplaintDeadline, ComplaintDetail, ComplaintOutcome, ComplaintPriority, ComplaintState,
    Deadlines, Defect, FeedbackChannel, RemedyKind,
};
use crate::error::{Reason, Refusal};
use crate::ids::{ComplaintCategoryId, EntryId, ProgramId, ValueClassId};
use crate::programs::complaints::{AllowedTime, DeadlineRule};
use crate::programs::model::Program;

/// How many complaints of a customer may be open at a time.
pub(crate) const MAX_OPEN: usize = 100;
/// How many steps a complaint may have before it can only be resolved.
pub(crate) const MAX_STEPS: i32 = 200;

/// A complaint as its steps have made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Complaint {
    pub program_id: ProgramId,
    pub category_id: Option<ComplaintCategoryId>,
    pub priority: ComplaintPriority,
    pub channel: Option<FeedbackChannel>,
    /// The value class of its customer as its clock started.
    pub value_class_id: Option<ValueClassId>,
    pub state: ComplaintState,
    pub received_at: Timestamp,
    /// Since when its deadlines are counted, and by which version of the program.
    pub clock_started_at: Timestamp,
    pub policy_version: i32,
    pub acknowledged_at: Option<Timestamp>,
    pub answered_at: Option<Timestamp>,
    /// In which times the clock stood since then: the last may have no end yet.
    pub pauses: Vec<(Timestamp, Option<Timestamp>)>,
    pub deadlines: Deadlines,
    pub extended: bool,
    /// The first deadline that it missed since the clock started, and all of them in that order.
    pub late_since: Option<Timestamp>,
    pub missed: Vec<ComplaintDeadline>,
    pub escalated: bool,
    /// What was offered last, what it is worth, and when that was.
    pub remedy: Option<(RemedyKind, Option<i64>, Timestamp)>,
    pub resolved: Option<(Timestamp, ComplaintOutcome)>,
    pub handling_score: Option<i16>,
    pub reopened: i32,
    pub steps: i32,
    /// When its customer was erased.
    pub ended_at: Option<Timestamp>,
}

impl Complaint {
    /// A complaint as an entry opens it; none, if the entry opens none.
    pub(crate) fn opened(program_id: &ProgramId, policy_version: i32, detail: &ComplaintDetail) -> Option<Self> {
        let ComplaintDetail::ComplaintOpened { category_id, priority, channel, value_class_id, received_at, deadlines } =
            detail
        else {
            return None;
        };
        let begun = Self::begun(program_id, *received_at, policy_version, *deadlines);
        let (category_id, value_class_id) = (category_id.clone(), value_class_id.clone());
        Some(Self { category_id, priority: *priority, channel: *channel, value_class_id, ..begun })
    }

    /// A complaint whose clock starts, of which nothing else is known.
    fn begun(program_id: &ProgramId, at: Timestamp, policy_version: i32, deadlines: Deadlines) -> Self {
        Self {
            program_id: program_id.clone(),
            category_id: None,
            priority: ComplaintPriority::Normal,
            channel: None,
            value_class_id: None,
            state: ComplaintState::Received,
            received_at: at,
            clock_started_at: at,
            policy_version,
            acknowledged_at: None,
            answered_at: None,
            pauses: Vec::new(),
            deadlines,
            extended: false,
            late_since: None,
            missed: Vec::new(),
            escalated: false,
            remedy: None,
            resolved: None,
            handling_score: None,
            reopened: 0,
            steps: 1,
            ended_at: None,
        }
    }

    /// Takes a step that an entry tells, at its instant and by its version of the program.
    pub(crate) fn take(&mut self, at: Timestamp, policy_version: i32, detail: &ComplaintDetail) {
        self.steps = self.steps.saturating_add(1);
        match detail {
            // It is none of a complaint that is there.
            ComplaintDetail::ComplaintOpened { .. } => {}
            ComplaintDetail::ComplaintAcknowledged { state, deadlines, .. } => {
                self.acknowledged_at = Some(at);
                (self.state, self.deadlines) = (*state, *deadlines);
            }
            ComplaintDetail::ComplaintUpdated { state, change, deadlines, .. } => {
                self.change(at, change);
                (self.state, self.deadlines) = (*state, *deadlines);
            }
            ComplaintDetail::ComplaintEscalated { state, missed, deadlines, .. } => {
                self.escalated = true;
                if let Some(missed) = missed {
                    self.late_since.get_or_insert(at);
                    self.missed.push(*missed);
                }
                (self.state, self.deadlines) = (*state, *deadlines);
            }
            ComplaintDetail::RemedyOffered { state, remedy, value, deadlines, .. } => {
                self.answered_at.get_or_insert(at);
                self.remedy = Some((*remedy, *value, at));
                self.escalated = false;
                (self.state, self.deadlines) = (*state, *deadlines);
            }
            ComplaintDetail::ComplaintResolved { outcome, handling_score, .. } => {
                self.resolved = Some((at, *outcome));
                self.handling_score = *handling_score;
                self.end_pause(at);
                (self.state, self.deadlines) = (ComplaintState::Resolved, Deadlines::default());
            }
            ComplaintDetail::ComplaintReopened { deadlines, value_class_id, .. } => {
                *self = Self {
                    category_id: self.category_id.take(),
                    priority: self.priority,
                    channel: self.channel,
                    value_class_id: value_class_id.clone(),
                    received_at: self.received_at,
                    reopened: self.reopened.saturating_add(1),
                    steps: self.steps,
                    ..Self::begun(&self.program_id, at, policy_version, *deadlines)
                };
            }
        }
    }

    fn change(&mut self, at: Timestamp, change: &ComplaintChange) {
        let ComplaintChange { category_id, priority, answered, waiting, extended, handling_score, took: _ } = change;
        if let Some(category_id) = category_id {
            self.category_id = Some(category_id.clone());
        }
        self.priority = priority.unwrap_or(self.priority);
        if *answered {
            self.answered_at.get_or_insert(at);
        }
        match waiting {
            Some(true) => self.pauses.push((at, None)),
            Some(false) => self.end_pause(at),
            None => {}
        }
        self.extended |= extended;
        self.handling_score = handling_score.or(self.handling_score);
    }

    fn end_pause(&mut self, at: Timestamp) {
        if let Some((_, until @ None)) = self.pauses.last_mut() {
            *until = Some(at);
        }
    }

    /// Nobody deals with it any more: its customer is erased.
    pub(crate) fn end(&mut self, at: Timestamp) {
        if self.is_open() {
            self.ended_at = Some(at);
            self.deadlines = Deadlines::default();
        }
    }

    /// Whether somebody still has to deal with it.
    pub(crate) const fn is_open(&self) -> bool {
        self.resolved.is_none() && self.ended_at.is_none()
    }

    /// Whether one waits for the customer.
    pub(crate) fn is_waiting(&self) -> bool {
        self.waiting_since().is_some()
    }

    /// Since when one waits for the customer.
    pub(crate) fn waiting_since(&self) -> Option<Timestamp> {
        self.pauses.last().filter(|(_, until)| until.is_none()).map(|(from, _)| *from)
    }

    /// Where it stands, by all else.
    fn stands(&self) -> ComplaintState {
        if self.resolved.is_some() {
            ComplaintState::Resolved
        } else if self.is_waiting() {
            ComplaintState::Waiting
        } else if self.escalated {
            ComplaintState::Escalated
        } else if self.remedy.is_some() {
            ComplaintState::Offered
        } else if self.acknowledged_at.is_some() {
            ComplaintState::Acknowledged
        } else {
            ComplaintState::Received
        }
    }

    /// The deadline that it misses first, and when.
    pub(crate) fn next_due(&self) -> Option<(Timestamp, ComplaintDeadline)> {
        self.deadlines.next().filter(|_| self.is_open())
    }

    /// The step that is taken as it misses a deadline.
    pub(crate) fn miss(&self, complaint: i64, missed: ComplaintDeadline) -> ComplaintDetail {
        ComplaintDetail::ComplaintEscalated {
            complaint,
            state: ComplaintState::Escalated,
            missed: Some(missed),
            deadlines: self.deadlines.without(missed),
        }
    }

    /// Does what time has done to it by an instant. The steps are told.
    pub(crate) fn pass_time(&mut self, complaint: i64, until: Timestamp) -> Vec<(Timestamp, ComplaintDetail)> {
        let mut taken = Vec::new();
        while let Some((at, missed)) = self.next_due().filter(|(at, _)| *at <= until) {
            let step = self.miss(complaint, missed);
            self.take(at, self.policy_version, &step);
            taken.push((at, step));
        }
        taken
    }
}

/// How the deadlines of a complaint are counted, by a version of its program.
pub(crate) struct Clock<'a> {
    program: &'a Program,
    calendar: BusinessCalendar,
}

impl<'a> Clock<'a> {
    /// By a program.
    ///
    /// # Errors
    /// [`Defect`] if its hours make no calendar, which a document is checked for.
    pub(crate) fn of(program: &'a Program) -> Result<Self, Defect> {
        let calendar = program.complaints.calendar(&program.time_zone.0);
        let calendar =
            calendar.map_err(|error| Defect::new(format!("the hours of program {}: {error}", program.program_id)))?;
        Ok(Self { program, calendar })
    }

    fn rule(&self, complaint: &Complaint) -> Option<&'a DeadlineRule> {
        let (category_id, value_class) = (complaint.category_id.as_ref(), complaint.value_class_id.as_ref());
        self.program.complaints.rule_for(category_id, complaint.priority, value_class)
    }

    /// Whether the program has a category.
    pub(crate) fn has_category(&self, category_id: &ComplaintCategoryId) -> bool {
        self.program.complaints.has_category(category_id)
    }

    /// Whether a complaint can be given more time.
    pub(crate) fn can_extend(&self, complaint: &Complaint) -> bool {
        self.rule(complaint).is_some_and(|rule| rule.extended_resolution.is_some())
    }

    /// By when something has to be done about a complaint, as a step leaves it that is taken at an instant: nothing, while one
    /// waits for the customer, and never before the step, which nobody could have known.
    ///
    /// # Errors
    /// [`Defect`] if its pauses contradict each other.
    pub(crate) fn deadlines(&self, complaint: &Complaint, at: Timestamp) -> Result<Deadlines, Defect> {
        let runs = complaint.is_open() && !complaint.is_waiting();
        let Some(rule) = self.rule(complaint).filter(|_| runs) else { return Ok(Deadlines::default()) };
        let pauses = pauses_of(complaint)?;
        let by = |deadline: ComplaintDeadline, is_met: bool, allowed: Option<AllowedTime>| -> Option<Timestamp> {
            let allowance = allowed.and_then(AllowedTime::allowance)?;
            if is_met || complaint.missed.contains(&deadline) {
                return None;
            }
            Some(self.due(complaint, allowance, &pauses)?.max(at))
        };
        // Another category or priority may give no more time, but does not take away the deadline.
        let extended = rule.extended_resolution.filter(|_| complaint.extended);
        let resolution = extended.or(rule.resolution);
        Ok(Deadlines {
            acknowledge_by: by(
                ComplaintDeadline::Acknowledgement,
                complaint.acknowledged_at.is_some(),
                rule.acknowledgement,
            ),
            answer_by: by(ComplaintDeadline::Answer, complaint.answered_at.is_some(), rule.answer),
            resolve_by: by(ComplaintDeadline::Resolution, false, resolution),
        })
    }

    /// None, where the clock stands, or it would be beyond the calendar.
    fn due(&self, complaint: &Complaint, allowance: Allowance, pauses: &Pauses) -> Option<Timestamp> {
        due_at(complaint.clock_started_at, allowance, pauses, &self.calendar).ok().flatten()
    }

    /// For how long a complaint's clock has run by an instant, in whole minutes of business time.
    ///
    /// # Errors
    /// As [`deadlines`](Self::deadlines).
    pub(crate) fn minutes_taken(&self, complaint: &Complaint, at: Timestamp) -> Result<i64, Defect> {
        let pauses = pauses_of(complaint)?;
        let time = running_business_time_between(complaint.clock_started_at, at, &pauses, &self.calendar);
        Ok(time.as_mins().max(0))
    }

    /// A step with where the complaint stands from then on, and its deadlines.
    ///
    /// # Errors
    /// As [`deadlines`](Self::deadlines).
    pub(crate) fn complete(
        &self,
        complaint: &Complaint,
        at: Timestamp,
        version: i32,
        mut step: ComplaintDetail,
    ) -> Result<ComplaintDetail, Defect> {
        let mut after = complaint.clone();
        after.take(at, version, &step);
        let (stands, by) = (after.stands(), self.deadlines(&after, at)?);
        match &mut step {
            ComplaintDetail::ComplaintAcknowledged { state, deadlines, .. }
            | ComplaintDetail::ComplaintUpdated { state, deadlines, .. }
            | ComplaintDetail::ComplaintEscalated { state, deadlines, .. }
            | ComplaintDetail::RemedyOffered { state, deadlines, .. } => (*state, *deadlines) = (stands, by),
            ComplaintDetail::ComplaintReopened { deadlines, .. }
            | ComplaintDetail::ComplaintOpened { deadlines, .. } => *deadlines = by,
            ComplaintDetail::ComplaintResolved { .. } => {}
        }
        Ok(step)
    }
}

fn pauses_of(complaint: &Complaint) -> Result<Pauses, Defect> {
    // What was paused before a clock that started later is none of its time.
    let pauses = complaint.pauses.iter().map(|(from, until)| Pause { from: *from, until: *until });
    Pauses::new(pauses.collect()).map_err(|error| Defect::new(format!("the pauses of a complaint: {error}")))
}

/// The refusal of a complaint that the customer does not have.
pub(crate) fn complaint_not_found(complaint_id: EntryId) -> Refusal {
    let message = format!("the customer has no complaint {complaint_id}");
    Refusal::new(Reason::ComplaintNotFound, message).with("complaint_id", complaint_id)
}

/// The refusal of a category that a program does not have.
pub(crate) fn category_not_found(category_id: &ComplaintCategoryId) -> Refusal {
    let message = format!("the program has no category {category_id} of complaints");
    Refusal::new(Reason::ComplaintCategoryNotFound, message).with("category_id", category_id)
}

/// The refusal of a step that does not fit where a complaint stands.
pub(crate) fn refuse_state(complaint: &Complaint, why: &str) -> Refusal {
    let state = complaint.state.as_str();
    Refusal::new(Reason::ComplaintState, format!("the complaint is {state}: {why}")).with("state", state)
}
