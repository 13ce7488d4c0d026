//! `LiabilityService`: what a program owes in points, from a summary that says how fresh it is.

mod damage;
mod writers;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use goldbook::proto;
use jiff::{SignedDuration, Timestamp};
use tonic::{Code, Status};

use crate::harness::{
    Background, Clock, Database, SHOP, START, Service, assert_refused, at, bad_fields, grant_reward, instant, shop, usd,
};
use crate::wait::until;

const OFTEN: Background = Background {
    apply_dues_every: None,
    sum_up_every: Some(Duration::from_millis(20)),
    erase_of_inactive_every: None,
    export_limit: None,
};

async fn start() -> Service {
    let clock = Clock::fixed(START.parse().unwrap());
    let service = Service::start_busy(Database::create().await, clock, OFTEN).await;
    let mut program = shop();
    program.points = Some(proto::PointsPolicy { point_value: "0.005".to_owned(), ..Default::default() });
    service.apply(program).await.unwrap();
    service
}

fn request() -> proto::GetLiabilityRequest {
    proto::GetLiabilityRequest { program_id: SHOP.to_owned(), as_of: None, revenue: None }
}

async fn liability(
    service: &Service,
    request: proto::GetLiabilityRequest,
) -> Result<proto::GetLiabilityResponse, Status> {
    let client = proto::liability_service_client::LiabilityServiceClient::new(service.channel.clone());
    Ok({ client }.get_liability(request).await?.into_inner())
}

/// Moves the clock on and waits for a summary of then.
async fn summed_up_at(service: &Service, now: &str) -> proto::Liability {
    service.set_clock(now);
    let expected = Some(at(now));
    until("a summary", async || {
        let found = liability(service, request()).await.ok().and_then(|response| response.liability);
        found.filter(|found| found.as_of == expected)
    })
    .await
}

fn expiring(points: i64, key: &str, customer: &str, period: &str) -> proto::GrantRewardRequest {
    let mut grant = grant_reward(customer, points, key);
    let after = proto::expiry_rule::After { period: period.to_owned(), ..Default::default() };
    grant.expiry = Some(proto::ExpiryRule { rule: Some(proto::expiry_rule::Rule::After(after)) });
    grant
}

/// The sum of what the balances of customers say at an instant.
async fn sum_of_balances(service: &Service, customers: &[&str], as_of: prost_types::Timestamp) -> [i64; 8] {
    let mut sums = [0; 8];
    for customer in customers {
        let request = proto::GetBalanceRequest {
            program_id: SHOP.to_owned(),
            customer_id: (*customer).to_owned(),
            as_of: Some(as_of),
        };
        let Ok(found) = service.rewards().get_balance(request).await else { continue };
        let b = found.into_inner().balance.unwrap();
        let counts = [b.issued, b.owed, b.pending, b.available, b.held, b.redeemed, b.expired, b.cancelled];
        for (sum, count) in sums.iter_mut().zip(counts) {
            *sum += count;
        }
    }
    sums
}

fn sums_of(l: &proto::Liability) -> [i64; 8] {
    [l.issued, l.owed, l.pending, l.available, l.held, l.redeemed, l.expired, l.cancelled]
}

#[tokio::test]
async fn get_liability_ties_to_the_balances_of_all_customers_what_is_due_included() {
    let service = start().await;
    for customer in ["anna", "ben"] {
        service.enrol(customer).await;
        for (points, key, period) in [(10, "a", "P10D"), (20, "b", "P60D"), (40, "c", "P200D"), (80, "d", "P2Y")] {
            service.rewards().grant_reward(expiring(points, key, customer, period)).await.unwrap();
        }
    }
    service.grant("anna", 5, "for ever").await.unwrap();
    let first = summed_up_at(&service, "2026-01-15T13:00:00Z").await;
    assert_eq!(sums_of(&first), sum_of_balances(&service, &["anna", "ben"], first.as_of.unwrap()).await);
    assert_eq!((first.outstanding, first.available), (305, 305));
    let soon: Vec<(i32, i64)> = first.expiring.iter().map(|soon| (soon.within_days, soon.points)).collect();
    assert_eq!(soon, [(30, 20), (90, 60), (365, 140)]);
    // Half a cent each, half to even.
    assert_eq!(first.outstanding_value, Some(usd("1.52")));
    assert_eq!(first.expiring[1].value, Some(usd("0.30")));

    // Nobody touches the accounts: what expired by then is in it all the same.
    let later = summed_up_at(&service, "2026-02-15T13:00:00Z").await;
    assert_eq!((later.expired, later.outstanding), (20, 285));
    assert_eq!(sums_of(&later), sum_of_balances(&service, &["anna", "ben"], later.as_of.unwrap()).await);
    // The past stays as it was told.
    let as_of = Some(at("2026-01-15T13:30:00Z"));
    let past = liability(&service, proto::GetLiabilityRequest { as_of, ..request() }).await.unwrap();
    assert_eq!(past.liability, Some(first));
}

#[tokio::test]
async fn get_liability_is_exact_at_its_instant_while_writes_go_on() {
    let database = Database::create().await;
    let service = Service::start_busy(database.clone(), Clock::database(), OFTEN).await;
    let quiet = Service::start_on(database, Clock::database()).await;
    service.apply_shop().await;
    let customers = ["anna", "ben", "cleo"];
    let is_done = Arc::new(AtomicBool::new(false));
    let writers = customers.map(|customer| {
        let (mut rewards, mut customers, is_done) = (quiet.rewards(), quiet.customers(), is_done.clone());
        tokio::spawn(async move {
            customers.create_customer(crate::harness::create_customer(customer, "enrol")).await.unwrap();
            for i in 0.. {
                rewards.grant_reward(grant_reward(customer, 1, &format!("grant-{i}"))).await.unwrap();
                if is_done.load(SeqCst) {
                    break;
                }
            }
        })
    });
    let mut seen: Vec<proto::Liability> = Vec::new();
    until("four summaries", async || {
        let found = liability(&service, request()).await.ok()?.liability?;
        if seen.last() != Some(&found) {
            seen.push(found);
        }
        (seen.len() >= 4).then_some(())
    })
    .await;
    is_done.store(true, SeqCst);
    for writer in writers {
        writer.await.unwrap();
    }
    for summary in seen {
        assert_eq!(sums_of(&summary), sum_of_balances(&service, &customers, summary.as_of.unwrap()).await);
    }
}

#[tokio::test]
async fn get_liability_answers_revenue_by_the_points_redeemed() {
    let service = start().await;
    service.enrol("anna").await;
    service.grant("anna", 10_000, "points").await.unwrap();
    let redeem = proto::RedeemPointsRequest {
        program_id: SHOP.to_owned(),
        customer_id: "anna".to_owned(),
        points: 4_500,
        note: String::new(),
        idempotency_key: "spend".to_owned(),
    };
    service.rewards().redeem_points(redeem).await.unwrap();
    summed_up_at(&service, "2026-01-15T13:00:00Z").await;
    // The figures of the standard's own example.
    let question = proto::RevenueQuestion {
        allocated: Some(usd("9174.00")),
        expected_redeemed: 9_500,
        recognized_before: Some(usd("5000.00")),
    };
    let asked = proto::GetLiabilityRequest { revenue: Some(question.clone()), ..request() };
    let revenue = liability(&service, asked).await.unwrap().revenue.unwrap();
    assert_eq!(revenue.cumulative, Some(usd("4345.58")));
    let period = revenue.period.unwrap();
    assert_eq!((period.units, period.nanos), (-654, -420_000_000));
    let foreign = proto::RevenueQuestion {
        allocated: Some(proto::google::Money { currency_code: "EUR".to_owned(), units: 1, nanos: 0 }),
        ..question
    };
    let asked = proto::GetLiabilityRequest { revenue: Some(foreign), ..request() };
    assert_refused(liability(&service, asked).await, Code::FailedPrecondition, "CURRENCY_MISMATCH");
    let bad = proto::RevenueQuestion { allocated: None, expected_redeemed: 0, recognized_before: None };
    let asked = proto::GetLiabilityRequest { revenue: Some(bad), ..request() };
    let mut fields = bad_fields(&liability(&service, asked).await.unwrap_err());
    fields.sort();
    assert_eq!(fields, ["revenue.allocated", "revenue.expected_redeemed"]);
}

#[tokio::test]
async fn get_liability_keeps_the_last_summary_of_each_day_for_ever() {
    let service = start().await;
    // In New York, where the shop is: two on the 15th, one on the 16th; then some days later.
    for now in ["2026-01-15T13:00:00Z", "2026-01-16T04:00:00Z", "2026-01-16T06:00:00Z", "2026-01-25T00:00:00Z"] {
        summed_up_at(&service, now).await;
    }
    let found_at = async |as_of: &str| {
        let asked = proto::GetLiabilityRequest { as_of: Some(at(as_of)), ..request() };
        liability(&service, asked).await.map(|response| response.liability.unwrap().as_of.unwrap())
    };
    assert_eq!(found_at("2026-01-16T05:00:00Z").await.unwrap(), at("2026-01-16T04:00:00Z"));
    assert_eq!(found_at("2026-01-20T00:00:00Z").await.unwrap(), at("2026-01-16T06:00:00Z"));
    // What was superseded is removed a moment after the new one is there.
    until("the end of the superseded one", async || found_at("2026-01-15T20:00:00Z").await.err()).await;
    assert_refused(found_at("2026-01-15T20:00:00Z").await, Code::FailedPrecondition, "LIABILITY_UNKNOWN");
    let ahead: Timestamp = service.clock.now() + SignedDuration::from_secs(1);
    let asked = proto::GetLiabilityRequest { as_of: Some(instant(ahead)), ..request() };
    assert_refused(liability(&service, asked).await, Code::OutOfRange, "INSTANT_IN_FUTURE");
    let unknown = proto::GetLiabilityRequest { program_id: "nobody".to_owned(), ..request() };
    assert_refused(liability(&service, unknown).await, Code::NotFound, "PROGRAM_NOT_FOUND");
}

#[tokio::test]
async fn get_liability_answers_sums_beyond_what_a_number_holds_with_the_largest() {
    let service = start().await;
    for customer in ["anna", "ben"] {
        service.enrol(customer).await;
        service.fill_up(customer, i64::MAX).await;
    }
    let summary = summed_up_at(&service, "2026-01-15T13:00:00Z").await;
    assert_eq!((summary.issued, summary.redeemed, summary.outstanding), (i64::MAX, i64::MAX, 0));
}
