//! Random runs that failed, each kept as it was.
//!
//! A run whose fault is mended must pass. One whose fault is known and not yet mended must fail exactly as it is known to:
//! its test turns red when the fault is mended, and then becomes one that expects the run to pass.

mod refund;

use super::properties::{play, programs};

/// A refund takes 6 points from lot 78, which is the younger of two that expire together; the model takes them from
/// lot 77.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn known_fault_a_refund_takes_points_from_the_younger_of_two_lots() {
    let start = "2024-01-30T22:00:00Z".parse().unwrap();
    let played = play(&programs()[2], start, &refund::steps()).await;
    let failure = played.expect_err("the fault is mended: expect the run to pass").to_string();
    assert!(failure.contains("step 278, Deed(1, Refund { pick: 16, part: Share(113)"), "{failure}");
    assert!(failure.contains("lots of ben"), "{failure}");
    let (service, model) = failure.split_once("right: ").unwrap();
    let corrected = service
        .replace("(78, [379, 0, 373, 0, 0, 0, 6, 0]", "(78, [379, 0, 379, 0, 0, 0, 0, 0]")
        .replace("(77, [573, 0, 573, 0, 0, 0, 0, 0]", "(77, [573, 0, 567, 0, 0, 0, 6, 0]");
    let (_, corrected) = corrected.split_once("left: ").unwrap();
    let rows = |lots: &str| lots.split_once("]`").map(|(lots, _)| lots.to_owned());
    assert_ne!(rows(service.split_once("left: ").unwrap().1), rows(model), "{failure}");
    assert_eq!(rows(corrected), rows(model), "{failure}");
}
