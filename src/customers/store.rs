//! The SQL of dossiers.

pub(super) mod consents;
mod erasures;
pub(super) mod retention;

use std::collections::BTreeSet;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use jiff_sqlx::ToSqlx as _;
use serde::Deserialize as _;
use sqlx::PgConnection;
use uuid::Uuid;

use self::consents::{current_consents_of, delete_consents, find_recorded, insert_consents};
use self::erasures::ErasuresStore;
use super::erasure::keys::ErasureKeys;
use super::erasure::state::ErasuresState;
use super::model::Dossier;
use super::state::{CustomerRow, CustomersState};
use super::stored::keep_unknown;
use crate::book::{Capability, Defect, Scope, States, Store, Table, TableRights};
use crate::database::{
    Listed, ReadPart, Selection, StoreError, Traced as _, WritePart, read_page, selection, sent_as, write_part,
};
use crate::ids::{AccountId, CustomerId, ProgramId};

/// The tables of customers.
const TABLES: &[Table] = &[
    Table::source("customers", TableRights::AppendChangeAndRemove)
        .with_scanned_strays(&["SELECT n.account_id, 'a name of a customer belongs to an account without that dossier'
         FROM names n JOIN accounts a ON a.account_id = n.account_id
         LEFT JOIN customers c ON c.account_id = n.account_id AND c.program_id = n.program_id AND c.customer_id = n.name
         WHERE n.space = 'customer' AND c.account_id IS NULL"])
        .with_strays(&[
            "SELECT c.account_id, 'a dossier of an account that does not exist'
         FROM customers c LEFT JOIN accounts a ON a.account_id = c.account_id WHERE a.account_id IS NULL",
            "SELECT a.account_id, 'a customer who was not erased has no dossier'
         FROM accounts a LEFT JOIN customers c ON c.account_id = a.account_id
         WHERE a.kind = 'customer' AND a.erased_at IS NULL AND c.account_id IS NULL",
            "SELECT a.account_id, 'a customer who was erased has a dossier'
         FROM accounts a JOIN customers c ON c.account_id = a.account_id WHERE a.erased_at IS NOT NULL",
            "SELECT c.account_id, 'a dossier whose customer''s name is missing or another''s'
         FROM customers c
         LEFT JOIN names n ON n.program_id = c.program_id AND n.space = 'customer' AND n.name = c.customer_id
         WHERE n.account_id IS DISTINCT FROM c.account_id",
        ]),
    Table::source("marketing_consents", TableRights::AppendAndRemove)
        .with_strays(&["SELECT m.account_id, 'a consent of a customer without a dossier'
         FROM marketing_consents m LEFT JOIN customers c ON c.account_id = m.account_id WHERE c.account_id IS NULL"]),
    Table::report("retention_rounds", TableRights::AppendAndChange),
];

/// The tables of erasures.
const ERASURE_TABLES: &[Table] = &[
    Table::source("erasures", TableRights::Append).with_strays(&[
        "SELECT e.account_id, 'an erasure of an account that was not erased'
         FROM erasures e LEFT JOIN accounts a ON a.account_id = e.account_id WHERE a.erased_at IS NULL",
        "SELECT a.account_id, 'an account was erased, and no erasure is kept'
         FROM accounts a LEFT JOIN erasures e ON e.account_id = a.account_id
         WHERE a.erased_at IS NOT NULL AND e.account_id IS NULL",
    ]),
    Table::source("tombstones", TableRights::Append)
        .with_scanned_strays(&["SELECT t.account_id, 'a tombstone without an erasure'
         FROM tombstones t LEFT JOIN erasures e ON e.account_id = t.account_id WHERE e.account_id IS NULL"]),
];

/// The room as the book knows it.
#[must_use]
pub(crate) fn capability() -> Capability {
    Capability::new(CustomersState::default, CustomersStore, TABLES)
}

/// Erasures as the book knows them. Who was erased is known again by `keys`.
#[must_use]
pub(crate) fn erasures_capability(keys: ErasureKeys) -> Capability {
    Capability::new(ErasuresState::default, ErasuresStore { keys }, ERASURE_TABLES)
}

struct CustomersStore;

#[async_trait]
impl Store for CustomersStore {
    fn read_parts(&self, states: &States, scope: &Scope) -> Result<Vec<ReadPart<States>>, StoreError> {
        let mut parts = vec![customers_of(&scope.accounts).into_part(|states: &mut States, rows| {
            let state: &mut CustomersState = states.get_mut()?;
            state.rows = into_customers(rows)?.into_iter().map(|row| (row.account_id, row)).collect();
            Ok(())
        })];
        let asked: Vec<AccountId> = states.get::<CustomersState>()?.current.keys().copied().collect();
        if !asked.is_empty() {
            parts.push(current_consents_of(&asked).into_part(|states: &mut States, rows| {
                let state: &mut CustomersState = states.get_mut()?;
                for row in rows {
                    let (account_id, consent) = row.parse()?;
                    state.current.entry(account_id).or_default().push(consent);
                }
                Ok(())
            }));
        }
        Ok(parts)
    }

    async fn load(&self, states: &mut States, _scope: &Scope, connection: &mut PgConnection) -> Result<(), StoreError> {
        let state: &mut CustomersState = states.get_mut()?;
        if !state.asked.is_empty() {
            state.recorded = find_recorded(connection, &state.asked).await?;
        }
        Ok(())
    }

    fn write_parts(&self, states: &States) -> Result<Vec<WritePart>, StoreError> {
        let state: &CustomersState = states.get()?;
        let changed = state.changed.iter().filter_map(|id| state.rows.get(id));
        Ok(vec![
            upsert_customers(changed)?,
            delete_customers(&state.erased),
            insert_consents(&state.new_consents),
            delete_consents(&state.without_consents),
        ])
    }
}

/// A dossier as it is stored, and as it is sent.
#[derive(sqlx::Encode, sqlx::Decode)]
struct RawCustomer {
    account_id: Uuid,
    program_id: String,
    customer_id: String,
    dossier: serde_json::Value,
    revision: i64,
    created_at: jiff_sqlx::Timestamp,
    updated_at: jiff_sqlx::Timestamp,
}

sent_as!(RawCustomer, "sent_customer");

impl TryFrom<RawCustomer> for CustomerRow {
    type Error = Defect;

    fn try_from(raw: RawCustomer) -> Result<Self, Defect> {
        let account_id = raw.account_id;
        let damaged = |what: String| Defect::new(format!("the dossier of account {account_id}: {what}"));
        Ok(Self {
            account_id: AccountId(raw.account_id),
            program_id: ProgramId::try_from(raw.program_id).map_err(|error| damaged(error.to_string()))?,
            customer_id: CustomerId::try_from(raw.customer_id).map_err(|error| damaged(error.to_string()))?,
            dossier: Dossier::deserialize(&raw.dossier)
                .map_err(|error| Defect::unread(format_args!("the dossier of account {account_id}"), &error))?,
            stored: raw.dossier,
            revision: raw.revision,
            created_at: raw.created_at.to_jiff(),
            updated_at: raw.updated_at.to_jiff(),
        })
    }
}

fn into_customers(rows: Vec<RawCustomer>) -> Result<Vec<CustomerRow>, Defect> {
    rows.into_iter().map(CustomerRow::try_from).collect()
}

fn customers_of(accounts: &[AccountId]) -> Selection<RawCustomer> {
    let accounts: Vec<Uuid> = accounts.iter().map(|account| account.0).collect();
    selection!(
        "customers",
        RawCustomer,
        "SELECT account_id, program_id, customer_id, dossier, revision, created_at, updated_at
         FROM customers WHERE account_id = ANY($1)",
        [accounts],
    )
}

/// The dossiers of accounts.
///
/// # Errors
/// If the database cannot be read.
pub(super) async fn read_customers(
    connection: &mut PgConnection,
    accounts: &[AccountId],
) -> Result<Vec<CustomerRow>, StoreError> {
    Ok(into_customers(customers_of(accounts).fetch(connection).await?)?)
}

/// The business's own names of accounts' customers. One that cannot be understood is left out.
///
/// # Errors
/// If the database cannot be read.
pub(super) async fn read_customer_ids(
    connection: &mut PgConnection,
    accounts: &[AccountId],
) -> Result<Vec<(AccountId, CustomerId)>, sqlx::Error> {
    let ids: Vec<Uuid> = accounts.iter().map(|account| account.0).collect();
    let rows = sqlx::query!("SELECT account_id, customer_id FROM customers WHERE account_id = ANY($1)", &ids)
        .fetch_all(connection)
        .traced("SELECT customers")
        .await?;
    let named =
        rows.into_iter().map(|row| Some((AccountId(row.account_id), CustomerId::try_from(row.customer_id).ok()?)));
    Ok(named.flatten().collect())
}

fn upsert_customers<'a>(rows: impl Iterator<Item = &'a CustomerRow>) -> Result<WritePart, Defect> {
    let mut sent = Vec::new();
    for row in rows {
        let defect = |error| Defect::new(format!("the dossier of account {}: {error}", row.account_id.0));
        sent.push(RawCustomer {
            account_id: row.account_id.0,
            program_id: row.program_id.to_string(),
            customer_id: row.customer_id.to_string(),
            dossier: keep_unknown(&row.stored, &row.dossier).map_err(defect)?,
            revision: row.revision,
            created_at: row.created_at.to_sqlx(),
            updated_at: row.updated_at.to_sqlx(),
        });
    }
    Ok(write_part!(
        "INSERT INTO customers (account_id, program_id, customer_id, dossier, revision, created_at, updated_at)
         SELECT * FROM unnest($1::sent_customer[])
         ON CONFLICT (account_id) DO UPDATE SET dossier = excluded.dossier, revision = excluded.revision,
             updated_at = excluded.updated_at",
        sent,
    ))
}

fn delete_customers(accounts: &BTreeSet<AccountId>) -> WritePart {
    write_part!("DELETE FROM customers WHERE account_id = ANY($1::uuid[])", ids(accounts))
}

fn ids(accounts: &BTreeSet<AccountId>) -> Vec<Uuid> {
    accounts.iter().map(|account_id| account_id.0).collect()
}

/// Whether the program exists, and the customer's account in it.
///
/// # Errors
/// If the database cannot be read.
pub(super) async fn find_account(
    connection: &mut PgConnection,
    program_id: &ProgramId,
    customer_id: &CustomerId,
) -> Result<Option<Option<AccountId>>, StoreError> {
    let row = sqlx::query!(
        r#"SELECT n.account_id AS "account_id?" FROM programs p
           LEFT JOIN names n ON n.program_id = p.program_id AND n.space = 'customer' AND n.name = $2
           WHERE p.program_id = $1"#,
        program_id.as_str(),
        customer_id.as_str(),
    )
    .fetch_optional(connection)
    .traced("SELECT names")
    .await?;
    Ok(row.map(|row| row.account_id.map(AccountId)))
}

/// A page of a program's customers, by customer id.
///
/// # Errors
/// If the database cannot be read.
pub(super) async fn list_customers(
    connection: &mut PgConnection,
    program_id: &ProgramId,
    after: Option<&CustomerId>,
    limit: i64,
) -> Result<Vec<Listed<CustomerRow>>, StoreError> {
    let select = sqlx::query_as!(
        RawCustomer,
        "SELECT account_id, program_id, customer_id, dossier, revision, created_at, updated_at
         FROM customers WHERE program_id = $1 AND customer_id > $2 ORDER BY customer_id LIMIT $3",
        program_id.as_str(),
        after.map_or("", CustomerId::as_str),
        limit,
    );
    let rows = select.fetch(connection).map(|row| {
        let row = row?;
        Ok::<_, StoreError>(Listed { cursor: row.customer_id.clone(), item: CustomerRow::try_from(row) })
    });
    read_page(rows, |row| row.bytes(CustomerRow::bytes)).traced("SELECT customers").await
}
