//! The SQL of dossiers, and their state.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;
use uuid::Uuid;

use super::model::{Channel, Consent, Dossier};
use crate::book::{Defect, Earlier, Entry, Scope, State};
use crate::database::Traced as _;
use crate::ids::{AccountId, CustomerId, ProgramId};

/// A customer's dossier as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustomerRow {
    /// The account on the ledger.
    pub account_id: AccountId,
    /// The program.
    pub program_id: ProgramId,
    /// The business's own name of the customer.
    pub customer_id: CustomerId,
    /// Who they are.
    pub dossier: Dossier,
    /// Counts changes; the etag.
    pub revision: i64,
    /// When they were enrolled.
    pub created_at: Timestamp,
    /// When the dossier changed last.
    pub updated_at: Timestamp,
}

/// Dossiers and consents of a batch: sources of record, which no entry changes.
#[derive(Default)]
pub struct CustomersState {
    rows: BTreeMap<AccountId, CustomerRow>,
    consents: BTreeMap<AccountId, Vec<Consent>>,
    changed: BTreeSet<AccountId>,
    new_consents: Vec<(AccountId, i64, Consent)>,
}

impl CustomersState {
    /// A loaded dossier.
    #[must_use]
    pub fn get(&self, account_id: AccountId) -> Option<&CustomerRow> {
        self.rows.get(&account_id)
    }

    /// The consents recorded for an account, in the order they were recorded.
    #[must_use]
    pub fn consents(&self, account_id: AccountId) -> &[Consent] {
        self.consents.get(&account_id).map_or(&[], Vec::as_slice)
    }

    /// Puts a new or changed dossier on the state, with the consents that this revision adds.
    pub fn put(&mut self, row: CustomerRow, consents: Vec<Consent>) {
        let account_id = row.account_id;
        for consent in consents {
            self.consents.entry(account_id).or_default().push(consent.clone());
            self.new_consents.push((account_id, row.revision, consent));
        }
        self.changed.insert(account_id);
        self.rows.insert(account_id, row);
    }
}

impl State for CustomersState {
    fn load<'a>(
        &'a mut self,
        connection: &'a mut PgConnection,
        scope: &'a Scope,
        _earlier: Earlier<'a>,
    ) -> BoxFuture<'a, Result<(), sqlx::Error>> {
        Box::pin(async move {
            if scope.accounts.is_empty() {
                return Ok(());
            }
            let rows = read_customers(connection, &scope.accounts).await?;
            self.rows = rows.into_iter().map(|row| (row.account_id, row)).collect();
            for (account_id, consent) in read_consents(connection, &scope.accounts).await? {
                self.consents.entry(account_id).or_default().push(consent);
            }
            Ok(())
        })
    }

    fn apply(&mut self, _entry: &Entry) -> Result<(), Defect> {
        Ok(())
    }

    fn write<'a>(&'a mut self, connection: &'a mut PgConnection) -> BoxFuture<'a, Result<(), sqlx::Error>> {
        Box::pin(async move {
            if !self.changed.is_empty() {
                upsert_customers(connection, self.changed.iter().filter_map(|id| self.rows.get(id))).await?;
            }
            if !self.new_consents.is_empty() {
                insert_consents(connection, &self.new_consents).await?;
            }
            Ok(())
        })
    }
}

struct RawCustomer {
    account_id: Uuid,
    program_id: String,
    customer_id: String,
    dossier: serde_json::Value,
    revision: i64,
    created_at: jiff_sqlx::Timestamp,
    updated_at: jiff_sqlx::Timestamp,
}

impl TryFrom<RawCustomer> for CustomerRow {
    type Error = sqlx::Error;

    fn try_from(raw: RawCustomer) -> Result<Self, sqlx::Error> {
        Ok(Self {
            account_id: AccountId(raw.account_id),
            program_id: ProgramId::try_from(raw.program_id).map_err(|error| sqlx::Error::Decode(error.into()))?,
            customer_id: CustomerId::try_from(raw.customer_id).map_err(|error| sqlx::Error::Decode(error.into()))?,
            dossier: serde_json::from_value(raw.dossier).map_err(|error| sqlx::Error::Decode(error.into()))?,
            revision: raw.revision,
            created_at: raw.created_at.to_jiff(),
            updated_at: raw.updated_at.to_jiff(),
        })
    }
}

/// The dossiers of accounts.
///
/// # Errors
/// If the database cannot be read.
pub async fn read_customers(
    connection: &mut PgConnection,
    accounts: &[AccountId],
) -> Result<Vec<CustomerRow>, sqlx::Error> {
    let ids: Vec<Uuid> = accounts.iter().map(|account| account.0).collect();
    let rows = sqlx::query_as!(
        RawCustomer,
        "SELECT account_id, program_id, customer_id, dossier, revision, created_at, updated_at
         FROM customers WHERE account_id = ANY($1)",
        &ids,
    )
    .fetch_all(connection)
    .traced("SELECT customers")
    .await?;
    rows.into_iter().map(CustomerRow::try_from).collect()
}

/// The consents of accounts, in the order they were recorded.
///
/// # Errors
/// If the database cannot be read.
pub async fn read_consents(
    connection: &mut PgConnection,
    accounts: &[AccountId],
) -> Result<Vec<(AccountId, Consent)>, sqlx::Error> {
    let ids: Vec<Uuid> = accounts.iter().map(|account| account.0).collect();
    let rows = sqlx::query!(
        "SELECT account_id, channel, granted, source, decided_at FROM marketing_consents
         WHERE account_id = ANY($1) ORDER BY account_id, revision, position",
        &ids,
    )
    .fetch_all(connection)
    .traced("SELECT marketing_consents")
    .await?;
    rows.into_iter()
        .map(|row| {
            let channel = Channel::from_stored(&row.channel).ok_or_else(|| sqlx::Error::Decode("a channel".into()))?;
            let decided_at = row.decided_at.to_jiff();
            Ok((AccountId(row.account_id), Consent { channel, granted: row.granted, decided_at, source: row.source }))
        })
        .collect()
}

async fn upsert_customers(
    connection: &mut PgConnection,
    rows: impl Iterator<Item = &CustomerRow>,
) -> Result<(), sqlx::Error> {
    let (mut accounts, mut programs, mut names, mut dossiers) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut revisions, mut created, mut updated) = (Vec::new(), Vec::new(), Vec::new());
    for row in rows {
        accounts.push(row.account_id.0);
        programs.push(row.program_id.to_string());
        names.push(row.customer_id.to_string());
        dossiers.push(serde_json::to_value(&row.dossier).map_err(|error| sqlx::Error::Encode(error.into()))?);
        revisions.push(row.revision);
        created.push(row.created_at.to_sqlx());
        updated.push(row.updated_at.to_sqlx());
    }
    sqlx::query!(
        "INSERT INTO customers (account_id, program_id, customer_id, dossier, revision, created_at, updated_at)
         SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::jsonb[], $5::bigint[], $6::timestamptz[],
             $7::timestamptz[])
         ON CONFLICT (account_id) DO UPDATE SET dossier = excluded.dossier, revision = excluded.revision,
             updated_at = excluded.updated_at",
        &accounts,
        &programs,
        &names,
        &dossiers,
        &revisions,
        &created,
        &updated,
    )
    .execute(connection)
    .traced("INSERT customers")
    .await?;
    Ok(())
}

async fn insert_consents(
    connection: &mut PgConnection,
    consents: &[(AccountId, i64, Consent)],
) -> Result<(), sqlx::Error> {
    let accounts: Vec<Uuid> = consents.iter().map(|(account, ..)| account.0).collect();
    let revisions: Vec<i64> = consents.iter().map(|(_, revision, _)| *revision).collect();
    let positions: Vec<i32> = (0..).take(consents.len()).collect();
    let channels: Vec<&str> = consents.iter().map(|(.., consent)| consent.channel.as_str()).collect();
    let granted: Vec<bool> = consents.iter().map(|(.., consent)| consent.granted).collect();
    let sources: Vec<&str> = consents.iter().map(|(.., consent)| consent.source.as_str()).collect();
    let decided: Vec<_> = consents.iter().map(|(.., consent)| consent.decided_at.to_sqlx()).collect();
    sqlx::query!(
        "INSERT INTO marketing_consents (account_id, revision, position, channel, granted, source, decided_at)
         SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::int[], $4::text[], $5::bool[], $6::text[],
             $7::timestamptz[])",
        &accounts,
        &revisions,
        &positions,
        &channels as _,
        &granted,
        &sources as _,
        &decided,
    )
    .execute(connection)
    .traced("INSERT marketing_consents")
    .await?;
    Ok(())
}

/// Whether the program exists, and the customer's account in it.
///
/// # Errors
/// If the database cannot be read.
pub async fn find_account(
    connection: &mut PgConnection,
    program_id: &ProgramId,
    customer_id: &CustomerId,
) -> Result<Option<Option<AccountId>>, sqlx::Error> {
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
pub async fn list_customers(
    connection: &mut PgConnection,
    program_id: &ProgramId,
    after: Option<&str>,
    limit: i64,
) -> Result<Vec<CustomerRow>, sqlx::Error> {
    let rows = sqlx::query_as!(
        RawCustomer,
        "SELECT account_id, program_id, customer_id, dossier, revision, created_at, updated_at
         FROM customers WHERE program_id = $1 AND customer_id > $2 ORDER BY customer_id LIMIT $3",
        program_id.as_str(),
        after.unwrap_or(""),
        limit,
    )
    .fetch_all(connection)
    .traced("SELECT customers")
    .await?;
    rows.into_iter().map(CustomerRow::try_from).collect()
}
