//! Entries about what customers are worth: of which value class they are; how the customers of a program were classed; and a model
//! of what they will buy, as the entry tells it that it was fitted by.

use std::fmt;

use jiff::Timestamp;
use jiff::civil::Date;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use strum::{EnumString, IntoStaticStr, VariantArray, VariantNames};

use super::wide;
use crate::book::words::stored_words;
use crate::ids::ValueClassId;

/// What happened to what a customer is worth.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, IntoStaticStr, VariantNames)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum ValueDetail {
    /// It was decided of which value class the customer is, or that they keep it for now.
    ValueClassDecided {
        /// The class before; none, if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        before: Option<ValueClassId>,
        /// The class.
        class_id: ValueClassId,
        /// The end of a period at which that was decided, as the first day after it.
        until: Date,
        /// How closely the customers of the class are looked after; nothing is said, if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        level: Option<RelationshipLevel>,
        /// What was measured, in minor units.
        #[serde(deserialize_with = "wide::number")]
        measured: i64,
        /// At how many ends in a row they have been below the class, that they have kept nevertheless.
        #[serde(default, skip_serializing_if = "is_zero")]
        ends_below: i32,
    },
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it in so")]
const fn is_zero(number: &i32) -> bool {
    *number == 0
}

/// How the customers of a program were classed at the end of a period.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Classification {
    /// The first day that was looked at.
    pub from: Date,
    /// The first day that was not.
    pub until: Date,
    /// What was measured.
    pub measure: ValueMeasure,
    /// The model that expected it, where it is an expectation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_version: Option<i32>,
    /// Customers who are worth anything.
    pub ranked: i64,
    /// The classes, highest first.
    pub classes: Vec<ClassedCount>,
}

/// A class in a classification.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassedCount {
    /// Its name within the program.
    pub class_id: ValueClassId,
    /// From which amount on customers reached it, in minor units, the highest number where nobody could; absent of the last.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "wide::optional")]
    pub from: Option<i64>,
    /// From which on those who had it kept it; absent of the last.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "wide::optional")]
    pub keep: Option<i64>,
    /// How many customers are of it.
    pub customers: i64,
    /// What all of them brought in the days that were looked at, in minor units.
    #[serde(deserialize_with = "wide::number")]
    pub margin: i64,
    /// How closely they are looked after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<RelationshipLevel>,
}

/// What customers are classed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, IntoStaticStr, EnumString, VariantArray)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum ValueMeasure {
    /// What they spent in the periods that are looked at.
    Spend,
    /// What that brought, by the margins of activities.
    Margin,
    /// What they are expected to spend, by the program's model: their lifetime value.
    ExpectedValue,
}

stored_words!(ValueMeasure);

/// How closely customers are looked after, from the least on.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, IntoStaticStr, EnumString, VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum RelationshipLevel {
    /// They are sold to.
    Basic,
    /// They are asked to call if anything is wrong.
    Reactive,
    /// They are called after a purchase, to hear whether all is well.
    Accountable,
    /// They are called from time to time about what could help them.
    Proactive,
    /// One works with them all the time.
    Partner,
}

stored_words!(RelationshipLevel);

/// A figure that was calculated: a finite number, written in the fewest digits that tell it from all others. It is text in the
/// ledger, so that nothing on the way rounds it.
#[derive(Clone, Copy, Debug)]
pub struct Figure(f64);

impl Figure {
    /// A figure; none of what is no finite number.
    #[must_use]
    pub fn new(number: f64) -> Option<Self> {
        number.is_finite().then_some(Self(number))
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> f64 {
        self.0
    }
}

impl PartialEq for Figure {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_bits() == other.0.to_bits()
    }
}

impl Eq for Figure {}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl Serialize for Figure {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Figure {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let number = text.parse().ok().and_then(Self::new);
        number.ok_or_else(|| D::Error::custom(format!("{text} is no finite number")))
    }
}

/// A model of what the customers of a program will buy, and how it was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValueModel {
    /// The number of the model in its program, from 1 without a gap.
    pub version: i32,
    /// What was learned: who bought first on this day or later; everybody, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Date>,
    /// The first day of which nothing was learned.
    pub until: Date,
    /// What was recorded by then.
    pub as_of: Timestamp,
    /// How many customers were learned from.
    pub customers: i64,
    /// How many of them had bought again, on another day.
    pub repeat_buyers: i64,
    /// When they buy and when they stop: the parameters of BG/NBD, in weeks.
    pub purchases: PurchaseParameters,
    /// What a day of theirs costs: the parameters of Gamma–Gamma, in units of the program's currency. Absent where too little was
    /// known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spend: Option<SpendParameters>,
    /// How it did on days that it had not learned from; absent, if none were kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holdout: Option<Holdout>,
    /// For how many days ahead customers are told to be worth something.
    pub horizon_days: i32,
    /// By how much less a purchase counts that is a year away: divided by one more than this.
    pub discount: Figure,
}

/// The parameters of BG/NBD, and how likely they make what customers did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PurchaseParameters {
    /// The shape of the distribution of rates.
    pub r: Figure,
    /// Its rate.
    pub alpha: Figure,
    /// The first parameter of the distribution of chances to be gone.
    pub a: Figure,
    /// The second.
    pub b: Figure,
    /// The logarithm of the likelihood.
    pub log_likelihood: Figure,
}

/// The parameters of Gamma–Gamma, and how likely they make what customers paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpendParameters {
    /// The shape of the distribution of a customer's amounts.
    pub p: Figure,
    /// The shape of the distribution over customers.
    pub q: Figure,
    /// Its rate.
    pub gamma: Figure,
    /// The logarithm of the likelihood.
    pub log_likelihood: Figure,
    /// How many customers it was learned from.
    pub customers: i64,
}

/// What customers did on the days after those that a model learned from, beside what it had expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holdout {
    /// How many days.
    pub days: i32,
    /// On how many days they bought, each customer's counted.
    pub bought: i64,
    /// On how many they were expected to.
    pub expected: Figure,
    /// How far a customer was from what was expected, on average, in days.
    pub mean_error: Figure,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_come_back_as_they_went_and_are_finite() {
        for number in [0.0, -0.0, 0.1 + 0.2, -9_582.429_2, f64::MIN_POSITIVE, f64::MAX, 5e-324] {
            let figure = Figure::new(number).unwrap();
            let text = serde_json::to_string(&figure).unwrap();
            assert_eq!(serde_json::from_str::<Figure>(&text).unwrap(), figure, "{text}");
        }
        assert_eq!(Figure::new(f64::NAN), None);
        for text in [r#""inf""#, r#""NaN""#, r#""x""#, "1.5"] {
            serde_json::from_str::<Figure>(text).unwrap_err();
        }
    }
}
