//! A new version between commands of one batch: they are decided by a version of which all was read.

use goldbook::proto;

use crate::audit::assert_clean;
use crate::harness::{Clock, Database, START, Service, purchase, shop};
use crate::proxy::Proxy;
use crate::wait::within;

/// The shop, whose points may be capped and slide, or neither.
fn shop_with(is_capped_and_slides: bool) -> proto::Program {
    let mut program = shop();
    if is_capped_and_slides {
        let cap = proto::PeriodCap { period: proto::CalendarPeriod::Month.into(), points: 100 };
        let earning = proto::EarningLimits { per_period: vec![cap], ..Default::default() };
        let sliding = proto::expiry_rule::Rule::Sliding("P1Y".to_owned());
        program.points = Some(proto::PointsPolicy {
            earning: Some(earning),
            expiry: Some(proto::ExpiryRule { rule: Some(sliding) }),
            ..Default::default()
        });
    }
    program
}

#[tokio::test]
async fn a_new_version_in_a_batch_overwrites_nothing_that_the_one_before_did_not_need() {
    let database = Database::create().await;
    let proxy = Proxy::before(&database);
    let clock = Clock::fixed(START.parse().unwrap());
    let service = Service::start_with(database.clone(), proxy.options(), clock).await;
    let customers: Vec<String> = (0..8).map(|number| format!("customer-{number}")).collect();
    service.apply(shop_with(true)).await.unwrap();
    for customer in &customers {
        service.purchase(customer, "earned", "80.00").await.unwrap();
    }
    service.apply(shop_with(false)).await.unwrap();

    // Both lanes are held, so that all that follows meets in the next batch of each.
    proxy.hold_commits();
    let mut calls = Vec::new();
    let mut buy = |customer: &str, id: &str| {
        let (mut activities, request) = (service.activities(), purchase(customer, id, "50.00", service.clock.now()));
        calls.push(tokio::spawn(async move { activities.record_activity(request).await.map(drop) }));
    };
    for customer in &customers {
        buy(customer, "held");
    }
    proxy.holds(2).await;
    let mut programs = service.programs();
    let request =
        proto::ApplyProgramRequest { program: Some(shop_with(true)), expected_version: Some(2), ..Default::default() };
    let applying = tokio::spawn(async move { programs.apply_program(request).await.map(drop) });
    // A read on the same connection comes after it.
    service.available("customer-0").await;
    for customer in &customers {
        buy(customer, "after");
    }
    service.available("customer-0").await;
    proxy.release_commits();
    within("the new version", applying).await.unwrap().unwrap();
    for call in calls {
        within("the purchase", call).await.unwrap().unwrap();
    }
    // What was earned under the first version counts, and what slides goes on doing so.
    assert_clean(&database).await;
}
