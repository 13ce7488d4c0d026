//! Customers: enrolling them, their dossiers, and the lists of both. Consents and changes have files of their own.

mod consents;
pub(crate) mod erasure;
pub(crate) mod export;
mod export_command;
mod retention;
mod updates;

use futures_util::future::join_all;
use goldbook::proto;
use goldbook::proto::EntryKind::{CustomerEnrolled, DossierUpdated, TierChanged};
use goldbook::proto::google::{Date, PostalAddress};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::harness::{
    SHOP, START, Service, assert_refused, assert_refuses_bad_pages, at, create_customer, read_pages, sorted_bad_fields,
};

/// A dossier with everything in it, each text marked so that two dossiers differ everywhere.
fn dossier(customer_id: &str, mark: &str) -> proto::Customer {
    let marked = |text: &str| format!("{text}-{mark}");
    let day = i32::try_from(mark.len()).unwrap();
    proto::Customer {
        customer_id: customer_id.to_owned(),
        given_name: marked("Given"),
        family_name: marked("Fämily"),
        display_name: marked("Display"),
        email: format!("{mark}@example.com"),
        phone: format!("+49 (30) 123-45{day}"),
        address: Some(PostalAddress {
            revision: 0,
            region_code: "DE".to_owned(),
            language_code: "de".to_owned(),
            postal_code: marked("10115"),
            sorting_code: marked("sorting"),
            administrative_area: marked("area"),
            locality: marked("locality"),
            sublocality: marked("sublocality"),
            address_lines: vec![marked("line 1"), marked("line 2")],
            recipients: vec![marked("recipient")],
            organization: marked("organization"),
        }),
        locale: format!("de-x-{mark}"),
        language: format!("fr-x-{mark}"),
        birth_date: Some(Date { year: 0, month: 2, day: 28 + day % 2 }),
        important_dates: vec![proto::ImportantDate {
            label: marked("wedding"),
            date: Some(Date { year: 2_000 + day, month: 2, day: 3 }),
        }],
        interests: vec![marked("chess"), marked("alpine skiing")],
        communication_style: if mark == "a" {
            proto::CommunicationStyle::Driver.into()
        } else {
            proto::CommunicationStyle::Analytical.into()
        },
        attributes: [("shoe size".to_owned(), marked("42")), ("seat".to_owned(), String::new())].into(),
        marketing_consents: vec![
            consent(proto::MarketingChannel::Email, true, "2026-01-01T00:00:00Z", mark),
            consent(proto::MarketingChannel::Push, false, "2026-01-02T00:00:00Z", mark),
        ],
        create_time: None,
        update_time: None,
        etag: String::new(),
    }
}

fn consent(channel: proto::MarketingChannel, granted: bool, decided_at: &str, source: &str) -> proto::MarketingConsent {
    proto::MarketingConsent {
        channel: channel.into(),
        granted,
        decided_at: Some(at(decided_at)),
        source: source.to_owned(),
    }
}

fn create(customer: proto::Customer, key: &str) -> proto::CreateCustomerRequest {
    proto::CreateCustomerRequest {
        program_id: SHOP.to_owned(),
        customer: Some(customer),
        idempotency_key: key.to_owned(),
        returns: false,
    }
}

async fn send(
    service: &Service,
    request: proto::CreateCustomerRequest,
) -> Result<proto::CreateCustomerResponse, Status> {
    Ok(service.customers().create_customer(request).await?.into_inner())
}

async fn get_all(service: &Service, customer_id: &str) -> Result<proto::GetCustomerResponse, Status> {
    let request = proto::GetCustomerRequest { program_id: SHOP.to_owned(), customer_id: customer_id.to_owned() };
    Ok(service.customers().get_customer(request).await?.into_inner())
}

async fn get(service: &Service, customer_id: &str) -> proto::Customer {
    get_all(service, customer_id).await.unwrap().customer.unwrap()
}

async fn list(service: &Service, page_size: i32, page_token: String) -> Result<(Vec<String>, String), Status> {
    let request = proto::ListCustomersRequest { program_id: SHOP.to_owned(), page_size, page_token };
    let page = service.customers().list_customers(request).await?.into_inner();
    Ok((page.customers.into_iter().map(|customer| customer.customer_id).collect(), page.next_page_token))
}

/// A service with [`SHOP`](crate::harness::SHOP).
async fn start() -> Service {
    let service = Service::start().await;
    service.apply_shop().await;
    service
}

#[tokio::test]
async fn create_customer_keeps_the_whole_dossier() {
    let service = start().await;
    let created = send(&service, create(dossier("anna", "a"), "k-1")).await.unwrap();
    assert!(!created.replayed);
    let customer = created.customer.unwrap();
    assert!(!customer.etag.is_empty());
    let expected = proto::Customer {
        create_time: Some(at(START)),
        update_time: Some(at(START)),
        etag: customer.etag.clone(),
        ..dossier("anna", "a")
    };
    assert_eq!(customer, expected);
    assert_eq!(get(&service, "anna").await, expected);
    let request = proto::ListCustomersRequest { program_id: SHOP.to_owned(), page_size: 0, page_token: String::new() };
    let listed = service.customers().list_customers(request).await.unwrap().into_inner();
    assert_eq!(listed.customers, [expected]);
}

#[tokio::test]
async fn create_customer_gives_the_first_tier_and_an_account() {
    let service = start().await;
    service.enrol("anna").await;
    let entries = service.entries("anna").await;
    assert_eq!(service.kinds("anna").await, [CustomerEnrolled, TierChanged]);
    assert_eq!(service.tier("anna").await.tier_id, "member");
    assert_eq!(get_all(&service, "anna").await.unwrap().account_id, entries[0].account_id);
}

#[tokio::test]
async fn create_customer_takes_ids_up_to_their_bounds() {
    let service = start().await;
    let longest = "é".repeat(128);
    for customer_id in ["C0001", "o'hara \"x\" \\ 50%", " ", &longest] {
        send(&service, create_customer(customer_id, "k-1")).await.unwrap();
        assert_eq!(get(&service, customer_id).await.customer_id, customer_id);
    }
}

#[tokio::test]
async fn create_customer_replayed_answers_as_it_was_created_also_after_a_change() {
    let service = start().await;
    let first = send(&service, create(dossier("anna", "a"), "k-1")).await.unwrap();
    service.set_clock("2026-02-01T00:00:00Z");
    let change = proto::UpdateCustomerRequest {
        program_id: SHOP.to_owned(),
        customer: Some(dossier("anna", "bb")),
        update_mask: Some(prost_types::FieldMask { paths: vec!["given_name".to_owned()] }),
    };
    service.customers().update_customer(change).await.unwrap();
    let replay = proto::CreateCustomerResponse { replayed: true, ..first };
    assert_eq!(send(&service, create(dossier("anna", "a"), "k-1")).await.unwrap(), replay);
    let service = service.restart().await;
    assert_eq!(send(&service, create(dossier("anna", "a"), "k-1")).await.unwrap(), replay);
    assert_eq!(get(&service, "anna").await.given_name, "Given-bb");
    assert_eq!(service.kinds("anna").await, [CustomerEnrolled, TierChanged, DossierUpdated]);
}

#[tokio::test]
async fn create_customer_refuses_a_key_used_with_another_request() {
    let service = start().await;
    send(&service, create(dossier("anna", "a"), "k-1")).await.unwrap();
    let other = || send(&service, create(dossier("anna", "bb"), "k-1"));
    assert_refused(other().await, Code::AlreadyExists, "IDEMPOTENCY_KEY_REUSED");
    // A key is the customer's, whatever the method.
    let granted = service.grant("anna", 5, "k-1").await;
    assert_refused(granted, Code::AlreadyExists, "IDEMPOTENCY_KEY_REUSED");
    assert_eq!(get(&service, "anna").await.given_name, "Given-a");
    // Another customer's key is another key.
    assert!(!send(&service, create(dossier("ben", "bb"), "k-1")).await.unwrap().replayed);
}

#[tokio::test]
async fn create_customer_refuses_an_id_that_exists() {
    let service = start().await;
    send(&service, create(dossier("anna", "a"), "k-1")).await.unwrap();
    let status = send(&service, create(dossier("anna", "a"), "k-2")).await.unwrap_err();
    let info = status.get_details_error_info().unwrap();
    assert_eq!(info.metadata["customer_id"], "anna");
    assert_refused::<()>(Err(status), Code::AlreadyExists, "CUSTOMER_ALREADY_EXISTS");
    assert_eq!(service.kinds("anna").await, [CustomerEnrolled, TierChanged]);
    // The refused key was not used up: it still means nothing.
    let status = send(&service, create(dossier("anna", "bb"), "k-2")).await;
    assert_refused(status, Code::AlreadyExists, "CUSTOMER_ALREADY_EXISTS");
}

#[tokio::test]
async fn create_customer_refused_leaves_the_id_and_the_key_unused() {
    let service = start().await;
    let tomorrow = consent(proto::MarketingChannel::Sms, true, "2026-01-16T12:00:00Z", "app");
    let early = proto::Customer { marketing_consents: vec![tomorrow], ..dossier("anna", "a") };
    assert_refused(send(&service, create(early, "k-1")).await, Code::OutOfRange, "INSTANT_IN_FUTURE");
    assert_refused(get_all(&service, "anna").await, Code::NotFound, "CUSTOMER_NOT_FOUND");
    assert_eq!(service.count_entries().await, 1);
    assert!(!send(&service, create(dossier("anna", "bb"), "k-1")).await.unwrap().replayed);
}

#[tokio::test]
async fn create_customer_50_times_at_once_with_one_key_enrols_once() {
    let service = start().await;
    let other = Service::start_on(service.database.clone(), service.clock.clone()).await;
    let services = [&service, &other].into_iter().cycle().take(50);
    let answers = join_all(services.map(|service| send(service, create(dossier("anna", "a"), "k-1")))).await;
    let answers: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
    assert_eq!(answers.iter().filter(|answer| !answer.replayed).count(), 1);
    assert!(answers.iter().all(|answer| answer.customer == answers[0].customer));
    assert_eq!(service.kinds("anna").await, [CustomerEnrolled, TierChanged]);
}

#[tokio::test]
async fn create_customer_50_times_at_once_with_different_keys_enrols_once() {
    let service = start().await;
    let other = Service::start_on(service.database.clone(), service.clock.clone()).await;
    let services = [&service, &other].into_iter().cycle().take(50).enumerate();
    let calls = services.map(|(i, service)| send(service, create(dossier("anna", "a"), &format!("k-{i}"))));
    let (enrolled, refused): (Vec<_>, Vec<_>) = join_all(calls).await.into_iter().partition(Result::is_ok);
    assert_eq!((enrolled.len(), refused.len()), (1, 49));
    for outcome in refused {
        assert_refused(outcome, Code::AlreadyExists, "CUSTOMER_ALREADY_EXISTS");
    }
    assert_eq!(service.kinds("anna").await, [CustomerEnrolled, TierChanged]);
}

#[tokio::test]
async fn create_get_and_list_customers_refuse_an_unknown_program_or_customer() {
    let service = start().await;
    let program_id = || "nowhere".to_owned();
    let created = proto::CreateCustomerRequest { program_id: program_id(), ..create_customer("anna", "k") };
    assert_refused(send(&service, created).await, Code::NotFound, "PROGRAM_NOT_FOUND");
    let read = proto::GetCustomerRequest { program_id: program_id(), customer_id: "anna".to_owned() };
    assert_refused(service.customers().get_customer(read).await, Code::NotFound, "PROGRAM_NOT_FOUND");
    let listed = proto::ListCustomersRequest { program_id: program_id(), page_size: 0, page_token: String::new() };
    assert_refused(service.customers().list_customers(listed).await, Code::NotFound, "PROGRAM_NOT_FOUND");
    assert_refused(get_all(&service, "anna").await, Code::NotFound, "CUSTOMER_NOT_FOUND");
    assert_eq!(list(&service, 0, String::new()).await.unwrap(), (Vec::new(), String::new()));
}

#[tokio::test]
async fn create_customer_lists_every_bad_field() {
    let service = start().await;
    let long = || "x".repeat(201);
    let mut bad = dossier("a\u{0}b", "a");
    (bad.given_name, bad.family_name, bad.display_name) = (long(), "a\nb".to_owned(), "é".repeat(201));
    (bad.email, bad.phone) = ("nobody".to_owned(), "12".to_owned());
    (bad.locale, bad.language) = ("de_DE".to_owned(), "d".to_owned());
    bad.birth_date = Some(Date { year: 2_025, month: 2, day: 29 });
    let label = |label: &str, date| proto::ImportantDate { label: label.to_owned(), date };
    bad.important_dates = vec![label("", None), label("x", Some(Date { year: 2_020, month: 0, day: 1 }))];
    bad.interests = vec![String::new(), "x".repeat(101)];
    bad.communication_style = 77;
    bad.attributes = [("long".to_owned(), "x".repeat(1_001))].into();
    let address = bad.address.as_mut().unwrap();
    address.revision = 3;
    address.region_code = String::new();
    address.locality = long();
    bad.marketing_consents[0].channel = 0;
    bad.marketing_consents[0].source = long();
    bad.marketing_consents[1].decided_at = None;
    let request = proto::CreateCustomerRequest { program_id: "Shop".to_owned(), ..create(bad, "") };
    let expected = [
        "customer.address.locality",
        "customer.address.region_code",
        "customer.address.revision",
        "customer.attributes",
        "customer.birth_date",
        "customer.communication_style",
        "customer.customer_id",
        "customer.display_name",
        "customer.email",
        "customer.family_name",
        "customer.given_name",
        "customer.important_dates[0].date",
        "customer.important_dates[0].label",
        "customer.important_dates[1].date",
        "customer.interests[0]",
        "customer.interests[1]",
        "customer.language",
        "customer.locale",
        "customer.marketing_consents[0].channel",
        "customer.marketing_consents[0].source",
        "customer.marketing_consents[1].decided_at",
        "customer.phone",
        "idempotency_key",
        "program_id",
    ];
    assert_eq!(sorted_bad_fields(send(&service, request).await), expected);
    assert_eq!(
        sorted_bad_fields(send(&service, proto::CreateCustomerRequest::default()).await),
        ["customer", "idempotency_key", "program_id"]
    );
}

#[tokio::test]
async fn create_customer_refuses_too_much_of_anything() {
    let service = start().await;
    let mut vast = dossier("anna", "a");
    vast.important_dates = vec![vast.important_dates[0].clone(); 51];
    vast.interests = vec!["x".to_owned(); 51];
    vast.attributes = (0..101).map(|i| (format!("key-{i}"), String::new())).collect();
    vast.marketing_consents = vec![vast.marketing_consents[0].clone(); 51];
    let address = vast.address.as_mut().unwrap();
    address.address_lines = vec!["x".to_owned(); 11];
    address.recipients = vec!["x".to_owned(); 11];
    let expected = [
        "customer.address.address_lines",
        "customer.address.recipients",
        "customer.attributes",
        "customer.important_dates",
        "customer.interests",
        "customer.marketing_consents",
    ];
    assert_eq!(sorted_bad_fields(send(&service, create(vast, "k-1")).await), expected);
}

#[tokio::test]
async fn get_customer_and_list_customers_list_every_bad_field() {
    let service = start().await;
    let read = proto::GetCustomerRequest { program_id: String::new(), customer_id: "x".repeat(129) };
    let refused = service.customers().get_customer(read).await;
    assert_eq!(sorted_bad_fields(refused), ["customer_id", "program_id"]);
    let listed = proto::ListCustomersRequest { program_id: "S".to_owned(), page_size: -1, page_token: String::new() };
    let refused = service.customers().list_customers(listed).await;
    assert_eq!(sorted_bad_fields(refused), ["page_size", "program_id"]);
}

#[tokio::test]
async fn list_customers_returns_each_once_in_the_order_of_their_ids() {
    let service = start().await;
    let mut ids: Vec<String> = (0..1_002).map(|i| format!("c{i:04}")).collect();
    ids.extend(["B", "a", "é"].map(str::to_owned));
    join_all(ids.iter().rev().map(|id| service.enrol(id))).await;
    ids.sort();
    let read = |token| async { list(&service, 400, token).await.unwrap() };
    assert_eq!(read_pages(400, read).await, ids);
    assert_eq!(list(&service, 0, String::new()).await.unwrap().0, ids[..50]);
    assert_eq!(list(&service, 1_001, String::new()).await.unwrap().0, ids[..1_000]);
}

#[tokio::test]
async fn list_customers_refuses_bad_pages() {
    let service = start().await;
    let mut outlet = crate::harness::shop();
    outlet.program_id = "outlet".to_owned();
    service.apply(outlet).await.unwrap();
    for customer_id in ["anna", "ben"] {
        let request =
            proto::CreateCustomerRequest { program_id: "outlet".to_owned(), ..create_customer(customer_id, "k") };
        send(&service, request).await.unwrap();
    }
    let outlet =
        proto::ListCustomersRequest { program_id: "outlet".to_owned(), page_size: 1, page_token: String::new() };
    let foreign = service.customers().list_customers(outlet).await.unwrap().into_inner().next_page_token;
    assert_refuses_bad_pages(&foreign, |page_size, token| list(&service, page_size, token)).await;
}
