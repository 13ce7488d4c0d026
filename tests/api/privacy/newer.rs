//! Everything that is stored, with fields and columns of a newer version in all of it: an older one goes on beside it, and
//! loses none of them.

use std::collections::BTreeMap;

use futures_util::TryStreamExt as _;
use goldbook::book::StoredEntry;
use goldbook::book::store::scan::scan_entries;
use goldbook::embedded_postgres::SUPERUSER;
use goldbook::proto;
use prost_reflect::DynamicMessage;
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;

use super::Marked;
use super::dumps::execute;
use crate::access::by;
use crate::audit::assert_clean;
use crate::customers::export::assert_follows_schema;
use crate::harness::{Clients, Database, SHOP, tables};

/// Adds a field to every object in a JSON, at every depth. A map whose names are data is none.
const ADD_FIELDS: &str = r#"
CREATE FUNCTION with_newer(value jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    CASE jsonb_typeof(value)
    WHEN 'object' THEN
        RETURN (SELECT coalesce(jsonb_object_agg(key, CASE WHEN key = 'attributes' THEN val ELSE with_newer(val) END), '{}')
                FROM jsonb_each(value) AS field (key, val)) || '{"newer": {"seen": [1, "kept"]}}';
    WHEN 'array' THEN
        RETURN (SELECT coalesce(jsonb_agg(with_newer(item) ORDER BY place), '[]')
                FROM jsonb_array_elements(value) WITH ORDINALITY AS item (item, place));
    ELSE RETURN value;
    END CASE;
END $$;
UPDATE ledger_entries SET detail = with_newer(detail::jsonb)::json;
UPDATE customers SET dossier = with_newer(dossier);
UPDATE lots SET made_up = with_newer(made_up) WHERE made_up IS NOT NULL;
UPDATE earnings SET earned = (SELECT coalesce(jsonb_object_agg(key, with_newer(val)), '{}')
                              FROM jsonb_each(earned) AS field (key, val));
"#;

/// Writes as a newer version would: a column in every table, a field in every object, and hashes that fit.
async fn make_newer(database: &Database) {
    for table in tables() {
        // Each by itself: with the locks of several tables it could wait for a batch that waits for it.
        execute(database, &format!("ALTER TABLE {} ADD COLUMN newer text", table.name)).await;
    }
    let mut statements = "SET session_replication_role = replica;
                          ALTER TABLE ledger_entries DISABLE TRIGGER ALL;"
        .to_owned();
    for table in tables() {
        let name = table.name;
        statements += &format!("UPDATE {name} SET newer = 'kept';");
    }
    statements += ADD_FIELDS;
    execute(database, &statements).await;
    let mut connection = database.connect(SUPERUSER).await;
    let entries: Vec<StoredEntry> = scan_entries(&mut connection).try_collect().await.unwrap();
    for entry in entries {
        let update = "UPDATE ledger_entries SET content_hash = $1 WHERE account_id = $2 AND account_seq = $3";
        let update = sqlx::query(update).bind(entry.hash().to_vec());
        update.bind(entry.id.account_id.0).bind(entry.id.account_seq).execute(&mut connection).await.unwrap();
    }
    let protect = "ALTER TABLE ledger_entries ENABLE ALWAYS TRIGGER ledger_entries_refuse_row_change;
                   ALTER TABLE ledger_entries ENABLE ALWAYS TRIGGER ledger_entries_refuse_truncate;";
    execute(database, protect).await;
}

/// What a newer version wrote and is there: the rows with its column by table, and the fields in sources of record.
async fn count_newer(database: &Database) -> BTreeMap<String, i64> {
    let mut connection = database.connect(SUPERUSER).await;
    let mut counts = BTreeMap::new();
    let fields = |table: &str, column: &str| {
        let count = format!("(length({column}::text) - length(replace({column}::text, '\"newer\":', ''))) / 8");
        (format!("fields of {table}"), format!("SELECT coalesce(sum({count}), 0)::bigint FROM {table}"))
    };
    // Summaries are made each second, and old ones go.
    let lasting = tables().into_iter().filter(|table| table.name != "liability_summaries");
    let rows = lasting.map(|table| {
        let name = table.name;
        (format!("rows of {name}"), format!("SELECT count(*) FROM {name} WHERE newer = 'kept'"))
    });
    let fields = [fields("ledger_entries", "detail"), fields("customers", "dossier")];
    for (name, select) in rows.chain(fields) {
        counts.insert(name, sqlx::query_scalar(AssertSqlSafe(select)).fetch_one(&mut connection).await.unwrap());
    }
    counts
}

fn is_read(method: &str) -> bool {
    let name = method.rsplit('.').next().unwrap();
    ["Get", "List", "Export"].iter().any(|begin| name.starts_with(begin))
}

#[tokio::test]
async fn an_older_version_goes_on_beside_what_a_newer_one_wrote_and_loses_nothing_of_it() {
    let mut marked = Marked::start().await;
    let customer_id = marked.caller.play().await;
    make_newer(&marked.database).await;
    let before = count_newer(&marked.database).await;
    assert!(before["fields of ledger_entries"] > 50 && before["fields of customers"] > 10, "{before:?}");
    assert!(assert_clean(&marked.database).await.tally.newer == 0);

    // All that was read before is read again, and all that was carried out is carried out again.
    let reads: Vec<(String, DynamicMessage)> = marked
        .caller
        .carried
        .iter()
        .filter(|carried| is_read(&carried.method))
        .map(|carried| (carried.method.clone(), carried.message.clone()))
        .collect();
    assert!(reads.len() > 20);
    for (method, message) in reads {
        marked.caller.send(&method, &message).await.unwrap_or_else(|status| panic!("{method}: {status:?}"));
    }
    marked.caller.play_on(&customer_id).await;
    update_name(&mut marked, &customer_id).await;
    marked.caller.play().await;

    let after = count_newer(&marked.database).await;
    for (what, count) in &before {
        assert_eq!(after[what], *count, "{what}");
    }
    assert!(assert_clean(&marked.database).await.tally.newer == 0);
    let told = export(&marked, &customer_id).await;
    assert_follows_schema(&told);
    assert_eq!(told["dossier"]["further"]["newer"], json!({"seen": [1, "kept"]}));
    assert_eq!(told["dossier"]["further"]["address"]["newer"], json!({"seen": [1, "kept"]}));
}

/// Changes one field of a dossier that has fields of a newer version.
async fn update_name(marked: &mut Marked, customer_id: &str) {
    let update = proto::UpdateCustomerRequest {
        program_id: SHOP.to_owned(),
        customer: Some(proto::Customer { customer_id: customer_id.to_owned(), ..Default::default() }),
        update_mask: Some(prost_types::FieldMask { paths: vec!["given_name".to_owned()] }),
    };
    let _: proto::UpdateCustomerResponse = marked.caller.carry_out("CustomerService.UpdateCustomer", &update).await;
}

/// What the customer is given of themselves.
async fn export(marked: &Marked, customer_id: &str) -> Value {
    let clients = Clients::connect(marked.serving.address).await;
    let (program_id, customer_id) = (SHOP.to_owned(), customer_id.to_owned());
    let request = by(&marked.caller.token, proto::ExportCustomerRequest { program_id, customer_id });
    let mut messages = clients.customers().export_customer(request).await.unwrap().into_inner();
    let mut document = Vec::new();
    while let Some(message) = messages.message().await.unwrap() {
        document.extend(message.chunk);
    }
    serde_json::from_slice(&document).unwrap()
}
