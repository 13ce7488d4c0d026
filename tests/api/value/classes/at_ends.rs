//! What happens at the end of periods.

use goldbook::embedded_postgres::SUPERUSER;
use goldbook::proto;
use goldbook::proto::{EntryKind, RelationshipLevel};
use tonic::Code;

use super::{
    buy, by_amount, class, class_of, classification, counts, find, least, monthly, pass_end, start, top, with_classes,
};
use crate::audit::assert_clean;
use crate::customers::erasure::{erase, erasure};
use crate::harness::{Service, assert_refused, at, sorted_bad_fields, usd};
use crate::points::calls::refund;
use crate::value::{day, give_back};

async fn classes_of<const N: usize>(service: &Service, customers: [&str; N]) -> [String; N] {
    let mut found = [const { String::new() }; N];
    for (class, customer) in found.iter_mut().zip(customers) {
        *class = class_of(service, customer).await;
    }
    found
}

/// How many entries decided about a customer's class.
async fn decisions(service: &Service, customer_id: &str) -> usize {
    let entries = service.entries(customer_id).await;
    entries.iter().filter(|entry| entry.kind() == EntryKind::ValueClassDecided).count()
}

#[tokio::test]
async fn customers_are_classed_by_what_was_recorded_as_a_period_ended() {
    let service = start("2026-01-15T12:00:00Z", by_amount()).await;
    service.enrol("nobody").await;
    for (customer, amount) in [("anna", "100.00"), ("ben", "99.99"), ("cleo", "5.00")] {
        buy(&service, customer, "p-1", amount).await;
    }
    // In New York the month ends five hours later than in Greenwich.
    service.set_clock("2026-02-01T04:59:59.999999Z");
    buy(&service, "ben", "p-2", "0.01").await;
    assert_eq!(classification(&service, None).await.unwrap().classification, None);
    service.set_clock("2026-02-01T05:00:00Z");
    buy(&service, "cleo", "p-2", "500.00").await;
    pass_end(&service, 1, "2026-02-01").await;
    assert_eq!(classes_of(&service, ["anna", "ben", "cleo", "nobody"]).await, ["key", "key", "other", ""]);

    let told = classification(&service, day(2026, 2, 1)).await.unwrap();
    assert_eq!(told.policy_version, 1);
    let found = told.classification.clone().unwrap();
    assert_eq!((found.from, found.until), (day(2026, 1, 1), day(2026, 2, 1)));
    assert_eq!((found.measure(), found.model_version), (proto::ValueMeasure::Spend, 0));
    assert_eq!(found.ranked_customers, 3);
    assert_eq!(counts(&found), [("key", Some(usd("100.00")), 2), ("good", Some(usd("50.00")), 0), ("other", None, 1)]);
    assert_eq!(found.classes[0].keep, Some(usd("80.00")));
    assert_eq!(classification(&service, None).await.unwrap(), told);

    let anna = find(&service, "anna", None).await.unwrap();
    assert_eq!((anna.measured.clone(), anna.ends_below, anna.policy_version), (Some(usd("100.00")), 0, 1));
    assert_eq!((anna.since, anna.level()), (anna.decided_at, RelationshipLevel::Unspecified));
    assert_eq!(anna.until, day(2026, 2, 1));
    let entries = service.entries("anna").await;
    let entry = entries.iter().find(|entry| entry.entry_id == anna.entry_id).unwrap();
    assert_eq!((entry.kind(), entry.reason()), (EntryKind::ValueClassDecided, proto::EntryReason::ValueClass));
    assert_eq!(entry.cause_entry_ids, [told.entry_id]);

    // What was told of an instant stays.
    let before = find(&service, "anna", Some(at("2026-02-01T04:00:00Z"))).await.unwrap();
    assert_eq!((before.class_id.as_str(), before.decided_at, before.measured), ("", None, None));
    let now = Some(at("2026-02-01T05:00:00Z"));
    service.set_clock("2026-03-15T12:00:00Z");
    pass_end(&service, 1, "2026-03-01").await;
    assert_eq!(classes_of(&service, ["anna", "ben", "cleo"]).await, ["other", "other", "key"]);
    assert_eq!(find(&service, "anna", now).await.unwrap(), anna);
    assert_refused(find(&service, "none", None).await, Code::NotFound, "CUSTOMER_NOT_FOUND");
    assert_refused(
        find(&service, "anna", Some(at("2030-01-01T00:00:00Z"))).await,
        Code::OutOfRange,
        "INSTANT_IN_FUTURE",
    );
    let early = find(&service, "anna", Some(at("2026-01-01T00:00:00Z"))).await;
    assert_refused(early, Code::NotFound, "CUSTOMER_NOT_FOUND");
    assert_refused(classification(&service, day(2026, 1, 1)).await, Code::NotFound, "VALUE_CLASSIFICATION_NOT_FOUND");
    let unnamed = service.value().get_value_class(proto::GetValueClassRequest::default()).await;
    assert_eq!(sorted_bad_fields(unnamed), ["customer_id", "program_id"]);
    assert_clean(&service.database).await;
}

#[tokio::test]
async fn nobody_flips_each_month_who_is_not_below_the_class_at_several_ends() {
    let policy = proto::ValueClassPolicy { falls_after: Some(2), ..by_amount() };
    let service = start("2026-01-15T12:00:00Z", policy).await;
    // Month by month: what somebody spends, and the class and the ends below it that follow.
    let months = [
        ("02", "anna", "100.00", "key", 0),
        ("03", "anna", "80.00", "key", 0),
        ("04", "anna", "10.00", "key", 1),
        ("05", "anna", "100.00", "key", 0),
        ("06", "anna", "79.99", "key", 1),
        ("07", "anna", "40.00", "good", 0),
        ("08", "anna", "10.00", "good", 1),
        ("09", "anna", "10.00", "other", 0),
        ("10", "anna", "100.00", "key", 0),
    ];
    let mut since = Vec::new();
    for (month, customer, amount, expected, ends_below) in months {
        buy(&service, customer, month, amount).await;
        service.set_clock(&format!("2026-{month}-15T12:00:00Z"));
        pass_end(&service, 1, &format!("2026-{month}-01")).await;
        let found = find(&service, customer, None).await.unwrap();
        assert_eq!((found.class_id.as_str(), found.ends_below), (expected, ends_below), "{month}");
        since.push(found.since);
    }
    // They are key accounts since the first end, whatever was decided between.
    assert!(since[..5].iter().all(|then| *then == since[0]) && since[5] != since[0] && since[6] == since[5]);
    // In March nothing had changed.
    assert_eq!(decisions(&service, "anna").await, 8);
    assert_clean(&service.database).await;
}

#[tokio::test]
async fn the_best_are_a_share_of_those_who_buy_and_equals_are_together() {
    let service = start("2026-01-15T12:00:00Z", monthly(vec![top("key", 20, 40), class("other")])).await;
    service.enrol("nobody").await;
    let spent = [("a", "50.00"), ("b", "40.00"), ("c", "40.00"), ("d", "10.00"), ("e", "0.00")];
    for (customer, amount) in spent {
        buy(&service, customer, "p-1", amount).await;
    }
    service.set_clock("2026-02-15T12:00:00Z");
    pass_end(&service, 1, "2026-02-01").await;
    let customers = ["a", "b", "c", "d", "e", "nobody"];
    assert_eq!(classes_of(&service, customers).await, ["key", "other", "other", "other", "other", ""]);
    // The second of five keeps the class, which the first reaches.
    for (customer, amount) in [("a", "40.00"), ("b", "50.00"), ("c", "40.00"), ("d", "10.00"), ("e", "1.00")] {
        buy(&service, customer, "p-2", amount).await;
    }
    service.set_clock("2026-03-15T12:00:00Z");
    pass_end(&service, 1, "2026-03-01").await;
    assert_eq!(classes_of(&service, customers).await, ["key", "key", "other", "other", "other", ""]);
    let found = classification(&service, None).await.unwrap().classification.unwrap();
    assert_eq!((found.ranked_customers, &found.classes[0].from), (5, &Some(usd("50.00"))));
    assert_eq!(found.classes[0].keep, Some(usd("40.00")));
    // Where nobody buys, nobody is the best.
    service.set_clock("2026-04-15T12:00:00Z");
    pass_end(&service, 1, "2026-04-01").await;
    assert_eq!(classes_of(&service, customers).await, ["other", "other", "other", "other", "other", ""]);
    let found = classification(&service, None).await.unwrap().classification.unwrap();
    assert_eq!(counts(&found), [("key", None, 0), ("other", None, 5)]);
    assert_clean(&service.database).await;
}

#[tokio::test]
async fn margin_and_number_of_customers_tell_how_closely_a_class_is_looked_after() {
    let levels = proto::LevelCuts {
        many_customers: 3,
        few_customers: 1,
        high_margin: Some(usd("20.00")),
        low_margin: Some(usd("5.00")),
    };
    let policy = proto::ValueClassPolicy {
        measure: proto::ValueMeasure::Margin.into(),
        levels: Some(levels),
        ..monthly(vec![
            least("key", "20.00", "10.00"),
            proto::ValueClass { level: RelationshipLevel::Proactive.into(), ..least("good", "5.00", "4.00") },
            class("other"),
        ])
    };
    let service = start("2026-01-15T12:00:00Z", policy).await;
    let sell = async |customer: &str, id: &str, margin: Option<&str>| {
        let mut request = crate::harness::purchase(customer, id, "100.00", service.clock.now());
        let bought = proto::Purchase { amount: Some(usd("100.00")), margin: margin.map(usd) };
        request.activity = Some(proto::record_activity_request::Activity::Purchase(bought));
        service.activities().record_activity(request).await.unwrap();
    };
    sell("anna", "p-1", Some("30.00")).await;
    sell("ben", "p-1", Some("5.00")).await;
    for customer in ["cleo", "dan", "emil"] {
        sell(customer, "p-1", Some("1.00")).await;
    }
    // All of it is given back, of the other four fifths, and as much of what it brought.
    sell("frida", "p-1", Some("30.00")).await;
    give_back(&service, "frida", "p-1", "100.00", "r-1").await;
    sell("gina", "p-1", Some("5.00")).await;
    give_back(&service, "gina", "p-1", "80.00", "r-1").await;
    service.set_clock("2026-02-15T12:00:00Z");
    pass_end(&service, 1, "2026-02-01").await;
    let found = classification(&service, None).await.unwrap().classification.unwrap();
    let told: Vec<_> = found.classes.iter().map(|it| (it.customers, it.margin.clone().unwrap(), it.level())).collect();
    let expected = [
        (1, usd("30.00"), RelationshipLevel::Partner),
        (1, usd("5.00"), RelationshipLevel::Proactive),
        (4, usd("4.00"), RelationshipLevel::Basic),
    ];
    assert_eq!(told, expected);
    assert_eq!(find(&service, "anna", None).await.unwrap().level(), RelationshipLevel::Partner);
    assert_eq!(classes_of(&service, ["frida", "gina"]).await, ["", "other"]);

    // Once others are as good, nobody can see to each as closely, and each of them is told so.
    for customer in ["anna", "ben", "cleo"] {
        sell(customer, "p-2", Some("30.00")).await;
    }
    let since = find(&service, "anna", None).await.unwrap().since;
    service.set_clock("2026-03-15T12:00:00Z");
    pass_end(&service, 1, "2026-03-01").await;
    let anna = find(&service, "anna", None).await.unwrap();
    assert_eq!((anna.class_id.as_str(), anna.level(), anna.since), ("key", RelationshipLevel::Accountable, since));
    assert_clean(&service.database).await;
}

#[tokio::test]
async fn a_version_moves_nobody_and_the_one_in_force_as_a_period_ends_decides() {
    let service = start("2026-01-15T12:00:00Z", by_amount()).await;
    buy(&service, "anna", "p-1", "60.00").await;
    service.set_clock("2026-02-15T12:00:00Z");
    // It was not in force as January ended.
    service.apply(with_classes(Some(monthly(vec![least("best", "60.00", "50.00"), class("rest")])))).await.unwrap();
    pass_end(&service, 1, "2026-02-01").await;
    assert_eq!(class_of(&service, "anna").await, "good");
    let told = classification(&service, None).await.unwrap();
    assert_eq!(told.policy_version, 1);
    buy(&service, "anna", "p-2", "60.00").await;
    service.set_clock("2026-03-15T12:00:00Z");
    assert_eq!(class_of(&service, "anna").await, "good");
    pass_end(&service, 1, "2026-03-01").await;
    let anna = find(&service, "anna", None).await.unwrap();
    assert_eq!((anna.class_id.as_str(), anna.policy_version), ("best", 2));

    // Without classes everything stays as it is.
    service.apply(with_classes(None)).await.unwrap();
    service.set_clock("2026-05-15T12:00:00Z");
    service.apply(with_classes(Some(by_amount()))).await.unwrap();
    buy(&service, "ben", "p-1", "500.00").await;
    service.set_clock("2026-06-15T12:00:00Z");
    pass_end(&service, 1, "2026-06-01").await;
    assert_eq!(classes_of(&service, ["anna", "ben"]).await, ["other", "key"]);
    assert_refused(classification(&service, day(2026, 5, 1)).await, Code::NotFound, "VALUE_CLASSIFICATION_NOT_FOUND");
    assert_clean(&service.database).await;
}

#[tokio::test]
async fn two_services_class_everybody_once_and_begin_anew_without_deciding_twice() {
    let service = start("2026-01-15T12:00:00Z", proto::ValueClassPolicy { falls_after: Some(9), ..by_amount() }).await;
    let customers: Vec<String> = (0..300).map(|i| format!("c-{i}")).collect();
    let purchases =
        customers.iter().map(|customer| crate::harness::purchase(customer, "p-1", "100.00", service.clock.now()));
    futures_util::future::join_all(purchases.map(async |request| {
        service.activities().record_activity(request).await.unwrap();
    }))
    .await;
    erase(&service, erasure("c-0", proto::BalanceDisposal::Expire, "erase")).await.unwrap();
    service.set_clock("2026-02-15T12:00:00Z");
    pass_end(&service, 2, "2026-02-01").await;
    service.set_clock("2026-03-15T12:00:00Z");
    pass_end(&service, 2, "2026-03-01").await;
    // As after a crash before anything of it was noted.
    let mut connection = service.database.connect(SUPERUSER).await;
    let forget =
        "UPDATE classification_rounds SET is_done = FALSE, after_account_id = '00000000-0000-0000-0000-000000000000'";
    sqlx::query(forget).execute(&mut connection).await.unwrap();
    pass_end(&service, 2, "2026-03-01").await;
    for customer in ["c-1", "c-150", "c-299"] {
        let found = find(&service, customer, None).await.unwrap();
        assert_eq!((found.class_id.as_str(), found.ends_below), ("key", 1));
    }
    let decided: Vec<i64> = sqlx::query_scalar("SELECT count(*) FROM value_classes GROUP BY account_id")
        .fetch_all(&mut connection)
        .await
        .unwrap();
    assert_eq!(decided, [2; 299]);
    let told: i64 =
        sqlx::query_scalar("SELECT count(*) FROM classifications").fetch_one(&mut connection).await.unwrap();
    assert_eq!(told, 2);
    let found = classification(&service, None).await.unwrap().classification.unwrap();
    assert_eq!(found.classes[0].customers, 299);
    assert_clean(&service.database).await;
}

#[tokio::test]
async fn of_ends_that_nobody_was_there_for_the_last_is_made_up_for_and_clocks_may_jump() {
    let service = start("2026-01-15T12:00:00Z", by_amount()).await;
    buy(&service, "anna", "p-1", "100.00").await;
    service.set_clock("2026-04-15T12:00:00Z");
    buy(&service, "anna", "p-2", "50.00").await;
    pass_end(&service, 1, "2026-04-01").await;
    assert_eq!(class_of(&service, "anna").await, "");
    assert!(classification(&service, day(2026, 2, 1)).await.is_err());
    // A clock that was wrong by years does not keep anybody from being classed at the ends of the right time.
    service.set_clock("2030-01-15T12:00:00Z");
    pass_end(&service, 1, "2030-01-01").await;
    service.set_clock("2026-05-15T12:00:00Z");
    pass_end(&service, 2, "2026-05-01").await;
    assert_eq!(class_of(&service, "anna").await, "good");
    let told = classification(&service, None).await.unwrap();
    assert_eq!(told.classification.unwrap().until, day(2026, 5, 1));
    let late =
        proto::RecordActivityRequest { customer_id: "anna".to_owned(), ..refund("p-2", "50.00", &service, "r-1") };
    service.activities().record_activity(late).await.unwrap();
    assert_eq!(class_of(&service, "anna").await, "good");
    assert_clean(&service.database).await;
}

#[tokio::test]
async fn an_end_is_that_of_the_version_that_was_in_force_whatever_came_then() {
    let service = start("2026-01-15T12:00:00Z", by_amount()).await;
    buy(&service, "anna", "p-1", "100.00").await;
    // From the very end on there are quarters, and then no classes any more.
    let quarterly = proto::ValueClassPolicy { each: proto::CalendarPeriod::Quarter.into(), ..by_amount() };
    let schedule = async |policy, from: &str| {
        let request = proto::ApplyProgramRequest {
            program: Some(with_classes(policy)),
            effective_from: Some(at(from)),
            ..Default::default()
        };
        service.programs().apply_program(request).await.unwrap();
    };
    schedule(Some(quarterly), "2026-02-01T05:00:00Z").await;
    schedule(None, "2026-04-01T04:00:00Z").await;
    service.set_clock("2026-03-15T12:00:00Z");
    pass_end(&service, 1, "2026-02-01").await;
    assert_eq!(class_of(&service, "anna").await, "key");
    service.set_clock("2026-05-15T12:00:00Z");
    pass_end(&service, 1, "2026-04-01").await;
    let told = classification(&service, None).await.unwrap();
    assert_eq!((told.policy_version, class_of(&service, "anna").await), (2, "key".to_owned()));
    assert!(classification(&service, day(2026, 3, 1)).await.is_err());
    assert_clean(&service.database).await;
}

#[tokio::test]
async fn whoever_has_begun_is_left_alone_until_they_are_silent_for_a_minute() {
    let service = start("2026-01-15T12:00:00Z", by_amount()).await;
    buy(&service, "anna", "p-1", "100.00").await;
    service.set_clock("2026-02-15T12:00:00Z");
    let mut connection = service.database.connect(SUPERUSER).await;
    let begun =
        "INSERT INTO classification_rounds VALUES ('shop', '2026-02-01', '00000000-0000-0000-0000-000000000000', false,
                 false, clock_timestamp() + interval '1 hour')";
    sqlx::query(begun).execute(&mut connection).await.unwrap();
    let busy = Service::start_busy(service.database.clone(), service.clock.clone(), super::OFTEN).await;
    crate::wait::stays("nobody is classed", async || class_of(&service, "anna").await.is_empty()).await;
    busy.stop().await;
    sqlx::query("UPDATE classification_rounds SET leased_until = clock_timestamp()")
        .execute(&mut connection)
        .await
        .unwrap();
    pass_end(&service, 2, "2026-02-01").await;
    assert_eq!(class_of(&service, "anna").await, "key");
    let leased: Option<bool> = sqlx::query_scalar("SELECT leased_until IS NOT NULL FROM classification_rounds")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(leased, Some(false));
    assert_clean(&service.database).await;
}

#[tokio::test]
async fn nobody_is_among_the_best_for_nothing() {
    let policy = proto::ValueClassPolicy {
        measure: proto::ValueMeasure::Margin.into(),
        ..monthly(vec![top("best", 20, 40), class("other")])
    };
    let service = start("2026-01-15T12:00:00Z", policy).await;
    // Nobody tells a margin.
    buy(&service, "anna", "p-1", "100.00").await;
    buy(&service, "ben", "p-1", "10.00").await;
    service.set_clock("2026-02-15T12:00:00Z");
    pass_end(&service, 1, "2026-02-01").await;
    assert_eq!(classes_of(&service, ["anna", "ben"]).await, ["other", "other"]);
    assert_clean(&service.database).await;
}
