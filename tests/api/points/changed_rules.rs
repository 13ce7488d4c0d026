//! Points that slide go on doing so after the program has no sliding expiry any more.

use goldbook::proto;
use goldbook::proto::CalendarPeriod::Day;

use super::calls::{free, start};
use super::model::{Expire, Rules, Vest};
use super::pockets::Pockets;
use super::{program_of, write_vesting};
use crate::harness::{Service, at, grant_reward};

async fn start_sliding() -> Service {
    start(&Rules { expire: Expire::Sliding("P1M"), ..free() }).await
}

/// The program's points never expire from now on.
async fn let_nothing_expire(service: &Service) {
    service.apply(program_of(&free())).await.unwrap();
}

#[tokio::test]
async fn points_that_slide_vest_after_the_program_was_changed() {
    let service = start_sliding().await;
    let vesting = Some(write_vesting(Vest::Event("P10D")));
    let request = proto::GrantRewardRequest { vesting, ..grant_reward("anna", 100, "a") };
    let reward = service.rewards().grant_reward(request).await.unwrap().into_inner().reward.unwrap();
    let_nothing_expire(&service).await;
    service.vest(&reward.reward_id).await.unwrap();
    assert_eq!(service.lots().await[0].expires_at, Some(at("2026-02-16T05:00:00Z")));
    service.set_clock("2026-03-01T12:00:00Z");
    assert_eq!(service.pockets().await, Pockets { expired: 100, ..Pockets::NONE });
}

#[tokio::test]
async fn a_spend_that_is_undone_gives_expired_points_back_after_the_program_was_changed() {
    let service = start_sliding().await;
    service.give(100, "a").await;
    let spent = service.spend(60, "spend").await;
    service.set_clock("2026-03-01T12:00:00Z");
    let_nothing_expire(&service).await;
    service.give(1, "b").await;
    service.reverse(&spent, "back").await.unwrap();
    assert_eq!(service.pockets().await, Pockets { available: 1, expired: 100, ..Pockets::NONE });
}

#[tokio::test]
async fn a_clawback_takes_points_that_slide_in_their_order_after_the_program_was_changed() {
    let service = start_sliding().await;
    let spent = service.give(10, "spent").await;
    service.spend(10, "spend").await;
    let sliding = service.give(10, "sliding").await;
    let fixed = service.grant_on(10, Vest::Now, Expire::After("P6M", Day), "fixed").await;
    let_nothing_expire(&service).await;
    service.reverse(&spent, "back").await.unwrap();
    let lots = service.lots().await;
    let available = |id: &str| lots.iter().find(|lot| lot.lot_id == id).unwrap().available;
    assert_eq!((available(&sliding), available(&fixed)), (0, 10));
}
