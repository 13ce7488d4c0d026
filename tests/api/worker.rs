//! Time does its part on accounts that nobody touches, and nobody can tell when.

use std::time::Duration;

use goldbook::cli::statement_line::describe;
use goldbook::embedded_postgres::SUPERUSER;
use goldbook::proto;

use crate::harness::{Background, Clock, Database, SHOP, START, Service, grant_reward};
use crate::wait::until;

const OFTEN: Background = Background {
    apply_dues_every: Some(Duration::from_millis(20)),
    sum_up_every: None,
    erase_of_inactive_every: None,
    export_limit: None,
};
const PEOPLE: [&str; 3] = ["anna", "ben", "cleo"];

/// Grants and holds whose dues fall in the next weeks, some of them at one instant.
async fn plant(service: &Service) {
    service.apply_shop().await;
    for person in PEOPLE {
        service.enrol(person).await;
        for (key, vests, expires) in [("a", "P3D", "P10D"), ("b", "P3D", "P10D"), ("c", "P20D", "P1D")] {
            let mut grant = grant_reward(person, 40, key);
            grant.vesting = Some(proto::VestingRule { rule: Some(proto::vesting_rule::Rule::After(vests.to_owned())) });
            let after = proto::expiry_rule::After { period: expires.to_owned(), ..Default::default() };
            grant.expiry = Some(proto::ExpiryRule { rule: Some(proto::expiry_rule::Rule::After(after)) });
            service.rewards().grant_reward(grant).await.unwrap();
        }
        let mut missed = grant_reward(person, 11, "d");
        let rule = proto::vesting_rule::Rule::OnEventWithin("P5D".to_owned());
        missed.vesting = Some(proto::VestingRule { rule: Some(rule) });
        service.rewards().grant_reward(missed).await.unwrap();
        service.grant(person, 25, "e").await.unwrap();
        let hold = proto::HoldPointsRequest {
            program_id: SHOP.to_owned(),
            customer_id: person.to_owned(),
            points: 20,
            end: Some(proto::hold_points_request::End::EndsAfter("P3D".to_owned())),
            note: String::new(),
            idempotency_key: "hold".to_owned(),
        };
        service.rewards().hold_points(hold).await.unwrap();
    }
}

/// Waits until nothing is due any more.
async fn wait_until_nothing_is_due(service: &Service) {
    let mut connection = service.database.connect(SUPERUSER).await;
    until("nothing to be due", async || {
        let now = jiff_sqlx::ToSqlx::to_sqlx(service.clock.now());
        let due: i64 = sqlx::query_scalar("SELECT count(*) FROM accounts WHERE next_due_at <= $1")
            .bind(now)
            .fetch_one(&mut connection)
            .await
            .unwrap();
        (due == 0).then_some(())
    })
    .await;
}

/// What all can see: balances, lots and the whole history, but for what may differ.
async fn picture(service: &Service) -> Vec<String> {
    let mut seen = Vec::new();
    for person in PEOPLE {
        let balance = proto::Balance { as_of: None, ..service.balance(person).await };
        seen.push(format!("{balance:?}"));
        let request = proto::GetStatementRequest {
            program_id: SHOP.to_owned(),
            customer_id: person.to_owned(),
            page_size: 1_000,
            ..Default::default()
        };
        let statement = service.ledger().get_statement(request).await.unwrap().into_inner();
        for line in statement.lines {
            let account_less = |id: &str| id.split('.').next_back().unwrap_or_default().to_owned();
            let causes: Vec<String> = line.cause_entry_ids.iter().map(|id| account_less(id)).collect();
            let lots: Vec<_> = line.lots.iter().map(|part| (account_less(&part.lot_id), part.points)).collect();
            seen.push(format!(
                "{person} {:?} {} {:?} {:?} {causes:?} {lots:?}",
                line.kind(),
                describe(&line),
                line.r#move,
                line.effective_at
            ));
        }
    }
    seen
}

#[tokio::test]
async fn nobody_can_tell_whether_where_or_when_the_worker_ran() {
    const END: &str = "2026-02-20T00:00:00Z";
    let mut pictures = Vec::new();
    for (replicas, stops) in [(0, &[][..]), (1, &[7, 14, 30][..]), (1, &[30][..]), (3, &[1, 2, 3, 8, 30][..])] {
        let database = Database::create().await;
        let clock = Clock::fixed(START.parse().unwrap());
        let service = Service::start_on(database.clone(), clock.clone()).await;
        plant(&service).await;
        let mut workers = Vec::new();
        for _ in 0..replicas {
            workers.push(Service::start_busy(database.clone(), clock.clone(), OFTEN).await);
        }
        for days in stops {
            let start: jiff::Timestamp = START.parse().unwrap();
            clock.set(start + jiff::SignedDuration::from_hours(24 * days));
            wait_until_nothing_is_due(&service).await;
        }
        service.set_clock(END);
        if replicas > 0 {
            wait_until_nothing_is_due(&service).await;
        }
        pictures.push(picture(&service).await);
        for worker in workers {
            worker.stop().await;
        }
    }
    assert!(pictures[0].len() > 30, "{:?}", pictures[0]);
    for other in &pictures[1..] {
        assert_eq!(*other, pictures[0]);
    }
}

#[tokio::test]
async fn the_worker_racing_requests_spends_nothing_twice() {
    let database = Database::create().await;
    let clock = Clock::fixed(START.parse().unwrap());
    let service = Service::start_busy(database.clone(), clock.clone(), OFTEN).await;
    let other = Service::start_busy(database, clock.clone(), OFTEN).await;
    plant(&service).await;
    let start: jiff::Timestamp = START.parse().unwrap();
    for day in 1..=30 {
        clock.set(start + jiff::SignedDuration::from_hours(24 * day));
        let redeem = |service: &Service, key: String| {
            let mut rewards = service.rewards();
            let request = proto::RedeemPointsRequest {
                program_id: SHOP.to_owned(),
                customer_id: "anna".to_owned(),
                points: 3,
                note: String::new(),
                idempotency_key: key,
            };
            async move { rewards.redeem_points(request).await }
        };
        let (one, two) = tokio::join!(redeem(&service, format!("{day}-1")), redeem(&other, format!("{day}-2")));
        for outcome in [one, two] {
            if let Err(status) = outcome {
                assert_eq!(crate::harness::reason(&status), "INSUFFICIENT_POINTS");
            }
        }
    }
    wait_until_nothing_is_due(&service).await;
    let balance = service.balance("anna").await;
    assert_eq!(balance.issued, 40 * 3 + 11 + 25);
    let went = balance.redeemed + balance.expired + balance.cancelled;
    assert_eq!(balance.issued, balance.available + balance.pending + balance.held + went);
    assert_eq!(balance.pending + balance.held, 0);
}
