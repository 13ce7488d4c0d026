//! The SQL of value classes.

mod pages;
mod rounds;
mod rows;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;
use uuid::Uuid;

pub(super) use self::pages::{Candidate, read_page};
pub(super) use self::rounds::{Round, lease_round, move_round, read_round, renew_lease};
use self::rows::{ClassRowSent, ClassificationSent, all_classes_of, all_classifications_of, last_classes_of};
use super::state::{ClassRow, ClassesState};
use crate::book::store::read_entry;
use crate::book::{Capability, Defect, Depth, Entry, Scope, States, Store, Table, TableRights};
use crate::database::{ReadPart, StoreError, Traced as _, WritePart, write_part};
use crate::ids::{AccountId, EntryId, ProgramId};

/// The tables of value classes.
const TABLES: &[Table] = &[
    Table::projection("value_classes", "format('value class of entry %s', account_seq)"),
    Table::projection("classifications", "format('classification of entry %s', account_seq)"),
    Table::report("classification_rounds", TableRights::AppendAndChange),
];

/// Value classes as the book knows them.
#[must_use]
pub(crate) fn classes_capability() -> Capability {
    Capability::new(ClassesState::default, ClassesStore, TABLES)
}

struct ClassesStore;

impl Store for ClassesStore {
    fn read_parts(&self, _states: &States, scope: &Scope) -> Result<Vec<ReadPart<States>>, StoreError> {
        let accounts: Vec<Uuid> = scope.accounts.iter().map(|account| account.0).collect();
        Ok(match scope.depth {
            Depth::Whole => vec![all_classes_of(accounts.clone()), all_classifications_of(accounts)],
            Depth::Asked | Depth::Due => vec![last_classes_of(accounts)],
        })
    }

    fn write_parts(&self, states: &States) -> Result<Vec<WritePart>, StoreError> {
        let ClassesState { rows, new, classifications, new_classifications } = states.get()?;
        let classes = new.iter().filter_map(|key| Some(ClassRowSent::new(*key, rows.get(key)?)));
        let told = new_classifications.iter();
        let told = told.filter_map(|key| Some(ClassificationSent::new(*key, classifications.get(key)?)));
        Ok(vec![
            write_part!(
                "INSERT INTO value_classes (account_id, account_seq, program_id, class_id, level, until, since, decided_at,
                     policy_version, measured, ends_below)
                 SELECT * FROM unnest($1::sent_value_class[])",
                classes.collect::<Vec<ClassRowSent>>(),
            ),
            write_part!(
                "INSERT INTO classifications (account_id, account_seq, program_id, until, effective_at)
                 SELECT * FROM unnest($1::sent_classification[])",
                told.collect::<Vec<ClassificationSent>>(),
            ),
        ])
    }
}

/// The last decision about a customer, by one of the account's entries if one is said, and the database's time.
///
/// # Errors
/// If the database cannot be read.
pub(super) async fn find_class(
    connection: &mut PgConnection,
    account_id: AccountId,
    last: Option<i64>,
) -> Result<(Option<(EntryId, ClassRow)>, Timestamp), StoreError> {
    let row = sqlx::query!(
        r#"SELECT v.account_seq AS "account_seq?", v.program_id AS "program_id?", v.class_id AS "class_id?", v.level,
                  v.until AS "until?: jiff_sqlx::Date", v.since AS "since?: jiff_sqlx::Timestamp", v.decided_at AS "decided_at?: jiff_sqlx::Timestamp",
                  v.policy_version AS "policy_version?", v.measured AS "measured?", v.ends_below AS "ends_below?",
                  clock_timestamp() AS "told!: jiff_sqlx::Timestamp"
           FROM (SELECT) AS one LEFT JOIN LATERAL (
               SELECT * FROM value_classes f
               WHERE f.account_id = $1 AND f.account_seq <= $2
               ORDER BY f.account_seq DESC LIMIT 1
           ) v ON TRUE"#,
        account_id.0,
        last.unwrap_or(i64::MAX),
    )
    .fetch_one(connection)
    .traced("SELECT value_classes")
    .await?;
    let told = row.told.to_jiff();
    let stored = || {
        Some(ClassRowSent {
            account_id: account_id.0,
            account_seq: row.account_seq?,
            program_id: row.program_id?,
            class_id: row.class_id?,
            level: row.level,
            until: row.until?,
            since: row.since?,
            decided_at: row.decided_at?,
            policy_version: row.policy_version?,
            measured: row.measured?,
            ends_below: row.ends_below?,
        })
    };
    let found =
        stored().map(|row| Ok::<_, Defect>((EntryId { account_id, account_seq: row.account_seq }, row.try_into()?)));
    Ok((found.transpose()?, told))
}

/// The entry by which the customers of a program were classed: at an end, or last of all.
///
/// # Errors
/// If the database cannot be read.
pub(super) async fn find_classification(
    connection: &mut PgConnection,
    program_id: &ProgramId,
    until: Option<Date>,
) -> Result<Option<Entry>, StoreError> {
    let row = sqlx::query!(
        "SELECT account_id, account_seq FROM classifications
         WHERE program_id = $1 AND ($2::date IS NULL OR until = $2) ORDER BY account_seq DESC LIMIT 1",
        program_id.as_str(),
        until.map(|until| until.to_sqlx()) as _,
    )
    .fetch_optional(&mut *connection)
    .traced("SELECT classifications")
    .await?;
    let Some(row) = row else { return Ok(None) };
    let entry_id = EntryId { account_id: AccountId(row.account_id), account_seq: row.account_seq };
    Ok(Some(read_entry(connection, entry_id).await?))
}
