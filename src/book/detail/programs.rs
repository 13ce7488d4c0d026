//! Entries about programs.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use strum::{EnumString, IntoStaticStr, VariantArray, VariantNames};

use super::value::{Classification, ValueModel};
use crate::book::words::stored_words;

/// What happened to a program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, IntoStaticStr, VariantNames)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum ProgramDetail {
    /// A version of the program was applied.
    ProgramApplied {
        /// The number of the version, from 1 without a gap.
        version: i32,
        /// When it begins; at once, if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        effective_from: Option<Timestamp>,
    },
    /// Somebody exported the program's entries.
    EntriesExported {
        /// Entries that took effect earlier were left out; none, if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<Timestamp>,
        /// Entries that took effect then or later were left out; none, if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<Timestamp>,
    },
    /// Somebody ordered that the version in force is applied to every customer.
    ReevaluationOrdered {
        /// When tiers are lost that the version gives no more.
        downgrades: DowngradeTime,
    },
    /// A model of what customers will buy was fitted to what they bought.
    ValueModelFitted {
        /// The model, and how it was made.
        #[serde(flatten)]
        model: Box<ValueModel>,
    },
    /// At the end of a period it was decided where value classes begin, by what customers are worth.
    CustomersClassed {
        /// Where they begin, and how many customers are of each.
        #[serde(flatten)]
        classification: Box<Classification>,
    },
}

/// When a customer loses a tier that a policy does not give any more.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, IntoStaticStr, EnumString, VariantArray, VariantNames,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum DowngradeTime {
    /// At once.
    AtOnce,
    /// At the customer's own end.
    AtOwnEnd,
}

stored_words!(DowngradeTime);
