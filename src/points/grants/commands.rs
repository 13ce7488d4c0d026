//! The commands that grant points, and that say what a grant waits for has happened.

use jiff::Timestamp;

use super::caps::{ask_earned, cap};
use super::model::{Grant, grant, require_ahead};
use crate::book::{Actor, Asking, Command, CommandKey, Decision, DecisionError, Defect, Entry, EntryReason, Told};
use crate::error::{Reason, Refusal};
use crate::ids::{EntryId, IdempotencyKey};
use crate::points::amount::Points;
use crate::points::lots::Lot;
use crate::points::state::{Note, PointsState};
use crate::points::subject::{Subject, about_a_customer, keep_note, key_of};
use crate::points::vesting::vest_on_event;
use crate::programs::points::{ExpiryRule, VestingRule};

/// Grants points by hand. The fields are described in rewards.proto.
#[derive(Clone, Debug)]
pub(crate) struct GrantReward {
    pub subject: Subject,
    pub points: Points,
    pub vesting: Option<VestingRule>,
    pub expiry: Option<ExpiryRule>,
    pub reason: EntryReason,
    pub note: String,
    pub key: IdempotencyKey,
}

impl Command for GrantReward {
    about_a_customer!();

    fn key(&self) -> Option<CommandKey> {
        let reason = self.reason.as_str();
        let content = ("grant_reward", self.points.get(), reason, &self.note, &self.vesting, &self.expiry);
        Some(key_of(&self.key, &content))
    }

    fn ask(&self, asking: &mut Asking<'_>) -> Result<(), Defect> {
        ask_earned(asking, &self.subject.program_id, &self.subject.name())
    }

    fn decide(&self, decision: &mut Decision<'_>) -> Result<(), DecisionError> {
        let (policy, account) = self.subject.begin(decision)?;
        let at = account.time_at(decision.at());
        if let Some(expires_at) = self.expiry.as_ref().and_then(ExpiryRule::given_instant) {
            let vesting = self.vesting.as_ref().unwrap_or(&policy.program.points.vesting);
            let vests_at = match vesting {
                VestingRule::At(instant) => (*instant).max(at),
                VestingRule::After(period) => period.after(at, &policy.program.time_zone.0),
                VestingRule::Immediate | VestingRule::OnEvent(_) => at,
            };
            require_ahead("expires_at", expires_at, vests_at)?;
        }
        let capped = cap(decision, &policy, account.account_id, self.points.get())?;
        if let Some(reached) = capped.reached {
            return Err(reached.refuse(self.points.get()).into());
        }
        let spec = Grant {
            points: self.points,
            vesting: self.vesting.clone(),
            expiry: self.expiry.clone(),
            capped: Some(capped),
            actor: Actor::Caller,
            reason: self.reason,
            causes: Vec::new(),
        };
        let entry_id = grant(decision, &policy, account.account_id, spec)?;
        let entry_id = entry_id.ok_or_else(|| {
            let account_id = account.account_id.0;
            Defect::new(format!("account {account_id}: nothing is left of a grant that no cap reached"))
        })?;
        keep_note(decision, entry_id, &Note { text: self.note.clone(), author: String::new() });
        Ok(())
    }
}

/// A reward whose points have vested: what [`VestReward`] tells.
pub(crate) struct Vested {
    /// The entry that granted it.
    pub entry: Entry,
    /// What the caller wrote beside it; may be empty.
    pub note: String,
    /// When its points became available.
    pub vested_at: Timestamp,
}

/// Says that what a reward was granted for has happened; naturally idempotent.
/// The fields are described in rewards.proto.
#[derive(Clone, Debug)]
pub(crate) struct VestReward {
    pub subject: Subject,
    pub reward_id: EntryId,
}

impl VestReward {
    /// The refusal for a reward whose points do not wait: they never did, were taken back, or waited in vain.
    fn not_pending(&self, lot: &Lot, reversed: i64) -> Refusal {
        let refuse =
            |message: String| Refusal::new(Reason::RewardNotPending, message).with("reward_id", self.reward_id);
        match lot.terms.vest_by {
            None => refuse("the reward's points were not granted for an event".to_owned()),
            Some(_) if reversed >= lot.points => {
                refuse("the reward was reversed before what it was granted for happened".to_owned())
            }
            Some(vest_by) => {
                let message = format!(
                    "the reward's event was not reported before its deadline, {vest_by}, and its points were cancelled"
                );
                refuse(message).with("vest_by", vest_by)
            }
        }
    }
}

impl Command for VestReward {
    about_a_customer!();

    fn key(&self) -> Option<CommandKey> {
        None
    }

    fn ask(&self, asking: &mut Asking<'_>) -> Result<(), Defect> {
        if self.subject.own(asking, self.reward_id).is_some() {
            let state: &mut PointsState = asking.state()?;
            state.ask_entry(self.reward_id);
            state.ask_note(self.reward_id);
        }
        Ok(())
    }

    fn decide(&self, decision: &mut Decision<'_>) -> Result<(), DecisionError> {
        let (policy, account) = self.subject.begin(decision)?;
        let seq = self.reward_id.account_seq;
        let lot = decision.state::<PointsState>()?.lots().lot(account.account_id, seq);
        let lot = lot.filter(|_| self.reward_id.account_id == account.account_id).ok_or_else(|| {
            Refusal::new(Reason::RewardNotFound, format!("the customer has no reward {}", self.reward_id))
                .with("reward_id", self.reward_id)
        })?;
        if lot.live_since.is_some() && lot.terms.vest_by.is_some() {
            return Ok(());
        }
        let Some(rule) = lot.terms.expiry_rule.as_ref().filter(|_| lot.terms.vest_by.is_some() && lot.pending > 0)
        else {
            let reversed = decision.state::<PointsState>()?.lots().reversed(account.account_id, seq).in_all;
            return Err(self.not_pending(lot, reversed).into());
        };
        let rule: ExpiryRule = serde_json::from_str(rule).map_err(|error| {
            Defect::unread(format_args!("the expiry rule of the lot of entry {}", self.reward_id), &error)
        })?;
        let expires_at = rule.of(account.time_at(decision.at()), &policy.program.time_zone.0);
        for new_entry in vest_on_event(account, seq, lot, expires_at, policy.version) {
            decision.post(account.account_id, new_entry)?;
        }
        Ok(())
    }

    fn tell(&self, decision: &Decision<'_>, _entries: &[Entry]) -> Result<Option<Told>, DecisionError> {
        let EntryId { account_id, account_seq } = self.reward_id;
        let state: &PointsState = decision.state()?;
        let missing = || Defect::new(format!("the grant of reward {} is missing", self.reward_id));
        let entry = state.entry(self.reward_id).ok_or_else(missing)?.clone();
        let vested_at = state.lots().lot(account_id, account_seq).and_then(|lot| lot.live_since);
        let vested_at = vested_at.unwrap_or(entry.effective_at);
        Ok(Some(Box::new(Vested { entry, note: state.note(self.reward_id).to_owned(), vested_at })))
    }
}
