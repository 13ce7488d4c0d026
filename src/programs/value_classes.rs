//! What a program says of value classes: what customers are classed by, when, where classes begin, and how closely those of a class
//! are looked after.

use serde::{Deserialize, Serialize};

use super::points::CalendarPeriod;
use crate::book::{RelationshipLevel, ValueMeasure};
use crate::ids::ValueClassId;

pub(crate) mod grpc;

/// How customers are classed by their value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValueClassPolicy {
    /// What is measured.
    pub measure: ValueMeasure,
    /// At the end of which periods: months, quarters or years.
    pub each: CalendarPeriod,
    /// How many such periods are looked at, the one that ends included; those of a year, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub periods: Option<i32>,
    /// At how many ends in a row customers have to be below their class before they lose it; 1, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub falls_after: Option<i32>,
    /// The classes, highest first. The last is that of everybody else.
    pub classes: Vec<ValueClass>,
    /// Where levels are cut; absent, where none follows from margin and numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub levels: Option<LevelCuts>,
}

/// A class of customers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValueClass {
    /// Its name within the program.
    pub class_id: ValueClassId,
    /// What people call it.
    pub display_name: String,
    /// From where on customers reach it; absent of the last alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<ClassBound>,
    /// From where on those who have it keep it, which is less; where it is reached, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep: Option<ClassBound>,
    /// The level of its customers, whatever their margin and number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<RelationshipLevel>,
}

/// From where on a customer is in a class. All classes of a program have the same kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClassBound {
    /// From an amount on, in minor units.
    Least(i64),
    /// Among so many of 100 customers, of those who are worth anything.
    TopPercent(i32),
}

/// Where relationship levels are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LevelCuts {
    /// From how many customers on a class has many.
    pub many_customers: i64,
    /// Up to how many it has few, which is less.
    pub few_customers: i64,
    /// From which margin of a customer on, on average over the periods that are looked at, it is high, in minor units.
    pub high_margin: i64,
    /// Below which it is low, which is no more.
    pub low_margin: i64,
}

impl ValueClassPolicy {
    /// How many months a period has. Documents have none that are shorter.
    #[must_use]
    pub const fn months(&self) -> i32 {
        match self.each {
            CalendarPeriod::Day | CalendarPeriod::Week | CalendarPeriod::Month => 1,
            CalendarPeriod::Quarter => 3,
            CalendarPeriod::Half => 6,
            CalendarPeriod::Year => 12,
        }
    }

    /// How many periods are looked at.
    #[must_use]
    pub fn window_periods(&self) -> i32 {
        self.periods.unwrap_or(12 / self.months())
    }

    /// At how many ends in a row customers have to be below their class before they lose it.
    #[must_use]
    pub fn ends_to_fall(&self) -> i32 {
        self.falls_after.unwrap_or(1)
    }
}

impl ValueClass {
    /// From where on those who have it keep it.
    #[must_use]
    pub fn kept_from(&self) -> Option<ClassBound> {
        self.keep.or(self.from)
    }
}

impl LevelCuts {
    /// The level of a class with so many customers, who have that margin on average. Few customers with a high margin are partners;
    /// the more there are and the less each brings, the less one can see to them.
    #[must_use]
    pub const fn level(&self, customers: i64, margin: i64) -> RelationshipLevel {
        let (is_many, is_few) = (customers >= self.many_customers, customers <= self.few_customers);
        let (is_high, is_low) = (margin >= self.high_margin, margin < self.low_margin);
        match (is_few, is_many) {
            (true, _) if is_high => RelationshipLevel::Partner,
            (true, _) if is_low => RelationshipLevel::Reactive,
            (true, _) => RelationshipLevel::Accountable,
            (false, false) if is_high => RelationshipLevel::Proactive,
            (false, false) if is_low => RelationshipLevel::Reactive,
            (false, false) => RelationshipLevel::Accountable,
            (false, true) if is_high => RelationshipLevel::Accountable,
            (false, true) if is_low => RelationshipLevel::Basic,
            (false, true) => RelationshipLevel::Reactive,
        }
    }
}

#[cfg(test)]
mod tests {
    use RelationshipLevel::{Accountable, Basic, Partner, Proactive, Reactive};

    use super::*;

    #[test]
    fn levels_follow_from_margin_and_number() {
        let cuts = LevelCuts { many_customers: 1_000, few_customers: 50, high_margin: 10_000, low_margin: 1_000 };
        let rows = [
            (50, [Reactive, Accountable, Partner]),
            (51, [Reactive, Accountable, Proactive]),
            (999, [Reactive, Accountable, Proactive]),
            (1_000, [Basic, Reactive, Accountable]),
        ];
        for (customers, levels) in rows {
            assert_eq!([999, 1_000, 10_000].map(|margin| cuts.level(customers, margin)), levels, "{customers}");
            assert_eq!(cuts.level(customers, 9_999), levels[1]);
        }
    }
}
