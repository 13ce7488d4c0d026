//! The commands that undo an entry, and that change a balance by hand.

use jiff::Timestamp;

use super::model::{Reversal, reverse};
use crate::book::{
    Actor, Asking, Command, CommandKey, Decision, DecisionError, Defect, EntryReason, NewEntry, Pocket, PocketMove,
    PointsDetail,
};
use crate::error::{Reason, Refusal};
use crate::ids::{EntryId, IdempotencyKey};
use crate::points::amount::Points;
use crate::points::grants::model::{open_lot, require_ahead, terms_of};
use crate::points::spending::model::choose_lots;
use crate::points::state::{Note, PointsState};
use crate::points::subject::{Subject, about_a_customer, ask_points, keep_note, key_of};
use crate::programs::points::{Clawback, ExpiryRule, VestingRule};

/// Undoes an entry, whole or in part. The fields are described in rewards.proto.
#[derive(Clone, Debug)]
pub(crate) struct ReverseEntry {
    pub subject: Subject,
    pub entry_id: EntryId,
    pub points: Option<Points>,
    pub clawback: Option<Clawback>,
    pub expires_at: Option<Timestamp>,
    pub reason: EntryReason,
    pub note: Note,
    pub key: IdempotencyKey,
}

impl Command for ReverseEntry {
    about_a_customer!();

    fn key(&self) -> Option<CommandKey> {
        let (points, expires_at) = (self.points.map(Points::get), self.expires_at.map(Timestamp::as_microsecond));
        let said = (self.reason.as_str(), &self.note.text, &self.note.author);
        let content = ("reverse_entry", self.entry_id.to_string(), points, self.clawback, expires_at, said);
        Some(key_of(&self.key, &content))
    }

    fn ask(&self, asking: &mut Asking<'_>) -> Result<(), Defect> {
        if self.subject.own(asking, self.entry_id).is_some() {
            asking.state::<PointsState>()?.ask_entry(self.entry_id);
        }
        Ok(())
    }

    fn decide(&self, decision: &mut Decision<'_>) -> Result<(), DecisionError> {
        let (policy, account) = self.subject.begin(decision)?;
        let original = decision.state::<PointsState>()?.entry(self.entry_id);
        let original = original.filter(|_| self.entry_id.account_id == account.account_id).ok_or_else(|| {
            Refusal::new(Reason::EntryNotFound, format!("the customer has no entry {}", self.entry_id))
                .with("entry_id", self.entry_id)
        })?;
        let reversal = Reversal {
            points: self.points.map(Points::get),
            clawback: self.clawback.unwrap_or(policy.program.points.clawback),
            expires_at: self.expires_at,
            actor: Actor::Caller,
            reason: self.reason,
            causes: Vec::new(),
            slid_to: None,
        };
        let first = decision.next_entry_id(account.account_id)?;
        reverse(decision, &policy, account, original, &reversal)?;
        keep_note(decision, first, &self.note);
        Ok(())
    }
}

/// Changes a balance by hand. The fields are described in rewards.proto.
#[derive(Clone, Debug)]
pub(crate) struct AdjustPoints {
    pub subject: Subject,
    pub change: Change,
    pub reason: EntryReason,
    pub note: Note,
    pub key: IdempotencyKey,
}

/// Which way a balance is changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Up, as a new lot that expires by its own rule or the program's.
    Up(Points, Option<ExpiryRule>),
    /// Down, from the lots that a spend would take.
    Down(Points),
}

impl Command for AdjustPoints {
    about_a_customer!();

    fn key(&self) -> Option<CommandKey> {
        let said = (self.reason.as_str(), &self.note.text, &self.note.author);
        Some(match &self.change {
            Change::Up(points, expiry) => key_of(&self.key, &("adjust_up", points.get(), expiry, said)),
            Change::Down(points) => key_of(&self.key, &("adjust_down", points.get(), said)),
        })
    }

    fn ask(&self, asking: &mut Asking<'_>) -> Result<(), Defect> {
        match &self.change {
            Change::Up(..) => Ok(()),
            Change::Down(points) => ask_points(asking, &self.subject, points.get()),
        }
    }

    fn decide(&self, decision: &mut Decision<'_>) -> Result<(), DecisionError> {
        let (policy, account) = self.subject.begin(decision)?;
        let at = account.time_at(decision.at());
        let describe = |detail, from, to, points| NewEntry {
            detail,
            movement: Some(PocketMove { from, to, points }),
            actor: Actor::Caller,
            reason: self.reason,
            policy_version: policy.version,
            causes: Vec::new(),
        };
        let entry_id = match &self.change {
            Change::Up(points, expiry) => {
                if let Some(expires_at) = expiry.as_ref().and_then(ExpiryRule::given_instant) {
                    require_ahead("expires_at", expires_at, at)?;
                }
                let rule = expiry.as_ref().unwrap_or(&policy.program.points.expiry);
                let terms = terms_of(&VestingRule::Immediate, rule, at, &policy.program)?;
                let detail = PointsDetail::PointsAdjusted { terms: Some(terms.clone()), lots: Vec::new() }.into();
                let new_entry = describe(detail, Pocket::Issued, Pocket::Available, points.get());
                open_lot(decision, account.account_id, new_entry, &terms)?
            }
            Change::Down(points) => {
                let lots = choose_lots(decision, account, points.get())?;
                let detail = PointsDetail::PointsAdjusted { terms: None, lots }.into();
                decision
                    .post(account.account_id, describe(detail, Pocket::Available, Pocket::Cancelled, points.get()))?
            }
        };
        keep_note(decision, entry_id, &self.note);
        Ok(())
    }
}
