//! How satisfied one customer is, by what they said.

use std::cmp::Ordering;

use jiff::Timestamp;

use super::state::Feedback;
use crate::book::{AcsiAnswers, Answers, DeliveredValue};
use crate::ids::{FactorId, SurveyId};
use crate::money::Currency;

/// How many answers of a customer are looked at: those that were recorded last.
pub(crate) const LOOKED_AT: i64 = 100;
/// With how many answers before the latest is compared.
const COMPARED: usize = 3;

/// What a customer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NewFeedback {
    pub answers: Answers,
    /// The currency of its amounts, if it has any.
    pub currency: Option<Currency>,
    /// The survey that it answers, if it answers one.
    pub survey_id: Option<SurveyId>,
    /// In their own words; may be empty.
    pub text: String,
}

/// A customer's latest answer to a question.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Latest {
    pub score: i16,
    pub happened_at: Timestamp,
    /// The number of the entry that accepted it.
    pub account_seq: i64,
    /// The mean of the answers before, if there are any, and how the latest compares with that.
    pub before: Option<(f64, Ordering)>,
}

/// What a customer said, the latest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Said(Vec<(i64, Feedback)>);

impl Said {
    /// All that was said, by the numbers of the entries that accepted it. The latest is what happened last; of what happened at
    /// the same instant, what was accepted last.
    pub(crate) fn of(mut all: Vec<(i64, Feedback)>) -> Self {
        all.sort_by_key(|(account_seq, feedback)| (feedback.happened_at, *account_seq));
        all.reverse();
        Self(all)
    }

    /// How many answers there are.
    pub(crate) const fn count(&self) -> usize {
        self.0.len()
    }

    /// The latest answer to a question, and how it compares with those before.
    pub(crate) fn latest(&self, question: impl Fn(&Answers) -> Option<i16>) -> Option<Latest> {
        let mut answered = self.0.iter().filter_map(|(seq, it)| Some((*seq, it.happened_at, question(&it.answers)?)));
        let (account_seq, happened_at, score) = answered.next()?;
        let (count, sum) = answered.take(COMPARED).fold((0_i32, 0_i32), |(n, sum), it| (n + 1, sum + i32::from(it.2)));
        let before = (count > 0).then(|| {
            // Compared as whole numbers, so that a mean is never off by what a fraction cannot hold.
            let order = (i32::from(score) * count).cmp(&sum);
            (f64::from(sum) / f64::from(count), order)
        });
        Some(Latest { score, happened_at, account_seq, before })
    }

    /// The latest that was said of something.
    pub(crate) fn last<T>(&self, question: impl Fn(&Answers) -> Option<T>) -> Option<T> {
        self.0.iter().find_map(|(_, feedback)| question(&feedback.answers))
    }

    /// The latest score of a factor, with how important it is, as was said last.
    pub(crate) fn factor(&self, factor_id: &FactorId) -> Option<(Latest, Option<i16>)> {
        let own = |answers: &Answers| answers.factors.iter().find(|it| it.factor_id == *factor_id).cloned();
        let latest = self.latest(|answers| own(answers).map(|it| it.score))?;
        Some((latest, self.last(|answers| own(answers)?.importance)))
    }

    /// The latest answers to the three questions of the American Customer Satisfaction Index.
    pub(crate) fn acsi(&self) -> Option<AcsiAnswers> {
        self.last(|answers| answers.acsi)
    }

    /// What they received last, and what it cost them.
    pub(crate) fn value(&self) -> Option<DeliveredValue> {
        self.last(|answers| answers.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::book::FactorAnswer;

    fn said(all: &[(i64, i64, Answers)]) -> Said {
        let feedback = |(seq, second, answers): &(i64, i64, Answers)| {
            let happened_at = Timestamp::from_second(*second).unwrap();
            let day = jiff::civil::date(2026, 1, 1);
            let program_id = "shop".try_into().unwrap();
            let answers = answers.clone();
            (*seq, Feedback { program_id, day, happened_at, effective_at: happened_at, answers })
        };
        Said::of(all.iter().map(feedback).collect())
    }

    fn satisfied(score: i16) -> Answers {
        Answers { satisfaction: Some(score), ..Answers::default() }
    }

    fn compared(scores: &[i16]) -> Option<(i16, Option<(f64, Ordering)>)> {
        let all: Vec<_> = (1..).zip(scores).map(|(at, score)| (at, at, satisfied(*score))).collect();
        said(&all).latest(|answers| answers.satisfaction).map(|latest| (latest.score, latest.before))
    }

    #[test]
    fn the_latest_answer_is_compared_with_the_three_before() {
        assert_eq!(compared(&[]), None);
        assert_eq!(compared(&[4]), Some((4, None)));
        assert_eq!(compared(&[4, 4]), Some((4, Some((4.0, Ordering::Equal)))));
        assert_eq!(compared(&[1, 5, 5, 5, 4]), Some((4, Some((5.0, Ordering::Less)))));
        assert_eq!(compared(&[5, 1, 1, 2, 2]), Some((2, Some((4.0 / 3.0, Ordering::Greater)))));
        assert_eq!(compared(&[1, 2, 3, 2]), Some((2, Some((2.0, Ordering::Equal)))));
    }

    #[test]
    fn the_latest_is_what_happened_last_and_not_what_was_recorded_last() {
        let both = said(&[(2, 20, satisfied(5)), (3, 10, satisfied(1))]);
        let latest = both.latest(|answers| answers.satisfaction).unwrap();
        assert_eq!((latest.score, latest.account_seq, latest.before), (5, 2, Some((1.0, Ordering::Greater))));
        // At one instant it is what was recorded last.
        let both = said(&[(3, 10, satisfied(1)), (2, 10, satisfied(5))]);
        assert_eq!(both.latest(|answers| answers.satisfaction).unwrap().account_seq, 3);
    }

    #[test]
    fn what_was_not_answered_the_last_time_is_what_was_said_before() {
        let factor = |score, importance| FactorAnswer { factor_id: "price".try_into().unwrap(), score, importance };
        let of = |factors| Answers { factors, ..satisfied(3) };
        let all = said(&[
            (2, 2, of(vec![factor(5, Some(4))])),
            (3, 3, of(vec![factor(2, None)])),
            (4, 4, Answers { brands: Some(3), ..satisfied(2) }),
        ]);
        let (latest, importance) = all.factor(&"price".try_into().unwrap()).unwrap();
        assert_eq!((latest.score, latest.before, importance), (2, Some((5.0, Ordering::Less)), Some(4)));
        assert_eq!(all.last(|answers| answers.brands), Some(3));
        assert_eq!(all.factor(&"speed".try_into().unwrap()), None);
    }
}
