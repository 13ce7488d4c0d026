//! Each kind of clause, asked of customers of whom it holds and of whom it does not.

use goldbook::proto;
use goldbook::proto::segment_clause::Condition;
use goldbook::proto::{MarketingChannel, RelationshipLevel, SegmentCount, SegmentEvent};

use super::{buy, clause, count, members, not, segment, since, spend, tiers};
use crate::complaints::{opening, resolve, send_opening};
use crate::harness::{Clock, Database, SHOP, START, Service, at};
use crate::lifecycle::staged_shop;
use crate::satisfaction::{said, satisfied, send};
use crate::value::classes::{by_amount, pass_last_month};

fn texts(texts: &[&str]) -> proto::Texts {
    proto::Texts { texts: texts.iter().map(|text| (*text).to_owned()).collect() }
}

fn attribute(key: &str, values: &[&str]) -> Condition {
    let values = values.iter().map(|value| (*value).to_owned()).collect();
    Condition::Attribute(proto::AttributeCondition { key: key.to_owned(), values })
}

fn coming(date: proto::coming_condition::Date, within_days: i32) -> Condition {
    Condition::Coming(proto::ComingCondition { date: Some(date), within_days })
}

fn consents(channels: &[MarketingChannel]) -> Condition {
    let channels = channels.iter().map(|channel| (*channel).into()).collect();
    Condition::Consents(proto::MarketingChannels { channels })
}

fn classes(class_ids: &[&str]) -> Condition {
    let value_class_ids = class_ids.iter().map(|id| (*id).to_owned()).collect();
    Condition::ValueClasses(proto::ValueClassIds { value_class_ids })
}

fn levels(levels: &[RelationshipLevel]) -> Condition {
    Condition::Levels(proto::RelationshipLevels { levels: levels.iter().map(|level| (*level).into()).collect() })
}

fn of_dossiers() -> Vec<proto::Segment> {
    use proto::coming_condition::Date::{Birthday, ImportantDate};
    vec![
        segment("german", vec![clause(Condition::Languages(texts(&["de"])))]),
        segment("swiss", vec![clause(Condition::RegionCodes(texts(&["CH", "LI"])))]),
        segment("golfers", vec![clause(Condition::Interests(texts(&["GOLF"])))]),
        segment("sporty", vec![clause(attribute("sport", &["tennis", "golf"]))]),
        segment("with-sport", vec![clause(attribute("sport", &[]))]),
        segment("without-sport", vec![not(attribute("sport", &[]))]),
        segment("birthday-soon", vec![clause(coming(Birthday(true), 30))]),
        segment("wedding-soon", vec![clause(coming(ImportantDate("wedding".to_owned()), 10))]),
        segment("by-email", vec![clause(consents(&[MarketingChannel::Email, MarketingChannel::Sms]))]),
        segment("not-by-email", vec![not(consents(&[MarketingChannel::Email]))]),
    ]
}

async fn create(service: &Service, customer: proto::Customer) {
    let request = proto::CreateCustomerRequest {
        program_id: SHOP.to_owned(),
        idempotency_key: customer.customer_id.clone(),
        customer: Some(customer),
        returns: false,
    };
    service.customers().create_customer(request).await.unwrap();
}

fn consent(granted: bool, decided_at: &str) -> proto::MarketingConsent {
    proto::MarketingConsent {
        channel: MarketingChannel::Email.into(),
        granted,
        decided_at: Some(at(decided_at)),
        source: "form".to_owned(),
    }
}

#[tokio::test]
async fn clauses_of_dossiers_hold_by_what_these_say_now() {
    let service = super::start(of_dossiers()).await;
    let date = |month, day| Some(proto::google::Date { year: 0, month, day });
    let address = proto::google::PostalAddress { region_code: "CH".to_owned(), ..Default::default() };
    let anna = proto::Customer {
        customer_id: "anna".to_owned(),
        language: "de-CH".to_owned(),
        address: Some(address),
        interests: vec!["Golf".to_owned()],
        attributes: [("sport".to_owned(), "tennis".to_owned())].into(),
        birth_date: date(2, 1),
        important_dates: vec![proto::ImportantDate { label: "Wedding".to_owned(), date: date(1, 20) }],
        marketing_consents: vec![consent(true, "2026-01-01T00:00:00Z")],
        ..Default::default()
    };
    let ben = proto::Customer {
        customer_id: "ben".to_owned(),
        language: "fr".to_owned(),
        attributes: [("sport".to_owned(), "chess".to_owned())].into(),
        birth_date: date(12, 1),
        important_dates: vec![proto::ImportantDate { label: "Wedding".to_owned(), date: date(6, 1) }],
        marketing_consents: vec![consent(true, "2026-01-01T00:00:00Z"), consent(false, "2026-01-02T00:00:00Z")],
        ..Default::default()
    };
    create(&service, anna).await;
    create(&service, ben).await;
    service.enrol("cleo").await;
    for (segment_id, expected) in [
        ("german", vec!["anna"]),
        ("swiss", vec!["anna"]),
        ("golfers", vec!["anna"]),
        ("sporty", vec!["anna"]),
        ("with-sport", vec!["anna", "ben"]),
        ("without-sport", vec!["cleo"]),
        ("birthday-soon", vec!["anna"]),
        ("wedding-soon", vec!["anna"]),
        ("by-email", vec!["anna"]),
        ("not-by-email", vec!["ben", "cleo"]),
    ] {
        assert_eq!(members(&service, segment_id, None).await, expected, "{segment_id}");
    }

    // Of the past, consents count as they were decided by then, and all else as it is told now.
    service.set_clock("2026-03-01T00:00:00Z");
    let update = proto::UpdateCustomerRequest {
        program_id: SHOP.to_owned(),
        customer: Some(proto::Customer {
            customer_id: "anna".to_owned(),
            language: "fr".to_owned(),
            marketing_consents: vec![consent(false, "2026-02-01T00:00:00Z")],
            ..Default::default()
        }),
        update_mask: Some(prost_types::FieldMask {
            paths: vec!["language".to_owned(), "marketing_consents".to_owned()],
        }),
    };
    service.customers().update_customer(update).await.unwrap();
    assert_eq!(members(&service, "by-email", None).await, Vec::<String>::new());
    assert_eq!(members(&service, "by-email", Some(START)).await, ["anna"]);
    assert_eq!(members(&service, "german", Some(START)).await, Vec::<String>::new());
}

#[tokio::test]
async fn clauses_of_the_book_hold_by_what_is_written_by_then() {
    let segments = vec![
        segment("gold", vec![clause(tiers(&["gold"]))]),
        segment("key", vec![clause(classes(&["key", "good"]))]),
        segment("partners", vec![clause(levels(&[RelationshipLevel::Partner]))]),
        segment("spent", vec![clause(spend(Some("100.00"), None, Some(10)))]),
        segment("twice", vec![clause(count(SegmentCount::Purchases, (Some(2), None), None))]),
        segment("points", vec![clause(count(SegmentCount::Points, (Some(500), None), None))]),
        segment("unhappy", vec![clause(count(SegmentCount::Satisfaction, (None, Some(3)), None))]),
        segment("recommend", vec![clause(count(SegmentCount::Recommendation, (Some(9), None), None))]),
        segment("complaining", vec![clause(count(SegmentCount::OpenComplaints, (Some(1), None), None))]),
        segment("long-ago", vec![clause(since(SegmentEvent::FirstPurchase, Some(20), None))]),
        segment("lately-risen", vec![clause(since(SegmentEvent::TierChange, None, Some(5)))]),
    ];
    let mut policy = by_amount();
    policy.classes[0].level = RelationshipLevel::Partner.into();
    let service = Service::start_on(Database::create().await, Clock::fixed(START.parse().unwrap())).await;
    let program = proto::Program { value_classes: Some(policy), segments, ..staged_shop() };
    service.apply(program).await.unwrap();
    buy(&service, "anna", "p-1", "600.00").await;
    buy(&service, "ben", "p-1", "60.00").await;
    let feedback = proto::Feedback { recommendation: Some(9), ..satisfied(3) };
    send(&service, said("ben", "f-1", feedback, START)).await.unwrap();
    let complaint = send_opening(&service, opening("anna", "o-1")).await.unwrap();
    service.set_clock("2026-02-05T12:00:00Z");
    pass_last_month(&service).await;
    buy(&service, "ben", "p-2", "160.00").await;
    send(&service, said("ben", "f-2", satisfied(5), "2026-02-05T12:00:00Z")).await.unwrap();
    resolve(&service, &complaint, "r-1").await.unwrap();
    service.enrol("cleo").await;
    let none = Vec::<&str>::new;
    for (segment_id, then, now) in [
        ("gold", vec!["anna"], vec!["anna"]),
        ("key", none(), vec!["anna", "ben"]),
        ("partners", none(), vec!["anna"]),
        ("spent", vec!["anna"], vec!["ben"]),
        ("twice", none(), vec!["ben"]),
        ("points", vec!["anna"], vec!["anna"]),
        ("unhappy", vec!["ben"], none()),
        ("recommend", vec!["ben"], vec!["ben"]),
        ("complaining", vec!["anna"], none()),
        ("long-ago", none(), vec!["anna", "ben"]),
        ("lately-risen", vec!["anna", "ben"], vec!["ben", "cleo"]),
    ] {
        assert_eq!(members(&service, segment_id, Some(START)).await, then, "{segment_id} then");
        assert_eq!(members(&service, segment_id, None).await, now, "{segment_id} now");
    }
}
