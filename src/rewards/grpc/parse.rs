//! Parses requests about rewards and points.

use crate::book::EntryReason;
use crate::error::{Error, Fields};
use crate::ids::EntryId;
use crate::points::amount::Points;
use crate::points::grants::commands::{GrantReward, VestReward};
use crate::points::grpc::{parse_correction_reason, parse_key, parse_note, parse_said, parse_subject};
use crate::points::holds::commands::{EndHold, Ending, HoldEnd, HoldPoints};
use crate::points::spending::commands::RedeemPoints;
use crate::points::state::Note;
use crate::points::undoing::commands::{AdjustPoints, Change, ReverseEntry};
use crate::programs::points::grpc::{parse_optional_clawback, parse_own_expiry, parse_period, parse_vesting};
use crate::proto;
use crate::proto::fields::{parse_instant, parse_optional_instant};
use crate::proto::{adjust_points_request, grant_reward_request, hold_points_request};

pub(super) fn parse_entry_id(fields: &mut Fields, field: &str, id: &str) -> Option<EntryId> {
    fields.check(field, id.parse())
}

pub(super) fn parse_points(fields: &mut Fields, field: &str, points: i64) -> Option<Points> {
    fields.check(field, Points::new(points).ok_or(Points::EXPECTED))
}

/// A number of points, where zero stands for all there are.
pub(super) fn parse_points_or_all(fields: &mut Fields, points: i64) -> Option<Points> {
    if points == 0 {
        return None;
    }
    let expected = "must be from 0 to 1,000,000,000,000; zero means all";
    fields.check("points", Points::new(points).ok_or(expected))
}

pub(super) fn parse_grant(request: proto::GrantRewardRequest, mut fields: Fields) -> Result<GrantReward, Error> {
    let reason = match request.reason() {
        proto::GrantReason::Goodwill => Some(EntryReason::Goodwill),
        proto::GrantReason::Promotion => Some(EntryReason::Promotion),
        proto::GrantReason::Correction => Some(EntryReason::Correction),
        proto::GrantReason::Other => Some(EntryReason::Other),
        proto::GrantReason::Unspecified
        | proto::GrantReason::Purchase
        | proto::GrantReason::ReferralReferrer
        | proto::GrantReason::ReferralReferee
        | proto::GrantReason::Migration
        | proto::GrantReason::Package => {
            fields.check("reason", Err("must be one of GOODWILL, PROMOTION, CORRECTION and OTHER"))
        }
    };
    let points = match request.content {
        Some(grant_reward_request::Content::Points(points)) => parse_points(&mut fields, "points", points),
        None => fields.check("points", Err("must be set")),
    };
    let vesting = request.vesting.and_then(|rule| parse_vesting(&mut fields, "vesting", Some(&rule)));
    let expiry = parse_own_expiry(&mut fields, "expiry", request.expiry.as_ref());
    let subject = parse_subject(&mut fields, request.program_id, request.customer_id);
    let key = parse_key(&mut fields, request.idempotency_key);
    let note = parse_note(&mut fields, request.note);
    let parsed =
        || Some(GrantReward { subject: subject?, points: points?, vesting, expiry, reason: reason?, note, key: key? });
    fields.finish_with(parsed())
}

pub(super) fn parse_vest(request: proto::VestRewardRequest) -> Result<VestReward, Error> {
    let mut fields = Fields::default();
    let subject = parse_subject(&mut fields, request.program_id, request.customer_id);
    let reward_id = parse_entry_id(&mut fields, "reward_id", &request.reward_id);
    let parsed = || Some(VestReward { subject: subject?, reward_id: reward_id? });
    fields.finish_with(parsed())
}

pub(super) fn parse_redeem(request: proto::RedeemPointsRequest) -> Result<RedeemPoints, Error> {
    let mut fields = Fields::default();
    let subject = parse_subject(&mut fields, request.program_id, request.customer_id);
    let points = parse_points(&mut fields, "points", request.points);
    let note = parse_note(&mut fields, request.note);
    let key = parse_key(&mut fields, request.idempotency_key);
    let parsed = || Some(RedeemPoints { subject: subject?, points: points?, note, key: key? });
    fields.finish_with(parsed())
}

pub(super) fn parse_hold(request: proto::HoldPointsRequest) -> Result<HoldPoints, Error> {
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
    let parsed = || Some(HoldPoints { subject: subject?, points: points?, ends: ends?, note, key: key? });
    fields.finish_with(parsed())
}

pub(super) fn parse_capture(request: proto::CapturePointsRequest) -> Result<EndHold, Error> {
    let mut fields = Fields::default();
    let subject = parse_subject(&mut fields, request.program_id, request.customer_id);
    let hold_id = parse_entry_id(&mut fields, "hold_id", &request.hold_id);
    let points = parse_points_or_all(&mut fields, request.points);
    let key = parse_key(&mut fields, request.idempotency_key);
    let parsed = || {
        Some(EndHold {
            subject: subject?,
            hold_id: hold_id?,
            ending: Ending::Capture(points.map(Points::get)),
            key: key?,
        })
    };
    fields.finish_with(parsed())
}

pub(super) fn parse_release(request: proto::ReleasePointsRequest) -> Result<EndHold, Error> {
    let mut fields = Fields::default();
    let subject = parse_subject(&mut fields, request.program_id, request.customer_id);
    let hold_id = parse_entry_id(&mut fields, "hold_id", &request.hold_id);
    let key = parse_key(&mut fields, request.idempotency_key);
    let parsed = || Some(EndHold { subject: subject?, hold_id: hold_id?, ending: Ending::Release, key: key? });
    fields.finish_with(parsed())
}

pub(super) fn parse_reverse(request: proto::ReverseEntryRequest) -> Result<ReverseEntry, Error> {
    let mut fields = Fields::default();
    let reason = parse_correction_reason(&mut fields, request.reason());
    let clawback = parse_optional_clawback(&mut fields, "clawback", request.clawback);
    let expires_at = parse_optional_instant(&mut fields, "expires_at", request.expires_at.as_ref());
    let subject = parse_subject(&mut fields, request.program_id, request.customer_id);
    let entry_id = parse_entry_id(&mut fields, "entry_id", &request.entry_id);
    let points = parse_points_or_all(&mut fields, request.points);
    let note = Note { text: parse_note(&mut fields, request.note), author: String::new() };
    let key = parse_key(&mut fields, request.idempotency_key);
    let parsed = || {
        Some(ReverseEntry {
            subject: subject?,
            entry_id: entry_id?,
            points,
            clawback,
            expires_at,
            reason: reason?,
            note,
            key: key?,
        })
    };
    fields.finish_with(parsed())
}

pub(super) fn parse_adjust(request: proto::AdjustPointsRequest) -> Result<AdjustPoints, Error> {
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
        None => fields.check("change", Err("must be set: points_up or points_down")),
    };
    let subject = parse_subject(&mut fields, request.program_id, request.customer_id);
    let note = parse_said(&mut fields, request.author, request.note);
    let key = parse_key(&mut fields, request.idempotency_key);
    let parsed = || Some(AdjustPoints { subject: subject?, change: change?, reason: reason?, note: note?, key: key? });
    fields.finish_with(parsed())
}
