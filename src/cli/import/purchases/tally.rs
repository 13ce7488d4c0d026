//! Counts what became of the lines of an import.

use std::time::Duration;

use goldbook_api::v1::batch_record_activities_response::Outcome;
use goldbook_api::v1::{BatchRecordActivitiesResponse, activity};

use super::super::refusals::Refusals;
use super::super::sending::Outcomes;
use super::file::Purchase;
use crate::cli::amount::Amount;
use crate::cli::output::grouped;
use crate::cli::refusal::Refusal;

/// How many refused lines are told one by one.
const TOLD_REFUSALS: usize = 20;

/// The outcomes so far.
#[derive(Debug)]
pub(super) struct Tally {
    recorded: u64,
    replayed: u64,
    /// What was paid for all purchases that are in the book now, by this import or before it. None if it is more than
    /// can be counted.
    amount: Option<Amount>,
    refusals: Refusals,
}

impl Tally {
    pub(super) fn new() -> Self {
        Self { recorded: 0, replayed: 0, amount: Some(Amount::default()), refusals: Refusals::none(TOLD_REFUSALS) }
    }

    /// How many lines were refused, here or by the service.
    pub(super) fn refused(&self) -> u64 {
        self.refusals.count()
    }

    /// Shows the counts.
    pub(super) fn summary(&self, currency_code: &str, elapsed: Duration) -> String {
        let amount = self.amount.map(|amount| amount.show(currency_code));
        let amount = amount.unwrap_or_else(|| "more than can be counted".to_owned());
        let seconds = elapsed.as_secs_f64();
        format!(
            "recorded       {}\nalready there  {}\nrefused        {}\namount         {amount}\nelapsed        {seconds:.1} s{}",
            grouped(self.recorded),
            grouped(self.replayed),
            grouped(self.refusals.count()),
            self.refusals.list(),
        )
    }
}

impl Outcomes<Purchase, BatchRecordActivitiesResponse> for Tally {
    fn note_sent(&mut self, _line: u64, _purchase: &Purchase) {}

    fn refuse(&mut self, line: u64, why: String) {
        self.refusals.add(line, why);
    }

    fn count(&mut self, response: BatchRecordActivitiesResponse) {
        let line = response.item_id.parse().unwrap_or_default();
        match response.outcome {
            Some(Outcome::Recorded(recorded)) => {
                if recorded.replayed {
                    self.replayed += 1;
                } else {
                    self.recorded += 1;
                }
                if let Some(activity::Activity::Purchase(purchase)) =
                    recorded.activity.and_then(|activity| activity.activity)
                {
                    let amount = purchase.amount.as_ref().map(Amount::from_money).unwrap_or_default();
                    self.amount = self.amount.and_then(|sum| sum.checked_add(amount));
                }
            }
            Some(Outcome::Error(status)) => self.refuse(line, Refusal::from_item(&status).summary()),
            None => self.refuse(line, "the service's answer holds no outcome".to_owned()),
        }
    }

    fn finished(&self) -> u64 {
        self.recorded + self.replayed + self.refusals.count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use goldbook_api::v1::{Activity, Purchase, RecordActivityResponse};

    fn recorded(line: u64, amount: &str, replayed: bool) -> BatchRecordActivitiesResponse {
        let purchase = Purchase { amount: Some(Amount::parse(amount).unwrap().to_money("USD")), margin: None };
        let activity = Activity { activity: Some(activity::Activity::Purchase(purchase)), ..Activity::default() };
        let recorded =
            RecordActivityResponse { activity: Some(activity), replayed, ..RecordActivityResponse::default() };
        BatchRecordActivitiesResponse { item_id: line.to_string(), outcome: Some(Outcome::Recorded(recorded)) }
    }

    #[test]
    fn every_line_is_counted_and_the_first_refused_are_told_in_order() {
        let mut tally = Tally::new();
        tally.count(recorded(2, "29.33", false));
        tally.count(recorded(3, "0.67", true));
        for line in (10..35).rev() {
            tally.refuse(line, format!("reason {line}"));
        }
        assert_eq!((tally.finished(), tally.refused()), (27, 25));
        let summary = tally.summary("USD", Duration::from_millis(1_234));
        assert!(summary.starts_with(
            "recorded       1\nalready there  1\nrefused        25\namount         30.00 USD\nelapsed        1.2 s\n  line 10: reason 10\n"
        ));
        assert!(summary.ends_with("  line 29: reason 29\n  and 5 more"), "{summary}");
    }
}
