//! Purchases at the same time, on one service and on two.

use futures_util::future::join_all;
use goldbook::proto;
use goldbook::proto::EntryKind::ActivityAccepted;

use super::{activity_ids, bought, send, start};
use crate::harness::{Service, usd};

#[tokio::test]
async fn record_activity_50_times_at_once_with_one_id_records_once() {
    let service = start().await;
    let answers = join_all((0..50).map(|_| send(&service, bought("zoe", "order-1", "250.00")))).await;
    let answers: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
    assert_eq!(answers.iter().filter(|answer| !answer.replayed).count(), 1);
    let first = answers.iter().find(|answer| !answer.replayed).unwrap();
    assert_eq!((first.points_earned, first.entry_ids.len()), (250, 5));
    for answer in &answers {
        assert_eq!(*answer, proto::RecordActivityResponse { replayed: answer.replayed, ..first.clone() });
    }
    assert_eq!(service.available("zoe").await, 250);
    assert_eq!(activity_ids(&service, "zoe").await, ["order-1"]);
}

#[tokio::test]
async fn record_activity_replayed_50_times_at_once_gives_the_first_answer_each_time() {
    let service = start().await;
    let first = send(&service, bought("zoe", "order-1", "250.00")).await.unwrap();
    let second = send(&service, bought("zoe", "order-2", "30.00")).await.unwrap();
    let orders = [("order-1", "250.00"), ("order-2", "30.00")].into_iter().cycle().take(50);
    let answers = join_all(orders.map(|(activity_id, amount)| send(&service, bought("zoe", activity_id, amount))));
    for (answer, first) in answers.await.into_iter().zip([first, second].iter().cycle()) {
        assert_eq!(answer.unwrap(), proto::RecordActivityResponse { replayed: true, ..first.clone() });
    }
}

#[tokio::test]
async fn record_activity_on_two_services_at_once_records_every_purchase_once() {
    let service = start().await;
    let other = Service::start_on(service.database.clone(), service.clock.clone()).await;
    let code = service.share_code("rita", "friends").await;
    for i in 0..12 {
        service.refer(&format!("c-{i}"), &code).await;
    }
    // 24 customers, half of them referred, half unknown, with 20 purchases each, every one sent to both services.
    let purchases: Vec<_> = (0..24_usize)
        .flat_map(|customer| (0..20).map(move |order| (format!("c-{customer}"), format!("order-{order}"))))
        .collect();
    let calls = purchases.iter().flat_map(|purchase| [(purchase, &service), (purchase, &other)]);
    let answers = join_all(
        calls.map(|((customer_id, activity_id), service)| send(service, bought(customer_id, activity_id, "12.50"))),
    );
    let answers: Vec<_> = answers.await.into_iter().map(Result::unwrap).collect();
    for pair in answers.chunks(2) {
        assert_eq!([pair[0].replayed, pair[1].replayed].iter().filter(|replayed| **replayed).count(), 1);
        assert_eq!(pair[0].entry_ids, pair[1].entry_ids);
        assert_eq!(pair[0].points_earned, 12);
    }
    for customer in 0..24 {
        let customer_id = format!("c-{customer}");
        let referred = if customer < 12 { 250 } else { 0 };
        let balance = service.balance(&customer_id).await;
        assert_eq!((balance.available, balance.issued), (20 * 12 + referred, 20 * 12 + referred));
        let tier = other.tier(&customer_id).await;
        assert_eq!((tier.tier_id.as_str(), tier.qualifying_spend), ("silver", Some(usd("250.00"))));
        let entries = service.entries(&customer_id).await;
        assert!(entries.iter().zip(1..).all(|(entry, seq)| entry.account_seq == seq));
        assert_eq!(entries.iter().filter(|entry| entry.kind() == ActivityAccepted).count(), 20);
        let mut ids = activity_ids(&other, &customer_id).await;
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 20);
    }
    assert_eq!(service.available("rita").await, 12 * 500);
    let seqs: Vec<i64> = service.entries("rita").await.iter().map(|entry| entry.account_seq).collect();
    assert_eq!(seqs, (1..=3 + 2 * 12).collect::<Vec<_>>());
}

#[tokio::test]
async fn record_activity_at_once_of_two_who_brought_each_other_pays_both_twice() {
    let service = start().await;
    let other = Service::start_on(service.database.clone(), service.clock.clone()).await;
    for i in 0..8 {
        let (left, right) = (format!("left-{i}"), format!("right-{i}"));
        let left_code = service.share_code(&left, "friends").await;
        let right_code = service.share_code(&right, "friends").await;
        service.refer(&left, &right_code).await;
        service.refer(&right, &left_code).await;
    }
    let ids: Vec<String> = (0..8).flat_map(|i| [format!("left-{i}"), format!("right-{i}")]).collect();
    let services = [&service, &other].into_iter().cycle();
    let calls = ids.iter().zip(services).map(|(id, service)| send(service, bought(id, "order-1", "20.00")));
    for answer in join_all(calls).await {
        assert!(answer.unwrap().referral_converted);
    }
    for id in ids {
        assert_eq!(service.available(&id).await, 20 + 250 + 500);
    }
}
