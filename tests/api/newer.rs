//! Rows that a newer version wrote fail the commands and reads of their own account or program at most, and no others.

mod entries;
mod schema;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use goldbook::clock::Clock;
use goldbook::database::{BatchReader, Fetch, connect_for_lookups};
use goldbook::embedded_postgres::{SERVICE_ROLE, SUPERUSER};
use goldbook::error::{Defect, Error};
use goldbook::proto;
use sqlx::AssertSqlSafe;
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::audit::audit;
use crate::binary::{run, url};
use crate::harness::{Background, Database, SHOP, START, Service, grant_reward, reason, shop};
use crate::wait::until;

async fn change(database: &Database, statements: &str) {
    let mut connection = database.connect(SUPERUSER).await;
    sqlx::raw_sql(AssertSqlSafe(statements.to_owned())).execute(&mut connection).await.unwrap();
}

/// The condition that a row is of a customer's account.
fn of(customer_id: &str) -> String {
    let name = format!("space = 'customer' AND name = '{customer_id}'");
    format!("account_id = (SELECT account_id FROM names WHERE {name})")
}

/// As a newer version would write it that knows accounts of households.
async fn make_household(database: &Database, customer_id: &str) {
    let of = of(customer_id);
    change(
        database,
        &format!(
            "ALTER TABLE accounts DROP CONSTRAINT IF EXISTS accounts_kind_known;
             UPDATE accounts SET kind = 'household' WHERE {of}"
        ),
    )
    .await;
}

async fn start() -> Service {
    let service = Service::start().await;
    service.apply_shop().await;
    service
}

/// Asserts that a caller is told to try again, where a newer version may be.
#[track_caller]
fn assert_newer<T: std::fmt::Debug>(outcome: Result<T, tonic::Status>) {
    let status = outcome.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::Unavailable, "WRITTEN_BY_NEWER_VERSION"));
    assert!(status.get_details_retry_info().is_some(), "{status:?}");
}

#[tokio::test]
async fn an_account_of_an_unknown_kind_fails_its_own_commands_alone() {
    let service = start().await;
    let code = service.share_code("rita", "friends").await;
    service.refer("ben", &code).await;
    let others: Vec<String> = (0..10).map(|number| format!("c-{number}")).collect();
    for other in &others {
        service.enrol(other).await;
    }
    make_household(&service.database, "rita").await;
    let grants = join_all(others.iter().map(|other| service.grant(other, 1, "gift")));
    let (own, grants) = tokio::join!(service.grant("rita", 1, "gift"), grants);
    assert_newer(own);
    assert!(grants.into_iter().all(|granted| !granted.unwrap().replayed));
    // Who was brought by that account needs it for the conversion alone.
    assert!(!service.purchase("ben", "small", "5.00").await.unwrap().referral_converted);
    assert_newer(service.purchase("ben", "large", "50.00").await);
    assert!(!service.purchase("ben", "small again", "5.00").await.unwrap().referral_converted);
}

#[tokio::test]
async fn rows_of_a_referrer_that_mean_nothing_fail_the_conversion_alone() {
    let service = start().await;
    let first = service.share_code("zoe", "friends").await;
    service.refer("rita", &first).await;
    let request = proto::CreateReferralCodeRequest {
        program_id: SHOP.to_owned(),
        customer_id: "rita".to_owned(),
        campaign_id: "friends".to_owned(),
    };
    let code = service.referrals().create_referral_code(request).await.unwrap().into_inner().referral_code.unwrap();
    service.refer("ben", &code.code).await;
    let of = of("rita");
    change(
        &service.database,
        &format!(
            "ALTER TABLE referrals DROP CONSTRAINT referrals_state_known, DROP CONSTRAINT referrals_end_whole;
             UPDATE referrals SET state = 'paused' WHERE {of}"
        ),
    )
    .await;
    assert_newer(service.purchase("rita", "own", "5.00").await);
    assert!(!service.purchase("ben", "small", "5.00").await.unwrap().referral_converted);
    assert_newer(service.purchase("ben", "large", "50.00").await);
}

#[tokio::test]
async fn codes_of_a_referrer_that_mean_nothing_fail_no_reads_of_who_was_brought() {
    let service = start().await;
    let code = service.share_code("rita", "partners").await;
    service.refer("ben", &code).await;
    let of = of("rita");
    change(&service.database, &format!("UPDATE referral_codes SET campaign_id = 'a newer campaign!' WHERE {of}")).await;
    let referral = service.referral("ben").await;
    assert_eq!((referral.referrer_customer_id.as_str(), referral.code.as_str()), ("rita", ""));
    let converted = service.convert("ben").await.unwrap().referral.unwrap();
    assert_eq!((converted.referrer_customer_id.as_str(), converted.code.as_str()), ("rita", ""));
}

#[tokio::test]
async fn a_program_of_a_newer_document_fails_its_own_commands_alone() {
    let service = start().await;
    service.apply(proto::Program { program_id: "newer".to_owned(), ..shop() }).await.unwrap();
    let document =
        "UPDATE program_versions SET document = document || '{\"households\": 1}' WHERE program_id = 'newer'";
    change(&service.database, document).await;
    // The version was remembered when it was applied, if at all.
    let service = service.restart().await;
    let create = |program_id: &str, number: usize| proto::CreateCustomerRequest {
        program_id: program_id.to_owned(),
        ..crate::harness::create_customer(&format!("c-{number}"), "enrol")
    };
    let calls = (0..20).map(|number| {
        let program_id = if number % 2 == 0 { SHOP } else { "newer" };
        let mut customers = service.customers();
        async move { (program_id, customers.create_customer(create(program_id, number)).await) }
    });
    for (program_id, outcome) in join_all(calls).await {
        if program_id == SHOP {
            assert!(!outcome.unwrap().into_inner().replayed);
        } else {
            assert_newer(outcome);
        }
    }
}

#[tokio::test]
async fn dues_of_an_account_of_an_unknown_kind_hold_up_no_others() {
    let database = Database::create().await;
    let clock = Clock::fixed(START.parse().unwrap());
    let often = Background {
        apply_dues_every: Some(Duration::from_millis(10)),
        sum_up_every: None,
        erase_of_inactive_every: None,
        export_limit: None,
    };
    let service = Service::start_busy(database.clone(), clock.clone(), often).await;
    service.apply_shop().await;
    for customer_id in ["anna", "ben"] {
        service.enrol(customer_id).await;
        let after = proto::expiry_rule::After { period: "P1D".to_owned(), ..Default::default() };
        let expiry = Some(proto::ExpiryRule { rule: Some(proto::expiry_rule::Rule::After(after)) });
        let grant = proto::GrantRewardRequest { expiry, ..grant_reward(customer_id, 1, "gift") };
        service.rewards().grant_reward(grant).await.unwrap();
    }
    make_household(&database, "anna").await;
    change(&database, "UPDATE accounts SET next_due_at = next_due_at - interval '1 hour' WHERE kind = 'household'")
        .await;
    service.set_clock("2026-01-18T12:00:00Z");
    let mut connection = database.connect(SUPERUSER).await;
    until("the other customer's due", async || {
        let done = format!("SELECT expired = 1 FROM accounts WHERE {}", of("ben"));
        let done: bool = sqlx::query_scalar(AssertSqlSafe(done)).fetch_one(&mut connection).await.unwrap();
        done.then_some(())
    })
    .await;
    until("its own to be set aside", async || {
        let failure = "SELECT max(failure) FROM stuck_dues";
        let failure: Option<String> = sqlx::query_scalar(failure).fetch_one(&mut connection).await.unwrap();
        failure.filter(|failure| failure.contains("unknown kind"))
    })
    .await;
}

// On one thread, so that all lookups wait before the first statement.
#[tokio::test]
async fn a_row_that_cannot_be_understood_fails_its_own_lookup_alone() {
    let database = Database::create().await;
    let pool = connect_for_lookups(&database.options(SERVICE_ROLE));
    let fetch: Fetch<u32, u32> = Arc::new(|_, keys: Arc<[u32]>| {
        Box::pin(async move {
            if keys.contains(&7) {
                return Err(Defect::new("seven is not a number").into());
            }
            Ok(keys.iter().map(|key| Some(key * 2)).collect())
        })
    });
    let reader = BatchReader::open("numbers", &pool, &fetch);
    let found = join_all((0..100).map(|key| reader.find(key))).await;
    for (key, found) in (0_u32..).zip(found) {
        match found {
            Err(Error::Internal(what)) if key == 7 => assert!(what.contains("seven"), "{what}"),
            found => assert_eq!(found.unwrap(), Some(key * 2)),
        }
    }
}

#[tokio::test]
async fn lists_leave_out_what_cannot_be_understood_and_go_on() {
    let service = start().await;
    let code = service.share_code("rita", "friends").await;
    for customer_id in ["a", "b", "c", "d"] {
        service.refer(customer_id, &code).await;
    }
    for program_id in ["p1", "p2", "p3"] {
        service.apply(proto::Program { program_id: program_id.to_owned(), ..shop() }).await.unwrap();
    }
    let of = of("b");
    change(
        &service.database,
        &format!(
            "ALTER TABLE referrals DROP CONSTRAINT referrals_state_known, DROP CONSTRAINT referrals_end_whole;
             UPDATE referrals SET state = 'paused' WHERE {of};
             UPDATE customers SET dossier = dossier || '{{\"pets\": 2}}' WHERE {of};
             UPDATE program_versions SET document = document || '{{\"pets\": 2}}' WHERE program_id = 'p2'"
        ),
    )
    .await;
    // Each by pages of one, of which that row is one.
    let (mut customers, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = proto::ListCustomersRequest { program_id: SHOP.to_owned(), page_size: 1, page_token };
        let page = service.customers().list_customers(request).await.unwrap().into_inner();
        customers.extend(page.customers.into_iter().map(|customer| customer.customer_id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    // What is not known of a dossier is passed over.
    assert_eq!(customers, ["a", "b", "c", "d", "rita"]);
    let (mut programs, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = proto::ListProgramsRequest { page_size: 1, page_token };
        let page = service.programs().list_programs(request).await.unwrap().into_inner();
        programs.extend(page.versions.into_iter().map(|program| program.program.unwrap().program_id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(programs, ["p1", "p3", SHOP]);
    let (mut referees, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = proto::ListReferralsRequest {
            program_id: SHOP.to_owned(),
            referrer_customer_id: "rita".to_owned(),
            page_size: 1,
            page_token,
        };
        let page = service.referrals().list_referrals(request).await.unwrap().into_inner();
        referees.extend(page.referrals.into_iter().map(|referral| referral.referee_customer_id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    referees.sort_unstable();
    assert_eq!(referees, ["a", "c", "d"]);
    // Its own reads fail.
    let (program_id, referee_customer_id) = (SHOP.to_owned(), "b".to_owned());
    let request = proto::GetReferralRequest { program_id, referee_customer_id };
    assert_newer(service.referrals().get_referral(request).await);
    let request = proto::GetProgramRequest { program_id: "p2".to_owned(), ..Default::default() };
    assert_newer(service.programs().get_program(request).await);
}

#[tokio::test]
async fn rows_that_only_a_newer_version_knows_are_counted_apart_by_an_audit() {
    let service = start().await;
    let code = service.share_code("rita", "friends").await;
    service.refer("ben", &code).await;
    service.apply(proto::Program { program_id: "newer".to_owned(), ..shop() }).await.unwrap();
    make_household(&service.database, "rita").await;
    change(
        &service.database,
        "ALTER TABLE referrals DROP CONSTRAINT referrals_state_known, DROP CONSTRAINT referrals_end_whole;
         UPDATE referrals SET state = 'paused';
         UPDATE program_versions SET document = document || '{\"households\": 1}' WHERE program_id = 'newer'",
    )
    .await;
    let told = audit(&service.database).await;
    assert!(told.differences.is_empty(), "{told:?}");
    // The household, the referral, and the document.
    assert_eq!(told.tally.newer, 3);
    let command = run(&["audit", "--database-url", &url(&service.database.options(SERVICE_ROLE))]).await;
    assert_eq!(command.status.code(), Some(1), "{}{}", command.stdout, command.stderr);
    assert!(command.stdout.contains("of a newer version: "), "{}", command.stdout);
    assert!(command.stdout.contains("3 accounts or programs hold what a newer version wrote"), "{}", command.stdout);
    assert!(command.stdout.contains("nothing else differs"), "{}", command.stdout);
}
