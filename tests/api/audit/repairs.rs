//! A repair writes rows as the entries say they are, and never the other way.

use goldbook::audit::model::DifferenceKind;
use goldbook::embedded_postgres::SUPERUSER;

use super::{assert_clean, audit, create_history, history, repair, sabotage};
use crate::harness::{Database, Service, projections};
use crate::random::cases;
use crate::wait::within;

async fn read_table(database: &Database, table: &str) -> Vec<String> {
    let mut connection = database.connect(SUPERUSER).await;
    let select = format!("SELECT (to_jsonb(t) - 'next_due_at')::text FROM {table} t ORDER BY 1");
    sqlx::query_scalar(sqlx::AssertSqlSafe(select)).fetch_all(&mut connection).await.unwrap()
}

async fn read_tables(database: &Database, names: &[&str]) -> Vec<Vec<String>> {
    let mut tables = Vec::new();
    for table in names {
        tables.push(read_table(database, table).await);
    }
    tables
}

#[tokio::test]
async fn random_history_is_brought_back_by_a_repair_from_the_entries_alone() {
    for case in cases(1) {
        let service = history::random(case.seed, 250).await;
        crate::value::classes::pass_last_month(&service).await;
        repair_every_projection(service).await;
    }
}

async fn repair_every_projection(service: Service) {
    let database = &service.database;
    let tables = projections();
    let before = read_tables(database, &tables).await;
    // Three are of long histories, one of tiers that end; `damages.rs` has each of them.
    assert!(before.iter().filter(|table| !table.is_empty()).count() >= tables.len() - 4, "{before:?}");
    let everything = format!("TRUNCATE {}", tables.join(", "));
    for damage in [
        "UPDATE accounts SET next_due_at = NULL, available = available + 3, issued = issued + 3; DELETE FROM lots;
         DELETE FROM earnings; UPDATE standings SET purchases = purchases + 1; DELETE FROM referrals",
        everything.as_str(),
        "TRUNCATE accounts",
        "UPDATE referral_codes SET code = 'ZZZZZZZZ'",
        "UPDATE lots SET account_id = '00000000-0000-0000-0000-000000000007' 
         WHERE account_id = (SELECT account_id FROM lots LIMIT 1)",
    ] {
        sabotage(database, damage).await;
        let told = repair(database).await;
        assert!(told.tally.repaired > 0 && told.not_repaired.is_empty(), "{damage}: {told:?}");
        assert_eq!(told.tally.remaining, 0, "{damage}: {told:?}");
        assert_clean(database).await;
        assert_eq!(read_tables(database, &tables).await, before, "{damage}");
    }
    // The book goes on where it was.
    service.enrol("zoe").await;
    service.grant("zoe", 5, "gift").await.unwrap();
    assert_clean(database).await;
}

#[tokio::test]
async fn repair_leaves_a_damaged_ledger_and_its_account_alone() {
    /// On both customers' accounts.
    const MENDABLE: &str = "UPDATE standings SET purchases = 7;
                            UPDATE lots SET available = 71, points = 71 WHERE points = 70";
    for damage in [
        "UPDATE ledger_entries SET points = 71 WHERE points = 70",
        "DELETE FROM ledger_entries WHERE points = 70",
        "DELETE FROM ledger_entries e USING holds h WHERE e.account_id = h.account_id AND e.account_seq = h.hold_seq",
        "UPDATE ledger_entries SET detail = '{}' WHERE points = 70",
    ] {
        let database = create_history().await;
        sabotage(&database, &format!("{damage}; {MENDABLE}")).await;
        let before = read_tables(&database, &["ledger_entries", "lots", "accounts"]).await;
        let told = repair(&database).await;
        // Ben's rows are mended all the same.
        assert_eq!(told.tally.repaired, 1, "{damage}: {told:#?}");
        assert!(told.tally.remaining > 0);
        let left = audit(&database).await;
        assert!(left.differences.iter().any(|difference| difference.kind == DifferenceKind::Ledger), "{damage}");
        assert_eq!(read_tables(&database, &["ledger_entries", "lots", "accounts"]).await, before, "{damage}");
    }
}

#[tokio::test]
async fn repair_while_writes_go_on_loses_none_of_them() {
    const ROUNDS: usize = 12;
    let service = history::small().await;
    let database = service.database.clone();
    let writing = async |writer: &Service, stop: &std::sync::atomic::AtomicBool| {
        let mut written = 0;
        while !stop.load(std::sync::atomic::Ordering::SeqCst) {
            for customer in ["anna", "ben"] {
                writer.grant(customer, 1, &format!("gift-{written}")).await.unwrap();
            }
            written += 1;
        }
        written
    };
    let stop = std::sync::atomic::AtomicBool::new(false);
    let before = (service.available("anna").await, service.available("ben").await);
    let repairing = async {
        let mut repaired = 0;
        for _ in 0..ROUNDS {
            // Nobody looks at these columns to decide a grant, so that the book goes on as if nothing were wrong.
            sabotage(&database, "UPDATE standings SET purchases = purchases + 1; UPDATE lots SET policy_version = 9")
                .await;
            repaired += repair(&database).await.tally.repaired;
        }
        stop.store(true, std::sync::atomic::Ordering::SeqCst);
        repaired
    };
    let (written, repaired) =
        within("writes and repairs", async { tokio::join!(writing(&service, &stop), repairing) }).await;
    assert!(repaired >= ROUNDS as u64 && written > 0, "{repaired} {written}");
    assert_eq!(
        (service.available("anna").await, service.available("ben").await),
        (before.0 + written, before.1 + written)
    );
    repair(&database).await;
    assert_clean(&database).await;
}
