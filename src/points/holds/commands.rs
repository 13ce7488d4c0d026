//! The commands that set points aside, and that spend them or give them back.

use jiff::Timestamp;

use super::model::{GiveBack, hold_ended};
use crate::book::{
    Account, Actor, Asking, Command, CommandKey, Decision, DecisionError, Defect, EntryReason, LotPart, NewEntry,
    Pocket, PocketMove, PointsDetail,
};
use crate::error::{Reason, Refusal};
use crate::ids::{EntryId, IdempotencyKey};
use crate::points::amount::Points;
use crate::points::grants::model::require_ahead;
use crate::points::lots::Hold;
use crate::points::lots::parts::{first_points, sum, without};
use crate::points::spending::model::{check_limits, choose_lots};
use crate::points::state::{Note, PointsState};
use crate::points::subject::{Subject, about_a_customer, ask_points, keep_note, key_of};
use crate::programs::model::ProgramVersion;
use crate::programs::points::{DEFAULT_HOLD, Period};

/// When a hold ends by itself.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub(crate) enum HoldEnd {
    /// As the program says.
    ByProgram,
    /// A period after it was made.
    After(Period),
    /// At an instant.
    At(Timestamp),
}

/// Sets points aside for a spend. The fields are described in rewards.proto.
#[derive(Clone, Debug)]
pub(crate) struct HoldPoints {
    pub subject: Subject,
    pub points: Points,
    pub ends: HoldEnd,
    pub note: String,
    pub key: IdempotencyKey,
}

impl HoldPoints {
    fn ends_at(&self, policy: &ProgramVersion, at: Timestamp) -> Result<Timestamp, DecisionError> {
        let program = &policy.program;
        let after = |period: &Period| period.after(at, &program.time_zone.0);
        match (&self.ends, &program.points.hold_for) {
            (HoldEnd::At(instant), _) => {
                require_ahead("ends_at", *instant, at)?;
                Ok(*instant)
            }
            (HoldEnd::After(period), _) | (HoldEnd::ByProgram, Some(period)) => Ok(after(period)),
            (HoldEnd::ByProgram, None) => {
                let period = Period::parse(DEFAULT_HOLD).map_err(|error| {
                    Defect::new(format!("program {}: the default hold {DEFAULT_HOLD}: {error}", program.program_id))
                })?;
                Ok(after(&period))
            }
        }
    }
}

impl Command for HoldPoints {
    about_a_customer!();

    fn key(&self) -> Option<CommandKey> {
        Some(key_of(&self.key, &("hold_points", self.points.get(), &self.ends, &self.note)))
    }

    fn ask(&self, asking: &mut Asking<'_>) -> Result<(), Defect> {
        ask_points(asking, &self.subject, self.points.get())
    }

    fn decide(&self, decision: &mut Decision<'_>) -> Result<(), DecisionError> {
        let (policy, account) = self.subject.begin(decision)?;
        let points = self.points.get();
        check_limits(&policy.program.points.redemption, points)?;
        let ends_at = self.ends_at(&policy, account.time_at(decision.at()))?;
        let lots = choose_lots(decision, account, points)?;
        let new_entry = NewEntry {
            detail: PointsDetail::PointsHeld { lots, ends_at }.into(),
            movement: Some(PocketMove { from: Pocket::Available, to: Pocket::Held, points }),
            actor: Actor::Caller,
            reason: EntryReason::Hold,
            policy_version: policy.version,
            causes: Vec::new(),
        };
        let entry_id = decision.post(account.account_id, new_entry)?;
        keep_note(decision, entry_id, &Note { text: self.note.clone(), author: String::new() });
        Ok(())
    }
}

/// Spends held points, whole or in part, or gives them back; either way the hold ends.
/// The fields are described in rewards.proto.
#[derive(Clone, Debug)]
pub(crate) struct EndHold {
    pub subject: Subject,
    pub hold_id: EntryId,
    pub ending: Ending,
    pub key: IdempotencyKey,
}

/// How a hold is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub(crate) enum Ending {
    /// These points are spent, all if absent; the rest returns.
    Capture(Option<i64>),
    /// All of it returns.
    Release,
}

impl EndHold {
    fn open_hold<'a>(&self, decision: &Decision<'a>, account: &Account) -> Result<&'a Hold, DecisionError> {
        let refuse = |reason, message: String| Refusal::new(reason, message).with("hold_id", self.hold_id);
        let hold = decision.state::<PointsState>()?.lots().hold(account.account_id, self.hold_id.account_seq);
        let hold = hold.filter(|_| self.hold_id.account_id == account.account_id);
        let hold =
            hold.ok_or_else(|| refuse(Reason::HoldNotFound, format!("the customer has no hold {}", self.hold_id)))?;
        if hold.parts.is_empty() {
            let end = hold.ended_seq.and_then(|account_seq| {
                let end = EntryId { account_id: account.account_id, account_seq };
                decision.state::<PointsState>().ok()?.entry(end)
            });
            let unknown = || Defect::new(format!("hold {}: the entry that ended it was not read", self.hold_id));
            return Err(hold_ended(self.hold_id, end.ok_or_else(unknown)?).into());
        }
        Ok(hold)
    }

    fn capture(
        &self,
        decision: &mut Decision<'_>,
        policy: &ProgramVersion,
        account: &Account,
        lots: Vec<LotPart>,
    ) -> Result<(), DecisionError> {
        let points = sum(&lots);
        let new_entry = NewEntry {
            detail: PointsDetail::PointsRedeemed { lots, hold: Some(self.hold_id.account_seq) }.into(),
            movement: Some(PocketMove { from: Pocket::Held, to: Pocket::Redeemed, points }),
            actor: Actor::Caller,
            reason: EntryReason::Redemption,
            policy_version: policy.version,
            causes: vec![self.hold_id],
        };
        decision.post(account.account_id, new_entry)?;
        Ok(())
    }
}

impl Command for EndHold {
    about_a_customer!();

    fn key(&self) -> Option<CommandKey> {
        Some(key_of(&self.key, &("end_hold", self.hold_id.to_string(), self.ending)))
    }

    fn ask(&self, asking: &mut Asking<'_>) -> Result<(), Defect> {
        if let Some((account_id, hold)) = self.subject.own(asking, self.hold_id) {
            asking.state::<PointsState>()?.ask_hold(account_id, hold);
        }
        Ok(())
    }

    fn decide(&self, decision: &mut Decision<'_>) -> Result<(), DecisionError> {
        let (policy, account) = self.subject.begin(decision)?;
        let hold = self.open_hold(decision, account)?;
        let held = hold.remaining();
        let captured = match self.ending {
            Ending::Capture(points) => points.unwrap_or(held),
            Ending::Release => 0,
        };
        if captured > held {
            let message = format!("{captured} points are more than the {held} that are held");
            let refusal = Refusal::new(Reason::InsufficientPoints, message).with("requested", captured);
            return Err(refusal.with("available", held).into());
        }
        // Those that expire first are spent; what returns lasts longest.
        let spent = first_points(&hold.parts, captured);
        let rest = without(&hold.parts, &spent);
        if !spent.is_empty() {
            self.capture(decision, &policy, account, spent)?;
        }
        let give_back = GiveBack {
            actor: Actor::Caller,
            reason: EntryReason::Hold,
            policy_version: policy.version,
            owed: account.balance.owed,
            first_id: decision.next_entry_id(account.account_id)?,
        };
        let lots = decision.state::<PointsState>()?.lots();
        let at = account.time_at(decision.at());
        let hold = self.hold_id.account_seq;
        let new_entries = give_back.new_entries(lots, account.account_id, at, hold, &rest);
        for new_entry in new_entries.map_err(|_| DecisionError::NotLoaded)? {
            decision.post(account.account_id, new_entry)?;
        }
        Ok(())
    }
}
