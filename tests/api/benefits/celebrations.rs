//! Packages for birthdays and anniversaries: on the day, once a year, also late, and by two services at once.

use goldbook::embedded_postgres::SUPERUSER;
use goldbook::proto;

use super::packages::{OFTEN, given, package, packed};
use crate::book_rules::check_rules;
use crate::customers::erasure::{erase, erasure};
use crate::faults::held::Session;
use crate::harness::{Clock, Database, SHOP, Service, create_customer, shop};
use crate::wait::{stays, until};

/// The shop with presents for birthdays, by tier, and for anniversaries.
fn celebrating() -> proto::Program {
    let (birthday, anniversary) = (proto::PackageOccasion::Birthday, proto::PackageOccasion::EnrolmentAnniversary);
    let mut program = shop();
    let cake = proto::Benefit { benefit_id: "cake".to_owned(), ..program.tiers[0].benefits[0].clone() };
    program.extras.push(cake);
    program.packages = vec![
        package("card", birthday, &["member"], 5),
        proto::Package {
            benefits: vec![packed("cake", Some(1), "P7D")],
            ..package("present", birthday, &["silver", "gold"], 0)
        },
        package("years", anniversary, &[], 20),
    ];
    program
}

fn day_in(zone: &str, instant: jiff::Timestamp) -> jiff::civil::Date {
    instant.to_zoned(goldbook_api::zones::find(zone).unwrap()).date()
}

const NEW_YORK: &str = "America/New_York";

/// A service and its clock, which stands at noon of a day in New York.
async fn start(day: &str) -> Service {
    let clock = Clock::fixed(noon(day).parse().unwrap());
    Service::start_on(Database::create().await, clock).await
}

fn noon(day: &str) -> String {
    format!("{day}T17:00:00Z")
}

fn date(text: &str) -> proto::google::Date {
    let parts: Vec<i32> = text.split('-').map(|part| part.parse().unwrap()).collect();
    proto::google::Date { year: parts[0], month: parts[1], day: parts[2] }
}

async fn join(service: &Service, customer_id: &str, born: &str) {
    let mut request = create_customer(customer_id, customer_id);
    request.customer.as_mut().unwrap().birth_date = Some(date(born));
    service.customers().create_customer(request).await.unwrap();
}

/// Has other services go through all who have their day, until they have come to today and so many packages were given.
async fn celebrate_in(service: &Service, zone: &str, replicas: usize, total: i64) {
    let round = async |rest: &str| {
        let mut connection = service.database.connect(SUPERUSER).await;
        let select = sqlx::AssertSqlSafe(format!("SELECT xmin::text FROM package_rounds WHERE {rest}"));
        let row: Option<String> = sqlx::query_scalar(select).fetch_optional(&mut connection).await.unwrap();
        row
    };
    let before = round("TRUE").await;
    let mut busy = Vec::new();
    for _ in 0..replicas {
        busy.push(Service::start_busy(service.database.clone(), service.clock.clone(), OFTEN).await);
    }
    let today = day_in(zone, service.clock.now());
    let is_done = async || {
        let rounds = format!("package_rounds WHERE day = '{today}' AND after_account_id IS NULL");
        count(service, &rounds).await == 1 && count(service, "packages_given").await == total
    };
    // Somebody has been through the day since: while they are at it, it is to be gone through again.
    let rests = format!("day = '{today}' AND again_from IS NULL AND occasion = 'birthday'");
    until("a round", async || round(&rests).await.filter(|row| before.as_ref() != Some(row))).await;
    until("all packages", async || is_done().await.then_some(())).await;
    stays("nothing is given twice", is_done).await;
    for service in busy {
        service.stop().await;
    }
}

async fn celebrate(service: &Service, total: i64) {
    celebrate_in(service, NEW_YORK, 1, total).await;
}

/// Which packages a customer was given, and on which local days.
async fn days(service: &Service, customer_id: &str) -> Vec<(String, String)> {
    let given = given(service, customer_id).await.into_iter();
    let local = |instant: String| {
        let instant: jiff::Timestamp = instant.parse().unwrap();
        day_in(NEW_YORK, instant).to_string()
    };
    given.map(|(package_id, at)| (package_id, local(at))).collect()
}

fn told(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(package_id, day)| ((*package_id).to_owned(), (*day).to_owned())).collect()
}

#[tokio::test]
async fn a_birthday_is_the_programs_day_and_comes_once_a_year() {
    let service = start("2026-05-01").await;
    service.apply(celebrating()).await.unwrap();
    join(&service, "anna", "1990-05-12").await;
    join(&service, "ben", "0-05-12").await;
    join(&service, "cleo", "1990-05-13").await;
    service.purchase("ben", "a", "200.00").await.unwrap();
    celebrate(&service, 0).await;
    // The last instant before that day in New York, and its first.
    service.set_clock("2026-05-12T03:59:59.999999Z");
    celebrate(&service, 0).await;
    assert_eq!(days(&service, "anna").await, []);
    service.set_clock("2026-05-12T04:00:00Z");
    celebrate(&service, 2).await;
    assert_eq!(days(&service, "anna").await, told(&[("card", "2026-05-12")]));
    assert_eq!(days(&service, "ben").await, told(&[("present", "2026-05-12")]));
    assert_eq!(days(&service, "cleo").await, []);
    // Who rises on the day has had their present.
    service.purchase("anna", "a", "200.00").await.unwrap();
    service.set_clock(&noon("2026-05-12"));
    celebrate_in(&service, NEW_YORK, 2, 2).await;
    let cleo = proto::UpdateCustomerRequest {
        program_id: SHOP.to_owned(),
        customer: Some(proto::Customer {
            customer_id: "cleo".to_owned(),
            birth_date: Some(date("1990-05-12")),
            ..Default::default()
        }),
        update_mask: Some(prost_types::FieldMask { paths: vec!["birth_date".to_owned()] }),
    };
    service.customers().update_customer(cleo).await.unwrap();
    celebrate(&service, 3).await;
    assert_eq!(days(&service, "anna").await, told(&[("card", "2026-05-12")]));
    assert_eq!(days(&service, "cleo").await, told(&[("card", "2026-05-12")]));
    service.set_clock(&noon("2027-05-12"));
    celebrate(&service, 9).await;
    assert_eq!(
        days(&service, "anna").await,
        told(&[("card", "2026-05-12"), ("years", "2027-05-12"), ("present", "2027-05-12")])
    );
    check_rules(&service.database).await.unwrap();
}

#[tokio::test]
async fn the_leap_day_has_its_day_and_joining_has_its_own() {
    let service = start("2028-02-29").await;
    service.apply(celebrating()).await.unwrap();
    join(&service, "anna", "2000-02-29").await;
    join(&service, "ben", "2000-02-28").await;
    celebrate(&service, 1).await;
    // Whoever joins on their birthday is given their present, and no anniversary.
    assert_eq!(days(&service, "anna").await, told(&[("card", "2028-02-29")]));
    service.set_clock(&noon("2029-02-27"));
    celebrate(&service, 1).await;
    service.set_clock(&noon("2029-02-28"));
    celebrate(&service, 5).await;
    service.set_clock(&noon("2029-03-01"));
    celebrate(&service, 5).await;
    let anna = [("card", "2028-02-29"), ("card", "2029-02-28"), ("years", "2029-02-28")];
    assert_eq!(sorted(days(&service, "anna").await), told(&anna));
    assert_eq!(sorted(days(&service, "ben").await), told(&anna[1..]));
    service.set_clock(&noon("2032-02-28"));
    celebrate(&service, 6).await;
    service.set_clock(&noon("2032-02-29"));
    celebrate(&service, 9).await;
    let of_2032 = |all: Vec<(String, String)>| -> Vec<(String, String)> {
        sorted(all.into_iter().filter(|(_, day)| day.starts_with("2032")).collect())
    };
    let leap_day = [("card", "2032-02-29"), ("years", "2032-02-29")];
    assert_eq!(of_2032(days(&service, "anna").await), told(&leap_day));
    assert_eq!(of_2032(days(&service, "ben").await), told(&[("card", "2032-02-28"), ("years", "2032-02-29")]));
    check_rules(&service.database).await.unwrap();
}

fn sorted(mut days: Vec<(String, String)>) -> Vec<(String, String)> {
    days.sort_by(|a, b| (&a.1, &a.0).cmp(&(&b.1, &b.0)));
    days
}

#[tokio::test]
async fn who_is_late_makes_up_for_days_but_not_for_those_before_the_document() {
    let service = start("2026-06-01").await;
    service.apply(shop()).await.unwrap();
    for (customer, born) in [("a", "1990-06-08"), ("b", "1990-06-11"), ("c", "1990-06-12"), ("d", "1990-06-14")] {
        join(&service, customer, born).await;
    }
    celebrate_nothing(&service).await;
    service.set_clock(&noon("2026-06-10"));
    service.apply(celebrating()).await.unwrap();
    celebrate(&service, 0).await;
    // No service runs from the 11th to the 13th.
    service.set_clock(&noon("2026-06-13"));
    join(&service, "late", "1990-06-12").await;
    celebrate(&service, 2).await;
    assert_eq!(days(&service, "a").await, []);
    assert_eq!(days(&service, "b").await, told(&[("card", "2026-06-13")]));
    assert_eq!(days(&service, "c").await, told(&[("card", "2026-06-13")]));
    assert_eq!(days(&service, "d").await, []);
    // Who was not there on their day is given nothing for it.
    assert_eq!(days(&service, "late").await, []);
    // Of a year without any service, the last month is made up for. The present of the new year is of that year.
    service.set_clock(&noon("2027-07-10"));
    celebrate(&service, 7).await;
    assert_eq!(days(&service, "c").await, told(&[("card", "2026-06-13"), ("card", "2027-07-10")]));
    assert_eq!(days(&service, "a").await, []);
    check_rules(&service.database).await.unwrap();
}

#[tokio::test]
async fn a_clock_set_forward_and_back_and_the_turn_of_the_year_cost_nobody_a_day() {
    let service = start("2026-12-30").await;
    service.apply(celebrating()).await.unwrap();
    join(&service, "anna", "1990-12-31").await;
    join(&service, "ben", "1990-01-02").await;
    celebrate(&service, 0).await;
    // Somebody sets the clock forward over both days, and back.
    service.set_clock(&noon("2027-02-20"));
    celebrate(&service, 0).await;
    service.set_clock(&noon("2026-12-30"));
    celebrate(&service, 0).await;
    // What is made up for is of its own year.
    service.set_clock(&noon("2027-01-01"));
    celebrate(&service, 1).await;
    let year = "packages_given WHERE year = 2026";
    assert_eq!((count(&service, year).await, days(&service, "anna").await), (1, told(&[("card", "2027-01-01")])));
    service.set_clock(&noon("2027-01-02"));
    celebrate(&service, 2).await;
    assert_eq!(days(&service, "ben").await, told(&[("card", "2027-01-02")]));
    check_rules(&service.database).await.unwrap();
}

#[tokio::test]
async fn who_cannot_be_given_anything_holds_up_nobody_and_is_given_it_later() {
    let service = start("2026-06-10").await;
    service.apply(celebrating()).await.unwrap();
    join(&service, "anna", "1990-06-11").await;
    join(&service, "ben", "1990-06-12").await;
    celebrate(&service, 0).await;
    // Somebody holds her account for a day and a half.
    let held = Session::hold(&service.database, "anna").await;
    service.set_clock(&noon("2026-06-11"));
    let begin = async || Service::start_busy(service.database.clone(), service.clock.clone(), OFTEN).await;
    let busy = begin().await;
    let is_at = async |day: &str| {
        let day = format!("package_rounds WHERE day = '{day}' AND after_account_id IS NULL");
        (count(&service, &day).await == 1).then_some(())
    };
    until("a round on her day", async || is_at("2026-06-11").await).await;
    busy.stop().await;
    service.set_clock(&noon("2026-06-12"));
    let busy = begin().await;
    until("what is given on the next day", async || (count(&service, "packages_given").await == 1).then_some(())).await;
    assert_eq!(days(&service, "ben").await, told(&[("card", "2026-06-12")]));
    until("her day to come again", async || is_at("2026-06-11").await).await;
    busy.stop().await;
    held.let_go().await;
    celebrate(&service, 2).await;
    assert_eq!(days(&service, "anna").await, told(&[("card", "2026-06-12")]));
    check_rules(&service.database).await.unwrap();
}

#[tokio::test]
async fn what_is_made_up_for_is_what_the_version_of_the_day_said() {
    let service = start("2026-06-10").await;
    service.apply(celebrating()).await.unwrap();
    join(&service, "anna", "1990-06-11").await;
    join(&service, "ben", "1990-06-12").await;
    celebrate(&service, 0).await;
    // The next day has another card, from its first instant on, and the one before has no present for members.
    let mut generous = celebrating();
    generous.packages[0].package_id = "letter".to_owned();
    let effective_from = Some(crate::harness::at("2026-06-12T04:00:00Z"));
    let request = proto::ApplyProgramRequest { program: Some(generous), effective_from, ..Default::default() };
    service.programs().apply_program(request).await.unwrap();
    service.set_clock(&noon("2026-06-12"));
    celebrate(&service, 2).await;
    assert_eq!(days(&service, "anna").await, told(&[("card", "2026-06-12")]));
    assert_eq!(days(&service, "ben").await, told(&[("letter", "2026-06-12")]));
    check_rules(&service.database).await.unwrap();
}

#[tokio::test]
async fn a_day_without_a_midnight_and_one_with_two_have_their_customers() {
    // In Cairo, 24 April 2026 begins at one o'clock, and 29 October ends an hour late.
    const CAIRO: &str = "Africa/Cairo";
    let service = start("2026-04-20").await;
    service.apply(proto::Program { time_zone: CAIRO.to_owned(), ..celebrating() }).await.unwrap();
    join(&service, "spring", "1990-04-24").await;
    join(&service, "autumn", "1990-10-29").await;
    let steps = [
        ("2026-04-23T21:59:59.999999Z", 0),
        ("2026-04-23T22:00:00Z", 1),
        ("2026-10-28T20:59:59.999999Z", 1),
        ("2026-10-28T21:00:00Z", 2),
        ("2026-10-29T21:59:59.999999Z", 2),
    ];
    for (now, total) in steps {
        service.set_clock(now);
        celebrate_in(&service, CAIRO, 1, total).await;
    }
    // Within the second of two hours, and after it.
    join(&service, "late", "1990-01-01").await;
    service.set_clock("2026-10-29T22:00:00Z");
    join(&service, "next", "1990-01-01").await;
    // In the next year, the clock is set back a day before that.
    let steps = [
        ("2027-10-28T21:59:59.999999Z", 2),
        ("2027-10-28T22:00:00Z", 4),
        ("2027-10-29T21:59:59.999999Z", 4),
        ("2027-10-29T22:00:00Z", 5),
    ];
    for (now, total) in steps {
        service.set_clock(now);
        celebrate_in(&service, CAIRO, 1, total).await;
    }
    let told = |expected: &str| vec![("years".to_owned(), expected.to_owned())];
    assert_eq!(given(&service, "late").await, told("2027-10-28T22:00:00Z"));
    assert_eq!(given(&service, "next").await, told("2027-10-29T22:00:00Z"));
    check_rules(&service.database).await.unwrap();
}

/// Has a service run for which there is nothing to give.
async fn celebrate_nothing(service: &Service) {
    let busy = Service::start_busy(service.database.clone(), service.clock.clone(), OFTEN).await;
    stays("no round", async || count(service, "package_rounds").await == 0).await;
    busy.stop().await;
}

async fn count(service: &Service, from: &str) -> i64 {
    let mut connection = service.database.connect(SUPERUSER).await;
    let select = sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {from}"));
    sqlx::query_scalar(select).fetch_one(&mut connection).await.unwrap()
}

#[tokio::test]
async fn hundreds_with_one_birthday_are_given_it_once_by_two_services_that_are_killed() {
    let service = start("2026-06-10").await;
    service.apply(celebrating()).await.unwrap();
    let many = 600;
    for number in 0..many {
        join(&service, &format!("c{number}"), "1990-06-11").await;
    }
    join(&service, "gone", "1990-06-11").await;
    erase(&service, erasure("gone", proto::BalanceDisposal::Expire, "e")).await.unwrap();
    celebrate(&service, 0).await;
    service.set_clock(&noon("2026-06-11"));
    for _ in 0..3 {
        let busy = Service::start_busy(service.database.clone(), service.clock.clone(), OFTEN).await;
        until("some presents", async || (count(&service, "packages_given").await > 0).then_some(())).await;
        drop(busy.kill().await);
    }
    let busy = [
        Service::start_busy(service.database.clone(), service.clock.clone(), OFTEN).await,
        Service::start_busy(service.database.clone(), service.clock.clone(), OFTEN).await,
    ];
    until("all presents", async || (count(&service, "packages_given").await == many).then_some(())).await;
    stays("no more presents", async || count(&service, "packages_given").await == many).await;
    for service in busy {
        service.stop().await;
    }
    assert_eq!(count(&service, "(SELECT DISTINCT account_id FROM packages_given) g").await, many);
    assert_eq!(service.available("c7").await, 5);
    check_rules(&service.database).await.unwrap();
}
