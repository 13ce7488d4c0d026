//! How a standing is decided: by what was counted, by what the program says, and by time. It is pure, and the only place
//! that knows: activities, dues and answers ask it.

mod refunds;

use jiff::Timestamp;
use jiff::civil::Date;

use super::counting::{Counted, History, NotRead};
use super::standing::Standing;
use crate::book::{Earnings, Outlook, TierMove};
use crate::ids::TierId;
use crate::programs::model::{ProgramVersion, Tier};
use crate::programs::tier_policy::windows::{Calendar, DayRange, InEffect, KeptUntil};
use crate::programs::tier_policy::{AtEnd, KeptRule, TierPolicy, TierWindow, UpgradeTime, day_after};

/// Why a standing is decided.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Trigger<'a> {
    /// The customer did something, or time did.
    Other,
    /// A refund took something off a day; before it, the history was this.
    Refund {
        /// The day of the purchase.
        day: Date,
        /// What was counted before.
        before: &'a History,
    },
}

/// What a decision about a standing comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// The change, if there is one.
    pub change: Option<Change>,
    /// What time will do next.
    pub outlook: Outlook,
    /// Whether a refund took away what had earned the tier that was held before.
    pub former_lost: bool,
}

/// A change of a standing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    /// The customer's own tier from now on: an override may hide it.
    pub to: TierId,
    /// What it is; none for an upgrade.
    pub kind: Option<TierMove>,
    /// What was spent within the window that decided, in minor units.
    pub spend: i64,
    /// What earned the tier, if anything did.
    pub earned: Option<Earnings>,
    /// The last entry that counted in that window.
    pub cause: Option<i64>,
}

/// The highest tier that some windows earn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Earned {
    pub(super) rank: usize,
    pub(super) kept: KeptUntil,
    days: DayRange,
    counted: Counted,
}

/// A standing to be decided.
#[derive(Clone, Copy)]
pub(crate) struct Deciding<'a> {
    pub(super) version: &'a ProgramVersion,
    pub(super) standing: &'a Standing,
    pub(super) history: &'a History,
}

impl<'a> Deciding<'a> {
    fn tiers(&self) -> &'a [Tier] {
        &self.version.program.tiers
    }

    pub(super) const fn policy(&self) -> &'a TierPolicy {
        &self.version.program.tier_policy
    }

    /// The customer's calendar.
    pub(super) const fn calendar(&self) -> Calendar<'a> {
        calendar_of(self.version, self.standing.enrolled_on)
    }

    pub(super) fn rank_of(&self, tier_id: &TierId) -> Option<usize> {
        self.tiers().iter().position(|tier| tier.tier_id == *tier_id)
    }

    /// The highest tier up to a rank that is never lost; the first, if none is.
    pub(super) fn secured_up_to(&self, rank: usize) -> usize {
        self.tiers().iter().take(rank.saturating_add(1)).rposition(|tier| tier.never_lost).unwrap_or(0)
    }

    /// Whether time never takes a tier away, whatever the policy says.
    fn is_endless(&self, rank: usize) -> bool {
        rank == 0 || self.tiers().get(rank).is_some_and(|tier| tier.never_lost)
    }

    /// The highest tier that some windows earn; of several, by the one that keeps it longest.
    pub(super) fn earned_in(&self, windows: &[InEffect], history: &History) -> Result<Earned, NotRead> {
        let counted = history.totals;
        let mut best = Earned { rank: 0, kept: KeptUntil::Never, days: DayRange::ALL, counted };
        for window in windows {
            let counted = history.count(window.days)?;
            let rank = highest(self.tiers(), &counted);
            let is_better = (rank, window.kept) > (best.rank, best.kept);
            if is_better || best.rank == 0 && rank == 0 {
                let kept = if rank == 0 { KeptUntil::Never } else { window.kept };
                best = Earned { rank, kept, days: window.days, counted };
            }
        }
        Ok(best)
    }

    /// Decides the standing at an instant.
    pub(crate) fn decide(&self, at: Timestamp, trigger: Trigger<'_>) -> Result<Verdict, NotRead> {
        Ok(Verdict { former_lost: self.loses_former(trigger)?, ..self.decide_tier(at, trigger)? })
    }

    fn decide_tier(&self, at: Timestamp, trigger: Trigger<'_>) -> Result<Verdict, NotRead> {
        let earned = self.earned_in(&self.calendar().in_effect(at), self.history)?;
        let Some(held) = self.rank_of(self.standing.own_tier_id()) else {
            // The program has the tier no more.
            return self.change(at, None, earned.rank, earned.kept, earned);
        };
        if earned.rank > held {
            return self.change(at, None, earned.rank, earned.kept, earned);
        }
        if earned.rank < held && self.is_unearned(at, held, trigger)? {
            return self.fall_back(at, held, earned, trigger);
        }
        if earned.rank == held && self.rests_elsewhere(at, held, trigger)? {
            let kept = self.standing.outlook.ends_at.map_or(KeptUntil::Never, KeptUntil::Instant);
            return self.change(at, Some(TierMove::Redecided), held, kept, earned);
        }
        if self.is_endless(held) {
            return self.stay(at, held, None);
        }
        match self.calendar().kept_from(at) {
            KeptUntil::Never => self.stay(at, held, None),
            KeptUntil::ConditionFails => self.decide_by_condition(at, held, earned),
            KeptUntil::Instant(from_now) => self.decide_by_end(at, held, earned, from_now),
        }
    }

    fn decide_by_condition(&self, at: Timestamp, held: usize, earned: Earned) -> Result<Verdict, NotRead> {
        if earned.rank >= held {
            return self.stay(at, held, self.first_failing(at, held)?);
        }
        match self.standing.outlook.ends_at {
            Some(ends_at) if ends_at > at || at < self.grace_end(ends_at) => self.stay(at, held, Some(ends_at)),
            None if at < self.grace_end(at) => self.stay(at, held, Some(at)),
            Some(_) | None => self.drop(at, held, earned),
        }
    }

    fn decide_by_end(
        &self,
        at: Timestamp,
        held: usize,
        earned: Earned,
        from_now: Timestamp,
    ) -> Result<Verdict, NotRead> {
        let Some(ends_at) = self.standing.outlook.ends_at else { return self.stay(at, held, Some(from_now)) };
        if ends_at > at {
            return self.stay(at, held, Some(ends_at));
        }
        let saved = if at > ends_at && at < self.grace_end(ends_at) {
            Some(self.earned_in(&self.calendar().deciding_end(ends_at), self.history)?)
        } else {
            None
        };
        let again = std::iter::once(earned).chain(saved).filter(|it| it.rank >= held).max_by_key(|it| it.kept);
        match again {
            Some(again) => {
                let kept = if again.kept > KeptUntil::Instant(at) { again.kept } else { KeptUntil::Instant(from_now) };
                self.change(at, Some(TierMove::Renewed), held, kept, again)
            }
            None if at < self.grace_end(ends_at) => self.stay(at, held, Some(ends_at)),
            None => self.drop(at, held, earned),
        }
    }

    /// The end of the grace of a tier that ends at an instant; the same instant, if there is none.
    fn grace_end(&self, ends_at: Timestamp) -> Timestamp {
        let time_zone = &self.version.program.time_zone.0;
        self.policy().grace.as_ref().map_or(ends_at, |grace| grace.after(ends_at, time_zone))
    }

    /// The tier has ended, and was not earned again.
    fn drop(&self, at: Timestamp, held: usize, earned: Earned) -> Result<Verdict, NotRead> {
        let mut rank = earned.rank;
        if self.policy().at_end == AtEnd::OneStep {
            rank = rank.max(held.saturating_sub(1));
        }
        rank = rank.max(self.secured_up_to(held.saturating_sub(1)));
        if rank == earned.rank {
            return self.change(at, Some(TierMove::Downgraded), rank, earned.kept, earned);
        }
        let step = self.calendar().period_end(at).map_or_else(|| self.calendar().kept_from(at), KeptUntil::Instant);
        self.change(at, Some(TierMove::Downgraded), rank, step, earned)
    }

    fn stay(&self, at: Timestamp, held: usize, ends_at: Option<Timestamp>) -> Result<Verdict, NotRead> {
        Ok(Verdict { change: None, outlook: self.outlook(at, held, ends_at)?, former_lost: false })
    }

    pub(super) fn change(
        &self,
        at: Timestamp,
        kind: Option<TierMove>,
        rank: usize,
        kept: KeptUntil,
        earned: Earned,
    ) -> Result<Verdict, NotRead> {
        let tier = self.tiers().get(rank);
        let ends_at = match kept {
            KeptUntil::Never => None,
            KeptUntil::Instant(instant) => Some(instant),
            KeptUntil::ConditionFails => self.first_failing(at, rank)?,
        };
        let ends_at = ends_at.filter(|_| !self.is_endless(rank));
        let (days, is_earned) = (earned.days, rank > 0 && earned.rank >= rank);
        // What comes later does not count for it: a refund of that does not take the tier away.
        let until = self.history.days.last().map(|(day, _)| *day).into_iter().chain([self.calendar().day_of(at)]).max();
        let until = days.until.or_else(|| until.and_then(|day| day.tomorrow().ok()).filter(|_| days.from.is_some()));
        let change = Change {
            to: tier.map_or_else(|| self.standing.own_tier_id().clone(), |tier| tier.tier_id.clone()),
            kind,
            spend: earned.counted.spend,
            earned: is_earned.then(|| earned.counted.in_window(DayRange { until, ..days })),
            cause: is_earned.then(|| self.history.last_entry_in(days)).flatten(),
        };
        Ok(Verdict { change: Some(change), outlook: self.outlook(at, rank, ends_at)?, former_lost: false })
    }

    /// When time first takes away what a tier rests on, if nothing is counted any more. None if it never does.
    fn first_failing(&self, at: Timestamp, rank: usize) -> Result<Option<Timestamp>, NotRead> {
        let TierWindow::Rolling(period) = &self.policy().window else { return Ok(self.calendar().period_end(at)) };
        let window = self.calendar().window_of(self.calendar().day_of(at));
        let mut counted = self.history.count(window)?;
        let in_window = self.history.days.iter().filter(|(day, _)| window.contains(*day));
        for (day, count) in in_window {
            counted.add(count, -1);
            if highest(self.tiers(), &counted) < rank {
                return Ok(Some(self.calendar().begins_at(day_after(*day, period))));
            }
        }
        Ok(None)
    }

    /// What time does next to a tier that ends at an instant, if nothing is counted any more.
    fn outlook(&self, at: Timestamp, rank: usize, ends_at: Option<Timestamp>) -> Result<Outlook, NotRead> {
        let calendar = self.calendar();
        let end = match ends_at {
            Some(ends_at) if ends_at > at => {
                let is_earned = self.earned_in(&calendar.in_effect(ends_at), self.history)?.rank >= rank;
                Some(if is_earned { ends_at } else { self.grace_end(ends_at) })
            }
            Some(ends_at) => Some(self.grace_end(ends_at)),
            None => None,
        };
        // What the present period has earned counts from its end on, or what was told for the next one already.
        let is_ahead = self.history.days.last().is_some_and(|(day, _)| *day > calendar.day_of(at));
        let looks = self.policy().upgrade == UpgradeTime::AtPeriodEnd || is_ahead;
        let rise = match calendar.period_end(at).filter(|_| looks) {
            Some(boundary) if self.earned_in(&calendar.in_effect(boundary), self.history)?.rank > rank => {
                Some(boundary)
            }
            Some(_) | None => None,
        };
        Ok(Outlook { ends_at, decides_at: end.into_iter().chain(rise).min() })
    }

    /// When a tier ends that is taken over from another system at an instant, as if it had been earned just now.
    fn end_of_brought(&self, at: Timestamp, rank: usize) -> Option<Timestamp> {
        if self.is_endless(rank) {
            return None;
        }
        let calendar = self.calendar();
        match calendar.kept_from(at) {
            KeptUntil::Never => None,
            KeptUntil::Instant(instant) => Some(instant),
            KeptUntil::ConditionFails => match &self.policy().window {
                TierWindow::Lifetime => None,
                TierWindow::Rolling(period) => Some(calendar.begins_at(day_after(calendar.day_of(at), period))),
                TierWindow::Calendar(_) | TierWindow::EnrolmentYear => calendar.period_end(at),
            },
        }
    }

    /// What time does next to a tier that is taken over.
    pub(super) fn outlook_of_brought(&self, at: Timestamp, rank: usize) -> Result<Outlook, NotRead> {
        self.outlook(at, rank, self.end_of_brought(at, rank))
    }

    /// What was spent within the present window.
    pub(super) fn present_spend(&self, at: Timestamp) -> Result<i64, NotRead> {
        Ok(self.history.count(self.calendar().window_of(self.calendar().day_of(at)))?.spend)
    }

    /// The window that decides whether the tier is kept on: the one of its end, or the present one.
    pub(super) fn keeping_window(&self, at: Timestamp) -> DayRange {
        let calendar = self.calendar();
        let present = calendar.window_of(calendar.day_of(at));
        let Some(ends_at) =
            self.standing.outlook.ends_at.filter(|_| self.policy().kept != KeptRule::WhileConditionHolds)
        else {
            return present;
        };
        let last_day = calendar.day_of(ends_at).yesterday().ok().filter(|_| calendar.has_periods());
        calendar.window_of(last_day.unwrap_or_else(|| calendar.day_of(ends_at)))
    }
}

/// The calendar of a customer who joined on a day.
pub(super) const fn calendar_of(version: &ProgramVersion, enrolled_on: Option<Date>) -> Calendar<'_> {
    let program = &version.program;
    Calendar { policy: &program.tier_policy, time_zone: &program.time_zone.0, enrolled_on }
}

/// The rank of the highest tier whose condition holds; the first tier's, if none does.
fn highest(tiers: &[Tier], counted: &Counted) -> usize {
    let reached = tiers.iter().rposition(|tier| match &tier.condition {
        Some(condition) => condition.holds(&|metric| counted.of(metric)),
        None => counted.spend >= tier.threshold,
    });
    reached.unwrap_or(0)
}

#[cfg(test)]
mod tests;
