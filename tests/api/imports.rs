//! Imports of opening balances: what holds for lots and tiers alike. Lots, tiers and the program's own command have
//! files of their own.

mod command;
mod lots;
mod tiers;

use std::collections::BTreeMap;

use goldbook::proto;
use goldbook::proto::EntryKind;
use goldbook::proto::import_balances_request::Opening;
use goldbook::proto::import_balances_response::Outcome;
use goldbook::proto::opening_lot::Vesting;
use tonic::Code;

use crate::book_rules::check_rules;
use crate::harness::{SHOP, START, Service, at, money, usd};

/// A service with the customer anna.
async fn start_with_anna() -> Service {
    let service = Service::start().await;
    service.apply_shop().await;
    service.enrol("anna").await;
    service
}

fn rule(rule: proto::expiry_rule::Rule) -> proto::ExpiryRule {
    proto::ExpiryRule { rule: Some(rule) }
}

fn until(instant: &str) -> Option<proto::ExpiryRule> {
    Some(rule(proto::expiry_rule::Rule::At(at(instant))))
}

fn item(customer_id: &str, key: &str, opening: Opening) -> proto::ImportBalancesRequest {
    proto::ImportBalancesRequest {
        item_id: key.to_owned(),
        program_id: SHOP.to_owned(),
        customer_id: customer_id.to_owned(),
        enrol: false,
        idempotency_key: key.to_owned(),
        opening: Some(opening),
    }
}

fn lot(points: i64) -> proto::OpeningLot {
    proto::OpeningLot { points, ..Default::default() }
}

fn open(customer_id: &str, key: &str, lot: proto::OpeningLot) -> proto::ImportBalancesRequest {
    item(customer_id, key, Opening::Lot(lot))
}

pub(crate) fn tier(customer_id: &str, key: &str, tier_id: &str, spend: Option<&str>) -> proto::ImportBalancesRequest {
    let opening = proto::OpeningTier { tier_id: tier_id.to_owned(), qualifying_spend: spend.map(usd) };
    item(customer_id, key, Opening::Tier(opening))
}

/// Sends items over one stream; the outcomes by item id, each of which came exactly once.
async fn import(service: &Service, items: Vec<proto::ImportBalancesRequest>) -> BTreeMap<String, Outcome> {
    let count = items.len();
    let mut client = proto::import_service_client::ImportServiceClient::new(service.channel.clone());
    let mut stream = client.import_balances(tokio_stream::iter(items)).await.unwrap().into_inner();
    let (mut outcomes, mut received) = (BTreeMap::new(), 0);
    while let Some(response) = stream.message().await.unwrap() {
        received += 1;
        outcomes.insert(response.item_id, response.outcome.unwrap());
    }
    assert_eq!((received, outcomes.len()), (count, count));
    outcomes
}

/// Imports one item, which must succeed.
pub(crate) async fn import_one(service: &Service, item: proto::ImportBalancesRequest) -> proto::ImportedOpening {
    match import(service, vec![item]).await.into_values().next() {
        Some(Outcome::Imported(imported)) => imported,
        other => panic!("{other:?}"),
    }
}

/// The code and the reason, or the bad fields, of an item that must fail.
fn refused(outcome: &Outcome) -> (Code, String) {
    let Outcome::Error(status) = outcome else { panic!("{outcome:?}") };
    let details: Vec<_> = status.details.iter().collect();
    let find = |name: &str| details.iter().find(|any| any.type_url.ends_with(name)).map(|any| any.value.as_slice());
    let said = match (find("ErrorInfo"), find("BadRequest")) {
        (Some(info), _) => <tonic_types::pb::ErrorInfo as prost::Message>::decode(info).unwrap().reason,
        (None, Some(bad)) => {
            let bad = <tonic_types::pb::BadRequest as prost::Message>::decode(bad).unwrap();
            let mut fields: Vec<String> = bad.field_violations.into_iter().map(|violation| violation.field).collect();
            fields.sort();
            fields.join(" ")
        }
        (None, None) => panic!("{status:?}"),
    };
    (Code::from_i32(status.code), said)
}

async fn import_refused(service: &Service, item: proto::ImportBalancesRequest) -> (Code, String) {
    refused(import(service, vec![item]).await.values().next().unwrap())
}

#[tokio::test]
async fn import_balances_counts_a_key_once_and_refuses_it_for_anything_else() {
    let service = start_with_anna().await;
    // Keys of other methods are others.
    service.grant("anna", 3, "a").await.unwrap();
    let first = import_one(&service, open("anna", "a", lot(5))).await;
    assert!(!first.replayed);
    let count = service.count_entries().await;
    let again = import_one(&service, open("anna", "a", lot(5))).await;
    assert_eq!(again, proto::ImportedOpening { replayed: true, ..first });
    let reused = (Code::AlreadyExists, "IDEMPOTENCY_KEY_REUSED".to_owned());
    let vests = proto::OpeningLot { vesting: Some(Vesting::VestsAt(at("2026-02-01T00:00:00Z"))), ..lot(5) };
    let expires = proto::OpeningLot { expiry: until("2026-02-01T00:00:00Z"), ..lot(5) };
    for other in [open("anna", "a", lot(6)), open("anna", "a", vests), open("anna", "a", expires)] {
        assert_eq!(import_refused(&service, other).await, reused);
    }
    assert_eq!(import_refused(&service, tier("anna", "a", "gold", None)).await, reused);
    assert_eq!(service.count_entries().await, count);
    // Also when the first answer has long expired.
    let expiring = proto::OpeningLot { expiry: until("2026-02-01T00:00:00Z"), ..lot(9) };
    import_one(&service, open("anna", "b", expiring.clone())).await;
    service.set_clock("2027-01-01T00:00:00Z");
    assert!(import_one(&service, open("anna", "b", expiring)).await.replayed);
    service.enrol("ben").await;
    assert!(!import_one(&service, open("ben", "a", lot(6))).await.replayed);
}

#[tokio::test]
async fn import_balances_refuses_what_cannot_be_with_its_reason_and_fails_no_neighbour() {
    let service = start_with_anna().await;
    let mut nowhere = open("anna", "nowhere", lot(1));
    nowhere.program_id = "nowhere".to_owned();
    let expired = proto::OpeningLot { expiry: until(START), ..lot(1) };
    let unvested = proto::OpeningLot {
        vesting: Some(Vesting::VestsAt(at("2026-03-01T00:00:00Z"))),
        expiry: until("2026-02-01T00:00:00Z"),
        ..lot(1)
    };
    let missed = proto::OpeningLot { vesting: Some(Vesting::VestBy(at(START))), ..lot(1) };
    let euro = proto::OpeningTier { tier_id: "gold".to_owned(), qualifying_spend: Some(money("EUR", "1.00")) };
    let items = vec![
        open("anna", "good", lot(4)),
        nowhere,
        open("nobody", "nobody", lot(1)),
        open("anna", "expired", expired),
        open("anna", "unvested", unvested),
        open("anna", "missed", missed),
        open("full", "much", lot(1)),
        tier("anna", "tier", "diamond", None),
        item("anna", "euro", Opening::Tier(euro)),
        tier("anna", "fine", "silver", None),
    ];
    service.enrol("full").await;
    service.fill_up("full", i64::MAX).await;
    let outcomes = import(&service, items).await;
    service.fill_up("full", -i64::MAX).await;
    for (key, code, reason) in [
        ("nowhere", Code::NotFound, "PROGRAM_NOT_FOUND"),
        ("nobody", Code::NotFound, "CUSTOMER_NOT_FOUND"),
        ("expired", Code::OutOfRange, "INSTANT_NOT_AHEAD"),
        ("unvested", Code::OutOfRange, "INSTANT_NOT_AHEAD"),
        ("missed", Code::OutOfRange, "INSTANT_NOT_AHEAD"),
        ("much", Code::FailedPrecondition, "AMOUNT_OVERFLOW"),
        ("tier", Code::NotFound, "TIER_NOT_FOUND"),
        ("euro", Code::FailedPrecondition, "CURRENCY_MISMATCH"),
    ] {
        assert_eq!(refused(&outcomes[key]), (code, reason.to_owned()), "{key}");
    }
    for key in ["good", "fine"] {
        assert!(matches!(&outcomes[key], Outcome::Imported(imported) if !imported.replayed), "{key}");
    }
    assert_eq!(service.available("anna").await, 4);
    // What was refused left its key unused.
    assert!(!import_one(&service, open("anna", "expired", lot(1))).await.replayed);
    check_rules(&service.database).await.unwrap();
}

#[tokio::test]
async fn import_balances_names_every_bad_field_of_an_item() {
    let service = start_with_anna().await;
    let bad = |item: proto::ImportBalancesRequest| async { import_refused(&service, item).await };
    let fields = |fields: &str| (Code::InvalidArgument, fields.to_owned());
    let empty = proto::ImportBalancesRequest::default();
    assert_eq!(bad(empty).await, fields("customer_id idempotency_key item_id opening program_id"));
    let beyond = prost_types::Timestamp { seconds: 253_370_764_801, nanos: 0 };
    let sliding = rule(proto::expiry_rule::Rule::Sliding("P1Y".to_owned()));
    let lot = proto::OpeningLot { points: 0, vesting: Some(Vesting::VestsAt(beyond)), expiry: Some(sliding) };
    assert_eq!(bad(open("anna", "a", lot)).await, fields("lot.expiry lot.points lot.vests_at"));
    let tier = |tier_id: &str, spend| proto::OpeningTier { tier_id: tier_id.to_owned(), qualifying_spend: Some(spend) };
    let below = proto::google::Money { units: -1, ..usd("0") };
    let outcome = bad(item("anna", "a", Opening::Tier(tier("No Tier", below)))).await;
    assert_eq!(outcome, fields("tier.qualifying_spend tier.tier_id"));
    let outcome = bad(item("anna", "a", Opening::Tier(tier("gold", usd("1.001"))))).await;
    assert_eq!(outcome, fields("tier.qualifying_spend"));
}

#[tokio::test]
async fn import_balances_enrols_whom_it_is_told_to() {
    let service = start_with_anna().await;
    let enrol = |item: proto::ImportBalancesRequest| proto::ImportBalancesRequest { enrol: true, ..item };
    let items = vec![
        enrol(tier("ben", "ben-t", "gold", None)),
        enrol(open("ben", "ben-l", lot(5))),
        enrol(open("cleo", "cleo-l", lot(6))),
        open("cleo", "cleo-m", lot(7)),
        enrol(tier("dora", "dora-t", "diamond", None)),
        enrol(open("anna", "anna-l", lot(8))),
    ];
    let outcomes = import(&service, items).await;
    assert_eq!(refused(&outcomes["dora-t"]).1, "TIER_NOT_FOUND");
    assert_eq!((service.available("ben").await, service.tier("ben").await.tier_id.as_str()), (5, "gold"));
    let kinds = service.kinds("ben").await;
    let expected =
        [EntryKind::CustomerEnrolled, EntryKind::TierChanged, EntryKind::TierImported, EntryKind::PointsImported];
    assert_eq!(kinds, expected);
    assert_eq!((service.available("cleo").await, service.available("anna").await), (13, 8));
    // A refused item enrols nobody.
    let request = proto::GetCustomerRequest { program_id: SHOP.to_owned(), customer_id: "dora".to_owned() };
    assert_eq!(service.customers().get_customer(request).await.unwrap_err().code(), Code::NotFound);
    let replayed = import_one(&service, enrol(tier("ben", "ben-t", "gold", None))).await;
    assert_eq!((replayed.replayed, replayed.tier_id.as_str()), (true, "gold"));
    check_rules(&service.database).await.unwrap();
}

#[tokio::test]
async fn import_balances_takes_thousands_over_one_stream_and_nothing_twice() {
    let service = start_with_anna().await;
    let items = || -> Vec<proto::ImportBalancesRequest> {
        let item = |i: i64| {
            let customer_id = format!("c-{}", i % 250);
            let key = format!("line-{i}");
            let item = match i % 3 {
                0 => tier(&customer_id, &key, "silver", Some("1.00")),
                _ => open(&customer_id, &key, lot(i)),
            };
            proto::ImportBalancesRequest { enrol: true, ..item }
        };
        (0..3_000).map(item).collect()
    };
    let outcomes = import(&service, items()).await;
    let points = |outcomes: &BTreeMap<String, Outcome>, again: bool| -> i64 {
        let points = outcomes.values().map(|outcome| match outcome {
            Outcome::Imported(imported) if imported.replayed == again => imported.points,
            other => panic!("{other:?}"),
        });
        points.sum()
    };
    let expected = (0..3_000).filter(|i| i % 3 != 0).sum::<i64>();
    assert_eq!(points(&outcomes, false), expected);
    let count = service.count_entries().await;
    assert_eq!(points(&import(&service, items()).await, true), expected);
    assert_eq!(service.count_entries().await, count);
    let mut issued = 0;
    for i in 0..250 {
        issued += service.balance(&format!("c-{i}")).await.issued;
    }
    assert_eq!(issued, expected);
    assert_eq!(service.tier("c-0").await.qualifying_spend, Some(usd("4.00")));
    check_rules(&service.database).await.unwrap();
}
