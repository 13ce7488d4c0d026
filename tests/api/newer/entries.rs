//! An entry of a kind that only a newer version knows is passed on as it is stored, and what must understand it says so.

use goldbook::book::StoredEntry;
use goldbook::book::store::scan::scan_entries_of;
use goldbook::embedded_postgres::SUPERUSER;
use goldbook::ids::AccountId;
use goldbook::proto;
use sqlx::AssertSqlSafe;

use super::{assert_newer, change, start};
use crate::audit::{audit, repair};
use crate::harness::{SHOP, Service};
use futures_util::TryStreamExt as _;

const DETAIL: &str = r#"{"kind":"household_joined","household":7,"lots":[{"lot":1,"points":9007199254740993}]}"#;

/// Adds an entry to a customer's account, as a newer version would.
async fn join_household(service: &Service, customer_id: &str) -> AccountId {
    let account = &service.entries(customer_id).await[0].account_id;
    let account_id = AccountId(account.parse().unwrap());
    change(
        &service.database,
        &format!(
            "CREATE TABLE joined AS SELECT * FROM ledger_entries WHERE account_id = '{account}'
             ORDER BY account_seq DESC LIMIT 1;
             UPDATE joined SET account_seq = account_seq + 1, kind = 'household_joined', detail = '{DETAIL}',
                 reason = 'households', from_pocket = NULL, to_pocket = NULL, points = NULL, key_hash = NULL,
                 fingerprint = NULL, command_id = gen_random_uuid();
             INSERT INTO ledger_entries SELECT * FROM joined;
             DROP TABLE joined;
             UPDATE accounts SET head = head + 1 WHERE account_id = '{account}'"
        ),
    )
    .await;
    let mut connection = service.database.connect(SUPERUSER).await;
    let entries: Vec<StoredEntry> = scan_entries_of(&mut connection, account_id).try_collect().await.unwrap();
    let joined = entries.last().unwrap();
    assert!(joined.entry.is_err());
    let hash: String = joined.hash().iter().map(|byte| format!("{byte:02x}")).collect();
    let statement = format!(
        "ALTER TABLE ledger_entries DISABLE TRIGGER ALL;
         UPDATE ledger_entries SET content_hash = '\\x{hash}' WHERE kind = 'household_joined';
         ALTER TABLE ledger_entries ENABLE ALWAYS TRIGGER ledger_entries_refuse_row_change;
         ALTER TABLE ledger_entries ENABLE ALWAYS TRIGGER ledger_entries_refuse_truncate"
    );
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut connection).await.unwrap();
    account_id
}

fn assert_joined(entry: &proto::Entry) {
    assert_eq!((entry.kind(), entry.reason()), (proto::EntryKind::Unspecified, proto::EntryReason::Unspecified));
    // As everywhere on the wire, with what many readers do not count exactly as text.
    assert_eq!(entry.detail_json, DETAIL.replace("9007199254740993", "\"9007199254740993\""));
    assert_eq!((entry.lots.len(), entry.content_hash.len(), entry.trace_id.len()), (0, 32, 32));
}

#[tokio::test]
async fn an_entry_of_an_unknown_kind_is_listed_and_exported_as_it_is_stored() {
    let service = start().await;
    for customer_id in ["anna", "ben"] {
        service.enrol(customer_id).await;
        service.grant(customer_id, 100, "gift").await.unwrap();
    }
    join_household(&service, "anna").await;
    // Nothing keeps an older version from the account: whoever wants that makes a new kind of account.
    assert!(!service.grant("anna", 5, "later").await.unwrap().replayed);
    assert_eq!(service.available("anna").await, 105);

    let entries = service.entries("anna").await;
    let place = entries.iter().position(|entry| entry.kind() == proto::EntryKind::Unspecified).unwrap();
    assert_eq!(place, entries.len() - 2);
    assert_joined(&entries[place]);
    let (program_id, entry_id) = (SHOP.to_owned(), entries[place].entry_id.clone());
    let read = service.ledger().get_entry(proto::GetEntryRequest { program_id, entry_id }).await.unwrap();
    assert_eq!(read.into_inner().entry.as_ref(), Some(&entries[place]));

    let request = proto::ExportEntriesRequest { program_id: SHOP.to_owned(), ..Default::default() };
    let mut export = service.ledger().export_entries(request).await.unwrap().into_inner();
    let (mut total, mut exported) = (0, Vec::new());
    while let Some(message) = export.message().await.unwrap() {
        total += message.entries_total;
        exported.extend(message.entries);
    }
    assert_eq!(i64::try_from(exported.len()).unwrap(), total);
    assert!(exported.contains(&entries[place]));

    // It moved no points, so a statement has nothing to tell of it.
    let request = proto::GetStatementRequest {
        program_id: SHOP.to_owned(),
        customer_id: "anna".to_owned(),
        ..Default::default()
    };
    let statement = service.ledger().get_statement(request).await.unwrap().into_inner();
    assert_eq!((statement.lines.len(), statement.closing.unwrap().available), (2, 105));
}

#[tokio::test]
async fn what_has_to_understand_an_entry_of_an_unknown_kind_says_so() {
    let service = start().await;
    for customer_id in ["anna", "ben"] {
        service.enrol(customer_id).await;
    }
    join_household(&service, "anna").await;
    // Nobody here can tell what of it is about somebody else.
    let export = async |customer_id: &str| {
        let (program_id, customer_id) = (SHOP.to_owned(), customer_id.to_owned());
        let request = proto::ExportCustomerRequest { program_id, customer_id };
        let mut messages = service.customers().export_customer(request).await?.into_inner();
        while messages.message().await?.is_some() {}
        Ok::<(), tonic::Status>(())
    };
    assert_newer(export("anna").await);
    export("ben").await.unwrap();
}

#[tokio::test]
async fn an_audit_proves_an_entry_of_an_unknown_kind_and_counts_it_apart() {
    let service = start().await;
    service.enrol("anna").await;
    let account_id = join_household(&service, "anna").await;
    let told = audit(&service.database).await;
    assert!(told.differences.is_empty(), "{told:?}");
    assert_eq!(told.tally.newer, 1);
    // An older version repairs nothing that it does not understand.
    change(&service.database, "UPDATE accounts SET issued = 7, available = 7 WHERE kind = 'customer'").await;
    let told = repair(&service.database).await;
    assert_eq!((told.tally.repaired, told.tally.newer), (0, 1), "{told:?}");
    // Whoever changes it is found, whatever it means.
    change(
        &service.database,
        "ALTER TABLE ledger_entries DISABLE TRIGGER ALL;
         UPDATE ledger_entries SET detail = replace(detail::text, '7,', '8,')::json WHERE kind = 'household_joined'",
    )
    .await;
    let told = audit(&service.database).await;
    assert!(told.differences[0].what.contains("the content hash is"), "{told:?}");
    assert_eq!(told.differences[0].account_id, account_id);
}
