//! `RewardService` on the wire.

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, ready};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::model::Points;
use super::{GrantReward, Reward, Rewards};
use crate::book::EntryReason;
use crate::error::{Error, Fields};
use crate::ids::{CustomerId, IdempotencyKey, ProgramId};
use crate::paging::PageRequest;
use crate::proto;
use crate::proto::batch_grant_rewards_response::Outcome;
use crate::proto::fields::{deadline_of, parse_optional_instant, write_instant};
use crate::proto::stream::{answer_each, check_item_id};
use crate::proto::{grant_reward_request, reward};
use crate::telemetry;

const MAX_NOTE: usize = 500;

#[tonic::async_trait]
impl proto::reward_service_server::RewardService for Rewards {
    async fn grant_reward(
        &self,
        request: Request<proto::GrantRewardRequest>,
    ) -> Result<Response<proto::GrantRewardResponse>, Status> {
        let deadline = deadline_of(&request);
        let grant = parse_grant(request.into_inner(), Fields::default())?;
        telemetry::record_program(grant.program_id.as_str());
        let customer_id = grant.customer_id.clone();
        let (reward, replayed) = self.grant_reward(grant, deadline).await?;
        let reward = Some(write_reward(reward, &customer_id));
        Ok(Response::new(proto::GrantRewardResponse { reward, replayed }))
    }

    type BatchGrantRewardsStream = ReceiverStream<Result<proto::BatchGrantRewardsResponse, Status>>;

    async fn batch_grant_rewards(
        &self,
        request: Request<Streaming<proto::BatchGrantRewardsRequest>>,
    ) -> Result<Response<Self::BatchGrantRewardsStream>, Status> {
        let rewards = self.clone();
        let begin = move |item| {
            let rewards = rewards.clone();
            async move { begin_grant(&rewards, item).await }.boxed()
        };
        Ok(Response::new(answer_each(request.into_inner(), begin)))
    }

    async fn get_balance(
        &self,
        request: Request<proto::GetBalanceRequest>,
    ) -> Result<Response<proto::GetBalanceResponse>, Status> {
        let request = request.into_inner();
        let mut fields = Fields::default();
        let program_id = fields.take("program_id", ProgramId::try_from(request.program_id));
        let customer_id = fields.take("customer_id", CustomerId::try_from(request.customer_id));
        let as_of = parse_optional_instant(&mut fields, "as_of", request.as_of.as_ref());
        let (Some(program_id), Some(customer_id), true) = (program_id, customer_id, fields.is_clean()) else {
            return Err(fields.into_error().into());
        };
        telemetry::record_program(program_id.as_str());
        let (balance, as_of) = self.get_balance(&program_id, &customer_id, as_of).await?;
        let balance = proto::Balance {
            customer_id: customer_id.into(),
            pending: balance.pending,
            available: balance.available,
            held: balance.held,
            redeemed: balance.redeemed,
            expired: balance.expired,
            cancelled: balance.cancelled,
            issued: balance.issued,
            owed: balance.owed,
            as_of: Some(write_instant(as_of)),
        };
        Ok(Response::new(proto::GetBalanceResponse { balance: Some(balance) }))
    }

    async fn list_rewards(
        &self,
        request: Request<proto::ListRewardsRequest>,
    ) -> Result<Response<proto::ListRewardsResponse>, Status> {
        let request = request.into_inner();
        let mut fields = Fields::default();
        let filters = ["rewards", &request.program_id, &request.customer_id];
        let page = PageRequest::parse(&mut fields, request.page_size, &request.page_token, &filters)?;
        let program_id = fields.take("program_id", ProgramId::try_from(request.program_id));
        let customer_id = fields.take("customer_id", CustomerId::try_from(request.customer_id));
        let (Some(program_id), Some(customer_id), true) = (program_id, customer_id, fields.is_clean()) else {
            return Err(fields.into_error().into());
        };
        telemetry::record_program(program_id.as_str());
        let (rewards, next_page_token) = self.list_rewards(&program_id, &customer_id, &page).await?;
        let rewards = rewards.into_iter().map(|reward| write_reward(reward, &customer_id)).collect();
        Ok(Response::new(proto::ListRewardsResponse { rewards, next_page_token }))
    }
}

/// Queues one item of a batch; what is bad about it becomes its own outcome.
async fn begin_grant(
    rewards: &Rewards,
    item: proto::BatchGrantRewardsRequest,
) -> BoxFuture<'static, proto::BatchGrantRewardsResponse> {
    let proto::BatchGrantRewardsRequest { item_id, grant } = item;
    let mut fields = Fields::default();
    check_item_id(&mut fields, &item_id);
    let parsed = parse_grant(grant.unwrap_or_default(), fields);
    let queued = match parsed {
        Ok(grant) => {
            let customer_id = grant.customer_id.clone();
            rewards.enqueue_grant(grant).await.map(|outcome| (outcome, customer_id))
        }
        Err(error) => Err(error),
    };
    let answer = |outcome| proto::BatchGrantRewardsResponse { item_id, outcome: Some(outcome) };
    match queued {
        Ok((outcome, customer_id)) => outcome
            .map(move |outcome| {
                answer(match outcome {
                    Ok((reward, replayed)) => {
                        let reward = Some(write_reward(reward, &customer_id));
                        Outcome::Granted(proto::GrantRewardResponse { reward, replayed })
                    }
                    Err(error) => Outcome::Error(crate::status::to_rpc_status(error)),
                })
            })
            .boxed(),
        Err(error) => ready(answer(Outcome::Error(crate::status::to_rpc_status(error)))).boxed(),
    }
}

fn parse_grant(request: proto::GrantRewardRequest, mut fields: Fields) -> Result<GrantReward, Error> {
    let reason = match request.reason() {
        proto::GrantReason::Goodwill => Some(EntryReason::Goodwill),
        proto::GrantReason::Promotion => Some(EntryReason::Promotion),
        proto::GrantReason::Correction => Some(EntryReason::Correction),
        proto::GrantReason::Other => Some(EntryReason::Other),
        proto::GrantReason::Unspecified
        | proto::GrantReason::Purchase
        | proto::GrantReason::ReferralReferrer
        | proto::GrantReason::ReferralReferee => {
            fields.take("reason", Err("must be one of GOODWILL, PROMOTION, CORRECTION and OTHER"))
        }
    };
    let points = match request.content {
        Some(grant_reward_request::Content::Points(points)) => {
            fields.take("points", Points::new(points).ok_or("must be above zero"))
        }
        None => fields.take("points", Err("must be set")),
    };
    let program_id = fields.take("program_id", ProgramId::try_from(request.program_id));
    let customer_id = fields.take("customer_id", CustomerId::try_from(request.customer_id));
    let key = fields.take("idempotency_key", IdempotencyKey::try_from(request.idempotency_key));
    // A note may have lines; what Postgres cannot keep is not text.
    if request.note.chars().count() > MAX_NOTE || request.note.contains('\0') {
        fields.refuse("note", "must be at most 500 characters without U+0000");
    }
    match (program_id, customer_id, points, reason, key) {
        (Some(program_id), Some(customer_id), Some(points), Some(reason), Some(key)) if fields.is_clean() => {
            Ok(GrantReward { program_id, customer_id, points, reason, note: request.note, key })
        }
        _ => Err(fields.into_error()),
    }
}

fn write_reward(reward: Reward, customer_id: &CustomerId) -> proto::Reward {
    let Reward { entry, note } = reward;
    let reason = match entry.reason {
        EntryReason::Purchase => proto::GrantReason::Purchase,
        EntryReason::ReferralReferrer => proto::GrantReason::ReferralReferrer,
        EntryReason::ReferralReferee => proto::GrantReason::ReferralReferee,
        EntryReason::Goodwill => proto::GrantReason::Goodwill,
        EntryReason::Promotion => proto::GrantReason::Promotion,
        EntryReason::Correction => proto::GrantReason::Correction,
        EntryReason::Other
        | EntryReason::ProgramApplied
        | EntryReason::Enrolment
        | EntryReason::DossierUpdate
        | EntryReason::ThresholdReached
        | EntryReason::CodeRequested
        | EntryReason::Referral
        | EntryReason::ManualConversion
        | EntryReason::ReferralWindowPassed => proto::GrantReason::Other,
    };
    proto::Reward {
        reward_id: entry.id.to_string(),
        customer_id: customer_id.to_string(),
        content: entry.movement.map(|movement| reward::Content::Points(movement.points)),
        reason: reason.into(),
        note,
        granted_at: Some(write_instant(entry.effective_at)),
        cause_entry_ids: entry.causes.iter().map(ToString::to_string).collect(),
        trace_id: telemetry::TraceId(entry.trace_id).to_string(),
    }
}
