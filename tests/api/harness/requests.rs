//! Messages to send, with what most tests leave as it is.

use goldbook::proto;
use goldbook::proto::fields::write_instant;
use jiff::Timestamp;

use super::SHOP;

/// A program with everything in it: 1 point per USD; member, silver from 200, gold from 500; a campaign `friends` that
/// a first purchase of 10 or more converts within 30 days (500 and 250 points), and a manual one, `partners`.
pub(crate) fn shop() -> proto::Program {
    let benefit = |id: &str| proto::Benefit {
        benefit_id: id.to_owned(),
        display_name: id.to_owned(),
        description: String::new(),
        ..proto::Benefit::default()
    };
    let tier = |id: &str, threshold: &str, benefits: &[&str]| proto::Tier {
        tier_id: id.to_owned(),
        display_name: id.to_uppercase(),
        threshold: Some(usd(threshold)),
        benefits: benefits.iter().map(|id| benefit(id)).collect(),
        ..proto::Tier::default()
    };
    let campaign = |id: &str, conversion: proto::Conversion| proto::Campaign {
        campaign_id: id.to_owned(),
        display_name: id.to_owned(),
        starts_at: None,
        ends_at: None,
        conversion: conversion.into(),
        minimum_purchase: Some(usd("10.00")),
        convert_within_days: 30,
        referrer_points: 500,
        referee_points: 250,
    };
    proto::Program {
        program_id: SHOP.to_owned(),
        display_name: "Shop".to_owned(),
        currency_code: "USD".to_owned(),
        time_zone: "America/New_York".to_owned(),
        points_per_unit: "1".to_owned(),
        tiers: vec![
            tier("member", "0.00", &["newsletter"]),
            tier("silver", "200.00", &["newsletter", "free-shipping"]),
            tier("gold", "500.00", &["newsletter", "free-shipping", "lounge"]),
        ],
        campaigns: vec![
            campaign("friends", proto::Conversion::FirstPurchase),
            campaign("partners", proto::Conversion::Manual),
        ],
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

/// US dollars from a decimal.
pub(crate) fn usd(amount: &str) -> proto::google::Money {
    money("USD", amount)
}

/// Money from a decimal with up to nine places.
pub(crate) fn money(currency: &str, amount: &str) -> proto::google::Money {
    let (units, fraction) = amount.split_once('.').unwrap_or((amount, ""));
    let nanos = format!("{fraction:0<9}").parse().unwrap();
    proto::google::Money { currency_code: currency.to_owned(), units: units.parse().unwrap(), nanos }
}

/// An instant on the wire.
pub(crate) fn instant(at: Timestamp) -> prost_types::Timestamp {
    write_instant(at)
}

/// An instant on the wire, from RFC 3339.
pub(crate) fn at(instant_text: &str) -> prost_types::Timestamp {
    instant(instant_text.parse().unwrap())
}

pub(crate) fn create_customer(customer_id: &str, key: &str) -> proto::CreateCustomerRequest {
    proto::CreateCustomerRequest {
        program_id: SHOP.to_owned(),
        customer: Some(proto::Customer { customer_id: customer_id.to_owned(), ..Default::default() }),
        idempotency_key: key.to_owned(),
        returns: false,
    }
}

pub(crate) fn create_referral(referee: &str, code: &str) -> proto::CreateReferralRequest {
    proto::CreateReferralRequest {
        program_id: SHOP.to_owned(),
        referee_customer_id: referee.to_owned(),
        code: code.to_owned(),
        idempotency_key: format!("refer-{referee}"),
        enrol: true,
    }
}

pub(crate) fn purchase(
    customer_id: &str,
    activity_id: &str,
    amount: &str,
    happened_at: Timestamp,
) -> proto::RecordActivityRequest {
    let purchase = proto::Purchase { amount: Some(usd(amount)), margin: None };
    proto::RecordActivityRequest {
        program_id: SHOP.to_owned(),
        customer_id: customer_id.to_owned(),
        activity_id: activity_id.to_owned(),
        activity: Some(proto::record_activity_request::Activity::Purchase(purchase)),
        happened_at: Some(instant(happened_at)),
        enrol: true,
        as_history: false,
    }
}

pub(crate) fn grant_reward(customer_id: &str, points: i64, key: &str) -> proto::GrantRewardRequest {
    proto::GrantRewardRequest {
        program_id: SHOP.to_owned(),
        customer_id: customer_id.to_owned(),
        content: Some(proto::grant_reward_request::Content::Points(points)),
        reason: proto::GrantReason::Goodwill.into(),
        note: String::new(),
        idempotency_key: key.to_owned(),
        vesting: None,
        expiry: None,
    }
}
