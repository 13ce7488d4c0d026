//! Applying a version to every customer: once, whatever happens meanwhile, and as the simulation told.

use std::collections::BTreeMap;

use goldbook::proto;
use goldbook::proto::simulate_tier_policy_request::Policy;
use tonic::{Code, Status};

use super::simulation::{count, matrix, simulate};
use super::windows::{OFTEN, calendar_years, rolling_year};
use crate::benefits::packages::package;
use crate::book_rules::check_rules;
use crate::faults::held::Session;
use crate::harness::{
    Clock, Database, SHOP, START, Service, assert_refused, at, purchase, shop, sorted_bad_fields, usd,
};
use crate::wait::{stays, until};

fn order(version: i32, downgrades: proto::DowngradeTime, key: &str) -> proto::ReevaluateTiersRequest {
    proto::ReevaluateTiersRequest {
        program_id: SHOP.to_owned(),
        version,
        downgrades: downgrades.into(),
        idempotency_key: key.to_owned(),
    }
}

async fn send(
    service: &Service,
    request: proto::ReevaluateTiersRequest,
) -> Result<proto::ReevaluateTiersResponse, Status> {
    Ok(service.tiers().reevaluate_tiers(request).await?.into_inner())
}

async fn progress(service: &Service, reevaluation_id: &str) -> proto::TierReevaluation {
    let request =
        proto::GetTierReevaluationRequest { program_id: SHOP.to_owned(), reevaluation_id: reevaluation_id.to_owned() };
    service.tiers().get_tier_reevaluation(request).await.unwrap().into_inner().reevaluation.unwrap()
}

async fn wait_for_end(service: &Service, reevaluation_id: &str) -> proto::TierReevaluation {
    until("the end of the re-evaluation", async || {
        Some(progress(service, reevaluation_id).await).filter(|it| it.ended_at.is_some())
    })
    .await
}

/// Another replica, which carries orders out.
async fn busy(service: &Service) -> Service {
    Service::start_busy(service.database.clone(), service.clock.clone(), OFTEN).await
}

const BEFORE: &str = "2025-11-01T12:00:00Z";

/// Customers who spent various sums at various times, some of whom somebody set by hand.
async fn start_with_many(program: proto::Program, many: usize) -> Service {
    let service = Service::start_on(Database::create().await, Clock::fixed(BEFORE.parse().unwrap())).await;
    service.apply(program).await.unwrap();
    for number in 0..many {
        service.enrol(&format!("c{number:03}")).await;
    }
    for (step, now) in [BEFORE, "2025-12-20T12:00:00Z", START].into_iter().enumerate() {
        service.set_clock(now);
        for number in (0..many).filter(|number| (number * 7 + step) % 3 != 0) {
            let amount = format!("{}.00", (number * 83 + step * 149) % 400 + 1);
            let request = purchase(&format!("c{number:03}"), &format!("a{step}"), &amount, now.parse().unwrap());
            service.activities().record_activity(request).await.unwrap();
        }
    }
    for number in (0..many).filter(|number| number % 6 == 1) {
        let kind = if number % 4 == 1 { proto::TierOverrideKind::Floor } else { proto::TierOverrideKind::Lock };
        let set = proto::SetTierOverrideRequest {
            program_id: SHOP.to_owned(),
            customer_id: format!("c{number:03}"),
            tier_id: "silver".to_owned(),
            kind: kind.into(),
            reason: proto::CorrectionReason::Goodwill.into(),
            author: "Support".to_owned(),
            idempotency_key: "set".to_owned(),
            ..Default::default()
        };
        service.tiers().set_tier_override(set).await.unwrap();
    }
    service
}

async fn standings(service: &Service, many: usize) -> BTreeMap<String, (String, Option<prost_types::Timestamp>)> {
    let mut all = BTreeMap::new();
    for number in 0..many {
        let tier = service.tier(&format!("c{number:03}")).await;
        all.insert(tier.customer_id, (tier.tier_id, tier.valid_until));
    }
    all
}

/// Another policy than the shop's: thresholds of 150 and 600.
fn dearer(mut program: proto::Program) -> proto::Program {
    program.tiers[1].threshold = Some(usd("150.00"));
    program.tiers[2].threshold = Some(usd("600.00"));
    program
}

/// Packages for those who reach silver and gold.
fn boxes() -> Vec<proto::Package> {
    let reached = proto::PackageOccasion::TierReached;
    vec![package("silver-box", reached, &["silver"], 50), package("gold-box", reached, &["gold"], 100)]
}

#[tokio::test]
async fn a_reevaluation_does_what_the_simulation_told_customer_by_customer() {
    let many = 40;
    let policies = [
        (shop(), dearer(rolling_year())),
        (rolling_year(), dearer(calendar_years())),
        (calendar_years(), dearer(shop())),
    ];
    let mut boxes_given = 0;
    for (before, after) in policies {
        for downgrades in [proto::DowngradeTime::AtOnce, proto::DowngradeTime::AtOwnEnd] {
            let points = Some(proto::PointsPolicy { point_value: "0.01".to_owned(), ..Default::default() });
            let after = proto::Program { packages: boxes(), points, ..after.clone() };
            let service = start_with_many(before.clone(), many).await;
            service.apply(after.clone()).await.unwrap();
            let held = standings(&service, many).await;
            let request = proto::SimulateTierPolicyRequest {
                program_id: SHOP.to_owned(),
                policy: Some(Policy::Version(2)),
                downgrades: downgrades.into(),
                ..Default::default()
            };
            let (moves, simulation) = simulate(&service, request.clone()).await.unwrap();
            assert!(!moves.is_empty(), "{downgrades:?}: nobody moves");
            let mut document = request.clone();
            document.policy = Some(Policy::Program(after.clone()));
            assert_eq!(simulate(&service, document).await.unwrap(), (moves.clone(), simulation.clone()));

            let ordered = send(&service, order(2, downgrades, "k")).await.unwrap().reevaluation.unwrap();
            let worker = busy(&service).await;
            let ended = wait_for_end(&service, &ordered.reevaluation_id).await;
            let now = standings(&service, many).await;
            for (customer_id, (tier_id, valid_until)) in &now {
                let told = moves.get(customer_id);
                let expected = told.map_or(&held[customer_id].0, |told| &told.to_tier_id);
                assert_eq!(tier_id, expected, "{customer_id} {downgrades:?}");
                if let Some(told) = told {
                    assert_eq!((&told.from_tier_id, &told.valid_until), (&held[customer_id].0, valid_until));
                }
            }
            let moved = i64::try_from(moves.len()).unwrap();
            assert_eq!((ended.customers_done, ended.raised + ended.lowered), (i64::try_from(many).unwrap(), moved));
            assert_eq!((ended.left_out, ended.superseded), (0, false));
            // Another look finds nothing more to do.
            let (again, settled) = simulate(&service, request).await.unwrap();
            assert_eq!((again.len(), settled.ends, settled.packages.len()), (0, simulation.ends, 0));
            let mut given = Vec::new();
            for it in &simulation.packages {
                let select = format!("SELECT count(*) FROM packages_given WHERE package_id = '{}'", it.package_id);
                until("the packages", async || (count(&service.database, &select).await == it.customers).then_some(()))
                    .await;
                given.push((it.package_id.as_str(), it.customers));
                assert_eq!(it.points, if it.package_id == "silver-box" { 50 } else { 100 } * it.customers);
            }
            let all = given.iter().map(|(_, customers)| customers).sum::<i64>();
            assert_eq!(all, ended.raised, "{given:?}");
            boxes_given += all;
            assert_eq!(count(&service.database, "SELECT count(*) FROM packages_given").await, all);
            let worth = simulation.packages.iter().map(|it| it.points).sum::<i64>();
            assert_eq!(simulation.package_liability, Some(usd(&format!("{}.{:02}", worth / 100, worth % 100))));
            check_rules(&service.database).await.unwrap();
            drop(worker);
        }
    }
    assert!(boxes_given > 0);
}

#[tokio::test]
async fn each_customer_is_decided_once_by_two_services_of_which_one_is_cut_off() {
    let many = 600;
    let service = start_with_many(shop(), many).await;
    service.apply(dearer(rolling_year())).await.unwrap();
    let ordered = send(&service, order(2, proto::DowngradeTime::AtOnce, "k")).await.unwrap().reevaluation.unwrap();
    let (first, second) = (busy(&service).await, busy(&service).await);
    // It is cut off wherever it is.
    until("some customers to be done", async || {
        (count(&service.database, "SELECT count(*) FROM ledger_entries WHERE reason = 'reevaluation'").await > 1)
            .then_some(())
    })
    .await;
    drop(first);
    let ended = wait_for_end(&service, &ordered.reevaluation_id).await;
    assert_eq!(ended.customers_done, 600);
    let twice = "SELECT count(*) FROM (SELECT account_id FROM ledger_entries WHERE reason = 'reevaluation'
                     AND kind = 'tier_changed' GROUP BY account_id HAVING count(*) > 1) d";
    assert_eq!(count(&service.database, twice).await, 0);
    let written = "SELECT count(*) FROM ledger_entries WHERE reason = 'reevaluation' AND kind = 'tier_changed'";
    assert_eq!(count(&service.database, written).await, ended.raised + ended.lowered + ended.redecided);
    check_rules(&service.database).await.unwrap();
    drop(second);
}

#[tokio::test]
async fn what_a_reevaluation_writes_names_its_order_and_what_earned_the_tier() {
    let service = Service::start().await;
    service.apply_shop().await;
    service.enrol("anna").await;
    service.purchase("anna", "a", "150.00").await.unwrap();
    service.apply(dearer(shop())).await.unwrap();
    assert_eq!(service.tier("anna").await.tier_id, "member");
    let ordered = send(&service, order(2, proto::DowngradeTime::AtOnce, "k")).await.unwrap().reevaluation.unwrap();
    let _worker = busy(&service).await;
    let ended = wait_for_end(&service, &ordered.reevaluation_id).await;
    assert_eq!((ended.raised, ended.lowered, ended.redecided), (1, 0, 0));
    let tier = service.tier("anna").await;
    assert_eq!((tier.tier_id.as_str(), tier.policy_version), ("silver", 2));
    let entry = service.entries("anna").await.pop().unwrap();
    assert_eq!(entry.reason(), proto::EntryReason::Reevaluation);
    assert_eq!(entry.cause_entry_ids[1], ordered.reevaluation_id);
    let bought = service.entries("anna").await.into_iter().find(|it| it.entry_id == entry.cause_entry_ids[0]);
    assert_eq!(bought.unwrap().kind(), proto::EntryKind::ActivityAccepted);
    // A refund of what earned it takes it away as ever.
    super::windows::refund(&service, "r", "a", "150.00").await;
    assert_eq!(service.tier("anna").await.tier_id, "member");
}

#[tokio::test]
async fn an_order_ends_with_its_version_and_is_refused_where_it_makes_no_sense() {
    let service = start_with_many(shop(), 3).await;
    service.apply(dearer(shop())).await.unwrap();
    let at_once = proto::DowngradeTime::AtOnce;
    let old = send(&service, order(1, at_once, "old")).await;
    assert_refused(old.map(|_| ()), Code::FailedPrecondition, "PROGRAM_VERSION_NOT_IN_FORCE");
    let first = send(&service, order(2, at_once, "k")).await.unwrap();
    let again = send(&service, order(2, at_once, "k")).await.unwrap();
    assert_eq!((again.reevaluation, again.replayed), (first.reevaluation.clone(), true));
    let reused = send(&service, order(2, proto::DowngradeTime::AtOwnEnd, "k")).await;
    assert_refused(reused.map(|_| ()), Code::AlreadyExists, "IDEMPOTENCY_KEY_REUSED");
    let second = send(&service, order(2, at_once, "l")).await;
    assert_refused(second.map(|_| ()), Code::FailedPrecondition, "REEVALUATION_UNDER_WAY");
    let first = first.reevaluation.unwrap();
    assert_eq!((first.version, first.downgrades(), first.ended_at), (2, at_once, None));
    assert_eq!(first.ordered_at, Some(at(START)));

    service.apply(shop()).await.unwrap();
    // The one about the version before blocks none about this.
    let third = send(&service, order(3, at_once, "m")).await.unwrap().reevaluation.unwrap();
    let _worker = busy(&service).await;
    let ended = wait_for_end(&service, &third.reevaluation_id).await;
    assert_eq!((ended.superseded, ended.customers_done), (false, 3));
    let ended = wait_for_end(&service, &first.reevaluation_id).await;
    assert_eq!((ended.superseded, ended.raised + ended.lowered + ended.redecided), (true, 0));

    let status = send(&service, proto::ReevaluateTiersRequest::default()).await;
    assert_eq!(sorted_bad_fields(status), ["downgrades", "idempotency_key", "program_id", "version"]);
    let get = async |program_id: &str, id: &str| {
        let request =
            proto::GetTierReevaluationRequest { program_id: program_id.to_owned(), reevaluation_id: id.to_owned() };
        service.tiers().get_tier_reevaluation(request).await.map(|_| ())
    };
    assert_eq!(sorted_bad_fields(get("", "x").await), ["program_id", "reevaluation_id"]);
    assert_refused(get("none", &first.reevaluation_id).await, Code::NotFound, "PROGRAM_NOT_FOUND");
    let entry_id = service.entries("c001").await[0].entry_id.clone();
    assert_refused(get(SHOP, &entry_id).await, Code::NotFound, "REEVALUATION_NOT_FOUND");
    let none = proto::ReevaluateTiersRequest { program_id: "none".to_owned(), ..order(1, at_once, "k") };
    assert_refused(send(&service, none).await.map(|_| ()), Code::NotFound, "PROGRAM_NOT_FOUND");
}

#[tokio::test]
async fn a_customer_whose_rows_contradict_themselves_holds_up_no_other() {
    let service = start_with_many(shop(), 9).await;
    service.apply(dearer(rolling_year())).await.unwrap();
    let mut connection = service.database.connect(goldbook::embedded_postgres::SUPERUSER).await;
    let damage = "UPDATE standings SET tier_id = 'NO TIER' WHERE account_id =
                      (SELECT account_id FROM customers WHERE customer_id = 'c004')";
    sqlx::query(damage).execute(&mut connection).await.unwrap();
    let ordered = send(&service, order(2, proto::DowngradeTime::AtOnce, "k")).await.unwrap().reevaluation.unwrap();
    let _worker = busy(&service).await;
    let ended = wait_for_end(&service, &ordered.reevaluation_id).await;
    assert_eq!((ended.customers_done, ended.left_out), (9, 1));
}

#[tokio::test]
async fn publishing_moves_nobody() {
    let service = start_with_many(shop(), 9).await;
    let before = standings(&service, 9).await;
    let _worker = busy(&service).await;
    service.apply(dearer(rolling_year())).await.unwrap();
    stays("everybody holds their tier", async || standings(&service, 9).await == before).await;
    let request = proto::SimulateTierPolicyRequest {
        program_id: SHOP.to_owned(),
        policy: Some(Policy::Version(2)),
        downgrades: proto::DowngradeTime::AtOnce.into(),
        summary_only: true,
        ..Default::default()
    };
    let (_, simulation) = simulate(&service, request).await.unwrap();
    assert!(matrix(&simulation).iter().any(|(from, to, _)| from != to));
}

#[tokio::test]
async fn another_end_of_a_tier_leaves_what_it_rests_on() {
    let service = Service::start().await;
    service.apply(calendar_years()).await.unwrap();
    service.enrol("anna").await;
    super::windows::buy(&service, "a", "200.00", START).await;
    service.set_clock("2027-03-01T12:00:00Z");
    super::windows::buy(&service, "b", "500.00", "2027-03-01T12:00:00Z").await;
    let before = service.tier("anna").await;
    assert_eq!((before.tier_id.as_str(), before.valid_until), ("gold", Some(at("2029-01-01T05:00:00Z"))));
    // A longer grace moves the end of the time in which it can be saved, and nothing else.
    let mut patient = calendar_years();
    patient.tier_policy.as_mut().unwrap().grace = "P30D".to_owned();
    service.apply(patient).await.unwrap();
    let ordered = send(&service, order(2, proto::DowngradeTime::AtOwnEnd, "k")).await.unwrap().reevaluation.unwrap();
    let _worker = busy(&service).await;
    let ended = wait_for_end(&service, &ordered.reevaluation_id).await;
    assert_eq!((ended.redecided, ended.raised + ended.lowered), (1, 0));
    let after = service.tier("anna").await;
    assert_eq!(
        (&after.entry_id, &after.cause_entry_ids, after.earned),
        (&before.entry_id, &before.cause_entry_ids, before.earned)
    );
    // The refund of what earned gold leads back to the silver that was promised before.
    super::windows::refund(&service, "r", "b", "500.00").await;
    let tier = service.tier("anna").await;
    assert_eq!((tier.tier_id.as_str(), tier.valid_until), ("silver", Some(at("2028-01-01T05:00:00Z"))));
    check_rules(&service.database).await.unwrap();
}

#[tokio::test]
async fn an_order_that_cannot_be_carried_out_holds_up_no_other() {
    let service = start_with_many(shop(), 5).await;
    let mut brand = shop();
    brand.program_id = "brand".to_owned();
    service.apply(brand).await.unwrap();
    let first = send(&service, order(1, proto::DowngradeTime::AtOnce, "k")).await.unwrap().reevaluation.unwrap();
    let other =
        proto::ReevaluateTiersRequest { program_id: "brand".to_owned(), ..order(1, proto::DowngradeTime::AtOnce, "k") };
    let other = send(&service, other).await.unwrap().reevaluation.unwrap();
    // Somebody holds the account of the third customer.
    let held = Session::hold(&service.database, "c002").await;
    let worker = busy(&service).await;
    until("the other order to end", async || {
        let request = proto::GetTierReevaluationRequest {
            program_id: "brand".to_owned(),
            reevaluation_id: other.reevaluation_id.clone(),
        };
        let told = worker.tiers().get_tier_reevaluation(request).await.unwrap().into_inner().reevaluation.unwrap();
        told.ended_at
    })
    .await;
    until("those before the held one to be counted", async || {
        (progress(&service, &first.reevaluation_id).await.customers_done == 2).then_some(())
    })
    .await;
    assert_eq!(progress(&service, &first.reevaluation_id).await.ended_at, None);
    held.let_go().await;
    let ended = wait_for_end(&service, &first.reevaluation_id).await;
    assert_eq!((ended.customers_done, ended.left_out), (5, 0));
}

#[tokio::test]
async fn an_order_ends_midway_as_another_version_comes_into_force() {
    let service = start_with_many(shop(), 5).await;
    let first = send(&service, order(1, proto::DowngradeTime::AtOnce, "k")).await.unwrap().reevaluation.unwrap();
    // Somebody holds the account of the third customer, until there is another version.
    let held = Session::hold(&service.database, "c002").await;
    let _worker = busy(&service).await;
    until("those before the held one to be counted", async || {
        (progress(&service, &first.reevaluation_id).await.customers_done == 2).then_some(())
    })
    .await;
    service.apply(dearer(shop())).await.unwrap();
    held.let_go().await;
    let ended = wait_for_end(&service, &first.reevaluation_id).await;
    assert_eq!((ended.superseded, ended.customers_done, ended.left_out), (true, 2, 0));
    check_rules(&service.database).await.unwrap();
}

#[tokio::test]
async fn a_tier_that_the_version_lacks_is_lost_at_once_and_counted_among_the_lowered() {
    for downgrades in [proto::DowngradeTime::AtOnce, proto::DowngradeTime::AtOwnEnd] {
        let service = Service::start().await;
        service.apply_shop().await;
        service.enrol("anna").await;
        service.purchase("anna", "a", "200.00").await.unwrap();
        let mut fewer = shop();
        fewer.tiers.remove(1);
        service.apply(fewer).await.unwrap();
        let ordered = send(&service, order(2, downgrades, "k")).await.unwrap().reevaluation.unwrap();
        let _worker = busy(&service).await;
        let ended = wait_for_end(&service, &ordered.reevaluation_id).await;
        assert_eq!((ended.raised, ended.lowered), (0, 1));
        let (tier, changes) = (service.tier("anna").await, super::windows::changes(&service).await);
        assert_eq!((tier.tier_id.as_str(), changes.last().unwrap().1), ("member", proto::TierChangeKind::Redecided));
    }
}
