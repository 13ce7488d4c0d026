//! A program with customers: what they are given before anything is measured, and the calls about them.

use goldbook_api::google::Money;
use goldbook_api::v1::batch_grant_rewards_response::Outcome as GrantOutcome;
use goldbook_api::v1::batch_record_activities_response::Outcome;
use goldbook_api::v1::benefit_quota::Per;
use goldbook_api::v1::{
    BatchGrantRewardsRequest, BatchRecordActivitiesRequest, Benefit, BenefitQuota, Campaign, GetCustomerTierRequest,
    GrantReason, GrantRewardRequest, Program, Purchase, RecordActivityRequest, RedeemPointsRequest, Tier,
    UseBenefitRequest, grant_reward_request, record_activity_request,
};
use goldbook_api::values::write_instant;
use jiff::{SignedDuration, Timestamp};
use rand::RngExt as _;
use tokio_stream::StreamExt as _;
use uuid::Uuid;

use super::super::client::Client;
use super::super::error::CliError;
use super::super::output::grouped;
use super::super::refusal::Refusal;

pub(super) const CURRENCY: &str = "USD";
/// How many points a lot has that is given beforehand: more than are redeemed.
const POINTS_PER_LOT: i64 = 1_000_000;
/// A program and some of its customers.
#[derive(Clone, Debug)]
pub(super) struct Ground {
    pub(super) program_id: String,
    /// What the customers' ids begin with.
    pub(super) prefix: &'static str,
    pub(super) customers: u32,
}

impl Ground {
    /// A program of usual size. Its tiers are reached by many purchases.
    pub(super) fn program(&self, campaigns: Vec<Campaign>) -> Program {
        let benefits = |tier: &str| {
            let benefit = |number: u32| Benefit {
                benefit_id: format!("benefit-{number}"),
                display_name: format!("Benefit {number}"),
                description: format!("What {tier} customers are entitled to, as number {number}."),
                quota: Some(BenefitQuota { limit: 1_000_000, per: Some(Per::TierPeriod(())), counts_companions: true }),
                ..Benefit::default()
            };
            (1..=3).map(benefit).collect()
        };
        let tiers = [("member", 0), ("silver", 200), ("gold", 500), ("platinum", 1_000)];
        let tiers = tiers.map(|(tier_id, threshold)| Tier {
            tier_id: tier_id.to_owned(),
            display_name: tier_id.to_owned(),
            threshold: Some(Money { currency_code: CURRENCY.to_owned(), units: threshold, nanos: 0 }),
            benefits: benefits(tier_id),
            ..Tier::default()
        });
        Program {
            program_id: self.program_id.clone(),
            display_name: "Bench".to_owned(),
            currency_code: CURRENCY.to_owned(),
            time_zone: "UTC".to_owned(),
            points_per_unit: "1".to_owned(),
            tiers: tiers.into(),
            campaigns,
            points: None,
            retention: None,
            tier_policy: None,
            extras: Vec::new(),
            packages: Vec::new(),
            satisfaction: None,
            complaints: None,
            goodwill: None,
            lifecycle: None,
            value_classes: None,
            segments: Vec::new(),
        }
    }

    /// Enrols every customer by a first purchase. It counts once, however often this runs. Returns how many entries
    /// that came to.
    pub(super) async fn enrol(&self, client: &Client) -> Result<u64, CliError> {
        eprintln!("enrolling {} customers", grouped(self.customers));
        let ground = self.clone();
        let items = (0..self.customers).map(move |number| BatchRecordActivitiesRequest {
            item_id: number.to_string(),
            activity: Some(RecordActivityRequest {
                enrol: true,
                happened_at: Some(write_instant(Timestamp::UNIX_EPOCH)),
                ..ground.purchase(ground.customer(number), "first".to_owned(), 1)
            }),
        });
        let Recorded { activities, entries } = record_activities(client, items).await?;
        if activities == u64::from(self.customers) {
            return Ok(entries);
        }
        Err(CliError::failed(format_args!("only {activities} of {} customers were enrolled", self.customers)))
    }

    /// Gives every customer lots with more points than are redeemed. They count once, however often this runs. Returns
    /// how many there are.
    pub(super) async fn fund(&self, client: &Client, lots: u32) -> Result<u64, CliError> {
        let ground = self.clone();
        let grants = u64::from(self.customers) * u64::from(lots);
        let numbers = (0..self.customers).flat_map(move |customer| (0..lots).map(move |lot| (customer, lot)));
        let items = numbers.map(move |(customer, lot)| BatchGrantRewardsRequest {
            item_id: "1".to_owned(),
            grant: Some(GrantRewardRequest {
                customer_id: ground.customer(customer),
                content: Some(grant_reward_request::Content::Points(POINTS_PER_LOT)),
                idempotency_key: format!("fund-{lot}"),
                ..ground.grant()
            }),
        });
        let answer = client.rewards().batch_grant_rewards(tokio_stream::iter(items)).await;
        let mut outcomes = answer.map_err(CliError::refused("cannot grant points"))?.into_inner();
        while let Some(outcome) = outcomes.next().await {
            let outcome = outcome.map_err(CliError::refused("cannot grant points"))?.outcome;
            if let Some(GrantOutcome::Error(status)) = outcome {
                let why = Refusal::from_item(&status).summary();
                return Err(CliError::failed(format_args!("cannot grant a customer points: {why}")));
            }
        }
        Ok(grants)
    }

    pub(super) fn customer(&self, number: u32) -> String {
        format!("{}-{number:07}", self.prefix)
    }

    fn random_customer(&self) -> String {
        self.customer(rand::rng().random_range(0..self.customers))
    }

    pub(super) fn use_benefit(&self) -> UseBenefitRequest {
        UseBenefitRequest {
            program_id: self.program_id.clone(),
            customer_id: self.random_customer(),
            benefit_id: "benefit-2".to_owned(),
            quantity: 1,
            companions: 0,
            place: String::new(),
            entitlement_id: String::new(),
            idempotency_key: Uuid::now_v7().to_string(),
        }
    }

    pub(super) fn redeem(&self) -> RedeemPointsRequest {
        RedeemPointsRequest {
            program_id: self.program_id.clone(),
            customer_id: self.random_customer(),
            points: rand::rng().random_range(1..=10),
            note: String::new(),
            idempotency_key: Uuid::now_v7().to_string(),
        }
    }

    pub(super) fn grant(&self) -> GrantRewardRequest {
        GrantRewardRequest {
            program_id: self.program_id.clone(),
            customer_id: self.random_customer(),
            content: Some(grant_reward_request::Content::Points(rand::rng().random_range(1..=1_000))),
            reason: GrantReason::Goodwill.into(),
            note: String::new(),
            idempotency_key: Uuid::now_v7().to_string(),
            vesting: None,
            expiry: None,
        }
    }

    pub(super) fn tier(&self) -> GetCustomerTierRequest {
        GetCustomerTierRequest { program_id: self.program_id.clone(), customer_id: self.random_customer(), as_of: None }
    }

    pub(super) fn purchase(&self, customer_id: String, activity_id: String, units: i64) -> RecordActivityRequest {
        let amount = Money { currency_code: CURRENCY.to_owned(), units, nanos: 0 };
        RecordActivityRequest {
            program_id: self.program_id.clone(),
            customer_id,
            activity_id,
            activity: Some(record_activity_request::Activity::Purchase(Purchase {
                amount: Some(amount),
                margin: None,
            })),
            // A second ago, since the service's clock may be behind this machine's.
            happened_at: Some(write_instant(Timestamp::now() - SignedDuration::from_secs(1))),
            enrol: false,
            as_history: false,
        }
    }

    pub(super) fn random_purchase(&self) -> RecordActivityRequest {
        let units = rand::rng().random_range(1..100);
        self.purchase(self.random_customer(), Uuid::now_v7().to_string(), units)
    }
}

/// What became of activities that were streamed.
pub(super) struct Recorded {
    pub(super) activities: u64,
    pub(super) entries: u64,
}

/// Streams activities, each of which enrols its customer.
///
/// # Errors
/// If one of them is refused, or the stream ends early.
pub(super) async fn record_activities(
    client: &Client,
    items: impl Iterator<Item = BatchRecordActivitiesRequest> + Send + 'static,
) -> Result<Recorded, CliError> {
    let answer = client.activities().batch_record_activities(tokio_stream::iter(items)).await;
    let mut outcomes = answer.map_err(CliError::refused("cannot enrol customers"))?.into_inner();
    let mut recorded = Recorded { activities: 0, entries: 0 };
    while let Some(outcome) = outcomes.next().await {
        match outcome.map_err(CliError::refused("cannot enrol customers"))?.outcome {
            Some(Outcome::Recorded(it)) => {
                recorded.activities += 1;
                recorded.entries += u64::try_from(it.entry_ids.len()).unwrap_or_default();
            }
            Some(Outcome::Error(status)) => {
                let why = Refusal::from_item(&status).summary();
                return Err(CliError::failed(format_args!("cannot enrol a customer: {why}")));
            }
            None => {}
        }
    }
    Ok(recorded)
}
