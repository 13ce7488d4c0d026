//! Where value classes begin, and of which class a customer is. It is pure.

use std::sync::Arc;

use jiff::ToSpan as _;
use jiff::civil::Date;

use crate::book::{ClassedCount, Classification, Defect, RelationshipLevel, ValueMeasure, ValueModel};
use crate::ids::{EntryId, ValueClassId};
use crate::money::Currency;
use crate::programs::model::ProgramVersion;
use crate::programs::points::CalendarPeriod;
use crate::programs::value_classes::{ClassBound, ValueClassPolicy};
use crate::value::model::{Forecast, PurchaseHistory};

/// How many customers can be ranked: what is kept of each is 8 bytes.
pub(super) const MAX_RANKED: usize = 20_000_000;

/// Days that are looked at, as the first and the one after the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Days {
    pub(super) from: Date,
    pub(super) until: Date,
}

/// The days that a policy looks at, where its periods end before a day.
pub(super) fn days_before(policy: &ValueClassPolicy, until: Date) -> Days {
    let last = policy.each.first_day(until.saturating_sub(1.day()));
    let months = (policy.window_periods() - 1).saturating_mul(match policy.each {
        CalendarPeriod::Quarter => 3,
        CalendarPeriod::Half => 6,
        CalendarPeriod::Year => 12,
        CalendarPeriod::Day | CalendarPeriod::Week | CalendarPeriod::Month => 1,
    });
    Days { from: last.saturating_sub(months.months()), until }
}

/// The last end of a period by a day, as the first day after it.
pub(super) fn last_end(policy: &ValueClassPolicy, today: Date) -> Date {
    policy.each.first_day(today)
}

/// What a customer has: a class by its name, since it may be one that the program has no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub class_id: ValueClassId,
    pub level: Option<RelationshipLevel>,
    /// At how many ends in a row they have been below it.
    pub ends_below: i32,
}

/// What a customer bought, by what was recorded by an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Windowed {
    /// All of it.
    pub(super) history: PurchaseHistory,
    /// On how many of the days that are looked at they bought, what they spent on these, and what that brought.
    pub(super) days: i64,
    pub(super) spend: i64,
    pub(super) margin: i64,
}

/// What is measured of a customer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Measured {
    /// What they are worth; nothing, if they bought nothing that counts.
    pub(super) worth: Option<i64>,
    /// What they brought in the days that are looked at.
    pub(super) margin: i64,
}

/// What customers are measured by.
#[derive(Clone, Debug)]
pub(super) struct Measuring {
    pub(super) measure: ValueMeasure,
    pub(super) currency: Currency,
    pub(super) days: Days,
    /// The model by which it is expected what they will spend, where that is what they are measured by.
    pub(super) model: Option<ValueModel>,
}

impl Measuring {
    /// What a customer is worth.
    ///
    /// # Errors
    /// If the model or what they bought is out of all bounds.
    pub(super) fn measure(&self, bought: Option<&Windowed>) -> Result<Measured, Defect> {
        let Some(bought) = bought else { return Ok(Measured::default()) };
        let bought_lately = bought.days > 0;
        let worth = match self.measure {
            ValueMeasure::Spend => Some(bought.spend).filter(|_| bought_lately),
            ValueMeasure::Margin => Some(bought.margin).filter(|_| bought_lately),
            ValueMeasure::ExpectedValue => {
                let today = self.days.until.saturating_sub(1.day());
                let forecast = self.model.as_ref();
                let forecast =
                    forecast.map(|model| Forecast::of(model, &bought.history, today, self.currency)).transpose()?;
                forecast.and_then(|forecast| forecast.worth).map(|(_, all)| all.minor)
            }
        };
        Ok(Measured { worth, margin: bought.margin })
    }
}

/// What all customers are worth who are worth anything.
#[derive(Debug)]
pub(super) struct Ranking {
    worths: Vec<i64>,
    most: usize,
}

/// More customers are worth anything than can be ranked.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooMany;

impl Ranking {
    /// Nobody yet, and no more than so many.
    pub(super) const fn new(most: usize) -> Self {
        Self { worths: Vec::new(), most }
    }

    pub(super) fn add(&mut self, worth: i64) -> Result<(), TooMany> {
        if self.worths.len() >= self.most {
            return Err(TooMany);
        }
        self.worths.push(worth);
        Ok(())
    }

    /// Puts everybody in order.
    pub(super) fn ranked(mut self) -> Ranked {
        self.worths.sort_unstable_by(|one, other| other.cmp(one));
        Ranked(self.worths)
    }
}

/// What all customers are worth who are worth anything, the most first.
#[derive(Debug)]
pub(super) struct Ranked(Vec<i64>);

impl Ranked {
    /// How many they are.
    pub(super) fn count(&self) -> i64 {
        i64::try_from(self.0.len()).unwrap_or(i64::MAX)
    }

    /// From which amount on customers are in a class. Equals are, if one of them is.
    fn amount(&self, bound: ClassBound) -> i64 {
        match bound {
            ClassBound::Least(least) => least,
            ClassBound::TopPercent(percent) => {
                let percent = usize::try_from(percent).unwrap_or(0);
                let last = self.0.len().saturating_mul(percent).div_ceil(100).saturating_sub(1);
                self.0.get(last).copied().unwrap_or(i64::MAX)
            }
        }
    }
}

/// By what customers are placed.
#[derive(Clone, Debug)]
pub(super) struct Standard {
    pub(super) classes: Vec<ClassedCount>,
    pub(super) ends_to_fall: i32,
}

/// Where a customer is placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Placed {
    /// The place of the class among all, from 0.
    pub(super) class: usize,
    pub(super) ends_below: i32,
}

impl Standard {
    /// Where the classes of a policy begin, of which nobody is counted yet.
    pub(super) fn begin(policy: &ValueClassPolicy, ranked: &Ranked) -> Self {
        let classes = policy.classes.iter().map(|class| ClassedCount {
            class_id: class.class_id.clone(),
            from: class.from.map(|bound| ranked.amount(bound)),
            keep: class.kept_from().map(|bound| ranked.amount(bound)),
            customers: 0,
            margin: 0,
            level: None,
        });
        Self { classes: classes.collect(), ends_to_fall: policy.ends_to_fall() }
    }

    /// The highest class that an amount reaches, or keeps. The last is that of everybody else.
    fn highest(&self, worth: i64, bound: impl Fn(&ClassedCount) -> Option<i64>) -> usize {
        let reached = self.classes.iter().position(|class| bound(class).is_none_or(|least| worth >= least));
        reached.unwrap_or(self.classes.len().saturating_sub(1))
    }

    /// The class of a customer who had one before, or none. Whoever was never worth anything has none.
    pub(super) fn place(&self, measured: Measured, held: Option<&Held>) -> Option<Placed> {
        if measured.worth.is_none() && held.is_none() {
            return None;
        }
        let worth = measured.worth.unwrap_or(0);
        let reached = self.highest(worth, |class| class.from);
        let place_of = |held: &Held| self.classes.iter().position(|class| class.class_id == held.class_id);
        let Some((before, ends_below)) = held.and_then(|held| Some((place_of(held)?, held.ends_below))) else {
            return Some(Placed { class: reached, ends_below: 0 });
        };
        let kept = self.highest(worth, |class| class.keep).max(before);
        if reached <= before || kept == before {
            return Some(Placed { class: reached.min(before), ends_below: 0 });
        }
        // They are below the class, and lose it at the last of so many ends.
        let ends_below = ends_below.saturating_add(1);
        if ends_below < self.ends_to_fall {
            return Some(Placed { class: before, ends_below });
        }
        Some(Placed { class: kept, ends_below: 0 })
    }

    /// Counts a customer.
    pub(super) fn count(&mut self, measured: Measured, placed: Placed) {
        if let Some(class) = self.classes.get_mut(placed.class) {
            class.customers += 1;
            class.margin = class.margin.saturating_add(measured.margin);
        }
    }

    /// Tells the levels of the classes, once all customers are counted.
    pub(super) fn level(&mut self, policy: &ValueClassPolicy) {
        for (counted, class) in self.classes.iter_mut().zip(&policy.classes) {
            let average = counted.margin.checked_div(counted.customers).unwrap_or(0);
            let cut =
                policy.levels.filter(|_| counted.customers > 0).map(|cuts| cuts.level(counted.customers, average));
            counted.level = class.level.or(cut);
        }
    }

    /// The classification that all of it comes to, where so many customers were ranked.
    pub(super) fn into_classification(self, measuring: &Measuring, ranked: i64) -> Classification {
        let Measuring { measure, days: Days { from, until }, ref model, currency: _ } = *measuring;
        let model_version = model.as_ref().map(|model| model.version);
        Classification { from, until, measure, model_version, ranked, classes: self.classes }
    }
}

/// A classification by which the customers of a program are decided about.
#[derive(Clone, Debug)]
pub(super) struct Classed {
    /// The entry that tells it.
    pub(super) entry_id: EntryId,
    /// The version of the program that was in force as the period ended.
    pub(super) policy: Arc<ProgramVersion>,
    pub(super) days: Days,
    pub(super) standard: Standard,
}

impl Classed {
    /// What a customer has from now on; none, where that is what they have.
    pub(super) fn decide(&self, measured: Measured, held: Option<&Held>) -> Option<Held> {
        let Placed { class, ends_below } = self.standard.place(measured, held)?;
        let class = self.standard.classes.get(class)?;
        let now = Held { class_id: class.class_id.clone(), level: class.level, ends_below };
        Some(now).filter(|now| Some(now) != held)
    }
}

#[cfg(test)]
mod tests;
