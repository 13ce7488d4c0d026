//! The SQL of dossiers and consents.

mod erasures;
pub(super) mod recorded;
pub(super) mod retention;

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use futures_util::StreamExt as _;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;
use uuid::Uuid;

use self::erasures::ErasuresStore;
use super::erasure::keys::ErasureKeys;
use super::erasure::state::ErasuresState;
use super::model::{MarketingChannel, MarketingConsent};
use super::state::{CustomerRow, CustomersState};
use crate::book::{Capability, Defect, Scope, States, Store, Table, TableRights, TableRole};
use crate::database::{
    Listed, ReadPart, Selection, StoreError, Traced as _, WritePart, read_page, selection, sent_as, write_part,
};
use crate::ids::{AccountId, CustomerId, ProgramId};

/// The tables of customers.
const TABLES: &[Table] = &[
    Table::source("customers", TableRights::AppendChangeAndRemove).with_strays(&[
        "SELECT n.account_id, 'a name of a customer belongs to an account without that dossier'
         FROM names n JOIN accounts a ON a.account_id = n.account_id
         LEFT JOIN customers c ON c.account_id = n.account_id AND c.program_id = n.program_id AND c.customer_id = n.name
         WHERE n.space = 'customer' AND c.account_id IS NULL",
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
    Table { name: "retention_rounds", role: TableRole::Report, rights: TableRights::AppendAndChange, strays: &[] },
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
        .with_strays(&["SELECT t.account_id, 'a tombstone without an erasure'
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
            dossier: serde_json::from_value(raw.dossier).map_err(|error| damaged(error.to_string()))?,
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

/// A consent as Postgres returns it.
#[derive(sqlx::Decode)]
struct RawConsent {
    account_id: Uuid,
    channel: String,
    granted: bool,
    source: String,
    decided_at: jiff_sqlx::Timestamp,
}

impl RawConsent {
    fn parse(self) -> Result<(AccountId, MarketingConsent), StoreError> {
        let Self { account_id, channel, granted, source, decided_at } = self;
        let channel = MarketingChannel::from_stored(&channel)
            .ok_or_else(|| Defect::new(format!("a consent of account {account_id}: unknown channel {channel:?}")))?;
        Ok((AccountId(account_id), MarketingConsent { channel, granted, decided_at: decided_at.to_jiff(), source }))
    }
}

/// The channels as they are stored. Of others, which a newer version may know, nothing is read.
fn channels() -> Vec<&'static str> {
    MarketingChannel::ALL.iter().map(|channel| channel.as_str()).collect()
}

/// The consents of accounts that hold: of each channel the one decided last, and of those the one recorded last.
fn current_consents_of(accounts: &[AccountId]) -> Selection<RawConsent> {
    let (ids, channels): (Vec<Uuid>, _) = (accounts.iter().map(|account| account.0).collect(), channels());
    selection!(
        "marketing_consents",
        RawConsent,
        "SELECT m.account_id, m.channel, m.granted, m.source, m.decided_at
           FROM unnest($1::uuid[]) AS u (account_id) CROSS JOIN unnest($2::text[]) AS k (channel)
           CROSS JOIN LATERAL (
               SELECT * FROM marketing_consents c WHERE c.account_id = u.account_id AND c.channel = k.channel
               ORDER BY c.decided_at DESC, c.revision DESC, c.position DESC LIMIT 1
           ) m",
        [ids, channels],
    )
}

/// The consents of accounts that hold.
///
/// # Errors
/// If the database cannot be read.
pub(super) async fn read_current_consents(
    connection: &mut PgConnection,
    accounts: &[AccountId],
) -> Result<Vec<(AccountId, MarketingConsent)>, StoreError> {
    current_consents_of(accounts).fetch(connection).await?.into_iter().map(RawConsent::parse).collect()
}

/// The consents of an account, at most `limit`: those decided last, the last first.
///
/// # Errors
/// If the database cannot be read.
pub(super) async fn read_consents_of(
    connection: &mut PgConnection,
    account_id: AccountId,
    limit: i64,
) -> Result<Vec<MarketingConsent>, StoreError> {
    let rows = sqlx::query_as!(
        RawConsent,
        r#"SELECT m.account_id, m.channel, m.granted, m.source, m.decided_at
           FROM unnest($2::text[]) AS k (channel)
           CROSS JOIN LATERAL (
               SELECT * FROM marketing_consents c WHERE c.account_id = $1 AND c.channel = k.channel
               ORDER BY c.decided_at DESC, c.revision DESC, c.position DESC LIMIT $3
           ) m
           ORDER BY m.decided_at DESC, m.revision DESC, m.position DESC LIMIT $3"#,
        account_id.0,
        &channels() as _,
        limit,
    )
    .fetch_all(connection)
    .traced("SELECT marketing_consents")
    .await?;
    rows.into_iter().map(|row| Ok(row.parse()?.1)).collect()
}

/// Which of these consents were recorded before.
async fn find_recorded(
    connection: &mut PgConnection,
    asked: &[(AccountId, MarketingConsent)],
) -> Result<BTreeMap<AccountId, Vec<MarketingConsent>>, StoreError> {
    let accounts: Vec<Uuid> = asked.iter().map(|(account_id, _)| account_id.0).collect();
    let channels: Vec<&str> = asked.iter().map(|(_, consent)| consent.channel.as_str()).collect();
    let granted: Vec<bool> = asked.iter().map(|(_, consent)| consent.granted).collect();
    let sources: Vec<&str> = asked.iter().map(|(_, consent)| consent.source.as_str()).collect();
    let decided: Vec<_> = asked.iter().map(|(_, consent)| consent.decided_at.to_sqlx()).collect();
    let rows = sqlx::query_as!(
        RawConsent,
        r#"SELECT u.account_id AS "account_id!", u.channel AS "channel!", u.granted AS "granted!", u.source AS "source!",
                  u.decided_at AS "decided_at!"
           FROM unnest($1::uuid[], $2::text[], $3::bool[], $4::text[], $5::timestamptz[])
               AS u (account_id, channel, granted, source, decided_at)
           WHERE EXISTS (
               SELECT FROM marketing_consents c
               WHERE c.account_id = u.account_id AND c.channel = u.channel AND c.decided_at = u.decided_at
                 AND c.granted = u.granted AND c.source = u.source
           )"#,
        &accounts,
        &channels as _,
        &granted,
        &sources as _,
        &decided,
    )
    .fetch_all(connection)
    .traced("SELECT marketing_consents")
    .await?;
    let mut recorded = BTreeMap::<AccountId, Vec<MarketingConsent>>::new();
    for row in rows {
        let (account_id, consent) = row.parse()?;
        recorded.entry(account_id).or_default().push(consent);
    }
    Ok(recorded)
}

fn upsert_customers<'a>(rows: impl Iterator<Item = &'a CustomerRow>) -> Result<WritePart, Defect> {
    let mut sent = Vec::new();
    for row in rows {
        let defect = |error| Defect::new(format!("the dossier of account {}: {error}", row.account_id.0));
        sent.push(RawCustomer {
            account_id: row.account_id.0,
            program_id: row.program_id.to_string(),
            customer_id: row.customer_id.to_string(),
            dossier: serde_json::to_value(&row.dossier).map_err(defect)?,
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

fn delete_consents(accounts: &BTreeSet<AccountId>) -> WritePart {
    write_part!("DELETE FROM marketing_consents WHERE account_id = ANY($1::uuid[])", ids(accounts))
}

fn ids(accounts: &BTreeSet<AccountId>) -> Vec<Uuid> {
    accounts.iter().map(|account_id| account_id.0).collect()
}

/// A consent as it is sent.
#[derive(sqlx::Encode)]
struct SentConsent {
    account_id: Uuid,
    revision: i64,
    position: i32,
    channel: &'static str,
    granted: bool,
    source: String,
    decided_at: jiff_sqlx::Timestamp,
}

sent_as!(SentConsent, "sent_consent");

fn insert_consents(consents: &[(AccountId, i64, MarketingConsent)]) -> WritePart {
    let rows = (0..).zip(consents).map(|(position, (account_id, revision, consent))| SentConsent {
        account_id: account_id.0,
        revision: *revision,
        position,
        channel: consent.channel.as_str(),
        granted: consent.granted,
        source: consent.source.clone(),
        decided_at: consent.decided_at.to_sqlx(),
    });
    write_part!(
        "INSERT INTO marketing_consents (account_id, revision, position, channel, granted, source, decided_at)
         SELECT * FROM unnest($1::sent_consent[])",
        rows.collect::<Vec<SentConsent>>(),
    )
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
