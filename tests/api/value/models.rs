//! Models of what customers will buy: how they are made, kept and used, and how well they tell who leaves.

use futures_util::StreamExt as _;
use goldbook::proto;
use goldbook::proto::EntryKind;
use tonic::{Code, Status};

use super::{bought, day, get, later};
use crate::audit::assert_clean;
use crate::harness::{SHOP, Service, assert_refused, purchase, sorted_bad_fields};
use crate::wait::until;

async fn fit(
    service: &Service,
    key: &str,
    request: proto::FitValueModelRequest,
) -> Result<proto::FitValueModelResponse, Status> {
    let (program_id, idempotency_key) = (SHOP.to_owned(), key.to_owned());
    let request = proto::FitValueModelRequest { program_id, idempotency_key, ..request };
    Ok(service.value().fit_value_model(request).await?.into_inner())
}

async fn model(service: &Service, version: i32) -> Result<proto::ValueModel, Status> {
    let request = proto::GetValueModelRequest { program_id: SHOP.to_owned(), version };
    Ok(service.value().get_value_model(request).await?.into_inner().model.unwrap())
}

/// So many customers, of whom each third buys each tenth day until the end, each third stopped, and the others bought once.
async fn crowd(service: &Service, customers: u32, time: &str) {
    let mut items = Vec::new();
    for customer in 0..customers {
        let days_ago = match customer % 3 {
            0 => (0..12).map(|i| 120 - 10 * i).collect::<Vec<i64>>(),
            1 => vec![120, 110, 100],
            _ => vec![120 - i64::from(customer) % 7],
        };
        for ago in days_ago {
            let then = service.clock.now() - jiff::SignedDuration::from_hours(24 * ago);
            let name = format!("c-{customer}");
            let amount = format!("{}.50", 5 + (customer + u32::try_from(ago).unwrap()) % 20);
            let request = purchase(&name, &format!("{name}-{ago}-{time}"), &amount, then);
            let item_id = format!("{name}-{ago}");
            items.push(proto::BatchRecordActivitiesRequest { item_id, activity: Some(request) });
        }
    }
    let answers = service.activities().batch_record_activities(tokio_stream::iter(items)).await.unwrap().into_inner();
    let mut answers = Box::pin(answers);
    while let Some(answer) = answers.next().await {
        let outcome = answer.unwrap().outcome.unwrap();
        assert!(matches!(outcome, proto::batch_record_activities_response::Outcome::Recorded(_)), "{outcome:?}");
    }
}

#[tokio::test]
async fn fit_value_model_keeps_a_version_and_a_repetition_gets_the_first_answer() {
    let service = Service::start().await;
    service.apply_shop().await;
    assert_refused(model(&service, 0).await, Code::NotFound, "VALUE_MODEL_NOT_FOUND");
    bought(&service, "anna", "p-1", "10.00", 9).await;
    let few = fit(&service, "m-1", proto::FitValueModelRequest::default()).await;
    assert_refused(few, Code::FailedPrecondition, "VALUE_MODEL_NOT_FITTED");

    service.set_clock(&later(1).to_string());
    crowd(&service, 99, "first").await;
    let before = service.clock.now();
    service.set_clock(&later(2).to_string());
    // Refused before, so the key is free.
    let first = fit(&service, "m-1", proto::FitValueModelRequest::default()).await.unwrap();
    let fitted = first.model.unwrap();
    assert!(!first.replayed);
    // A quarter of the days since the first purchase is kept to measure on.
    assert_eq!((fitted.version, fitted.customers, fitted.repeat_buyers), (1, 99, 66));
    assert_eq!((fitted.horizon_days, fitted.annual_discount), (365, 0.1));
    let holdout = fitted.holdout.unwrap();
    assert_eq!(holdout.days, 30);
    assert!(holdout.purchase_days >= 60 && holdout.mean_error < 1.0, "{holdout:?}");
    assert!(fitted.spend.is_some(), "{fitted:?}");
    assert_eq!(model(&service, 0).await.unwrap(), fitted);

    // What was told by a key is told again, whatever was bought since.
    crowd(&service, 120, "again").await;
    let again = fit(&service, "m-1", proto::FitValueModelRequest::default()).await.unwrap();
    assert!(again.replayed);
    assert_eq!(again.model.unwrap(), fitted);
    let other = proto::FitValueModelRequest { horizon_days: 30, ..Default::default() };
    assert_refused(fit(&service, "m-1", other).await, Code::AlreadyExists, "IDEMPOTENCY_KEY_REUSED");
    let whole = proto::FitValueModelRequest {
        holdout_days: Some(0),
        horizon_days: 30,
        annual_discount: Some(0.0),
        from: day(2025, 9, 1),
        ..Default::default()
    };
    let second = fit(&service, "m-2", whole).await.unwrap().model.unwrap();
    assert_eq!((second.version, second.holdout, second.from), (2, None, day(2025, 9, 1)));
    assert_eq!(model(&service, 1).await.unwrap(), fitted);
    assert_eq!(model(&service, 0).await.unwrap(), second);
    assert_refused(model(&service, 3).await, Code::NotFound, "VALUE_MODEL_NOT_FOUND");

    // The model in force tells of customers: one who went on, one who stopped, and nobody of before.
    let (busy, gone) = (get(&service, "c-0", None).await.unwrap(), get(&service, "c-1", None).await.unwrap());
    let (busy, gone) = (busy.forecast.unwrap(), gone.forecast.unwrap());
    assert_eq!((busy.model_version, busy.horizon_days), (2, 30));
    assert!(busy.probability_alive > 0.9 && gone.probability_alive < 0.2, "{busy:?} {gone:?}");
    assert!(busy.expected_purchase_days > 2.0 && gone.expected_purchase_days < 0.5, "{busy:?} {gone:?}");
    assert!(busy.lifetime_value.unwrap().units > 3 * gone.lifetime_value.unwrap().units);
    let then = get(&service, "c-0", Some(crate::harness::instant(before))).await.unwrap();
    assert_eq!(then.forecast, None);
    let request = proto::GetEntryRequest { program_id: SHOP.to_owned(), entry_id: second.entry_id.clone() };
    let entry = service.ledger().get_entry(request).await.unwrap().into_inner().entry.unwrap();
    assert_eq!(entry.kind(), EntryKind::ValueModelFitted);
    let request = proto::ListPrivilegedActionsRequest { program_id: SHOP.to_owned(), ..Default::default() };
    let actions = service.ledger().list_privileged_actions(request).await.unwrap().into_inner().actions;
    let fits = actions.iter().filter(|it| it.kind() == proto::PrivilegedActionKind::ValueModelFitted).count();
    assert_eq!(fits, 2);
    assert_clean(&service.database).await;
}

#[tokio::test]
async fn fit_value_model_by_many_at_once_counts_versions_without_a_gap() {
    let service = Service::start().await;
    service.apply_shop().await;
    crowd(&service, 60, "first").await;
    // More than may count at a time try again.
    let service = &service;
    let fits = (0..6).map(|i: i32| {
        until("a model to be fitted", async move || match fit(service, &format!("m-{i}"), Default::default()).await {
            Ok(answer) => Some(answer.model.unwrap().version),
            Err(status) => {
                assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
                None
            }
        })
    });
    let mut versions = futures_util::future::join_all(fits).await;
    versions.sort_unstable();
    assert_eq!(versions, (1..=6).collect::<Vec<i32>>());
    assert_clean(&service.database).await;
}

#[tokio::test]
async fn requests_about_models_list_all_bad_fields() {
    let service = Service::start().await;
    service.apply_shop().await;
    let bad = proto::FitValueModelRequest {
        program_id: String::new(),
        from: day(2026, 2, 30),
        until: day(0, 1, 1),
        holdout_days: Some(-1),
        horizon_days: 3_651,
        annual_discount: Some(f64::NAN),
        idempotency_key: String::new(),
    };
    let fields = sorted_bad_fields(service.value().fit_value_model(bad).await);
    let expected =
        ["annual_discount", "from", "holdout_days", "horizon_days", "idempotency_key", "program_id", "until"];
    assert_eq!(fields, expected);
    let bad = proto::GetValueBacktestRequest {
        program_id: SHOP.to_owned(),
        holdout_days: 3_651,
        alive_below: Some(1.5),
        expected_below: Some(0.0),
        silent_weeks: -1,
        ..Default::default()
    };
    let fields = sorted_bad_fields(service.value().get_value_backtest(bad).await);
    assert_eq!(fields, ["alive_below", "expected_below", "holdout_days", "silent_weeks"]);
    let same = proto::FitValueModelRequest { from: day(2026, 1, 1), until: day(2026, 1, 1), ..Default::default() };
    assert_eq!(sorted_bad_fields(fit(&service, "m-1", same).await), ["until"]);
    let ahead = proto::FitValueModelRequest { until: day(2026, 1, 17), ..Default::default() };
    assert_eq!(sorted_bad_fields(fit(&service, "m-1", ahead).await), ["until"]);
    assert_eq!(sorted_bad_fields(model(&service, -1).await), ["version"]);
    // Of nobody there is neither a model nor a test of one.
    let nobody = proto::GetValueBacktestRequest { program_id: SHOP.to_owned(), ..Default::default() };
    let nobody = service.value().get_value_backtest(nobody).await;
    assert_refused(nobody, Code::FailedPrecondition, "VALUE_MODEL_NOT_FITTED");
    let unknown = proto::GetValueModelRequest { program_id: "none".to_owned(), version: 0 };
    assert_refused(service.value().get_value_model(unknown).await, Code::NotFound, "PROGRAM_NOT_FOUND");
}

#[tokio::test]
async fn get_value_backtest_lays_rules_beside_who_left_and_keeps_nothing() {
    let service = Service::start().await;
    service.apply_shop().await;
    crowd(&service, 99, "first").await;
    let request = proto::GetValueBacktestRequest {
        program_id: SHOP.to_owned(),
        holdout_days: 30,
        silent_weeks: 4,
        ..Default::default()
    };
    let test = service.value().get_value_backtest(request.clone()).await.unwrap().into_inner();
    assert_eq!((test.foretold_from, test.until), (day(2025, 12, 16), day(2026, 1, 15)));
    assert_eq!((test.customers, test.left), (99, 66));
    let (alive, expected, plain) = (test.alive_rule.unwrap(), test.expected_rule.unwrap(), test.plain_rule.unwrap());
    // Those who bought once are alive by the model, and are not expected to come.
    assert_eq!((alive.warned, alive.right, alive.recall), (33, 33, Some(0.5)));
    assert_eq!((expected.warned, expected.right, expected.lift), (66, 66, Some(1.5)));
    assert_eq!((plain.warned, plain.precision, plain.recall), (66, Some(1.0), Some(1.0)));
    assert_refused(model(&service, 0).await, Code::NotFound, "VALUE_MODEL_NOT_FOUND");
    let never = proto::GetValueBacktestRequest { silent_weeks: 520, ..request };
    let plain = service.value().get_value_backtest(never).await.unwrap().into_inner().plain_rule.unwrap();
    assert_eq!((plain.warned, plain.precision, plain.recall, plain.lift), (0, None, Some(0.0), None));
}
