//! Trying a policy on all customers: what it tells, that nothing is written, and what it refuses.

use std::collections::BTreeMap;

use goldbook::embedded_postgres::SUPERUSER;
use goldbook::proto;
use goldbook::proto::simulate_tier_policy_request::Policy;
use tonic::{Code, Status};

use super::windows::{calendar_years, rolling_year};
use crate::harness::{Database, Service, assert_refused, at, purchase, shop, sorted_bad_fields, usd};
use crate::wait::within;

pub(super) fn try_program(program: proto::Program) -> proto::SimulateTierPolicyRequest {
    proto::SimulateTierPolicyRequest {
        program_id: program.program_id.clone(),
        policy: Some(Policy::Program(program)),
        downgrades: proto::DowngradeTime::AtOnce.into(),
        ..Default::default()
    }
}

/// Everything that a simulation tells: who moves, and what it came to.
pub(super) async fn simulate(
    service: &Service,
    request: proto::SimulateTierPolicyRequest,
) -> Result<(BTreeMap<String, proto::SimulatedMove>, proto::TierSimulation), Status> {
    let mut stream = service.tiers().simulate_tier_policy(request).await?.into_inner();
    let (mut moves, mut done, mut simulation) = (BTreeMap::new(), 0, None);
    while let Some(message) = within("a message of a simulation", stream.message()).await? {
        assert!(simulation.is_none(), "the summary comes last");
        assert!(message.moves.len() <= 1_000);
        let progress = message.progress.unwrap();
        assert!(progress.customers_done >= done);
        done = progress.customers_done;
        moves.extend(message.moves.into_iter().map(|it| (it.customer_id.clone(), it)));
        simulation = message.simulation;
    }
    let simulation = simulation.expect("a summary");
    assert_eq!(simulation.customers + simulation.left_out, done);
    Ok((moves, simulation))
}

/// From which tier to which how many go.
pub(super) fn matrix(simulation: &proto::TierSimulation) -> Vec<(&str, &str, i64)> {
    let moves = simulation.moves.iter();
    moves.map(|it| (it.from_tier_id.as_str(), it.to_tier_id.as_str(), it.customers)).collect()
}

pub(super) async fn count(database: &Database, select: &str) -> i64 {
    sqlx::query_scalar(sqlx::AssertSqlSafe(select.to_owned()))
        .fetch_one(&mut database.connect(SUPERUSER).await)
        .await
        .unwrap()
}

/// Customers of the shop who spent so much, each in their own number of purchases.
async fn start_with(spent: &[(&str, &str)]) -> Service {
    let service = Service::start().await;
    service.apply_shop().await;
    for (customer_id, amount) in spent {
        service.enrol(customer_id).await;
        let request = purchase(customer_id, "a", amount, service.clock.now());
        service.activities().record_activity(request).await.unwrap();
    }
    service
}

const PEOPLE: [(&str, &str); 4] = [("anna", "100.00"), ("ben", "200.00"), ("cleo", "499.99"), ("dora", "500.00")];

#[tokio::test]
async fn a_document_is_tried_on_everybody_and_nothing_is_written() {
    let service = start_with(&PEOPLE).await;
    let entries = count(&service.database, "SELECT count(*) FROM ledger_entries").await;
    let mut dearer = shop();
    dearer.tiers[1].threshold = Some(usd("100.00"));
    dearer.tiers[2].threshold = Some(usd("1000.00"));
    dearer.tiers[1].benefits.remove(0);
    let (moves, simulation) = simulate(&service, try_program(dearer.clone())).await.unwrap();
    let told: Vec<_> = moves.values().map(|it| (it.customer_id.as_str(), it.to_tier_id.as_str())).collect();
    assert_eq!(told, [("anna", "silver"), ("dora", "silver")]);
    assert_eq!(matrix(&simulation), [("member", "silver", 1), ("silver", "silver", 2), ("gold", "silver", 1)]);
    let benefits: Vec<_> =
        simulation.benefits.iter().map(|it| (it.benefit_id.as_str(), it.gaining, it.losing)).collect();
    assert_eq!(benefits, [("free-shipping", 1, 0), ("lounge", 0, 1), ("newsletter", 0, 4)]);
    assert_eq!(simulation.as_of, Some(at("2026-01-15T12:00:00Z")));
    // Nobody is lowered before their own end, and gold has none.
    let mut later = try_program(dearer);
    later.downgrades = proto::DowngradeTime::AtOwnEnd.into();
    let (moves, _) = simulate(&service, later).await.unwrap();
    assert_eq!(moves.into_keys().collect::<Vec<_>>(), ["anna"]);
    assert_eq!(count(&service.database, "SELECT count(*) FROM ledger_entries").await, entries);
    assert_eq!(service.tier("dora").await.tier_id, "gold");
}

#[tokio::test]
async fn a_simulation_answers_for_the_past_as_it_was() {
    let service = start_with(&PEOPLE).await;
    service.set_clock("2026-03-01T12:00:00Z");
    for number in 0..70 {
        let request = purchase("anna", &format!("b{number}"), "10.00", service.clock.now());
        service.activities().record_activity(request).await.unwrap();
    }
    service.enrol("emil").await;
    let mut request = try_program(rolling_year());
    let (_, now) = simulate(&service, request.clone()).await.unwrap();
    assert_eq!(matrix(&now), [("member", "member", 1), ("silver", "silver", 2), ("gold", "gold", 2)]);
    let end = |tier_id: &str, end: &str, customers| (tier_id.to_owned(), Some(at(end)), customers, customers);
    let ends: Vec<_> = now.ends.iter().map(|it| (it.tier_id.clone(), it.first_end, it.customers, it.falling)).collect();
    // anna's day of March counts until the same date a year later.
    assert_eq!(
        ends,
        [
            end("silver", "2027-01-15T05:00:00Z", 2),
            end("gold", "2027-01-15T05:00:00Z", 1),
            end("gold", "2027-03-01T05:00:00Z", 1)
        ]
    );
    request.as_of = Some(at("2026-03-01T11:59:59.999999Z"));
    let (moves, before) = simulate(&service, request.clone()).await.unwrap();
    assert_eq!(matrix(&before), [("member", "member", 1), ("silver", "silver", 2), ("gold", "gold", 1)]);
    assert_eq!((moves.len(), before.customers), (0, 4));
    request.as_of = Some(at("2026-01-15T11:59:59Z"));
    assert_eq!(simulate(&service, request).await.unwrap().1.customers, 0);
}

#[tokio::test]
async fn what_time_did_and_nobody_wrote_is_simulated_too() {
    let service = Service::start().await;
    service.apply(calendar_years()).await.unwrap();
    for (customer_id, amount) in PEOPLE {
        service.enrol(customer_id).await;
        let request = purchase(customer_id, "a", amount, service.clock.now());
        service.activities().record_activity(request).await.unwrap();
    }
    service.set_clock("2028-01-01T05:00:00Z");
    let (_, simulation) = simulate(&service, try_program(calendar_years())).await.unwrap();
    assert_eq!(matrix(&simulation), [("member", "member", 4)]);
    let mut request = try_program(shop());
    request.as_of = Some(at("2028-01-01T04:59:59.999999Z"));
    let (moves, simulation) = simulate(&service, request.clone()).await.unwrap();
    assert_eq!(matrix(&simulation), [("member", "member", 1), ("silver", "silver", 2), ("gold", "gold", 1)]);
    assert_eq!(moves.len(), 0);
    // Under the shop's own policy all of them would have their tiers back.
    request.as_of = None;
    let (moves, _) = simulate(&service, request).await.unwrap();
    assert_eq!(moves.into_keys().collect::<Vec<_>>(), ["ben", "cleo", "dora"]);
}

#[tokio::test]
async fn a_customer_in_grace_is_simulated_with_the_days_that_could_save_them() {
    let service = Service::start().await;
    let mut program = super::windows::with_policy(
        proto::tier_window::Window::Rolling("P1Y".to_owned()),
        proto::tier_retention::Rule::For("P1Y".to_owned()),
    );
    program.tier_policy.as_mut().unwrap().grace = "P30D".to_owned();
    service.apply(program.clone()).await.unwrap();
    service.enrol("anna").await;
    let buy = async |id: &str, amount: &str| {
        let request = purchase("anna", id, amount, service.clock.now());
        service.activities().record_activity(request).await.unwrap();
    };
    buy("a", "200.00").await;
    // The tier has ended by then, and can still be saved.
    service.set_clock("2027-01-20T12:00:00Z");
    buy("b", "1.00").await;
    service.set_clock("2027-01-25T12:00:00Z");
    buy("c", "199.00").await;
    for (as_of, tier_id) in [("2027-01-22T12:00:00Z", "silver"), ("2027-01-16T12:00:00Z", "silver")] {
        let mut request = try_program(program.clone());
        request.downgrades = proto::DowngradeTime::AtOwnEnd.into();
        request.as_of = Some(at(as_of));
        let (moves, simulation) = simulate(&service, request).await.unwrap();
        assert_eq!((moves.len(), simulation.customers, simulation.left_out), (0, 1, 0), "{as_of}");
        assert_eq!(matrix(&simulation), [(tier_id, tier_id, 1)], "{as_of}");
    }
}

#[tokio::test]
async fn points_a_year_and_their_worth_tell_what_a_policy_adds() {
    let service = start_with(&PEOPLE).await;
    let mut generous = shop();
    generous.points = Some(proto::PointsPolicy { point_value: "0.01".to_owned(), ..Default::default() });
    let double = proto::Benefit {
        benefit_id: "double".to_owned(),
        display_name: "Double".to_owned(),
        kind: Some(proto::benefit::Kind::EarnRateMultiplier("2".to_owned())),
        ..Default::default()
    };
    generous.tiers[2].benefits.push(double);
    let (_, simulation) = simulate(&service, try_program(generous)).await.unwrap();
    assert_eq!(simulation.points_per_year, 500);
    assert_eq!(simulation.liability_per_year, Some(usd("5.00")));
    assert_eq!((simulation.packages, simulation.package_liability), (vec![], Some(usd("0.00"))));
}

#[tokio::test]
async fn a_sample_is_always_the_same_share_of_the_customers() {
    let people: Vec<(String, String)> = (0..60).map(|n| (format!("c{n}"), "200.00".to_owned())).collect();
    let people: Vec<(&str, &str)> = people.iter().map(|(id, amount)| (id.as_str(), amount.as_str())).collect();
    let service = start_with(&people).await;
    let mut program = shop();
    program.tiers[1].threshold = Some(usd("300.00"));
    let mut request = try_program(program);
    let (all, simulation) = simulate(&service, request.clone()).await.unwrap();
    assert_eq!((all.len(), simulation.customers), (60, 60));
    request.sample_percent = 40;
    let (some, simulation) = simulate(&service, request.clone()).await.unwrap();
    assert!((5..50).contains(&some.len()), "{}", some.len());
    assert_eq!(simulation.customers, i64::try_from(some.len()).unwrap());
    assert_eq!(simulate(&service, request.clone()).await.unwrap().0, some);
    request.sample_percent = 60;
    let (more, _) = simulate(&service, request.clone()).await.unwrap();
    assert!(some.keys().all(|id| more.contains_key(id)) && more.len() >= some.len());
    request.summary_only = true;
    let (none, summary) = simulate(&service, request).await.unwrap();
    assert_eq!((none.len(), summary.customers), (0, i64::try_from(more.len()).unwrap()));
}

#[tokio::test]
async fn who_cannot_be_read_is_left_out_and_counted() {
    let service = start_with(&PEOPLE).await;
    let mut connection = service.database.connect(SUPERUSER).await;
    let damage = "UPDATE standings SET tier_id = 'NO TIER' WHERE tier_id = 'gold'";
    sqlx::query(damage).execute(&mut connection).await.unwrap();
    let (_, simulation) = simulate(&service, try_program(shop())).await.unwrap();
    assert_eq!((simulation.customers, simulation.left_out), (3, 1));
    let lacking = "DELETE FROM standings WHERE tier_id = 'silver'";
    sqlx::query(lacking).execute(&mut connection).await.unwrap();
    let (_, simulation) = simulate(&service, try_program(shop())).await.unwrap();
    assert_eq!((simulation.customers, simulation.left_out), (1, 3));
}

#[tokio::test]
async fn a_simulation_refuses_what_makes_no_sense() {
    let service = start_with(&PEOPLE[..1]).await;
    let refused = async |change: &dyn Fn(&mut proto::SimulateTierPolicyRequest)| {
        let mut request = try_program(shop());
        change(&mut request);
        simulate(&service, request).await.map(|_| ())
    };
    let empty = proto::SimulateTierPolicyRequest { sample_percent: 101, ..Default::default() };
    let status = service.tiers().simulate_tier_policy(empty).await.map(|_| ());
    assert_eq!(sorted_bad_fields(status), ["downgrades", "program", "program_id", "sample_percent"]);
    let status = refused(&|request| {
        let Some(Policy::Program(program)) = &mut request.policy else { unreachable!() };
        program.tiers[1].threshold = None;
        program.tiers[2].tier_id = "A".to_owned();
        request.program_id = "other".to_owned();
    });
    assert_eq!(sorted_bad_fields(status.await), ["program.tiers[1].threshold", "program.tiers[2].tier_id"]);
    let status = refused(&|request| request.program_id = "other".to_owned()).await;
    assert_eq!(sorted_bad_fields(status), ["program.program_id"]);
    let other = refused(&|request| {
        let Some(Policy::Program(program)) = &mut request.policy else { unreachable!() };
        program.time_zone = "Europe/Berlin".to_owned();
    });
    assert_refused(other.await, Code::FailedPrecondition, "PROGRAM_FIELD_IMMUTABLE");
    let unknown = refused(&|request| request.policy = Some(Policy::Version(2)));
    assert_refused(unknown.await, Code::NotFound, "PROGRAM_NOT_FOUND");
    let status = refused(&|request| request.policy = Some(Policy::Version(0))).await;
    assert_eq!(sorted_bad_fields(status), ["version"]);
    let ahead = refused(&|request| request.as_of = Some(at("2026-01-15T12:00:00.000001Z")));
    assert_refused(ahead.await, Code::OutOfRange, "INSTANT_IN_FUTURE");
    let mut request = try_program(shop());
    request.program_id = "none".to_owned();
    request.policy = Some(Policy::Version(1));
    assert_refused(simulate(&service, request).await.map(|_| ()), Code::NotFound, "PROGRAM_NOT_FOUND");
}

#[tokio::test]
async fn a_caller_has_one_simulation_at_a_time_and_ends_it_by_leaving() {
    let service = start_with(&PEOPLE).await;
    // The customers wait behind this lock, so that it does not end by itself.
    let mut holder = service.database.connect(SUPERUSER).await;
    sqlx::raw_sql("BEGIN; LOCK TABLE standings IN ACCESS EXCLUSIVE MODE").execute(&mut holder).await.unwrap();
    let first = service.tiers().simulate_tier_policy(try_program(shop())).await.unwrap();
    let second = service.tiers().simulate_tier_policy(try_program(shop())).await.unwrap_err();
    assert_eq!(second.code(), Code::ResourceExhausted);
    drop(first);
    sqlx::raw_sql("ROLLBACK").execute(&mut holder).await.unwrap();
    crate::wait::until("the place to be free", async || simulate(&service, try_program(shop())).await.ok()).await;
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%standings%'";
    crate::wait::until("the statement to end", async || (count(&service.database, waiting).await == 0).then_some(()))
        .await;
}
