//! What a program asks its customers, and how indexes are made of their answers.

use serde::{Deserialize, Serialize};

use crate::ids::FactorId;
use crate::money::Rate;

pub(crate) mod grpc;

/// From how few answers no index is made, where the program says nothing.
const USUAL_MINIMUM: i64 = 30;

/// What a program says of satisfaction.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SatisfactionPolicy {
    /// What customers judge by itself.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub factors: Vec<Factor>,
    /// From how few answers no index is made; the usual number, if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minimum_answers: Option<i64>,
    /// How much each question of the American Customer Satisfaction Index counts; all the same, if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acsi_weights: Option<AcsiWeights>,
}

/// Something that customers judge by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Factor {
    /// Its name within the program.
    pub factor_id: FactorId,
    /// What people call it.
    pub display_name: String,
}

/// How much each question of the American Customer Satisfaction Index counts: only their ratio matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AcsiWeights {
    /// How satisfied customers are in all.
    pub satisfaction: Rate,
    /// How well expectations were met.
    pub expectation: Rate,
    /// How close it comes to an ideal.
    pub ideal: Rate,
}

impl SatisfactionPolicy {
    /// From how few answers no index is made.
    #[must_use]
    pub fn minimum_answers(&self) -> i64 {
        self.minimum_answers.unwrap_or(USUAL_MINIMUM)
    }

    /// The weights of the questions of the American Customer Satisfaction Index: satisfaction, expectation, ideal.
    #[must_use]
    pub fn weights(&self) -> [f64; 3] {
        let Some(AcsiWeights { satisfaction, expectation, ideal }) = self.acsi_weights else { return [1.0; 3] };
        [satisfaction, expectation, ideal].map(Rate::to_f64)
    }

    /// Whether it has a factor.
    #[must_use]
    pub fn has_factor(&self, factor_id: &FactorId) -> bool {
        self.factors.iter().any(|factor| factor.factor_id == *factor_id)
    }
}
