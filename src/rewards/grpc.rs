//! `RewardService` on the wire.

mod parse;
mod write;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use goldbook_api::server::{Received, reward_service_server};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::Rewards;
use crate::access::grpc::{Batch, admit, answer_each};
use crate::book::{Pocket, Writer, Written};
use crate::error::{Error, Fields};
use crate::points::BalanceAt;
use crate::points::lots::Next;
use crate::points::subject::Subject;
use crate::proto;
use crate::proto::batch_grant_rewards_response::Outcome;
use crate::proto::fields::{parse_optional_instant, write_instant};
use crate::proto::requests::{parse_customer, parse_customer_list};
use crate::telemetry;

use parse::{
    parse_adjust, parse_capture, parse_entry_id, parse_grant, parse_hold, parse_redeem, parse_release, parse_reverse,
    parse_vest,
};
use write::{
    sum_moved, write_adjustment, write_hold, write_lot, write_lot_use, write_redemption, write_reversal, write_reward,
};

#[tonic::async_trait]
impl reward_service_server::RewardService for Rewards {
    async fn grant_reward(
        &self,
        request: Request<Received<proto::GrantRewardRequest>>,
    ) -> Result<Response<proto::GrantRewardResponse>, Status> {
        let (request, caller) = admit(request)?;
        let grant = parse_grant(request, Fields::default())?;
        telemetry::record_program(grant.subject.program_id.as_str());
        let customer_id = grant.subject.customer_id.clone();
        let (reward, replayed) = self.grant_reward(grant, caller.writer().await?).await?;
        let reward = Some(write_reward(reward, &customer_id));
        Ok(Response::new(proto::GrantRewardResponse { reward, replayed }))
    }

    type BatchGrantRewardsStream = ReceiverStream<Result<proto::BatchGrantRewardsResponse, Status>>;

    async fn batch_grant_rewards(
        &self,
        request: Request<Streaming<Received<proto::BatchGrantRewardsRequest>>>,
    ) -> Result<Response<Self::BatchGrantRewardsStream>, Status> {
        Ok(Response::new(answer_each(self, request).await?))
    }

    async fn vest_reward(
        &self,
        request: Request<Received<proto::VestRewardRequest>>,
    ) -> Result<Response<proto::VestRewardResponse>, Status> {
        let (request, caller) = admit(request)?;
        let vest = parse_vest(request)?;
        telemetry::record_program(vest.subject.program_id.as_str());
        let customer_id = vest.subject.customer_id.clone();
        let (reward, vested_at, already_vested) = self.vest_reward(vest, caller.writer().await?).await?;
        Ok(Response::new(proto::VestRewardResponse {
            reward: Some(write_reward(reward, &customer_id)),
            vested_at: Some(write_instant(vested_at)),
            already_vested,
        }))
    }

    async fn redeem_points(
        &self,
        request: Request<Received<proto::RedeemPointsRequest>>,
    ) -> Result<Response<proto::RedeemPointsResponse>, Status> {
        let (request, caller) = admit(request)?;
        let redeem = parse_redeem(request)?;
        telemetry::record_program(redeem.subject.program_id.as_str());
        let Written { entries, replayed, .. } = self.points.carry_out(redeem, caller.writer().await?).await?;
        Ok(Response::new(proto::RedeemPointsResponse { redemption: write_redemption(&entries), replayed }))
    }

    async fn hold_points(
        &self,
        request: Request<Received<proto::HoldPointsRequest>>,
    ) -> Result<Response<proto::HoldPointsResponse>, Status> {
        let (request, caller) = admit(request)?;
        let hold = parse_hold(request)?;
        telemetry::record_program(hold.subject.program_id.as_str());
        let Written { entries, replayed, .. } = self.points.carry_out(hold, caller.writer().await?).await?;
        Ok(Response::new(proto::HoldPointsResponse { hold: entries.iter().find_map(write_hold), replayed }))
    }

    async fn capture_points(
        &self,
        request: Request<Received<proto::CapturePointsRequest>>,
    ) -> Result<Response<proto::CapturePointsResponse>, Status> {
        let (request, caller) = admit(request)?;
        let capture = parse_capture(request)?;
        telemetry::record_program(capture.subject.program_id.as_str());
        let Written { entries, replayed, .. } = self.points.carry_out(capture, caller.writer().await?).await?;
        Ok(Response::new(proto::CapturePointsResponse {
            redemption: write_redemption(&entries),
            points_released: sum_moved(&entries, Pocket::Held, Pocket::Available),
            points_expired: sum_moved(&entries, Pocket::Held, Pocket::Expired),
            replayed,
        }))
    }

    async fn release_points(
        &self,
        request: Request<Received<proto::ReleasePointsRequest>>,
    ) -> Result<Response<proto::ReleasePointsResponse>, Status> {
        let (request, caller) = admit(request)?;
        let release = parse_release(request)?;
        telemetry::record_program(release.subject.program_id.as_str());
        let Written { entries, replayed, .. } = self.points.carry_out(release, caller.writer().await?).await?;
        Ok(Response::new(proto::ReleasePointsResponse {
            points_released: sum_moved(&entries, Pocket::Held, Pocket::Available),
            points_expired: sum_moved(&entries, Pocket::Held, Pocket::Expired),
            replayed,
        }))
    }

    async fn reverse_entry(
        &self,
        request: Request<Received<proto::ReverseEntryRequest>>,
    ) -> Result<Response<proto::ReverseEntryResponse>, Status> {
        let (request, caller) = admit(request)?;
        let reverse = parse_reverse(request)?;
        telemetry::record_program(reverse.subject.program_id.as_str());
        let Written { entries, replayed, .. } = self.points.carry_out(reverse, caller.writer().await?).await?;
        Ok(Response::new(write_reversal(&entries, replayed)))
    }

    async fn adjust_points(
        &self,
        request: Request<Received<proto::AdjustPointsRequest>>,
    ) -> Result<Response<proto::AdjustPointsResponse>, Status> {
        let (request, caller) = admit(request)?;
        let adjust = parse_adjust(request)?;
        telemetry::record_program(adjust.subject.program_id.as_str());
        let Written { entries, replayed, .. } = self.points.carry_out(adjust, caller.writer().await?).await?;
        Ok(Response::new(write_adjustment(&entries, replayed)))
    }

    async fn list_lots(
        &self,
        request: Request<Received<proto::ListLotsRequest>>,
    ) -> Result<Response<proto::ListLotsResponse>, Status> {
        let (request, _) = admit(request)?;
        let mut fields = Fields::default();
        let open_only = if request.open_only { "open" } else { "all" };
        let (customer, page) = parse_customer_list(&mut fields, &request, "lots", &[open_only])?;
        let (program_id, customer_id) = fields.finish_with(customer)?;
        let subject = Subject { program_id, customer_id };
        telemetry::record_program(subject.program_id.as_str());
        let (lots, next_page_token) = self.points.list_lots(&subject, request.open_only, &page).await?;
        let lots = lots.into_iter().map(|(lot_id, lot, expiry)| write_lot(lot_id, &lot, expiry)).collect();
        Ok(Response::new(proto::ListLotsResponse { lots, next_page_token }))
    }

    async fn list_lot_uses(
        &self,
        request: Request<Received<proto::ListLotUsesRequest>>,
    ) -> Result<Response<proto::ListLotUsesResponse>, Status> {
        let (request, _) = admit(request)?;
        let mut fields = Fields::default();
        let (customer, page) = parse_customer_list(&mut fields, &request, "lot uses", &[&request.lot_id])?;
        let lot_id = parse_entry_id(&mut fields, "lot_id", &request.lot_id);
        let ((program_id, customer_id), lot_id) = fields.finish_with(customer.zip(lot_id))?;
        let subject = Subject { program_id, customer_id };
        telemetry::record_program(subject.program_id.as_str());
        let (entries, next_page_token) = self.points.list_lot_uses(&subject, lot_id, &page).await?;
        let uses = entries.iter().map(|entry| write_lot_use(entry, lot_id)).collect();
        Ok(Response::new(proto::ListLotUsesResponse { uses, next_page_token }))
    }

    async fn get_balance(
        &self,
        request: Request<Received<proto::GetBalanceRequest>>,
    ) -> Result<Response<proto::GetBalanceResponse>, Status> {
        let (request, _) = admit(request)?;
        let mut fields = Fields::default();
        let customer = parse_customer(&mut fields, request.program_id, request.customer_id);
        let as_of = parse_optional_instant(&mut fields, "as_of", request.as_of.as_ref());
        let (program_id, customer_id) = fields.finish_with(customer)?;
        telemetry::record_program(program_id.as_str());
        let BalanceAt { balance, upcoming, as_of } = self.points.get_balance(&program_id, &customer_id, as_of).await?;
        let due = |next: Next| {
            let (due_at, points) = next.points()?;
            let is_at_least = matches!(next, Next::AtLeast(..));
            Some(proto::PointsDue { points, due_at: Some(write_instant(due_at)), is_at_least })
        };
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
            next_vesting: due(upcoming.vesting),
            next_expiry: due(upcoming.expiring),
            is_next_vesting_unknown: upcoming.vesting == Next::Unknown,
            is_next_expiry_unknown: upcoming.expiring == Next::Unknown,
        };
        Ok(Response::new(proto::GetBalanceResponse { balance: Some(balance) }))
    }

    async fn list_rewards(
        &self,
        request: Request<Received<proto::ListRewardsRequest>>,
    ) -> Result<Response<proto::ListRewardsResponse>, Status> {
        let (request, _) = admit(request)?;
        let mut fields = Fields::default();
        let (customer, page) = parse_customer_list(&mut fields, &request, "rewards", &[])?;
        let (program_id, customer_id) = fields.finish_with(customer)?;
        telemetry::record_program(program_id.as_str());
        let (rewards, next_page_token) = self.list_rewards(&program_id, &customer_id, &page).await?;
        let rewards = rewards.into_iter().map(|reward| write_reward(reward, &customer_id)).collect();
        Ok(Response::new(proto::ListRewardsResponse { rewards, next_page_token }))
    }
}

impl Batch<proto::BatchGrantRewardsRequest> for Rewards {
    type Done = proto::GrantRewardResponse;
    type Answer = proto::BatchGrantRewardsResponse;

    fn item_id(item: &proto::BatchGrantRewardsRequest) -> &str {
        &item.item_id
    }

    async fn queue(
        &self,
        item: proto::BatchGrantRewardsRequest,
        fields: Fields,
        writer: Writer,
    ) -> Result<BoxFuture<'static, Result<Self::Done, Error>>, Error> {
        let grant = parse_grant(item.grant.unwrap_or_default(), fields)?;
        let customer_id = grant.subject.customer_id.clone();
        let outcome = self.enqueue_grant(grant, writer).await?;
        let answer = async move {
            let (reward, replayed) = outcome.await?;
            Ok(proto::GrantRewardResponse { reward: Some(write_reward(reward, &customer_id)), replayed })
        };
        Ok(answer.boxed())
    }

    fn answer(item_id: String, outcome: Result<Self::Done, proto::google::Status>) -> Self::Answer {
        let outcome = outcome.map_or_else(Outcome::Error, Outcome::Granted);
        Self::Answer { item_id, outcome: Some(outcome) }
    }
}
