//! What a spend or a hold may take, and from which lots.

use crate::book::{Account, Decision, DecisionError, LotPart};
use crate::error::{Reason, Refusal};
use crate::points::lots::{MAX_SPEND_LOTS, Shortage};
use crate::points::state::PointsState;
use crate::programs::points::RedemptionLimits;

/// Chooses the lots for a spend.
///
/// # Errors
/// A refusal if too few points are available; [`DecisionError::NotLoaded`] if not enough of the lots were read.
pub(crate) fn choose_lots(
    decision: &Decision<'_>,
    account: &Account,
    points: i64,
) -> Result<Vec<LotPart>, DecisionError> {
    decision.state::<PointsState>()?.lots().choose(account, points).map_err(|shortage| match shortage {
        Shortage::Points => insufficient(points, account.balance.available).into(),
        Shortage::Unread => DecisionError::NotLoaded,
        Shortage::TooWide => too_many_lots(points).into(),
    })
}

/// The refusal to take so many points, which are of more lots than one command may take.
pub(crate) fn too_many_lots(points: i64) -> Refusal {
    let message =
        format!("{points} points of this customer are of more than {MAX_SPEND_LOTS} lots; take fewer at once");
    Refusal::new(Reason::TooManyLots, message).with("requested", points).with("maximum", MAX_SPEND_LOTS)
}

fn insufficient(requested: i64, available: i64) -> Refusal {
    let message = format!("{requested} points are more than the {available} that are available");
    Refusal::new(Reason::InsufficientPoints, message).with("requested", requested).with("available", available)
}

/// Refuses a spend that the program does not allow, whatever is available.
///
/// # Errors
/// A refusal if it is below the minimum, above the maximum, or not in steps.
pub(crate) fn check_limits(limits: &RedemptionLimits, points: i64) -> Result<(), Refusal> {
    let is_within = limits.minimum.is_none_or(|minimum| points >= minimum)
        && limits.maximum.is_none_or(|maximum| points <= maximum)
        && limits.step.is_none_or(|step| step > 0 && points % step == 0);
    if is_within {
        return Ok(());
    }
    let named_limits = [
        ("minimum", "at least", limits.minimum),
        ("maximum", "at most", limits.maximum),
        ("step", "only multiples of", limits.step),
    ];
    let said: Vec<_> =
        named_limits.into_iter().filter_map(|(name, words, limit)| Some((name, words, limit?))).collect();
    let allowed: Vec<String> = said.iter().map(|(_, words, limit)| format!("{words} {limit}")).collect();
    let message = format!("{points} points cannot be spent at once: the program allows {}", allowed.join(", "));
    let refusal = Refusal::new(Reason::RedemptionOutsideLimits, message).with("requested", points);
    Err(said.into_iter().fold(refusal, |refusal, (name, _, limit)| refusal.with(name, limit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_bound_a_spend_from_below_from_above_and_in_steps() {
        let limits = RedemptionLimits { minimum: Some(100), step: Some(50), maximum: Some(300) };
        let allowed: Vec<i64> = (1..=400).filter(|points| check_limits(&limits, *points).is_ok()).collect();
        assert_eq!(allowed, [100, 150, 200, 250, 300]);
        assert!(check_limits(&RedemptionLimits::default(), i64::MAX).is_ok());
        let told = |limits, points| check_limits(&limits, points).unwrap_err().message;
        let whole =
            "7 points cannot be spent at once: the program allows at least 100, at most 300, only multiples of 50";
        assert_eq!(told(limits, 7), whole);
        let step = RedemptionLimits { step: Some(50), ..RedemptionLimits::default() };
        assert_eq!(told(step, 120), "120 points cannot be spent at once: the program allows only multiples of 50");
    }
}
