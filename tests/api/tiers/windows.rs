//! Tiers that end: windows of days, what keeps a tier, and what time and refunds take away.

use std::time::Duration;

use goldbook::embedded_postgres::SUPERUSER;
use goldbook::proto;
use tonic::Code;

use crate::book_rules::check_rules;
use crate::customers::erasure::{erase, erasure};
use crate::harness::{Background, Clock, Database, SHOP, Service, assert_refused, purchase, shop, usd};

pub(super) const OFTEN: Background = Background {
    apply_dues_every: Some(Duration::from_millis(20)),
    sum_up_every: None,
    erase_of_inactive_every: None,
    export_limit: None,
};

/// The shop under a policy of tiers.
pub(super) fn with_policy(window: proto::tier_window::Window, rule: proto::tier_retention::Rule) -> proto::Program {
    let policy = proto::TierPolicy {
        window: Some(proto::TierWindow { window: Some(window) }),
        kept: Some(proto::TierRetention { rule: Some(rule) }),
        ..Default::default()
    };
    proto::Program { tier_policy: Some(policy), ..shop() }
}

/// A rolling year, in which a tier is kept while its condition holds.
pub(super) fn rolling_year() -> proto::Program {
    with_policy(
        proto::tier_window::Window::Rolling("P1Y".to_owned()),
        proto::tier_retention::Rule::WhileConditionHolds(()),
    )
}

/// Calendar years, with tiers that are kept until the end of the next.
pub(super) fn calendar_years() -> proto::Program {
    with_policy(
        proto::tier_window::Window::Calendar(proto::CalendarPeriod::Year.into()),
        proto::tier_retention::Rule::UntilEndOfNextPeriod(()),
    )
}

pub(super) async fn start(program: proto::Program) -> Service {
    let service = Service::start().await;
    service.set_clock("2026-01-15T12:00:00Z");
    service.apply(program).await.unwrap();
    service.enrol("anna").await;
    service
}

pub(super) async fn buy(service: &Service, id: &str, amount: &str, happened_at: &str) -> proto::RecordActivityResponse {
    let request = purchase("anna", id, amount, happened_at.parse().unwrap());
    service.activities().record_activity(request).await.unwrap().into_inner()
}

pub(super) async fn refund(service: &Service, id: &str, of: &str, amount: &str) -> proto::RecordActivityResponse {
    let request = crate::points::calls::refund(of, amount, service, id);
    service.activities().record_activity(request).await.unwrap().into_inner()
}

pub(super) async fn changes(service: &Service) -> Vec<(String, proto::TierChangeKind)> {
    let request = proto::ListTierChangesRequest {
        program_id: SHOP.to_owned(),
        customer_id: "anna".to_owned(),
        ..Default::default()
    };
    let changes = service.tiers().list_tier_changes(request).await.unwrap().into_inner().tier_changes;
    changes.iter().rev().map(|change| (change.to_tier_id.clone(), change.change())).collect()
}

/// The last entry of anna that changed her tier, and the one that caused it.
async fn last_change(service: &Service) -> (proto::Entry, proto::Entry) {
    let entries = service.entries("anna").await;
    let row = entries.iter().rfind(|entry| entry.kind() == proto::EntryKind::TierChanged).unwrap();
    let cause = entries.iter().find(|entry| entry.entry_id == row.cause_entry_ids[0]).unwrap();
    (row.clone(), cause.clone())
}

#[tokio::test]
async fn a_rolling_window_lets_a_tier_go_at_the_start_of_the_day_and_tells_so_before() {
    let service = start(rolling_year()).await;
    // New York's 1 March ends at 5 hours UTC of the next day.
    service.set_clock("2026-03-02T04:59:59.999999Z");
    let silver = buy(&service, "a", "200.00", "2026-03-02T04:59:59.999999Z").await;
    assert_eq!(silver.tier_change.unwrap().to_tier_id, "silver");
    let tier = service.tier("anna").await;
    assert_eq!(tier.valid_until, Some(crate::harness::at("2027-03-01T05:00:00Z")));
    let forecast = &tier.forecast[0];
    assert_eq!((forecast.tier_id.as_str(), forecast.change()), ("member", proto::TierChangeKind::Downgraded));
    assert_eq!(forecast.at, tier.valid_until);
    service.set_clock("2027-03-01T04:59:59.999999Z");
    assert_eq!(service.tier("anna").await.tier_id, "silver");
    service.set_clock("2027-03-01T05:00:00Z");
    assert_eq!(service.tier("anna").await.tier_id, "member");
    let now = service.tier("anna").await;
    assert_eq!(service.tier_at("anna", "2027-03-01T05:00:00Z").await.unwrap(), now);
    // What was answered before it is written is what is written then.
    service.set_clock("2027-03-20T12:00:00Z");
    buy(&service, "b", "1.00", "2027-03-20T12:00:00Z").await;
    let after = service.tier_at("anna", "2027-03-01T05:00:00Z").await.unwrap();
    assert_eq!(after, now);
    let expected = [
        ("member", proto::TierChangeKind::Joined),
        ("silver", proto::TierChangeKind::Upgraded),
        ("member", proto::TierChangeKind::Downgraded),
    ];
    assert_eq!(changes(&service).await, expected.map(|(tier, change)| (tier.to_owned(), change)));
    check_rules(&service.database).await.unwrap();
}

#[tokio::test]
async fn a_calendar_year_renews_what_was_earned_again_and_drops_the_rest() {
    let service = start(calendar_years()).await;
    buy(&service, "a", "500.00", "2026-01-15T12:00:00Z").await;
    assert_eq!(service.tier("anna").await.valid_until, Some(crate::harness::at("2028-01-01T05:00:00Z")));
    // Silver is earned in 2027, and gold not again.
    service.set_clock("2027-06-01T12:00:00Z");
    buy(&service, "b", "200.00", "2027-06-01T12:00:00Z").await;
    let tier = service.tier("anna").await;
    assert_eq!((tier.tier_id.as_str(), tier.keeping.as_ref().unwrap().met), ("gold", false));
    let missing = tier.keeping.unwrap().progress[0].missing.clone().unwrap().condition;
    assert_eq!(missing, Some(proto::tier_condition::Condition::Spend(usd("300.00"))));
    service.set_clock("2028-02-01T12:00:00Z");
    assert_eq!(service.tier("anna").await.tier_id, "silver");
    // Time took gold away; what is left was earned by the purchase of 2027.
    service.grant("anna", 1, "touch").await.unwrap();
    let (row, cause) = last_change(&service).await;
    assert_eq!((row.reason(), row.actor()), (proto::EntryReason::TimeReached, proto::Actor::Time));
    let bought: serde_json::Value = serde_json::from_str(&cause.detail_json).unwrap();
    assert_eq!(bought["happened_at"], serde_json::json!("2027-06-01T12:00:00Z"), "{bought}");
    // And silver again in 2028.
    buy(&service, "c", "250.00", "2028-02-01T12:00:00Z").await;
    service.set_clock("2029-02-01T12:00:00Z");
    buy(&service, "d", "1.00", "2029-02-01T12:00:00Z").await;
    let expected = [
        ("member", proto::TierChangeKind::Joined),
        ("gold", proto::TierChangeKind::Upgraded),
        ("silver", proto::TierChangeKind::Downgraded),
        ("silver", proto::TierChangeKind::Renewed),
    ];
    assert_eq!(changes(&service).await, expected.map(|(tier, change)| (tier.to_owned(), change)));
    check_rules(&service.database).await.unwrap();
}

#[tokio::test]
async fn a_late_purchase_counts_in_the_window_in_which_it_happened() {
    let service = start(calendar_years()).await;
    service.set_clock("2027-03-01T12:00:00Z");
    // At the last instant of 2026 in New York, and at the first of 2027.
    buy(&service, "a", "120.00", "2027-01-01T04:59:59.999999Z").await;
    let none = buy(&service, "b", "120.00", "2027-01-01T05:00:00Z").await;
    let as_of = "2027-02-28T12:00:00Z";
    let before = service.tier_at("anna", as_of).await.unwrap();
    assert_eq!(none.tier_change, None);
    let late = buy(&service, "c", "80.00", "2026-02-01T12:00:00Z").await.tier_change.unwrap();
    assert_eq!(
        (late.to_tier_id.as_str(), late.valid_until),
        ("silver", Some(crate::harness::at("2028-01-01T05:00:00Z")))
    );
    let earned = late.earned.unwrap();
    assert_eq!((earned.spend, earned.from.unwrap().year), (Some(usd("200.00")), 2026));
    assert_eq!(service.tier("anna").await.qualifying_spend, Some(usd("120.00")));
    // It changes what is to come, and nothing that was.
    assert_eq!((before.tier_id.as_str(), service.tier_at("anna", as_of).await.unwrap()), ("member", before.clone()));
}

#[tokio::test]
async fn a_refund_of_what_earned_the_tier_decides_it_again_and_others_do_not() {
    let service = start(calendar_years()).await;
    buy(&service, "a", "250.00", "2026-01-15T12:00:00Z").await;
    buy(&service, "b", "300.00", "2026-01-15T12:00:00Z").await;
    assert_eq!(service.tier("anna").await.tier_id, "gold");
    assert_eq!(refund(&service, "r1", "b", "50.00").await.tier_change, None);
    let taken = refund(&service, "r2", "b", "0.01").await.tier_change.unwrap();
    assert_eq!((taken.to_tier_id.as_str(), taken.change()), ("silver", proto::TierChangeKind::Redecided));
    let (row, cause) = last_change(&service).await;
    assert_eq!((row.reason(), cause.kind()), (proto::EntryReason::Refund, proto::EntryKind::RefundAccepted));
    // In the next year nothing is earned, and a refund of that year's purchase does no harm to what 2026 earned.
    service.set_clock("2027-03-01T12:00:00Z");
    buy(&service, "c", "10.00", "2027-03-01T12:00:00Z").await;
    assert_eq!(refund(&service, "r3", "c", "10.00").await.tier_change, None);
    assert_eq!(service.tier("anna").await.tier_id, "silver");
    let refunded = service.tier("anna").await.counted.unwrap();
    assert_eq!((refunded.purchases, refunded.active_days), (0, 0));
    check_rules(&service.database).await.unwrap();
}

#[tokio::test]
async fn the_worker_writes_what_the_next_touch_would_have_written() {
    // The second begins between the end of the tier and the touch: what was due before is decided by the first.
    for begins in [None, Some("2027-02-01T05:00:00Z"), Some("2026-12-01T05:00:00Z")] {
        assert_worker_and_touch_agree(begins).await;
    }
}

/// A tier ends, and a version begins, before anybody looks.
async fn assert_worker_and_touch_agree(begins: Option<&str>) {
    let told = async |is_by_worker: bool| {
        let database = Database::create().await;
        let every = OFTEN.apply_dues_every.filter(|_| is_by_worker);
        let background = Background { apply_dues_every: every, ..OFTEN };
        let clock = Clock::fixed("2026-01-15T12:00:00Z".parse().unwrap());
        let service = Service::start_busy(database, clock, background).await;
        service.apply(rolling_year()).await.unwrap();
        service.enrol("anna").await;
        buy(&service, "a", "200.00", "2026-01-15T12:00:00Z").await;
        if let Some(begins) = begins {
            let mut program = rolling_year();
            program.tiers[1].threshold = Some(usd("100.00"));
            let effective_from = Some(crate::harness::at(begins));
            let request = proto::ApplyProgramRequest { program: Some(program), effective_from, ..Default::default() };
            service.programs().apply_program(request).await.unwrap();
        }
        service.set_clock("2027-06-01T12:00:00Z");
        if is_by_worker {
            let mut connection = service.database.connect(SUPERUSER).await;
            crate::wait::until("the tier to end", async || {
                let count: i64 = sqlx::query_scalar("SELECT count(*) FROM ledger_entries WHERE actor = 'time'")
                    .fetch_one(&mut connection)
                    .await
                    .unwrap();
                (count == 1).then_some(())
            })
            .await;
        }
        buy(&service, "b", "1.00", "2027-06-01T12:00:00Z").await;
        let entries = service.entries("anna").await;
        let seen = entries.iter().map(|entry| {
            (entry.kind, entry.detail_json.clone(), entry.effective_at, entry.reason, entry.policy_version)
        });
        seen.collect::<Vec<_>>()
    };
    let (by_worker, by_touch) = (told(true).await, told(false).await);
    assert_eq!(by_worker, by_touch);
    let expected = if begins.is_some_and(|begins| begins < "2027-01-15") { 2 } else { 1 };
    assert!(by_worker.iter().any(
        |(_, _, _, reason, version)| *reason == i32::from(proto::EntryReason::TimeReached) && *version == expected
    ));
}

#[tokio::test]
async fn time_does_nothing_to_the_standing_of_who_was_erased() {
    let service = start(rolling_year()).await;
    buy(&service, "a", "200.00", "2026-01-15T12:00:00Z").await;
    erase(&service, erasure("anna", proto::BalanceDisposal::Expire, "erase-anna")).await.unwrap();
    let other = Service::start_busy(service.database.clone(), service.clock.clone(), OFTEN).await;
    other.set_clock("2027-06-01T12:00:00Z");
    let mut connection = service.database.connect(SUPERUSER).await;
    crate::wait::until("nothing to be due", async || {
        let due: i64 = sqlx::query_scalar("SELECT count(*) FROM accounts WHERE next_due_at < '2027-06-01'")
            .fetch_one(&mut connection)
            .await
            .unwrap();
        (due == 0).then_some(())
    })
    .await;
    let last: String = sqlx::query_scalar(
        "SELECT e.kind FROM ledger_entries e JOIN standings USING (account_id) ORDER BY account_seq DESC LIMIT 1",
    )
    .fetch_one(&mut connection)
    .await
    .unwrap();
    assert_eq!(last, "customer_erased");
    check_rules(&service.database).await.unwrap();
}

#[tokio::test]
async fn record_activity_refuses_more_margin_than_can_be_counted_and_counts_the_rest() {
    let service = start(rolling_year()).await;
    let sell = async |id: &str, margin: &str, happened_at: &str| {
        let mut request = purchase("anna", id, "5.00", happened_at.parse().unwrap());
        let bought = proto::Purchase { amount: Some(usd("5.00")), margin: Some(usd(margin)) };
        request.activity = Some(proto::record_activity_request::Activity::Purchase(bought));
        service.activities().record_activity(request).await
    };
    sell("a", "92233720368547758.07", "2026-01-14T12:00:00Z").await.unwrap();
    let refused = sell("b", "0.01", "2026-01-15T12:00:00Z").await;
    assert_refused(refused, Code::FailedPrecondition, "AMOUNT_OVERFLOW");
    sell("c", "0.00", "2026-01-15T12:00:00Z").await.unwrap();
    let counted = service.tier("anna").await.counted.unwrap();
    assert_eq!((counted.margin, counted.purchases), (Some(usd("92233720368547758.07")), 2));
    check_rules(&service.database).await.unwrap();
}
