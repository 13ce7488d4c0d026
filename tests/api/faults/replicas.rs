//! Several services on one database, and what Postgres does to those who collide.

use std::time::Duration;

use goldbook::proto;
use sqlx::AssertSqlSafe;
use tonic::Code;
use tonic_types::StatusExt as _;

use super::{count, sabotage};
use crate::harness::{Clock, SHOP, START, Service, purchase, shop};
use crate::wait::within;

#[tokio::test]
async fn crossing_conversions_on_two_services_lose_nothing_and_pay_each_side_once() {
    const RING: usize = 30;
    const PURCHASES: usize = 3;
    let first = Service::start().await;
    first.apply_shop().await;
    let second = Service::start_on(first.database.clone(), Clock::fixed(START.parse().unwrap())).await;
    let name = |place: usize| format!("c{:02}", place % RING);
    // Everyone was brought by the one before, so that each conversion locks two who convert themselves.
    let mut codes = Vec::new();
    for place in 0..RING {
        codes.push(first.share_code(&name(place), "friends").await);
    }
    for (place, code) in codes.iter().enumerate() {
        first.refer(&name(place + 1), code).await;
    }
    let mut calls = tokio::task::JoinSet::new();
    for number in 0..PURCHASES {
        for place in 0..RING {
            // The same purchase reaches both.
            for service in [&first, &second] {
                let mut activities = service.activities();
                let request = purchase(&name(place), &format!("order-{number}"), "50.00", service.clock.now());
                calls.spawn(async move { activities.record_activity(request).await.map(tonic::Response::into_inner) });
            }
        }
    }
    let answers = within("every call", calls.join_all()).await;
    let answers: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
    assert_eq!(answers.iter().filter(|answer| !answer.replayed).count(), RING * PURCHASES);
    assert_eq!(answers.iter().filter(|answer| answer.referral_converted && !answer.replayed).count(), RING);
    for place in 0..RING {
        // What was spent, what the one before brought, and what bringing the next one brought.
        assert_eq!(second.available(&name(place)).await, 150 + 250 + 500, "{}", name(place));
    }
    for (condition, expected) in [
        ("activities", RING * PURCHASES),
        ("ledger_entries WHERE reason = 'referral_referrer'", RING),
        ("ledger_entries WHERE reason = 'referral_referee'", RING),
        ("referrals WHERE state = 'converted'", RING),
        ("referrals WHERE state <> 'converted'", 0),
        ("(SELECT account_id FROM ledger_entries GROUP BY 1 HAVING max(account_seq) <> count(*)) AS gap", 0),
        ("accounts a WHERE head <> (SELECT count(*) FROM ledger_entries e WHERE e.account_id = a.account_id)", 0),
        (
            "accounts a WHERE kind = 'customer' AND available <> (SELECT sum(points) FROM ledger_entries e WHERE \
             e.account_id = a.account_id)",
            0,
        ),
    ] {
        assert_eq!(count(&first.database, condition).await, i64::try_from(expected).unwrap(), "{condition}");
    }
}

#[tokio::test]
async fn one_customer_is_enrolled_once_when_two_services_are_asked_at_the_same_time() {
    let first = Service::start().await;
    first.apply_shop().await;
    let second = Service::start_on(first.database.clone(), first.clock.clone()).await;
    let mut calls = tokio::task::JoinSet::new();
    for number in 0..20 {
        for service in [&first, &second] {
            let mut activities = service.activities();
            let request =
                purchase(&format!("c{}", number % 5), &format!("order-{number}"), "1.00", service.clock.now());
            calls.spawn(async move { activities.record_activity(request).await.map(tonic::Response::into_inner) });
        }
    }
    let answers = within("every call", calls.join_all()).await;
    assert_eq!(answers.into_iter().filter(|answer| !answer.as_ref().unwrap().replayed).count(), 20);
    assert_eq!(count(&first.database, "customers").await, 5);
    assert_eq!(count(&first.database, "names WHERE space = 'customer'").await, 5);
    assert_eq!(count(&first.database, "ledger_entries WHERE kind = 'customer_enrolled'").await, 5);
    for number in 0..5 {
        assert_eq!(second.available(&format!("c{number}")).await, 4);
    }
}

/// A key that another service uses between what a batch sees without locks and its locks is found all the same.
#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "the second begins in the middle of the first; no condition tells that")]
async fn a_key_that_another_service_uses_while_a_batch_looks_is_found() {
    let first = Service::start().await;
    first.apply_shop().await;
    first.enrol("anna").await;
    let second = Service::start_on(first.database.clone(), first.clock.clone()).await;
    // Each name takes a fifth of a second to find, in a statement that began before, and locks behind it.
    let slow = "ALTER TABLE names ENABLE ROW LEVEL SECURITY;
                CREATE POLICY slow ON names USING (pg_sleep(0.2) IS NOT NULL)";
    sabotage(&first.database, slow).await;
    let purchase = || purchase("anna", "order-1", "50.00", first.clock.now());
    let (mut early, mut late) = (first.activities(), second.activities());
    let late_call = async {
        // By now the other one looks, and ends before this one does.
        tokio::time::sleep(Duration::from_millis(150)).await;
        late.record_activity(purchase()).await
    };
    let (early, late) = within("both", async { tokio::join!(early.record_activity(purchase()), late_call) }).await;
    let (early, late) = (early.unwrap().into_inner(), late.unwrap().into_inner());
    assert_ne!(early.replayed, late.replayed);
    assert_eq!(early.entry_ids, late.entry_ids);
}

/// A batch that locks a referrer after it has looked at its program has no older version than the referrer's last entry.
#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "the program changes in the middle of a batch; no condition tells that")]
async fn an_account_that_is_locked_late_gets_no_entry_by_an_older_version() {
    let first = Service::start().await;
    first.apply_shop().await;
    let code = first.share_code("anna", "friends").await;
    first.refer("ben", &code).await;
    let second = Service::start_on(first.database.clone(), first.clock.clone()).await;
    // Each look for who brought somebody takes half a second, in a statement that began before, and locks behind it. The
    // view looks as the owner of the table, whom only force holds to its policies.
    let slow = "ALTER TABLE referrals ENABLE ROW LEVEL SECURITY;
                ALTER TABLE referrals FORCE ROW LEVEL SECURITY;
                CREATE POLICY slow ON referrals USING (pg_sleep(0.5) IS NOT NULL)";
    sabotage(&first.database, slow).await;
    let change = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        second.apply(proto::Program { display_name: "The same, anew".to_owned(), ..shop() }).await.unwrap();
        second.grant("anna", 10, "k").await.unwrap();
    };
    let bought = first.purchase("ben", "order-1", "50.00");
    let (bought, ()) = within("both", async { tokio::join!(bought, change) }).await;
    assert!(bought.unwrap().referral_converted);
    let versions: Vec<i32> = first.entries("anna").await.iter().map(|entry| entry.policy_version).collect();
    assert!(versions.is_sorted() && versions.contains(&1) && versions.contains(&2), "{versions:?}");
}

/// Makes the ledger's next inserts fail with this code. What a sequence has given stays given when the batch is
/// rolled back.
pub(crate) async fn fail_inserts(service: &Service, code: &str, times: u32) {
    let statements = format!(
        "CREATE SEQUENCE attempts;
         CREATE FUNCTION fail_attempt() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
         BEGIN
             IF nextval('attempts') <= {times} THEN
                 RAISE EXCEPTION 'another transaction was in the way' USING ERRCODE = '{code}';
             END IF;
             RETURN NULL;
         END $$;
         CREATE TRIGGER fail_attempt AFTER INSERT ON ledger_entries FOR EACH STATEMENT EXECUTE FUNCTION fail_attempt()"
    );
    sabotage(&service.database, &statements).await;
}

async fn attempts(service: &Service) -> i64 {
    let mut connection = service.database.connect(goldbook::embedded_postgres::SUPERUSER).await;
    sqlx::query_scalar(AssertSqlSafe("SELECT last_value FROM attempts")).fetch_one(&mut connection).await.unwrap()
}

#[tokio::test]
async fn a_batch_that_loses_a_deadlock_or_cannot_be_serialized_is_tried_again() {
    for code in ["40P01", "40001"] {
        let service = Service::start().await;
        service.apply_shop().await;
        let code_of_anna = service.share_code("anna", "friends").await;
        service.refer("ben", &code_of_anna).await;
        fail_inserts(&service, code, 3).await;
        let recorded = service.purchase("ben", "order-1", "250.00").await.unwrap();
        assert!(recorded.referral_converted && !recorded.replayed, "{code}");
        assert_eq!(attempts(&service).await, 4, "{code}");
        assert_eq!((service.available("ben").await, service.available("anna").await), (500, 500), "{code}");
    }
}

#[tokio::test]
async fn a_batch_that_collides_for_ever_is_given_up_without_a_trace_in_the_book() {
    let service = Service::start().await;
    service.apply_shop().await;
    service.enrol("anna").await;
    fail_inserts(&service, "40P01", 1_000_000).await;
    let status = within("an answer", service.grant("anna", 1, "gift")).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert!(status.get_details_retry_info().is_some(), "{status:?}");
    assert!(attempts(&service).await > 2);
    assert_eq!(service.available("anna").await, 0);
    sabotage(&service.database, "DROP TRIGGER fail_attempt ON ledger_entries").await;
    assert!(!service.grant("anna", 1, "gift").await.unwrap().replayed);
    let request = proto::ListRewardsRequest {
        program_id: SHOP.to_owned(),
        customer_id: "anna".to_owned(),
        ..proto::ListRewardsRequest::default()
    };
    assert_eq!(service.rewards().list_rewards(request).await.unwrap().into_inner().rewards.len(), 1);
}
