//! The programs in `examples/programs/`: each is sound, can be applied, and does what it says.

use goldbook::proto;
use tonic::Code;

use crate::benefits::grants::grant_of;
use crate::binary::run;
use crate::harness::{Background, Service, assert_refused, at, create_customer, create_referral, instant, money};
use crate::wait::until;

fn path(name: &str) -> String {
    format!("{}/examples/programs/{name}.toml", env!("CARGO_MANIFEST_DIR"))
}

/// A service with an example in force, applied by the client command.
async fn open(name: &str) -> Service {
    let file = path(name);
    let checked = run(&["program", "check", &file]).await;
    assert!(checked.status.success(), "{}{}", checked.stdout, checked.stderr);
    assert_eq!(checked.stdout, format!("{file}: the program {name} is sound\n"));
    let service = Service::start().await;
    let address = format!("http://{}", service.address);
    let applied = run(&["program", "apply", "--address", &address, &file]).await;
    assert!(applied.status.success(), "{}{}", applied.stdout, applied.stderr);
    assert!(applied.stdout.contains(&format!("{name}: applied as version 1")), "{}", applied.stdout);
    // What is printed of it is the same program.
    let directory = tempfile::tempdir().unwrap();
    let printed = directory.path().join("printed.toml");
    let shown = run(&["program", "show", "--address", &address, name]).await;
    std::fs::write(&printed, shown.stdout).unwrap();
    let again = run(&["program", "apply", "--address", &address, printed.to_str().unwrap()]).await;
    assert!(again.stdout.contains("unchanged (version 1)"), "{}{}", again.stdout, again.stderr);
    service
}

/// A purchase that happens now.
async fn buy(service: &Service, program_id: &str, customer_id: &str, amount: proto::google::Money) {
    let now = service.clock.now();
    let purchase = proto::Purchase { amount: Some(amount), margin: None };
    let request = proto::RecordActivityRequest {
        program_id: program_id.to_owned(),
        customer_id: customer_id.to_owned(),
        activity_id: format!("{customer_id}-{now}"),
        activity: Some(proto::record_activity_request::Activity::Purchase(purchase)),
        happened_at: Some(instant(now)),
        enrol: true,
        as_history: false,
    };
    service.activities().record_activity(request).await.unwrap();
}

async fn tier(service: &Service, program_id: &str, customer_id: &str, now: &str) -> String {
    service.set_clock(now);
    let (program_id, customer_id) = (program_id.to_owned(), customer_id.to_owned());
    let request = proto::GetCustomerTierRequest { program_id, customer_id, as_of: None };
    service.tiers().get_customer_tier(request).await.unwrap().into_inner().customer_tier.unwrap().tier_id
}

#[tokio::test]
async fn in_the_shop_spend_makes_a_regular_for_a_year_and_a_friend_brings_points() {
    let service = open("shop").await;
    buy(&service, "shop", "anna", money("EUR", "250.00")).await;
    assert_eq!(service.tier("anna").await.tier_id, "regular");
    let request = proto::CreateReferralCodeRequest {
        program_id: "shop".to_owned(),
        customer_id: "anna".to_owned(),
        campaign_id: "bring-a-friend".to_owned(),
    };
    let code = service.referrals().create_referral_code(request).await.unwrap().into_inner().referral_code.unwrap();
    service.referrals().create_referral(create_referral("ben", &code.code)).await.unwrap();
    buy(&service, "shop", "ben", money("EUR", "30.00")).await;
    // Points wait as long as goods can be returned.
    assert_eq!((service.balance("anna").await.pending, service.balance("ben").await.pending), (750, 280));
    service.set_clock("2026-01-29T12:00:00Z");
    assert_eq!((service.available("anna").await, service.available("ben").await), (750, 280));
    // A year, and thirty days to save it.
    assert_eq!(tier(&service, "shop", "anna", "2027-02-01T12:00:00Z").await, "regular");
    assert_eq!(tier(&service, "shop", "anna", "2027-03-01T12:00:00Z").await, "friend");
}

#[tokio::test]
async fn with_the_airline_status_lasts_to_the_next_year_and_the_highest_for_ever() {
    let service = open("airline").await;
    buy(&service, "airline", "ada", money("USD", "5000.00")).await;
    assert_eq!(tier(&service, "airline", "ada", "2027-12-31T12:00:00Z").await, "silver");
    // The year after ends with the anniversary, and sixty days remain.
    assert_eq!(tier(&service, "airline", "ada", "2028-03-01T12:00:00Z").await, "silver");
    assert_eq!(tier(&service, "airline", "ada", "2028-04-01T12:00:00Z").await, "blue");
    for day in 0..50 {
        let date = jiff::civil::date(2028, 4, 2).checked_add(jiff::Span::new().days(day)).unwrap();
        service.set_clock(&format!("{date}T12:00:00Z"));
        buy(&service, "airline", "ada", money("USD", "1000.00")).await;
    }
    assert_eq!(tier(&service, "airline", "ada", "2028-05-22T12:00:00Z").await, "legend");
    assert_eq!(tier(&service, "airline", "ada", "2040-01-01T12:00:00Z").await, "legend");
}

#[tokio::test]
async fn the_airline_grants_a_day_in_a_lounge_once_to_who_holds_no_status() {
    let service = open("airline").await;
    buy(&service, "airline", "bea", money("USD", "50.00")).await;
    let (program_id, customer_id) = ("airline".to_owned(), "bea".to_owned());
    let pass = proto::GrantEntitlementRequest {
        program_id: program_id.clone(),
        customer_id: customer_id.clone(),
        ..grant_of("day-pass", 0, None, "pass")
    };
    service.benefits().grant_entitlement(pass).await.unwrap();
    let enter = |key: &str| proto::UseBenefitRequest {
        program_id: program_id.clone(),
        customer_id: customer_id.clone(),
        benefit_id: "day-pass".to_owned(),
        idempotency_key: key.to_owned(),
        ..Default::default()
    };
    assert_eq!(service.benefits().use_benefit(enter("one")).await.unwrap().into_inner().r#use.unwrap().left, Some(0));
    let second = service.benefits().use_benefit(enter("two")).await;
    assert_refused(second, Code::FailedPrecondition, "BENEFIT_QUOTA_EXHAUSTED");
}

#[tokio::test]
async fn the_airline_welcomes_who_becomes_gold_with_miles_and_day_passes() {
    let service = open("airline").await;
    buy(&service, "airline", "ada", money("USD", "12000.00")).await;
    let (program_id, customer_id) = ("airline".to_owned(), "ada".to_owned());
    let request = proto::ListCustomerBenefitsRequest {
        program_id: program_id.clone(),
        customer_id: customer_id.clone(),
        ..Default::default()
    };
    let page = service.benefits().list_customer_benefits(request).await.unwrap().into_inner();
    let pass = page.entitlements.last().unwrap();
    assert_eq!((pass.package_id.as_str(), pass.left), ("gold-welcome", Some(2)));
    assert_eq!(pass.until, Some(at("2027-01-15T12:00:00Z")));
    let request = proto::GetBalanceRequest { program_id, customer_id, as_of: None };
    let balance = service.rewards().get_balance(request).await.unwrap().into_inner().balance.unwrap();
    // Miles of the ticket wait for the flight, those of the welcome do not.
    assert_eq!((balance.pending, balance.available), (60_000, 5_000));
}

#[tokio::test]
async fn in_the_cafe_a_birthday_is_a_piece_of_cake() {
    let service = open("cafe").await;
    let mut clara = create_customer("clara", "clara");
    clara.program_id = "cafe".to_owned();
    clara.customer.as_mut().unwrap().birth_date = Some(proto::google::Date { year: 0, month: 1, day: 15 });
    service.customers().create_customer(clara).await.unwrap();
    let often = Background { apply_dues_every: Some(std::time::Duration::from_millis(20)), ..Background::default() };
    let busy = Service::start_busy(service.database.clone(), service.clock.clone(), often).await;
    let request = proto::ListCustomerBenefitsRequest {
        program_id: "cafe".to_owned(),
        customer_id: "clara".to_owned(),
        ..Default::default()
    };
    let cake = until("a piece of cake", async || {
        let page = service.benefits().list_customer_benefits(request.clone()).await.unwrap().into_inner();
        page.entitlements.into_iter().find(|it| it.right() == proto::EntitlementRight::Package)
    })
    .await;
    assert_eq!((cake.package_id.as_str(), cake.left), ("birthday-cake", Some(1)));
    busy.stop().await;
}

#[tokio::test]
async fn in_the_cafe_eight_visits_make_a_regular_to_the_end_of_the_next_month() {
    let service = open("cafe").await;
    for day in 1..=8 {
        service.set_clock(&format!("2026-02-0{day}T08:00:00Z"));
        buy(&service, "cafe", "clara", money("EUR", "3.90")).await;
        let expected = if day < 8 { "guest" } else { "regular" };
        assert_eq!(tier(&service, "cafe", "clara", &format!("2026-02-0{day}T09:00:00Z")).await, expected);
    }
    // One piece of cake a month.
    let cake = |key: &str| proto::UseBenefitRequest {
        program_id: "cafe".to_owned(),
        customer_id: "clara".to_owned(),
        benefit_id: "cake".to_owned(),
        quantity: 1,
        idempotency_key: key.to_owned(),
        ..Default::default()
    };
    service.benefits().use_benefit(cake("one")).await.unwrap();
    let second = service.benefits().use_benefit(cake("two")).await;
    assert_refused(second, Code::FailedPrecondition, "BENEFIT_QUOTA_EXHAUSTED");
    service.set_clock("2026-02-28T23:00:00Z");
    service.benefits().use_benefit(cake("three")).await.unwrap();
    // April begins in Vienna at 22 hours UTC.
    assert_eq!(tier(&service, "cafe", "clara", "2026-03-31T21:59:59Z").await, "regular");
    assert_eq!(tier(&service, "cafe", "clara", "2026-03-31T22:00:00Z").await, "guest");
    let request = proto::GetBalanceRequest {
        program_id: "cafe".to_owned(),
        customer_id: "clara".to_owned(),
        as_of: Some(at("2026-03-01T00:00:00Z")),
    };
    let balance = service.rewards().get_balance(request).await.unwrap().into_inner().balance.unwrap();
    assert_eq!(balance.available, 0);
}
