//! Benefits: what a customer's tier entitles them to.

mod celebrations;
pub(crate) mod grants;
pub(crate) mod packages;
mod random_packages;
mod rights;
pub(crate) mod uses;

use goldbook::proto;
use tonic::{Code, Status};

use crate::harness::{
    SHOP, START, Service, assert_refused, assert_refuses_bad_pages, at, read_pages, shop, sorted_bad_fields,
};

/// A service with [`SHOP`] and the customer anna.
async fn start_with_anna() -> Service {
    let service = Service::start().await;
    service.apply_shop().await;
    service.enrol("anna").await;
    service
}

pub(crate) fn request(customer_id: &str) -> proto::ListCustomerBenefitsRequest {
    proto::ListCustomerBenefitsRequest {
        program_id: SHOP.to_owned(),
        customer_id: customer_id.to_owned(),
        ..Default::default()
    }
}

async fn list(
    service: &Service,
    request: proto::ListCustomerBenefitsRequest,
) -> Result<(Vec<proto::Entitlement>, String), Status> {
    let page = service.benefits().list_customer_benefits(request).await?.into_inner();
    Ok((page.entitlements, page.next_page_token))
}

fn ids(entitlements: &[proto::Entitlement]) -> Vec<&str> {
    entitlements.iter().map(|entitlement| entitlement.benefit.as_ref().unwrap().benefit_id.as_str()).collect()
}

/// [`shop`] whose first tier has so many benefits.
fn shop_with_benefits(count: usize) -> proto::Program {
    let mut program = shop();
    let benefit = program.tiers[0].benefits[0].clone();
    let number = |i| proto::Benefit { benefit_id: format!("benefit-{i}"), ..benefit.clone() };
    program.tiers[0].benefits = (0..count).map(number).collect();
    program
}

#[tokio::test]
async fn list_customer_benefits_tells_what_the_tier_gives_and_which_change_gave_it() {
    let service = start_with_anna().await;
    service.set_clock("2026-01-16T12:00:00Z");
    let change = service.purchase("anna", "a", "200.00").await.unwrap().tier_change.unwrap();
    service.set_clock("2026-01-17T12:00:00Z");
    let entitled = |benefit| proto::Entitlement {
        benefit: Some(benefit),
        tier_id: "silver".to_owned(),
        since: Some(at("2026-01-16T12:00:00Z")),
        entry_id: change.entry_id.clone(),
        right: proto::EntitlementRight::Tier.into(),
        ..Default::default()
    };
    let expected: Vec<_> = shop().tiers.remove(1).benefits.into_iter().map(entitled).collect();
    assert_eq!(expected.len(), 2);
    assert_eq!(list(&service, request("anna")).await.unwrap(), (expected, String::new()));
}

#[tokio::test]
async fn list_customer_benefits_answers_for_any_instant_since_enrolment() {
    let service = start_with_anna().await;
    service.set_clock("2026-01-16T12:00:00Z");
    service.purchase("anna", "a", "500.00").await.unwrap();
    service.set_clock("2026-01-17T12:00:00Z");
    let as_of = |instant| proto::ListCustomerBenefitsRequest { as_of: Some(at(instant)), ..request("anna") };
    let entries = service.entries("anna").await;
    let (entitlements, _) = list(&service, as_of("2026-01-16T11:59:59.999999Z")).await.unwrap();
    assert_eq!(ids(&entitlements), ["newsletter"]);
    assert_eq!((entitlements[0].tier_id.as_str(), &entitlements[0].entry_id), ("member", &entries[1].entry_id));
    let (entitlements, _) = list(&service, as_of("2026-01-16T12:00:00Z")).await.unwrap();
    assert_eq!(ids(&entitlements), ["newsletter", "free-shipping", "lounge"]);
    let before = list(&service, as_of("2026-01-15T11:59:59.999999Z")).await;
    assert_refused(before, Code::NotFound, "CUSTOMER_NOT_FOUND");
    let ahead = list(&service, as_of("2026-01-17T12:00:00.000001Z")).await;
    assert_refused(ahead, Code::OutOfRange, "INSTANT_IN_FUTURE");
}

#[tokio::test]
async fn list_customer_benefits_follows_the_version_in_force() {
    let service = start_with_anna().await;
    service.set_clock("2026-02-01T00:00:00Z");
    service.apply(shop_with_benefits(2)).await.unwrap();
    assert_eq!(ids(&list(&service, request("anna")).await.unwrap().0), ["benefit-0", "benefit-1"]);
    let before = proto::ListCustomerBenefitsRequest { as_of: Some(at(START)), ..request("anna") };
    assert_eq!(ids(&list(&service, before).await.unwrap().0), ["newsletter"]);
    service.apply(shop_with_benefits(0)).await.unwrap();
    assert_eq!(list(&service, request("anna")).await.unwrap(), (Vec::new(), String::new()));
}

#[tokio::test]
async fn list_customer_benefits_returns_each_once_in_the_programs_order() {
    let service = start_with_anna().await;
    let program = shop_with_benefits(100);
    let expected: Vec<_> = program.tiers[0].benefits.clone();
    service.apply(program).await.unwrap();
    let page = |page_size, page_token| proto::ListCustomerBenefitsRequest { page_size, page_token, ..request("anna") };
    let benefits = |entitlements: Vec<proto::Entitlement>| -> Vec<_> {
        entitlements.into_iter().map(|entitlement| entitlement.benefit.unwrap()).collect()
    };
    for page_size in [7, 50, 100] {
        let count = i32::try_from(page_size).unwrap();
        let read = |token| async { list(&service, page(count, token)).await.unwrap() };
        assert_eq!(benefits(read_pages(page_size, read).await), expected);
    }
    assert_eq!(benefits(list(&service, page(0, String::new())).await.unwrap().0), expected[..50]);
    let (all, token) = list(&service, page(1_001, String::new())).await.unwrap();
    assert_eq!((benefits(all), token), (expected, String::new()));
}

#[tokio::test]
async fn list_customer_benefits_refuses_bad_pages() {
    let service = start_with_anna().await;
    service.apply(shop_with_benefits(3)).await.unwrap();
    service.enrol("ben").await;
    let ben = proto::ListCustomerBenefitsRequest { page_size: 1, ..request("ben") };
    let foreign = list(&service, ben).await.unwrap().1;
    let page = |page_size, page_token| proto::ListCustomerBenefitsRequest { page_size, page_token, ..request("anna") };
    assert_refuses_bad_pages(&foreign, |page_size, token| list(&service, page(page_size, token))).await;
    // Of another instant.
    let then = proto::ListCustomerBenefitsRequest { as_of: Some(at(START)), page_token: foreign, ..request("ben") };
    assert_refused(list(&service, then).await, Code::OutOfRange, "PAGE_TOKEN_INVALID");
}

#[tokio::test]
async fn list_customer_benefits_refuses_an_unknown_program_or_customer() {
    let service = start_with_anna().await;
    for as_of in [None, Some(at(START))] {
        let nowhere = proto::ListCustomerBenefitsRequest { program_id: "nowhere".to_owned(), as_of, ..request("anna") };
        assert_refused(list(&service, nowhere).await, Code::NotFound, "PROGRAM_NOT_FOUND");
        let nobody = proto::ListCustomerBenefitsRequest { as_of, ..request("nobody") };
        assert_refused(list(&service, nobody).await, Code::NotFound, "CUSTOMER_NOT_FOUND");
    }
}

#[tokio::test]
async fn list_customer_benefits_lists_every_bad_field() {
    let service = start_with_anna().await;
    let bad = proto::ListCustomerBenefitsRequest {
        program_id: "a_b".to_owned(),
        as_of: Some(prost_types::Timestamp { seconds: 0, nanos: -1 }),
        page_size: -1,
        ..request("a\nb")
    };
    assert_eq!(sorted_bad_fields(list(&service, bad).await), ["as_of", "customer_id", "page_size", "program_id"]);
}
