//! What a purchase brings about: points, a higher tier, a converted referral, all in one decision.

use jiff::Timestamp;

use crate::book::{Actor, Decision, Detail, EntryReason, Halt, Post};
use crate::error::{Reason, Refusal};
use crate::ids::{AccountId, EntryId};
use crate::money::Money;
use crate::programs::model::{Conversion, ProgramVersion};
use crate::referrals::model::{State, convert, is_in_window, qualifies};
use crate::referrals::store::ReferralShelf;
use crate::rewards::model::{Points, grant};
use crate::tiers::model::{Standing, lift};
use crate::tiers::store::StandingShelf;

/// An accepted purchase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Purchase {
    /// What was spent; may be zero.
    pub amount: Money,
    /// When the customer bought.
    pub happened_at: Timestamp,
}

/// Refuses a purchase that cannot be true for this program.
///
/// # Errors
/// A refusal if it is in another currency or lies in the future.
pub fn check(purchase: &Purchase, policy: &ProgramVersion, now: Timestamp) -> Result<(), Refusal> {
    let (given, expected) = (purchase.amount.currency.code(), policy.program.currency.code());
    if given != expected {
        let message = format!("the program counts in {expected}, not in {given}");
        return Err(Refusal::new(Reason::CurrencyMismatch, message).with("expected", expected).with("given", given));
    }
    if crate::clock::is_in_future(purchase.happened_at, now) {
        let message = format!("happened_at {} lies in the future; it is {now} now", purchase.happened_at);
        let refusal = Refusal::new(Reason::InstantInFuture, message).with("happened_at", purchase.happened_at);
        return Err(refusal.with("now", now));
    }
    Ok(())
}

/// Posts a purchase and everything that follows from it. `enrolled` is the standing of a customer who joins with this
/// very purchase. Returns the entry that accepted it.
///
/// # Errors
/// A refusal if points or spend would overflow; [`Halt::OutOfReach`] if a referrer to pay is not locked.
pub fn accept(
    decision: &mut Decision<'_>,
    policy: &ProgramVersion,
    account_id: AccountId,
    purchase: &Purchase,
    enrolled: Option<Standing>,
) -> Result<EntryId, Halt> {
    let overflow = || Refusal::new(Reason::AmountOverflow, "the purchase is more than the book can count");
    let standing = decision.shelf::<StandingShelf>()?.get(account_id).cloned().or(enrolled);
    let standing = standing.ok_or_else(|| crate::book::Defect::new("a customer has no standing"))?;
    let spend = purchase.amount.minor;
    let points = policy.program.points_per_unit.points_for(purchase.amount).ok_or_else(overflow)?;
    let qualifying_spend = standing.qualifying_spend.checked_add(spend).ok_or_else(overflow)?;

    let post = Post {
        detail: Detail::ActivityAccepted { spend, happened_at: purchase.happened_at },
        movement: None,
        actor: Actor::Caller,
        reason: EntryReason::Purchase,
        policy_version: policy.version,
        causes: Vec::new(),
    };
    let accepted = decision.post(account_id, post)?;
    if let Some(points) = Points::new(points) {
        let post = grant(points, Actor::Rule, EntryReason::Purchase, policy.version, vec![accepted]);
        decision.post(account_id, post)?;
    }
    if let Some(post) = lift(policy, &standing.tier_id, qualifying_spend, accepted) {
        decision.post(account_id, post)?;
    }
    convert_referral(decision, policy, account_id, purchase, accepted)?;
    Ok(accepted)
}

/// Converts the customer's pending referral if this purchase is the one it waits for.
fn convert_referral(
    decision: &mut Decision<'_>,
    policy: &ProgramVersion,
    account_id: AccountId,
    purchase: &Purchase,
    accepted: EntryId,
) -> Result<(), Halt> {
    let referral = decision.shelf::<ReferralShelf>()?.referral(account_id);
    let Some(referral) = referral.filter(|referral| referral.state == State::Pending) else { return Ok(()) };
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
        let policy = ProgramVersion { program: program(), version: 1, applied_at: now };
        let purchase = |code: &str, happened_at: &str| Purchase {
            amount: Money { currency: Currency::parse(code).unwrap(), minor: 1 },
            happened_at: happened_at.parse().unwrap(),
        };
        let reason = |purchase: Purchase| check(&purchase, &policy, now).err().map(|refusal| refusal.reason);
        assert_eq!(reason(purchase("USD", "2025-12-31T00:00:00Z")), None);
        // Clocks may differ a little.
        assert_eq!(reason(purchase("USD", "2026-01-01T00:05:00Z")), None);
        assert_eq!(reason(purchase("USD", "2026-01-01T00:05:01Z")), Some(Reason::InstantInFuture));
        assert_eq!(reason(purchase("EUR", "2025-12-31T00:00:00Z")), Some(Reason::CurrencyMismatch));
    }
}
