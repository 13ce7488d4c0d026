//! What a purchase brings about: points, a higher tier, a converted referral, all in one decision; and what a refund
//! takes back of it.

use jiff::Timestamp;

use crate::book::{
    Account, ActivityDetail, Actor, Counts, Decision, DecisionError, Detail, Entry, EntryReason, FactorAnswer,
    Multiplied, NewEntry, PointsDetail, TierMove,
};
use crate::error::{Reason, Refusal};
use crate::ids::{AccountId, ActivityId, EntryId};
use crate::money::{Currency, Money};
use crate::points::amount::Points;
use crate::points::grants::caps::cap;
use crate::points::grants::model::{Grant, grant};
use crate::points::state::{Note, PointsState};
use crate::points::subject::keep_note;
use crate::points::undoing::model::{Reversal, share_of, take_back};
use crate::programs::model::{Conversion, ProgramVersion};
use crate::programs::points::{Clawback, ExpiryRule};
use crate::referrals::model::{ReferralState, convert, is_in_window, qualifies};
use crate::referrals::state::ReferralsState;
use crate::satisfaction::model::NewFeedback;
use crate::tiers::counting::{DayCount, History};
use crate::tiers::deciding::{Change, Verdict};
use crate::tiers::model::{into_entry, standing_of, weigh};
use crate::tiers::standing::Standing;

/// An accepted purchase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Purchase {
    /// What was spent; may be zero.
    pub amount: Money,
    /// What the business earned by it, if it says so; may be zero.
    pub margin: Option<Money>,
    /// When the customer bought.
    pub happened_at: Timestamp,
}

/// A refund to be accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refund {
    /// The business's own name of the purchase.
    pub purchase: ActivityId,
    /// What was given back, above zero.
    pub amount: Money,
    /// What is taken where the purchase's points are spent; by the program, if absent.
    pub clawback: Option<Clawback>,
    /// When that happened.
    pub happened_at: Timestamp,
}

/// Something that a customer did, as it was reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Activity {
    /// They bought something.
    Purchase(Purchase),
    /// They gave something back.
    Refund(Refund),
    /// They said something, then.
    Feedback(Box<NewFeedback>, Timestamp),
}

impl Activity {
    /// When it happened.
    #[must_use]
    pub(crate) const fn happened_at(&self) -> Timestamp {
        match self {
            Self::Purchase(purchase) => purchase.happened_at,
            Self::Refund(refund) => refund.happened_at,
            Self::Feedback(_, happened_at) => *happened_at,
        }
    }

    /// The currencies of its amounts.
    fn currencies(&self) -> impl Iterator<Item = Currency> {
        let currencies = match self {
            Self::Purchase(purchase) => [Some(purchase.amount.currency), purchase.margin.map(|margin| margin.currency)],
            Self::Refund(refund) => [Some(refund.amount.currency), None],
            Self::Feedback(feedback, _) => [feedback.currency, None],
        };
        currencies.into_iter().flatten()
    }
}

/// Refuses an activity that cannot be true for this program.
///
/// # Errors
/// A refusal if it is in another currency or lies in the future.
pub(crate) fn check(activity: &Activity, policy: &ProgramVersion, now: Timestamp) -> Result<(), Refusal> {
    activity.currencies().try_for_each(|currency| policy.program.require_currency(currency))?;
    let happened_at = activity.happened_at();
    if crate::clock::is_in_future(happened_at, now) {
        let message = format!("happened_at {happened_at} lies in the future; it is {now} now");
        let refusal = Refusal::new(Reason::InstantInFuture, message).with("happened_at", happened_at);
        return Err(refusal.with("now", now));
    }
    Ok(())
}

/// Posts a purchase and everything that follows from it. `standing` is where the customer stands, also who joins with this
/// very purchase. Returns the entry that accepted it.
///
/// # Errors
/// A refusal if points or spend would overflow; [`DecisionError::NotLoaded`] if a referrer to pay is not locked.
pub(crate) fn accept(
    decision: &mut Decision<'_>,
    policy: &ProgramVersion,
    account_id: AccountId,
    purchase: &Purchase,
    standing: &(Standing, History),
) -> Result<EntryId, DecisionError> {
    let overflow = || Refusal::new(Reason::AmountOverflow, "the purchase is more than the book can count");
    let spend = purchase.amount.minor;
    let (points, multiplied) = earn(policy, &standing.0, purchase.amount).ok_or_else(overflow)?;
    let capped = cap(decision, policy, account_id, points)?;
    if points > Points::MOST {
        let message = format!("the purchase would bring {points} points, more than the {} of one entry", Points::MOST);
        return Err(Refusal::new(Reason::AmountOverflow, message).into());
    }
    let at = decision.account(account_id)?.time_at(decision.at());
    let day = policy.program.day_of(purchase.happened_at);
    let margin = purchase.margin.map_or(0, |margin| margin.minor);
    let more = DayCount {
        spend,
        margin,
        points: capped.points,
        purchases: i64::from(spend > 0),
        visits: 1,
        ..DayCount::default()
    };
    let verdict = weigh(policy, standing, at, (day, &more), false)?;
    let new_entry = NewEntry {
        detail: ActivityDetail::ActivityAccepted {
            spend,
            happened_at: purchase.happened_at,
            slides_to: slide(policy, decision, account_id)?,
            uncapped: Some(points).filter(|points| *points > 0 && capped.points == 0),
            multiplied,
            counts: Some(Counts {
                day,
                margin,
                points: capped.points,
                whole: false,
                former_lost: false,
                outlook: verdict.outlook,
            }),
        }
        .into(),
        movement: None,
        actor: Actor::Caller,
        reason: EntryReason::Purchase,
        policy_version: policy.version,
        causes: Vec::new(),
    };
    let accepted = decision.post(account_id, new_entry)?;
    if let Some(points) = Points::new(points) {
        let earned = Grant::by_rule(points, EntryReason::Purchase, vec![accepted]);
        grant(decision, policy, account_id, Grant { capped: Some(capped), ..earned })?;
    }
    if let Some(change) = verdict.change {
        let by = reason_of(&change, EntryReason::ThresholdReached);
        decision.post(account_id, into_entry(policy, &standing.0, change, verdict.outlook, by, accepted, at))?;
    }
    convert_referral(decision, policy, account_id, purchase, accepted)?;
    Ok(accepted)
}

/// How many points a purchase earns before any cap, by the tier that is held before it. None if that is more than can be
/// counted.
fn earn(policy: &ProgramVersion, held: &Standing, amount: Money) -> Option<(i64, Option<Multiplied>)> {
    let rate = policy.program.points_per_unit;
    let tier = policy.program.tier(&held.tier_id);
    let multiplier = tier.and_then(|tier| tier.benefits.iter().find_map(|benefit| benefit.kind.multiplier()));
    let Some(by) = multiplier else { return Some((rate.points_for(amount)?, None)) };
    let multiplied = Multiplied { tier_id: held.tier_id.clone(), by, from: rate.points_for(amount)? };
    Some((rate.points_multiplied(amount, by)?, Some(multiplied)))
}

/// Until when the customer's sliding points last, now that they did something.
fn slide(
    policy: &ProgramVersion,
    decision: &Decision<'_>,
    account_id: AccountId,
) -> Result<Option<Timestamp>, DecisionError> {
    let points = &policy.program.points;
    let at = decision.account(account_id)?.time_at(decision.at());
    Ok(match points.expiry {
        ExpiryRule::Sliding(_) => points.expiry.of(at, &policy.program.time_zone.0),
        ExpiryRule::Never | ExpiryRule::At(_) | ExpiryRule::After { .. } => None,
    })
}

/// Posts a refund, and takes back in proportion what its purchase granted. `purchase` are the entries of the purchase's
/// command. Returns the entry that accepted the refund, and the one that accepted the purchase.
///
/// # Errors
/// A refusal if more would be refunded than was paid; [`DecisionError::NotLoaded`] if the lots were not read.
pub(crate) fn accept_refund(
    decision: &mut Decision<'_>,
    policy: &ProgramVersion,
    account: &Account,
    purchase: &[Entry],
    refund: &Refund,
) -> Result<(EntryId, EntryId), DecisionError> {
    let unknown = || {
        let message = format!("the customer has no purchase {} yet", refund.purchase);
        Refusal::new(Reason::PurchaseUnknown, message).with("activity_id", &refund.purchase)
    };
    let (bought, paid, counted) = accepted_in(purchase).ok_or_else(unknown)?;
    let account_id = account.account_id;
    let lots = decision.state::<PointsState>()?.lots();
    let before = lots.reversed(account_id, bought.id.account_seq).in_all;
    let left = paid.saturating_sub(before);
    let amount = refund.amount.minor;
    if amount > left {
        let left = policy.program.money(left);
        let message = format!("more would be refunded than the {left} that are left of the purchase");
        let refusal = Refusal::new(Reason::RefundExceedsPurchase, message).with("activity_id", &refund.purchase);
        return Err(refusal.with("left", left).into());
    }
    let slid_to = slide(policy, decision, account_id)?;
    let standing = standing_of(decision, account_id)?;
    let weighed = match counted {
        Some(counted) => Some(weigh_refund(decision, policy, account, &standing, (counted, paid), (before, amount))?),
        None => None,
    };
    let detail = ActivityDetail::RefundAccepted {
        purchase: bought.id.account_seq,
        spend: amount,
        happened_at: refund.happened_at,
        slides_to: slid_to,
        counts: weighed.as_ref().map(|(counts, _)| *counts),
    }
    .into();
    let new_entry = NewEntry {
        detail,
        movement: None,
        actor: Actor::Caller,
        reason: EntryReason::Refund,
        policy_version: policy.version,
        causes: vec![bought.id],
    };
    let accepted = decision.post(account_id, new_entry)?;
    let is_earned = |entry: &&Entry| {
        entry.reason == EntryReason::Purchase
            && matches!(entry.detail, Detail::Points(PointsDetail::PointsGranted { .. }))
    };
    for earned in purchase.iter().filter(is_earned) {
        let points = earned.movement.map_or(0, |movement| movement.points);
        let reversed = lots.reversed(account_id, earned.id.account_seq);
        // All refunds together: what an earlier one found too little for is made up for now.
        let share = share_of(points, before + amount, paid).saturating_sub(reversed.by_refunds);
        let left = points.saturating_sub(reversed.in_all);
        let reversal = Reversal {
            points: None,
            clawback: refund.clawback.unwrap_or(policy.program.points.clawback),
            expires_at: None,
            actor: Actor::Rule,
            reason: EntryReason::Refund,
            causes: vec![accepted],
            slid_to,
        };
        take_back(decision, policy, account, earned, &reversal, share.min(left).max(0))?;
    }
    if let Some((Counts { outlook, .. }, Some(change))) = weighed {
        let at = account.time_at(decision.at());
        let by = reason_of(&change, EntryReason::Refund);
        decision.post(account_id, into_entry(policy, &standing.0, change, outlook, by, accepted, at))?;
    }
    Ok((accepted, bought.id))
}

/// The entry of a purchase's command that accepted it, with what was paid and what it counts for. It need not be the
/// first: a purchase may enrol the customer before it.
fn accepted_in(purchase: &[Entry]) -> Option<(&Entry, i64, Option<&Counts>)> {
    purchase.iter().find_map(|entry| match &entry.detail {
        Detail::Activity(ActivityDetail::ActivityAccepted { spend, counts, .. }) => {
            Some((entry, *spend, counts.as_ref()))
        }
        Detail::Activity(ActivityDetail::RefundAccepted { .. } | ActivityDetail::FeedbackAccepted { .. })
        | Detail::Program(_)
        | Detail::Customer(_)
        | Detail::Points(_)
        | Detail::Tier(_)
        | Detail::Benefit(_)
        | Detail::Referral(_)
        | Detail::Complaint(_)
        | Detail::Goodwill(_)
        | Detail::Lifecycle(_)
        | Detail::Value(_) => None,
    })
}

/// What a refund takes off the purchase's day, and what that changes. `counted` and `paid` are the purchase's; `before`
/// was refunded of it already, and `amount` is now.
fn weigh_refund(
    decision: &Decision<'_>,
    policy: &ProgramVersion,
    account: &Account,
    standing: &(Standing, History),
    (counted, paid): (&Counts, i64),
    (before, amount): (i64, i64),
) -> Result<(Counts, Option<Change>), DecisionError> {
    let after = before.saturating_add(amount);
    let share = |whole: i64| share_of(whole, after, paid).saturating_sub(share_of(whole, before, paid));
    let (margin, points, whole) = (share(counted.margin), share(counted.points), after >= paid);
    let less = DayCount {
        spend: -amount,
        margin: -margin,
        points: -points,
        purchases: -i64::from(whole),
        visits: -i64::from(whole),
        ..DayCount::default()
    };
    let at = account.time_at(decision.at());
    let verdict = weigh(policy, standing, at, (counted.day, &less), true)?;
    let Verdict { outlook, former_lost, change } = verdict;
    Ok((Counts { day: counted.day, margin, points, whole, former_lost, outlook }, change))
}

/// Posts what a customer said. `answered` is the entry by which they answered its survey before. Returns the entry that
/// accepted it.
///
/// # Errors
/// A refusal if they did, or the program has no such factor.
pub(crate) fn accept_feedback(
    decision: &mut Decision<'_>,
    policy: &ProgramVersion,
    account_id: AccountId,
    (feedback, happened_at): (&NewFeedback, Timestamp),
    answered: Option<EntryId>,
) -> Result<EntryId, DecisionError> {
    let NewFeedback { answers, text, .. } = feedback;
    if let Some(entry_id) = answered {
        let message = format!("the customer answered this survey before, as entry {entry_id} tells");
        return Err(Refusal::new(Reason::SurveyAnswered, message).with("entry_id", entry_id).into());
    }
    let is_unknown = |factor: &&FactorAnswer| !policy.program.satisfaction.has_factor(&factor.factor_id);
    let mut unknown = answers.factors.iter().filter(is_unknown).map(|factor| &factor.factor_id);
    if let Some(first) = unknown.next() {
        let all = unknown.fold(first.to_string(), |all, factor_id| format!("{all}, {factor_id}"));
        let message = format!("the program has no such factors: {all}");
        return Err(Refusal::new(Reason::FactorNotFound, message).with("factor_id", first).into());
    }
    let detail = ActivityDetail::FeedbackAccepted {
        happened_at,
        day: policy.program.day_of(happened_at),
        slides_to: slide(policy, decision, account_id)?,
        answers: Box::new(answers.clone()),
    };
    let new_entry = NewEntry {
        detail: detail.into(),
        movement: None,
        actor: Actor::Caller,
        reason: EntryReason::Feedback,
        policy_version: policy.version,
        causes: Vec::new(),
    };
    let accepted = decision.post(account_id, new_entry)?;
    keep_note(decision, accepted, &Note { text: text.clone(), author: String::new() });
    Ok(accepted)
}

/// On whose behalf a standing changes, and why: time, where a tier has ended, or else what was counted.
fn reason_of(change: &Change, counted: EntryReason) -> (Actor, EntryReason) {
    let reason = match change.kind {
        None => EntryReason::ThresholdReached,
        Some(TierMove::Redecided) => counted,
        Some(TierMove::Downgraded | TierMove::Renewed) => EntryReason::TimeReached,
    };
    (Actor::Rule, reason)
}

/// Converts the customer's pending referral if this purchase is the one it waits for.
fn convert_referral(
    decision: &mut Decision<'_>,
    policy: &ProgramVersion,
    account_id: AccountId,
    purchase: &Purchase,
    accepted: EntryId,
) -> Result<(), DecisionError> {
    let referral = decision.state::<ReferralsState>()?.referral(account_id);
    let Some(referral) = referral.filter(|referral| referral.state == ReferralState::Pending) else { return Ok(()) };
    let campaign = policy.program.campaign(&referral.campaign_id);
    match campaign.filter(|campaign| campaign.conversion == Conversion::FirstPurchase) {
        Some(campaign)
            if qualifies(campaign, purchase.amount.minor)
                && is_in_window(&policy.program, referral, purchase.happened_at) =>
        {
            convert(decision, policy, campaign, referral, Some(accepted))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::money::Currency;
    use crate::programs::model::tests::program;

    #[test]
    fn a_purchase_in_another_currency_or_from_tomorrow_is_refused() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let policy = ProgramVersion { program: program(), version: 1, applied_at: now, effective_from: now };
        let purchase = |code: &str, happened_at: &str| {
            let amount = Money { currency: Currency::parse(code).unwrap(), minor: 1 };
            Activity::Purchase(Purchase { amount, margin: None, happened_at: happened_at.parse().unwrap() })
        };
        let reason = |purchase: Activity| check(&purchase, &policy, now).err().map(|refusal| refusal.reason);
        assert_eq!(reason(purchase("USD", "2025-12-31T00:00:00Z")), None);
        // Clocks may differ a little.
        assert_eq!(reason(purchase("USD", "2026-01-01T00:05:00Z")), None);
        assert_eq!(reason(purchase("USD", "2026-01-01T00:05:01Z")), Some(Reason::InstantInFuture));
        assert_eq!(reason(purchase("EUR", "2025-12-31T00:00:00Z")), Some(Reason::CurrencyMismatch));
    }
}
