//! The command that spends points at once.

use super::model::{check_limits, choose_lots};
use crate::book::{
    Actor, Asking, Command, CommandKey, Decision, DecisionError, Defect, EntryReason, NewEntry, Pocket, PocketMove,
    PointsDetail,
};
use crate::ids::IdempotencyKey;
use crate::points::amount::Points;
use crate::points::state::Note;
use crate::points::subject::{Subject, about_a_customer, ask_points, keep_note, key_of};

/// Spends points at once. The fields are described in rewards.proto.
#[derive(Clone, Debug)]
pub(crate) struct RedeemPoints {
    pub subject: Subject,
    pub points: Points,
    pub note: String,
    pub key: IdempotencyKey,
}

impl Command for RedeemPoints {
    about_a_customer!();

    fn key(&self) -> Option<CommandKey> {
        Some(key_of(&self.key, &("redeem_points", self.points.get(), &self.note)))
    }

    fn ask(&self, asking: &mut Asking<'_>) -> Result<(), Defect> {
        ask_points(asking, &self.subject, self.points.get())
    }

    fn decide(&self, decision: &mut Decision<'_>) -> Result<(), DecisionError> {
        let (policy, account) = self.subject.begin(decision)?;
        let points = self.points.get();
        check_limits(&policy.program.points.redemption, points)?;
        let lots = choose_lots(decision, account, points)?;
        let new_entry = NewEntry {
            detail: PointsDetail::PointsRedeemed { lots, hold: None }.into(),
            movement: Some(PocketMove { from: Pocket::Available, to: Pocket::Redeemed, points }),
            actor: Actor::Caller,
            reason: EntryReason::Redemption,
            policy_version: policy.version,
            causes: Vec::new(),
        };
        let entry_id = decision.post(account.account_id, new_entry)?;
        keep_note(decision, entry_id, &Note { text: self.note.clone(), author: String::new() });
        Ok(())
    }
}
