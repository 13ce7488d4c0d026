//! How many points a program lets customers earn.

use jiff::Timestamp;

use crate::book::{Decision, DecisionError, EarningWindow};
use crate::error::{Reason, Refusal};
use crate::ids::AccountId;
use crate::points::state::PointsState;
use crate::programs::model::{Program, ProgramVersion};
use crate::programs::points::{CalendarPeriod, PeriodCap};

/// What the program's caps on earning leave of a grant.
#[derive(Clone, Debug)]
pub(crate) struct Capped {
    /// How many points; zero, if a period's cap leaves none.
    pub points: i64,
    /// The capped periods that they count in.
    pub counted_in: Vec<EarningWindow>,
    /// The cap that leaves nothing; of several, the one whose period lasts longest.
    pub reached: Option<ReachedCap>,
}

/// A cap of which a period has nothing left.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReachedCap {
    /// The cap of the program.
    pub cap: PeriodCap,
    /// When its period ends.
    pub ends_at: Timestamp,
}

impl ReachedCap {
    /// The refusal of a grant of which the cap leaves nothing.
    #[must_use]
    pub(crate) fn refuse(self, points: i64) -> Refusal {
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
pub(crate) fn cap(
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
