//! What a program says of points: it reads back as it was said, and whatever is wrong with it is told at once.

use goldbook::proto;
use goldbook::proto::{expiry_rule, vesting_rule};
use prost_types::Timestamp;

use super::{get, validate, version};
use crate::harness::{START, Service, at, shop, sorted_bad_fields};

fn vesting(rule: vesting_rule::Rule) -> Option<proto::VestingRule> {
    Some(proto::VestingRule { rule: Some(rule) })
}

fn expiry(rule: expiry_rule::Rule) -> Option<proto::ExpiryRule> {
    Some(proto::ExpiryRule { rule: Some(rule) })
}

fn expiry_after(period: &str, round_to: i32) -> Option<proto::ExpiryRule> {
    expiry(expiry_rule::Rule::After(expiry_rule::After { period: period.to_owned(), round_to }))
}

fn cap(period: proto::CalendarPeriod, points: i64) -> proto::PeriodCap {
    proto::PeriodCap { period: period.into(), points }
}

/// [`shop`] with this to say of points.
fn with_points(policy: proto::PointsPolicy) -> proto::Program {
    proto::Program { points: Some(policy), ..shop() }
}

/// Everything that can be said, as the service writes it.
fn full() -> proto::PointsPolicy {
    proto::PointsPolicy {
        vesting: vesting(vesting_rule::Rule::After("P14D".to_owned())),
        expiry: expiry_after("P1Y", proto::CalendarPeriod::Quarter.into()),
        redemption: Some(proto::RedemptionLimits { minimum: Some(100), step: Some(50), maximum: Some(10_000) }),
        earning: Some(proto::EarningLimits {
            per_transaction: Some(5_000),
            per_period: vec![
                cap(proto::CalendarPeriod::Year, 100_000),
                cap(proto::CalendarPeriod::Day, 6_000),
                cap(proto::CalendarPeriod::Week, 20_000),
                cap(proto::CalendarPeriod::Quarter, 90_000),
                cap(proto::CalendarPeriod::Month, i64::MAX),
                cap(proto::CalendarPeriod::Half, 95_000),
            ],
        }),
        reinstatement: Some(proto::Reinstatement { within: "P30D".to_owned(), valid_for: "P1DT12H".to_owned() }),
        clawback: proto::Clawback::WithinBalance.into(),
        hold_for: "PT36H".to_owned(),
        point_value: "0.01".to_owned(),
    }
}

#[tokio::test]
async fn apply_program_keeps_all_that_it_says_of_points() {
    let service = Service::start().await;
    let applied = service.apply(with_points(full())).await.unwrap();
    let expected = version(with_points(full()), 1, Some(at(START)));
    assert_eq!(applied, proto::ApplyProgramResponse { version: Some(expected.clone()), changed: true, previous: None });
    assert_eq!(get(&service, 0).await.unwrap(), expected);
    let service = service.restart().await;
    assert_eq!(get(&service, 1).await.unwrap(), expected);
}

#[tokio::test]
async fn apply_program_that_says_the_same_of_points_changes_nothing() {
    let service = Service::start().await;
    service.apply(with_points(full())).await.unwrap();
    let respelled = proto::PointsPolicy { point_value: "0.0100".to_owned(), ..full() };
    for same in [full(), respelled] {
        let applied = service.apply(with_points(same)).await.unwrap();
        assert_eq!((applied.changed, applied.version.unwrap().version), (false, 1));
    }
    assert_eq!(service.count_entries().await, 1);
}

#[tokio::test]
async fn apply_program_keeps_every_rule_of_vesting_and_expiry() {
    let service = Service::start().await;
    let instant = Timestamp { seconds: 1_767_225_600, nanos: 1_000 };
    let last = at("9999-01-01T00:00:00Z");
    let by_event = vesting(vesting_rule::Rule::OnEventWithin("P2W".to_owned()));
    let sliding = expiry(expiry_rule::Rule::Sliding("P18M".to_owned()));
    let rules = [
        (vesting(vesting_rule::Rule::At(instant)), expiry(expiry_rule::Rule::At(instant))),
        (vesting(vesting_rule::Rule::At(last)), expiry(expiry_rule::Rule::At(last))),
        (by_event, sliding),
        (None, expiry_after("PT0.000001S", 0)),
        (vesting(vesting_rule::Rule::After("P100Y".to_owned())), None),
    ];
    for (number, (vesting, expiry)) in (1..).zip(rules) {
        let policy = proto::PointsPolicy { vesting, expiry, ..full() };
        let applied = service.apply(with_points(policy.clone())).await.unwrap();
        assert_eq!((applied.changed, applied.version.unwrap().version), (true, number));
        assert_eq!(get(&service, 0).await.unwrap().program, Some(with_points(policy)));
    }
    for clawback in [proto::Clawback::UnspentOnly, proto::Clawback::AllowDebt] {
        let policy = proto::PointsPolicy { clawback: clawback.into(), ..full() };
        let tried = validate(&service, with_points(policy.clone())).await.unwrap();
        assert_eq!(tried.version.unwrap().program, Some(with_points(policy)));
    }
}

#[tokio::test]
async fn apply_program_that_says_only_defaults_of_points_is_one_that_says_nothing() {
    let service = Service::start().await;
    service.apply_shop().await;
    let defaults = proto::PointsPolicy {
        vesting: vesting(vesting_rule::Rule::Immediate(())),
        expiry: expiry(expiry_rule::Rule::Never(())),
        redemption: Some(proto::RedemptionLimits::default()),
        earning: Some(proto::EarningLimits::default()),
        clawback: proto::Clawback::AllowDebt.into(),
        ..Default::default()
    };
    let spelled = proto::PointsPolicy {
        redemption: Some(proto::RedemptionLimits { minimum: Some(1), step: Some(1), maximum: None }),
        hold_for: "P7D".to_owned(),
        ..Default::default()
    };
    for policy in [proto::PointsPolicy::default(), defaults, spelled] {
        let applied = service.apply(with_points(policy)).await.unwrap();
        let expected = version(shop(), 1, Some(at(START)));
        assert_eq!(applied, proto::ApplyProgramResponse { version: Some(expected), changed: false, previous: None });
    }
    // Beside something that is said, the clawback is told, and other defaults are left out.
    let held = proto::PointsPolicy { hold_for: "P1D".to_owned(), ..Default::default() };
    let expected = proto::PointsPolicy { clawback: proto::Clawback::AllowDebt.into(), ..held.clone() };
    let tried = validate(&service, with_points(held)).await.unwrap();
    assert_eq!((tried.changed, tried.version.unwrap().program), (true, Some(with_points(expected))));
}

#[tokio::test]
async fn apply_program_lists_every_bad_field_about_points() {
    let service = Service::start().await;
    let bad = proto::PointsPolicy {
        vesting: vesting(vesting_rule::Rule::OnEventWithin("P0D".to_owned())),
        expiry: expiry_after("-P1Y", 99),
        redemption: Some(proto::RedemptionLimits { minimum: Some(0), step: Some(-1), maximum: Some(i64::MIN) }),
        earning: Some(proto::EarningLimits {
            per_transaction: Some(0),
            per_period: vec![
                cap(proto::CalendarPeriod::Day, 1),
                cap(proto::CalendarPeriod::Unspecified, 0),
                proto::PeriodCap { period: 99, points: 1 },
                cap(proto::CalendarPeriod::Day, -1),
            ],
        }),
        reinstatement: Some(proto::Reinstatement { within: String::new(), valid_for: "P101Y".to_owned() }),
        clawback: 99,
        hold_for: "a week".to_owned(),
        point_value: "0.000".to_owned(),
    };
    let program = proto::Program { display_name: String::new(), ..with_points(bad) };
    let expected = [
        "program.display_name",
        "program.points.clawback",
        "program.points.earning.per_period[1].period",
        "program.points.earning.per_period[1].points",
        "program.points.earning.per_period[2].period",
        "program.points.earning.per_period[3].period",
        "program.points.earning.per_period[3].points",
        "program.points.earning.per_transaction",
        "program.points.expiry.after.period",
        "program.points.expiry.after.round_to",
        "program.points.hold_for",
        "program.points.point_value",
        "program.points.redemption.maximum",
        "program.points.redemption.minimum",
        "program.points.redemption.step",
        "program.points.reinstatement.valid_for",
        "program.points.reinstatement.within",
        "program.points.vesting.on_event_within",
    ];
    assert_eq!(sorted_bad_fields(service.apply(program.clone()).await), expected);
    assert_eq!(sorted_bad_fields(validate(&service, program).await), expected);
}

#[tokio::test]
async fn apply_program_refuses_each_rule_that_is_none() {
    let service = Service::start().await;
    let no_instant = Timestamp { seconds: 0, nanos: -1 };
    let too_late = Timestamp { nanos: 1_000, ..at("9999-01-01T00:00:00Z") };
    let cases = [
        (Some(proto::VestingRule { rule: None }), "vesting", Some(proto::ExpiryRule { rule: None }), "expiry"),
        (
            vesting(vesting_rule::Rule::At(no_instant)),
            "vesting.at",
            expiry(expiry_rule::Rule::At(no_instant)),
            "expiry.at",
        ),
        (vesting(vesting_rule::Rule::At(too_late)), "vesting.at", expiry(expiry_rule::Rule::At(too_late)), "expiry.at"),
        (
            vesting(vesting_rule::Rule::After("P1y".to_owned())),
            "vesting.after",
            expiry(expiry_rule::Rule::Sliding(String::new())),
            "expiry.sliding",
        ),
    ];
    for (vesting, vesting_field, expiry, expiry_field) in cases {
        let program = with_points(proto::PointsPolicy { vesting, expiry, ..full() });
        let expected = [expiry_field, vesting_field].map(|field| format!("program.points.{field}"));
        assert_eq!(sorted_bad_fields(validate(&service, program).await), expected);
    }
}

#[tokio::test]
async fn apply_program_refuses_limits_that_contradict_each_other_and_too_many_caps() {
    let service = Service::start().await;
    let limits = |minimum, step, maximum| {
        let redemption = Some(proto::RedemptionLimits { minimum, step, maximum });
        with_points(proto::PointsPolicy { redemption, ..full() })
    };
    let (minimum, maximum) = ("program.points.redemption.minimum", "program.points.redemption.maximum");
    for (program, expected) in [
        (limits(Some(101), Some(50), Some(1_001)), vec![maximum, minimum]),
        (limits(None, Some(50), Some(49)), vec![maximum]),
        (limits(Some(200), None, Some(199)), vec![maximum]),
        (limits(Some(200), Some(50), Some(150)), vec![maximum]),
    ] {
        assert_eq!(sorted_bad_fields(validate(&service, program).await), expected);
    }
    for sound in [limits(Some(200), Some(50), Some(200)), limits(None, Some(7), None), limits(Some(1), None, Some(1))] {
        assert!(validate(&service, sound).await.is_ok());
    }
    let mut vast = full();
    vast.earning.as_mut().unwrap().per_period.push(cap(proto::CalendarPeriod::Day, 1));
    let refused = validate(&service, with_points(vast)).await;
    assert_eq!(sorted_bad_fields(refused), ["program.points.earning.per_period"]);
}
