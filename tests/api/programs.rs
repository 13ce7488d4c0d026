//! Programs: documents, their versions, and what is wrong with them.

mod batches;
mod benefits;
mod command;
mod dated;
mod examples;
mod points;
mod retention;

use futures_util::future::join_all;
use goldbook::embedded_postgres::OWNER_ROLE;
use goldbook::proto;
use prost_types::Timestamp;
use tonic::{Code, Status};

use crate::harness::{
    SHOP, START, Service, assert_refused, assert_refuses_bad_pages, assert_tells, at, money, read_pages, shop,
    sorted_bad_fields, usd,
};

async fn get(service: &Service, version: i32) -> Result<proto::ProgramVersion, Status> {
    let request = proto::GetProgramRequest { program_id: SHOP.to_owned(), version };
    Ok(service.programs().get_program(request).await?.into_inner().version.unwrap())
}

async fn validate(service: &Service, program: proto::Program) -> Result<proto::ApplyProgramResponse, Status> {
    let request = proto::ApplyProgramRequest { program: Some(program), validate_only: true, ..Default::default() };
    Ok(service.programs().apply_program(request).await?.into_inner())
}

async fn list(service: &Service, page_size: i32, page_token: String) -> Result<(Vec<String>, String), Status> {
    let request = proto::ListProgramsRequest { page_size, page_token };
    let page = service.programs().list_programs(request).await?.into_inner();
    let ids = page.versions.into_iter().map(|version| version.program.unwrap().program_id).collect();
    Ok((ids, page.next_page_token))
}

fn version(program: proto::Program, version: i32, applied_at: Option<Timestamp>) -> proto::ProgramVersion {
    proto::ProgramVersion { program: Some(program), version, applied_at, effective_from: applied_at }
}

fn renamed(display_name: &str) -> proto::Program {
    proto::Program { display_name: display_name.to_owned(), ..shop() }
}

/// [`shop`] in another currency.
fn in_euros() -> proto::Program {
    let mut program = proto::Program { currency_code: "EUR".to_owned(), ..shop() };
    let amounts = program.tiers.iter_mut().map(|tier| &mut tier.threshold);
    for amount in amounts.chain(program.campaigns.iter_mut().map(|campaign| &mut campaign.minimum_purchase)) {
        amount.as_mut().unwrap().currency_code = "EUR".to_owned();
    }
    program
}

#[tokio::test]
async fn apply_program_makes_a_new_program_that_reads_back() {
    let service = Service::start().await;
    let applied = service.apply(shop()).await.unwrap();
    let expected = version(shop(), 1, Some(at(START)));
    assert_eq!(applied, proto::ApplyProgramResponse { version: Some(expected.clone()), changed: true, previous: None });
    assert_eq!(get(&service, 0).await.unwrap(), expected);
    assert_eq!(get(&service, 1).await.unwrap(), expected);
}

#[tokio::test]
async fn apply_program_unchanged_changes_nothing() {
    let service = Service::start().await;
    service.apply_shop().await;
    service.set_clock("2026-02-01T00:00:00Z");
    // The same number in another spelling is the same document.
    let same = proto::Program { points_per_unit: "1.00".to_owned(), ..shop() };
    let applied = service.apply(same).await.unwrap();
    let expected = version(shop(), 1, Some(at(START)));
    assert_eq!(applied, proto::ApplyProgramResponse { version: Some(expected), changed: false, previous: None });
    assert_eq!(service.count_entries().await, 1);
}

#[tokio::test]
async fn apply_program_changed_becomes_version_2_and_keeps_version_1() {
    let service = Service::start().await;
    service.apply_shop().await;
    service.set_clock("2026-02-01T00:00:00Z");
    let applied = service.apply(renamed("Store")).await.unwrap();
    let first = version(shop(), 1, Some(at(START)));
    let second = version(renamed("Store"), 2, Some(at("2026-02-01T00:00:00Z")));
    let expected =
        proto::ApplyProgramResponse { version: Some(second.clone()), changed: true, previous: Some(first.clone()) };
    assert_eq!(applied, expected);
    let service = service.restart().await;
    assert_eq!(get(&service, 0).await.unwrap(), second);
    assert_eq!(get(&service, 1).await.unwrap(), first);
    assert_eq!(get(&service, 2).await.unwrap(), second);
}

async fn apply_expecting(
    service: &Service,
    program: proto::Program,
    expected_version: i32,
    validate_only: bool,
) -> Result<proto::ApplyProgramResponse, Status> {
    let request = proto::ApplyProgramRequest {
        program: Some(program),
        validate_only,
        expected_version: Some(expected_version),
        effective_from: None,
    };
    Ok(service.programs().apply_program(request).await?.into_inner())
}

#[tokio::test]
async fn apply_program_with_an_expected_version_undoes_nobody_elses_change() {
    let service = Service::start().await;
    for validate_only in [true, false] {
        let early = apply_expecting(&service, shop(), 1, validate_only).await;
        assert_refused(early, Code::Aborted, "PROGRAM_VERSION_MISMATCH");
        assert!(apply_expecting(&service, shop(), 0, validate_only).await.unwrap().changed);
    }
    assert_eq!(apply_expecting(&service, renamed("Store"), 1, false).await.unwrap().version.unwrap().version, 2);
    assert_eq!(apply_expecting(&service, renamed("Market"), 2, false).await.unwrap().version.unwrap().version, 3);
    // A call from before comes late.
    for validate_only in [true, false] {
        let late = apply_expecting(&service, renamed("Store"), 1, validate_only).await;
        let facts = [("program_id", SHOP), ("expected_version", "1"), ("current_version", "3")];
        assert_tells(late.clone(), "version 3 of the program is the latest", &facts);
        assert_refused(late, Code::Aborted, "PROGRAM_VERSION_MISMATCH");
    }
    assert_eq!(get(&service, 0).await.unwrap().program.unwrap(), renamed("Market"));
    // One that was repeated has what it wants.
    assert!(!apply_expecting(&service, renamed("Market"), 2, false).await.unwrap().changed);
    let negative = apply_expecting(&service, renamed("Store"), -1, false).await;
    assert_eq!(sorted_bad_fields(negative), ["expected_version"]);
}

#[tokio::test]
async fn of_two_who_change_the_same_version_at_once_one_is_refused() {
    let service = Service::start().await;
    service.apply_shop().await;
    let names: Vec<String> = (0..8).map(|number| format!("Shop {number}")).collect();
    let outcomes = join_all(names.iter().map(|name| apply_expecting(&service, renamed(name), 1, false))).await;
    let (applied, refused): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    assert_eq!(applied.len(), 1);
    for outcome in refused {
        assert_refused(outcome, Code::Aborted, "PROGRAM_VERSION_MISMATCH");
    }
    assert_eq!(get(&service, 0).await.unwrap().version, 2);
}

#[tokio::test]
async fn apply_program_of_an_earlier_document_becomes_a_version_of_its_own() {
    let service = Service::start().await;
    service.apply_shop().await;
    service.apply(renamed("Store")).await.unwrap();
    let applied = service.apply(shop()).await.unwrap();
    assert_eq!((applied.changed, applied.version.unwrap().version, applied.previous.unwrap().version), (true, 3, 2));
}

#[tokio::test]
async fn apply_program_with_validate_only_tells_what_would_change_and_changes_nothing() {
    let service = Service::start().await;
    let tried = validate(&service, shop()).await.unwrap();
    let expected =
        proto::ApplyProgramResponse { version: Some(version(shop(), 1, None)), changed: true, previous: None };
    assert_eq!(tried, expected);
    assert_refused(get(&service, 0).await, Code::NotFound, "PROGRAM_NOT_FOUND");

    service.apply_shop().await;
    let tried = validate(&service, renamed("Store")).await.unwrap();
    let first = version(shop(), 1, Some(at(START)));
    let expected = proto::ApplyProgramResponse {
        version: Some(version(renamed("Store"), 2, None)),
        changed: true,
        previous: Some(first.clone()),
    };
    assert_eq!(tried, expected);
    assert_eq!(get(&service, 0).await.unwrap(), first);
    assert_refused(get(&service, 2).await, Code::NotFound, "PROGRAM_NOT_FOUND");
    assert_eq!(service.count_entries().await, 1);
}

#[tokio::test]
async fn apply_program_with_validate_only_of_the_current_document_is_its_previous() {
    let service = Service::start().await;
    service.apply_shop().await;
    let tried = validate(&service, shop()).await.unwrap();
    let first = version(shop(), 1, Some(at(START)));
    let expected = proto::ApplyProgramResponse { version: Some(first.clone()), changed: false, previous: Some(first) };
    assert_eq!(tried, expected);
}

#[tokio::test]
async fn apply_program_refuses_another_currency_or_time_zone() {
    let service = Service::start().await;
    service.apply_shop().await;
    let moved = proto::Program { time_zone: "Europe/Berlin".to_owned(), ..shop() };
    for program in [in_euros(), moved] {
        let refused = service.apply(program.clone()).await;
        assert_refused(refused, Code::FailedPrecondition, "PROGRAM_FIELD_IMMUTABLE");
        assert_refused(validate(&service, program).await, Code::FailedPrecondition, "PROGRAM_FIELD_IMMUTABLE");
    }
    assert_eq!(get(&service, 0).await.unwrap(), version(shop(), 1, Some(at(START))));
}

#[tokio::test]
async fn apply_program_lists_every_field_that_is_bad_on_its_face() {
    let service = Service::start().await;
    let mut program = shop();
    program.program_id = "Shop".to_owned();
    program.display_name = "x".repeat(201);
    program.time_zone = "Mars/Olympus".to_owned();
    program.points_per_unit = "1e3".to_owned();
    program.tiers[0].tier_id = "-member".to_owned();
    program.tiers[0].benefits[0].benefit_id = String::new();
    program.tiers[0].benefits[0].display_name = "a\u{7}b".to_owned();
    program.tiers[0].benefits[0].description = "x".repeat(2_001);
    program.tiers[1].display_name = "a\nb".to_owned();
    program.tiers[1].threshold = Some(money("EUR", "200.00"));
    program.tiers[2].threshold = Some(usd("500.001"));
    program.campaigns[0].campaign_id = "friends!".to_owned();
    program.campaigns[0].conversion = 0;
    program.campaigns[0].starts_at = Some(Timestamp { seconds: 0, nanos: -1 });
    program.campaigns[0].minimum_purchase = Some(usd("-1"));
    program.campaigns[0].convert_within_days = 3_651;
    program.campaigns[1].display_name = "x".repeat(201);
    program.campaigns[1].conversion = 99;
    program.campaigns[1].ends_at = Some(Timestamp { seconds: i64::MAX, nanos: 0 });
    program.campaigns[1].convert_within_days = -1;
    program.campaigns[1].referrer_points = -1;
    program.campaigns[1].referee_points = i64::MIN;
    let expected = [
        "program.campaigns[0].campaign_id",
        "program.campaigns[0].conversion",
        "program.campaigns[0].convert_within_days",
        "program.campaigns[0].minimum_purchase",
        "program.campaigns[0].starts_at",
        "program.campaigns[1].conversion",
        "program.campaigns[1].convert_within_days",
        "program.campaigns[1].display_name",
        "program.campaigns[1].ends_at",
        "program.campaigns[1].referee_points",
        "program.campaigns[1].referrer_points",
        "program.display_name",
        "program.points_per_unit",
        "program.program_id",
        "program.tiers[0].benefits[0].benefit_id",
        "program.tiers[0].benefits[0].description",
        "program.tiers[0].benefits[0].display_name",
        "program.tiers[0].tier_id",
        "program.tiers[1].display_name",
        "program.tiers[1].threshold.currency_code",
        "program.tiers[2].threshold",
        "program.time_zone",
    ];
    assert_eq!(sorted_bad_fields(service.apply(program.clone()).await), expected);
    assert_eq!(sorted_bad_fields(validate(&service, program).await), expected);
}

#[tokio::test]
async fn apply_program_lists_every_fault_between_fields() {
    let service = Service::start().await;
    let mut program = shop();
    program.tiers[0].threshold = Some(usd("1.00"));
    program.tiers[1].threshold = Some(usd("1.00"));
    program.tiers[2].threshold = None;
    program.tiers[2].tier_id = "silver".to_owned();
    program.tiers[2].benefits[1].benefit_id = "newsletter".to_owned();
    program.campaigns[0].starts_at = Some(at(START));
    program.campaigns[0].ends_at = Some(at(START));
    program.campaigns[1].campaign_id = "friends".to_owned();
    let expected = [
        "program.campaigns[0].ends_at",
        "program.campaigns[1].campaign_id",
        "program.tiers",
        "program.tiers[1].threshold",
        "program.tiers[2].benefits[1].benefit_id",
        "program.tiers[2].threshold",
        "program.tiers[2].tier_id",
    ];
    assert_eq!(sorted_bad_fields(service.apply(program).await), expected);
}

#[tokio::test]
async fn apply_program_lists_bad_fields_and_faults_between_fields_together() {
    let service = Service::start().await;
    let mut program = shop();
    program.points_per_unit = "-1".to_owned();
    program.tiers[1].display_name = String::new();
    program.tiers[2].tier_id = "silver".to_owned();
    program.tiers[2].threshold = Some(usd("1.00"));
    program.campaigns[0].conversion = 99;
    program.campaigns[1].campaign_id = "friends".to_owned();
    let policy =
        proto::TierPolicy { grace: "soon".to_owned(), at_end: proto::TierEnd::OneStep.into(), ..Default::default() };
    program.tier_policy = Some(policy);
    let expected = [
        "program.campaigns[0].conversion",
        "program.campaigns[1].campaign_id",
        "program.points_per_unit",
        "program.tier_policy.at_end",
        "program.tier_policy.grace",
        "program.tiers[1].display_name",
        "program.tiers[2].threshold",
        "program.tiers[2].tier_id",
    ];
    assert_eq!(sorted_bad_fields(service.apply(program).await), expected);
}

#[tokio::test]
async fn apply_program_refuses_names_for_people_that_are_missing() {
    let service = Service::start().await;
    let mut program = renamed("");
    program.tiers[1].display_name = String::new();
    program.tiers[1].benefits[0].display_name = String::new();
    program.campaigns[1].display_name = String::new();
    let expected = [
        "program.campaigns[1].display_name",
        "program.display_name",
        "program.tiers[1].benefits[0].display_name",
        "program.tiers[1].display_name",
    ];
    assert_eq!(sorted_bad_fields(service.apply(program).await), expected);
}

#[tokio::test]
async fn apply_program_refuses_no_document_no_tiers_and_too_much_of_anything() {
    let service = Service::start().await;
    let nothing = proto::ApplyProgramRequest::default();
    assert_eq!(sorted_bad_fields(service.programs().apply_program(nothing).await), ["program"]);
    let bare = proto::Program { tiers: Vec::new(), ..shop() };
    assert_eq!(sorted_bad_fields(service.apply(bare).await), ["program.tiers"]);

    let mut vast = shop();
    let (tier, benefit) = (vast.tiers[1].clone(), vast.tiers[0].benefits[0].clone());
    for i in vast.tiers.len()..33 {
        let threshold = Some(usd(&format!("{}.00", 1_000 + i)));
        vast.tiers.push(proto::Tier { tier_id: format!("tier-{i}"), threshold, ..tier.clone() });
    }
    let number = |i| proto::Benefit { benefit_id: format!("benefit-{i}"), ..benefit.clone() };
    vast.tiers[0].benefits = (0..101).map(number).collect();
    let campaign = vast.campaigns[0].clone();
    let number = |i| proto::Campaign { campaign_id: format!("campaign-{i}"), ..campaign.clone() };
    vast.campaigns = (0..101).map(number).collect();
    let refused = sorted_bad_fields(service.apply(vast.clone()).await);
    assert_eq!(refused, ["program.campaigns", "program.tiers", "program.tiers[0].benefits"]);

    vast.tiers.pop();
    vast.tiers[0].benefits.pop();
    vast.campaigns.pop();
    assert_eq!(service.apply(vast.clone()).await.unwrap().version.unwrap().program, Some(vast));
}

#[tokio::test]
async fn apply_program_on_two_services_at_once_numbers_the_changes_without_a_gap() {
    let service = Service::start().await;
    let other = Service::start_on(service.database.clone(), service.clock.clone()).await;
    let names: Vec<String> = (0..24).map(|i| format!("Shop {}", i / 2)).collect();
    let calls = names.iter().zip([&service, &other].into_iter().cycle());
    let applied = join_all(calls.map(|(name, service)| service.apply(renamed(name)))).await;
    let changes: Vec<_> = applied.into_iter().map(Result::unwrap).filter(|applied| applied.changed).collect();
    let mut numbers: Vec<i32> = changes.iter().map(|applied| applied.version.as_ref().unwrap().version).collect();
    numbers.sort_unstable();
    let count = i32::try_from(numbers.len()).unwrap();
    assert!(count >= 12);
    assert_eq!(numbers, (1..=count).collect::<Vec<_>>());
    for applied in changes {
        let version = applied.version.unwrap();
        assert_eq!(get(&other, version.version).await.unwrap(), version);
    }
    let mut connection = service.database.connect(OWNER_ROLE).await;
    let entries: i64 = sqlx::query_scalar("SELECT count(*) FROM ledger_entries WHERE kind = 'program_applied'")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(entries, i64::from(count));
}

#[tokio::test]
async fn get_program_refuses_what_does_not_exist() {
    let service = Service::start().await;
    assert_refused(get(&service, 0).await, Code::NotFound, "PROGRAM_NOT_FOUND");
    service.apply_shop().await;
    assert_refused(get(&service, 2).await, Code::NotFound, "PROGRAM_NOT_FOUND");
    let bad = proto::GetProgramRequest { program_id: "a b".to_owned(), version: -1 };
    assert_eq!(sorted_bad_fields(service.programs().get_program(bad).await), ["program_id", "version"]);
}

#[tokio::test]
async fn list_programs_returns_each_current_version_once_in_order() {
    let service = Service::start().await;
    assert_eq!(list(&service, 0, String::new()).await.unwrap(), (Vec::new(), String::new()));
    let ids: Vec<String> = (100..153).map(|i| format!("p-{i}")).collect();
    let apply = |id: &String| service.apply(proto::Program { program_id: id.clone(), ..shop() });
    join_all(ids.iter().rev().map(apply)).await.into_iter().for_each(|applied| assert!(applied.unwrap().changed));
    let changed = proto::Program { program_id: "p-100".to_owned(), ..renamed("Store") };
    service.apply(changed.clone()).await.unwrap();

    let read = |token| async { list(&service, 7, token).await.unwrap() };
    assert_eq!(read_pages(7, read).await, ids);
    assert_eq!(list(&service, 0, String::new()).await.unwrap().0, ids[..50]);
    assert_eq!(list(&service, 5_000, String::new()).await.unwrap(), (ids, String::new()));
    let first = proto::ListProgramsRequest { page_size: 1, page_token: String::new() };
    let first = service.programs().list_programs(first).await.unwrap().into_inner().versions;
    assert_eq!(first, [version(changed, 2, Some(at(START)))]);
}

#[tokio::test]
async fn list_programs_refuses_bad_pages() {
    let service = Service::start().await;
    service.apply_shop().await;
    service.enrol("anna").await;
    service.enrol("ben").await;
    let customers =
        proto::ListCustomersRequest { program_id: SHOP.to_owned(), page_size: 1, page_token: String::new() };
    let foreign = service.customers().list_customers(customers).await.unwrap().into_inner().next_page_token;
    assert_refuses_bad_pages(&foreign, |page_size, token| list(&service, page_size, token)).await;
}
