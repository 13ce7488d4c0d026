//! What is remembered of audits, which of them count as clean, and what is told of the last ones.

use goldbook::audit::model::DifferenceKind;
use goldbook::audit::{Asked, Extent, LastAudit, last_audits};
use goldbook::embedded_postgres::{OWNER_ROLE, SERVICE_ROLE};
use jiff::SignedDuration;

use super::damages::ANNA;
use super::scheduled::{MARGIN, audited_shop, count, cover_by, since_last};
use super::{audit_as, audit_with, create_history, sabotage};
use crate::binary::{run, url};
use crate::harness::START;

#[tokio::test]
async fn a_difference_is_told_by_every_audit_of_what_is_new_until_it_is_repaired() {
    let service = audited_shop().await;
    let database = &service.database;
    service.grant("anna", 50, "again").await.unwrap();
    sabotage(database, &format!("UPDATE standings SET qualifying_spend = 7 WHERE account_id = {ANNA}")).await;
    let asked = Asked { extent: Extent::SinceLast, repair: false };
    for _ in 0..2 {
        // It covers the present, and is not clean: the next one begins where it began.
        let (told, outcome) = audit_with(database, asked).await;
        assert_eq!((told.tally.remaining, outcome.record.since), (1, Some(START.parse().unwrap())));
        told.assert_tells(DifferenceKind::Projection, "qualifying_spend is 0 by the entries, 7 as stored (+7)");
    }
    let (told, outcome) = audit_with(database, Asked { repair: true, ..asked }).await;
    assert_eq!((told.tally.differences, told.tally.remaining, told.tally.repaired), (1, 0, 1));
    // The owner does not see whether the service writes, so that this one covers nothing.
    assert_eq!(outcome.record.covers, None);
    let (told, outcome) = audit_with(database, asked).await;
    assert_eq!((told.tally.differences, told.tally.accounts), (0, 1));
    assert_eq!(outcome.record.since, Some(START.parse().unwrap()));
    let covered = outcome.record.covers.unwrap();
    assert_eq!(since_last(database).await.1.record.since, Some(covered - MARGIN));
}

#[tokio::test]
async fn a_repair_that_leaves_nothing_is_clean_where_nobody_writes() {
    let database = create_history().await;
    sabotage(&database, "UPDATE standings SET qualifying_spend = qualifying_spend + 7").await;
    let (told, outcome) = audit_with(&database, Asked { extent: Extent::Full, repair: true }).await;
    assert_eq!((told.tally.differences, told.tally.remaining), (2, 0));
    let covered = outcome.record.covers.unwrap();
    assert_eq!(since_last(&database).await.1.record.since, Some(covered - MARGIN));
}

#[tokio::test]
async fn an_audit_that_does_not_come_to_its_end_is_not_remembered() {
    let database = create_history().await;
    sabotage(&database, "ALTER TABLE activities RENAME TO away").await;
    let ended = run(&["audit", "--database-url", &url(&database.options(SERVICE_ROLE))]).await;
    assert_eq!(ended.status.code(), Some(2), "{}{}", ended.stdout, ended.stderr);
    assert_eq!(count(&database, "SELECT count(*) FROM audits").await, 0);
}

#[tokio::test]
async fn whoever_may_only_read_audits_and_is_told_that_it_is_not_remembered() {
    let database = create_history().await;
    // The database's owner is not asked: a standby refuses every writer in the same way.
    let read_only = format!("ALTER DATABASE \"{}\" SET default_transaction_read_only = on", database.name());
    sabotage(&database, &read_only).await;
    let asked = Asked { extent: Extent::Full, repair: false };
    let (told, outcome) = audit_as(SERVICE_ROLE, &database, asked).await;
    assert!(told.differences.is_empty() && outcome.remembered.is_err(), "{outcome:?}");
    let ended = run(&["audit", "--since-last", "--database-url", &url(&database.options(SERVICE_ROLE))]).await;
    assert_eq!(ended.status.code(), Some(0), "{}{}", ended.stdout, ended.stderr);
    assert!(ended.stderr.contains("not remembered, so the next --since-last begins where it would have"));
    assert_eq!(count(&database, "SELECT count(*) FROM audits").await, 0);
}

#[tokio::test]
async fn old_audits_are_removed_and_the_last_clean_one_is_not() {
    let database = create_history().await;
    let (_, clean) = since_last(&database).await;
    let old = "INSERT INTO audits (extent, since, covers, begun_at, accounts, entries, differences, remaining,
                                   not_compared, version)
               SELECT extent, CASE extent WHEN 'since_last' THEN now() END, now(), now(), 1, 1, 2, 2, 0, '0'
               FROM generate_series(1, 300), unnest(ARRAY['full', 'since_last']) extent";
    sabotage(&database, old).await;
    sabotage(&database, "UPDATE standings SET qualifying_spend = qualifying_spend + 7").await;
    let (told, outcome) = audit_with(&database, Asked { extent: Extent::Full, repair: false }).await;
    assert_eq!((told.tally.remaining, outcome.record.since), (2, None));
    let kept = "SELECT count(*) FROM audits WHERE audit_id > 1 AND extent = ";
    assert_eq!(count(&database, &format!("{kept} 'full'")).await, 168);
    assert_eq!(count(&database, &format!("{kept} 'since_last'")).await, 168);
    let (_, next) = since_last(&database).await;
    assert_eq!(next.record.since, Some(clean.record.covers.unwrap() - MARGIN));
}

#[tokio::test]
async fn last_audits_tell_their_age_and_what_they_found() {
    let database = create_history().await;
    let read = async || {
        let mut connection = database.connect(SERVICE_ROLE).await;
        last_audits(&mut connection).await.unwrap()
    };
    assert_eq!(read().await, []);
    since_last(&database).await;
    let all = read().await;
    assert_eq!(all.iter().map(|last| (last.extent, last.differences)).collect::<Vec<_>>(), [(Extent::Full, 0)]);
    cover_by(&database, "2000-01-01T00:00:00Z".parse().unwrap()).await;
    sabotage(&database, "UPDATE audits SET ended_at = ended_at - interval '3 h'").await;
    sabotage(&database, "UPDATE standings SET qualifying_spend = qualifying_spend + 7").await;
    since_last(&database).await;
    let hours = |last: &LastAudit| (last.extent, last.differences, last.age.as_hours());
    assert_eq!(read().await.iter().map(hours).collect::<Vec<_>>(), [(Extent::Full, 0, 3), (Extent::SinceLast, 2, 0)]);
    // What was repaired is no difference any more, and neither is a negative age a failure.
    sabotage(&database, "UPDATE audits SET ended_at = ended_at + interval '9 h' WHERE extent = 'full'").await;
    audit_with(&database, Asked { extent: Extent::SinceLast, repair: true }).await;
    let after: Vec<_> = read().await;
    assert!(after[0].age < SignedDuration::ZERO && after[1].differences == 0, "{after:?}");
    assert!(after.iter().all(|last| last.newer == 0), "{after:?}");
}

#[tokio::test]
async fn an_audit_that_met_what_a_newer_version_wrote_is_not_clean() {
    let service = audited_shop().await;
    let database = &service.database;
    service.grant("anna", 50, "again").await.unwrap();
    let make = |kind: &str| format!("UPDATE accounts SET kind = '{kind}' WHERE account_id = {ANNA}");
    sabotage(database, &format!("ALTER TABLE accounts DROP CONSTRAINT accounts_kind_known; {}", make("household")))
        .await;
    let last = async || {
        let mut connection = database.connect(SERVICE_ROLE).await;
        let audits = last_audits(&mut connection).await.unwrap();
        audits.into_iter().find(|last| last.extent == Extent::SinceLast).unwrap()
    };
    for _ in 0..2 {
        // The next one begins where it began.
        let (told, outcome) = since_last(database).await;
        assert_eq!((told.differences.len(), told.tally.newer, outcome.record.covers), (0, 1, None));
        assert_eq!(outcome.record.since, Some(START.parse().unwrap()));
        assert_eq!((last().await.differences, last().await.newer), (0, 1));
    }
    sabotage(database, &make("customer")).await;
    let (_, outcome) = since_last(database).await;
    assert_eq!((last().await.newer, outcome.record.covers.is_some()), (0, true));
}

#[tokio::test]
async fn audit_command_tells_since_when_and_up_to_when_it_read() {
    let database = create_history().await;
    let url = url(&database.options(SERVICE_ROLE));
    let arguments = ["audit", "--since-last", "--database-url", &url];
    let first = run(&arguments).await;
    assert_eq!(first.status.code(), Some(0), "{}{}", first.stdout, first.stderr);
    assert!(first.stdout.contains("read: everything, since no audit before was clean"), "{}", first.stdout);
    assert!(first.stdout.contains("covers: entries recorded by 20"), "{}", first.stdout);
    let second = run(&arguments).await;
    assert_eq!(second.status.code(), Some(0), "{}{}", second.stdout, second.stderr);
    assert!(second.stdout.contains("read: accounts with entries recorded after 20"), "{}", second.stdout);
    assert!(second.stdout.contains("0 entries of 0 accounts"), "{}", second.stdout);

    cover_by(&database, "2000-01-01T00:00:00Z".parse().unwrap()).await;
    sabotage(&database, "UPDATE standings SET qualifying_spend = qualifying_spend + 7").await;
    let differs = run(&arguments).await;
    assert_eq!(differs.status.code(), Some(1), "{}{}", differs.stdout, differs.stderr);
    assert!(
        differs.stdout.contains("as stored (+7)") && differs.stderr.contains("2 differences"),
        "{}",
        differs.stdout
    );
    let owner = crate::binary::url(&database.options(OWNER_ROLE));
    let repaired = run(&["audit", "--since-last", "--repair", "--database-url", &owner]).await;
    assert_eq!(repaired.status.code(), Some(0), "{}{}", repaired.stdout, repaired.stderr);
    assert!(repaired.stdout.contains("2 accounts repaired, 0 differences remain"), "{}", repaired.stdout);
}
