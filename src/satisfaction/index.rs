//! What indexes come to, from what was counted. It is pure.

use std::collections::BTreeMap;

use crate::book::DeliveredValue;
use crate::ids::FactorId;
use crate::programs::satisfaction::SatisfactionPolicy;

/// What was said in a period, counted: so and so many gave each answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// All feedback.
    pub answers: i64,
    /// How many were satisfied so much, from 1 to 5.
    pub satisfaction: [i64; 5],
    /// How many would recommend the business so likely, from 0 to 10.
    pub recommendation: [i64; 11],
    /// How many answered the three questions of the American Customer Satisfaction Index.
    pub acsi: i64,
    /// The sums of these answers: satisfaction, expectation, ideal.
    pub acsi_sums: [i64; 3],
    /// How many told what they received and what it cost them, with the means of it.
    pub value: Option<(i64, DeliveredValue)>,
    pub factors: BTreeMap<FactorId, FactorTally>,
}

/// What was said of one factor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct FactorTally {
    pub answers: i64,
    pub sum: i64,
    pub importance_answers: i64,
    pub importance_sum: i64,
}

/// How many, and of that what share and mean, answered from a first score on.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Distribution {
    pub answers: i64,
    /// The mean score; none if nobody answered.
    pub mean: Option<f64>,
    /// Each score, how many gave it, and their share.
    pub scores: Vec<(i32, i64, f64)>,
}

impl Distribution {
    /// The distribution of counts of the scores from `first` on.
    pub(crate) fn of(first: i32, counts: &[i64]) -> Self {
        let answers: i64 = counts.iter().sum();
        let numbered = || (first..).zip(counts.iter().copied());
        let sum: i64 = numbered().map(|(score, count)| i64::from(score).saturating_mul(count)).sum();
        let scores = numbered().map(|(score, count)| (score, count, ratio(count, answers).unwrap_or(0.0)));
        Self { answers, mean: ratio(sum, answers), scores: scores.collect() }
    }

    /// The share of those who gave a score or a higher one.
    pub(crate) fn share_from(&self, least: i32) -> f64 {
        let count = self.scores.iter().filter(|(score, ..)| *score >= least).map(|(_, count, _)| count).sum();
        ratio(count, self.answers).unwrap_or(0.0)
    }
}

/// The share of promoters less that of detractors, with its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct NetPromoterScore {
    pub score: f64,
    /// The middle of the interval.
    pub adjusted: f64,
    /// How far it reaches to both sides.
    pub margin: f64,
}

/// Promoters, passives and detractors, of how many would recommend the business so likely from 0 to 10.
pub(crate) fn divide(recommendation: &[i64; 11]) -> [i64; 3] {
    let between = |least: usize, most: usize| recommendation.iter().take(most + 1).skip(least).sum();
    [between(9, 10), between(7, 8), between(0, 6)]
}

impl NetPromoterScore {
    /// By how many are promoters, passives and detractors; none if nobody is.
    ///
    /// The interval is the one of the adjusted Wald method: three answers are added, of which 3/4 are promoters and 3/4
    /// detractors, so that it holds for small numbers, too.
    pub(crate) fn of([promoters, passives, detractors]: [i64; 3]) -> Option<Self> {
        /// Of the normal distribution, for 95 %.
        const Z: f64 = 1.959_963_984_540_054;
        let answers = promoters.saturating_add(passives).saturating_add(detractors);
        let score = ratio(promoters.saturating_sub(detractors), answers)?;
        let all = float(answers) + 3.0;
        let (for_it, against_it) = ((float(promoters) + 0.75) / all, (float(detractors) + 0.75) / all);
        let adjusted = for_it - against_it;
        let variance = adjusted.mul_add(-adjusted, for_it + against_it);
        Some(Self { score, adjusted, margin: Z * (variance / all).sqrt() })
    }
}

/// The index by the method of the American Customer Satisfaction Index, and the mean answers behind it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct AcsiIndex {
    pub index: f64,
    pub means: [f64; 3],
}

impl AcsiIndex {
    /// By the sums of so many answers to each question; none if there are none.
    pub(crate) fn of(answers: i64, sums: [i64; 3], policy: &SatisfactionPolicy) -> Option<Self> {
        if answers == 0 {
            return None;
        }
        let means = sums.map(|sum| float(sum) / float(answers));
        let weights = policy.weights();
        let all: f64 = weights.iter().sum();
        let weighted: f64 = weights.iter().zip(means).map(|(weight, mean)| weight * (mean - 1.0) / 9.0).sum();
        Some(Self { index: 100.0 * weighted / all, means })
    }
}

/// What customers think of a factor, as far as enough of them said so.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct FactorIndex {
    pub tally: FactorTally,
    pub score: Option<f64>,
    pub importance: Option<f64>,
}

impl FactorIndex {
    /// By what was counted, where no index is made from fewer than so many answers.
    pub(crate) fn of(tally: FactorTally, least: i64) -> Self {
        let mean = |sum, answers| ratio(sum, answers).filter(|_| answers >= least);
        let score = mean(tally.sum, tally.answers);
        Self { tally, score, importance: mean(tally.importance_sum, tally.importance_answers) }
    }

    /// How much there is to mend: what is important and not well.
    pub(crate) fn priority(&self) -> Option<f64> {
        Some(self.importance? * (5.0 - self.score?))
    }
}

/// A share; none of nothing.
fn ratio(part: i64, whole: i64) -> Option<f64> {
    (whole != 0).then(|| float(part) / float(whole))
}

/// Counts of answers are far below 2^53.
#[expect(clippy::cast_precision_loss, reason = "as it says")]
const fn float(count: i64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::money::Rate;
    use crate::programs::satisfaction::AcsiWeights;

    fn is_about(value: f64, expected: f64, within: f64) -> bool {
        (value - expected).abs() < within
    }

    #[test]
    fn the_net_promoter_score_has_the_published_interval() {
        // Sauro and Lewis, Quantifying the User Experience: 60 promoters, 25 passives and 15 detractors.
        let nps = NetPromoterScore::of([60, 25, 15]).unwrap();
        assert!(is_about(nps.score, 0.45, 1e-12), "{nps:?}");
        assert!(is_about(nps.adjusted, 0.4369, 0.00005), "{nps:?}");
        assert!(is_about(nps.margin, 0.1435, 0.00005), "{nps:?}");
        assert_eq!(NetPromoterScore::of([0, 0, 0]), None);
        // Where all agree, the interval is not empty.
        let all = NetPromoterScore::of([10, 0, 0]).unwrap();
        assert!(is_about(all.score, 1.0, 1e-12) && all.margin > 0.1 && all.adjusted < 1.0, "{all:?}");
    }

    #[test]
    fn answers_up_to_six_detract_and_those_from_nine_promote() {
        let one_each = [1; 11];
        assert_eq!(divide(&one_each), [2, 2, 7]);
        for score in 0..=10_usize {
            let mut one = [0; 11];
            one[score] = 1;
            let expected = [usize::from(score >= 9), usize::from(score == 7 || score == 8), usize::from(score <= 6)];
            assert_eq!(divide(&one).map(|count| usize::try_from(count).unwrap()), expected, "{score}");
        }
    }

    #[test]
    fn a_distribution_has_every_score_with_its_share() {
        let scores = Distribution::of(1, &[1, 0, 0, 1, 2]);
        assert_eq!(scores.scores, [(1, 1, 0.25), (2, 0, 0.0), (3, 0, 0.0), (4, 1, 0.25), (5, 2, 0.5)]);
        assert_eq!((scores.answers, scores.mean), (4, Some(3.75)));
        assert!(is_about(scores.share_from(4), 0.75, 1e-12));
        assert_eq!(Distribution::of(1, &[0; 5]).mean, None);
    }

    #[test]
    fn the_acsi_goes_from_0_to_100_and_by_the_weights_alone() {
        let equal = SatisfactionPolicy::default();
        let index = |sums, policy: &SatisfactionPolicy| AcsiIndex::of(2, sums, policy).unwrap().index;
        assert!(is_about(index([2, 2, 2], &equal), 0.0, 1e-12));
        assert!(is_about(index([20, 20, 20], &equal), 100.0, 1e-12));
        // Means of 8, 7 and 6: (7 + 6 + 5) / 27.
        assert!(is_about(index([16, 14, 12], &equal), 100.0 * 18.0 / 27.0, 1e-9));
        let rate = |text| Rate::parse(text).unwrap();
        let weights = |a, b, c| SatisfactionPolicy {
            acsi_weights: Some(AcsiWeights { satisfaction: rate(a), expectation: rate(b), ideal: rate(c) }),
            ..SatisfactionPolicy::default()
        };
        let expected = 100.0 * (0.5 * 7.0 + 0.3 * 6.0 + 0.2 * 5.0) / 9.0;
        assert!(is_about(index([16, 14, 12], &weights("0.5", "0.3", "0.2")), expected, 1e-9));
        // Only their ratio counts.
        assert!(is_about(index([16, 14, 12], &weights("5", "3", "2")), expected, 1e-9));
        assert_eq!(AcsiIndex::of(0, [0; 3], &equal), None);
    }

    #[test]
    fn there_is_most_to_mend_where_it_is_important_and_bad() {
        let factor = |sum, importance_sum| {
            let tally = FactorTally { answers: 10, sum, importance_answers: 10, importance_sum };
            FactorIndex::of(tally, 10).priority().unwrap()
        };
        assert!(factor(20, 50) > factor(20, 30));
        assert!(factor(20, 30) > factor(45, 30));
        assert!(is_about(factor(50, 50), 0.0, 1e-12));
        let few = FactorTally { answers: 10, sum: 20, importance_answers: 9, importance_sum: 9 };
        let index = FactorIndex::of(few, 10);
        assert_eq!((index.score, index.importance, index.priority()), (Some(2.0), None, None));
    }
}
