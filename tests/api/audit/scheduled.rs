//! An audit of what is new reads the accounts that were written to since the last clean one, and misses none of them.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;
use futures_util::stream;
use goldbook::audit::model::DifferenceKind;
use goldbook::audit::{Asked, Extent, Outcome};
use goldbook::embedded_postgres::SUPERUSER;
use goldbook::ids::AccountId;
use goldbook::proto;
use jiff::{SignedDuration, Timestamp};
use jiff_sqlx::ToSqlx as _;
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::damages::{ANNA, BEN};
use super::{Told, audit, audit_with, count_entries, count_sessions, create_history, sabotage};
use crate::harness::{Clock, Database, START, Service, purchase};
use crate::proxy::Proxy;
use crate::random::{Random, cases};
use crate::wait::{until, within};

/// By how much an audit reaches back behind what is covered.
pub(super) const MARGIN: SignedDuration = SignedDuration::from_mins(5);

/// What is found by names and keyed hashes or without a head, and so by a full audit alone.
const FULL_ALONE: &[&str] =
    &["belongs to an account without that", "belongs to no account", "a tombstone", "which has no head"];

pub(super) async fn since_last(database: &Database) -> (Told, Outcome) {
    audit_with(database, Asked { extent: Extent::SinceLast, repair: false }).await
}

/// Makes the last audit cover what was recorded by an instant, so that entries after it are new, without a margin. Clocks
/// of tests stand, and what is closed is told by the database's.
pub(super) async fn cover_by(database: &Database, instant: Timestamp) {
    let covers = instant + MARGIN;
    let update = "UPDATE audits SET covers = $1 WHERE audit_id = (SELECT max(audit_id) FROM audits)";
    let mut connection = database.connect(SUPERUSER).await;
    let updated = sqlx::query(update).bind(covers.to_sqlx()).execute(&mut connection).await.unwrap();
    assert_eq!(updated.rows_affected(), 1);
}

/// Takes the margin away from behind the last audit.
async fn without_margin(database: &Database, outcome: &Outcome) {
    cover_by(database, outcome.record.covers.unwrap()).await;
}

async fn account_of(database: &Database, customer_id: &str) -> AccountId {
    let select = "SELECT account_id FROM names WHERE space = 'customer' AND name = $1";
    let mut connection = database.connect(SUPERUSER).await;
    AccountId(sqlx::query_scalar(select).bind(customer_id).fetch_one(&mut connection).await.unwrap())
}

async fn read_heads(database: &Database) -> BTreeMap<AccountId, i64> {
    let mut connection = database.connect(SUPERUSER).await;
    let heads: Vec<(Uuid, i64)> =
        sqlx::query_as("SELECT account_id, head FROM accounts").fetch_all(&mut connection).await.unwrap();
    heads.into_iter().map(|(account_id, head)| (AccountId(account_id), head)).collect()
}

pub(super) async fn count(database: &Database, select: &str) -> i64 {
    let mut connection = database.connect(SUPERUSER).await;
    sqlx::query_scalar(AssertSqlSafe(select.to_owned())).fetch_one(&mut connection).await.unwrap()
}

fn words(told: &Told) -> BTreeSet<&str> {
    told.differences.iter().map(|difference| difference.what.as_str()).collect()
}

/// A shop with anna and ben, audited and clean, and a day later: what is written now is new.
pub(super) async fn audited_shop() -> Service {
    let service = Service::start().await;
    service.apply_shop().await;
    for customer in ["anna", "ben"] {
        service.enrol(customer).await;
        service.grant(customer, 100, &format!("gift-{customer}")).await.unwrap();
    }
    let (told, outcome) = since_last(&service.database).await;
    // Nothing was audited before, so all was read.
    assert_eq!((outcome.record.since, outcome.record.extent()), (None, Extent::Full));
    assert_eq!(told.compared, read_heads(&service.database).await);
    cover_by(&service.database, service.clock.now()).await;
    service.set_clock("2026-01-16T12:00:00Z");
    service
}

#[tokio::test]
async fn audit_since_the_last_reads_the_accounts_that_were_written_to_and_no_others() {
    let service = audited_shop().await;
    let database = &service.database;
    let anna = account_of(database, "anna").await;
    let (told, outcome) = since_last(database).await;
    assert_eq!((told.compared.len(), told.tally.entries), (0, 0));
    assert_eq!(outcome.record.since, Some(START.parse().unwrap()));

    cover_by(database, START.parse().unwrap()).await;
    service.grant("anna", 50, "again").await.unwrap();
    let head = read_heads(database).await[&anna];
    let (told, outcome) = since_last(database).await;
    // From its first entry on, since lots can be told by all of them alone.
    assert_eq!(told.compared, BTreeMap::from([(anna, head)]));
    assert_eq!((told.tally.entries, told.tally.accounts), (u64::try_from(head).unwrap(), 1));
    assert_eq!((outcome.record.extent(), told.tally.differences), (Extent::SinceLast, 0));
}

#[tokio::test]
async fn what_was_done_to_other_accounts_is_found_by_a_full_audit_alone() {
    let service = audited_shop().await;
    let database = &service.database;
    sabotage(database, &format!("UPDATE lots SET available = 99, redeemed = 1 WHERE account_id = {BEN}")).await;
    let (told, _) = since_last(database).await;
    assert_eq!(words(&told), BTreeSet::new(), "ben was not written to");
    audit(database)
        .await
        .assert_tells(DifferenceKind::Projection, "available is 100 by the entries, 99 as stored (-1)");

    sabotage(database, &format!("UPDATE lots SET available = 98, redeemed = 2 WHERE account_id = {ANNA}")).await;
    sabotage(database, "DELETE FROM audits WHERE remaining > 0").await;
    cover_by(database, START.parse().unwrap()).await;
    service.purchase("anna", "order-1", "20.00").await.unwrap();
    let (told, _) = since_last(database).await;
    told.assert_tells(DifferenceKind::Projection, "available is 100 by the entries, 98 as stored (-2)");
    assert!(told.differences.iter().all(|difference| !difference.what.contains("99 as stored")), "{told:#?}");
}

#[tokio::test]
async fn all_that_a_full_audit_tells_of_accounts_is_told_of_those_written_to_since() {
    for damages in [
        "UPDATE accounts SET available = available + 10, issued = issued + 10 WHERE account_id = :anna;
         UPDATE lots SET redeemed = redeemed - 1, available = available + 1 WHERE account_id = :anna AND points = 100;
         UPDATE standings SET qualifying_spend = qualifying_spend + 7;
         UPDATE activities SET amount = amount + 1 WHERE activity_id = 'order-1';
         DELETE FROM activities WHERE activity_id = 'order-2';
         INSERT INTO entry_notes VALUES (:anna, 999, 'made up');
         INSERT INTO balances VALUES (:anna, 64, 1, 0, 0, 1, 0, 0, 0, 0);
         ALTER TABLE program_versions DISABLE TRIGGER ALL;
         UPDATE program_versions SET document = document - 'tiers';
         UPDATE referral_codes SET account_seq = 1;
         UPDATE names SET account_id = :ben WHERE name = 'anna'",
        "DELETE FROM ledger_entries WHERE account_id = :anna AND points = 70;
         UPDATE ledger_entries SET actor = 'time' WHERE account_id = :ben AND points = 250;
         UPDATE ledger_entries SET causes = ARRAY['00000000000000000000000000000007.3']
         WHERE account_id = :ben AND reason = 'purchase';
         DELETE FROM program_versions",
        "DELETE FROM accounts WHERE account_id = :anna; DELETE FROM customers WHERE customer_id = 'ben';
         UPDATE standings SET tier_id = 'NOT A TIER'; UPDATE programs SET versions = ARRAY[3]",
    ] {
        let database = create_history().await;
        let (told, _) = since_last(&database).await;
        assert_eq!(told.differences, []);
        cover_by(&database, "2000-01-01T00:00:00Z".parse().unwrap()).await;
        sabotage(&database, &damages.replace(":anna", ANNA).replace(":ben", BEN)).await;
        let (new, outcome) = since_last(&database).await;
        let full = audit(&database).await;
        assert_eq!(outcome.record.extent(), Extent::SinceLast);
        let expected: BTreeSet<&str> =
            words(&full).into_iter().filter(|what| !FULL_ALONE.iter().any(|alone| what.contains(alone))).collect();
        assert!(expected.len() >= 4, "{expected:#?}");
        assert_eq!(words(&new), expected);
        assert_eq!((new.tally.entries, new.tally.accounts), (full.tally.entries, full.tally.accounts));
    }
}

#[tokio::test]
async fn accounts_written_to_since_are_read_in_pages() {
    const CUSTOMERS: usize = 1_100;
    let service = Service::start().await;
    service.apply_shop().await;
    let now = service.clock.now();
    let items = (0..CUSTOMERS).map(move |number| {
        let activity = purchase(&format!("c{number}"), "order", "20.00", now);
        proto::BatchRecordActivitiesRequest { item_id: number.to_string(), activity: Some(activity) }
    });
    let mut outcomes = service.activities().batch_record_activities(stream::iter(items)).await.unwrap().into_inner();
    while outcomes.message().await.unwrap().is_some() {}
    let database = &service.database;
    since_last(database).await;
    cover_by(database, "2000-01-01T00:00:00Z".parse().unwrap()).await;
    let damages = "UPDATE standings SET qualifying_spend = 7;
                   UPDATE activities SET amount = amount + 1
                   WHERE account_id = (SELECT account_id FROM activities ORDER BY 1 DESC LIMIT 1);
                   DELETE FROM accounts
                   WHERE account_id IN (SELECT account_id FROM standings ORDER BY 1 OFFSET 998 LIMIT 4)";
    sabotage(database, damages).await;
    let (told, outcome) = since_last(database).await;
    assert_eq!(outcome.record.extent(), Extent::SinceLast);
    let full = audit(database).await;
    assert_eq!((&told.compared, told.tally.entries), (&full.compared, full.tally.entries));
    assert!(told.compared.len() > CUSTOMERS);
    let of_heads: BTreeSet<&str> =
        words(&full).into_iter().filter(|what| !FULL_ALONE.iter().any(|alone| what.contains(alone))).collect();
    assert!(of_heads.len() > CUSTOMERS);
    assert_eq!(words(&told), of_heads);
}

#[tokio::test]
async fn random_histories_are_audited_by_what_is_new_as_by_all() {
    for case in cases(1) {
        let service = super::history::random(case.seed, 300).await;
        let database = &service.database;
        let (told, _) = since_last(database).await;
        assert_eq!(told.differences, []);
        // Any instant of the history.
        let select = "SELECT recorded_at FROM ledger_entries ORDER BY recorded_at OFFSET $1 LIMIT 1";
        let place = Random::of_seed(case.seed).below(count_entries(database).await);
        let mut connection = database.connect(SUPERUSER).await;
        let instant: jiff_sqlx::Timestamp =
            sqlx::query_scalar(select).bind(i64::try_from(place).unwrap()).fetch_one(&mut connection).await.unwrap();
        cover_by(database, instant.to_jiff()).await;
        let later = "SELECT account_id, max(head) FROM accounts JOIN ledger_entries USING (account_id)
                     WHERE recorded_at > $1 GROUP BY account_id";
        let expected: Vec<(Uuid, i64)> = sqlx::query_as(later).bind(instant).fetch_all(&mut connection).await.unwrap();
        let (told, _) = since_last(database).await;
        assert_eq!(told.differences, []);
        assert_eq!(told.compared, expected.into_iter().map(|(id, head)| (AccountId(id), head)).collect());
    }
}

#[tokio::test]
async fn a_batch_under_way_is_left_to_the_next_audit() {
    let database = Database::create().await;
    let proxy = Proxy::before(&database);
    let service = Service::start_with(database.clone(), proxy.options(), Clock::database()).await;
    service.apply_shop().await;
    service.purchase("anna", "order-1", "20.00").await.unwrap();
    let anna = account_of(&database, "anna").await;
    let (_, first) = since_last(&database).await;

    proxy.hold_commits();
    let mut activities = service.activities();
    let request = purchase("anna", "order-2", "600.00", service.clock.now());
    let call = tokio::spawn(async move { activities.record_activity(request).await.map(drop) });
    proxy.holds(1).await;
    let (told, during) = since_last(&database).await;
    assert_eq!(told.differences, []);
    without_margin(&database, &during).await;
    proxy.release_commits();
    within("the purchase", call).await.unwrap().unwrap();

    let (told, after) = since_last(&database).await;
    assert_eq!((told.compared.len(), told.differences.len()), (1, 0));
    assert_eq!(told.compared.get(&anna), read_heads(&database).await.get(&anna));
    assert!(first.record.covers < during.record.covers && during.record.covers < after.record.covers);
    assert!(during.record.covers < Some(during.record.begun_at - SignedDuration::from_micros(1)));
    without_margin(&database, &after).await;
    assert_eq!(since_last(&database).await.0.compared.len(), 0);
}

#[tokio::test]
async fn audits_beside_writes_tell_nothing_that_is_not_and_leave_no_entry_out() {
    const WRITERS: u64 = 4;
    const CALLS: u64 = 40;
    let database = Database::create().await;
    let service = Service::start_on(database.clone(), Clock::database()).await;
    service.apply_shop().await;
    let before = read_heads(&database).await;
    let (_, outcome) = since_last(&database).await;
    without_margin(&database, &outcome).await;
    let writing: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let clients = Clone::clone(&*service);
            let clock = service.clock.clone();
            tokio::spawn(async move {
                let mut random = Random::of_seed(writer);
                for call in 0..CALLS {
                    let customer = format!("c{}", random.below(12));
                    let request = purchase(&customer, &format!("order-{writer}-{call}"), "30.00", clock.now());
                    clients.activities().record_activity(request).await.unwrap();
                }
            })
        })
        .collect();
    let mut covered: BTreeMap<AccountId, i64> = BTreeMap::new();
    let mut audits = 0;
    loop {
        let is_over = writing.iter().all(tokio::task::JoinHandle::is_finished);
        let (told, outcome) = since_last(&database).await;
        assert_eq!(told.differences, []);
        assert_eq!(outcome.record.extent(), Extent::SinceLast);
        for (account_id, last_seq) in told.compared {
            let up_to = covered.entry(account_id).or_default();
            *up_to = last_seq.max(*up_to);
        }
        without_margin(&database, &outcome).await;
        audits += 1;
        if is_over {
            break;
        }
    }
    assert!(audits > 1, "no audit ran beside the writes");
    join_all(writing).await.into_iter().for_each(Result::unwrap);
    let mut heads = read_heads(&database).await;
    // The program's account was read by the first audit, before all this.
    heads.retain(|account_id, _| !before.contains_key(account_id));
    assert_eq!(covered, heads);
}

#[tokio::test]
async fn what_an_audit_of_one_account_reads_does_not_grow_with_the_ledger() {
    let mut read = Vec::new();
    for customers in [20, 100] {
        let service = Service::start().await;
        service.apply_shop().await;
        for number in 0..customers {
            let customer = format!("c{number}");
            service.enrol(&customer).await;
            service.purchase(&customer, &format!("order-{number}"), "20.00").await.unwrap();
        }
        let database = service.database.clone();
        since_last(&database).await;
        cover_by(&database, service.clock.now()).await;
        service.set_clock("2026-01-16T12:00:00Z");
        service.purchase("c7", "new", "20.00").await.unwrap();
        service.stop().await;
        sabotage(&database, "ANALYZE").await;
        let counts = async || {
            until("everyone to leave", async || (count_sessions(&database).await == 0).then_some(())).await;
            // A small table is one range of the index on recorded_at, so all of its rows are looked at.
            let rows = "SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0))::bigint FROM pg_stat_user_tables
                        WHERE relname <> 'ledger_entries'";
            let places = "SELECT sum(idx_tup_read)::bigint FROM pg_stat_user_indexes
                          WHERE indexrelname <> 'ledger_entries_recorded'";
            let scans = "SELECT sum(seq_scan)::bigint FROM pg_stat_user_tables WHERE relname = 'ledger_entries'";
            let found = "SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = 'ledger_entries_recorded'";
            (
                count(&database, rows).await,
                count(&database, places).await,
                count(&database, scans).await,
                count(&database, found).await,
            )
        };
        let before = counts().await;
        let (told, _) = since_last(&database).await;
        assert_eq!((told.tally.accounts, told.tally.differences), (1, 0));
        let after = counts().await;
        assert_eq!((after.2 - before.2, after.3 - before.3), (0, 1));
        read.push((after.0 - before.0, after.1 - before.1));
    }
    // Of few accounts Postgres may read all.
    let (of_few, of_many) = (read[0], read[1]);
    assert!(of_many.0 <= of_few.0 && of_many.1 <= of_few.1 && of_many.0 > 0, "{of_few:?} {of_many:?}");
}
