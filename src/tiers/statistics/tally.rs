//! What is counted of all standings together. It is pure.

use std::collections::BTreeMap;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};

use crate::book::{Detail, Entry, TierDetail, TierMove};
use crate::ids::TierId;
use crate::programs::model::ProgramVersion;
use crate::programs::points::CalendarPeriod;
use crate::tiers::counting::{History, NotRead};
use crate::tiers::outlook::{Move, foretell};
use crate::tiers::standing::Standing;

/// Some calendar months in a row, the last of them not whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Months {
    /// The first day of each.
    pub(crate) first_days: Vec<Date>,
    /// The first instant of each.
    pub(crate) begins: Vec<Timestamp>,
}

impl Months {
    /// So many months, of which the last has an instant.
    pub(crate) fn until(at: Timestamp, count: i32, time_zone: &TimeZone) -> Self {
        let last = CalendarPeriod::Month.first_day_at(at, time_zone);
        let days = (0..i64::from(count)).rev().filter_map(|ago| last.checked_sub(ago.months()).ok());
        let begins = |day| CalendarPeriod::Month.begins_at(day, time_zone);
        let (first_days, begins) = days.filter_map(|day| Some((day, begins(day)?))).unzip();
        Self { first_days, begins }
    }

    /// The place of the month that an instant lies in; none before the first.
    fn place_of(&self, at: Timestamp) -> Option<usize> {
        self.begins.partition_point(|begin| *begin <= at).checked_sub(1)
    }
}

/// What became of a tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Became {
    Joined,
    Upgraded,
    Downgraded,
    Renewed,
    Redecided,
    Imported,
    Overridden,
    Released,
}

impl Became {
    /// What an entry made of a tier; none, if nothing.
    pub(crate) fn of(detail: &Detail) -> Option<Self> {
        let Detail::Tier(detail) = detail else { return None };
        match detail {
            TierDetail::TierChanged { from: None, .. } => Some(Self::Joined),
            TierDetail::TierChanged { from: Some(_), change, .. } => Some(Self::of_move(*change)),
            TierDetail::TierImported { from, to, hidden, .. } => {
                (from != to || hidden.is_some()).then_some(Self::Imported)
            }
            TierDetail::TierOverridden { .. } => Some(Self::Overridden),
            TierDetail::TierReleased { .. } => Some(Self::Released),
            TierDetail::ReferralCounted { .. } => None,
        }
    }

    pub(crate) const fn of_move(change: Option<TierMove>) -> Self {
        match change {
            None => Self::Upgraded,
            Some(TierMove::Downgraded) => Self::Downgraded,
            Some(TierMove::Renewed) => Self::Renewed,
            Some(TierMove::Redecided) => Self::Redecided,
        }
    }
}

/// What is asked of standings at an instant.
#[derive(Clone, Debug)]
pub(crate) struct Survey {
    /// What was in force then.
    pub(crate) version: ProgramVersion,
    /// The instant.
    pub(crate) at: Timestamp,
    /// Who moves by then is about to.
    pub(crate) horizon: Timestamp,
    pub(crate) months: Months,
}

/// A move that time is about to bring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Upcoming {
    pub(crate) at: Timestamp,
    pub(crate) became: Became,
    pub(crate) from: TierId,
    pub(crate) to: TierId,
}

impl Survey {
    /// What time makes next of a standing, if that comes by the horizon and nothing more is counted.
    ///
    /// # Errors
    /// [`NotRead`] if days are missing.
    pub(crate) fn upcoming(&self, standing: &Standing, history: &History) -> Result<Option<Upcoming>, NotRead> {
        if standing.next_due().is_none_or(|due| due.at > self.horizon) {
            return Ok(None);
        }
        let next = foretell(&self.version, standing, history, 1)?.into_iter().next();
        let next = next.filter(|next| next.at <= self.horizon).map(|next| Upcoming {
            at: next.at,
            became: match next.what {
                Move::Decided(change) => Became::of_move(change),
                Move::Released => Became::Released,
            },
            from: standing.tier_id.clone(),
            to: next.to,
        });
        Ok(next)
    }

    pub(crate) fn rank(&self, tier_id: &TierId) -> usize {
        let tiers = &self.version.program.tiers;
        tiers.iter().position(|tier| tier.tier_id == *tier_id).unwrap_or(usize::MAX)
    }
}

/// How many hold a tier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TierCount {
    pub(crate) customers: i64,
    /// Those to whom an override gives it.
    pub(crate) overridden: i64,
}

/// How many are about to make a move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UpcomingCount {
    pub(crate) customers: i64,
    pub(crate) first_at: Timestamp,
    pub(crate) last_at: Timestamp,
}

/// What was counted. It grows with tiers and months, not with customers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) customers: i64,
    pub(crate) left_out: i64,
    tiers: BTreeMap<TierId, TierCount>,
    upcoming: BTreeMap<(TierId, TierId, Became), UpcomingCount>,
    months: BTreeMap<(usize, Became), i64>,
}

impl Tally {
    /// Adds a customer, and what is about to become of them.
    pub(crate) fn add(&mut self, standing: &Standing, next: Option<&Upcoming>) {
        self.customers += 1;
        let count = self.tiers.entry(standing.tier_id.clone()).or_default();
        count.customers += 1;
        count.overridden += i64::from(standing.own_tier_id() != &standing.tier_id);
        if let Some(Upcoming { at, became, from, to }) = next {
            let none = UpcomingCount { customers: 0, first_at: *at, last_at: *at };
            let count = self.upcoming.entry((from.clone(), to.clone(), *became)).or_insert(none);
            count.customers += 1;
            count.first_at = count.first_at.min(*at);
            count.last_at = count.last_at.max(*at);
        }
    }

    /// Adds what became of tiers in months, by their places.
    pub(crate) fn add_moves(&mut self, moves: impl IntoIterator<Item = (usize, Became, i64)>) {
        for (month, became, count) in moves {
            *self.months.entry((month, became)).or_default() += count;
        }
    }

    /// Adds what time has done that is not written.
    pub(crate) fn add_dues(&mut self, survey: &Survey, dues: &[Entry]) {
        let moves = dues
            .iter()
            .filter_map(|due| Some((survey.months.place_of(due.effective_at)?, Became::of(&due.detail)?, 1)));
        self.add_moves(moves);
    }

    /// How many hold each tier of the program, the lowest first, and then tiers that it has no more.
    pub(crate) fn tiers(&self, survey: &Survey) -> Vec<(TierId, TierCount)> {
        let of_program = survey.version.program.tiers.iter().map(|tier| &tier.tier_id);
        let lost = self.tiers.keys().filter(|tier_id| survey.rank(tier_id) == usize::MAX);
        let count = |tier_id: &TierId| self.tiers.get(tier_id).copied().unwrap_or_default();
        of_program.chain(lost).map(|tier_id| (tier_id.clone(), count(tier_id))).collect()
    }

    /// How many are about to make which move, by the ranks of the tiers.
    pub(crate) fn upcoming(&self, survey: &Survey) -> Vec<(&TierId, &TierId, Became, UpcomingCount)> {
        let mut all: Vec<_> =
            self.upcoming.iter().map(|((from, to, became), count)| (from, to, *became, *count)).collect();
        all.sort_by_key(|(from, to, became, _)| (survey.rank(from), survey.rank(to), *became));
        all
    }

    /// What became of tiers in a month, by its place.
    pub(crate) fn in_month(&self, place: usize, became: Became) -> i64 {
        self.months.get(&(place, became)).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests;
