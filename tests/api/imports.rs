//! Imports: opening lots and opening tiers. The program's own command has a file of its own.

mod command;

use std::collections::BTreeMap;

use goldbook::proto;
use goldbook::proto::EntryKind;
use goldbook::proto::import_balances_request::Opening;
use goldbook::proto::import_balances_response::Outcome;
use goldbook::proto::opening_lot::Vesting;
use tonic::Code;

use crate::book_rules::check_rules;
use crate::harness::{SHOP, START, Service, at, grant_reward, money, shop, usd};

/// A service with the customer anna.
async fn start_with_anna() -> Service {
    let service = Service::start().await;
    service.apply_shop().await;
    service.enrol("anna").await;
    service
}

/// A service with anna, where points last a year after the day on which they vest.
async fn start_with_expiry() -> Service {
    let service = Service::start().await;
    service.apply(proto::Program { points: Some(policy(after("P1Y"))), ..shop() }).await.unwrap();
    service.enrol("anna").await;
    service
}

fn policy(expiry: proto::ExpiryRule) -> proto::PointsPolicy {
    proto::PointsPolicy { expiry: Some(expiry), ..Default::default() }
}

fn rule(rule: proto::expiry_rule::Rule) -> proto::ExpiryRule {
    proto::ExpiryRule { rule: Some(rule) }
}

fn after(period: &str) -> proto::ExpiryRule {
    let after = proto::expiry_rule::After { period: period.to_owned(), round_to: 0 };
    rule(proto::expiry_rule::Rule::After(after))
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

fn tier(customer_id: &str, key: &str, tier_id: &str, spend: Option<&str>) -> proto::ImportBalancesRequest {
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
async fn import_one(service: &Service, item: proto::ImportBalancesRequest) -> proto::ImportedOpening {
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

async fn lots(service: &Service, customer_id: &str) -> Vec<proto::Lot> {
    let request = proto::ListLotsRequest {
        program_id: SHOP.to_owned(),
        customer_id: customer_id.to_owned(),
        page_size: 1_000,
        ..Default::default()
    };
    service.rewards().list_lots(request).await.unwrap().into_inner().lots
}

async fn redeem(service: &Service, points: i64, key: &str) -> proto::Redemption {
    let request = proto::RedeemPointsRequest {
        program_id: SHOP.to_owned(),
        customer_id: "anna".to_owned(),
        points,
        note: String::new(),
        idempotency_key: key.to_owned(),
    };
    service.rewards().redeem_points(request).await.unwrap().into_inner().redemption.unwrap()
}

/// Available, pending, expired, cancelled and issued.
async fn pockets(service: &Service) -> [i64; 5] {
    let balance = service.balance("anna").await;
    [balance.available, balance.pending, balance.expired, balance.cancelled, balance.issued]
}

#[tokio::test]
async fn import_balances_opens_a_lot_that_is_issued_by_an_entry_of_its_own_kind() {
    let service = start_with_anna().await;
    let imported = import_one(&service, open("anna", "old-1", lot(120))).await;
    let entry = service.entries("anna").await.pop().unwrap();
    let expected =
        proto::ImportedOpening { entry_id: entry.entry_id.clone(), points: 120, ..proto::ImportedOpening::default() };
    assert_eq!(imported, expected);
    assert_eq!((entry.kind(), entry.reason()), (EntryKind::PointsImported, proto::EntryReason::Migration));
    assert_eq!(entry.detail_json, r#"{"kind":"points_imported"}"#);
    assert_eq!(entry.effective_at, Some(at(START)));
    assert_eq!(pockets(&service).await, [120, 0, 0, 0, 120]);
    assert_eq!(lots(&service, "anna").await[0].lot_id, entry.entry_id);
    check_rules(&service.database).await.unwrap();
}

#[tokio::test]
async fn import_balances_opens_lots_that_vest_expire_and_are_spent_as_granted_ones() {
    let service = start_with_anna().await;
    let grant = proto::GrantRewardRequest { expiry: until("2026-03-01T00:00:00Z"), ..grant_reward("anna", 7, "g") };
    service.rewards().grant_reward(grant).await.unwrap();
    let late = proto::OpeningLot { expiry: until("2026-04-01T00:00:00Z"), ..lot(10) };
    let early = proto::OpeningLot { expiry: until("2026-02-01T00:00:00Z"), ..lot(20) };
    let passed = proto::OpeningLot { vesting: Some(Vesting::VestsAt(at("2020-01-01T00:00:00Z"))), ..lot(1) };
    let pending = proto::OpeningLot {
        vesting: Some(Vesting::VestsAt(at("2026-01-20T00:00:00Z"))),
        expiry: until("2026-01-25T00:00:00Z"),
        ..lot(40)
    };
    let items = [("late", late), ("early", early), ("passed", passed), ("pending", pending)];
    let items = items.map(|(key, lot)| open("anna", key, lot));
    let outcomes = import(&service, items.to_vec()).await;
    let lot_id = |key: &str| match &outcomes[key] {
        Outcome::Imported(imported) => imported.entry_id.clone(),
        Outcome::Error(error) => panic!("{error:?}"),
    };
    assert_eq!(pockets(&service).await, [38, 40, 0, 0, 78]);
    // Those that expire first are spent first, wherever they come from.
    let spent = redeem(&service, 29, "r-1").await;
    let parts: Vec<(String, i64)> = spent.lots.iter().map(|part| (part.lot_id.clone(), part.points)).collect();
    assert_eq!((parts.len(), &parts[0], &parts[2]), (3, &(lot_id("early"), 20), &(lot_id("late"), 2)));

    service.set_clock("2026-01-20T00:00:00Z");
    assert_eq!(pockets(&service).await, [49, 0, 0, 0, 78]);
    let spent = redeem(&service, 5, "r-2").await;
    assert_eq!(spent.lots, [proto::LotPart { lot_id: lot_id("pending"), points: 5 }]);
    service.set_clock("2026-01-25T00:00:00Z");
    assert_eq!(pockets(&service).await, [9, 0, 35, 0, 78]);
    service.set_clock("2030-01-01T00:00:00Z");
    assert_eq!(pockets(&service).await, [1, 0, 43, 0, 78]);
    service.grant("anna", 1, "wakes").await.unwrap();
    check_rules(&service.database).await.unwrap();
}

#[tokio::test]
async fn import_balances_opens_lots_that_wait_for_their_event() {
    let service = start_with_expiry().await;
    let waiting = |points, expiry| proto::OpeningLot {
        vesting: Some(Vesting::VestBy(at("2026-02-01T00:00:00Z"))),
        expiry,
        ..lot(points)
    };
    let happens = import_one(&service, open("anna", "a", waiting(5, Some(after("P1M"))))).await;
    let by_program = import_one(&service, open("anna", "b", waiting(6, None))).await;
    import_one(&service, open("anna", "c", waiting(7, until("2026-12-01T00:00:00Z")))).await;
    assert_eq!(pockets(&service).await, [0, 18, 0, 0, 18]);
    service.set_clock("2026-01-31T12:00:00Z");
    for (reward_id, expires_at) in
        [(happens.entry_id, "2026-03-01T05:00:00Z"), (by_program.entry_id, "2027-02-01T05:00:00Z")]
    {
        let request = proto::VestRewardRequest {
            program_id: SHOP.to_owned(),
            customer_id: "anna".to_owned(),
            reward_id: reward_id.clone(),
        };
        let vested = service.rewards().vest_reward(request).await.unwrap().into_inner();
        let reward = vested.reward.unwrap();
        assert_eq!(
            (reward.reason(), reward.vest_by),
            (proto::GrantReason::Migration, Some(at("2026-02-01T00:00:00Z")))
        );
        let lot = lots(&service, "anna").await.into_iter().find(|lot| lot.lot_id == reward_id).unwrap();
        assert_eq!(lot.expires_at, Some(at(expires_at)));
    }
    service.set_clock("2026-02-01T00:00:00Z");
    assert_eq!(pockets(&service).await, [11, 0, 0, 7, 18]);
    check_rules(&service.database).await.unwrap();
}

#[tokio::test]
async fn import_balances_takes_the_programs_expiry_but_not_its_vesting_or_caps() {
    let service = Service::start().await;
    let vesting = proto::VestingRule { rule: Some(proto::vesting_rule::Rule::After("P14D".to_owned())) };
    let cap = proto::PeriodCap { period: proto::CalendarPeriod::Day.into(), points: 3 };
    let earning = proto::EarningLimits { per_transaction: Some(2), per_period: vec![cap] };
    let sliding = rule(proto::expiry_rule::Rule::Sliding("P1Y".to_owned()));
    let points = proto::PointsPolicy { vesting: Some(vesting), earning: Some(earning), ..policy(sliding) };
    service.apply(proto::Program { points: Some(points), ..shop() }).await.unwrap();
    service.enrol("anna").await;
    import_one(&service, open("anna", "slides", lot(500))).await;
    let never = proto::OpeningLot { expiry: Some(rule(proto::expiry_rule::Rule::Never(()))), ..lot(50) };
    import_one(&service, open("anna", "stays", never)).await;
    assert_eq!(pockets(&service).await, [550, 0, 0, 0, 550]);
    assert_eq!(service.balance("anna").await.next_expiry.unwrap().due_at, Some(at("2027-01-16T05:00:00Z")));
    // An activity moves what slides.
    service.set_clock("2026-07-15T12:00:00Z");
    service.purchase("anna", "p", "1.00").await.unwrap();
    service.set_clock("2027-01-16T05:00:00Z");
    assert_eq!(pockets(&service).await, [551, 0, 0, 0, 551]);
    service.set_clock("2027-07-16T04:00:00Z");
    assert_eq!(pockets(&service).await, [50, 0, 501, 0, 551]);
    service.grant("anna", 1, "wakes").await.unwrap();
    check_rules(&service.database).await.unwrap();
}

#[tokio::test]
async fn import_balances_pays_what_the_customer_owes() {
    let service = start_with_anna().await;
    let granted = service.grant("anna", 100, "g").await.unwrap().reward.unwrap();
    redeem(&service, 80, "r").await;
    let reverse = proto::ReverseEntryRequest {
        program_id: SHOP.to_owned(),
        customer_id: "anna".to_owned(),
        entry_id: granted.reward_id,
        reason: proto::CorrectionReason::Fraud.into(),
        idempotency_key: "rev".to_owned(),
        ..Default::default()
    };
    service.rewards().reverse_entry(reverse).await.unwrap();
    assert_eq!(service.balance("anna").await.owed, 80);
    let imported = import_one(&service, open("anna", "a", lot(200))).await;
    assert_eq!((imported.points, imported.points_repaid), (200, 80));
    let again = import_one(&service, open("anna", "a", lot(200))).await;
    assert_eq!(again, proto::ImportedOpening { replayed: true, ..imported });
    let balance = service.balance("anna").await;
    assert_eq!((balance.owed, balance.available), (0, 120));
    check_rules(&service.database).await.unwrap();
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
        open("anna", "much", lot(i64::MAX)),
        tier("anna", "tier", "diamond", None),
        item("anna", "euro", Opening::Tier(euro)),
        tier("anna", "fine", "silver", None),
    ];
    let outcomes = import(&service, items).await;
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
async fn import_balances_gives_a_tier_that_tells_itself_as_its_beginning() {
    let service = start_with_anna().await;
    service.set_clock("2026-01-16T12:00:00Z");
    let imported = import_one(&service, tier("anna", "t", "silver", Some("50.00"))).await;
    let expected = proto::ImportedOpening {
        entry_id: imported.entry_id.clone(),
        tier_id: "silver".to_owned(),
        ..proto::ImportedOpening::default()
    };
    assert_eq!(imported, expected);
    let held = service.tier("anna").await;
    assert_eq!(
        (held.tier_id.as_str(), held.since, held.entry_id.as_str()),
        ("silver", Some(at("2026-01-16T12:00:00Z")), imported.entry_id.as_str())
    );
    assert_eq!((held.qualifying_spend, held.cause_entry_ids.len()), (Some(usd("50.00")), 0));
    assert_eq!(held.next.unwrap().missing, Some(usd("450.00")));
    assert_eq!(service.tier_at("anna", START).await.unwrap().tier_id, "member");
    assert_eq!(service.entries("anna").await.pop().unwrap().kind(), EntryKind::TierImported);

    // The spend counts towards the next tier.
    let bought = service.purchase("anna", "p", "450.00").await.unwrap();
    assert_eq!(bought.tier_change.unwrap().to_tier_id, "gold");
    let changes = tier_changes(&service).await;
    let moves: Vec<(&str, &str)> =
        changes.iter().map(|change| (change.from_tier_id.as_str(), change.to_tier_id.as_str())).collect();
    assert_eq!(moves, [("silver", "gold"), ("member", "silver"), ("", "member")]);
    assert_eq!((changes[1].entry_id.as_str(), changes[1].cause_entry_ids.len()), (imported.entry_id.as_str(), 0));
    check_rules(&service.database).await.unwrap();
}

async fn tier_changes(service: &Service) -> Vec<proto::TierChange> {
    let request = proto::ListTierChangesRequest {
        program_id: SHOP.to_owned(),
        customer_id: "anna".to_owned(),
        ..Default::default()
    };
    service.tiers().list_tier_changes(request).await.unwrap().into_inner().tier_changes
}

#[tokio::test]
async fn import_balances_gives_the_highest_of_what_is_held_brought_and_reached() {
    let service = start_with_anna().await;
    // Brought below what the spend reaches.
    let imported = import_one(&service, tier("anna", "a", "member", Some("200.00"))).await;
    assert_eq!(imported.tier_id, "silver");
    // Brought below what is held: the spend counts all the same.
    let imported = import_one(&service, tier("anna", "b", "member", Some("299.99"))).await;
    assert_eq!(imported.tier_id, "silver");
    assert_eq!(service.tier("anna").await.qualifying_spend, Some(usd("499.99")));
    // One that changed nothing is no change.
    assert_eq!(tier_changes(&service).await.len(), 2);
    let since = service.tier("anna").await.entry_id;
    assert_ne!(since, imported.entry_id);
    let imported = import_one(&service, tier("anna", "c", "silver", Some("0.01"))).await;
    assert_eq!(imported.tier_id, "gold");
    let overflow = tier("anna", "d", "gold", Some("92233720368547758.07"));
    assert_eq!(import_refused(&service, overflow).await, (Code::FailedPrecondition, "AMOUNT_OVERFLOW".to_owned()));
    check_rules(&service.database).await.unwrap();
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
async fn import_balances_opens_lots_that_can_be_reversed_and_are_told_as_rewards() {
    let service = start_with_anna().await;
    let expiring = proto::OpeningLot { expiry: until("2026-02-01T00:00:00Z"), ..lot(10) };
    let imported = import_one(&service, open("anna", "a", expiring)).await;
    let request =
        proto::ListRewardsRequest { program_id: SHOP.to_owned(), customer_id: "anna".to_owned(), ..Default::default() };
    let rewards = service.rewards().list_rewards(request).await.unwrap().into_inner().rewards;
    assert_eq!(rewards.len(), 1);
    assert_eq!((rewards[0].reason(), &rewards[0].reward_id), (proto::GrantReason::Migration, &imported.entry_id));
    assert_eq!(rewards[0].expires_at, Some(at("2026-02-01T00:00:00Z")));
    let reverse = proto::ReverseEntryRequest {
        program_id: SHOP.to_owned(),
        customer_id: "anna".to_owned(),
        entry_id: imported.entry_id,
        points: 4,
        reason: proto::CorrectionReason::Correction.into(),
        idempotency_key: "rev".to_owned(),
        ..Default::default()
    };
    service.rewards().reverse_entry(reverse).await.unwrap();
    assert_eq!(pockets(&service).await, [6, 0, 0, 4, 10]);
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
