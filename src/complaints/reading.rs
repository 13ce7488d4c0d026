//! Complaints as they are read: of now, with what time has done to them, and as they were.

use jiff::Timestamp;

use super::model::Complaint;
use crate::book::{ComplaintDeadline, ComplaintDetail, ComplaintState, Detail, Entry};
use crate::ids::EntryId;

/// A complaint in a list.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    pub complaint_id: EntryId,
    pub complaint: Complaint,
    /// Who deals with it; empty, if nobody was named.
    pub owner: String,
    /// What it is about; empty, if nothing was said.
    pub text: String,
}

impl Listed {
    /// The place among those that press: when it missed a deadline or will.
    pub(crate) fn urgent_at(&self) -> Option<Timestamp> {
        self.complaint.late_since.or_else(|| self.complaint.next_due().map(|(at, _)| at))
    }

    /// The same with what time has done by an instant.
    pub(crate) fn at(mut self, now: Timestamp) -> Self {
        self.complaint.pass_time(self.complaint_id.account_seq, now);
        self
    }
}

/// A step as it was taken, or as time has taken it.
#[derive(Clone, Debug)]
pub(crate) struct Taken {
    /// The entry; none of what is not written yet.
    pub entry_id: Option<EntryId>,
    pub kind: &'static str,
    pub taken_at: Timestamp,
    /// Where the complaint stood from then on.
    pub state: ComplaintState,
    pub missed: Option<ComplaintDeadline>,
    /// What was said; may be empty.
    pub text: String,
    /// Whether the customer was told, or said it.
    pub is_told: bool,
}

/// A complaint as its steps made it, and what time has done by an instant; none, if they are none of a complaint.
pub(crate) fn fold(
    complaint_id: EntryId,
    steps: Vec<(Entry, String)>,
    at: Timestamp,
) -> Option<(Complaint, Vec<Taken>)> {
    let (mut complaint, mut taken): (Option<Complaint>, Vec<Taken>) = (None, Vec::new());
    for (entry, text) in steps {
        let Detail::Complaint(detail) = &entry.detail else { continue };
        match &mut complaint {
            Some(complaint) => complaint.take(entry.effective_at, entry.policy_version, detail),
            None => complaint = Complaint::opened(&entry.program_id, entry.policy_version, detail),
        }
        let state = complaint.as_ref()?.state;
        taken.push(Taken { entry_id: Some(entry.id), text, ..step(entry.effective_at, state, detail) });
    }
    let mut complaint = complaint?;
    for (taken_at, detail) in complaint.pass_time(complaint_id.account_seq, at) {
        taken.push(step(taken_at, ComplaintState::Escalated, &detail));
    }
    Some((complaint, taken))
}

fn step(taken_at: Timestamp, state: ComplaintState, detail: &ComplaintDetail) -> Taken {
    let missed = match detail {
        ComplaintDetail::ComplaintEscalated { missed, .. } => *missed,
        ComplaintDetail::ComplaintOpened { .. }
        | ComplaintDetail::ComplaintAcknowledged { .. }
        | ComplaintDetail::ComplaintUpdated { .. }
        | ComplaintDetail::RemedyOffered { .. }
        | ComplaintDetail::ComplaintResolved { .. }
        | ComplaintDetail::ComplaintReopened { .. } => None,
    };
    let is_told = match detail {
        ComplaintDetail::ComplaintUpdated { change, .. } => change.answered,
        ComplaintDetail::ComplaintEscalated { .. } => false,
        ComplaintDetail::ComplaintOpened { .. }
        | ComplaintDetail::ComplaintAcknowledged { .. }
        | ComplaintDetail::RemedyOffered { .. }
        | ComplaintDetail::ComplaintResolved { .. }
        | ComplaintDetail::ComplaintReopened { .. } => true,
    };
    Taken { entry_id: None, kind: detail.into(), taken_at, state, missed, text: String::new(), is_told }
}
