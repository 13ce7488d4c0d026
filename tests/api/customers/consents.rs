//! Marketing consent: dated decisions, of which the latest holds.

use goldbook::proto;
use goldbook::proto::MarketingChannel::{Email, Phone, Post, Push, Sms};
use prost_types::FieldMask;
use tonic::{Code, Status};

use super::{consent, create, get, get_all, send, start};
use crate::harness::{SHOP, Service, assert_refused};

/// A service with the customer anna, who decided nothing yet.
async fn start_with_anna() -> Service {
    let service = start().await;
    service.enrol("anna").await;
    service
}

fn anna(marketing_consents: Vec<proto::MarketingConsent>) -> proto::Customer {
    proto::Customer { customer_id: "anna".to_owned(), marketing_consents, ..Default::default() }
}

async fn decide(service: &Service, consents: Vec<proto::MarketingConsent>) -> Result<proto::Customer, Status> {
    let request = proto::UpdateCustomerRequest {
        program_id: SHOP.to_owned(),
        customer: Some(anna(consents)),
        update_mask: Some(FieldMask { paths: vec!["marketing_consents".to_owned()] }),
    };
    Ok(service.customers().update_customer(request).await?.into_inner().customer.unwrap())
}

async fn history(service: &Service) -> Vec<proto::MarketingConsent> {
    get_all(service, "anna").await.unwrap().marketing_consent_history
}

#[tokio::test]
async fn update_customer_adds_consents_and_keeps_the_earlier_ones() {
    let service = start_with_anna().await;
    let yes = consent(Email, true, "2026-01-01T00:00:00Z", "form");
    let no = consent(Email, false, "2026-01-03T00:00:00Z", "app");
    let sms = consent(Sms, true, "2026-01-02T00:00:00Z", "");
    decide(&service, vec![sms.clone(), yes.clone()]).await.unwrap();
    let changed = decide(&service, vec![no.clone()]).await.unwrap();
    assert_eq!(changed.marketing_consents, [no.clone(), sms.clone()]);
    assert_eq!(get(&service, "anna").await, changed);
    assert_eq!(history(&service).await, [no, sms, yes]);
}

#[tokio::test]
async fn get_customer_answers_with_the_decision_made_last_however_late_it_was_recorded() {
    let service = start_with_anna().await;
    let later = consent(Phone, false, "2026-01-05T00:00:00Z", "call");
    let earlier = consent(Phone, true, "2026-01-04T00:00:00Z", "letter");
    decide(&service, vec![later.clone()]).await.unwrap();
    decide(&service, vec![earlier.clone()]).await.unwrap();
    assert_eq!(get(&service, "anna").await.marketing_consents, std::slice::from_ref(&later));
    assert_eq!(history(&service).await, [later, earlier]);
}

#[tokio::test]
async fn get_customer_answers_with_the_decision_recorded_last_of_one_instant() {
    let service = start_with_anna().await;
    let yes = consent(Push, true, "2026-01-05T00:00:00Z", "");
    let no = consent(Push, false, "2026-01-05T00:00:00Z", "");
    decide(&service, vec![no.clone(), yes.clone()]).await.unwrap();
    assert_eq!(get(&service, "anna").await.marketing_consents, std::slice::from_ref(&yes));
    let changed = consent(Push, false, "2026-01-05T00:00:00Z", "again");
    decide(&service, vec![changed.clone()]).await.unwrap();
    assert_eq!(get(&service, "anna").await.marketing_consents, std::slice::from_ref(&changed));
    assert_eq!(history(&service).await, [changed, yes, no]);
}

#[tokio::test]
async fn update_customer_does_not_record_an_equal_consent_again() {
    let service = start_with_anna().await;
    let yes = consent(Post, true, "2026-01-05T00:00:00Z", "shop");
    let first = decide(&service, vec![yes.clone()]).await.unwrap();
    // Instants count in microseconds.
    let mut finer = yes.clone();
    finer.decided_at.as_mut().unwrap().nanos = 999;
    assert_eq!(decide(&service, vec![finer]).await.unwrap(), first);
    let elsewhere = proto::MarketingConsent { source: "web".to_owned(), ..yes.clone() };
    decide(&service, vec![yes.clone(), elsewhere.clone()]).await.unwrap();
    assert_eq!(history(&service).await, [elsewhere, yes]);
}

#[tokio::test]
async fn create_and_update_customer_record_equal_consents_of_one_request_once() {
    let service = start().await;
    let yes = consent(Post, true, "2026-01-05T00:00:00Z", "shop");
    send(&service, create(anna(vec![yes.clone(), yes.clone()]), "k-1")).await.unwrap();
    assert_eq!(history(&service).await, std::slice::from_ref(&yes));
    let no = consent(Post, false, "2026-01-06T00:00:00Z", "shop");
    decide(&service, vec![no.clone(), no.clone()]).await.unwrap();
    assert_eq!(history(&service).await, [no, yes]);
}

#[tokio::test]
async fn update_customer_refuses_a_consent_of_tomorrow_and_changes_nothing() {
    let service = start_with_anna().await;
    let today = consent(Email, true, "2026-01-15T12:00:00Z", "");
    let tomorrow = consent(Sms, true, "2026-01-16T12:00:00Z", "");
    let refused = decide(&service, vec![today.clone(), tomorrow.clone()]).await;
    assert_refused(refused, Code::OutOfRange, "INSTANT_IN_FUTURE");
    assert_eq!(history(&service).await, []);
    service.set_clock("2026-01-16T12:00:00Z");
    decide(&service, vec![today.clone(), tomorrow.clone()]).await.unwrap();
    assert_eq!(history(&service).await, [tomorrow, today]);
}

#[tokio::test]
async fn update_customer_leaves_consents_alone_that_the_mask_does_not_name() {
    let service = start_with_anna().await;
    let yes = consent(Email, true, "2026-01-05T00:00:00Z", "");
    let request = proto::UpdateCustomerRequest {
        program_id: SHOP.to_owned(),
        customer: Some(anna(vec![yes])),
        update_mask: Some(FieldMask { paths: vec!["given_name".to_owned()] }),
    };
    service.customers().update_customer(request).await.unwrap();
    assert_eq!(history(&service).await, []);
}

#[tokio::test]
async fn get_customer_answers_with_a_bounded_history_and_what_holds_of_every_channel() {
    let service = start_with_anna().await;
    let post = consent(Post, true, "2025-01-01T00:00:00Z", "letter");
    decide(&service, vec![post.clone()]).await.unwrap();
    // As many updates would be slow to make.
    let insert = "INSERT INTO marketing_consents
                  SELECT account_id, 100 + number, 0, 'email', number % 2 = 0, '',
                      '2025-06-01T00:00:00Z'::timestamptz + number * interval '1 second'
                  FROM names CROSS JOIN generate_series(1, 1500) AS number WHERE name = 'anna'";
    let mut connection = service.database.connect(goldbook::embedded_postgres::SUPERUSER).await;
    sqlx::raw_sql(insert).execute(&mut connection).await.unwrap();
    let last = consent(Email, true, "2025-06-01T00:25:00Z", "");
    assert_eq!(get(&service, "anna").await.marketing_consents, [last.clone(), post.clone()]);
    let history = history(&service).await;
    assert_eq!((history.len(), &history[0]), (1_000, &last));
    assert!(history.windows(2).all(|two| two[0].decided_at.unwrap().seconds > two[1].decided_at.unwrap().seconds));
    // One that was recorded before is not recorded again, however long ago.
    let first = consent(Email, false, "2025-06-01T00:00:01Z", "");
    let unchanged = get(&service, "anna").await.etag;
    assert_eq!(decide(&service, vec![first, post]).await.unwrap().etag, unchanged);
}
