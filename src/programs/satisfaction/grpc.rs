//! What a program says of satisfaction, on the wire.

use std::collections::BTreeSet;

use super::{AcsiWeights, Factor, SatisfactionPolicy, USUAL_MINIMUM};
use crate::error::Fields;
use crate::ids::FactorId;
use crate::money::Rate;
use crate::proto;

/// The most factors of a program, and of one feedback.
pub(crate) const MAX_FACTORS: usize = 30;
const MOST_ANSWERS: i32 = 1_000_000;

/// Parses the policy; that of defaults, if it is absent. `names` reads what people call a factor, which the caller does as
/// for all things.
pub(in crate::programs) fn parse_satisfaction_policy(
    fields: &mut Fields,
    path: &str,
    policy: Option<proto::SatisfactionPolicy>,
    names: impl Fn(&mut Fields, &str, &str) -> Option<String>,
) -> Option<SatisfactionPolicy> {
    let Some(proto::SatisfactionPolicy { factors, minimum_answers, acsi_weights }) = policy else {
        return Some(SatisfactionPolicy::default());
    };
    if factors.len() > MAX_FACTORS {
        fields.refuse(format!("{path}.factors"), format!("must have at most {MAX_FACTORS} items"));
    }
    let mut factor_ids = BTreeSet::new();
    let parsed = factors.into_iter().take(MAX_FACTORS).enumerate().map(|(i, factor)| {
        let path = format!("{path}.factors[{i}]");
        let factor_id = fields.check(format!("{path}.factor_id"), FactorId::try_from(factor.factor_id));
        if factor_id.as_ref().is_some_and(|factor_id| !factor_ids.insert(factor_id.clone())) {
            fields.refuse(format!("{path}.factor_id"), "must be unique within the program");
        }
        let display_name = names(fields, &format!("{path}.display_name"), &factor.display_name);
        Some(Factor { factor_id: factor_id?, display_name: display_name? })
    });
    let factors: Vec<Option<Factor>> = parsed.collect();
    if !(0..=MOST_ANSWERS).contains(&minimum_answers) {
        fields.refuse(format!("{path}.minimum_answers"), "must be from 1 to 1,000,000; 0 means 30");
    }
    let weights = acsi_weights.map(|weights| parse_weights(fields, &format!("{path}.acsi_weights"), &weights));
    Some(SatisfactionPolicy {
        factors: factors.into_iter().collect::<Option<_>>()?,
        minimum_answers: Some(i64::from(minimum_answers)).filter(|least| ![0, USUAL_MINIMUM].contains(least)),
        acsi_weights: weights.map_or(Some(None), |weights| weights.map(Some))?,
    })
}

fn parse_weights(fields: &mut Fields, path: &str, weights: &proto::AcsiWeights) -> Option<AcsiWeights> {
    let mut parse = |field: &str, text: &str| {
        let text = if text.is_empty() { "0" } else { text };
        fields.check(format!("{path}.{field}"), Rate::parse(text))
    };
    let satisfaction = parse("satisfaction", &weights.satisfaction);
    let expectation = parse("expectation", &weights.expectation);
    let ideal = parse("ideal", &weights.ideal);
    let parsed = AcsiWeights { satisfaction: satisfaction?, expectation: expectation?, ideal: ideal? };
    if [parsed.satisfaction, parsed.expectation, parsed.ideal].iter().all(|weight| weight.is_zero()) {
        fields.refuse(path, "must not all be zero");
        return None;
    }
    Some(parsed)
}

/// None if it says nothing but defaults.
pub(in crate::programs) fn write_satisfaction_policy(policy: &SatisfactionPolicy) -> Option<proto::SatisfactionPolicy> {
    let SatisfactionPolicy { factors, minimum_answers, acsi_weights } = policy;
    let factors = factors.iter().map(|factor| proto::Factor {
        factor_id: factor.factor_id.to_string(),
        display_name: factor.display_name.clone(),
    });
    let written = proto::SatisfactionPolicy {
        factors: factors.collect(),
        // None is above what it may be.
        minimum_answers: minimum_answers.and_then(|least| i32::try_from(least).ok()).unwrap_or_default(),
        acsi_weights: acsi_weights.map(|weights| proto::AcsiWeights {
            satisfaction: weights.satisfaction.to_string(),
            expectation: weights.expectation.to_string(),
            ideal: weights.ideal.to_string(),
        }),
    };
    (written != proto::SatisfactionPolicy::default()).then_some(written)
}
