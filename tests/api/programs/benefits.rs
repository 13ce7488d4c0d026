//! What a program's document says of benefits.

use goldbook::proto;
use goldbook::proto::benefit::Kind;
use goldbook::proto::benefit_quota::Per;

use crate::harness::{Service, money, shop, sorted_bad_fields, usd};

/// The shop whose last tier has these benefits.
fn with_benefits(benefits: Vec<proto::Benefit>) -> proto::Program {
    let mut program = shop();
    program.tiers[2].benefits = benefits;
    program
}

fn benefit(number: usize, kind: Option<Kind>, quota: Option<proto::BenefitQuota>) -> proto::Benefit {
    proto::Benefit {
        benefit_id: format!("benefit-{number}"),
        display_name: "Benefit".to_owned(),
        description: String::new(),
        kind,
        quota,
    }
}

fn kinds() -> Vec<Kind> {
    vec![
        Kind::PercentageOff("12.5".to_owned()),
        Kind::AmountOff(usd("10.00")),
        Kind::FreeShipping(()),
        Kind::Pass(proto::PassKind::Lounge.into()),
        Kind::Pass(proto::PassKind::Event.into()),
        Kind::Gift(()),
        Kind::Badge(proto::BadgeKind::Badge.into()),
        Kind::Badge(proto::BadgeKind::Certificate.into()),
        Kind::HigherCreditLimit(proto::HigherCreditLimit { by: Some(usd("500.00")), valid_for: "P30D".to_owned() }),
        Kind::PriorityService(()),
        Kind::EarlyAccess("P2D".to_owned()),
        Kind::EarnRateMultiplier("1.5".to_owned()),
    ]
}

#[tokio::test]
async fn apply_program_keeps_every_kind_of_benefit_and_every_quota() {
    let service = Service::start().await;
    let periods = [
        Per::TierPeriod(()),
        Per::Lifetime(()),
        Per::Calendar(proto::CalendarPeriod::Month.into()),
        Per::Calendar(proto::CalendarPeriod::Quarter.into()),
        Per::Calendar(proto::CalendarPeriod::Half.into()),
        Per::Calendar(proto::CalendarPeriod::Year.into()),
    ];
    let quotas = periods.map(|per| proto::BenefitQuota { limit: 2, per: Some(per), counts_companions: true });
    let mut benefits: Vec<_> = kinds().into_iter().enumerate().map(|(i, kind)| benefit(i, Some(kind), None)).collect();
    benefits.extend(quotas.into_iter().enumerate().map(|(i, quota)| benefit(100 + i, None, Some(quota))));
    let program = with_benefits(benefits);
    assert_eq!(service.apply(program.clone()).await.unwrap().version.unwrap().program, Some(program.clone()));

    // Decimals are written in their shortest form, and what is of its own kind is of none.
    let spelled_out = with_benefits(vec![
        benefit(0, Some(Kind::PercentageOff("12.50".to_owned())), None),
        benefit(1, Some(Kind::Custom(())), None),
    ]);
    let shortest =
        with_benefits(vec![benefit(0, Some(Kind::PercentageOff("12.5".to_owned())), None), benefit(1, None, None)]);
    assert_eq!(service.apply(spelled_out).await.unwrap().version.unwrap().program, Some(shortest));
}

#[tokio::test]
async fn apply_program_lists_every_bad_field_of_benefits() {
    let service = Service::start().await;
    let quota = |limit, per| Some(proto::BenefitQuota { limit, per, counts_companions: false });
    let bad_kinds = [
        Kind::PercentageOff("100.5".to_owned()),
        Kind::AmountOff(money("EUR", "10.00")),
        Kind::AmountOff(usd("0.00")),
        Kind::Pass(0),
        Kind::Badge(9),
        Kind::HigherCreditLimit(proto::HigherCreditLimit::default()),
        Kind::EarlyAccess("2 days".to_owned()),
        Kind::EarnRateMultiplier("0".to_owned()),
        Kind::EarnRateMultiplier("1.00005".to_owned()),
    ];
    let mut benefits: Vec<_> =
        bad_kinds.into_iter().enumerate().map(|(i, kind)| benefit(i, Some(kind), None)).collect();
    benefits.push(benefit(20, None, quota(0, Some(Per::Lifetime(())))));
    benefits.push(benefit(21, None, quota(1_000_001, None)));
    benefits.push(benefit(22, None, quota(1, Some(Per::Calendar(proto::CalendarPeriod::Week.into())))));
    let expected = [
        "[0].percentage_off",
        "[10].quota",
        "[10].quota.limit",
        "[11].quota.calendar",
        "[1].amount_off.currency_code",
        "[2].amount_off",
        "[3].pass",
        "[4].badge",
        "[5].higher_credit_limit.by",
        "[5].higher_credit_limit.valid_for",
        "[6].early_access",
        "[7].earn_rate_multiplier",
        "[8].earn_rate_multiplier",
        "[9].quota.limit",
    ]
    .map(|field| format!("program.tiers[2].benefits{field}"));
    assert_eq!(sorted_bad_fields(service.apply(with_benefits(benefits)).await), expected);

    let twice = |number| benefit(number, Some(Kind::EarnRateMultiplier("2".to_owned())), None);
    let limited = proto::Benefit { quota: quota(1, Some(Per::Lifetime(()))), ..twice(1) };
    let expected = ["[1].earn_rate_multiplier", "[1].quota"].map(|field| format!("program.tiers[2].benefits{field}"));
    assert_eq!(sorted_bad_fields(service.apply(with_benefits(vec![twice(0), limited])).await), expected);
}
