//! Changing a dossier: by its parts, guarded by its etag.

use futures_util::future::join_all;
use goldbook::proto;
use prost_types::FieldMask;
use tonic::{Code, Status};

use super::{consent, create, dossier, get, send, start};
use crate::harness::{SHOP, START, Service, assert_refused, at, sorted_bad_fields};

fn update(customer: proto::Customer, paths: &[&str]) -> proto::UpdateCustomerRequest {
    let paths = paths.iter().map(|path| (*path).to_owned()).collect();
    proto::UpdateCustomerRequest {
        program_id: SHOP.to_owned(),
        customer: Some(customer),
        update_mask: Some(FieldMask { paths }),
    }
}

async fn change(service: &Service, customer: proto::Customer, paths: &[&str]) -> Result<proto::Customer, Status> {
    Ok(service.customers().update_customer(update(customer, paths)).await?.into_inner().customer.unwrap())
}

/// A service with the customer anna, whose dossier is full.
async fn start_with_anna() -> Service {
    let service = start().await;
    send(&service, create(dossier("anna", "a"), "k-1")).await.unwrap();
    service
}

/// Copies one field of a customer to another.
type CopyField = fn(&mut proto::Customer, proto::Customer);

const PARTS: [(&str, CopyField); 13] = [
    ("given_name", |to, from| to.given_name = from.given_name),
    ("family_name", |to, from| to.family_name = from.family_name),
    ("display_name", |to, from| to.display_name = from.display_name),
    ("email", |to, from| to.email = from.email),
    ("phone", |to, from| to.phone = from.phone),
    ("address", |to, from| to.address = from.address),
    ("locale", |to, from| to.locale = from.locale),
    ("language", |to, from| to.language = from.language),
    ("birth_date", |to, from| to.birth_date = from.birth_date),
    ("important_dates", |to, from| to.important_dates = from.important_dates),
    ("interests", |to, from| to.interests = from.interests),
    ("communication_style", |to, from| to.communication_style = from.communication_style),
    ("attributes", |to, from| to.attributes = from.attributes),
];

#[tokio::test]
async fn update_customer_changes_each_part_alone() {
    let service = start_with_anna().await;
    let mut expected = get(&service, "anna").await;
    service.set_clock("2026-02-01T00:00:00Z");
    for (path, copy) in PARTS {
        let before = expected.clone();
        copy(&mut expected, dossier("anna", "bb"));
        assert_ne!(before, expected, "{path}");
        let changed = change(&service, dossier("anna", "bb"), &[path]).await.unwrap();
        assert_ne!(changed.etag, before.etag, "{path}");
        expected.etag.clone_from(&changed.etag);
        expected.update_time = Some(at("2026-02-01T00:00:00Z"));
        assert_eq!(changed, expected, "{path}");
        assert_eq!(get(&service, "anna").await, expected, "{path}");
    }
}

#[tokio::test]
async fn update_customer_clears_each_part_alone() {
    let service = start_with_anna().await;
    let mut expected = get(&service, "anna").await;
    let blank = || proto::Customer { customer_id: "anna".to_owned(), ..Default::default() };
    for (path, copy) in PARTS {
        copy(&mut expected, blank());
        let changed = change(&service, blank(), &[path]).await.unwrap();
        expected.etag.clone_from(&changed.etag);
        assert_eq!(changed, expected, "{path}");
    }
    let rest = proto::Customer {
        marketing_consents: dossier("anna", "a").marketing_consents,
        create_time: Some(at(START)),
        update_time: Some(at(START)),
        etag: expected.etag.clone(),
        ..blank()
    };
    assert_eq!(expected, rest);
}

#[tokio::test]
async fn update_customer_looks_only_at_what_the_mask_names() {
    let service = start_with_anna().await;
    let before = get(&service, "anna").await;
    let other = proto::Customer {
        customer_id: "anna".to_owned(),
        given_name: "Zoe".to_owned(),
        family_name: "x".repeat(500),
        email: "no address".to_owned(),
        create_time: Some(at("2000-01-01T00:00:00Z")),
        ..Default::default()
    };
    let changed = change(&service, other, &["given_name", "given_name"]).await.unwrap();
    assert_eq!(changed, proto::Customer { given_name: "Zoe".to_owned(), etag: changed.etag.clone(), ..before });
}

#[tokio::test]
async fn update_customer_writes_one_entry_for_each_change_and_none_without_one() {
    let service = start_with_anna().await;
    service.set_clock("2026-02-01T00:00:00Z");
    for _ in 0..3 {
        change(&service, dossier("anna", "bb"), &["given_name", "email"]).await.unwrap();
    }
    let entries = service.entries("anna").await;
    let [_, _, updated] = entries.as_slice() else { panic!("{entries:?}") };
    assert_eq!((updated.kind(), updated.actor()), (proto::EntryKind::DossierUpdated, proto::Actor::Caller));
    assert_eq!(updated.effective_at, Some(at("2026-02-01T00:00:00Z")));
    assert_eq!(updated.r#move, None);
    assert!(!updated.detail_json.contains("bb"), "{}", updated.detail_json);
}

#[tokio::test]
async fn update_customer_with_the_current_etag_changes_and_with_an_old_one_refuses() {
    let service = start_with_anna().await;
    let guarded = |etag: &str, name: &str| {
        let customer = proto::Customer { etag: etag.to_owned(), given_name: name.to_owned(), ..dossier("anna", "a") };
        update(customer, &["given_name"])
    };
    let old = get(&service, "anna").await.etag;
    let changed = service.customers().update_customer(guarded(&old, "Zoe")).await.unwrap().into_inner();
    let new = changed.customer.unwrap().etag;
    assert_ne!(new, old);
    let refused = service.customers().update_customer(guarded(&old, "Eva")).await;
    assert_refused(refused, Code::Aborted, "ETAG_MISMATCH");
    // The same request again: the dossier has changed since.
    let refused = service.customers().update_customer(guarded(&old, "Zoe")).await;
    assert_refused(refused, Code::Aborted, "ETAG_MISMATCH");
    let unchanged = get(&service, "anna").await;
    assert_eq!((unchanged.given_name.as_str(), &unchanged.etag), ("Zoe", &new));
    service.customers().update_customer(guarded(&new, "Eva")).await.unwrap();
    assert_eq!(get(&service, "anna").await.given_name, "Eva");
}

#[tokio::test]
async fn update_customer_at_once_with_one_etag_changes_once() {
    let service = start_with_anna().await;
    let other = Service::start_on(service.database.clone(), service.clock.clone()).await;
    let etag = get(&service, "anna").await.etag;
    let services = [&service, &other].into_iter().cycle().take(20).enumerate();
    let calls = services.map(|(i, service)| {
        let name = format!("Name {i}");
        let customer = proto::Customer { etag: etag.clone(), given_name: name, ..dossier("anna", "a") };
        change(service, customer, &["given_name"])
    });
    let (changed, refused): (Vec<_>, Vec<_>) = join_all(calls).await.into_iter().partition(Result::is_ok);
    assert_eq!((changed.len(), refused.len()), (1, 19));
    for outcome in refused {
        assert_refused(outcome, Code::Aborted, "ETAG_MISMATCH");
    }
    assert_eq!(get(&service, "anna").await, changed[0].as_ref().unwrap().clone());
}

#[tokio::test]
async fn update_customer_at_once_in_different_parts_loses_none() {
    let service = start_with_anna().await;
    let other = Service::start_on(service.database.clone(), service.clock.clone()).await;
    let services = [&service, &other].into_iter().cycle();
    let calls = PARTS.iter().zip(services).map(async |((path, _), service)| {
        change(service, dossier("anna", "bb"), &[path]).await.unwrap();
    });
    join_all(calls).await;
    let mut expected = get(&service, "anna").await;
    for (_, copy) in PARTS {
        copy(&mut expected, dossier("anna", "bb"));
    }
    assert_eq!(get(&service, "anna").await, expected);
}

#[tokio::test]
async fn update_customer_repeated_leaves_the_same_dossier() {
    let service = start_with_anna().await;
    let paths = ["given_name", "marketing_consents"];
    let first = change(&service, dossier("anna", "bb"), &paths).await.unwrap();
    service.set_clock("2026-02-01T00:00:00Z");
    assert_eq!(change(&service, dossier("anna", "bb"), &paths).await.unwrap(), first);
}

#[tokio::test]
async fn update_customer_refuses_an_unknown_program_or_customer() {
    let service = start_with_anna().await;
    let nobody = change(&service, dossier("nobody", "a"), &["email"]).await;
    assert_refused(nobody, Code::NotFound, "CUSTOMER_NOT_FOUND");
    let nowhere =
        proto::UpdateCustomerRequest { program_id: "nowhere".to_owned(), ..update(dossier("anna", "a"), &["email"]) };
    assert_refused(service.customers().update_customer(nowhere).await, Code::NotFound, "PROGRAM_NOT_FOUND");
}

#[tokio::test]
async fn update_customer_refuses_paths_that_name_no_changeable_field() {
    let service = start_with_anna().await;
    let before = get(&service, "anna").await;
    for path in ["*", "customer_id", "create_time", "update_time", "etag", "address.locality", "givenName", ""] {
        let refused = change(&service, dossier("anna", "bb"), &["given_name", path]).await;
        assert_eq!(sorted_bad_fields(refused), ["update_mask"], "{path}");
    }
    let unmasked = proto::UpdateCustomerRequest { update_mask: None, ..update(dossier("anna", "bb"), &[]) };
    assert_eq!(sorted_bad_fields(service.customers().update_customer(unmasked).await), ["update_mask"]);
    assert_eq!(get(&service, "anna").await, before);
}

#[tokio::test]
async fn update_customer_lists_every_bad_field() {
    let service = start_with_anna().await;
    let mut bad = dossier("", "a");
    (bad.email, bad.phone, bad.given_name) = ("@".to_owned(), "call me".to_owned(), "x".repeat(201));
    bad.marketing_consents = vec![consent(proto::MarketingChannel::Unspecified, true, START, "app")];
    let mut request = update(bad, &["email", "phone", "marketing_consents", "shoe_size"]);
    request.program_id = "a/b".to_owned();
    let expected = [
        "customer.customer_id",
        "customer.email",
        "customer.marketing_consents[0].channel",
        "customer.phone",
        "program_id",
        "update_mask",
    ];
    assert_eq!(sorted_bad_fields(service.customers().update_customer(request).await), expected);
    let nothing = proto::UpdateCustomerRequest::default();
    let refused = sorted_bad_fields(service.customers().update_customer(nothing).await);
    assert_eq!(refused, ["customer", "program_id", "update_mask"]);
}
