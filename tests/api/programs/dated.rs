//! Versions of a program that begin later.

use goldbook::proto;
use tonic::{Code, Status};

use super::get;
use crate::book_rules::check_rules;
use crate::harness::{
    SHOP, START, Service, assert_refused, assert_tells, at, create_customer, purchase, shop, sorted_bad_fields, usd,
};

const SPRING: &str = "2026-03-01T05:00:00Z";
const SUMMER: &str = "2026-06-01T04:00:00Z";

/// The shop at another rate.
fn at_rate(rate: &str) -> proto::Program {
    proto::Program { points_per_unit: rate.to_owned(), ..shop() }
}

async fn apply_from(
    service: &Service,
    program: proto::Program,
    effective_from: Option<&str>,
) -> Result<proto::ApplyProgramResponse, Status> {
    let effective_from = effective_from.map(at);
    let request = proto::ApplyProgramRequest { program: Some(program), effective_from, ..Default::default() };
    Ok(service.programs().apply_program(request).await?.into_inner())
}

async fn in_force(service: &Service) -> (i32, Vec<i32>) {
    let request = proto::GetProgramRequest { program_id: SHOP.to_owned(), version: 0 };
    let answer = service.programs().get_program(request).await.unwrap().into_inner();
    (answer.version.unwrap().version, answer.scheduled.iter().map(|it| it.version).collect())
}

async fn start() -> Service {
    let service = Service::start().await;
    service.apply_shop().await;
    service.enrol("anna").await;
    service
}

/// The points that ten units earn now.
async fn earned(service: &Service, id: &str) -> (i64, i32) {
    let request = purchase("anna", id, "10.00", service.clock.now());
    let answer = service.activities().record_activity(request).await.unwrap().into_inner();
    (answer.points_earned, service.entries("anna").await.last().unwrap().policy_version)
}

#[tokio::test]
async fn a_version_that_begins_later_decides_from_its_first_instant_on() {
    let service = start().await;
    let applied = apply_from(&service, at_rate("3"), Some(SPRING)).await.unwrap();
    let version = applied.version.unwrap();
    assert_eq!((version.version, version.applied_at, version.effective_from), (2, Some(at(START)), Some(at(SPRING))));
    assert!(applied.changed);
    assert_eq!(applied.previous.unwrap().version, 1);
    assert_eq!(in_force(&service).await, (1, vec![2]));
    assert_eq!(get(&service, 2).await.unwrap(), version);

    // Another service learns of it from the database, and remembers it before it begins.
    let other = Service::start_on(service.database.clone(), service.clock.clone()).await;
    service.set_clock("2026-03-01T04:59:59.999999Z");
    assert_eq!((earned(&service, "a").await, earned(&other, "b").await), ((10, 1), (10, 1)));
    assert_eq!(in_force(&other).await, (1, vec![2]));
    service.set_clock(SPRING);
    assert_eq!((earned(&service, "c").await, earned(&other, "d").await), ((30, 2), (30, 2)));
    assert_eq!(in_force(&other).await, (2, vec![]));
    let listed = service.programs().list_programs(proto::ListProgramsRequest::default()).await.unwrap().into_inner();
    assert_eq!(listed.versions.iter().map(|version| version.version).collect::<Vec<_>>(), [2]);
    // Customers who join are told by the version in force, too.
    service.customers().create_customer(create_customer("ben", "enrol-ben")).await.unwrap();
    assert_eq!(service.tier("ben").await.policy_version, 2);
    check_rules(&service.database).await.unwrap();
}

#[tokio::test]
async fn get_customer_tier_follows_the_version_in_force_also_at_past_instants() {
    let service = start().await;
    service.purchase("anna", "a", "150.00").await.unwrap();
    let mut lower = shop();
    lower.tiers[1].threshold = Some(usd("160.00"));
    apply_from(&service, lower, Some(SPRING)).await.unwrap();
    let missing = |tier: proto::CustomerTier| tier.next.unwrap().missing.unwrap();
    assert_eq!(missing(service.tier("anna").await), usd("50.00"));
    service.set_clock(SPRING);
    assert_eq!(missing(service.tier("anna").await), usd("10.00"));
    service.set_clock(SUMMER);
    for (as_of, expected) in [("2026-03-01T04:59:59.999999Z", "50.00"), (SPRING, "10.00")] {
        assert_eq!(missing(service.tier_at("anna", as_of).await.unwrap()), usd(expected));
    }
}

#[tokio::test]
async fn get_customer_tier_before_a_version_looks_at_the_days_of_its_own_window() {
    let service = Service::start().await;
    let within = |window| proto::Program {
        tier_policy: Some(proto::TierPolicy {
            window: Some(proto::TierWindow { window: Some(window) }),
            ..Default::default()
        }),
        ..shop()
    };
    let rolling = |period: &str| within(proto::tier_window::Window::Rolling(period.to_owned()));
    service.apply(rolling("P1Y")).await.unwrap();
    service.enrol("anna").await;
    service.purchase("anna", "a", "150.00").await.unwrap();
    service.set_clock(SPRING);
    let before = service.tier("anna").await;
    service.set_clock("2026-04-01T00:00:00Z");
    service.apply(within(proto::tier_window::Window::Lifetime(()))).await.unwrap();
    service.set_clock(SUMMER);
    service.apply(rolling("P30D")).await.unwrap();
    assert_eq!(service.tier_at("anna", SPRING).await.unwrap(), before);
    assert_eq!(before.counted.unwrap().spend, Some(usd("150.00")));
}

#[tokio::test]
async fn a_later_version_takes_the_place_of_one_that_was_to_begin() {
    let service = start().await;
    apply_from(&service, at_rate("3"), Some(SUMMER)).await.unwrap();
    apply_from(&service, at_rate("2"), Some(SPRING)).await.unwrap();
    // The second will never begin: the third has the higher number then.
    assert_eq!(in_force(&service).await, (1, vec![3]));
    service.set_clock(SUMMER);
    assert_eq!(earned(&service, "a").await, (20, 3));
    // One at once takes the place of all that were to begin.
    service.set_clock("2026-06-02T00:00:00Z");
    apply_from(&service, at_rate("5"), Some("2026-09-01T04:00:00Z")).await.unwrap();
    assert_eq!(in_force(&service).await, (3, vec![4]));
    apply_from(&service, at_rate("2"), None).await.unwrap();
    assert_eq!(in_force(&service).await, (5, vec![]));
    service.set_clock("2026-10-01T00:00:00Z");
    assert_eq!(earned(&service, "b").await, (20, 5));
    check_rules(&service.database).await.unwrap();
}

#[tokio::test]
async fn applying_a_scheduled_version_again_changes_nothing_and_at_another_time_moves_it() {
    let service = start().await;
    let first = apply_from(&service, at_rate("3"), Some(SUMMER)).await.unwrap();
    let again = apply_from(&service, at_rate("3"), Some(SUMMER)).await.unwrap();
    assert_eq!((again.changed, again.version, again.previous), (false, first.version, None));
    let moved = apply_from(&service, at_rate("3"), Some(SPRING)).await.unwrap();
    assert_eq!((moved.changed, moved.version.unwrap().version), (true, 3));
    assert_eq!(in_force(&service).await, (1, vec![3]));
    // Once it has begun, it is what the document says, whenever it is applied.
    service.set_clock(SUMMER);
    assert!(!apply_from(&service, at_rate("3"), None).await.unwrap().changed);
    assert!(!apply_from(&service, at_rate("3"), Some(SPRING)).await.unwrap().changed);
}

#[tokio::test]
async fn a_version_is_scheduled_ahead_and_behind_another_and_so_many_at_most() {
    let service = Service::start().await;
    let early = apply_from(&service, shop(), Some(SPRING)).await;
    assert_refused(early, Code::FailedPrecondition, "VERSION_NOT_SCHEDULED");
    service.apply_shop().await;
    assert_refused(apply_from(&service, at_rate("3"), Some(START)).await, Code::OutOfRange, "INSTANT_NOT_AHEAD");
    let malformed = proto::ApplyProgramRequest {
        program: Some(shop()),
        effective_from: Some(prost_types::Timestamp { seconds: 0, nanos: -1 }),
        ..Default::default()
    };
    assert_eq!(sorted_bad_fields(service.programs().apply_program(malformed).await), ["effective_from"]);
    for month in 1..=16 {
        let begins = format!("{}-{:02}-01T00:00:00Z", 2027 + month / 12, month % 12 + 1);
        apply_from(&service, at_rate(&(month + 1).to_string()), Some(&begins)).await.unwrap();
    }
    let more = apply_from(&service, at_rate("20"), Some("2030-01-01T00:00:00Z")).await;
    assert_tells(more, "16 versions of the program are to begin already", &[("maximum", "16"), ("version", "18")]);
    assert_eq!(in_force(&service).await.1.len(), 16);
    // What is only tried is refused likewise, and answers as if it were applied.
    for (begins, expected) in
        [(START, Some("INSTANT_NOT_AHEAD")), ("2030-02-01T00:00:00Z", Some("VERSION_NOT_SCHEDULED"))]
    {
        let request = proto::ApplyProgramRequest {
            program: Some(at_rate("30")),
            effective_from: Some(at(begins)),
            validate_only: true,
            ..Default::default()
        };
        let tried = service.programs().apply_program(request).await;
        assert_eq!(tried.err().map(|status| crate::harness::reason(&status)).as_deref(), expected);
    }
    check_rules(&service.database).await.unwrap();
}

#[tokio::test]
async fn a_scheduled_version_is_tried_without_a_trace() {
    let service = start().await;
    let request = proto::ApplyProgramRequest {
        program: Some(at_rate("3")),
        effective_from: Some(at(SPRING)),
        validate_only: true,
        ..Default::default()
    };
    let tried = service.programs().apply_program(request).await.unwrap().into_inner();
    let version = tried.version.unwrap();
    assert_eq!((version.version, version.applied_at, version.effective_from), (2, None, Some(at(SPRING))));
    assert_eq!(in_force(&service).await, (1, vec![]));
}
