//! Opening tiers: which tier a customer holds then, and how its change is told.

use goldbook::proto;
use goldbook::proto::EntryKind;
use tonic::Code;

use super::{import_one, import_refused, start_with_anna, tier};
use crate::book_rules::check_rules;
use crate::harness::{SHOP, START, Service, at, usd};

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
