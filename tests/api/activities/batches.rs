//! `BatchRecordActivities`: many activities over one stream.

use std::collections::BTreeMap;

use goldbook::proto;
use goldbook::proto::batch_record_activities_response::Outcome;

use super::{activity_ids, bought, send, start};
use crate::harness::{Service, assert_same_error, create_referral, money, purchase, usd};

/// Sends items over one stream; the outcomes by item id, each of which came exactly once.
async fn batch(service: &Service, items: Vec<(String, proto::RecordActivityRequest)>) -> BTreeMap<String, Outcome> {
    let count = items.len();
    let items = items
        .into_iter()
        .map(|(item_id, activity)| proto::BatchRecordActivitiesRequest { item_id, activity: Some(activity) });
    let stream = service.activities().batch_record_activities(tokio_stream::iter(items)).await;
    let mut stream = stream.unwrap().into_inner();
    let mut outcomes = BTreeMap::new();
    let mut received = 0;
    while let Some(response) = stream.message().await.unwrap() {
        received += 1;
        outcomes.insert(response.item_id, response.outcome.unwrap());
    }
    assert_eq!((received, outcomes.len()), (count, count));
    outcomes
}

/// Records everything over one stream, in its order; none may fail.
pub(crate) async fn record_all(
    service: &Service,
    activities: Vec<proto::RecordActivityRequest>,
) -> BTreeMap<usize, proto::RecordActivityResponse> {
    let items = activities.into_iter().enumerate().map(|(i, activity)| (i.to_string(), activity));
    let outcomes = batch(service, items.collect()).await.into_iter().map(|(item_id, outcome)| match outcome {
        Outcome::Recorded(recorded) => (item_id.parse().unwrap(), recorded),
        Outcome::Error(error) => panic!("{item_id}: {error:?}"),
    });
    outcomes.collect()
}

#[tokio::test]
async fn batch_record_activities_records_good_items_and_answers_bad_as_single_calls() {
    let service = start().await;
    let unknown = proto::RecordActivityRequest { enrol: false, ..bought("nobody", "a", "5.00") };
    let bad = proto::RecordActivityRequest { happened_at: None, ..bought("", "a", "5.001") };
    let mut euro = bought("ben", "a", "5.00");
    let amount = proto::Purchase { amount: Some(money("EUR", "5.00")), margin: None };
    euro.activity = Some(proto::record_activity_request::Activity::Purchase(amount));
    let reused = bought("anna", "a", "6.00");
    let ahead = purchase("anna", "future", "5.00", "2027-01-01T00:00:00Z".parse().unwrap());
    let refused = [("2", unknown), ("3", bad), ("4", euro), ("5", reused), ("6", ahead)];
    let mut items = vec![("1".to_owned(), bought("anna", "a", "5.00"))];
    items.extend(refused.iter().map(|(item_id, activity)| ((*item_id).to_owned(), activity.clone())));
    items.push(("é 7".to_owned(), bought("anna", "b", "7.00")));
    items.push(("8".to_owned(), bought("anna", "a", "5.00")));
    let outcomes = batch(&service, items).await;

    for (item_id, points_earned, replayed) in [("1", 5, false), ("é 7", 7, false), ("8", 5, true)] {
        let Outcome::Recorded(recorded) = &outcomes[item_id] else { panic!("{item_id}: {:?}", outcomes[item_id]) };
        assert_eq!((recorded.points_earned, recorded.replayed), (points_earned, replayed), "{item_id}");
    }
    for (item_id, activity) in refused {
        let Outcome::Error(error) = &outcomes[item_id] else { panic!("{item_id}: {:?}", outcomes[item_id]) };
        let single = send(&service, activity).await.unwrap_err();
        assert_same_error(error, &single);
    }
    assert_eq!(activity_ids(&service, "anna").await, ["b", "a"]);
    assert_eq!(service.available("anna").await, 12);
}

#[tokio::test]
async fn batch_record_activities_names_an_empty_item_with_every_bad_field() {
    let service = start().await;
    let request = proto::BatchRecordActivitiesRequest { item_id: "x".repeat(129), activity: None };
    let stream = service.activities().batch_record_activities(tokio_stream::iter([request.clone()])).await;
    let mut stream = stream.unwrap().into_inner();
    let response = stream.message().await.unwrap().unwrap();
    assert_eq!(response.item_id, request.item_id);
    let Some(Outcome::Error(error)) = response.outcome else { panic!("{response:?}") };
    let bad_request: tonic_types::pb::BadRequest = prost::Message::decode(error.details[0].value.as_slice()).unwrap();
    let mut fields: Vec<_> = bad_request.field_violations.into_iter().map(|violation| violation.field).collect();
    fields.sort();
    assert_eq!(fields, ["activity", "activity_id", "customer_id", "happened_at", "item_id", "program_id"]);
    assert_eq!(stream.message().await.unwrap(), None);
}

#[tokio::test]
async fn batch_record_activities_records_thousands_in_the_order_of_each_customer() {
    let service = start().await;
    let customers: Vec<String> = (0..60).map(|i| format!("c-{i}")).collect();
    let activities = || -> Vec<_> {
        let activity = |i: usize| bought(&customers[i % 60], &format!("order-{i}"), &format!("{}.00", i % 7));
        (0..3_000).map(activity).collect()
    };
    let recorded = record_all(&service, activities()).await;
    assert!(recorded.values().all(|recorded| !recorded.replayed));
    for (place, customer_id) in customers.iter().enumerate() {
        let places = (0..50).map(|round| place + 60 * round);
        let mut expected: Vec<String> = places.clone().map(|i| format!("order-{i}")).collect();
        expected.reverse();
        assert_eq!(activity_ids(&service, customer_id).await, expected);
        let spend: usize = places.map(|i| i % 7).sum();
        assert_eq!(service.available(customer_id).await, i64::try_from(spend).unwrap());
        assert_eq!(service.tier(customer_id).await.qualifying_spend, Some(usd(&spend.to_string())));
        let entries = service.entries(customer_id).await;
        assert!(entries.iter().zip(1..).all(|(entry, seq)| entry.account_seq == seq));
    }
    let count = service.count_entries().await;
    let replayed = record_all(&service, activities()).await;
    assert_eq!(service.count_entries().await, count);
    for (item, first) in recorded {
        assert_eq!(replayed[&item], proto::RecordActivityResponse { replayed: true, ..first });
    }
}

#[tokio::test]
async fn batch_record_activities_converts_referrals_and_lifts_tiers_as_single_calls_do() {
    let service = start().await;
    let code = service.share_code("rita", "friends").await;
    for i in 0..40 {
        let request = create_referral(&format!("c-{i}"), &code);
        service.referrals().create_referral(request).await.unwrap();
    }
    let steps = [("a", "9.99"), ("b", "10.00"), ("c", "180.01"), ("d", "10.00")];
    let activities = steps
        .iter()
        .flat_map(|(activity_id, amount)| (0..40).map(move |i| bought(&format!("c-{i}"), activity_id, amount)));
    let recorded = record_all(&service, activities.collect()).await;
    for (item, recorded) in recorded {
        let (converts, lifts) = ((40..80).contains(&item), (80..120).contains(&item));
        assert_eq!((recorded.referral_converted, recorded.tier_change.is_some()), (converts, lifts), "{item}");
    }
    assert_eq!(service.available("rita").await, 40 * 500);
    assert_eq!(service.available("c-7").await, 250 + 9 + 10 + 180 + 10);
}
