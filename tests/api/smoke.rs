//! One walk through everything, as in the README.

use goldbook::proto;

use crate::harness::Service;

#[tokio::test]
async fn a_referral_pays_both_sides_and_shows_in_tier_balance_and_ledger() {
    let service = Service::start().await;
    service.apply_shop().await;
    let code = service.share_code("anna", "friends").await;
    service.refer("ben", &code).await;
    let recorded = service.purchase("ben", "order-1", "250.00").await.unwrap();
    assert!(recorded.referral_converted);
    assert_eq!(recorded.points_earned, 250);
    assert_eq!(service.available("ben").await, 500);
    assert_eq!(service.available("anna").await, 500);
    let tier = service.tier("ben").await;
    assert_eq!((tier.tier_id.as_str(), tier.next.unwrap().tier_id.as_str()), ("silver", "gold"));
    let kinds: Vec<proto::EntryKind> = service.entries("ben").await.iter().map(proto::Entry::kind).collect();
    assert_eq!(
        kinds,
        [
            proto::EntryKind::CustomerEnrolled,
            proto::EntryKind::TierChanged,
            proto::EntryKind::ReferralCreated,
            proto::EntryKind::ActivityAccepted,
            proto::EntryKind::PointsGranted,
            proto::EntryKind::TierChanged,
            proto::EntryKind::ReferralConverted,
            proto::EntryKind::PointsGranted,
        ]
    );
}
