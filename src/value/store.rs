//! The SQL of value.

mod bought;
mod histories;
mod retention;
mod scores;

use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;
use uuid::Uuid;

use super::state::{Bought, BoughtState, Fitted, ModelsState};
use crate::book::store::read_entry;
use crate::book::{Capability, Defect, Depth, Entry, Scope, States, Store, Table};
use crate::database::{ReadPart, StoreError, Traced as _, WritePart, selection, sent_as, write_part};
use crate::ids::{AccountId, EntryId, ProgramId};

pub(super) use bought::read_bought;
pub(super) use histories::{first_day, read_histories};
pub(super) use retention::count_cohorts;
pub(super) use scores::score;

/// The table of purchases.
const TABLES: &[Table] = &[Table::projection("purchases", "format('purchase of entry %s', account_seq)")];

/// The table of models.
const MODEL_TABLES: &[Table] = &[Table::projection("value_models", "format('value model of entry %s', account_seq)")];

/// Purchases as the book knows them.
#[must_use]
pub(crate) fn capability() -> Capability {
    Capability::new(BoughtState::default, BoughtStore, TABLES)
}

/// Models of value as the book knows them.
#[must_use]
pub(crate) fn models_capability() -> Capability {
    Capability::new(ModelsState::default, ModelsStore, MODEL_TABLES)
}

struct BoughtStore;

impl Store for BoughtStore {
    // Rows are only ever added, so a batch looks at none that is stored.

    fn read_parts(&self, _states: &States, scope: &Scope) -> Result<Vec<ReadPart<States>>, StoreError> {
        if scope.depth != Depth::Whole {
            return Ok(Vec::new());
        }
        let accounts: Vec<Uuid> = scope.accounts.iter().map(|account| account.0).collect();
        let all = selection!(
            "purchases",
            BoughtRow,
            "SELECT account_id, account_seq, program_id, day, effective_at, spend, margin, visits
             FROM purchases WHERE account_id = ANY($1)",
            [accounts],
        );
        Ok(vec![all.into_part(|states: &mut States, rows: Vec<BoughtRow>| {
            let state: &mut BoughtState = states.get_mut()?;
            for row in rows {
                state.rows.insert((AccountId(row.account_id), row.account_seq), row.try_into()?);
            }
            Ok(())
        })])
    }

    fn write_parts(&self, states: &States) -> Result<Vec<WritePart>, StoreError> {
        let BoughtState { rows, new } = states.get()?;
        let sent = new.iter().filter_map(|key| Some(BoughtRow::new(*key, rows.get(key)?)));
        Ok(vec![write_part!(
            "INSERT INTO purchases (account_id, account_seq, program_id, day, effective_at, spend, margin, visits)
             SELECT * FROM unnest($1::sent_purchase[])",
            sent.collect::<Vec<BoughtRow>>(),
        )])
    }
}

/// A purchase or a refund as it is stored, and as it is sent.
#[derive(sqlx::Encode, sqlx::Decode)]
struct BoughtRow {
    account_id: Uuid,
    account_seq: i64,
    program_id: String,
    day: jiff_sqlx::Date,
    effective_at: jiff_sqlx::Timestamp,
    spend: i64,
    margin: i64,
    visits: i16,
}

sent_as!(BoughtRow, "sent_purchase");

impl BoughtRow {
    fn new((account_id, account_seq): (AccountId, i64), bought: &Bought) -> Self {
        Self {
            account_id: account_id.0,
            account_seq,
            program_id: bought.program_id.to_string(),
            day: bought.day.to_sqlx(),
            effective_at: bought.effective_at.to_sqlx(),
            spend: bought.spend,
            margin: bought.margin,
            visits: bought.visits,
        }
    }
}

impl TryFrom<BoughtRow> for Bought {
    type Error = Defect;

    fn try_from(row: BoughtRow) -> Result<Self, Defect> {
        let defect =
            |error: &str| Defect::new(format!("purchase {} of account {}: {error}", row.account_seq, row.account_id));
        Ok(Self {
            program_id: ProgramId::try_from(row.program_id).map_err(defect)?,
            day: row.day.to_jiff(),
            effective_at: row.effective_at.to_jiff(),
            spend: row.spend,
            margin: row.margin,
            visits: row.visits,
        })
    }
}

struct ModelsStore;

impl Store for ModelsStore {
    fn read_parts(&self, _states: &States, scope: &Scope) -> Result<Vec<ReadPart<States>>, StoreError> {
        if scope.depth == Depth::Whole {
            let accounts: Vec<Uuid> = scope.accounts.iter().map(|account| account.0).collect();
            let all = selection!(
                "value_models",
                FittedRow,
                "SELECT account_id, account_seq, program_id, version, effective_at
                 FROM value_models WHERE account_id = ANY($1)",
                [accounts],
            );
            return Ok(vec![all.into_part(take_all)]);
        }
        let programs: Vec<String> = scope.programs.iter().map(|program_id| program_id.as_str().to_owned()).collect();
        let latest = selection!(
            "value_models",
            FittedRow,
            "SELECT v.account_id, v.account_seq, v.program_id, v.version, v.effective_at
             FROM unnest($1::text[]) AS u (program_id)
             JOIN LATERAL (
                 SELECT * FROM value_models f WHERE f.program_id = u.program_id ORDER BY f.version DESC LIMIT 1
             ) v ON TRUE",
            [programs],
        );
        Ok(vec![latest.into_part(take_latest)])
    }

    fn write_parts(&self, states: &States) -> Result<Vec<WritePart>, StoreError> {
        let ModelsState { rows, new, .. } = states.get()?;
        let sent = new.iter().filter_map(|key| Some(FittedRow::new(*key, rows.get(key)?)));
        Ok(vec![write_part!(
            "INSERT INTO value_models (account_id, account_seq, program_id, version, effective_at)
             SELECT * FROM unnest($1::sent_value_model[])",
            sent.collect::<Vec<FittedRow>>(),
        )])
    }
}

/// A model as it is stored, and as it is sent.
#[derive(sqlx::Encode, sqlx::Decode)]
struct FittedRow {
    account_id: Uuid,
    account_seq: i64,
    program_id: String,
    version: i32,
    effective_at: jiff_sqlx::Timestamp,
}

sent_as!(FittedRow, "sent_value_model");

impl FittedRow {
    fn new((account_id, account_seq): (AccountId, i64), fitted: &Fitted) -> Self {
        Self {
            account_id: account_id.0,
            account_seq,
            program_id: fitted.program_id.to_string(),
            version: fitted.version,
            effective_at: fitted.effective_at.to_sqlx(),
        }
    }
}

fn take_all(states: &mut States, rows: Vec<FittedRow>) -> Result<(), StoreError> {
    let state: &mut ModelsState = states.get_mut()?;
    for row in rows {
        let key = (AccountId(row.account_id), row.account_seq);
        let fitted = Fitted {
            program_id: program_of(row.program_id)?,
            version: row.version,
            effective_at: row.effective_at.to_jiff(),
        };
        state.rows.insert(key, fitted);
    }
    Ok(())
}

fn take_latest(states: &mut States, rows: Vec<FittedRow>) -> Result<(), StoreError> {
    let state: &mut ModelsState = states.get_mut()?;
    for row in rows {
        state.latest.insert(program_of(row.program_id)?, row.version);
    }
    Ok(())
}

fn program_of(program_id: String) -> Result<ProgramId, Defect> {
    ProgramId::try_from(program_id).map_err(|error| Defect::new(format!("the program of a value model: {error}")))
}

/// The entry by which a program's model was fitted: of a version, or of the latest by an instant.
///
/// # Errors
/// If the database cannot be read.
pub(super) async fn find_model(
    connection: &mut PgConnection,
    program_id: &ProgramId,
    version: Option<i32>,
    as_of: Option<Timestamp>,
) -> Result<Option<Entry>, StoreError> {
    let row = sqlx::query!(
        "SELECT account_id, account_seq FROM value_models
         WHERE program_id = $1 AND ($2::integer IS NULL OR version = $2)
           AND ($3::timestamptz IS NULL OR effective_at <= $3)
         ORDER BY version DESC LIMIT 1",
        program_id.as_str(),
        version,
        as_of.map(|as_of| as_of.to_sqlx()) as _,
    )
    .fetch_optional(&mut *connection)
    .traced("SELECT value_models")
    .await?;
    let Some(row) = row else { return Ok(None) };
    let entry_id = EntryId { account_id: AccountId(row.account_id), account_seq: row.account_seq };
    Ok(Some(read_entry(connection, entry_id).await?))
}
