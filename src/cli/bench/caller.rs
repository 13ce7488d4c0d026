//! A client that makes one call after the other.

use std::time::Duration;

use goldbook_api::v1::RecordActivityResponse;
use goldbook_api::v1::activity_service_client::ActivityServiceClient;
use goldbook_api::v1::benefit_service_client::BenefitServiceClient;
use goldbook_api::v1::reward_service_client::RewardServiceClient;
use goldbook_api::v1::tier_service_client::TierServiceClient;
use tonic::{Response, Status};

use super::super::client::Calls;
use super::ground::Ground;
use super::grounds::Grounds;
use super::referees::Referees;
use super::workload::Workload;

/// How long a client rests after an error, so that a broken service is not called in a tight loop.
pub(super) const REST_AFTER_ERROR: Duration = Duration::from_millis(10);

pub(super) enum Caller {
    Grant(RewardServiceClient<Calls>, Ground),
    Redeem(RewardServiceClient<Calls>, Ground),
    Tier(TierServiceClient<Calls>, Ground),
    Purchase(ActivityServiceClient<Calls>, Ground),
    Conversion(ActivityServiceClient<Calls>, Referees),
    UseBenefit(BenefitServiceClient<Calls>, Ground),
}

impl Caller {
    /// The caller of a workload that makes single calls.
    pub(super) fn new(workload: Workload, channel: Calls, grounds: &Grounds) -> Self {
        let ground = grounds.of(workload);
        match workload {
            Workload::Grant
            | Workload::GrantKeyed
            | Workload::GrantUnmeasured
            | Workload::GrantOne
            | Workload::GrantEmpty
            | Workload::GrantLarge
            | Workload::Quiet
            | Workload::BesideCalls
            | Workload::BesideStreams => Self::Grant(RewardServiceClient::new(channel), ground),
            Workload::Redeem | Workload::RedeemFew | Workload::RedeemMany => {
                Self::Redeem(RewardServiceClient::new(channel), ground)
            }
            Workload::Purchase => Self::Purchase(ActivityServiceClient::new(channel), ground),
            Workload::Conversion => Self::Conversion(ActivityServiceClient::new(channel), grounds.referees.clone()),
            Workload::UseBenefit => Self::UseBenefit(BenefitServiceClient::new(channel), ground),
            Workload::Tier
            | Workload::TierKeyed
            | Workload::TierMany
            | Workload::Echo
            | Workload::Pgbench
            | Workload::Raw
            | Workload::Stream
            | Workload::StreamEmpty
            | Workload::StreamLarge
            | Workload::Simulate
            | Workload::CountTiers => Self::Tier(TierServiceClient::new(channel), ground),
        }
    }

    /// Makes the next call, and returns why it failed, if it did. None if there is nothing left to call about.
    pub(super) async fn call(&mut self) -> Option<Result<(), Status>> {
        Some(match self {
            Self::Grant(client, ground) => client.grant_reward(ground.grant()).await.map(drop),
            Self::Redeem(client, ground) => client.redeem_points(ground.redeem()).await.map(drop),
            Self::Tier(client, ground) => client.get_customer_tier(ground.tier()).await.map(drop),
            Self::Purchase(client, ground) => client.record_activity(ground.random_purchase()).await.map(drop),
            Self::UseBenefit(client, ground) => client.use_benefit(ground.use_benefit()).await.map(drop),
            Self::Conversion(client, referees) => {
                client.record_activity(referees.next_purchase()?).await.and_then(converted)
            }
        })
    }
}

/// A purchase that did not convert its referral is no conversion.
fn converted(answer: Response<RecordActivityResponse>) -> Result<(), Status> {
    if answer.into_inner().referral_converted { Ok(()) } else { Err(Status::internal("the referral did not convert")) }
}
