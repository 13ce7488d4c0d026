//! What a program's document says of satisfaction: the table `[satisfaction]`.

use goldbook_api::v1::{AcsiWeights, Factor, SatisfactionPolicy};
use serde::Serialize;

use super::table::Value;

/// What customers are asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct SatisfactionTable {
    #[serde(skip_serializing_if = "is_zero")]
    minimum_answers: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    acsi_weights: Option<WeightsTable>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    factors: Vec<FactorTable>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct WeightsTable {
    satisfaction: String,
    expectation: String,
    ideal: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct FactorTable {
    factor_id: String,
    display_name: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it in so")]
const fn is_zero(number: &i32) -> bool {
    *number == 0
}

impl SatisfactionTable {
    /// The table of a policy, without values that are defaults.
    pub(super) fn from_proto(policy: SatisfactionPolicy) -> Self {
        let SatisfactionPolicy { factors, minimum_answers, acsi_weights } = policy;
        let factor = |it: Factor| FactorTable { factor_id: it.factor_id, display_name: it.display_name };
        let weights = |it: AcsiWeights| WeightsTable {
            satisfaction: it.satisfaction,
            expectation: it.expectation,
            ideal: it.ideal,
        };
        let factors = factors.into_iter().map(factor).collect();
        Self { minimum_answers, acsi_weights: acsi_weights.map(weights), factors }
    }
}

/// Reads the table.
pub(super) fn read_satisfaction(value: &Value<'_>) -> Option<SatisfactionPolicy> {
    let table = value.table(&["factors", "minimum_answers", "acsi_weights"])?;
    Some(SatisfactionPolicy {
        factors: table.items("factors").iter().map(read_factor).collect(),
        minimum_answers: table.number_or_bad("minimum_answers").unwrap_or_default(),
        acsi_weights: table.find("acsi_weights").and_then(|value| read_weights(&value)),
    })
}

fn read_factor(value: &Value<'_>) -> Factor {
    let Some(table) = value.named_table("factor_id", &["factor_id", "display_name"]) else { return Factor::default() };
    Factor { factor_id: table.text("factor_id"), display_name: table.text("display_name") }
}

fn read_weights(value: &Value<'_>) -> Option<AcsiWeights> {
    let table = value.table(&["satisfaction", "expectation", "ideal"])?;
    // What is no decimal is judged as that, and not as zero.
    let weight = |key| table.find(key).map_or_else(String::new, |it| it.decimal().unwrap_or_else(|| "?".to_owned()));
    Some(AcsiWeights {
        satisfaction: weight("satisfaction"),
        expectation: weight("expectation"),
        ideal: weight("ideal"),
    })
}
