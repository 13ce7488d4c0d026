//! The database is away for a while.

use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::start_behind_proxy;
use crate::harness::SHOP;
use crate::proxy::Fault;
use crate::wait::{until, within};

fn assert_away(status: &Status) {
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    let retry = status.get_details_retry_info().unwrap_or_else(|| panic!("no RetryInfo in {status:?}"));
    assert!(retry.retry_delay.is_some_and(|delay| !delay.is_zero()));
}

#[tokio::test]
async fn calls_are_unavailable_with_retry_info_while_the_database_is_away() {
    let (service, proxy) = start_behind_proxy().await;
    service.enrol("anna").await;
    proxy.go_away();
    let request =
        goldbook::proto::GetBalanceRequest { program_id: SHOP.to_owned(), customer_id: "anna".to_owned(), as_of: None };
    let mut rewards = service.rewards();
    let (write, read) = within("both answers", async {
        tokio::join!(service.grant("anna", 100, "gift"), rewards.get_balance(request))
    })
    .await;
    assert_away(&write.unwrap_err());
    assert_away(&read.unwrap_err());

    proxy.come_back();
    let granted = within("the grant", service.grant("anna", 100, "gift")).await.unwrap();
    assert!(!granted.replayed);
    assert_eq!(service.available("anna").await, 100);
}

#[tokio::test]
async fn a_short_outage_is_waited_out() {
    let (service, proxy) = start_behind_proxy().await;
    service.enrol("anna").await;
    proxy.hold_commits();
    let mut rewards = service.rewards();
    let call =
        tokio::spawn(async move { rewards.grant_reward(crate::harness::grant_reward("anna", 100, "gift")).await });
    proxy.holds(1).await;
    proxy.go_away();
    proxy.release_commits();
    proxy.come_back();
    let granted = within("the grant", call).await.unwrap().unwrap().into_inner();
    assert!(!granted.replayed);
    assert_eq!(service.available("anna").await, 100);
}

#[tokio::test]
async fn a_commit_that_the_outage_hid_is_a_replay_when_the_database_is_back() {
    let (service, proxy) = start_behind_proxy().await;
    service.enrol("anna").await;
    proxy.break_commits([Fault::KeepAnswer]);
    let mut rewards = service.rewards();
    let call =
        tokio::spawn(async move { rewards.grant_reward(crate::harness::grant_reward("anna", 100, "gift")).await });
    proxy.struck(1).await;
    proxy.go_away();
    assert_away(&within("the answer", call).await.unwrap().unwrap_err());
    proxy.come_back();
    let again = until("an answer", async || service.grant("anna", 100, "gift").await.ok()).await;
    assert!(again.replayed);
    assert_eq!(service.available("anna").await, 100);
    assert_eq!(service.entries("anna").await.len(), 3);
}
