//! A service that is killed between commit and reply: the caller asks another one again, and the ledger has one row.

use std::time::{Duration, Instant};

use goldbook::embedded_postgres::throwaway_dir;
use goldbook::proto;
use nix::sys::signal::Signal;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

use super::torture::kill_postgres;
use super::{count, start_behind_proxy};
use crate::binary::Serving;
use crate::harness::{
    Clients, Clock, Database, SHOP, Service, create_customer, create_referral, grant_reward, purchase, reason, shop,
};
use crate::proxy::{Fault, Proxy};
use crate::wait::within;

/// Lets a service carry `call` out on this database, and kills it before it can answer.
async fn kill_before_reply<T: Send + 'static, F>(database: &Database, call: impl FnOnce(Service) -> F)
where
    F: Future<Output = Result<T, Status>> + Send + 'static,
{
    let proxy = Proxy::before(database);
    // Only the call commits: a summary made meanwhile would be taken for it.
    let quiet = [("GOLDBOOK_DUES_MS", "0"), ("GOLDBOOK_LIABILITY_SECONDS", "0"), ("GOLDBOOK_RETENTION_MINUTES", "0")];
    let serving = Serving::start(&proxy.options(), &quiet).await;
    let doomed = Service::at(serving.address, database.clone()).await;
    proxy.break_commits([Fault::KeepAnswer]);
    let call = tokio::spawn(call(doomed));
    proxy.struck(1).await;
    serving.kill().await;
    assert!(within("the end of the call", call).await.unwrap().is_err(), "a killed service answered");
}

/// The service that lives on.
async fn start() -> Service {
    let service = Service::start_on(Database::create().await, Clock::database()).await;
    service.apply_shop().await;
    service
}

#[tokio::test]
async fn grant_reward_is_a_replay_after_the_first_service_was_killed() {
    let service = start().await;
    service.enrol("anna").await;
    kill_before_reply(&service.database, |doomed| async move { doomed.grant("anna", 100, "gift").await }).await;
    let written = service.entries("anna").await.pop().unwrap();
    assert_eq!(written.kind(), proto::EntryKind::PointsGranted);
    let restarted = Service::start_on(service.database.clone(), Clock::database()).await;
    for service in [&service, &restarted] {
        let again = service.grant("anna", 100, "gift").await.unwrap();
        assert!(again.replayed);
        assert_eq!(again.reward.unwrap().reward_id, written.entry_id);
    }
    assert_eq!(count(&service.database, "ledger_entries WHERE kind = 'points_granted'").await, 1);
    assert_eq!(service.available("anna").await, 100);
}

#[tokio::test]
async fn grant_reward_is_a_replay_while_its_writer_waits_for_the_acknowledgement() {
    let (first, proxy) = start_behind_proxy().await;
    first.enrol("anna").await;
    proxy.break_commits([Fault::KeepAnswer]);
    let mut rewards = first.rewards();
    let call = tokio::spawn(async move { rewards.grant_reward(grant_reward("anna", 100, "gift")).await });
    proxy.struck(1).await;
    let (database, clock) = (first.database.clone(), first.clock.clone());
    // Its threads live on, so that the call waits for ever.
    let _threads = first.kill().await;
    let second = Service::start_on(database, clock).await;
    assert!(second.grant("anna", 100, "gift").await.unwrap().replayed);
    assert!(!call.is_finished());
    assert_eq!(second.available("anna").await, 100);
    call.abort();
}

#[tokio::test]
async fn record_activity_is_a_replay_after_the_first_service_was_killed() {
    let service = start().await;
    let code = service.share_code("anna", "friends").await;
    service.refer("ben", &code).await;
    let request = purchase("ben", "order-1", "250.00", Clock::database().now());
    let repeated = request.clone();
    kill_before_reply(&service.database, |doomed| async move { doomed.activities().record_activity(request).await })
        .await;
    let again = service.activities().record_activity(repeated).await.unwrap().into_inner();
    assert!(again.replayed && again.referral_converted);
    assert_eq!(again.points_earned, 250);
    assert_eq!(again.tier_change.unwrap().to_tier_id, "silver");
    assert_eq!(count(&service.database, "activities").await, 1);
    assert_eq!((service.available("ben").await, service.available("anna").await), (500, 500));
}

#[tokio::test]
async fn create_referral_is_a_replay_after_the_first_service_was_killed() {
    let service = start().await;
    let code = service.share_code("anna", "friends").await;
    let request = create_referral("ben", &code);
    kill_before_reply(&service.database, |doomed| async move { doomed.referrals().create_referral(request).await })
        .await;
    let again = service.referrals().create_referral(create_referral("ben", &code)).await.unwrap().into_inner();
    assert!(again.replayed);
    assert_eq!(again.referral.unwrap().referrer_customer_id, "anna");
    assert_eq!(count(&service.database, "referrals").await, 1);
    assert_eq!(count(&service.database, "customers").await, 2);
}

#[tokio::test]
async fn create_customer_is_a_replay_after_the_first_service_was_killed() {
    let service = start().await;
    let request = create_customer("anna", "enrol");
    kill_before_reply(&service.database, |doomed| async move { doomed.customers().create_customer(request).await })
        .await;
    let again = service.customers().create_customer(create_customer("anna", "enrol")).await.unwrap().into_inner();
    assert!(again.replayed);
    assert_eq!(again.customer.unwrap().customer_id, "anna");
    assert_eq!(count(&service.database, "customers").await, 1);
}

#[tokio::test]
async fn update_customer_with_an_etag_lands_once_when_the_service_is_killed() {
    let service = start().await;
    let mut customers = service.customers();
    let created = customers.create_customer(create_customer("anna", "enrol")).await.unwrap().into_inner();
    let customer = proto::Customer { given_name: "Anna".to_owned(), ..created.customer.unwrap() };
    let update = proto::UpdateCustomerRequest {
        program_id: SHOP.to_owned(),
        customer: Some(customer.clone()),
        update_mask: Some(prost_types::FieldMask { paths: vec!["given_name".to_owned()] }),
    };
    let repeated = update.clone();
    kill_before_reply(&service.database, |doomed| async move { doomed.customers().update_customer(update).await })
        .await;
    // The etag protects: who repeats with the old one learns that the dossier changed, and reads their own change.
    let again = customers.update_customer(repeated).await.unwrap_err();
    assert_eq!((again.code(), reason(&again).as_str()), (Code::Aborted, "ETAG_MISMATCH"));
    let request = proto::GetCustomerRequest { program_id: SHOP.to_owned(), customer_id: "anna".to_owned() };
    let read = customers.get_customer(request).await.unwrap().into_inner().customer.unwrap();
    assert_eq!(read.given_name, "Anna");
    assert_ne!(read.etag, customer.etag);
    assert_eq!(count(&service.database, "customers WHERE revision = 2").await, 1);
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "how long a service takes to end")]
async fn a_service_whose_own_postgres_was_killed_ends_at_once_whatever_is_under_way() {
    let directory = throwaway_dir().unwrap();
    let data_dir = directory.path().join("data");
    let serving = Serving::start_in(&data_dir).await;
    let clients = Clients::connect(serving.address).await;
    clients.apply(shop()).await;
    clients.customers().create_customer(create_customer("anna", "enrol")).await.unwrap();
    // A stream that its caller never ends, and callers that go on for as long as they are answered.
    let (items, receiver) = tokio::sync::mpsc::channel(4);
    items.send(grant_item("first")).await.unwrap();
    let mut stream = clients.rewards().batch_grant_rewards(ReceiverStream::new(receiver)).await.unwrap().into_inner();
    within("the first item", stream.message()).await.unwrap().unwrap();
    let callers: Vec<_> = (0..8)
        .map(|caller| {
            let mut rewards = clients.rewards();
            tokio::spawn(async move {
                let grant = |call| grant_reward("anna", 1, &format!("{caller}-{call}"));
                for call in 0_i64.. {
                    if rewards.grant_reward(grant(call)).await.is_err() {
                        return call;
                    }
                }
                0
            })
        })
        .collect();
    let begun = Instant::now();
    kill_postgres(&data_dir);
    let (status, log) = serving.wait().await;
    // It takes about a second. To wait for calls under way would take ten, and for the lanes longer.
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!(status.code(), Some(1));
    let said =
        |what: &str| log.iter().any(|line| line["fields"]["message"].as_str().is_some_and(|it| it.contains(what)));
    assert!(said("the database is lost") && !said("did not end in time"), "{log:?}");
    let last = log.last().unwrap().as_str().unwrap();
    assert!(last.starts_with("error: the database ended by itself (signal: 9 (SIGKILL))"), "{last}");
    assert!(within("the end of the stream", stream.message()).await.is_err());
    let mut answered = 0;
    for caller in callers {
        answered += within("the end of the calls", caller).await.unwrap();
    }
    // Whatever was acknowledged is there after the next start.
    let serving = Serving::start_in(&data_dir).await;
    let clients = Clients::connect(serving.address).await;
    let request = proto::GetBalanceRequest { program_id: SHOP.to_owned(), customer_id: "anna".to_owned(), as_of: None };
    let balance = clients.rewards().get_balance(request).await.unwrap().into_inner().balance.unwrap();
    assert!(balance.available >= 10 + answered, "{balance:?}, and {answered} calls were answered");
    serving.signal(Signal::SIGTERM);
    assert!(serving.wait().await.0.success());
}

fn grant_item(key: &str) -> proto::BatchGrantRewardsRequest {
    proto::BatchGrantRewardsRequest { item_id: key.to_owned(), grant: Some(grant_reward("anna", 10, key)) }
}
