//! Random runs that failed once, each kept as it was: all of them must pass.

mod refund;

use super::properties::{play, programs};

/// A refund slides the points that slide, and takes those that expire first by the new date: not from lot 78, which slides,
/// but from lot 77, which does not.
#[tokio::test]
async fn a_refund_takes_the_points_that_expire_first_after_it_slid_the_others() {
    let start = "2024-01-30T22:00:00Z".parse().unwrap();
    play(&programs()[2], start, refund::STEPS).await.unwrap();
}
