//! Erasures beside exports and beside the worker, and a service that is killed while it erases.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::future::{join, join_all};
use futures_util::stream::{self, StreamExt as _};
use goldbook::embedded_postgres::{SERVICE_ROLE, SUPERUSER};
use goldbook::proto;
use goldbook::proto::BalanceDisposal::Expire;
use goldbook::proto::EntryKind;
use jiff::{SignedDuration, Timestamp};
use tonic::{Code, Streaming};

use crate::audit::assert_clean;
use crate::binary::Serving;
use crate::customers::erasure::{erase, erasure};
use crate::harness::{Background, Clock, Database, ERASURE_KEY, SHOP, START, Service, grant_reward, reason};
use crate::wait::{until, within};

/// How many customers there are.
const CUSTOMERS: usize = 24;

fn customer_ids() -> Vec<String> {
    (0..CUSTOMERS).map(|i| format!("c-{i}")).collect()
}

/// Customers with some points each; the accounts by customer.
async fn enrol_all(service: &Service, grants: usize) -> BTreeMap<String, String> {
    service.apply_shop().await;
    let enrolled = customer_ids().into_iter().map(async |customer_id| {
        service.enrol(&customer_id).await;
        for i in 0..grants {
            service.grant(&customer_id, 5, &format!("k-{i}")).await.unwrap();
        }
        let account_id = service.entries(&customer_id).await[0].account_id.clone();
        (customer_id, account_id)
    });
    join_all(enrolled).await.into_iter().collect()
}

/// Begins an export: its snapshot is made, and it says how many entries are in it.
async fn begin_export(service: &Service) -> (i64, Streaming<proto::ExportEntriesResponse>) {
    let request = proto::ExportEntriesRequest { program_id: SHOP.to_owned(), ..Default::default() };
    let mut stream = service.ledger().export_entries(request).await.unwrap().into_inner();
    (stream.message().await.unwrap().unwrap().entries_total, stream)
}

/// How many customers an export does not name; it is whole.
async fn finish_export(
    (total, mut stream): (i64, Streaming<proto::ExportEntriesResponse>),
    accounts: &BTreeMap<String, String>,
) -> usize {
    let mut entries = Vec::new();
    while let Some(message) = stream.message().await.unwrap() {
        entries.extend(message.entries);
    }
    assert_whole(total, &entries, accounts)
}

/// An export has every entry of each account, and names the customer in all of them or in none; how many it does not name.
fn assert_whole(total: i64, entries: &[proto::Entry], accounts: &BTreeMap<String, String>) -> usize {
    assert_eq!(usize::try_from(total).unwrap(), entries.len());
    let mut of_accounts = BTreeMap::<&str, Vec<&proto::Entry>>::new();
    for entry in entries {
        assert!(!entry.detail_json.is_empty() && entry.content_hash.len() == 32 && entry.recorded_at.is_some());
        of_accounts.entry(&entry.account_id).or_default().push(entry);
    }
    let mut nameless = 0;
    for (customer_id, account_id) in accounts {
        let entries = &of_accounts[account_id.as_str()];
        assert!((1..).zip(entries).all(|(seq, entry)| entry.account_seq == seq), "{customer_id}");
        let names: BTreeSet<&str> = entries.iter().map(|entry| entry.customer_id.as_str()).collect();
        let is_erased = entries.last().unwrap().kind() == EntryKind::CustomerErased;
        let expected = if is_erased { "" } else { customer_id.as_str() };
        assert_eq!(names, [expected].into(), "{customer_id}: {is_erased}");
        nameless += usize::from(is_erased);
    }
    nameless
}

#[tokio::test]
async fn an_export_beside_erasures_names_a_customer_in_all_of_their_entries_or_in_none() {
    const AT_ONCE: usize = 4;
    let service = Service::start().await;
    let accounts = enrol_all(&service, 12).await;
    for (round, ids) in customer_ids().chunks(AT_ONCE).enumerate() {
        // One export has begun before, and one begins and ends while they are erased.
        let before = begin_export(&service).await;
        let erasing = join_all(ids.iter().map(async |customer_id| {
            let (erased, _) = erase(&service, erasure(customer_id, Expire, "erase")).await.unwrap();
            assert_eq!(erased.account_id, accounts[customer_id]);
        }));
        let beside = async { finish_export(begin_export(&service).await, &accounts).await };
        let (_, beside) = within("erasures and an export", join(erasing, beside)).await;
        let erased_before = round * AT_ONCE;
        assert!((erased_before..=erased_before + AT_ONCE).contains(&beside), "{beside} in round {round}");
        assert_eq!(finish_export(before, &accounts).await, erased_before);
    }
    assert_eq!(finish_export(begin_export(&service).await, &accounts).await, CUSTOMERS);
    assert_clean(&service.database).await;
}

/// Grants whose points vest and expire by themselves, at an instant of each customer's own.
async fn plant_dues(service: &Service) {
    let planted = customer_ids().into_iter().enumerate().map(async |(i, customer_id)| {
        for (key, vests, expires) in [("a", i + 1, "P1D"), ("b", i + 1, "P2D"), ("c", i + 2, "P9D")] {
            let after = proto::vesting_rule::Rule::After(format!("P{vests}D"));
            let expiry = proto::expiry_rule::After { period: expires.to_owned(), ..Default::default() };
            let grant = proto::GrantRewardRequest {
                vesting: Some(proto::VestingRule { rule: Some(after) }),
                expiry: Some(proto::ExpiryRule { rule: Some(proto::expiry_rule::Rule::After(expiry)) }),
                ..grant_reward(&customer_id, 40, key)
            };
            service.rewards().grant_reward(grant).await.unwrap();
        }
    });
    join_all(planted).await;
}

async fn count(database: &Database, from: &str) -> i64 {
    let mut connection = database.connect(SUPERUSER).await;
    let select = sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {from}"));
    sqlx::query_scalar(select).fetch_one(&mut connection).await.unwrap()
}

#[tokio::test]
async fn what_time_does_beside_erasures_leaves_no_points_and_nothing_after_the_erasure() {
    let background = Background { apply_dues_every: Some(Duration::from_millis(5)), ..Background::default() };
    let clock = Clock::fixed(START.parse().unwrap());
    let service = Service::start_busy(Database::create().await, clock.clone(), background).await;
    let accounts = enrol_all(&service, 1).await;
    let accounts: Vec<_> = customer_ids().into_iter().map(|id| (id.clone(), accounts[&id].clone())).zip(1..).collect();
    plant_dues(&service).await;
    let start: Timestamp = START.parse().unwrap();
    // On the day when the first of their points vest. Of every other one the worker has done that before; the others are
    // erased beside it.
    for ((customer_id, account_id), day) in &accounts {
        clock.set(start + SignedDuration::from_hours(24 * day));
        let vested = format!("ledger_entries WHERE kind = 'points_vested' AND account_id::text = '{account_id}'");
        if day % 2 == 0 {
            until("the worker", async || (count(&service.database, &vested).await == 2).then_some(())).await;
        }
        let (erased, _) = erase(&service, erasure(customer_id, Expire, "erase")).await.unwrap();
        let settled = (erased.expired_points, erased.cancelled_points);
        assert_eq!(settled, (5 + 2 * 40, 40), "{customer_id}");
    }
    clock.set(start + SignedDuration::from_hours(24 * 90));
    // A head may say that something is due when nothing is any more, until the worker has looked.
    until("nothing to be due", async || {
        (count(&service.database, "accounts WHERE next_due_at IS NOT NULL").await == 0).then_some(())
    })
    .await;
    let left = "accounts WHERE kind = 'customer' AND (pending > 0 OR available > 0 OR held > 0 OR erased_at IS NULL)";
    assert_eq!(count(&service.database, left).await, 0);
    assert_eq!(count(&service.database, "lots WHERE pending > 0 OR available > 0 OR held > 0").await, 0);
    let late = "ledger_entries e JOIN ledger_entries l ON l.account_id = e.account_id AND l.account_seq > e.account_seq
                WHERE e.kind = 'customer_erased' AND (l.actor <> 'time' OR l.points IS NOT NULL)";
    assert_eq!(count(&service.database, late).await, 0);
    assert_clean(&service.database).await;
}

/// The tables with rows of a customer whom a service may have erased.
const PERSONAL: [&str; 3] = ["customers", "names", "entry_notes"];

#[tokio::test]
async fn a_service_that_is_killed_erases_each_customer_whole_or_not_at_all() {
    let service = Service::start_on(Database::create().await, Clock::database()).await;
    let accounts = enrol_all(&service, 2).await;
    let noted = customer_ids().into_iter().map(async |customer_id| {
        let grant = proto::GrantRewardRequest { note: "a note".to_owned(), ..grant_reward(&customer_id, 5, "noted") };
        service.rewards().grant_reward(grant).await.unwrap();
    });
    join_all(noted).await;
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("erasure-keys");
    std::fs::write(&keys, ERASURE_KEY).unwrap();
    let environment = [("GOLDBOOK_ERASURE_KEY_FILE", keys.to_str().unwrap())];
    let mut acknowledged = BTreeMap::new();
    let mut cut_off = 0;
    // Each time a few more are erased before the service is killed while the others are under way.
    for round in 0..4 {
        let serving = Serving::start(&service.database.options(SERVICE_ROLE), &environment).await;
        let doomed = Service::at(serving.address, service.database.clone()).await;
        let wanted: Vec<String> = accounts.keys().filter(|id| !acknowledged.contains_key(*id)).cloned().collect();
        let mut outcomes = stream::iter(wanted.into_iter().map(|customer_id| {
            let doomed = &doomed;
            async move { (erase(doomed, erasure(&customer_id, Expire, &customer_id)).await, customer_id) }
        }))
        .buffer_unordered(8);
        let mut serving = Some(serving);
        for place in 0.. {
            let Some((outcome, customer_id)) = within("an answer or the end", outcomes.next()).await else { break };
            match outcome {
                Ok((erased, _)) => drop(acknowledged.insert(customer_id, erased)),
                Err(_) => cut_off += 1,
            }
            if place == round {
                serving.take().unwrap().kill().await;
            }
        }
        assert!(serving.is_none());
        assert_all_or_nothing(&service, &accounts).await;
    }
    assert!(cut_off > 0 && acknowledged.len() >= 4, "{cut_off} {}", acknowledged.len());
    for (customer_id, account_id) in &accounts {
        let (erased, replayed) = erase(&service, erasure(customer_id, Expire, customer_id)).await.unwrap();
        assert_eq!((erased.account_id.as_str(), erased.expired_points), (account_id.as_str(), 15));
        // What was acknowledged was done.
        assert!(acknowledged.get(customer_id).is_none_or(|before| replayed && *before == erased), "{customer_id}");
    }
    assert_eq!(count(&service.database, "erasures").await, i64::try_from(CUSTOMERS).unwrap());
    assert_clean(&service.database).await;
}

/// Of each customer everything is there, or nothing; and others can say which.
async fn assert_all_or_nothing(service: &Service, accounts: &BTreeMap<String, String>) {
    // What the killed service had sent may still be carried out.
    until("the killed service to be gone", async || {
        let select =
            "pg_stat_activity WHERE datname = current_database() AND state <> 'idle' AND pid <> pg_backend_pid()";
        (count(&service.database, select).await == 0).then_some(())
    })
    .await;
    for (customer_id, account_id) in accounts {
        let read = proto::GetCustomerRequest { program_id: SHOP.to_owned(), customer_id: customer_id.clone() };
        let read = service.customers().get_customer(read).await;
        let is_erased = read.is_err();
        if let Err(refused) = read {
            assert_eq!((refused.code(), reason(&refused).as_str()), (Code::NotFound, "CUSTOMER_NOT_FOUND"));
        }
        for table in PERSONAL {
            let rows = count(&service.database, &format!("{table} WHERE account_id::text = '{account_id}'")).await;
            assert_eq!(rows > 0, !is_erased, "{customer_id} in {table}");
        }
        for table in ["erasures", "tombstones"] {
            let rows = count(&service.database, &format!("{table} WHERE account_id::text = '{account_id}'")).await;
            assert_eq!(rows > 0, is_erased, "{customer_id} in {table}");
        }
    }
}
