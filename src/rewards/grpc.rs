//! `RewardService` on the wire.

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, ready};
use jiff::Timestamp;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::commands::{
    AdjustPoints, Change, EndHold, Ending, GrantReward, HoldEnd, HoldPoints, RedeemPoints, ReverseEntry, Subject,
    VestReward,
};
use super::lots::Lot;
use super::model::Points;
use super::store::Note;
use super::{BalanceAt, Reward, Rewards};
use crate::book::grpc::{write_kind, write_move, write_parts};
use crate::book::{Detail, Entry, EntryReason, Movement, Pocket, Written};
use crate::error::{Error, Fields};
use crate::ids::{CustomerId, EntryId, IdempotencyKey, ProgramId};
use crate::paging::PageRequest;
use crate::programs::points::grpc::{parse_optional_clawback, parse_own_expiry, parse_period, parse_vesting};
use crate::proto;
use crate::proto::batch_grant_rewards_response::Outcome;
use crate::proto::fields::{deadline_of, parse_instant, parse_optional_instant, write_instant};
use crate::proto::stream::{answer_each, check_item_id};
use crate::proto::{adjust_points_request, grant_reward_request, hold_points_request, reward};
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
        telemetry::record_program(grant.subject.program_id.as_str());
        let customer_id = grant.subject.customer_id.clone();
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

    async fn vest_reward(
        &self,
        request: Request<proto::VestRewardRequest>,
    ) -> Result<Response<proto::VestRewardResponse>, Status> {
        let deadline = deadline_of(&request);
        let vest = parse_vest(request.into_inner())?;
        telemetry::record_program(vest.subject.program_id.as_str());
        let customer_id = vest.subject.customer_id.clone();
        let (reward, vested_at, already_vested) = self.vest_reward(vest, deadline).await?;
        Ok(Response::new(proto::VestRewardResponse {
            reward: Some(write_reward(reward, &customer_id)),
            vested_at: Some(write_instant(vested_at)),
            already_vested,
        }))
    }

    async fn redeem_points(
        &self,
        request: Request<proto::RedeemPointsRequest>,
    ) -> Result<Response<proto::RedeemPointsResponse>, Status> {
        let deadline = deadline_of(&request);
        let redeem = parse_redeem(request.into_inner())?;
        telemetry::record_program(redeem.subject.program_id.as_str());
        let Written { entries, replayed } = self.carry_out(redeem, deadline).await?;
        Ok(Response::new(proto::RedeemPointsResponse { redemption: write_redemption(&entries), replayed }))
    }

    async fn hold_points(
        &self,
        request: Request<proto::HoldPointsRequest>,
    ) -> Result<Response<proto::HoldPointsResponse>, Status> {
        let deadline = deadline_of(&request);
        let hold = parse_hold(request.into_inner())?;
        telemetry::record_program(hold.subject.program_id.as_str());
        let Written { entries, replayed } = self.carry_out(hold, deadline).await?;
        Ok(Response::new(proto::HoldPointsResponse { hold: entries.iter().find_map(write_hold), replayed }))
    }

    async fn capture_points(
        &self,
        request: Request<proto::CapturePointsRequest>,
    ) -> Result<Response<proto::CapturePointsResponse>, Status> {
        let deadline = deadline_of(&request);
        let capture = parse_capture(request.into_inner())?;
        telemetry::record_program(capture.subject.program_id.as_str());
        let Written { entries, replayed } = self.carry_out(capture, deadline).await?;
        Ok(Response::new(proto::CapturePointsResponse {
            redemption: write_redemption(&entries),
            points_released: sum_to(&entries, Pocket::Available),
            points_expired: sum_to(&entries, Pocket::Expired),
            replayed,
        }))
    }

    async fn release_points(
        &self,
        request: Request<proto::ReleasePointsRequest>,
    ) -> Result<Response<proto::ReleasePointsResponse>, Status> {
        let deadline = deadline_of(&request);
        let release = parse_release(request.into_inner())?;
        telemetry::record_program(release.subject.program_id.as_str());
        let Written { entries, replayed } = self.carry_out(release, deadline).await?;
        Ok(Response::new(proto::ReleasePointsResponse {
            points_released: sum_to(&entries, Pocket::Available),
            points_expired: sum_to(&entries, Pocket::Expired),
            replayed,
        }))
    }

    async fn reverse_entry(
        &self,
        request: Request<proto::ReverseEntryRequest>,
    ) -> Result<Response<proto::ReverseEntryResponse>, Status> {
        let deadline = deadline_of(&request);
        let reverse = parse_reverse(request.into_inner())?;
        telemetry::record_program(reverse.subject.program_id.as_str());
        let Written { entries, replayed } = self.carry_out(reverse, deadline).await?;
        Ok(Response::new(write_reversal(&entries, replayed)))
    }

    async fn adjust_points(
        &self,
        request: Request<proto::AdjustPointsRequest>,
    ) -> Result<Response<proto::AdjustPointsResponse>, Status> {
        let deadline = deadline_of(&request);
        let adjust = parse_adjust(request.into_inner())?;
        telemetry::record_program(adjust.subject.program_id.as_str());
        let Written { entries, replayed } = self.carry_out(adjust, deadline).await?;
        Ok(Response::new(write_adjustment(&entries, replayed)))
    }

    async fn list_lots(
        &self,
        request: Request<proto::ListLotsRequest>,
    ) -> Result<Response<proto::ListLotsResponse>, Status> {
        let request = request.into_inner();
        let mut fields = Fields::default();
        let open_only = if request.open_only { "open" } else { "all" };
        let filters = ["lots", &request.program_id, &request.customer_id, open_only];
        let page = PageRequest::parse(&mut fields, request.page_size, &request.page_token, &filters)?;
        let subject = parse_subject(&mut fields, request.program_id, request.customer_id);
        let (Some(subject), true) = (subject, fields.is_clean()) else { return Err(fields.into_error().into()) };
        telemetry::record_program(subject.program_id.as_str());
        let (lots, next_page_token) = self.list_lots(&subject, request.open_only, &page).await?;
        let lots = lots.into_iter().map(|(lot_id, lot, expiry)| write_lot(lot_id, &lot, expiry)).collect();
        Ok(Response::new(proto::ListLotsResponse { lots, next_page_token }))
    }

    async fn list_lot_uses(
        &self,
        request: Request<proto::ListLotUsesRequest>,
    ) -> Result<Response<proto::ListLotUsesResponse>, Status> {
        let request = request.into_inner();
        let mut fields = Fields::default();
        let filters = ["lot uses", &request.program_id, &request.customer_id, &request.lot_id];
        let page = PageRequest::parse(&mut fields, request.page_size, &request.page_token, &filters)?;
        let subject = parse_subject(&mut fields, request.program_id, request.customer_id);
        let lot_id = parse_entry_id(&mut fields, "lot_id", &request.lot_id);
        let (Some(subject), Some(lot_id), true) = (subject, lot_id, fields.is_clean()) else {
            return Err(fields.into_error().into());
        };
        telemetry::record_program(subject.program_id.as_str());
        let (entries, next_page_token) = self.list_lot_uses(&subject, lot_id, &page).await?;
        let uses = entries.iter().map(|entry| write_lot_use(entry, lot_id)).collect();
        Ok(Response::new(proto::ListLotUsesResponse { uses, next_page_token }))
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
        let BalanceAt { balance, upcoming, as_of } = self.get_balance(&program_id, &customer_id, as_of).await?;
        let due = |due: Option<(Timestamp, i64)>| {
            due.map(|(at, points)| proto::PointsDue { points, due_at: Some(write_instant(at)) })
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
            let customer_id = grant.subject.customer_id.clone();
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

/// Whom a request is about.
fn parse_subject(fields: &mut Fields, program_id: String, customer_id: String) -> Option<Subject> {
    let program_id = fields.take("program_id", ProgramId::try_from(program_id));
    let customer_id = fields.take("customer_id", CustomerId::try_from(customer_id));
    Some(Subject { program_id: program_id?, customer_id: customer_id? })
}

fn parse_key(fields: &mut Fields, key: String) -> Option<IdempotencyKey> {
    fields.take("idempotency_key", IdempotencyKey::try_from(key))
}

fn parse_entry_id(fields: &mut Fields, field: &str, id: &str) -> Option<EntryId> {
    fields.take(field, id.parse())
}

fn parse_points(fields: &mut Fields, field: &str, points: i64) -> Option<Points> {
    fields.take(field, Points::new(points).ok_or("must be above zero"))
}

/// A number of points, where zero stands for all there are.
fn parse_points_or_all(fields: &mut Fields, points: i64) -> Option<Points> {
    if points < 0 {
        fields.refuse("points", "must be zero or more; zero means all");
    }
    Points::new(points)
}

/// A note may have lines; what Postgres cannot keep is not text.
fn parse_note(fields: &mut Fields, note: String) -> String {
    if note.chars().count() > MAX_NOTE || note.contains('\0') {
        fields.refuse("note", "must be at most 500 characters without U+0000");
    }
    note
}

fn parse_correction_reason(fields: &mut Fields, reason: proto::CorrectionReason) -> Option<EntryReason> {
    match reason {
        proto::CorrectionReason::Correction => Some(EntryReason::Correction),
        proto::CorrectionReason::Goodwill => Some(EntryReason::Goodwill),
        proto::CorrectionReason::Fraud => Some(EntryReason::Fraud),
        proto::CorrectionReason::CustomerRequest => Some(EntryReason::CustomerRequest),
        proto::CorrectionReason::Other => Some(EntryReason::Other),
        proto::CorrectionReason::Unspecified => fields.take("reason", Err("must be one of the named values")),
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
        | proto::GrantReason::ReferralReferee
        | proto::GrantReason::Migration => {
            fields.take("reason", Err("must be one of GOODWILL, PROMOTION, CORRECTION and OTHER"))
        }
    };
    let points = match request.content {
        Some(grant_reward_request::Content::Points(points)) => parse_points(&mut fields, "points", points),
        None => fields.take("points", Err("must be set")),
    };
    let vesting = request.vesting.and_then(|rule| parse_vesting(&mut fields, "vesting", Some(&rule)));
    let expiry = parse_own_expiry(&mut fields, "expiry", request.expiry.as_ref());
    let subject = parse_subject(&mut fields, request.program_id, request.customer_id);
    let key = parse_key(&mut fields, request.idempotency_key);
    let note = parse_note(&mut fields, request.note);
    match (subject, points, reason, key) {
        (Some(subject), Some(points), Some(reason), Some(key)) if fields.is_clean() => {
            Ok(GrantReward { subject, points, vesting, expiry, reason, note, key })
        }
        _ => Err(fields.into_error()),
    }
}

fn parse_vest(request: proto::VestRewardRequest) -> Result<VestReward, Error> {
    let mut fields = Fields::default();
    let subject = parse_subject(&mut fields, request.program_id, request.customer_id);
    let reward_id = parse_entry_id(&mut fields, "reward_id", &request.reward_id);
    match (subject, reward_id) {
        (Some(subject), Some(reward_id)) if fields.is_clean() => Ok(VestReward { subject, reward_id }),
        _ => Err(fields.into_error()),
    }
}

fn parse_redeem(request: proto::RedeemPointsRequest) -> Result<RedeemPoints, Error> {
    let mut fields = Fields::default();
    let subject = parse_subject(&mut fields, request.program_id, request.customer_id);
    let points = parse_points(&mut fields, "points", request.points);
    let note = parse_note(&mut fields, request.note);
    let key = parse_key(&mut fields, request.idempotency_key);
    match (subject, points, key) {
        (Some(subject), Some(points), Some(key)) if fields.is_clean() => {
            Ok(RedeemPoints { subject, points, note, key })
        }
        _ => Err(fields.into_error()),
    }
}

fn parse_hold(request: proto::HoldPointsRequest) -> Result<HoldPoints, Error> {
    let mut fields = Fields::default();
    let subject = parse_subject(&mut fields, request.program_id, request.customer_id);
    let points = parse_points(&mut fields, "points", request.points);
    let ends = match request.end {
        None => Some(HoldEnd::ByProgram),
        Some(hold_points_request::End::EndsAt(instant)) => {
            parse_instant(&mut fields, "ends_at", Some(&instant)).map(HoldEnd::At)
        }
        Some(hold_points_request::End::EndsAfter(period)) => {
            parse_period(&mut fields, "ends_after", &period).map(HoldEnd::After)
        }
    };
    let note = parse_note(&mut fields, request.note);
    let key = parse_key(&mut fields, request.idempotency_key);
    match (subject, points, ends, key) {
        (Some(subject), Some(points), Some(ends), Some(key)) if fields.is_clean() => {
            Ok(HoldPoints { subject, points, ends, note, key })
        }
        _ => Err(fields.into_error()),
    }
}

fn parse_capture(request: proto::CapturePointsRequest) -> Result<EndHold, Error> {
    let mut fields = Fields::default();
    let subject = parse_subject(&mut fields, request.program_id, request.customer_id);
    let hold_id = parse_entry_id(&mut fields, "hold_id", &request.hold_id);
    let points = parse_points_or_all(&mut fields, request.points);
    let key = parse_key(&mut fields, request.idempotency_key);
    match (subject, hold_id, key) {
        (Some(subject), Some(hold_id), Some(key)) if fields.is_clean() => {
            Ok(EndHold { subject, hold_id, ending: Ending::Capture(points.map(Points::get)), key })
        }
        _ => Err(fields.into_error()),
    }
}

fn parse_release(request: proto::ReleasePointsRequest) -> Result<EndHold, Error> {
    let mut fields = Fields::default();
    let subject = parse_subject(&mut fields, request.program_id, request.customer_id);
    let hold_id = parse_entry_id(&mut fields, "hold_id", &request.hold_id);
    let key = parse_key(&mut fields, request.idempotency_key);
    match (subject, hold_id, key) {
        (Some(subject), Some(hold_id), Some(key)) if fields.is_clean() => {
            Ok(EndHold { subject, hold_id, ending: Ending::Release, key })
        }
        _ => Err(fields.into_error()),
    }
}

fn parse_reverse(request: proto::ReverseEntryRequest) -> Result<ReverseEntry, Error> {
    let mut fields = Fields::default();
    let reason = parse_correction_reason(&mut fields, request.reason());
    let clawback = parse_optional_clawback(&mut fields, "clawback", request.clawback);
    let expires_at = parse_optional_instant(&mut fields, "expires_at", request.expires_at.as_ref());
    let subject = parse_subject(&mut fields, request.program_id, request.customer_id);
    let entry_id = parse_entry_id(&mut fields, "entry_id", &request.entry_id);
    let points = parse_points_or_all(&mut fields, request.points);
    let note = Note { text: parse_note(&mut fields, request.note), author: String::new() };
    let key = parse_key(&mut fields, request.idempotency_key);
    match (subject, entry_id, reason, key) {
        (Some(subject), Some(entry_id), Some(reason), Some(key)) if fields.is_clean() => {
            Ok(ReverseEntry { subject, entry_id, points, clawback, expires_at, reason, note, key })
        }
        _ => Err(fields.into_error()),
    }
}

fn parse_adjust(request: proto::AdjustPointsRequest) -> Result<AdjustPoints, Error> {
    let mut fields = Fields::default();
    let reason = parse_correction_reason(&mut fields, request.reason());
    let expiry = parse_own_expiry(&mut fields, "expiry", request.expiry.as_ref());
    let change = match request.change {
        Some(adjust_points_request::Change::PointsUp(points)) => {
            parse_points(&mut fields, "points_up", points).map(|points| Change::Up(points, expiry))
        }
        Some(adjust_points_request::Change::PointsDown(points)) => {
            if request.expiry.is_some() {
                fields.refuse("expiry", "must be absent where points are taken");
            }
            parse_points(&mut fields, "points_down", points).map(Change::Down)
        }
        None => fields.take("change", Err("must be set: points_up or points_down")),
    };
    let subject = parse_subject(&mut fields, request.program_id, request.customer_id);
    // The bounds are those of any name that a caller chooses.
    let author = fields.take("author", IdempotencyKey::try_from(request.author));
    let text = parse_note(&mut fields, request.note);
    let key = parse_key(&mut fields, request.idempotency_key);
    match (subject, change, reason, author, key) {
        (Some(subject), Some(change), Some(reason), Some(author), Some(key)) if fields.is_clean() => {
            let note = Note { text, author: author.as_str().to_owned() };
            Ok(AdjustPoints { subject, change, reason, note, key })
        }
        _ => Err(fields.into_error()),
    }
}

fn write_reward(reward: Reward, customer_id: &CustomerId) -> proto::Reward {
    let Reward { entry, note } = reward;
    let (terms, uncapped) = match &entry.detail {
        Detail::PointsGranted { terms, uncapped, .. } => (terms.clone(), *uncapped),
        Detail::PointsImported { terms } | Detail::PointsAdjusted { terms: Some(terms), .. } => (terms.clone(), None),
        _ => Default::default(),
    };
    let reason = match entry.reason {
        EntryReason::Purchase => proto::GrantReason::Purchase,
        EntryReason::ReferralReferrer => proto::GrantReason::ReferralReferrer,
        EntryReason::ReferralReferee => proto::GrantReason::ReferralReferee,
        EntryReason::Goodwill => proto::GrantReason::Goodwill,
        EntryReason::Promotion => proto::GrantReason::Promotion,
        EntryReason::Correction => proto::GrantReason::Correction,
        EntryReason::Migration => proto::GrantReason::Migration,
        // The closed list has more reasons than a grant can have.
        _ => proto::GrantReason::Other,
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
        vests_at: terms.vests_at.map(write_instant),
        vest_by: terms.vest_by.map(write_instant),
        expires_at: terms.expires_at.map(write_instant),
        points_uncapped: uncapped.unwrap_or(0),
    }
}

fn write_redemption(entries: &[Entry]) -> Option<proto::Redemption> {
    let spent = entries.iter().find(|entry| matches!(entry.detail, Detail::PointsRedeemed { .. }))?;
    Some(proto::Redemption {
        redemption_id: spent.id.to_string(),
        points: spent.movement?.points,
        lots: write_parts(spent.id.account_id, spent.detail.lots()),
        redeemed_at: Some(write_instant(spent.effective_at)),
        trace_id: telemetry::TraceId(spent.trace_id).to_string(),
    })
}

fn write_hold(entry: &Entry) -> Option<proto::Hold> {
    let Detail::PointsHeld { lots, ends_at } = &entry.detail else { return None };
    Some(proto::Hold {
        hold_id: entry.id.to_string(),
        points: entry.movement?.points,
        lots: write_parts(entry.id.account_id, lots),
        held_at: Some(write_instant(entry.effective_at)),
        ends_at: Some(write_instant(*ends_at)),
        trace_id: telemetry::TraceId(entry.trace_id).to_string(),
    })
}

/// How many points entries moved to a pocket.
fn sum_to(entries: &[Entry], pocket: Pocket) -> i64 {
    let moved = entries.iter().filter_map(|entry| entry.movement).filter(|movement| movement.to == pocket);
    moved.map(|movement| movement.points).sum()
}

fn write_reversal(entries: &[Entry], replayed: bool) -> proto::ReverseEntryResponse {
    let is_reversal =
        |entry: &&Entry| matches!(entry.detail, Detail::EntryReversed { .. } | Detail::DebtIncurred { .. });
    let reversed = entries.iter().filter(is_reversal).filter_map(|entry| entry.movement);
    let owed = entries.iter().filter(|entry| matches!(entry.detail, Detail::DebtIncurred { .. }));
    proto::ReverseEntryResponse {
        points_reversed: reversed.map(|movement| movement.points).sum(),
        points_returned: sum_to(entries, Pocket::Available),
        points_expired: sum_to(entries, Pocket::Expired),
        points_owed: owed.filter_map(|entry| entry.movement).map(|movement| movement.points).sum(),
        entry_ids: entries.iter().map(|entry| entry.id.to_string()).collect(),
        replayed,
    }
}

fn write_adjustment(entries: &[Entry], replayed: bool) -> proto::AdjustPointsResponse {
    let adjusted = entries.iter().find(|entry| matches!(entry.detail, Detail::PointsAdjusted { .. }));
    let points = adjusted.and_then(|entry| entry.movement).map_or(0, |movement| movement.points);
    let lots = adjusted.map_or_else(Vec::new, |entry| match entry.detail.lots() {
        [] => vec![proto::LotPart { lot_id: entry.id.to_string(), points }],
        parts => write_parts(entry.id.account_id, parts),
    });
    proto::AdjustPointsResponse {
        entry_id: adjusted.map(|entry| entry.id.to_string()).unwrap_or_default(),
        points,
        lots,
        points_repaid: sum_to(entries, Pocket::Owed),
        replayed,
    }
}

fn write_lot(lot_id: EntryId, lot: &Lot, expires_at: Option<Timestamp>) -> proto::Lot {
    let is_pending = lot.pending > 0;
    proto::Lot {
        lot_id: lot_id.to_string(),
        points: lot.points,
        pending: lot.pending,
        available: lot.available,
        held: lot.held,
        redeemed: lot.redeemed,
        expired: lot.expired,
        cancelled: lot.cancelled,
        repaid: lot.repaid,
        vests_at: lot.terms.vests_at.filter(|_| is_pending).map(write_instant),
        vest_by: lot.terms.vest_by.filter(|_| is_pending).map(write_instant),
        expires_at: expires_at.map(write_instant),
    }
}

fn write_lot_use(entry: &Entry, lot_id: EntryId) -> proto::LotUse {
    let part = entry.detail.lots().iter().find(|part| part.lot == lot_id.account_seq);
    let movement = entry
        .movement
        .map(|movement| Movement { points: part.map_or(movement.points, |part| part.points), ..movement });
    proto::LotUse {
        entry_id: entry.id.to_string(),
        kind: write_kind(&entry.detail).into(),
        r#move: movement.map(write_move),
        effective_at: Some(write_instant(entry.effective_at)),
    }
}
