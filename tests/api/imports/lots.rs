//! Opening lots: what they are issued as, and that they live on as granted ones do.

use goldbook::proto;
use goldbook::proto::EntryKind;
use goldbook::proto::import_balances_response::Outcome;
use goldbook::proto::opening_lot::Vesting;

use super::{import, import_one, lot, open, rule, start_with_anna, until};
use crate::book_rules::check_rules;
use crate::harness::{SHOP, START, Service, at, grant_reward, shop};
use crate::points::pockets::Pockets;

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

fn after(period: &str) -> proto::ExpiryRule {
    let after = proto::expiry_rule::After { period: period.to_owned(), round_to: 0 };
    rule(proto::expiry_rule::Rule::After(after))
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
    assert_eq!(service.pockets().await, Pockets { available: 120, ..Pockets::NONE });
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
    assert_eq!(service.pockets().await, Pockets { pending: 40, available: 38, ..Pockets::NONE });
    // Those that expire first are spent first, wherever they come from.
    let spent = redeem(&service, 29, "r-1").await;
    let parts: Vec<(String, i64)> = spent.lots.iter().map(|part| (part.lot_id.clone(), part.points)).collect();
    assert_eq!((parts.len(), &parts[0], &parts[2]), (3, &(lot_id("early"), 20), &(lot_id("late"), 2)));

    service.set_clock("2026-01-20T00:00:00Z");
    assert_eq!(service.pockets().await, Pockets { available: 49, redeemed: 29, ..Pockets::NONE });
    let spent = redeem(&service, 5, "r-2").await;
    assert_eq!(spent.lots, [proto::LotPart { lot_id: lot_id("pending"), points: 5 }]);
    service.set_clock("2026-01-25T00:00:00Z");
    assert_eq!(service.pockets().await, Pockets { available: 9, redeemed: 34, expired: 35, ..Pockets::NONE });
    service.set_clock("2030-01-01T00:00:00Z");
    assert_eq!(service.pockets().await, Pockets { available: 1, redeemed: 34, expired: 43, ..Pockets::NONE });
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
    assert_eq!(service.pockets().await, Pockets { pending: 18, ..Pockets::NONE });
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
    assert_eq!(service.pockets().await, Pockets { available: 11, cancelled: 7, ..Pockets::NONE });
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
    assert_eq!(service.pockets().await, Pockets { available: 550, ..Pockets::NONE });
    assert_eq!(service.balance("anna").await.next_expiry.unwrap().due_at, Some(at("2027-01-16T05:00:00Z")));
    // An activity moves what slides.
    service.set_clock("2026-07-15T12:00:00Z");
    service.purchase("anna", "p", "1.00").await.unwrap();
    service.set_clock("2027-01-16T05:00:00Z");
    assert_eq!(service.pockets().await, Pockets { available: 551, ..Pockets::NONE });
    service.set_clock("2027-07-16T04:00:00Z");
    assert_eq!(service.pockets().await, Pockets { available: 50, expired: 501, ..Pockets::NONE });
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
    assert_eq!(service.pockets().await, Pockets { available: 6, cancelled: 4, ..Pockets::NONE });
    check_rules(&service.database).await.unwrap();
}
