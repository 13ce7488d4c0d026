//! Indexes and retention of the customers of a segment alone.

use goldbook::proto;
use goldbook_api::v1::{LifecycleStage, SegmentCount};
use tonic::{Code, Status};

use super::{buy, clause, count, not, segment, spend, stages, start};
use crate::harness::{SHOP, START, Service, assert_refused, at, bad_fields};
use crate::satisfaction::{said, satisfied, send};

async fn index(service: &Service, segment_id: &str, as_of: Option<&str>) -> Result<Vec<i64>, Status> {
    let request = proto::GetSatisfactionIndexRequest {
        program_id: SHOP.to_owned(),
        segment_id: segment_id.to_owned(),
        as_of: as_of.map(at),
        ..Default::default()
    };
    let found = service.satisfaction().get_satisfaction_index(request).await?.into_inner();
    Ok(found.indexes.iter().map(|index| index.answers).collect())
}

/// How many bought in each month of the year, and what.
async fn retention(service: &Service, segment_id: &str, as_of: Option<&str>) -> Result<Vec<(i64, i64)>, Status> {
    let request = proto::GetRetentionRequest {
        program_id: SHOP.to_owned(),
        from: Some(proto::google::Date { year: 2026, month: 1, day: 1 }),
        segment_id: segment_id.to_owned(),
        as_of: as_of.map(at),
        ..Default::default()
    };
    let found = service.value().get_retention(request).await?.into_inner();
    let spend = |period: &proto::RetentionPeriod| period.spend.as_ref().map_or(0, |spend| spend.units);
    Ok(found.periods.iter().map(|period| (period.buyers, spend(period))).collect())
}

#[tokio::test]
async fn an_index_and_retention_may_be_of_a_segments_customers_alone() {
    let service = start(vec![
        segment("spenders", vec![clause(spend(Some("50.00"), None, None))]),
        segment("unhappy", vec![clause(count(SegmentCount::Satisfaction, (None, Some(2)), None))]),
        segment("nobody", vec![clause(spend(Some("9000.00"), None, None))]),
        segment("not-lost", vec![not(stages(&[LifecycleStage::Lost]))]),
    ])
    .await;
    for (customer, amount, score) in [("anna", "60.00", 1), ("ben", "10.00", 2), ("cleo", "100.00", 5)] {
        buy(&service, customer, "p-1", amount).await;
        send(&service, said(customer, "f-1", satisfied(score), START)).await.unwrap();
    }
    for (segment_id, answers, bought) in [
        ("", 3, (3, 170)),
        ("spenders", 2, (2, 160)),
        ("unhappy", 2, (2, 70)),
        ("nobody", 0, (0, 0)),
        ("not-lost", 3, (3, 170)),
    ] {
        assert_eq!(index(&service, segment_id, None).await.unwrap(), [answers], "{segment_id}");
        assert_eq!(retention(&service, segment_id, None).await.unwrap(), [bought], "{segment_id}");
    }
    // Of a past instant, those count who were in the segment then.
    service.set_clock("2026-01-20T12:00:00Z");
    buy(&service, "ben", "p-2", "70.00").await;
    assert_eq!(retention(&service, "spenders", None).await.unwrap(), [(3, 240)]);
    assert_eq!(retention(&service, "spenders", Some(START)).await.unwrap(), [(2, 160)]);
    assert_eq!(index(&service, "spenders", Some(START)).await.unwrap(), [2]);

    assert_refused(index(&service, "none", None).await, Code::NotFound, "SEGMENT_NOT_FOUND");
    assert_refused(retention(&service, "none", None).await, Code::NotFound, "SEGMENT_NOT_FOUND");
    assert_eq!(bad_fields(&index(&service, "No", None).await.unwrap_err()), ["segment_id"]);
    assert_eq!(bad_fields(&retention(&service, "No", None).await.unwrap_err()), ["segment_id"]);
}
