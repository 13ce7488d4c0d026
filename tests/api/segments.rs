//! Segments: who is in them, now and as of instants, page by page, and by what is tried.

mod clauses;
mod counted;
mod program;
mod random_segments;

use goldbook::proto;
use goldbook::proto::segment_clause::Condition;
use goldbook::proto::{count_segment_request, list_segment_members_request};
use goldbook_api::v1::{LifecycleStage, SegmentCount, SegmentEvent};
use tonic::{Code, Status};

use crate::audit::assert_clean;
use crate::customers::erasure::{erase, erasure};
use crate::harness::{
    SHOP, START, Service, assert_refused, assert_refuses_bad_pages, at, bad_fields, purchase, read_pages, usd,
};
use crate::lifecycle::staged_shop;

pub(crate) fn clause(condition: Condition) -> proto::SegmentClause {
    proto::SegmentClause { condition: Some(condition), negated: false }
}

pub(crate) fn not(condition: Condition) -> proto::SegmentClause {
    proto::SegmentClause { negated: true, ..clause(condition) }
}

pub(crate) fn segment(segment_id: &str, clauses: Vec<proto::SegmentClause>) -> proto::Segment {
    proto::Segment { segment_id: segment_id.to_owned(), display_name: segment_id.to_uppercase(), clauses }
}

pub(crate) fn tiers(tier_ids: &[&str]) -> Condition {
    Condition::Tiers(proto::TierIds { tier_ids: tier_ids.iter().map(|id| (*id).to_owned()).collect() })
}

pub(super) fn stages(stages: &[LifecycleStage]) -> Condition {
    Condition::Stages(proto::LifecycleStages { stages: stages.iter().map(|stage| (*stage).into()).collect() })
}

pub(super) fn count(count: SegmentCount, bounds: (Option<i64>, Option<i64>), days: Option<i32>) -> Condition {
    Condition::Count(proto::CountCondition { count: count.into(), at_least: bounds.0, at_most: bounds.1, days })
}

pub(crate) fn spend(at_least: Option<&str>, at_most: Option<&str>, days: Option<i32>) -> Condition {
    let amount = proto::SegmentAmount::Spend.into();
    Condition::Amount(proto::AmountCondition { amount, at_least: at_least.map(usd), at_most: at_most.map(usd), days })
}

pub(super) fn since(event: SegmentEvent, at_least_days: Option<i32>, at_most_days: Option<i32>) -> Condition {
    Condition::Since(proto::SinceCondition { event: event.into(), at_least_days, at_most_days })
}

pub(super) async fn start(segments: Vec<proto::Segment>) -> Service {
    let service = Service::start().await;
    service.apply(proto::Program { segments, ..staged_shop() }).await.unwrap();
    service
}

pub(super) async fn buy(service: &Service, customer_id: &str, id: &str, amount: &str) {
    service.activities().record_activity(purchase(customer_id, id, amount, service.clock.now())).await.unwrap();
}

pub(super) fn listing(segment_id: &str, as_of: Option<&str>) -> proto::ListSegmentMembersRequest {
    proto::ListSegmentMembersRequest {
        program_id: SHOP.to_owned(),
        segment_id: segment_id.to_owned(),
        as_of: as_of.map(at),
        page_size: 1_000,
        ..Default::default()
    }
}

pub(super) async fn list(
    service: &Service,
    request: proto::ListSegmentMembersRequest,
) -> Result<proto::ListSegmentMembersResponse, Status> {
    Ok(service.segments().list_segment_members(request).await?.into_inner())
}

/// The members of a segment, by their names.
pub(super) async fn members(service: &Service, segment_id: &str, as_of: Option<&str>) -> Vec<String> {
    let found = list(service, listing(segment_id, as_of)).await.unwrap();
    assert_eq!((found.next_page_token.as_str(), found.customers_left_out), ("", 0));
    let mut members: Vec<String> = found.members.into_iter().map(|member| member.customer_id).collect();
    members.sort();
    members
}

pub(super) async fn size(
    service: &Service,
    segment_id: &str,
    as_of: Option<&str>,
    policy: Option<count_segment_request::Policy>,
) -> Result<proto::CountSegmentResponse, Status> {
    let (program_id, segment_id) = (SHOP.to_owned(), segment_id.to_owned());
    let request = proto::CountSegmentRequest { program_id, segment_id, as_of: as_of.map(at), policy };
    Ok(service.segments().count_segment(request).await?.into_inner())
}

/// The segments of a customer, by their names.
pub(super) async fn segments_of(
    service: &Service,
    customer_id: &str,
    as_of: Option<&str>,
) -> Result<Vec<String>, Status> {
    let (program_id, customer_id) = (SHOP.to_owned(), customer_id.to_owned());
    let request = proto::ListCustomerSegmentsRequest { program_id, customer_id, as_of: as_of.map(at) };
    let found = service.segments().list_customer_segments(request).await?.into_inner();
    Ok(found.segments.into_iter().map(|segment| segment.segment_id).collect())
}

#[tokio::test]
async fn members_are_those_of_the_instant_whatever_came_later() {
    let quiet = segment("quiet", vec![clause(stages(&[LifecycleStage::AtRisk, LifecycleStage::Lapsed]))]);
    let good = segment("good", vec![clause(tiers(&["silver", "gold"])), not(stages(&[LifecycleStage::Lost]))]);
    let service = start(vec![quiet, good]).await;
    assert_eq!(members(&service, "quiet", None).await, Vec::<String>::new());
    buy(&service, "anna", "p-1", "300.00").await;
    buy(&service, "ben", "p-1", "30.00").await;
    service.set_clock("2026-03-31T12:00:00Z");
    buy(&service, "ben", "p-2", "600.00").await;
    buy(&service, "cleo", "p-1", "10.00").await;
    // Nobody has written yet that Anna is silent: it is so all the same.
    assert_eq!(members(&service, "quiet", None).await, ["anna"]);
    assert_eq!(members(&service, "good", None).await, ["anna", "ben"]);
    assert_eq!(segments_of(&service, "anna", None).await.unwrap(), ["quiet", "good"]);
    assert_eq!(segments_of(&service, "cleo", None).await.unwrap(), Vec::<String>::new());
    let told = size(&service, "good", None, None).await.unwrap();
    assert_eq!((told.members, told.customers, told.customers_left_out), (2, 3, 0));
    service.set_clock("2026-06-30T12:00:00Z");
    buy(&service, "cleo", "p-2", "900.00").await;
    buy(&service, "anna", "p-2", "1.00").await;
    assert_eq!(members(&service, "good", None).await, ["anna", "cleo"]);
    for (instant, quiet, good, customers) in [
        (START, vec![], vec!["anna"], 2),
        ("2026-03-31T12:00:00Z", vec!["anna"], vec!["anna", "ben"], 3),
        ("2026-05-01T12:00:00Z", vec!["ben", "cleo"], vec!["ben"], 3),
    ] {
        assert_eq!(members(&service, "quiet", Some(instant)).await, quiet, "{instant}");
        assert_eq!(members(&service, "good", Some(instant)).await, good, "{instant}");
        let told = size(&service, "good", Some(instant), None).await.unwrap();
        assert_eq!((told.members, told.customers), (good.len() as i64, customers), "{instant}");
        assert_eq!(told.as_of, Some(at(instant)));
    }
    let unknown = segments_of(&service, "cleo", Some(START)).await;
    assert_refused(unknown, Code::NotFound, "CUSTOMER_NOT_FOUND");
    // Who is erased is in no segment, of no instant.
    erase(&service, erasure("anna", proto::BalanceDisposal::Expire, "erase")).await.unwrap();
    assert_eq!(members(&service, "good", Some(START)).await, Vec::<String>::new());
    assert_clean(&service.database).await;
}

#[tokio::test]
async fn pages_go_through_all_members_as_of_the_instant_of_the_first() {
    let service = start(vec![segment("all", vec![not(tiers(&["gold"]))])]).await;
    for customer in 0..7 {
        service.enrol(&format!("c-{customer}")).await;
    }
    let page = async |page_token: String| {
        let request = proto::ListSegmentMembersRequest { page_size: 2, page_token, ..listing("all", None) };
        list(&service, request).await
    };
    let first = page(String::new()).await.unwrap();
    service.set_clock("2026-04-01T00:00:00Z");
    // A customer who leaves the segment between two pages, and one who joins.
    for customer in 0..7 {
        buy(&service, &format!("c-{customer}"), "p", "900.00").await;
    }
    service.enrol("later").await;
    let mut found = first.members.clone();
    let rest = read_pages(2, async |token: String| {
        let token = if token.is_empty() { first.next_page_token.clone() } else { token };
        let page = page(token).await.unwrap();
        assert_eq!(page.as_of, first.as_of);
        (page.members, page.next_page_token)
    })
    .await;
    found.extend(rest);
    let mut names: Vec<String> = found.into_iter().map(|member| member.customer_id).collect();
    names.sort();
    assert_eq!(names, (0..7).map(|customer| format!("c-{customer}")).collect::<Vec<_>>());

    let whole = proto::ListSegmentMembersRequest { page_size: 1, ..listing("all", Some(START)) };
    let foreign = list(&service, whole).await.unwrap().next_page_token;
    let paged = async |page_size, page_token| {
        list(&service, proto::ListSegmentMembersRequest { page_size, page_token, ..listing("all", None) }).await
    };
    assert_refuses_bad_pages(&foreign, paged).await;
}

#[tokio::test]
async fn what_is_tried_says_who_would_be_in_a_segment_and_writes_nothing() {
    let service = start(Vec::new()).await;
    buy(&service, "anna", "p-1", "300.00").await;
    let applied = service.count_entries().await;
    let good = segment("good", vec![clause(tiers(&["silver"]))]);
    let program = proto::Program { segments: vec![good], ..staged_shop() };
    let document = count_segment_request::Policy::Program(program.clone());
    let told = size(&service, "good", None, Some(document.clone())).await.unwrap();
    assert_eq!((told.members, told.customers), (1, 1));
    let tried = proto::ListSegmentMembersRequest {
        policy: Some(list_segment_members_request::Policy::Program(program.clone())),
        ..listing("good", None)
    };
    assert_eq!(list(&service, tried.clone()).await.unwrap().members[0].customer_id, "anna");
    assert_eq!(service.count_entries().await, applied);
    let none = size(&service, "good", None, None).await;
    assert_refused(none, Code::NotFound, "SEGMENT_NOT_FOUND");

    // What is asked as of an instant is by the version in force then, unless another one is tried.
    service.set_clock("2026-02-01T00:00:00Z");
    service.apply(program.clone()).await.unwrap();
    assert_refused(size(&service, "good", Some(START), None).await, Code::NotFound, "SEGMENT_NOT_FOUND");
    let version = |version| Some(count_segment_request::Policy::Version(version));
    assert_eq!(size(&service, "good", Some(START), version(2)).await.unwrap().members, 1);
    assert_eq!(size(&service, "good", None, None).await.unwrap().members, 1);
    assert_refused(size(&service, "good", None, version(1)).await, Code::NotFound, "SEGMENT_NOT_FOUND");
    assert_refused(size(&service, "good", None, version(9)).await, Code::NotFound, "PROGRAM_NOT_FOUND");
    let refused = size(&service, "good", Some("2026-02-01T00:00:01Z"), None).await;
    assert_refused(refused, Code::OutOfRange, "INSTANT_IN_FUTURE");
    assert_eq!(bad_fields(&size(&service, "Good", None, version(0)).await.unwrap_err()), ["segment_id", "version"]);
    let other = proto::Program { time_zone: "Europe/Berlin".to_owned(), ..program };
    let refused = size(&service, "good", None, Some(count_segment_request::Policy::Program(other))).await;
    assert_refused(refused, Code::FailedPrecondition, "PROGRAM_FIELD_IMMUTABLE");
}

#[tokio::test]
async fn a_damaged_dossier_leaves_out_its_customer_alone() {
    let german = Condition::Languages(proto::Texts { texts: vec!["de".to_owned()] });
    let service = start(vec![segment("other", vec![not(german)])]).await;
    for customer in ["anna", "ben", "cleo"] {
        service.enrol(customer).await;
    }
    let mut connection = service.database.connect(goldbook::embedded_postgres::SUPERUSER).await;
    let damage = "UPDATE customers SET dossier = jsonb_build_object('language', 7) WHERE customer_id = 'ben'";
    sqlx::query(damage).execute(&mut connection).await.unwrap();
    let found = list(&service, listing("other", None)).await.unwrap();
    let mut names: Vec<String> = found.members.into_iter().map(|member| member.customer_id).collect();
    names.sort();
    assert_eq!((names, found.customers_left_out), (vec!["anna".to_owned(), "cleo".to_owned()], 1));
    let told = size(&service, "other", None, None).await.unwrap();
    assert_eq!((told.members, told.customers, told.customers_left_out), (2, 2, 1));
    // However small the pages are, each is told of once.
    let (mut token, mut pages) = (String::new(), Vec::new());
    loop {
        let request = proto::ListSegmentMembersRequest { page_size: 1, page_token: token, ..listing("other", None) };
        let page = list(&service, request).await.unwrap();
        pages.push((page.members.len(), page.customers_left_out));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    let sums = pages.iter().fold((0, 0), |sums, page| (sums.0 + page.0, sums.1 + page.1));
    assert_eq!(sums, (2, 1), "{pages:?}");
    let refused = segments_of(&service, "ben", None).await.unwrap_err();
    assert_eq!(refused.code(), Code::Internal);
}

#[tokio::test]
async fn a_page_looks_at_so_many_customers_also_where_none_is_a_member() {
    let service = start(vec![segment("gold", vec![clause(tiers(&["gold"]))])]).await;
    // Eleven thousand customers, whose rows are all alike.
    service.enrol("c-0").await;
    let mut connection = service.database.connect(goldbook::embedded_postgres::SUPERUSER).await;
    for table in ["accounts", "customers", "standings"] {
        let copy = format!(
            "INSERT INTO {table} SELECT (jsonb_populate_record(t, jsonb_build_object('account_id', a.id, 'customer_id', a.name))).*
             FROM {table} t JOIN customers c USING (account_id)
             CROSS JOIN (SELECT md5(i::text)::uuid AS id, 'd-' || i AS name FROM generate_series(1, 11000) i) a
             WHERE c.customer_id = 'c-0'"
        );
        sqlx::query(sqlx::AssertSqlSafe(copy)).execute(&mut connection).await.unwrap();
    }
    // Before anybody joined, too.
    for as_of in [None, Some("2026-01-10T00:00:00Z")] {
        let first = list(&service, listing("gold", as_of)).await.unwrap();
        assert_eq!((first.members.len(), first.next_page_token.is_empty()), (0, false), "{as_of:?}");
        let next = proto::ListSegmentMembersRequest { page_token: first.next_page_token, ..listing("gold", as_of) };
        assert_eq!(list(&service, next).await.unwrap().next_page_token, "");
    }
    let counted = size(&service, "gold", None, None).await.unwrap();
    assert_eq!((counted.members, counted.customers), (0, 11_001));
}
