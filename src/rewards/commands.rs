//! The commands of rewards: granting, vesting, spending, holding, undoing, adjusting.

use std::any::TypeId;

use jiff::Timestamp;

use super::lots::Hold;
use super::model::{
    GiveBack, Grant, Points, check_limits, choose_lots, first_points, grant, open_lot, repay, require_ahead, sum,
};
use super::reversal::{Reversal, reverse};
use super::store::{Note, RewardShelf};
use crate::book::{
    Account, Actor, Asking, Command, CommandKey, Decision, Defect, Detail, EntryReason, Halt, Key, LotPart, LotTerms,
    Movement, Name, NameUse, Pocket, Post,
};
use crate::customers::require_customer;
use crate::error::{Reason, Refusal};
use crate::ids::{AccountId, CustomerId, EntryId, IdempotencyKey, ProgramId};
use crate::programs::current_policy;
use crate::programs::model::ProgramVersion;
use crate::programs::points::{Clawback, DEFAULT_HOLD, Expiry, Period, Vesting};
use crate::programs::store::ProgramShelf;

/// Whom a command is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The program.
    pub program_id: ProgramId,
    /// The customer.
    pub customer_id: CustomerId,
}

impl Subject {
    fn name(&self) -> Name {
        Name::customer(&self.program_id, &self.customer_id)
    }

    fn begin<'a>(&self, decision: &Decision<'a>) -> Result<(std::sync::Arc<ProgramVersion>, &'a Account), Halt> {
        let policy = current_policy(decision, &self.program_id)?;
        let account = require_customer(decision, &self.program_id, &self.customer_id)?;
        Ok((policy, account))
    }

    /// The number of an entry, if it is the customer's own.
    fn own(&self, asking: &Asking<'_>, entry_id: EntryId) -> Option<(AccountId, i64)> {
        asking.find(&self.name()).filter(|own| *own == entry_id.account_id).map(|own| (own, entry_id.account_seq))
    }
}

/// What all commands about one customer say of themselves in the same way.
macro_rules! about_a_customer {
    () => {
        fn program_id(&self) -> &ProgramId {
            &self.subject.program_id
        }

        fn names(&self) -> Vec<NameUse> {
            vec![NameUse::Find(self.subject.name())]
        }

        fn shelves(&self) -> Vec<TypeId> {
            vec![TypeId::of::<ProgramShelf>(), TypeId::of::<RewardShelf>()]
        }
    };
}

/// A caller's key, over the whole content of a command.
fn key_of(key: &IdempotencyKey, content: &impl serde::Serialize) -> CommandKey {
    let content = serde_json::to_vec(content).unwrap_or_default();
    CommandKey { key: Key::new("key", key.as_str(), &[&content]), reused: Reason::IdempotencyKeyReused }
}

/// Keeps a note beside an entry, where there is one.
fn keep_note(decision: &mut Decision<'_>, entry_id: EntryId, note: &Note) {
    if *note != Note::default() {
        let note = note.clone();
        decision.keep(move |shelf: &mut RewardShelf| shelf.add_note(entry_id, note));
    }
}

/// Grants points by hand.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the fields are described in rewards.proto")]
pub struct GrantReward {
    pub subject: Subject,
    pub points: Points,
    pub vesting: Option<Vesting>,
    pub expiry: Option<Expiry>,
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

    fn decide(&self, decision: &mut Decision<'_>) -> Result<(), Halt> {
        let (policy, account) = self.subject.begin(decision)?;
        let at = account.time_at(decision.at());
        if let Some(expires_at) = given_instant(self.expiry.as_ref()) {
            let vesting = self.vesting.as_ref().unwrap_or(&policy.program.points.vesting);
            let vests_at = match vesting {
                Vesting::At(instant) => (*instant).max(at),
                Vesting::After(period) => period.after(at, &policy.program.time_zone.0),
                Vesting::Immediate | Vesting::OnEvent(_) => at,
            };
            require_ahead("expires_at", expires_at, vests_at)?;
        }
        let spec = Grant {
            points: self.points,
            vesting: self.vesting.clone(),
            expiry: self.expiry.clone(),
            is_capped: true,
            actor: Actor::Caller,
            reason: self.reason,
            causes: Vec::new(),
        };
        let entry_id = grant(decision, &policy, account.account_id, spec)?.ok_or_else(|| {
            let refusal = Refusal::new(Reason::EarningCapExceeded, "the period's cap leaves nothing of this grant");
            refusal.with("points", self.points.get()).with("maximum", 0)
        })?;
        keep_note(decision, entry_id, &Note { text: self.note.clone(), author: String::new() });
        Ok(())
    }
}

const fn given_instant(expiry: Option<&Expiry>) -> Option<Timestamp> {
    match expiry {
        Some(Expiry::At(instant)) => Some(*instant),
        _ => None,
    }
}

/// Says that what a reward was granted for has happened; naturally idempotent.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the fields are described in rewards.proto")]
pub struct VestReward {
    pub subject: Subject,
    pub reward_id: EntryId,
}

impl Command for VestReward {
    about_a_customer!();

    fn key(&self) -> Option<CommandKey> {
        None
    }

    fn ask(&self, asking: &mut Asking<'_>) -> Result<(), Defect> {
        if let Some((account_id, lot)) = self.subject.own(asking, self.reward_id) {
            asking.shelf::<RewardShelf>()?.ask_lot(account_id, lot);
        }
        Ok(())
    }

    fn decide(&self, decision: &mut Decision<'_>) -> Result<(), Halt> {
        let (policy, account) = self.subject.begin(decision)?;
        let seq = self.reward_id.account_seq;
        let lot = decision.shelf::<RewardShelf>()?.lots().lot(account.account_id, seq);
        let lot = lot.filter(|_| self.reward_id.account_id == account.account_id).ok_or_else(|| {
            Refusal::new(Reason::RewardNotFound, format!("the customer has no reward {}", self.reward_id))
                .with("reward_id", self.reward_id)
        })?;
        if lot.live_since.is_some() && lot.terms.vest_by.is_some() {
            return Ok(());
        }
        let Some(rule) = lot.terms.expiry_rule.as_ref().filter(|_| lot.terms.vest_by.is_some() && lot.pending > 0)
        else {
            let refusal = Refusal::new(Reason::RewardNotPending, "the reward's points do not wait for an event");
            return Err(refusal.with("reward_id", self.reward_id).into());
        };
        let rule: Expiry = serde_json::from_str(rule).map_err(|error| Defect::new(error.to_string()))?;
        let expires_at = rule.of(account.time_at(decision.at()), &policy.program.time_zone.0);
        let post = Post {
            detail: Detail::PointsVested { lot: seq, expires_at },
            movement: Some(Movement { from: Pocket::Pending, to: Pocket::Available, points: lot.pending }),
            actor: Actor::Caller,
            reason: EntryReason::EventHappened,
            policy_version: policy.version,
            causes: vec![self.reward_id],
        };
        let vested = decision.post(account.account_id, post)?;
        let parts = [LotPart { lot: seq, points: lot.pending }];
        if let Some(repayment) = repay(account.balance.owed, &parts, policy.version, vec![vested]) {
            decision.post(account.account_id, repayment)?;
        }
        Ok(())
    }
}

/// Spends points at once.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the fields are described in rewards.proto")]
pub struct RedeemPoints {
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

    fn decide(&self, decision: &mut Decision<'_>) -> Result<(), Halt> {
        let (policy, account) = self.subject.begin(decision)?;
        let points = self.points.get();
        check_limits(&policy.program.points.redemption, points)?;
        let lots = choose_lots(decision, account, points)?;
        let post = Post {
            detail: Detail::PointsRedeemed { lots, hold: None },
            movement: Some(Movement { from: Pocket::Available, to: Pocket::Redeemed, points }),
            actor: Actor::Caller,
            reason: EntryReason::Redemption,
            policy_version: policy.version,
            causes: Vec::new(),
        };
        let entry_id = decision.post(account.account_id, post)?;
        keep_note(decision, entry_id, &Note { text: self.note.clone(), author: String::new() });
        Ok(())
    }
}

fn ask_points(asking: &mut Asking<'_>, subject: &Subject, points: i64) -> Result<(), Defect> {
    if let Some(account_id) = asking.find(&subject.name()) {
        asking.shelf::<RewardShelf>()?.ask_points(account_id, points);
    }
    Ok(())
}

/// When a hold ends by itself.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub enum HoldEnd {
    /// As the program says.
    ByProgram,
    /// A period after it was made.
    After(Period),
    /// At an instant.
    At(Timestamp),
}

/// Sets points aside for a spend.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the fields are described in rewards.proto")]
pub struct HoldPoints {
    pub subject: Subject,
    pub points: Points,
    pub ends: HoldEnd,
    pub note: String,
    pub key: IdempotencyKey,
}

impl HoldPoints {
    fn ends_at(&self, policy: &ProgramVersion, at: Timestamp) -> Result<Timestamp, Halt> {
        let program = &policy.program;
        let after = |period: &Period| period.after(at, &program.time_zone.0);
        match (&self.ends, &program.points.hold_for) {
            (HoldEnd::At(instant), _) => {
                require_ahead("ends_at", *instant, at)?;
                Ok(*instant)
            }
            (HoldEnd::After(period), _) | (HoldEnd::ByProgram, Some(period)) => Ok(after(period)),
            (HoldEnd::ByProgram, None) => Ok(after(&Period::parse(DEFAULT_HOLD).map_err(Defect::new)?)),
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

    fn decide(&self, decision: &mut Decision<'_>) -> Result<(), Halt> {
        let (policy, account) = self.subject.begin(decision)?;
        let points = self.points.get();
        check_limits(&policy.program.points.redemption, points)?;
        let ends_at = self.ends_at(&policy, account.time_at(decision.at()))?;
        let lots = choose_lots(decision, account, points)?;
        let post = Post {
            detail: Detail::PointsHeld { lots, ends_at },
            movement: Some(Movement { from: Pocket::Available, to: Pocket::Held, points }),
            actor: Actor::Caller,
            reason: EntryReason::Hold,
            policy_version: policy.version,
            causes: Vec::new(),
        };
        let entry_id = decision.post(account.account_id, post)?;
        keep_note(decision, entry_id, &Note { text: self.note.clone(), author: String::new() });
        Ok(())
    }
}

/// Spends held points, whole or in part, or gives them back; either way the hold ends.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the fields are described in rewards.proto")]
pub struct EndHold {
    pub subject: Subject,
    pub hold_id: EntryId,
    pub ending: Ending,
    pub key: IdempotencyKey,
}

/// How a hold is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub enum Ending {
    /// These points are spent, all if absent; the rest returns.
    Capture(Option<i64>),
    /// All of it returns.
    Release,
}

impl EndHold {
    fn open_hold<'a>(&self, decision: &Decision<'a>, account: &Account) -> Result<&'a Hold, Halt> {
        let refuse = |reason, message: String| Refusal::new(reason, message).with("hold_id", self.hold_id);
        let hold = decision.shelf::<RewardShelf>()?.lots().hold(account.account_id, self.hold_id.account_seq);
        let hold = hold.filter(|_| self.hold_id.account_id == account.account_id);
        let hold =
            hold.ok_or_else(|| refuse(Reason::HoldNotFound, format!("the customer has no hold {}", self.hold_id)))?;
        if hold.parts.is_empty() {
            return Err(refuse(Reason::HoldEnded, "the hold was captured, released, or has ended".to_owned()).into());
        }
        Ok(hold)
    }

    fn capture(
        &self,
        decision: &mut Decision<'_>,
        policy: &ProgramVersion,
        account: &Account,
        lots: Vec<LotPart>,
    ) -> Result<(), Halt> {
        let points = sum(&lots);
        let post = Post {
            detail: Detail::PointsRedeemed { lots, hold: Some(self.hold_id.account_seq) },
            movement: Some(Movement { from: Pocket::Held, to: Pocket::Redeemed, points }),
            actor: Actor::Caller,
            reason: EntryReason::Redemption,
            policy_version: policy.version,
            causes: vec![self.hold_id],
        };
        decision.post(account.account_id, post)?;
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
            asking.shelf::<RewardShelf>()?.ask_hold(account_id, hold);
        }
        Ok(())
    }

    fn decide(&self, decision: &mut Decision<'_>) -> Result<(), Halt> {
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
        let lots = decision.shelf::<RewardShelf>()?.lots();
        let at = account.time_at(decision.at());
        for post in give_back.posts(lots, account.account_id, at, self.hold_id.account_seq, &rest) {
            decision.post(account.account_id, post)?;
        }
        Ok(())
    }
}

/// What is left of some parts without the first of them.
fn without(parts: &[LotPart], first: &[LotPart]) -> Vec<LotPart> {
    let taken = |lot| first.iter().find(|part| part.lot == lot).map_or(0, |part| part.points);
    let left = parts.iter().map(|part| LotPart { lot: part.lot, points: part.points - taken(part.lot) });
    left.filter(|part| part.points > 0).collect()
}

/// Undoes an entry, whole or in part.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the fields are described in rewards.proto")]
pub struct ReverseEntry {
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
        if let Some((account_id, _)) = self.subject.own(asking, self.entry_id) {
            let shelf = asking.shelf::<RewardShelf>()?;
            shelf.ask_entry(self.entry_id);
            // A grant that is spent may be taken from other lots.
            shelf.ask_points(account_id, self.points.map_or(i64::MAX, Points::get));
        }
        Ok(())
    }

    fn decide(&self, decision: &mut Decision<'_>) -> Result<(), Halt> {
        let (policy, account) = self.subject.begin(decision)?;
        let original = decision.shelf::<RewardShelf>()?.entry(self.entry_id);
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
        };
        let first = decision.next_entry_id(account.account_id)?;
        reverse(decision, &policy, account, original, &reversal)?;
        keep_note(decision, first, &self.note);
        Ok(())
    }
}

/// Changes a balance by hand.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the fields are described in rewards.proto")]
pub struct AdjustPoints {
    pub subject: Subject,
    pub change: Change,
    pub reason: EntryReason,
    pub note: Note,
    pub key: IdempotencyKey,
}

/// Which way a balance is changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Up, as a new lot that expires by its own rule or the program's.
    Up(Points, Option<Expiry>),
    /// Down.
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

    fn decide(&self, decision: &mut Decision<'_>) -> Result<(), Halt> {
        let (policy, account) = self.subject.begin(decision)?;
        let at = account.time_at(decision.at());
        let describe = |detail, from, to, points| Post {
            detail,
            movement: Some(Movement { from, to, points }),
            actor: Actor::Caller,
            reason: self.reason,
            policy_version: policy.version,
            causes: Vec::new(),
        };
        let entry_id = match &self.change {
            Change::Up(points, expiry) => {
                if let Some(expires_at) = given_instant(expiry.as_ref()) {
                    require_ahead("expires_at", expires_at, at)?;
                }
                let rule = expiry.as_ref().unwrap_or(&policy.program.points.expiry);
                let expires_at = rule.of(at, &policy.program.time_zone.0);
                let slides = matches!(rule, Expiry::Sliding(_));
                let terms = LotTerms { expires_at, slides, ..LotTerms::default() };
                let detail = Detail::PointsAdjusted { terms: Some(terms.clone()), lots: Vec::new() };
                let post = describe(detail, Pocket::Issued, Pocket::Available, points.get());
                open_lot(decision, account.account_id, post, &terms)?
            }
            Change::Down(points) => {
                let lots = choose_lots(decision, account, points.get())?;
                let detail = Detail::PointsAdjusted { terms: None, lots };
                decision
                    .post(account.account_id, describe(detail, Pocket::Available, Pocket::Cancelled, points.get()))?
            }
        };
        keep_note(decision, entry_id, &self.note);
        Ok(())
    }
}
