//! Value classes: who is of which at the end of periods, who stays, and who would move.

mod at_ends;
mod random_classes;
mod tried;

use goldbook::embedded_postgres::SUPERUSER;
use goldbook::proto;
use tonic::Status;

use crate::harness::{Background, Clock, Database, SHOP, Service, purchase, shop, usd};
use crate::wait::until;

const OFTEN: Background = Background {
    apply_dues_every: Some(std::time::Duration::from_millis(20)),
    sum_up_every: None,
    erase_of_inactive_every: None,
    export_limit: None,
};

pub(super) fn class(class_id: &str) -> proto::ValueClass {
    proto::ValueClass { class_id: class_id.to_owned(), display_name: class_id.to_owned(), ..Default::default() }
}

/// A class from an amount on, that is kept from another one on.
pub(super) fn least(class_id: &str, from: &str, keep: &str) -> proto::ValueClass {
    use proto::value_class::{From, Keep};
    proto::ValueClass { from: Some(From::Least(usd(from))), keep: Some(Keep::KeepLeast(usd(keep))), ..class(class_id) }
}

/// A class of so many of 100 customers.
pub(super) fn top(class_id: &str, from: i32, keep: i32) -> proto::ValueClass {
    use proto::value_class::{From, Keep};
    proto::ValueClass { from: Some(From::TopPercent(from)), keep: Some(Keep::KeepTopPercent(keep)), ..class(class_id) }
}

/// Classes of what was spent in a month.
pub(super) fn monthly(classes: Vec<proto::ValueClass>) -> proto::ValueClassPolicy {
    proto::ValueClassPolicy {
        measure: proto::ValueMeasure::Spend.into(),
        each: proto::CalendarPeriod::Month.into(),
        periods: Some(1),
        falls_after: None,
        classes,
        levels: None,
    }
}

/// Key accounts from 100 on, good customers from 50 on, and all others.
pub(crate) fn by_amount() -> proto::ValueClassPolicy {
    monthly(vec![least("key", "100.00", "80.00"), least("good", "50.00", "30.00"), class("other")])
}

pub(super) fn with_classes(policy: Option<proto::ValueClassPolicy>) -> proto::Program {
    proto::Program { value_classes: policy, ..shop() }
}

/// A service with these classes, on a day.
pub(super) async fn start(now: &str, policy: proto::ValueClassPolicy) -> Service {
    let service = Service::start_on(Database::create().await, Clock::fixed(now.parse().unwrap())).await;
    service.apply(with_classes(Some(policy))).await.unwrap();
    service
}

/// A purchase now, of somebody who is enrolled if unknown.
pub(super) async fn buy(service: &Service, customer_id: &str, id: &str, amount: &str) {
    service.activities().record_activity(purchase(customer_id, id, amount, service.clock.now())).await.unwrap();
}

/// Has other services class the customers at the last end, which is that before a day.
pub(super) async fn pass_end(service: &Service, replicas: usize, day: &str) {
    let mut busy = Vec::new();
    for _ in 0..replicas {
        busy.push(Service::start_busy(service.database.clone(), service.clock.clone(), OFTEN).await);
    }
    let select = "SELECT is_done FROM classification_rounds WHERE program_id = $1 AND until = $2::text::date";
    until("all customers are classed", async || {
        let mut connection = service.database.connect(SUPERUSER).await;
        let row: Option<bool> =
            sqlx::query_scalar(select).bind(SHOP).bind(day).fetch_optional(&mut connection).await.unwrap();
        row.filter(|is_done| *is_done)
    })
    .await;
    for service in busy {
        service.stop().await;
    }
}

/// Has another service class the customers at the end of the last month.
pub(crate) async fn pass_last_month(service: &Service) {
    let zone = goldbook_api::zones::find("America/New_York").unwrap();
    let today = service.clock.now().to_zoned(zone).date();
    pass_end(service, 1, &today.first_of_month().to_string()).await;
}

pub(super) async fn find(
    service: &Service,
    customer_id: &str,
    as_of: Option<prost_types::Timestamp>,
) -> Result<proto::GetValueClassResponse, Status> {
    let (program_id, customer_id) = (SHOP.to_owned(), customer_id.to_owned());
    let request = proto::GetValueClassRequest { program_id, customer_id, as_of };
    Ok(service.value().get_value_class(request).await?.into_inner())
}

/// The class of a customer.
pub(super) async fn class_of(service: &Service, customer_id: &str) -> String {
    find(service, customer_id, None).await.unwrap().class_id
}

pub(super) async fn classification(
    service: &Service,
    until: Option<proto::google::Date>,
) -> Result<proto::GetValueClassificationResponse, Status> {
    let request = proto::GetValueClassificationRequest { program_id: SHOP.to_owned(), until };
    Ok(service.value().get_value_classification(request).await?.into_inner())
}

/// Of each class: its name, where it begins, and how many customers are of it.
pub(super) fn counts(classification: &proto::ValueClassification) -> Vec<(&str, Option<proto::google::Money>, i64)> {
    let classes = classification.classes.iter();
    classes.map(|it| (it.class_id.as_str(), it.from.clone(), it.customers)).collect()
}
