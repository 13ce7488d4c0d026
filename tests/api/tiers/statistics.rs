//! How many hold which tier, who is about to move, and what became of tiers month by month.

use goldbook::proto;
use goldbook::proto::TierChangeKind::{Downgraded, Released, Renewed};
use tonic::{Code, Status};

use super::windows::{OFTEN, calendar_years};
use crate::harness::{SHOP, Service, assert_refused, at, purchase, shop, sorted_bad_fields};
use crate::wait::{until, within};

pub(super) fn ask(as_of: Option<&str>) -> proto::ListTierStatisticsRequest {
    proto::ListTierStatisticsRequest { program_id: SHOP.to_owned(), as_of: as_of.map(at), ..Default::default() }
}

/// Everything that is told: who is about to move, and the statistics.
pub(super) async fn count(
    service: &Service,
    request: proto::ListTierStatisticsRequest,
) -> Result<(Vec<proto::UpcomingTierMove>, proto::TierStatistics), Status> {
    let mut stream = service.tiers().list_tier_statistics(request).await?.into_inner();
    let (mut upcoming, mut statistics) = (Vec::new(), None);
    while let Some(message) = within("a message of statistics", stream.message()).await? {
        assert!(statistics.is_none(), "the statistics come last");
        assert!(message.progress.is_some() && message.upcoming.len() <= 1_000);
        upcoming.extend(message.upcoming);
        statistics = message.statistics;
    }
    Ok((upcoming, statistics.expect("statistics")))
}

/// How many hold each tier.
pub(super) fn held(statistics: &proto::TierStatistics) -> Vec<(&str, i64)> {
    statistics.tiers.iter().map(|tier| (tier.tier_id.as_str(), tier.customers)).collect()
}

/// The months in which anything happened: joined, up, down and renewed.
fn months(statistics: &proto::TierStatistics) -> Vec<(String, [i64; 4])> {
    let told = statistics.months.iter().map(|it| {
        let day = it.first_day.unwrap();
        (format!("{}-{:02}", day.year, day.month), [it.joined, it.upgraded, it.downgraded, it.renewed])
    });
    told.filter(|(_, numbers)| numbers.iter().any(|number| *number > 0)).collect()
}

async fn buy(service: &Service, customer_id: &str, id: &str, amount: &str) {
    let request = purchase(customer_id, id, amount, service.clock.now());
    service.activities().record_activity(request).await.unwrap();
}

/// Calendar years, with tiers kept to the end of the next one: anna was silver in 2026 alone, ben again in 2027.
async fn start() -> Service {
    let service = Service::start().await;
    service.apply(calendar_years()).await.unwrap();
    for customer_id in ["anna", "ben", "cleo", "dora"] {
        service.enrol(customer_id).await;
    }
    // New York's January ends at 5 hours UTC of 1 February.
    service.set_clock("2026-02-01T04:59:59.999999Z");
    buy(&service, "anna", "a", "200.00").await;
    service.set_clock("2026-02-01T05:00:00Z");
    buy(&service, "ben", "a", "200.00").await;
    service.set_clock("2027-06-15T12:00:00Z");
    buy(&service, "ben", "b", "200.00").await;
    service
}

fn month(name: &str, numbers: [i64; 4]) -> (String, [i64; 4]) {
    (name.to_owned(), numbers)
}

#[tokio::test]
async fn statistics_tell_who_holds_what_and_what_became_of_tiers_month_by_month() {
    let service = start().await;
    let request = proto::ListTierStatisticsRequest { months: 24, ..ask(None) };
    let (_, statistics) = count(&service, request).await.unwrap();
    assert_eq!(held(&statistics), [("member", 2), ("silver", 2), ("gold", 0)]);
    assert_eq!(statistics.tiers[1].display_name, "SILVER");
    assert_eq!((statistics.customers, statistics.left_out, statistics.months.len()), (4, 0, 24));
    assert_eq!(months(&statistics), [month("2026-01", [4, 1, 0, 0]), month("2026-02", [0, 1, 0, 0])]);
    assert_eq!(statistics.as_of, Some(at("2027-06-15T12:00:00Z")));
    // What came later is not in an answer for the past, nor is what the program says since.
    let mut renamed = calendar_years();
    renamed.tiers[1].display_name = "Shining".to_owned();
    service.apply(renamed).await.unwrap();
    service.set_clock("2027-06-16T12:00:00Z");
    assert_eq!(count(&service, ask(None)).await.unwrap().1.tiers[1].display_name, "Shining");
    let (_, before) = count(&service, ask(Some("2026-02-01T04:59:59.999998Z"))).await.unwrap();
    assert_eq!(held(&before), [("member", 4), ("silver", 0), ("gold", 0)]);
    assert_eq!(before.tiers[1].display_name, "SILVER");
    assert_eq!(months(&before), [month("2026-01", [4, 0, 0, 0])]);
}

#[tokio::test]
async fn what_time_did_is_counted_before_and_after_it_is_written() {
    let service = start().await;
    service.set_clock("2028-01-01T05:00:00Z");
    let (_, unwritten) = count(&service, ask(None)).await.unwrap();
    assert_eq!(held(&unwritten), [("member", 3), ("silver", 1), ("gold", 0)]);
    assert_eq!(months(&unwritten), [month("2028-01", [0, 0, 1, 1])]);
    let _worker = Service::start_busy(service.database.clone(), service.clock.clone(), OFTEN).await;
    let written = "SELECT count(*) FROM ledger_entries WHERE effective_at = '2028-01-01T05:00:00Z'";
    until("the ends to be written", async || {
        (super::simulation::count(&service.database, written).await == 2).then_some(())
    })
    .await;
    assert_eq!(count(&service, ask(None)).await.unwrap().1, unwritten);
    service.set_clock("2028-02-01T12:00:00Z");
    assert_eq!(count(&service, ask(Some("2028-01-01T05:00:00Z"))).await.unwrap().1, unwritten);
}

#[tokio::test]
async fn who_is_about_to_move_is_counted_and_listed_by_what_will_happen() {
    let service = start().await;
    service.set_clock("2027-12-15T12:00:00Z");
    let set = proto::SetTierOverrideRequest {
        program_id: SHOP.to_owned(),
        customer_id: "cleo".to_owned(),
        tier_id: "gold".to_owned(),
        kind: proto::TierOverrideKind::Floor.into(),
        ends_at: Some(at("2027-12-20T12:00:00Z")),
        reason: proto::CorrectionReason::Goodwill.into(),
        author: "Support".to_owned(),
        idempotency_key: "set".to_owned(),
        ..Default::default()
    };
    service.tiers().set_tier_override(set).await.unwrap();
    let request = proto::ListTierStatisticsRequest { list_customers: true, ..ask(None) };
    let (mut upcoming, statistics) = count(&service, request.clone()).await.unwrap();
    upcoming.sort_by_key(|it| it.customer_id.clone());
    let told: Vec<_> =
        upcoming.iter().map(|it| (it.customer_id.as_str(), it.change(), it.to_tier_id.as_str())).collect();
    assert_eq!(told, [("anna", Downgraded, "member"), ("ben", Renewed, "silver"), ("cleo", Released, "member")]);
    let new_year = Some(at("2028-01-01T05:00:00Z"));
    assert_eq!((upcoming[0].at, upcoming[0].from_tier_id.as_str()), (new_year, "silver"));
    let counted: Vec<_> = statistics
        .upcoming
        .iter()
        .map(|it| (it.change(), it.from_tier_id.as_str(), it.to_tier_id.as_str(), it.customers, it.first_at))
        .collect();
    let released = Some(at("2027-12-20T12:00:00Z"));
    assert_eq!(
        counted,
        [
            (Downgraded, "silver", "member", 1, new_year),
            (Renewed, "silver", "silver", 1, new_year),
            (Released, "gold", "member", 1, released)
        ]
    );
    let gold = &statistics.tiers[2];
    assert_eq!((gold.customers, gold.overridden), (1, 1));
    let soon = proto::ListTierStatisticsRequest { within_days: 5, ..request };
    let (upcoming, _) = count(&service, soon).await.unwrap();
    assert_eq!(upcoming.iter().map(|it| it.customer_id.as_str()).collect::<Vec<_>>(), ["cleo"]);
}

#[tokio::test]
async fn statistics_refuse_what_makes_no_sense() {
    let service = Service::start().await;
    service.apply(shop()).await.unwrap();
    let bad = proto::ListTierStatisticsRequest { within_days: 401, months: -1, ..Default::default() };
    let refused = service.tiers().list_tier_statistics(bad).await.map(|_| ());
    assert_eq!(sorted_bad_fields(refused), ["months", "program_id", "within_days"]);
    let ahead = count(&service, ask(Some("2026-01-15T12:00:00.000001Z"))).await.map(|_| ());
    assert_refused(ahead, Code::OutOfRange, "INSTANT_IN_FUTURE");
    let none = proto::ListTierStatisticsRequest { program_id: "none".to_owned(), ..ask(None) };
    assert_refused(count(&service, none).await.map(|_| ()), Code::NotFound, "PROGRAM_NOT_FOUND");
    let (upcoming, statistics) = count(&service, ask(None)).await.unwrap();
    assert_eq!((upcoming.len(), statistics.customers, statistics.tiers.len()), (0, 0, 3));
}
