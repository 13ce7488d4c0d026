//! Activities: purchases, one by one. Batches and what many do at once have files of their own.

mod amounts;
pub(crate) mod batches;
mod concurrency;
mod multipliers;

use goldbook::proto;
use goldbook::proto::EntryKind::{ActivityAccepted, CustomerEnrolled, PointsGranted, TierChanged};
use goldbook::proto::record_activity_request::Activity;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::harness::{
    SHOP, START, Service, assert_refused, assert_refuses_bad_pages, at, purchase, read_pages, shop, sorted_bad_fields,
    usd,
};

/// A service with [`SHOP`].
async fn start() -> Service {
    let service = Service::start().await;
    service.apply_shop().await;
    service
}

/// A purchase that happened at [`START`].
fn bought(customer_id: &str, activity_id: &str, amount: &str) -> proto::RecordActivityRequest {
    purchase(customer_id, activity_id, amount, START.parse().unwrap())
}

async fn send(
    service: &Service,
    request: proto::RecordActivityRequest,
) -> Result<proto::RecordActivityResponse, Status> {
    Ok(service.activities().record_activity(request).await?.into_inner())
}

async fn list(
    service: &Service,
    customer_id: &str,
    page_size: i32,
    page_token: String,
) -> Result<(Vec<proto::Activity>, String), Status> {
    let request = proto::ListActivitiesRequest {
        program_id: SHOP.to_owned(),
        customer_id: customer_id.to_owned(),
        page_size,
        page_token,
    };
    let page = service.activities().list_activities(request).await?.into_inner();
    Ok((page.activities, page.next_page_token))
}

async fn activity_ids(service: &Service, customer_id: &str) -> Vec<String> {
    let listed = list(service, customer_id, 1_000, String::new()).await.unwrap().0;
    listed.into_iter().map(|activity| activity.activity_id).collect()
}

#[tokio::test]
async fn record_activity_answers_with_all_that_followed() {
    let service = start().await;
    service.enrol("anna").await;
    service.set_clock("2026-01-16T12:00:00Z");
    let recorded = send(&service, bought("anna", "order-1", "250.99")).await.unwrap();
    let entries = service.entries("anna").await;
    let [accepted, earned, lifted] = &entries[2..] else { panic!("{entries:?}") };
    let activity = proto::Activity {
        activity_id: "order-1".to_owned(),
        customer_id: "anna".to_owned(),
        activity: Some(proto::activity::Activity::Purchase(proto::Purchase {
            amount: Some(usd("250.99")),
            margin: None,
        })),
        happened_at: Some(at(START)),
        recorded_at: Some(at("2026-01-16T12:00:00Z")),
        entry_id: accepted.entry_id.clone(),
    };
    let tier_change = proto::TierChange {
        from_tier_id: "member".to_owned(),
        to_tier_id: "silver".to_owned(),
        policy_version: 1,
        effective_at: Some(at("2026-01-16T12:00:00Z")),
        entry_id: lifted.entry_id.clone(),
        cause_entry_ids: vec![accepted.entry_id.clone()],
        change: proto::TierChangeKind::Upgraded.into(),
        valid_until: None,
        earned: Some(proto::TierCounts {
            spend: Some(usd("250.99")),
            margin: Some(usd("0.00")),
            points: 250,
            purchases: 1,
            active_days: 1,
            ..Default::default()
        }),
        ..Default::default()
    };
    let expected = proto::RecordActivityResponse {
        activity: Some(activity.clone()),
        points_earned: 250,
        tier_change: Some(tier_change),
        referral_converted: false,
        entry_ids: vec![accepted.entry_id.clone(), earned.entry_id.clone(), lifted.entry_id.clone()],
        replayed: false,
        ..Default::default()
    };
    assert_eq!(recorded, expected);
    assert_eq!(list(&service, "anna", 0, String::new()).await.unwrap(), (vec![activity], String::new()));
    assert_eq!(service.available("anna").await, 250);
    let kinds = [accepted, earned, lifted].map(proto::Entry::kind);
    assert_eq!(kinds, [ActivityAccepted, PointsGranted, TierChanged]);
}

#[tokio::test]
async fn record_activity_refuses_an_unknown_customer_by_name_unless_it_says_to_enrol() {
    let service = start().await;
    let stranger = |enrol| proto::RecordActivityRequest { enrol, ..bought("zoe", "order-1", "12.00") };
    let status = send(&service, stranger(false)).await.unwrap_err();
    assert_eq!(status.get_details_error_info().unwrap().metadata["customer_id"], "zoe");
    assert_eq!(status.get_details_resource_info().unwrap().resource_name, "zoe");
    assert!(status.message().contains("zoe"));
    assert_refused::<()>(Err(status), Code::NotFound, "CUSTOMER_NOT_FOUND");
    assert_eq!(service.count_entries().await, 1);

    let recorded = send(&service, stranger(true)).await.unwrap();
    assert_eq!((recorded.points_earned, recorded.replayed), (12, false));
    assert_eq!(service.kinds("zoe").await, [CustomerEnrolled, TierChanged, ActivityAccepted, PointsGranted]);
    assert_eq!(recorded.entry_ids.len(), 4);
    assert_eq!(recorded.tier_change, None);
    assert_eq!(service.tier("zoe").await.tier_id, "member");
}

#[tokio::test]
async fn record_activity_enrols_with_an_empty_dossier_and_lifts_at_once() {
    let service = start().await;
    let recorded = send(&service, bought("zoe", "order-1", "500.00")).await.unwrap();
    let change = recorded.tier_change.unwrap();
    assert_eq!((change.from_tier_id.as_str(), change.to_tier_id.as_str()), ("member", "gold"));
    let request = proto::GetCustomerRequest { program_id: SHOP.to_owned(), customer_id: "zoe".to_owned() };
    let customer = service.customers().get_customer(request).await.unwrap().into_inner().customer.unwrap();
    let expected = proto::Customer {
        customer_id: "zoe".to_owned(),
        create_time: Some(at(START)),
        update_time: Some(at(START)),
        etag: customer.etag.clone(),
        ..Default::default()
    };
    assert_eq!(customer, expected);
}

#[tokio::test]
async fn record_activity_replayed_gives_the_first_answer_also_after_a_restart() {
    let service = start().await;
    let first = send(&service, bought("zoe", "order-1", "250.00")).await.unwrap();
    let count = service.count_entries().await;
    service.set_clock("2026-02-01T00:00:00Z");
    // How to treat the customer and the clock is not what the activity is.
    let again = proto::RecordActivityRequest { enrol: false, as_history: true, ..bought("zoe", "order-1", "250.00") };
    let replay = proto::RecordActivityResponse { replayed: true, ..first };
    assert_eq!(send(&service, bought("zoe", "order-1", "250.00")).await.unwrap(), replay);
    assert_eq!(send(&service, again).await.unwrap(), replay);
    let service = service.restart().await;
    assert_eq!(send(&service, bought("zoe", "order-1", "250.00")).await.unwrap(), replay);
    assert_eq!(service.count_entries().await, count);
    assert_eq!(activity_ids(&service, "zoe").await, ["order-1"]);
}

#[tokio::test]
async fn record_activity_refuses_a_known_id_with_other_content_also_after_a_restart() {
    let service = start().await;
    send(&service, bought("anna", "order-1", "20.00")).await.unwrap();
    let count = service.count_entries().await;
    let service = service.restart().await;
    let later = purchase("anna", "order-1", "20.00", "2026-01-15T12:00:00.000001Z".parse().unwrap());
    for other in [bought("anna", "order-1", "20.01"), later] {
        assert_refused(send(&service, other).await, Code::AlreadyExists, "ACTIVITY_ID_REUSED");
    }
    assert_eq!(service.count_entries().await, count);
    // Less than a microsecond is no difference.
    let mut finer = bought("anna", "order-1", "20.00");
    finer.happened_at.as_mut().unwrap().nanos = 999;
    assert!(send(&service, finer).await.unwrap().replayed);
}

#[tokio::test]
async fn record_activity_takes_one_id_for_each_customer_and_apart_from_idempotency_keys() {
    let service = start().await;
    service.enrol("anna").await;
    service.grant("anna", 5, "order-1").await.unwrap();
    for customer_id in ["anna", "ben"] {
        assert!(!send(&service, bought(customer_id, "order-1", "20.00")).await.unwrap().replayed);
    }
    assert_eq!(service.available("anna").await, 25);
}

#[tokio::test]
async fn record_activity_refused_leaves_the_id_unused() {
    let service = start().await;
    let tomorrow = purchase("zoe", "order-1", "20.00", "2026-01-16T12:00:00Z".parse().unwrap());
    assert_refused(send(&service, tomorrow).await, Code::OutOfRange, "INSTANT_IN_FUTURE");
    assert_eq!(service.count_entries().await, 1);
    assert!(!send(&service, bought("zoe", "order-1", "30.00")).await.unwrap().replayed);
}

#[tokio::test]
async fn record_activity_takes_what_happened_up_to_five_minutes_ahead() {
    let service = start().await;
    let after = |instant: &str| purchase("anna", instant, "20.00", instant.parse().unwrap());
    send(&service, after("1997-01-01T00:00:00Z")).await.unwrap();
    send(&service, after("2026-01-15T12:05:00Z")).await.unwrap();
    let refused = send(&service, after("2026-01-15T12:05:00.000001Z")).await;
    assert_refused(refused, Code::OutOfRange, "INSTANT_IN_FUTURE");
    assert_eq!(activity_ids(&service, "anna").await, ["2026-01-15T12:05:00Z", "1997-01-01T00:00:00Z"]);
    // When it happened does not move the account.
    let effective: Vec<_> = service.entries("anna").await.into_iter().map(|entry| entry.effective_at).collect();
    assert!(effective.iter().all(|effective_at| *effective_at == Some(at(START))));
}

#[tokio::test]
async fn record_activity_as_history_never_takes_effect_before_the_last_entry() {
    let service = start().await;
    let history = |activity_id: &str, instant: &str| proto::RecordActivityRequest {
        as_history: true,
        ..purchase("anna", activity_id, "20.00", instant.parse().unwrap())
    };
    let (first, second) = ("1997-01-05T00:00:00Z", "1997-03-01T00:00:00Z");
    send(&service, history("a", first)).await.unwrap();
    send(&service, history("b", second)).await.unwrap();
    send(&service, history("c", first)).await.unwrap();
    send(&service, history("d", "2026-01-15T12:04:00Z")).await.unwrap();
    let entries = service.entries("anna").await;
    let effective: Vec<_> = entries.iter().map(|entry| entry.effective_at.unwrap()).collect();
    // Enrolled, first tier, then two entries for each purchase; the future never comes early.
    let expected = [[first; 4].as_slice(), &[second; 4], &[START; 2]].concat();
    assert_eq!(effective, expected.into_iter().map(at).collect::<Vec<_>>());
    assert!(entries.iter().all(|entry| entry.recorded_at == Some(at(START))));
}

#[tokio::test]
async fn record_activity_keeps_the_accounts_time_when_the_clock_goes_back() {
    let service = start().await;
    send(&service, bought("anna", "a", "20.00")).await.unwrap();
    service.set_clock("2026-01-15T11:59:00Z");
    send(&service, bought("anna", "b", "20.00")).await.unwrap();
    let entries = service.entries("anna").await;
    assert!(entries.iter().all(|entry| entry.effective_at == Some(at(START))));
}

#[tokio::test]
async fn activities_methods_refuse_an_unknown_program_or_customer() {
    let service = start().await;
    let nowhere = proto::RecordActivityRequest { program_id: "nowhere".to_owned(), ..bought("anna", "a", "20.00") };
    assert_refused(send(&service, nowhere).await, Code::NotFound, "PROGRAM_NOT_FOUND");
    let request = proto::ListActivitiesRequest {
        program_id: "nowhere".to_owned(),
        customer_id: "anna".to_owned(),
        ..Default::default()
    };
    let listed = service.activities().list_activities(request).await;
    assert_refused(listed, Code::NotFound, "PROGRAM_NOT_FOUND");
    assert_refused(list(&service, "anna", 0, String::new()).await, Code::NotFound, "CUSTOMER_NOT_FOUND");
    // The attempt in a program that does not exist left no name behind.
    service.apply(proto::Program { program_id: "nowhere".to_owned(), ..shop() }).await.unwrap();
    let request = proto::GetCustomerRequest { program_id: "nowhere".to_owned(), customer_id: "anna".to_owned() };
    let read = service.customers().get_customer(request).await;
    assert_refused(read, Code::NotFound, "CUSTOMER_NOT_FOUND");
}

#[tokio::test]
async fn activities_methods_list_every_bad_field() {
    let service = start().await;
    let purchase = proto::Purchase { amount: Some(usd("1.001")), margin: None };
    let bad = proto::RecordActivityRequest {
        program_id: "Shop".to_owned(),
        activity: Some(Activity::Purchase(purchase)),
        happened_at: Some(prost_types::Timestamp { seconds: 0, nanos: -1 }),
        ..bought("a\tb", &"x".repeat(129), "1.00")
    };
    assert_eq!(
        sorted_bad_fields(send(&service, bad).await),
        ["activity_id", "customer_id", "happened_at", "program_id", "purchase.amount"]
    );
    let empty = proto::RecordActivityRequest::default();
    assert_eq!(
        sorted_bad_fields(send(&service, empty).await),
        ["activity", "activity_id", "customer_id", "happened_at", "program_id"]
    );
    let listed = proto::ListActivitiesRequest { page_size: i32::MIN, ..Default::default() };
    assert_eq!(
        sorted_bad_fields(service.activities().list_activities(listed).await),
        ["customer_id", "page_size", "program_id"]
    );
}

#[tokio::test]
async fn list_activities_returns_each_once_the_last_recorded_first() {
    let service = start().await;
    let mut ids: Vec<String> = (0..1_002).map(|i| format!("order-{i}")).collect();
    batches::record_all(&service, ids.iter().map(|id| bought("anna", id, "1.00")).collect()).await;
    ids.reverse();
    let names = |activities: &[proto::Activity]| -> Vec<String> {
        activities.iter().map(|activity| activity.activity_id.clone()).collect()
    };
    let read = |token| async { list(&service, "anna", 334, token).await.unwrap() };
    assert_eq!(names(&read_pages(334, read).await), ids);
    assert_eq!(names(&list(&service, "anna", 0, String::new()).await.unwrap().0), ids[..50]);
    assert_eq!(names(&list(&service, "anna", 2_000, String::new()).await.unwrap().0), ids[..1_000]);
}

#[tokio::test]
async fn list_activities_refuses_bad_pages() {
    let service = start().await;
    for (customer_id, activity_id) in [("anna", "a"), ("ben", "b"), ("ben", "c")] {
        send(&service, bought(customer_id, activity_id, "1.00")).await.unwrap();
    }
    let foreign = list(&service, "ben", 1, String::new()).await.unwrap().1;
    assert_refuses_bad_pages(&foreign, |page_size, token| list(&service, "anna", page_size, token)).await;
}
