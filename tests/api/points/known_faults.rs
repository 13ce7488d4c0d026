//! Random runs that failed, each kept as it was.
//!
//! A run whose fault is mended must pass. One whose fault is known and not yet mended must fail exactly as it is known to:
//! its test turns red when the fault is mended, and then becomes one that expects the run to pass.

mod refund;

use super::pockets::Pockets;
use super::properties::{play, programs};

/// A refund takes 6 points from lot 78, which is the younger of two that expire together; the model takes them from
/// lot 77.
#[tokio::test]
async fn known_fault_a_refund_takes_points_from_the_younger_of_two_lots() {
    let start = "2024-01-30T22:00:00Z".parse().unwrap();
    let played = play(&programs()[2], start, refund::STEPS).await;
    let failure = played.expect_err("the fault is mended: expect the run to pass").to_string();
    assert!(failure.contains("step 278, Deed(1, Refund { pick: 16, part: Share(113)"), "{failure}");
    assert!(failure.contains("lots of ben"), "{failure}");
    let (service, model) = failure.split_once("left: ").unwrap().1.split_once("right: ").unwrap();
    let lots = |text: &str| text.split_once("]`").unwrap().0.to_owned();
    let lot = |seq: i64, points: i64, available: i64, cancelled: i64| {
        let pockets = Pockets { available, cancelled, ..Pockets::NONE };
        format!("LotRow {{ seq: {seq}, points: {points}, pockets: {pockets:?}, ")
    };
    for (there, expected) in
        [(lot(78, 379, 373, 6), lot(78, 379, 379, 0)), (lot(77, 573, 573, 0), lot(77, 573, 567, 6))]
    {
        assert!(service.contains(&there) && model.contains(&expected), "{failure}");
    }
    // All else is alike.
    let corrected = lots(service)
        .replace(&lot(78, 379, 373, 6), &lot(78, 379, 379, 0))
        .replace(&lot(77, 573, 573, 0), &lot(77, 573, 567, 6));
    assert_eq!(corrected, lots(model));
}
