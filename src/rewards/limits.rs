//! How many points a program lets customers earn, and spend at once.

use jiff::Timestamp;

use super::store::PointsState;
use crate::book::{Decision, DecisionError, EarningWindow};
use crate::error::{Reason, Refusal};
use crate::ids::AccountId;
use crate::programs::model::{Program, ProgramVersion};
use crate::programs::points::{CalendarPeriod, PeriodCap, RedemptionLimits};

/// What the program's caps on earning leave of a grant.
#[derive(Clone, Debug)]
pub struct Capped {
    /// How many points; none, if a period's cap is reached.
    pub points: i64,
    /// The capped periods that they count in.
    pub counted_in: Vec<EarningWindow>,
    /// The cap that leaves nothing; of several, the one whose period lasts longest.
    pub reached: Option<ReachedCap>,
}

/// A period's cap that is reached.
#[derive(Clone, Copy, Debug)]
pub struct ReachedCap {
    /// The cap.
    pub cap: PeriodCap,
    /// When its period ends.
    pub ends_at: Timestamp,
}

impl ReachedCap {
    /// The refusal of a grant of which it leaves nothing.
    #[must_use]
    pub fn refuse(self, points: i64) -> Refusal {
        let Self { cap: PeriodCap { period, points: most }, ends_at } = self;
        let period = period.as_str();
        let message = format!("the cap of {most} points a {period} is reached, and leaves nothing before {ends_at}");
        let refusal = Refusal::new(Reason::EarningCapExceeded, message).with("points", points);
        refusal.with("period", period).with("maximum", most).with("ends_at", ends_at)
    }
}

/// How many of the points a customer may earn, and the capped periods that they count in.
///
/// # Errors
/// A refusal if it is more than one transaction may bring; [`DecisionError::NotLoaded`] if the account is not locked.
pub fn cap(
    decision: &Decision<'_>,
    policy: &ProgramVersion,
    account_id: AccountId,
    points: i64,
) -> Result<Capped, DecisionError> {
    let program = &policy.program;
    let at = decision.account(account_id)?.time_at(decision.at());
    let earning = decision.state::<PointsState>()?.lots().earning(account_id);
    let limits = &program.points.earning;
    if let Some(most) = limits.per_transaction.filter(|most| points > *most) {
        let message = format!("one transaction may bring {most} points, not {points}");
        let refusal = Refusal::new(Reason::EarningCapExceeded, message).with("points", points);
        return Err(refusal.with("maximum", most).into());
    }
    let (mut granted, mut counted_in, mut reached) = (points, Vec::new(), None::<ReachedCap>);
    for cap in &limits.per_period {
        let window = window_of(cap.period, at, program);
        let earned = earning.and_then(|earning| earning.earned.get(&window.period));
        let earned = earned.filter(|(since, _)| *since == window.since).map_or(0, |(_, points)| *points);
        let left = cap.points.saturating_sub(earned).max(0);
        if left == 0 {
            let ends_at = cap.period.end_of(at, &program.time_zone.0);
            reached = reached.filter(|longest| longest.ends_at >= ends_at).or(Some(ReachedCap { cap: *cap, ends_at }));
        }
        granted = granted.min(left);
        counted_in.push(window);
    }
    Ok(Capped { points: granted, counted_in, reached })
}

fn window_of(period: CalendarPeriod, at: Timestamp, program: &Program) -> EarningWindow {
    EarningWindow { period: period.as_str().to_owned(), since: period.start_of(at, &program.time_zone.0) }
}

/// Refuses a spend that the program does not allow, whatever is available.
///
/// # Errors
/// A refusal if it is below the minimum, above the maximum, or not in steps.
pub fn check_limits(limits: &RedemptionLimits, points: i64) -> Result<(), Refusal> {
    let is_within = limits.minimum.is_none_or(|minimum| points >= minimum)
        && limits.maximum.is_none_or(|maximum| points <= maximum)
        && limits.step.is_none_or(|step| step > 0 && points % step == 0);
    if is_within {
        return Ok(());
    }
    let limits = [
        ("minimum", "at least", limits.minimum),
        ("maximum", "at most", limits.maximum),
        ("step", "only multiples of", limits.step),
    ];
    let said: Vec<_> = limits.into_iter().filter_map(|(name, words, limit)| Some((name, words, limit?))).collect();
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
