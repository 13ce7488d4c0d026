//! `goldbook trace`: from one entry to the call that wrote it and all that it wrote.

use goldbook::embedded_postgres::SERVICE_ROLE;
use serde_json::Value;

use crate::binary::{run, run_in, url};
use crate::collector::traced;
use crate::harness::{SHOP, Service, purchase};

#[tokio::test]
async fn trace_tells_who_wrote_an_entry_and_every_row_of_that_command() {
    let service = Service::start().await;
    service.apply_shop().await;
    let code = service.share_code("anna", "friends").await;
    service.refer("ben", &code).await;
    let (trace, request) = traced(purchase("ben", "order-1", "250.00", service.clock.now()));
    assert!(service.activities().record_activity(request).await.unwrap().into_inner().referral_converted);
    // Its rows are on the accounts of both.
    let of_call = |entries: Vec<goldbook::proto::Entry>| -> Vec<goldbook::proto::Entry> {
        entries.into_iter().filter(|entry| entry.trace_id == trace.to_string()).collect()
    };
    let (of_anna, of_ben) = (of_call(service.entries("anna").await), of_call(service.entries("ben").await));
    assert!(!of_anna.is_empty() && of_ben.len() > 1);
    let mut expected: Vec<&str> = of_anna.iter().chain(&of_ben).map(|entry| entry.entry_id.as_str()).collect();
    expected.sort_unstable();

    let database = url(&service.database.options(SERVICE_ROLE));
    let environment = [("GOLDBOOK_DATABASE_URL", database.as_str())];
    // From whichever of them.
    for entry in [&of_anna[0], &of_ben[0]] {
        let told = run_in(&environment, &["trace", "--json", &entry.entry_id]).await;
        assert!(told.status.success(), "{}", told.stderr);
        let told: Value = serde_json::from_str(&told.stdout).unwrap();
        assert_eq!(told["trace_id"], trace.to_string());
        assert_eq!(told["command_id"], entry.command_id);
        assert_eq!(told["program_id"], SHOP);
        assert_eq!(told["principal"]["kind"], "anyone");
        assert_eq!(told["principal_id"], entry.principal_id);
        let rows = told["rows"].as_array().unwrap();
        let mut ids: Vec<&str> = rows.iter().map(|row| row["entry_id"].as_str().unwrap()).collect();
        ids.sort_unstable();
        assert_eq!(ids, expected);
        assert!(rows.iter().any(|row| row["points"] == 500 && row["reason"] == "referral_referrer"), "{told:#}");
    }

    let told = run_in(&environment, &["trace", &of_ben[0].entry_id]).await;
    assert!(told.status.success(), "{}", told.stderr);
    assert!(told.stdout.contains(&format!("trace      {trace}\n")), "{}", told.stdout);
    assert!(told.stdout.contains("principal  anyone"), "{}", told.stdout);
    assert!(told.stdout.contains(&format!("rows       {}\n", expected.len())), "{}", told.stdout);
    assert!(expected.iter().all(|id| told.stdout.contains(&format!("\n{id}\n"))), "{}", told.stdout);
    assert!(told.stdout.contains("caused by"), "{}", told.stdout);
}

#[tokio::test]
async fn trace_says_that_there_is_no_such_entry_and_that_a_text_names_none() {
    let service = Service::start().await;
    let database = url(&service.database.options(SERVICE_ROLE));
    let missing = "0199a3c4000070008000000000000001.12";
    let told = run(&["trace", missing, "--database-url", &database]).await;
    assert_eq!(told.status.code(), Some(1));
    assert!(told.stderr.contains(&format!("the ledger has no entry {missing}")), "{}", told.stderr);
    for malformed in ["12", "anna.1", "0199a3c4000070008000000000000001", "0199a3c4000070008000000000000001.0"] {
        let told = run(&["trace", malformed, "--database-url", &database]).await;
        assert_eq!(told.status.code(), Some(2), "{malformed}");
        assert!(told.stderr.contains("must be an entry id as returned by the service"), "{}", told.stderr);
    }
}

#[tokio::test]
async fn rows_of_a_command_are_found_by_an_index_and_not_by_reading_the_ledger() {
    let service = Service::start().await;
    service.apply_shop().await;
    service.enrol("anna").await;
    let entry_id = service.entries("anna").await.pop().unwrap().entry_id;
    let database = service.database.clone();
    service.stop().await;
    // What the planner may not do is what it would not do with a large ledger.
    let as_if_large = "-c enable_seqscan=off -c enable_hashjoin=off -c enable_mergejoin=off";
    let asking = url(&database.options(SERVICE_ROLE));
    let asking = format!("{asking}&options={}", as_if_large.replace(' ', "%20").replace('=', "%3D"));
    let scans = async || -> (i64, i64, i64) {
        let scans = "SELECT (SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'ledger_entries'),
                            (SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = 'ledger_entries_pkey'),
                            (SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = 'ledger_entries_recorded')";
        sqlx::query_as(scans).fetch_one(&mut database.connect_alone().await).await.unwrap()
    };
    let before = scans().await;
    let told = run(&["trace", &entry_id, "--database-url", &asking]).await;
    assert!(told.status.success(), "{}", told.stderr);
    let after = scans().await;
    assert_eq!((after.0 - before.0, after.1 - before.1, after.2 - before.2), (0, 1, 1));
}
