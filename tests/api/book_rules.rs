//! The rules of the book, on everything that a database holds.

use goldbook::book::store::scan::restore_account;
use goldbook::book::{Account, AccountKind, Capabilities, EntryRange, Folded};
use goldbook::embedded_postgres::SUPERUSER;
use goldbook::ids::AccountId;
use goldbook::ledger::store::{EntryFilter, list_entries};
use goldbook::programs::Catalogue;
use proptest::test_runner::TestCaseError;
use proptest::{prop_assert, prop_assert_eq};
use sqlx::Row as _;

use crate::harness::{Database, SHOP, projections};

/// Rules 1 to 4 of the book, on everything that the database holds.
pub(crate) async fn check_rules(database: &Database) -> Result<(), TestCaseError> {
    let capabilities =
        goldbook::capabilities::capabilities(&Catalogue::default(), goldbook::capabilities::ErasureKeys::default());
    let mut source = database.connect(SUPERUSER).await;
    let rebuilt = Database::create().await;
    let mut target = rebuilt.connect(SUPERUSER).await;
    let accounts = sqlx::query("SELECT DISTINCT account_id FROM ledger_entries").fetch_all(&mut source).await.unwrap();
    for row in accounts {
        let account_id = AccountId(row.get(0));
        check_account(&mut source, &mut target, account_id, &capabilities).await?;
    }
    // Rule 3: what was written equals what the entries alone say, row for row.
    for table in projections() {
        let rows = format!("SELECT to_jsonb(t) - 'next_due_at' FROM {table} t ORDER BY to_jsonb(t)::text");
        let written = read_json(&mut source, &rows).await;
        prop_assert_eq!(&written, &read_json(&mut target, &rows).await, "{} differs", table);
    }
    // Rule 2, lot by lot: the pockets are the sums of the lots, and who owes has nothing available.
    let unsound = "SELECT count(*) FROM accounts a LEFT JOIN (
                       SELECT account_id, sum(points) AS issued, sum(pending) AS pending, sum(available) AS available,
                              sum(held) AS held, sum(redeemed) AS redeemed, sum(expired) AS expired
                       FROM lots GROUP BY account_id
                   ) l USING (account_id)
                   WHERE (a.issued, a.pending, a.available, a.held, a.redeemed, a.expired) IS DISTINCT FROM
                         (coalesce(l.issued, 0), coalesce(l.pending, 0), coalesce(l.available, 0),
                          coalesce(l.held, 0), coalesce(l.redeemed, 0), coalesce(l.expired, 0))
                      OR a.owed > 0 AND a.available > 0";
    let unsound: i64 = sqlx::query_scalar(unsound).fetch_one(&mut source).await.unwrap();
    prop_assert_eq!(unsound, 0);
    let early = "SELECT count(*) FROM accounts WHERE next_due_at IS NULL AND account_id = ANY($1)";
    // A note of the next due may be early; it must never be missing or late.
    let due: Vec<uuid::Uuid> = sqlx::query_scalar("SELECT account_id FROM accounts WHERE next_due_at IS NOT NULL")
        .fetch_all(&mut target)
        .await
        .unwrap();
    let missing: i64 = sqlx::query_scalar(early).bind(due).fetch_one(&mut source).await.unwrap();
    prop_assert_eq!(missing, 0);
    // Rule 4: every key once for each account; no name without an account.
    let doubled = "SELECT count(*) FROM (SELECT 1 FROM ledger_entries WHERE key_hash IS NOT NULL
                   GROUP BY account_id, key_hash HAVING count(*) > 1) t";
    let orphaned = "SELECT count(*) FROM names n LEFT JOIN accounts a USING (account_id) WHERE a.account_id IS NULL";
    for count in [doubled, orphaned] {
        let count: i64 = sqlx::query_scalar(count).fetch_one(&mut source).await.unwrap();
        prop_assert_eq!(count, 0);
    }
    Ok(())
}

/// Rules 1 and 2 on one account, which is then rebuilt in the target.
async fn check_account(
    source: &mut sqlx::PgConnection,
    target: &mut sqlx::PgConnection,
    account_id: AccountId,
    capabilities: &Capabilities,
) -> Result<(), TestCaseError> {
    let mut hashed = Vec::new();
    loop {
        // A page ends where it is full.
        let left = EntryRange { first: i64::try_from(hashed.len()).unwrap() + 1, last: i64::MAX };
        let page = list_entries(source, account_id, &EntryFilter::default(), left, i64::MAX).await.unwrap();
        if page.is_empty() {
            break;
        }
        hashed.extend(page);
    }
    let mut account = Account::empty(account_id, SHOP.to_owned().try_into().unwrap(), AccountKind::Customer);
    let mut entries = Vec::new();
    for stored in hashed {
        prop_assert_eq!(stored.hash().to_vec(), stored.content_hash.clone(), "entry {}", stored.id);
        let entry = stored.entry.unwrap();
        prop_assert_eq!(entry.hash().unwrap().to_vec(), stored.content_hash, "entry {}", entry.id);
        let last: Option<&goldbook::book::Entry> = entries.last();
        prop_assert!(last.is_none_or(|last| last.effective_at <= entry.effective_at), "time goes back at {}", entry.id);
        account.apply(&entry).unwrap();
        prop_assert!(account.balance.is_conserved(), "entry {}", entry.id);
        entries.push(entry);
    }
    let folded = Folded::from_entries(&entries, capabilities.new_states()).unwrap().unwrap();
    restore_account(target, &folded.account).await.unwrap();
    capabilities.write(&folded.states, target).await.unwrap();
    Ok(())
}

async fn read_json(connection: &mut sqlx::PgConnection, rows: &str) -> Vec<serde_json::Value> {
    sqlx::query_scalar(sqlx::AssertSqlSafe(rows)).fetch_all(connection).await.unwrap()
}
