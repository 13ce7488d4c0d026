//! Where value classes begin, and of which class a customer is. It is pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::ToSpan as _;
use jiff::civil::Date;

use crate::book::{
    ClassedCount, Classification, Defect, Detail, Entry, ProgramDetail, RelationshipLevel, ValueMeasure, ValueModel,
};
use crate::ids::{EntryId, ValueClassId};
use crate::money::Currency;
use crate::programs::model::ProgramVersion;
use crate::programs::value_classes::{ClassBound, ValueClassPolicy};
use crate::value::model::{EARLIEST, Forecast, PurchaseHistory};

/// How many customers can be classed: what is kept of each meanwhile is 32 bytes.
pub(super) const MAX_CLASSED: usize = 5_000_000;

/// Days that are looked at, as the first and the one after the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Days {
    pub(super) from: Date,
    pub(super) until: Date,
}

/// The days that a policy looks at, where its periods end before a day.
pub(super) fn days_before(policy: &ValueClassPolicy, until: Date) -> Days {
    let last = policy.each.first_day(until.saturating_sub(1.day()));
    let months = (policy.window_periods() - 1).saturating_mul(policy.months());
    Days { from: last.saturating_sub(months.months()), until }
}

/// Whether a period of a policy ends before a day.
pub(super) fn is_end(policy: &ValueClassPolicy, until: Date) -> bool {
    policy.each.first_day(until) == until
}

/// What a customer has: a class by its name, since it may be one that the program has no more.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Held {
    pub class_id: ValueClassId,
    pub level: Option<RelationshipLevel>,
    /// At how many ends in a row they have been below it.
    pub ends_below: i32,
}

/// What a customer bought, by what was recorded by an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Windowed {
    /// All of it, from the earliest day on that says anything.
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
    /// What a customer is worth; none, where that cannot be told.
    ///
    /// # Errors
    /// If the model or what they bought is out of all bounds.
    pub(super) fn measure(&self, bought: Option<&Windowed>) -> Result<Option<Measured>, Defect> {
        let Some(bought) = bought else { return Ok(Some(Measured::default())) };
        let bought_lately = bought.days > 0;
        let worth = match self.measure {
            ValueMeasure::Spend => Some(bought.spend).filter(|_| bought_lately),
            ValueMeasure::Margin => Some(bought.margin).filter(|_| bought_lately),
            ValueMeasure::ExpectedValue => {
                let today = self.days.until.saturating_sub(1.day());
                let forecast = self.model.as_ref();
                let forecast =
                    forecast.map(|model| Forecast::of(model, &bought.history, today, self.currency)).transpose()?;
                let Some((_, all)) = forecast.and_then(|forecast| forecast.worth) else { return Ok(None) };
                Some(all.minor)
            }
        };
        Ok(Some(Measured { worth, margin: bought.margin }))
    }

    /// The first day of which purchases say anything.
    pub(super) fn earliest(&self) -> Date {
        match self.measure {
            ValueMeasure::Spend | ValueMeasure::Margin => self.days.from,
            ValueMeasure::ExpectedValue => EARLIEST,
        }
    }
}

/// Customers who are worth anything, or have a class.
#[derive(Debug)]
pub(super) struct Roll {
    customers: Vec<Brief>,
    /// What they have, each once, with the number that it goes by. Few of it are different.
    held: BTreeMap<Option<Held>, u32>,
    most: usize,
}

/// A customer in few bytes.
#[derive(Clone, Copy, Debug)]
struct Brief {
    measured: Measured,
    held: u32,
}

/// There are more customers than can be classed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooMany;

/// What classing everybody comes to.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) standard: Standard,
    /// How many customers are worth anything.
    pub(super) ranked: i64,
    /// How many go from a class, or from none, to another.
    pub(super) moves: BTreeMap<(Option<ValueClassId>, ValueClassId), i64>,
    /// How many are below the class that they keep.
    pub(super) below: i64,
}

impl Roll {
    /// Nobody yet, and no more than so many.
    pub(super) const fn new(most: usize) -> Self {
        Self { customers: Vec::new(), held: BTreeMap::new(), most }
    }

    /// Adds a customer with what they have, if they can be of a class.
    pub(super) fn add(&mut self, measured: Measured, held: Option<&Held>) -> Result<(), TooMany> {
        if measured.worth.is_none() && held.is_none() {
            return Ok(());
        }
        if self.customers.len() >= self.most {
            return Err(TooMany);
        }
        let next = u32::try_from(self.held.len()).unwrap_or(u32::MAX);
        let held = *self.held.entry(held.cloned()).or_insert(next);
        self.customers.push(Brief { measured, held });
        Ok(())
    }

    /// What everybody is worth who is worth anything, the most first.
    fn ranked(&self) -> Ranked {
        let mut worths: Vec<i64> = self.customers.iter().filter_map(|it| it.measured.worth).collect();
        worths.sort_unstable_by(|one, other| other.cmp(one));
        Ranked(worths)
    }

    /// Classes everybody.
    pub(super) fn class(&self, policy: &ValueClassPolicy) -> Outcome {
        let ranked = self.ranked();
        let mut standard = Standard::begin(policy, &ranked);
        let by_number: BTreeMap<u32, &Option<Held>> = self.held.iter().map(|(held, number)| (*number, held)).collect();
        let (mut placed_of, mut below) = (BTreeMap::new(), 0);
        for Brief { measured, held: number } in &self.customers {
            let held = by_number.get(number).and_then(|held| held.as_ref());
            if let Some(placed) = standard.place(*measured, held) {
                standard.count(*measured, placed);
                below += i64::from(placed.ends_below > 0);
                *placed_of.entry((*number, placed.class)).or_insert(0) += 1;
            }
        }
        standard.level(policy);
        let mut moves = BTreeMap::new();
        for ((number, class), customers) in placed_of {
            let before = by_number.get(&number).and_then(|held| held.as_ref()).map(|held| &held.class_id);
            let Some(class) = standard.classes.get(class).filter(|class| before != Some(&class.class_id)) else {
                continue;
            };
            *moves.entry((before.cloned(), class.class_id.clone())).or_insert(0) += customers;
        }
        Outcome { standard, ranked: i64::try_from(ranked.0.len()).unwrap_or(i64::MAX), moves, below }
    }
}

/// What customers are worth, the most first.
#[derive(Debug)]
struct Ranked(Vec<i64>);

impl Ranked {
    /// From which amount on customers are in a class. Equals are, if one of them is; and nobody is at the top for nothing.
    fn amount(&self, bound: ClassBound) -> i64 {
        match bound {
            ClassBound::Least(least) => least,
            ClassBound::TopPercent(percent) => {
                let percent = usize::try_from(percent).unwrap_or(0);
                let last = self.0.len().saturating_mul(percent).div_ceil(100).saturating_sub(1);
                self.0.get(last).map_or(i64::MAX, |amount| (*amount).max(1))
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
struct Placed {
    /// The place of the class among all, from 0.
    class: usize,
    ends_below: i32,
}

/// Whether a customer is worth so much, or nothing is asked.
fn meets(measured: Measured, least: Option<i64>) -> bool {
    least.is_none_or(|least| measured.worth.is_some_and(|worth| worth >= least))
}

impl Standard {
    /// Where the classes of a policy begin, of which nobody is counted yet.
    fn begin(policy: &ValueClassPolicy, ranked: &Ranked) -> Self {
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

    /// The highest class, from some place on, whose bound a customer meets: the last is that of everybody else. Whoever is worth
    /// nothing meets none.
    fn highest(&self, first: usize, measured: Measured, bound: impl Fn(&ClassedCount) -> Option<i64>) -> usize {
        let meets = |class: &ClassedCount| meets(measured, bound(class));
        let found = self.classes.iter().skip(first).position(meets);
        found.map_or(self.classes.len().saturating_sub(1), |found| first + found)
    }

    /// The class of a customer who had one before, or none. Whoever was never worth anything has none.
    fn place(&self, measured: Measured, held: Option<&Held>) -> Option<Placed> {
        if measured.worth.is_none() && held.is_none() {
            return None;
        }
        let reached = self.highest(0, measured, |class| class.from);
        let place_of = |held: &Held| self.classes.iter().position(|class| class.class_id == held.class_id);
        let Some((before, ends_below)) = held.and_then(|held| Some((place_of(held)?, held.ends_below))) else {
            return Some(Placed { class: reached, ends_below: 0 });
        };
        let keeps = self.classes.get(before).is_some_and(|class| meets(measured, class.keep));
        if reached <= before || keeps {
            return Some(Placed { class: reached.min(before), ends_below: 0 });
        }
        // They are below the class, and lose it at the last of so many ends.
        let ends_below = ends_below.saturating_add(1);
        if ends_below < self.ends_to_fall {
            return Some(Placed { class: before, ends_below });
        }
        Some(Placed { class: self.highest(before + 1, measured, |class| class.keep), ends_below: 0 })
    }

    /// Counts a customer.
    fn count(&mut self, measured: Measured, placed: Placed) {
        if let Some(class) = self.classes.get_mut(placed.class) {
            class.customers += 1;
            class.margin = class.margin.saturating_add(measured.margin);
        }
    }

    /// Tells the levels of the classes, once all customers are counted.
    fn level(&mut self, policy: &ValueClassPolicy) {
        for (counted, class) in self.classes.iter_mut().zip(&policy.classes) {
            let average = counted.margin.checked_div_euclid(counted.customers).unwrap_or(0);
            let cut =
                policy.levels.filter(|_| counted.customers > 0).map(|cuts| cuts.level(counted.customers, average));
            counted.level = class.level.or(cut);
        }
    }
}

impl Outcome {
    /// The classification that it comes to.
    pub(super) fn classification(&self, measuring: &Measuring) -> Classification {
        let Measuring { measure, days: Days { from, until }, ref model, currency: _ } = *measuring;
        let model_version = model.as_ref().map(|model| model.version);
        Classification {
            from,
            until,
            measure,
            model_version,
            ranked: self.ranked,
            classes: self.standard.classes.clone(),
        }
    }
}

/// How an entry tells that customers were classed.
///
/// # Errors
/// If it tells something else.
pub(super) fn classification_in(entry: &Entry) -> Result<&Classification, Defect> {
    let Detail::Program(ProgramDetail::CustomersClassed { classification }) = &entry.detail else {
        return Err(Defect::new(format!("entry {} classes no customers", entry.id)));
    };
    Ok(classification)
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
