//! `ListPrivilegedActions`: what auditors look at, once each and page by page, and nothing else. Who did it is told in
//! `access/actions.rs`.

use futures_util::future::join_all;
use goldbook::embedded_postgres::{OWNER_ROLE, SUPERUSER};
use goldbook::proto;
use goldbook::proto::PrivilegedActionKind as Kind;
use goldbook::proto::adjust_points_request::Change;
use sqlx::{Connection as _, Executor as _};
use tokio::task::JoinHandle;
use tonic::{Code, Status};

use super::recorded_exports::{export, export_request};
use crate::harness::{
    Clock, Database, SHOP, START, Service, assert_refused, assert_refuses_bad_pages, at, create_customer, purchase,
    read_pages, shop, sorted_bad_fields,
};
use crate::points::calls::{adjust_points, refund};
use crate::proxy::Proxy;
use crate::wait::{stays, within};

pub(super) type Actions = Vec<proto::PrivilegedAction>;

pub(super) fn request() -> proto::ListPrivilegedActionsRequest {
    proto::ListPrivilegedActionsRequest { program_id: SHOP.to_owned(), ..Default::default() }
}

async fn list(service: &Service, request: proto::ListPrivilegedActionsRequest) -> Result<(Actions, String), Status> {
    let page = service.ledger().list_privileged_actions(request).await?.into_inner();
    Ok((page.actions, page.next_page_token))
}

/// All actions, on one page.
pub(super) async fn all(service: &Service) -> Actions {
    let (actions, token) = list(service, request()).await.unwrap();
    assert_eq!(token, "");
    actions
}

pub(super) async fn kinds(service: &Service, request: proto::ListPrivilegedActionsRequest) -> Vec<Kind> {
    list(service, request).await.unwrap().0.iter().map(proto::PrivilegedAction::kind).collect()
}

/// A service with the program and anna, by this clock.
pub(super) async fn start_by(clock: Clock) -> Service {
    let service = Service::start_on(Database::create().await, clock).await;
    service.apply_shop().await;
    service.enrol("anna").await;
    service
}

pub(super) async fn start() -> Service {
    start_by(Clock::fixed(START.parse().unwrap())).await
}

async fn adjust(service: &Service, customer_id: &str, key: &str) {
    let request =
        proto::AdjustPointsRequest { customer_id: customer_id.to_owned(), ..adjust_points(Change::PointsUp(1), key) };
    service.rewards().adjust_points(request).await.unwrap();
}

/// Adds a row of this kind to anna's account, as an adjustment of hers is, but that it is the second of its command.
async fn add_row(service: &Service, kind: &str, actor: &str) {
    let mut owner = service.database.connect(OWNER_ROLE).await;
    sqlx::query(
        "INSERT INTO ledger_entries
         SELECT account_id, account_seq + 100 + (SELECT count(*) FROM ledger_entries), program_id, $1, from_pocket,
                to_pocket, points, detail, command_id, NULL, NULL, principal_id, $2, reason, policy_version, causes,
                trace_id, effective_at, recorded_at, hash_version, content_hash
         FROM ledger_entries WHERE kind = 'points_adjusted' LIMIT 1",
    )
    .bind(kind)
    .bind(actor)
    .execute(&mut owner)
    .await
    .unwrap();
}

#[tokio::test]
async fn every_kind_of_entry_that_a_caller_asked_for_is_listed_and_no_ordinary_one() {
    let service = start().await;
    service.enrol("ben").await;
    adjust(&service, "anna", "up").await;
    adjust(&service, "ben", "up").await;
    let (program_id, customer_id) = (SHOP.to_owned(), "ben".to_owned());
    let export = proto::ExportCustomerRequest { program_id: program_id.clone(), customer_id: customer_id.clone() };
    let mut exported = service.customers().export_customer(export).await.unwrap().into_inner();
    while exported.message().await.unwrap().is_some() {}
    let erase = proto::EraseCustomerRequest {
        program_id,
        customer_id,
        reason: proto::ErasureReason::CustomerRequest.into(),
        balance: proto::BalanceDisposal::Expire.into(),
        idempotency_key: "erase".to_owned(),
    };
    service.customers().erase_customer(erase).await.unwrap();
    // Neither what no caller asked for, nor the second entry of a reversal, nor anything ordinary.
    for (kind, actor) in [
        ("entry_reversed", "rule"),
        ("entry_reversed", "caller"),
        ("debt_incurred", "caller"),
        ("points_adjusted", "time"),
        ("points_granted", "caller"),
        ("dossier_erased", "time"),
        ("dossier_updated", "caller"),
    ] {
        add_row(&service, kind, actor).await;
    }
    let mut found = kinds(&service, request()).await;
    found.sort_unstable();
    let adjusted = [Kind::PointsAdjusted; 2];
    assert_eq!(
        found,
        [&[Kind::ProgramApplied], &adjusted[..], &[Kind::CustomerExported, Kind::CustomerErased]].concat()
    );
    // Who was erased is named no more.
    let actions = all(&service).await;
    assert_eq!(actions[0].kind(), Kind::CustomerErased);
    assert!(!actions[0].entry_id.is_empty() && actions[0].customer_id.is_empty());
    assert_eq!(actions.iter().filter(|action| action.customer_id == "anna").count(), 1);
}

#[tokio::test]
async fn a_call_is_one_action_with_many_entries_too_and_when_it_is_repeated() {
    let service = start().await;
    let lot = service.give(10, "lot").await;
    service.spend(4, "spend").await;
    service.set_clock("2026-01-16T12:00:00Z");
    for _ in 0..3 {
        service.adjust(Change::PointsDown(1), "down").await.unwrap();
    }
    service.set_clock("2026-01-17T12:00:00Z");
    // Five points are cancelled and five are owed.
    for _ in 0..2 {
        let undone = service.reverse(&lot, "undo").await.unwrap();
        assert_eq!((undone.points_owed, undone.entry_ids.len()), (5, 2));
    }
    let spent = service.give(7, "spent").await;
    service.spend(2, "rest").await;
    service.set_clock("2026-01-18T12:00:00Z");
    // Nothing is left of it: a debt alone.
    let undone = service.reverse(&spent, "undo-2").await.unwrap();
    assert_eq!((undone.points_owed, undone.entry_ids.len()), (7, 1));
    // What a refund takes back is no action.
    let now = service.clock.now();
    service.activities().record_activity(purchase("anna", "order", "20.00", now)).await.unwrap();
    service.activities().record_activity(refund("order", "20.00", &service, "refund")).await.unwrap();
    let actions = all(&service).await;
    let told: Vec<_> = actions.iter().map(|action| (action.kind(), action.done_at.unwrap())).collect();
    let expected = [
        (Kind::EntryReversed, "2026-01-18T12:00:00Z"),
        (Kind::EntryReversed, "2026-01-17T12:00:00Z"),
        (Kind::PointsAdjusted, "2026-01-16T12:00:00Z"),
        (Kind::ProgramApplied, START),
    ];
    assert_eq!(told, expected.map(|(kind, done_at)| (kind, at(done_at))));
    assert_eq!(actions[0].entry_id, undone.entry_ids[0]);
    assert_eq!((actions[0].customer_id.as_str(), actions[3].customer_id.as_str()), ("anna", ""));
    let anyone = proto::Principal {
        kind: proto::PrincipalKind::Anyone.into(),
        issuer: String::new(),
        subject: "anyone".to_owned(),
    };
    assert!(actions.iter().all(|action| action.principal.as_ref() == Some(&anyone)));
}

#[tokio::test]
async fn actions_are_filtered_by_kind_and_by_a_half_open_period() {
    let service = start().await;
    for (now, key) in [("2026-01-16T12:00:00Z", "a"), ("2026-01-17T12:00:00Z", "b")] {
        service.set_clock(now);
        adjust(&service, "anna", key).await;
    }
    service.set_clock("2026-01-18T12:00:00Z");
    export(&service, export_request()).await.unwrap();
    let of = async |some: &[Kind]| {
        let some = some.iter().map(|kind| i32::from(*kind)).collect();
        kinds(&service, proto::ListPrivilegedActionsRequest { kinds: some, ..request() }).await
    };
    assert_eq!(of(&[Kind::ProgramApplied, Kind::EntriesExported]).await, [Kind::EntriesExported, Kind::ProgramApplied]);
    assert_eq!(of(&[Kind::PointsAdjusted, Kind::PointsAdjusted]).await, [Kind::PointsAdjusted; 2]);
    assert_eq!(of(&[Kind::CustomerErased, Kind::ApiKeyCreated]).await, []);
    let between = async |start: Option<&str>, end: Option<&str>| {
        let (start_time, end_time) = (start.map(at), end.map(at));
        let request = proto::ListPrivilegedActionsRequest { start_time, end_time, ..request() };
        kinds(&service, request).await.len()
    };
    let (first, last) = ("2026-01-16T12:00:00Z", "2026-01-17T12:00:00Z");
    assert_eq!((between(None, None).await, between(Some(first), None).await), (4, 3));
    assert_eq!((between(Some(first), Some(last)).await, between(None, Some(first)).await), (1, 1));
    let (after, to) = ("2026-01-16T12:00:00.000001Z", "2026-01-17T12:00:00.000001Z");
    assert_eq!(between(Some(after), Some(to)).await, 1);
    assert_eq!(between(None, Some("9999-01-01T00:00:00Z")).await, 4);
    assert_eq!(between(Some("2027-01-01T00:00:00Z"), Some("2028-01-01T00:00:00Z")).await, 0);
}

#[tokio::test]
async fn actions_of_programs_do_not_mix_and_bad_requests_are_refused() {
    let service = start().await;
    service.apply(proto::Program { program_id: "outlet".to_owned(), ..shop() }).await.unwrap();
    let customer = proto::CreateCustomerRequest { program_id: "outlet".to_owned(), ..create_customer("anna", "k") };
    service.customers().create_customer(customer).await.unwrap();
    adjust(&service, "anna", "up").await;
    let of = |program_id: &str| proto::ListPrivilegedActionsRequest { program_id: program_id.to_owned(), ..request() };
    assert_eq!(kinds(&service, of("outlet")).await, [Kind::ProgramApplied]);
    assert_refused(list(&service, of("nowhere")).await, Code::NotFound, "PROGRAM_NOT_FOUND");
    let bad = proto::ListPrivilegedActionsRequest {
        kinds: vec![1, 0, 99],
        start_time: Some(at(START)),
        end_time: Some(at(START)),
        page_size: -1,
        ..of("S")
    };
    let expected = ["end_time", "kinds[1]", "kinds[2]", "page_size", "program_id"];
    assert_eq!(sorted_bad_fields(list(&service, bad).await), expected);
    let many = proto::ListPrivilegedActionsRequest { kinds: vec![1; 51], ..request() };
    assert_eq!(sorted_bad_fields(list(&service, many).await), ["kinds"]);
    let filtered = proto::ListPrivilegedActionsRequest { kinds: vec![1, 2], page_size: 1, ..request() };
    let (_, foreign) = list(&service, filtered).await.unwrap();
    let page = |page_size, page_token| {
        list(&service, proto::ListPrivilegedActionsRequest { page_size, page_token, ..request() })
    };
    assert_refuses_bad_pages(&foreign, page).await;
}

/// Of one instant, so that their places decide.
#[tokio::test]
async fn pages_of_what_was_done_at_one_instant_fit_together() {
    let service = start().await;
    for customer_id in ["ben", "cleo"] {
        service.enrol(customer_id).await;
    }
    let adjustments = (0..30).map(|i| (["anna", "ben", "cleo"][i % 3], format!("k-{i}")));
    for (customer_id, key) in adjustments {
        adjust(&service, customer_id, &key).await;
    }
    let whole = all(&service).await;
    assert_eq!(whole.len(), 31);
    for page_size in [1, 7, 31] {
        let paged = read_pages(page_size, async |page_token| {
            let page_size = i32::try_from(page_size).unwrap();
            list(&service, proto::ListPrivilegedActionsRequest { page_size, page_token, ..request() }).await.unwrap()
        });
        assert_eq!(paged.await, whole);
    }
}

#[tokio::test]
async fn pages_fit_together_while_others_act() {
    let service = start_by(Clock::database()).await;
    for i in 0..20 {
        adjust(&service, "anna", &format!("before-{i}")).await;
    }
    let whole = all(&service).await;
    let (mut paged, mut page_token, mut written) = (Vec::new(), String::new(), 0);
    loop {
        let page = proto::ListPrivilegedActionsRequest { page_size: 4, page_token, ..request() };
        let (actions, next) = list(&service, page).await.unwrap();
        paged.extend(actions);
        if next.is_empty() {
            break;
        }
        page_token = next;
        let keys: Vec<String> = (written..written + 5).map(|i| format!("meanwhile-{i}")).collect();
        written += 5;
        join_all(keys.iter().map(|key| adjust(&service, "anna", key))).await;
    }
    assert_eq!(paged, whole);
    let (after, _) =
        list(&service, proto::ListPrivilegedActionsRequest { page_size: 1_000, ..request() }).await.unwrap();
    assert_eq!(after.len(), whole.len() + written);
}

/// Asks for all actions, and is not answered until it is told to be.
async fn ask_in_vain(service: &Service) -> JoinHandle<Result<Actions, Status>> {
    let mut ledger = service.ledger();
    let asking = tokio::spawn(async move {
        loop {
            match ledger.list_privileged_actions(request()).await {
                Err(status) if status.code() == Code::Unavailable => {}
                answer => return answer.map(|page| page.into_inner().actions),
            }
        }
    });
    stays("no list while an action is under way", async || !asking.is_finished()).await;
    asking
}

#[tokio::test]
async fn a_list_waits_for_an_adjustment_whose_commit_is_slow() {
    let database = Database::create().await;
    let proxy = Proxy::before(&database);
    let writer = Service::start_with(database.clone(), proxy.options(), Clock::database()).await;
    writer.apply_shop().await;
    writer.enrol("anna").await;
    let asked = Service::start_on(database, Clock::database()).await;
    proxy.hold_commits();
    let mut rewards = writer.rewards();
    let call = tokio::spawn(async move { rewards.adjust_points(adjust_points(Change::PointsUp(1), "slow")).await });
    proxy.holds(1).await;
    let asking = ask_in_vain(&asked).await;
    proxy.release_commits();
    within("the adjustment", call).await.unwrap().unwrap();
    let actions = within("the list", asking).await.unwrap().unwrap();
    assert_eq!(actions[0].kind(), Kind::PointsAdjusted);
}

#[tokio::test]
async fn a_list_waits_for_a_key_whose_commit_is_slow_and_one_of_entries_alone_does_not() {
    let service = start_by(Clock::database()).await;
    let mut connection = service.database.connect(SUPERUSER).await;
    connection.execute("BEGIN").await.unwrap();
    let insert = "INSERT INTO api_keys (key_id, name, slot, key_hash, prefix, roles, programs)
                  VALUES (gen_random_uuid(), 'till', 1, sha256('till'), 'gbk_live_till', '{service}', '{shop}')";
    connection.execute(insert).await.unwrap();
    let asking = ask_in_vain(&service).await;
    let of_entries = proto::ListPrivilegedActionsRequest { kinds: vec![Kind::ProgramApplied.into()], ..request() };
    assert_eq!(within("a list of entries", kinds(&service, of_entries)).await, [Kind::ProgramApplied]);
    connection.execute("COMMIT").await.unwrap();
    connection.close().await.unwrap();
    let actions = within("the list", asking).await.unwrap().unwrap();
    assert_eq!((actions.len(), actions[0].kind()), (2, Kind::ApiKeyCreated));
    assert_eq!(actions[0].principal.as_ref().unwrap().subject, SUPERUSER);
}
