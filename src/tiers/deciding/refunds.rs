//! What a refund does to a standing. It is pure.

use jiff::Timestamp;
use jiff::civil::Date;

use super::{Deciding, Earned, Trigger, Verdict, highest};
use crate::book::TierMove;
use crate::programs::tier_policy::RefundEffect;
use crate::programs::tier_policy::windows::{DayRange, KeptUntil};
use crate::tiers::counting::{History, NotRead};
use crate::tiers::standing::Former;

impl Deciding<'_> {
    /// Whether a refund took away what had earned the tier.
    pub(super) fn is_unearned(&self, at: Timestamp, held: usize, trigger: Trigger<'_>) -> Result<bool, NotRead> {
        let Trigger::Refund { day, before } = trigger else { return Ok(false) };
        if self.policy().on_refund == RefundEffect::AtPeriodEnd {
            return Ok(false);
        }
        if self.keeps_by_condition(at) {
            return Ok(self.earned_in(&self.calendar().in_effect(at), before)?.rank >= held);
        }
        self.loses(self.standing.earned, held, (day, before))
    }

    /// Whether a refund took away what had earned the tier that was held before.
    pub(super) fn loses_former(&self, trigger: Trigger<'_>) -> Result<bool, NotRead> {
        let Trigger::Refund { day, before } = trigger else { return Ok(false) };
        let Some(former) = &self.standing.former else { return Ok(false) };
        match self.rank_of(&former.tier_id) {
            Some(rank) => self.loses(former.earned, rank, (day, before)),
            None => Ok(false),
        }
    }

    /// Whether a window earns a tier no more after something was taken off a day of it.
    fn loses(&self, window: Option<DayRange>, rank: usize, (day, before): (Date, &History)) -> Result<bool, NotRead> {
        let Some(window) = window.filter(|window| window.contains(day)) else { return Ok(false) };
        let earns = |history: &History| Ok(highest(self.tiers(), &history.count(window)?) >= rank);
        Ok(earns(before)? && !earns(self.history)?)
    }

    /// Whether a refund took away what had earned the tier, and another window earns it as well: from now on it rests on
    /// that one.
    pub(super) fn rests_elsewhere(&self, at: Timestamp, held: usize, trigger: Trigger<'_>) -> Result<bool, NotRead> {
        Ok(held > 0 && !self.keeps_by_condition(at) && self.is_unearned(at, held, trigger)?)
    }

    /// After a refund took away what had earned the tier: what was held before, unless it has ended or was refunded, too; or
    /// what is left of the window that had earned it, until the same end; or what is earned now. The highest of them, and of
    /// one tier what was held before, since the refunded purchase then changed nothing.
    pub(super) fn fall_back(
        &self,
        at: Timestamp,
        held: usize,
        earned: Earned,
        trigger: Trigger<'_>,
    ) -> Result<Verdict, NotRead> {
        // What has ended may be within its grace.
        let is_open = |ends_at: Option<Timestamp>| ends_at.is_none_or(|ends_at| self.grace_end(ends_at) > at);
        // What had no end, such as a tier that is never lost, leaves one that is kept as if it was earned now.
        let until =
            |ends_at: Option<Timestamp>| ends_at.map_or_else(|| self.calendar().kept_from(at), KeptUntil::Instant);
        let by_condition = self.keeps_by_condition(at);
        let ends_at = self.standing.outlook.ends_at;
        let left = match self.standing.earned.filter(|_| is_open(ends_at) && !by_condition) {
            Some(days) => {
                let counted = self.history.count(days)?;
                Earned { rank: highest(self.tiers(), &counted), kept: until(ends_at), days, counted }
            }
            None => earned,
        };
        let next = if left.rank > 0 && left.rank >= earned.rank { left } else { earned };
        // Where a condition keeps tiers, what does not hold now was not kept: but for what nothing in the book had earned.
        let stands_behind = |former: &Former, rank: usize| {
            let is_more = if by_condition { rank > next.rank && former.earned.is_none() } else { rank >= next.rank };
            is_more && rank > 0 && rank < held && is_open(former.ends_at)
        };
        let former = self.standing.former.as_ref().and_then(|former| Some((former, self.rank_of(&former.tier_id)?)));
        match former.filter(|(former, rank)| stands_behind(former, *rank)) {
            Some((former, rank)) if !self.loses_former(trigger)? => {
                let kept = until(former.ends_at);
                let basis = match former.earned {
                    Some(days) => Earned { rank, kept, days, counted: self.history.count(days)? },
                    None => Earned { rank: 0, ..earned },
                };
                self.change(at, Some(TierMove::Redecided), rank, kept, basis)
            }
            Some(_) | None => self.change(at, Some(TierMove::Redecided), next.rank, next.kept, next),
        }
    }

    fn keeps_by_condition(&self, at: Timestamp) -> bool {
        self.calendar().kept_from(at) == KeptUntil::ConditionFails
    }
}
