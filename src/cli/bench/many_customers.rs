//! A program of very many customers: how they come about, and the policy that is tried on them.

use goldbook_api::google::Money;
use goldbook_api::v1::tier_retention::Rule;
use goldbook_api::v1::tier_window::Window;
use goldbook_api::v1::{
    BatchRecordActivitiesRequest, DowngradeTime, Program, RecordActivityRequest, SimulateTierPolicyRequest, TierPolicy,
    TierRetention, TierWindow, simulate_tier_policy_request,
};
use goldbook_api::values::write_instant;
use jiff::{SignedDuration, Timestamp};

use super::super::client::Client;
use super::super::error::CliError;
use super::super::output::grouped;
use super::super::program;
use super::ground::{CURRENCY, Ground, record_activities};

/// How many purchases a customer has at most, who have one, two or three in turn.
const MOST_PURCHASES: u32 = 3;
/// Over how many days before the run the purchases are spread: two years, so that a window of one leaves some out.
const DAYS: u32 = 730;
const HOURS_OF_A_DAY: i64 = 24;
/// Turns numbers that follow each other into ones that are spread: 2³² by the golden ratio.
const MIXING: u32 = 2_654_435_761;

impl Ground {
    /// Applies the program, and enrols its customers with their purchases. Returns how many entries there are.
    pub(super) async fn fill_with_purchases(&self, client: &Client) -> Result<u64, CliError> {
        program::send(client, program::request(self.program(Vec::new()))).await?;
        eprintln!("enrolling {} customers with their purchases", grouped(self.customers));
        let (ground, now) = (self.clone(), Timestamp::now());
        let purchases = (0..self.customers).flat_map(|customer| {
            let count = customer % MOST_PURCHASES + 1;
            (0..count).map(move |purchase| (customer, purchase))
        });
        let items = purchases.map(move |(customer, purchase)| BatchRecordActivitiesRequest {
            item_id: customer.to_string(),
            activity: Some(ground.past_purchase(customer, purchase, now)),
        });
        record_activities(client, items).await.map(|recorded| recorded.entries)
    }

    /// One of a customer's purchases, which enrols them. Its cost and its day are such that each tier has customers, and
    /// each day purchases.
    fn past_purchase(&self, customer: u32, purchase: u32, now: Timestamp) -> RecordActivityRequest {
        let number = customer.wrapping_mul(MOST_PURCHASES).wrapping_add(purchase);
        let mixed = number.wrapping_mul(MIXING) >> 8;
        let (units, days) = (i64::from(mixed % 500 + 10), i64::from(mixed / 500 % DAYS));
        // An hour ago at least, since the service's clock may be behind this machine's.
        let happened_at = now - SignedDuration::from_hours(days * HOURS_OF_A_DAY + 1);
        RecordActivityRequest {
            happened_at: Some(write_instant(happened_at)),
            enrol: true,
            ..self.purchase(self.customer(customer), format!("purchase-{purchase}"), units)
        }
    }

    /// What `goldbook program diff` asks about a document by which tiers count the purchases of a year, are kept for a
    /// year, and cost half as much again.
    pub(super) fn simulate(&self) -> SimulateTierPolicyRequest {
        let year = || "P1Y".to_owned();
        let mut document = Program {
            tier_policy: Some(TierPolicy {
                window: Some(TierWindow { window: Some(Window::Rolling(year())) }),
                kept: Some(TierRetention { rule: Some(Rule::For(year())) }),
                ..TierPolicy::default()
            }),
            ..self.program(Vec::new())
        };
        for tier in &mut document.tiers {
            let units = tier.threshold.as_ref().map_or(0, |threshold| threshold.units);
            tier.threshold = Some(Money { currency_code: CURRENCY.to_owned(), units: units * 3 / 2, nanos: 0 });
        }
        SimulateTierPolicyRequest {
            program_id: self.program_id.clone(),
            policy: Some(simulate_tier_policy_request::Policy::Program(document)),
            downgrades: DowngradeTime::AtOwnEnd.into(),
            as_of: None,
            sample_percent: 0,
            summary_only: true,
        }
    }
}
