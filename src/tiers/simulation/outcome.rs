//! What a policy makes of one standing, and of all of them together. It is pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::ToSpan as _;
use jiff::civil::Date;

use crate::book::DowngradeTime;
use crate::error::Defect;
use crate::ids::{AccountId, BenefitId, PackageId, TierId};
use crate::programs::model::{Program, ProgramVersion};
use crate::programs::points::CalendarPeriod;
use crate::programs::tier_policy::windows::DayRange;
use crate::tiers::counting::{History, NotRead};
use crate::tiers::deciding::Deciding;
use crate::tiers::outlook::foretell;
use crate::tiers::overriding::{Moved, moved, valid_until};
use crate::tiers::reevaluation::rule::reevaluate;
use crate::tiers::standing::Standing;

/// A policy that is tried at an instant.
#[derive(Clone, Debug)]
pub(crate) struct Trial {
    /// The policy.
    pub(crate) policy: ProgramVersion,
    /// What was in force then.
    pub(crate) current: Program,
    /// When tiers are lost.
    pub(crate) downgrades: DowngradeTime,
    /// The instant.
    pub(crate) at: Timestamp,
}

/// From which tier to which somebody goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Move {
    pub(crate) from: TierId,
    pub(crate) to: TierId,
    /// When the tier ends that they would hold.
    pub(crate) valid_until: Option<Timestamp>,
}

impl Move {
    pub(crate) fn is_move(&self) -> bool {
        self.from != self.to
    }
}

/// What a policy makes of one standing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) moves: Move,
    /// Whether an override gave the tier before, or would give it.
    pub(crate) overridden: bool,
    /// Whether the tier would be lost at its end, if nothing more is earned.
    pub(crate) falls: bool,
    /// What was spent in the year that ends with the day of the instant, in minor units.
    pub(crate) year_spend: i64,
}

impl NotRead {
    /// It is a mistake of the program: it reads the days that its rules ask for.
    pub(crate) fn into_defect(self, account_id: AccountId) -> Defect {
        Defect::new(format!("days of the standing of account {} were not read", account_id.0))
    }
}

impl Trial {
    /// What the policy makes of a standing.
    ///
    /// # Errors
    /// [`NotRead`] if days are missing.
    pub(crate) fn simulate(&self, standing: &Standing, history: &History) -> Result<Outcome, NotRead> {
        let deciding = Deciding { version: &self.policy, standing, history };
        let verdict = reevaluate(&deciding, self.at, self.downgrades)?;
        let mut after = standing.clone();
        after.outlook = verdict.outlook;
        if let Some(change) = verdict.change {
            let Moved { to, hidden, .. } = moved(&self.policy.program, standing, change.to);
            after.tier_id = to;
            if let Some((forced, hidden)) = after.forced.as_mut().zip(hidden) {
                forced.hidden = hidden;
            }
        }
        let gives = |standing: &Standing| standing.own_tier_id() != &standing.tier_id;
        let first = foretell(&self.policy, &after, history, 1)?.into_iter().next();
        let held = self.rank(&after.tier_id);
        let falls = first.is_some_and(|first| self.rank(&first.to) < held);
        let year = DayRange { from: self.year_begins(), until: None };
        Ok(Outcome {
            overridden: gives(standing) || gives(&after),
            falls,
            year_spend: history.count(year)?.spend,
            moves: Move { from: standing.tier_id.clone(), valid_until: valid_until(&after), to: after.tier_id },
        })
    }

    fn rank(&self, tier_id: &TierId) -> Option<usize> {
        self.policy.program.tiers.iter().position(|tier| tier.tier_id == *tier_id)
    }

    /// The first day of the year that ends with the day of the instant.
    pub(crate) fn year_begins(&self) -> Option<Date> {
        self.policy.program.day_of(self.at).checked_sub((YEAR_DAYS - 1).days()).ok()
    }
}

/// The days up to the one of the instant whose purchases tell what points a year brings.
const YEAR_DAYS: i64 = 365;

/// Behind how many months the ends of tiers are counted together.
const LAST_MONTH: i64 = 120;

/// How many go from one tier to another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct MoveCount {
    pub(crate) customers: i64,
    pub(crate) overridden: i64,
    year_spend: i64,
}

/// How many hold a tier until an end in a month.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EndCount {
    pub(crate) first_end: Timestamp,
    pub(crate) last_end: Timestamp,
    pub(crate) customers: i64,
    pub(crate) falling: i64,
}

/// How many gain a benefit, and how many lose it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct BenefitCount {
    pub(crate) gaining: i64,
    pub(crate) losing: i64,
}

/// How many would be given a package, and the points of all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PackageCount {
    pub(crate) customers: i64,
    pub(crate) points: i64,
}

/// What a policy makes of all standings together. It grows with tiers and months, not with customers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) customers: i64,
    pub(crate) left_out: i64,
    moves: BTreeMap<(TierId, TierId), MoveCount>,
    ends: BTreeMap<(TierId, Date), EndCount>,
}

impl Totals {
    /// Adds a customer.
    pub(crate) fn add(&mut self, trial: &Trial, outcome: &Outcome) {
        let Outcome { moves: Move { from, to, valid_until }, overridden, falls, year_spend } = outcome;
        self.customers += 1;
        let count = self.moves.entry((from.clone(), to.clone())).or_default();
        count.customers += 1;
        count.overridden += i64::from(*overridden);
        count.year_spend = count.year_spend.saturating_add(*year_spend);
        if let Some(end) = *valid_until {
            let month = CalendarPeriod::Month.first_day_at(end, &trial.policy.program.time_zone.0);
            let last = trial.policy.program.day_of(trial.at).first_of_month().checked_add(LAST_MONTH.months());
            let month = last.map_or(month, |last| month.min(last));
            let none = EndCount { first_end: end, last_end: end, customers: 0, falling: 0 };
            let count = self.ends.entry((to.clone(), month)).or_insert(none);
            count.first_end = count.first_end.min(end);
            count.last_end = count.last_end.max(end);
            count.customers += 1;
            count.falling += i64::from(*falls);
        }
    }

    /// From which tier to which how many go, by the ranks of both.
    pub(crate) fn moves(&self, trial: &Trial) -> Vec<(&TierId, &TierId, MoveCount)> {
        let rank_before = |tier_id: &TierId| trial.current.tiers.iter().position(|tier| tier.tier_id == *tier_id);
        let rank = |tier_id: &TierId| rank_before(tier_id).or(trial.rank(tier_id)).unwrap_or(usize::MAX);
        let mut moves: Vec<_> = self.moves.iter().map(|((from, to), count)| (from, to, *count)).collect();
        moves.sort_by_key(|(from, to, _)| (rank(from), trial.rank(to).unwrap_or_else(|| rank(to))));
        moves
    }

    /// Until when how many hold their tiers, by the ranks of these and by month.
    pub(crate) fn ends(&self, trial: &Trial) -> Vec<(&TierId, EndCount)> {
        let mut ends: Vec<_> = self.ends.iter().map(|((tier_id, month), count)| (tier_id, *month, *count)).collect();
        ends.sort_by_key(|(tier_id, month, _)| (trial.rank(tier_id).unwrap_or(usize::MAX), *month));
        ends.into_iter().map(|(tier_id, _, count)| (tier_id, count)).collect()
    }

    /// How many gain and lose which benefit.
    pub(crate) fn benefits(&self, trial: &Trial) -> BTreeMap<BenefitId, BenefitCount> {
        let of = |program: &Program, tier_id: &TierId| -> Vec<BenefitId> {
            let tier = program.tier(tier_id);
            tier.map(|tier| tier.benefits.iter().map(|benefit| benefit.benefit_id.clone()).collect())
                .unwrap_or_default()
        };
        let mut benefits: BTreeMap<BenefitId, BenefitCount> = BTreeMap::new();
        for ((from, to), count) in &self.moves {
            let (before, after) = (of(&trial.current, from), of(&trial.policy.program, to));
            for gained in after.iter().filter(|it| !before.contains(it)) {
                benefits.entry(gained.clone()).or_default().gaining += count.customers;
            }
            for lost in before.iter().filter(|it| !after.contains(it)) {
                benefits.entry(lost.clone()).or_default().losing += count.customers;
            }
        }
        benefits
    }

    /// How many would reach tiers that packages are for, in the order of the document.
    pub(crate) fn packages<'t>(&self, trial: &'t Trial) -> Vec<(&'t PackageId, PackageCount)> {
        let mut counts: BTreeMap<&PackageId, PackageCount> = BTreeMap::new();
        for ((from, to), count) in &self.moves {
            let Some(package) = trial.policy.program.package_on_reaching(Some(from), to) else { continue };
            let told = counts.entry(&package.package_id).or_default();
            told.customers += count.customers;
            told.points = told.points.saturating_add(package.points.saturating_mul(count.customers));
        }
        let packages = trial.policy.program.packages.iter().map(|package| &package.package_id);
        packages.filter_map(|package_id| Some((package_id, counts.remove(package_id)?))).collect()
    }

    /// How many points more, or fewer, the purchases of a year would have earned.
    pub(crate) fn points_per_year(&self, trial: &Trial) -> i64 {
        let points = |program: &Program, tier_id: &TierId, spend: i64| {
            let tier = program.tier(tier_id);
            let multiplier = tier.and_then(|tier| tier.benefits.iter().find_map(|benefit| benefit.kind.multiplier()));
            let (rate, spend) = (program.points_per_unit, program.money(spend));
            let points = multiplier.map_or_else(|| rate.points_for(spend), |by| rate.points_multiplied(spend, by));
            points.unwrap_or(i64::MAX)
        };
        let changes = self.moves.iter().map(|((from, to), count)| {
            let after = points(&trial.policy.program, to, count.year_spend);
            after.saturating_sub(points(&trial.current, from, count.year_spend))
        });
        changes.fold(0, i64::saturating_add)
    }
}

#[cfg(test)]
mod tests;
