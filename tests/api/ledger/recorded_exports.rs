//! Each export is recorded, by an entry that it does not hold itself; one that is refused is not.

use goldbook::embedded_postgres::SUPERUSER;
use goldbook::proto;
use goldbook::proto::PrivilegedActionKind as Kind;
use sqlx::Executor as _;
use tonic::{Code, Status};

use super::export::{add_rows, finish};
use super::privileged_actions::{all, kinds, request, start, start_by};
use crate::harness::{Clock, Database, SHOP, START, Service, at, grant_reward};
use crate::proxy::Proxy;
use crate::wait::within;

pub(super) fn export_request() -> proto::ExportEntriesRequest {
    proto::ExportEntriesRequest { program_id: SHOP.to_owned(), ..Default::default() }
}

/// Exports, and returns what came.
pub(super) async fn export(
    service: &Service,
    request: proto::ExportEntriesRequest,
) -> Result<Vec<proto::Entry>, Status> {
    let mut stream = service.ledger().export_entries(request).await?.into_inner();
    stream.message().await?.unwrap();
    Ok(finish(stream).await?.1)
}

#[tokio::test]
async fn an_export_is_recorded_with_its_period_and_is_not_in_itself() {
    let service = start_by(Clock::database()).await;
    let first = export(&service, export_request()).await.unwrap();
    assert!(first.iter().all(|entry| entry.kind() != proto::EntryKind::EntriesExported));
    let period = proto::ExportEntriesRequest {
        start_time: Some(at(START)),
        end_time: Some(at("2026-01-16T12:00:00Z")),
        ..export_request()
    };
    export(&service, period).await.unwrap();
    let second = export(&service, export_request()).await.unwrap();
    assert_eq!(second.len(), first.len() + 2);
    let recorded: Vec<_> =
        second.iter().filter(|entry| entry.kind() == proto::EntryKind::EntriesExported).cloned().collect();
    let details: Vec<&str> = recorded.iter().map(|entry| entry.detail_json.as_str()).collect();
    let named = r#"{"kind":"entries_exported","from":"2026-01-15T12:00:00Z","until":"2026-01-16T12:00:00Z"}"#;
    assert_eq!(details, [r#"{"kind":"entries_exported"}"#, named]);
    for entry in &recorded {
        assert_eq!((entry.actor(), entry.reason()), (proto::Actor::Caller, proto::EntryReason::Export));
        assert_eq!((entry.customer_id.as_str(), entry.policy_version), ("", 1));
    }
    let exports = all(&service).await.into_iter().filter(|action| action.kind() == Kind::EntriesExported);
    assert_eq!(
        exports.map(|action| action.entry_id).skip(1).collect::<Vec<_>>(),
        [recorded[1].entry_id.clone(), recorded[0].entry_id.clone()]
    );
    crate::book_rules::check_rules(&service.database).await.unwrap();
}

/// The entry that records an export lies behind the end of it, so the same request brings the same again.
#[tokio::test]
async fn exports_of_one_period_hold_the_same_entries_however_often_they_are_made() {
    let service = start_by(Clock::database()).await;
    let mut stream = service.ledger().export_entries(export_request()).await.unwrap().into_inner();
    let as_of = stream.message().await.unwrap().unwrap().as_of;
    let (_, whole) = finish(stream).await.unwrap();
    let again = proto::ExportEntriesRequest { end_time: as_of, ..export_request() };
    for _ in 0..3 {
        assert_eq!(export(&service, again.clone()).await.unwrap(), whole);
    }
    assert_eq!(export(&service, export_request()).await.unwrap().len(), whole.len() + 4);
}

#[tokio::test]
async fn an_export_that_goes_on_with_another_is_one_more_action() {
    let service = start().await;
    add_rows(&service, 1_000, 0).await;
    let end_time = Some(at("2026-01-16T12:00:00Z"));
    service.set_clock("2026-01-17T12:00:00Z");
    let part = proto::ExportEntriesRequest { end_time, ..export_request() };
    let mut stream = service.ledger().export_entries(part.clone()).await.unwrap().into_inner();
    stream.message().await.unwrap().unwrap();
    let some = stream.message().await.unwrap().unwrap();
    drop(stream);
    let rest = export(&service, proto::ExportEntriesRequest { resume_token: some.resume_token, ..part }).await.unwrap();
    assert_eq!(some.entries.len() + rest.len(), 1_003);
    assert_eq!(kinds(&service, request()).await, [Kind::EntriesExported, Kind::EntriesExported, Kind::ProgramApplied]);
}

#[tokio::test]
async fn an_export_that_is_refused_is_no_action() {
    let service = start().await;
    add_rows(&service, 8_000, 10).await;
    let mut running = Vec::new();
    for _ in 0..2 {
        running.push(service.ledger().export_entries(export_request()).await.unwrap().into_inner());
    }
    assert_eq!(export(&service, export_request()).await.unwrap_err().code(), Code::ResourceExhausted);
    let bad = |resume_token: &str, program_id: &str, end_time| proto::ExportEntriesRequest {
        program_id: program_id.to_owned(),
        resume_token: resume_token.to_owned(),
        start_time: Some(at(START)),
        end_time,
    };
    assert!(export(&service, bad("AAAA", SHOP, None)).await.is_err());
    assert!(export(&service, bad("", SHOP, Some(at(START)))).await.is_err());
    drop(running);
    assert_eq!(kinds(&service, request()).await, [Kind::EntriesExported, Kind::EntriesExported, Kind::ProgramApplied]);
    crate::wait::until("a free place", async || {
        let refused = export(&service, bad("", "nowhere", None)).await.unwrap_err();
        (refused.code() == Code::NotFound).then_some(())
    })
    .await;
    assert_eq!(service.count_entries().await, 8_000 + 5);
}

#[tokio::test]
async fn an_export_that_cannot_be_recorded_is_not_given() {
    let service = start().await;
    let mut connection = service.database.connect(SUPERUSER).await;
    connection.execute("BEGIN").await.unwrap();
    connection.execute("SELECT 1 FROM accounts WHERE kind = 'program' FOR UPDATE").await.unwrap();
    // It waits for a while for whoever holds the account.
    let refused = within("the refusal", export(&service, export_request())).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
    connection.execute("ROLLBACK").await.unwrap();
    assert_eq!(kinds(&service, request()).await, [Kind::ProgramApplied]);
    export(&service, export_request()).await.unwrap();
    assert_eq!(kinds(&service, request()).await, [Kind::EntriesExported, Kind::ProgramApplied]);
}

/// Also one that is refused late, since what came before its moment is still under way.
#[tokio::test]
async fn an_export_whose_moment_does_not_close_is_no_action() {
    let database = Database::create().await;
    let proxy = Proxy::before(&database);
    let writer = Service::start_with(database.clone(), proxy.options(), Clock::database()).await;
    writer.apply_shop().await;
    writer.enrol("anna").await;
    let asked = Service::start_on(database, Clock::database()).await;
    proxy.hold_commits();
    let mut rewards = writer.rewards();
    let call = tokio::spawn(async move { rewards.grant_reward(grant_reward("anna", 1, "slow")).await });
    proxy.holds(1).await;
    let refused = within("the refusal", export(&asked, export_request())).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
    proxy.release_commits();
    within("the grant", call).await.unwrap().unwrap();
    assert_eq!(kinds(&asked, request()).await, [Kind::ProgramApplied]);
    export(&asked, export_request()).await.unwrap();
    assert_eq!(kinds(&asked, request()).await, [Kind::EntriesExported, Kind::ProgramApplied]);
}
