//! What is measured: the calls, and the program and customers that they need.

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use goldbook_api::google::Money;
use goldbook_api::v1::activity_service_client::ActivityServiceClient;
use goldbook_api::v1::batch_grant_rewards_response::Outcome as GrantOutcome;
use goldbook_api::v1::batch_record_activities_response::Outcome;
use goldbook_api::v1::reward_service_client::RewardServiceClient;
use goldbook_api::v1::tier_service_client::TierServiceClient;
use goldbook_api::v1::{
    BatchGrantRewardsRequest, BatchRecordActivitiesRequest, Benefit, GetCustomerTierRequest, GrantReason,
    GrantRewardRequest, Program, Purchase, RecordActivityRequest, RedeemPointsRequest, Tier, grant_reward_request,
    record_activity_request,
};
use goldbook_api::values::write_instant;
use jiff::{SignedDuration, Timestamp};
use rand::RngExt as _;
use tokio_stream::StreamExt as _;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};
use uuid::Uuid;

use super::super::client::Client;
use super::super::error::CliError;
use super::super::error::with_causes;
use super::super::output::grouped;
use super::super::program;
use super::super::refusal::Refusal;

const CURRENCY: &str = "USD";
/// How many lots customers begin with, and how many points each has.
const LOTS: u32 = 4;
const POINTS_PER_LOT: i64 = 1_000_000;

/// Something to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Workload {
    Grant,
    Pgbench,
    Redeem,
    Tier,
    Echo,
    Purchase,
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Grant => "grant",
            Self::Pgbench => "pgbench",
            Self::Redeem => "redeem",
            Self::Tier => "tier",
            Self::Echo => "echo",
            Self::Purchase => "purchase",
        })
    }
}

/// The program and the customers that the calls are about.
#[derive(Clone, Debug)]
pub(super) struct Ground {
    program_id: String,
    customers: u32,
}

impl Ground {
    /// Applies the program, enrols the customers and gives them points. What is there already stays as it is.
    pub(super) async fn prepare(
        endpoint: &Endpoint,
        program_id: &str,
        customers: NonZeroU32,
    ) -> Result<Self, CliError> {
        let channel = endpoint.connect().await;
        let channel =
            channel.map_err(|error| CliError::failed(format_args!("cannot connect: {}", with_causes(&error))))?;
        let client = Client::new(channel);
        let ground = Self { program_id: program_id.to_owned(), customers: customers.get() };
        program::send(&client, ground.program(), false, None).await?;
        eprintln!("enrolling {} customers", grouped(ground.customers));
        ground.enrol(&client).await?;
        ground.fund(&client).await?;
        Ok(ground)
    }

    /// A program of usual size. Its tiers are reached by many purchases.
    fn program(&self) -> Program {
        let benefits = |tier: &str| {
            let benefit = |number: u32| Benefit {
                benefit_id: format!("benefit-{number}"),
                display_name: format!("Benefit {number}"),
                description: format!("What {tier} customers are entitled to, as number {number}."),
            };
            (1..=3).map(benefit).collect()
        };
        let tiers = [("member", 0), ("silver", 200), ("gold", 500), ("platinum", 1_000)];
        let tiers = tiers.map(|(tier_id, threshold)| Tier {
            tier_id: tier_id.to_owned(),
            display_name: tier_id.to_owned(),
            threshold: Some(Money { currency_code: CURRENCY.to_owned(), units: threshold, nanos: 0 }),
            benefits: benefits(tier_id),
        });
        Program {
            program_id: self.program_id.clone(),
            display_name: "Bench".to_owned(),
            currency_code: CURRENCY.to_owned(),
            time_zone: "UTC".to_owned(),
            points_per_unit: "1".to_owned(),
            tiers: tiers.into(),
            campaigns: Vec::new(),
            points: None,
        }
    }

    /// Enrols every customer by a first purchase. It counts once, however often this runs.
    async fn enrol(&self, client: &Client) -> Result<(), CliError> {
        let ground = self.clone();
        let items = (0..self.customers).map(move |number| BatchRecordActivitiesRequest {
            item_id: number.to_string(),
            activity: Some(RecordActivityRequest {
                enrol: true,
                happened_at: Some(write_instant(Timestamp::UNIX_EPOCH)),
                ..ground.purchase(customer_id(number), "first".to_owned(), 1)
            }),
        });
        let answer = client.activities().batch_record_activities(tokio_stream::iter(items)).await;
        let mut outcomes = answer.map_err(CliError::refused("cannot enrol customers"))?.into_inner();
        let mut enrolled = 0;
        while let Some(outcome) = outcomes.next().await {
            match outcome.map_err(CliError::refused("cannot enrol customers"))?.outcome {
                Some(Outcome::Recorded(_)) => enrolled += 1,
                Some(Outcome::Error(status)) => {
                    let why = Refusal::from_item(&status).summary();
                    return Err(CliError::failed(format_args!("cannot enrol a customer: {why}")));
                }
                None => {}
            }
        }
        if enrolled == self.customers {
            return Ok(());
        }
        Err(CliError::failed(format_args!("only {enrolled} of {} customers were enrolled", self.customers)))
    }

    /// Gives every customer a few lots with more points than are redeemed. They count once, however often this runs.
    async fn fund(&self, client: &Client) -> Result<(), CliError> {
        let ground = self.clone();
        let items = (0..self.customers * LOTS).map(move |number| BatchGrantRewardsRequest {
            item_id: number.to_string(),
            grant: Some(GrantRewardRequest {
                customer_id: customer_id(number / LOTS),
                content: Some(grant_reward_request::Content::Points(POINTS_PER_LOT)),
                idempotency_key: format!("fund-{number}"),
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
        Ok(())
    }

    fn redeem(&self) -> RedeemPointsRequest {
        RedeemPointsRequest {
            program_id: self.program_id.clone(),
            customer_id: self.random_customer(),
            points: rand::rng().random_range(1..=10),
            note: String::new(),
            idempotency_key: Uuid::now_v7().to_string(),
        }
    }

    fn random_customer(&self) -> String {
        customer_id(rand::rng().random_range(0..self.customers))
    }

    fn grant(&self) -> GrantRewardRequest {
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

    fn tier(&self) -> GetCustomerTierRequest {
        GetCustomerTierRequest { program_id: self.program_id.clone(), customer_id: self.random_customer(), as_of: None }
    }

    fn purchase(&self, customer_id: String, activity_id: String, units: i64) -> RecordActivityRequest {
        let amount = Money { currency_code: CURRENCY.to_owned(), units, nanos: 0 };
        RecordActivityRequest {
            program_id: self.program_id.clone(),
            customer_id,
            activity_id,
            activity: Some(record_activity_request::Activity::Purchase(Purchase { amount: Some(amount) })),
            // A second ago, since the service's clock may be behind this machine's.
            happened_at: Some(write_instant(Timestamp::now() - SignedDuration::from_secs(1))),
            enrol: false,
            as_history: false,
        }
    }

    fn random_purchase(&self) -> RecordActivityRequest {
        let units = rand::rng().random_range(1..100);
        self.purchase(self.random_customer(), Uuid::now_v7().to_string(), units)
    }
}

fn customer_id(number: u32) -> String {
    format!("bench-{number:07}")
}

/// A client that makes one call after the other.
pub(super) enum Caller {
    Grant(RewardServiceClient<Channel>, Ground),
    Redeem(RewardServiceClient<Channel>, Ground),
    Tier(TierServiceClient<Channel>, Ground),
    Purchase(ActivityServiceClient<Channel>, Ground),
}

impl Caller {
    pub(super) fn new(workload: Workload, channel: Channel, ground: Ground) -> Self {
        match workload {
            Workload::Grant => Self::Grant(RewardServiceClient::new(channel), ground),
            Workload::Redeem => Self::Redeem(RewardServiceClient::new(channel), ground),
            Workload::Purchase => Self::Purchase(ActivityServiceClient::new(channel), ground),
            Workload::Tier | Workload::Echo | Workload::Pgbench => Self::Tier(TierServiceClient::new(channel), ground),
        }
    }

    /// Makes the next call, and returns why it failed, if it did.
    pub(super) async fn call(&mut self) -> Result<(), Status> {
        match self {
            Self::Grant(client, ground) => client.grant_reward(ground.grant()).await.map(drop),
            Self::Redeem(client, ground) => client.redeem_points(ground.redeem()).await.map(drop),
            Self::Tier(client, ground) => client.get_customer_tier(ground.tier()).await.map(drop),
            Self::Purchase(client, ground) => client.record_activity(ground.random_purchase()).await.map(drop),
        }
    }
}

/// How long a client rests after an error, so that a broken service is not called in a tight loop.
pub(super) const REST_AFTER_ERROR: Duration = Duration::from_millis(10);
