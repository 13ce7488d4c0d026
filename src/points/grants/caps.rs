//! How many points a program lets customers earn.

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};

use crate::book::{Asking, Decision, DecisionError, Defect, EarningWindow, Name};
use crate::error::{Reason, Refusal};
use crate::ids::{AccountId, ProgramId};
use crate::points::lots::Earning;
use crate::points::state::PointsState;
use crate::programs::model::ProgramVersion;
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

/// Asks for what a customer has earned in the program's capped periods.
///
/// # Errors
/// [`Defect`] if the command does not list the state of points.
pub(crate) fn ask_earned(asking: &mut Asking<'_>, program_id: &ProgramId, customer: &Name) -> Result<(), Defect> {
    let Some(account_id) = asking.find(customer) else { return Ok(()) };
    // A customer without entries has earned nothing.
    let Some(at) = asking.time_of(account_id) else { return Ok(()) };
    asking.state::<PointsState>()?.ask_earned(account_id, program_id, at);
    Ok(())
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
        let day = cap.period.first_day_at(at, &program.time_zone.0);
        let known = earned_in(earning, cap.period, day, policy);
        // What was looked up is written down with the grant, and known from then on.
        let looked_up = if known.is_none() { Some(look_up(decision, account_id, cap.period, day)?) } else { None };
        let left = cap.points.saturating_sub(known.or(looked_up).unwrap_or(0)).max(0);
        if left == 0 {
            let ends_at = cap.period.end_of(at, &program.time_zone.0);
            reached = reached.filter(|longest| longest.ends_at >= ends_at).or(Some(ReachedCap { cap: *cap, ends_at }));
        }
        granted = granted.min(left);
        let period = cap.period.as_str().to_owned();
        counted_in.push(EarningWindow { period, since: None, day: Some(day), earned: looked_up });
    }
    Ok(Capped { points: granted, counted_in, reached })
}

/// What was looked up among the entries of an account; nothing, if it has none.
fn look_up(
    decision: &Decision<'_>,
    account_id: AccountId,
    period: CalendarPeriod,
    day: Date,
) -> Result<i64, DecisionError> {
    if decision.account(account_id)?.head == 0 {
        return Ok(0);
    }
    let looked_up = decision.state::<PointsState>()?.lots().looked_up(account_id, period.as_str());
    looked_up.filter(|earned| earned.day == day).map(|earned| earned.points).ok_or(DecisionError::NotLoaded)
}

/// How long a batch may take at most, and more: what was decided by the version before one has an earlier instant than
/// this long after it.
const LONGER_THAN_ANY_BATCH: SignedDuration = SignedDuration::from_hours(1);

/// How many points were earned in the period of a kind that begins on a day. None if the entries have to be asked: what
/// was earned under another version of the program may not have been counted.
#[must_use]
pub(crate) fn earned_in(
    earning: Option<&Earning>,
    period: CalendarPeriod,
    day: Date,
    policy: &ProgramVersion,
) -> Option<i64> {
    let last = earning.and_then(|earning| earning.earned.get(period.as_str()));
    if let Some(earned) = last.filter(|earned| earned.day == Some(day)) {
        return Some(earned.points).filter(|_| earned.policy_version == policy.version);
    }
    // Entries that do not tell the day may be of this very period.
    let is_told = last.is_none_or(|earned| earned.day.is_some());
    let begins_at = period.begins_at(day, &policy.program.time_zone.0)?;
    let is_of_this_version = begins_at.duration_since(policy.effective_from) >= LONGER_THAN_ANY_BATCH;
    (is_told && is_of_this_version).then_some(0)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use jiff::civil::date;

    use super::*;
    use crate::points::lots::Earned;
    use crate::programs::model::tests::program;

    #[test]
    fn what_was_earned_is_known_only_where_each_grant_was_counted() {
        let policy = ProgramVersion {
            program: program(),
            version: 3,
            applied_at: Timestamp::UNIX_EPOCH,
            effective_from: "2026-01-10T12:00:00Z".parse().unwrap(),
        };
        let known = |earned: Option<Earned>, day| {
            let earned = earned.map(|earned| ("month".to_owned(), earned));
            let earning = Earning { earned: BTreeMap::from_iter(earned), ..Earning::default() };
            earned_in(Some(&earning), CalendarPeriod::Month, day, &policy)
        };
        let (january, february) = (date(2026, 1, 1), date(2026, 2, 1));
        let counted = |day, policy_version| Some(Earned { day, points: 40, policy_version });
        assert_eq!(known(counted(Some(january), 3), january), Some(40));
        assert_eq!(known(counted(Some(january), 2), january), None);
        assert_eq!((known(None, january), known(None, february)), (None, Some(0)));
        assert_eq!(known(counted(Some(january), 2), february), Some(0));
        // The last entry that was counted does not tell its month.
        assert_eq!(known(counted(None, 3), february), None);
        // A version that has been applied just before may have had a batch beside it.
        let soon = ProgramVersion { effective_from: "2026-02-01T04:30:00Z".parse().unwrap(), ..policy.clone() };
        assert_eq!(earned_in(None, CalendarPeriod::Month, february, &soon), None);
    }
}
