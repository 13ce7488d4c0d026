//! Packages for customers who reach a tier: once in a tier period, whoever touches the account first.

use goldbook::embedded_postgres::SUPERUSER;
use goldbook::proto;
use goldbook::proto::EntryKind;

use super::grants::{grant, list, revocation_of, revoke, use_named};
use super::request;
use super::uses::lounges;
use crate::book_rules::check_rules;
use crate::customers::erasure::{erase, erasure};
use crate::customers::export::{of, read_document};
use crate::harness::{Background, Clock, Database, SHOP, START, Service, at, purchase, read_pages};
use crate::imports::{import_one, tier as opening_tier};
use crate::wait::until;

pub(super) const OFTEN: Background = Background {
    apply_dues_every: Some(std::time::Duration::from_millis(20)),
    sum_up_every: None,
    erase_of_inactive_every: None,
    export_limit: None,
};

pub(crate) fn package(
    package_id: &str,
    occasion: proto::PackageOccasion,
    tier_ids: &[&str],
    points: i64,
) -> proto::Package {
    proto::Package {
        package_id: package_id.to_owned(),
        display_name: package_id.to_owned(),
        occasion: occasion.into(),
        tier_ids: tier_ids.iter().map(|tier_id| (*tier_id).to_owned()).collect(),
        points,
        ..Default::default()
    }
}

pub(super) fn packed(benefit_id: &str, quantity: Option<i64>, valid_for: &str) -> proto::PackagedBenefit {
    proto::PackagedBenefit {
        benefit_id: benefit_id.to_owned(),
        quantity,
        valid_for: valid_for.to_owned(),
        ..Default::default()
    }
}

/// The principal of what time alone writes.
const NOBODY: &str = "00000000-0000-0000-0000-000000000000";

/// The shop with a package for joining, one for silver and one for gold, which has two lounge passes for 30 days.
pub(super) fn packages() -> proto::Program {
    let reached = proto::PackageOccasion::TierReached;
    let mut program = lounges(1, 5, super::grants::month());
    let plain = program.tiers[0].benefits[0].clone();
    program.extras.push(proto::Benefit { benefit_id: "cake".to_owned(), ..plain });
    let gold = package("gold-box", reached, &["gold"], 100);
    let benefits = vec![
        proto::PackagedBenefit { tier_id: "gold".to_owned(), ..packed("lounge", Some(2), "P30D") },
        packed("cake", None, ""),
    ];
    program.packages = vec![
        package("hello", reached, &["member"], 10),
        package("silver-box", reached, &["silver"], 50),
        proto::Package { benefits, ..gold },
    ];
    program
}

async fn start(program: proto::Program) -> Service {
    let service = Service::start().await;
    service.apply(program).await.unwrap();
    service.enrol("anna").await;
    service
}

pub(super) async fn given(service: &Service, customer_id: &str) -> Vec<(String, String)> {
    let entries = service.entries(customer_id).await.into_iter();
    let given = entries.filter(|entry| entry.kind() == EntryKind::PackageGiven);
    let told = given.map(|entry| {
        let detail: serde_json::Value = serde_json::from_str(&entry.detail_json).unwrap();
        let instant = entry.effective_at.unwrap();
        let instant = jiff::Timestamp::new(instant.seconds, instant.nanos).unwrap();
        (detail["package_id"].as_str().unwrap().to_owned(), instant.to_string())
    });
    told.collect()
}

async fn ids(service: &Service) -> Vec<String> {
    given(service, "anna").await.into_iter().map(|(package_id, _)| package_id).collect()
}

/// Writes what is due of anna, by something that does nothing else.
async fn touch(service: &Service, key: &str) {
    service.grant("anna", 1, key).await.unwrap();
}

async fn from_packages(service: &Service, as_of: Option<&str>) -> Vec<proto::Entitlement> {
    let all = list(service, as_of).await.into_iter();
    all.filter(|it| it.right() == proto::EntitlementRight::Package).collect()
}

#[tokio::test]
async fn a_package_is_given_at_the_instant_of_the_tier_with_its_rows() {
    let service = start(packages()).await;
    touch(&service, "hello").await;
    service.set_clock("2026-02-01T12:00:00Z");
    service.purchase("anna", "a", "500.00").await.unwrap();
    service.set_clock("2026-02-01T18:00:00Z");
    // It is told before it is written, and then just so.
    let told = from_packages(&service, None).await;
    assert_eq!(service.available("anna").await, 10 + 1 + 500 + 100);
    let before = service.entries("anna").await.len();
    touch(&service, "touch").await;
    let entries = service.entries("anna").await;
    let reached = entries[before - 1].clone();
    assert_eq!(reached.kind(), EntryKind::TierChanged);
    let rows = &entries[before..before + 4];
    let kinds: Vec<EntryKind> = rows.iter().map(proto::Entry::kind).collect();
    let expected = [EntryKind::PackageGiven, EntryKind::PointsGranted];
    assert_eq!(kinds, [&expected[..], &[EntryKind::EntitlementGranted; 2]].concat());
    for row in rows {
        assert_eq!((row.reason(), row.effective_at), (proto::EntryReason::Package, reached.effective_at));
        assert_eq!((row.policy_version, row.principal_id.as_str()), (1, NOBODY));
        let cause = if row.kind() == EntryKind::PackageGiven { &reached.entry_id } else { &rows[0].entry_id };
        assert_eq!(row.cause_entry_ids, std::slice::from_ref(cause));
    }
    let detail = r#"{"kind":"package_given","package_id":"gold-box","occasion":"tier_reached","tier_id":"gold","tier_period":0}"#;
    assert_eq!(rows[0].detail_json, detail);
    assert!(reached.detail_json.contains(r#""package_id":"gold-box""#), "{}", reached.detail_json);
    assert_eq!(from_packages(&service, None).await, told);
    assert_eq!(from_packages(&service, Some("2026-02-01T18:00:00Z")).await, told);
    let lounge = &told[0];
    assert_eq!((lounge.package_id.as_str(), lounge.left, lounge.used), ("gold-box", Some(2), 0));
    assert_eq!((lounge.since, lounge.until), (Some(at("2026-02-01T12:00:00Z")), Some(at("2026-03-03T12:00:00Z"))));
    assert_eq!((told[1].left, told[1].until), (None, None));
    let request =
        proto::ListRewardsRequest { program_id: SHOP.to_owned(), customer_id: "anna".to_owned(), ..Default::default() };
    let rewards = service.rewards().list_rewards(request).await.unwrap().into_inner().rewards;
    assert!(rewards.iter().any(|it| it.reason() == proto::GrantReason::Package && it.reward_id == rows[1].entry_id));
    check_rules(&service.database).await.unwrap();
}

#[tokio::test]
async fn what_was_in_a_package_is_used_and_revoked_as_a_grant_and_outlives_the_tier() {
    let service = start(packages()).await;
    service.purchase("anna", "a", "500.00").await.unwrap();
    let lounge = from_packages(&service, None).await[0].entry_id.clone();
    assert_eq!(use_named(&service, &lounge, "u").await.unwrap().left, Some(1));
    service.refund("a", "500.00", "r").await.unwrap();
    assert_eq!(service.tier("anna").await.tier_id, "member");
    assert_eq!(use_named(&service, &lounge, "v").await.unwrap().left, Some(0));
    let cake = from_packages(&service, None).await[1].entry_id.clone();
    revoke(&service, revocation_of(&cake, "x")).await.unwrap();
    assert_eq!(from_packages(&service, None).await.len(), 1);
    let stream = service.customers().export_customer(of(SHOP, "anna")).await.unwrap().into_inner();
    let document = read_document(stream).await.unwrap();
    assert_eq!(document["entitlements"][0]["package_id"], "gold-box");
    check_rules(&service.database).await.unwrap();
}

#[tokio::test]
async fn a_tier_that_is_reached_again_gives_something_only_in_its_next_period() {
    let kept = proto::tier_retention::Rule::UntilEndOfPeriod(());
    let year = proto::tier_window::Window::Calendar(proto::CalendarPeriod::Year.into());
    let policy = proto::TierPolicy {
        window: Some(proto::TierWindow { window: Some(year) }),
        kept: Some(proto::TierRetention { rule: Some(kept) }),
        ..Default::default()
    };
    let service = start(proto::Program { tier_policy: Some(policy), ..packages() }).await;
    service.purchase("anna", "a", "500.00").await.unwrap();
    service.refund("a", "500.00", "r").await.unwrap();
    service.purchase("anna", "b", "200.00").await.unwrap();
    service.purchase("anna", "c", "300.00").await.unwrap();
    service.refund("c", "300.00", "s").await.unwrap();
    service.purchase("anna", "d", "300.00").await.unwrap();
    touch(&service, "touch").await;
    assert_eq!(ids(&service).await, ["hello", "gold-box", "silver-box"]);
    // The tier ends with the year, and another period begins.
    service.set_clock("2027-02-01T12:00:00Z");
    touch(&service, "later").await;
    assert_eq!(service.tier("anna").await.tier_id, "member");
    service.purchase("anna", "e", "500.00").await.unwrap();
    touch(&service, "last").await;
    assert_eq!(ids(&service).await, ["hello", "gold-box", "silver-box", "gold-box"]);
    // Renewing is no reaching.
    service.set_clock("2028-02-01T12:00:00Z");
    touch(&service, "renewed").await;
    assert_eq!(ids(&service).await.len(), 4);
    check_rules(&service.database).await.unwrap();
}

#[tokio::test]
async fn crossing_tiers_at_once_gives_each_its_package() {
    let service = start(packages()).await;
    let calls = ["200.00", "300.00", "0.01"].iter().enumerate();
    let calls = calls.map(|(i, amount)| service.purchase("anna", ["a", "b", "c"][i], amount));
    for call in futures_util::future::join_all(calls).await {
        call.unwrap();
    }
    // Whichever came first: who passes silver over has not reached it.
    touch(&service, "touch").await;
    let given = ids(&service).await;
    let steps: Vec<String> = service.entries("anna").await.iter().map(|entry| entry.detail_json.clone()).collect();
    let reached = |tier: &str| steps.iter().any(|step| step.contains(&format!(r#""to":"{tier}""#)));
    let expected: Vec<&str> = [("member", "hello"), ("silver", "silver-box"), ("gold", "gold-box")]
        .into_iter()
        .filter(|(tier, _)| reached(tier))
        .map(|(_, package_id)| package_id)
        .collect();
    assert_eq!(given, expected);
    assert!(reached("gold"));
    check_rules(&service.database).await.unwrap();
}

#[tokio::test]
async fn whoever_joins_by_buying_is_given_both_packages_and_whoever_is_taken_over_none() {
    let service = Service::start().await;
    service.apply(packages()).await.unwrap();
    let purchase = purchase("anna", "a", "500.00", service.clock.now());
    service.activities().record_activity(purchase).await.unwrap();
    touch(&service, "touch").await;
    assert_eq!(ids(&service).await, ["hello", "gold-box"]);
    let mut opening = opening_tier("ben", "old", "gold", None);
    opening.enrol = true;
    import_one(&service, opening).await;
    service.grant("ben", 1, "touch").await.unwrap();
    assert_eq!((service.tier("ben").await.tier_id.as_str(), given(&service, "ben").await), ("gold", Vec::new()));
    check_rules(&service.database).await.unwrap();
}

fn set(tier_id: &str, kind: proto::TierOverrideKind, key: &str) -> proto::SetTierOverrideRequest {
    proto::SetTierOverrideRequest {
        program_id: SHOP.to_owned(),
        customer_id: "anna".to_owned(),
        tier_id: tier_id.to_owned(),
        kind: kind.into(),
        ends_at: Some(at("2026-03-01T00:00:00Z")),
        reason: proto::CorrectionReason::Goodwill.into(),
        author: "clerk-7".to_owned(),
        note: String::new(),
        idempotency_key: key.to_owned(),
    }
}

#[tokio::test]
async fn a_tier_that_is_set_by_hand_or_comes_forth_as_that_ends_is_reached() {
    let service = start(packages()).await;
    service.tiers().set_tier_override(set("gold", proto::TierOverrideKind::Floor, "f")).await.unwrap();
    touch(&service, "a").await;
    assert_eq!(ids(&service).await, ["hello", "gold-box"]);
    // Behind a lock silver is reached without being held; it is held as the lock ends.
    service.tiers().set_tier_override(set("member", proto::TierOverrideKind::Lock, "l")).await.unwrap();
    service.purchase("anna", "a", "200.00").await.unwrap();
    touch(&service, "b").await;
    assert_eq!(ids(&service).await, ["hello", "gold-box"]);
    service.set_clock("2026-03-01T00:00:00Z");
    let told = service.available("anna").await;
    touch(&service, "c").await;
    assert_eq!(service.available("anna").await, told + 1);
    let silver = ("silver-box".to_owned(), "2026-03-01T00:00:00Z".to_owned());
    assert_eq!(given(&service, "anna").await.last(), Some(&silver));
    check_rules(&service.database).await.unwrap();
}

/// Calendar quarters, in which tiers rise as a quarter begins.
fn quarters() -> proto::Program {
    let window = proto::tier_window::Window::Calendar(proto::CalendarPeriod::Quarter.into());
    let policy = proto::TierPolicy {
        window: Some(proto::TierWindow { window: Some(window) }),
        upgrade: proto::TierUpgrade::AtPeriodEnd.into(),
        kept: Some(proto::TierRetention { rule: Some(proto::tier_retention::Rule::UntilEndOfPeriod(())) }),
        ..Default::default()
    };
    proto::Program { tier_policy: Some(policy), ..packages() }
}

async fn plant(service: &Service) {
    service.apply(quarters()).await.unwrap();
    for (customer, amount) in [("anna", "500.00"), ("ben", "200.00"), ("cleo", "1.00")] {
        service.enrol(customer).await;
        service.purchase(customer, "a", amount).await.unwrap();
    }
}

/// What everybody can see, but for ids.
async fn picture(service: &Service) -> Vec<String> {
    let mut seen = Vec::new();
    for customer in ["anna", "ben", "cleo"] {
        let account_less = |id: &String| id.split('.').next_back().unwrap_or_default().to_owned();
        for entry in service.entries(customer).await {
            let causes: Vec<String> = entry.cause_entry_ids.iter().map(account_less).collect();
            let (kind, reason) = (entry.kind(), entry.reason());
            seen.push(format!(
                "{customer} {kind:?} {reason:?} {:?} {causes:?} {}",
                entry.effective_at, entry.detail_json
            ));
        }
        seen.push(format!("{:?}", proto::Balance { as_of: None, ..service.balance(customer).await }));
    }
    seen
}

/// Waits until time has nothing left to do.
async fn wait_for_dues(service: &Service) {
    let mut connection = service.database.connect(SUPERUSER).await;
    until("nothing to be due", async || {
        let now = jiff_sqlx::ToSqlx::to_sqlx(service.clock.now());
        let select = "SELECT count(*) FROM accounts WHERE next_due_at <= $1";
        let due: i64 = sqlx::query_scalar(select).bind(now).fetch_one(&mut connection).await.unwrap();
        (due == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn touch_and_a_late_worker_and_two_replicas_give_the_same_rows() {
    let touched = Service::start().await;
    plant(&touched).await;
    touched.set_clock("2026-04-02T12:00:00Z");
    // A read tells what time has raised and given before anybody writes it.
    let told = from_packages(&touched, None).await;
    assert_eq!(told.len(), 2);
    assert_eq!(told[0].since, Some(at("2026-04-01T00:00:00-04:00")));
    for customer in ["anna", "ben", "cleo"] {
        touched.grant(customer, 7, "touch").await.unwrap();
    }
    assert_eq!(from_packages(&touched, None).await, told);
    let expected = picture(&touched).await;
    assert!(expected.iter().any(|line| line.contains("gold-box")), "{expected:#?}");
    check_rules(&touched.database).await.unwrap();

    let worked = Service::start().await;
    plant(&worked).await;
    worked.set_clock("2026-04-02T12:00:00Z");
    let workers = [
        Service::start_busy(worked.database.clone(), worked.clock.clone(), OFTEN).await,
        Service::start_busy(worked.database.clone(), worked.clock.clone(), OFTEN).await,
    ];
    wait_for_dues(&worked).await;
    for worker in workers {
        worker.stop().await;
    }
    for customer in ["anna", "ben", "cleo"] {
        worked.grant(customer, 7, "touch").await.unwrap();
    }
    assert_eq!(picture(&worked).await, expected);
    check_rules(&worked.database).await.unwrap();
}

#[tokio::test]
async fn a_package_pays_a_debt_and_withholds_what_nobody_may_have() {
    let service = start(packages()).await;
    touch(&service, "hello").await;
    // What was redeemed of a purchase that is given back is owed.
    service.purchase("anna", "a", "150.00").await.unwrap();
    let redeem = proto::RedeemPointsRequest {
        program_id: SHOP.to_owned(),
        customer_id: "anna".to_owned(),
        points: 161,
        note: String::new(),
        idempotency_key: "redeem".to_owned(),
    };
    service.rewards().redeem_points(redeem).await.unwrap();
    let mut refund = crate::points::calls::refund("a", "150.00", &service, "r");
    if let Some(proto::record_activity_request::Activity::Refund(it)) = &mut refund.activity {
        it.clawback = proto::Clawback::AllowDebt.into();
    }
    service.activities().record_activity(refund).await.unwrap();
    assert_eq!(service.balance("anna").await.owed, 150);
    for number in 0..255 {
        grant(&service, 1, None, &format!("g{number}")).await;
    }
    service.tiers().set_tier_override(set("gold", proto::TierOverrideKind::Floor, "f")).await.unwrap();
    touch(&service, "touch").await;
    assert_eq!((service.balance("anna").await.owed, service.available("anna").await), (49, 0));
    let entries = service.entries("anna").await;
    let given = entries.iter().rfind(|entry| entry.kind() == EntryKind::PackageGiven).unwrap();
    assert!(given.detail_json.ends_with(r#""withheld_benefits":["cake"]}"#), "{}", given.detail_json);
    check_rules(&service.database).await.unwrap();
}

#[tokio::test]
async fn a_version_gives_what_it_said_as_the_tier_was_reached() {
    let service = start(packages()).await;
    service.purchase("anna", "a", "500.00").await.unwrap();
    // The package is owed and not given yet, and the next version has none.
    let without = proto::Program { packages: Vec::new(), ..packages() };
    service.apply(without).await.unwrap();
    assert_eq!(from_packages(&service, None).await.len(), 2);
    touch(&service, "touch").await;
    assert_eq!(ids(&service).await, ["hello", "gold-box"]);
    let owed: i64 = sqlx::query_scalar("SELECT count(*) FROM packages_owed WHERE settled_seq IS NULL")
        .fetch_one(&mut service.database.connect(SUPERUSER).await)
        .await
        .unwrap();
    assert_eq!(owed, 0);
    check_rules(&service.database).await.unwrap();
}

#[tokio::test]
async fn a_package_for_several_tiers_is_given_for_each() {
    let mut program = packages();
    program.packages = vec![package("box", proto::PackageOccasion::TierReached, &[], 5)];
    let service = start(program).await;
    service.purchase("anna", "a", "200.00").await.unwrap();
    service.purchase("anna", "b", "300.00").await.unwrap();
    service.refund("b", "300.00", "r").await.unwrap();
    service.purchase("anna", "c", "300.00").await.unwrap();
    touch(&service, "touch").await;
    assert_eq!(ids(&service).await, ["box"; 3]);
    check_rules(&service.database).await.unwrap();
}

#[tokio::test]
async fn pages_lead_through_what_is_owed_and_not_written() {
    let service = start(packages()).await;
    grant(&service, 1, None, "first").await;
    service.purchase("anna", "a", "500.00").await.unwrap();
    let all = list(&service, None).await;
    let read = async |token: String| {
        let request = proto::ListCustomerBenefitsRequest { page_size: 2, page_token: token, ..request("anna") };
        let page = service.benefits().list_customer_benefits(request).await.unwrap().into_inner();
        (page.entitlements, page.next_page_token)
    };
    assert_eq!(read_pages(2, read).await, all);
    touch(&service, "touch").await;
    assert_eq!(read_pages(2, read).await, all);
}

#[tokio::test]
async fn who_is_erased_is_owed_nothing() {
    // Due or not: a tier that is reached again in its period leaves what was owed open.
    for is_due in [true, false] {
        let service = start(packages()).await;
        service.purchase("anna", "a", "500.00").await.unwrap();
        service.refund("a", "500.00", "r").await.unwrap();
        service.purchase("anna", "b", "500.00").await.unwrap();
        if !is_due {
            touch(&service, "touch").await;
        }
        let mut connection = service.database.connect(SUPERUSER).await;
        let mut count = async |from: &str| -> i64 {
            let select = sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {from}"));
            sqlx::query_scalar(select).fetch_one(&mut connection).await.unwrap()
        };
        assert_eq!(count("packages_owed WHERE settled_seq IS NULL").await, 1);
        assert_eq!(count("accounts WHERE next_due_at IS NOT NULL").await, i64::from(is_due));
        erase(&service, erasure("anna", proto::BalanceDisposal::Expire, "e")).await.unwrap();
        assert_eq!(count("packages_owed WHERE settled_seq IS NULL").await, 0);
        assert_eq!(count("accounts WHERE next_due_at IS NOT NULL").await, 0);
        check_rules(&service.database).await.unwrap();
    }
}

#[tokio::test]
async fn history_from_before_the_version_gives_nothing() {
    let service = Service::start().await;
    service.apply(packages()).await.unwrap();
    let history = proto::RecordActivityRequest {
        as_history: true,
        ..purchase("anna", "a", "500.00", "2025-06-01T12:00:00Z".parse().unwrap())
    };
    service.activities().record_activity(history).await.unwrap();
    touch(&service, "touch").await;
    assert_eq!((service.tier("anna").await.tier_id.as_str(), ids(&service).await), ("gold", Vec::new()));
    check_rules(&service.database).await.unwrap();
}

#[tokio::test]
async fn lots_show_what_is_owed_and_not_written() {
    let service = start(packages()).await;
    touch(&service, "hello").await;
    service.purchase("anna", "a", "500.00").await.unwrap();
    let lots = service.lots().await;
    assert_eq!(lots.iter().map(|lot| lot.available).sum::<i64>(), service.available("anna").await);
    touch(&service, "touch").await;
    assert_eq!(service.lots().await[..lots.len()], lots);
}

#[tokio::test]
async fn a_service_that_is_killed_gives_what_is_owed_once() {
    let (database, clock) = (Database::create().await, Clock::fixed(START.parse().unwrap()));
    let mut connection = database.connect(SUPERUSER).await;
    let service = Service::start_on(database.clone(), clock.clone()).await;
    service.apply(packages()).await.unwrap();
    for number in 0..20 {
        let customer = format!("c{number}");
        service.enrol(&customer).await;
        service.purchase(&customer, "a", "500.00").await.unwrap();
    }
    for least in [1, 8, 15] {
        let busy = Service::start_busy(database.clone(), clock.clone(), OFTEN).await;
        until("some packages", async || {
            let select = "SELECT count(*) FROM packages_given";
            let given: i64 = sqlx::query_scalar(select).fetch_one(&mut connection).await.unwrap();
            (given >= least).then_some(())
        })
        .await;
        drop(busy.kill().await);
    }
    let busy = Service::start_busy(database.clone(), clock.clone(), OFTEN).await;
    wait_for_dues(&service).await;
    busy.stop().await;
    for number in 0..20 {
        let given = given(&service, &format!("c{number}")).await;
        assert_eq!(given.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(), ["hello", "gold-box"]);
    }
    check_rules(&database).await.unwrap();
}
