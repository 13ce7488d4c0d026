//! Rows of value classes, as they are stored and sent.

use jiff_sqlx::ToSqlx as _;
use uuid::Uuid;

use crate::book::{Defect, RelationshipLevel, States};
use crate::database::{ReadPart, StoreError, selection, sent_as};
use crate::ids::{AccountId, ProgramId, ValueClassId};
use crate::value::classes::model::Held;
use crate::value::classes::state::{ClassRow, ClassesState, ClassificationRow};

/// A decision as it is stored, and as it is sent.
#[derive(sqlx::Encode, sqlx::Decode)]
pub(super) struct ClassRowSent {
    pub(super) account_id: Uuid,
    pub(super) account_seq: i64,
    pub(super) program_id: String,
    pub(super) class_id: String,
    pub(super) level: Option<String>,
    pub(super) until: jiff_sqlx::Date,
    pub(super) since: jiff_sqlx::Timestamp,
    pub(super) decided_at: jiff_sqlx::Timestamp,
    pub(super) policy_version: i32,
    pub(super) measured: i64,
    pub(super) ends_below: i32,
}

sent_as!(ClassRowSent, "sent_value_class");

impl ClassRowSent {
    pub(super) fn new((account_id, account_seq): (AccountId, i64), row: &ClassRow) -> Self {
        Self {
            account_id: account_id.0,
            account_seq,
            program_id: row.program_id.to_string(),
            class_id: row.held.class_id.to_string(),
            level: row.held.level.map(|level| level.as_str().to_owned()),
            until: row.until.to_sqlx(),
            since: row.since.to_sqlx(),
            decided_at: row.decided_at.to_sqlx(),
            policy_version: row.policy_version,
            measured: row.measured,
            ends_below: row.held.ends_below,
        }
    }
}

/// What a customer has, as it is stored.
///
/// # Errors
/// If it is nothing that the program can have meant.
pub(super) fn held_of(
    account_id: Uuid,
    class_id: String,
    level: Option<String>,
    ends_below: i32,
) -> Result<Held, Defect> {
    let defect = |error: &str| Defect::new(format!("the value class of account {account_id}: {error}"));
    let level = level.map(|word| RelationshipLevel::from_stored(&word).ok_or_else(|| defect("its level is unknown")));
    let class_id = ValueClassId::try_from(class_id).map_err(defect)?;
    Ok(Held { class_id, level: level.transpose()?, ends_below })
}

impl TryFrom<ClassRowSent> for ClassRow {
    type Error = Defect;

    fn try_from(row: ClassRowSent) -> Result<Self, Defect> {
        let defect = |error: &str| Defect::new(format!("the value class of account {}: {error}", row.account_id));
        Ok(Self {
            program_id: ProgramId::try_from(row.program_id).map_err(defect)?,
            held: held_of(row.account_id, row.class_id, row.level, row.ends_below)?,
            until: row.until.to_jiff(),
            since: row.since.to_jiff(),
            decided_at: row.decided_at.to_jiff(),
            policy_version: row.policy_version,
            measured: row.measured,
        })
    }
}

/// A classification as it is stored, and as it is sent.
#[derive(sqlx::Encode, sqlx::Decode)]
pub(super) struct ClassificationSent {
    account_id: Uuid,
    account_seq: i64,
    program_id: String,
    until: jiff_sqlx::Date,
    effective_at: jiff_sqlx::Timestamp,
}

sent_as!(ClassificationSent, "sent_classification");

impl ClassificationSent {
    pub(super) fn new((account_id, account_seq): (AccountId, i64), row: &ClassificationRow) -> Self {
        Self {
            account_id: account_id.0,
            account_seq,
            program_id: row.program_id.to_string(),
            until: row.until.to_sqlx(),
            effective_at: row.effective_at.to_sqlx(),
        }
    }
}

fn take_classes(states: &mut States, rows: Vec<ClassRowSent>) -> Result<(), StoreError> {
    let state: &mut ClassesState = states.get_mut()?;
    for row in rows {
        state.rows.insert((AccountId(row.account_id), row.account_seq), row.try_into()?);
    }
    Ok(())
}

/// The last decision about each of some accounts.
pub(super) fn last_classes_of(accounts: Vec<Uuid>) -> ReadPart<States> {
    let last = selection!(
        "value_classes",
        ClassRowSent,
        "SELECT v.account_id, v.account_seq, v.program_id, v.class_id, v.level, v.until, v.since, v.decided_at, v.policy_version,
             v.measured, v.ends_below
         FROM unnest($1::uuid[]) AS u (account_id)
         JOIN LATERAL (
             SELECT * FROM value_classes f WHERE f.account_id = u.account_id ORDER BY f.account_seq DESC LIMIT 1
         ) v ON TRUE",
        [accounts],
    );
    last.into_part(take_classes)
}

/// All decisions about some accounts.
pub(super) fn all_classes_of(accounts: Vec<Uuid>) -> ReadPart<States> {
    let all = selection!(
        "value_classes",
        ClassRowSent,
        "SELECT account_id, account_seq, program_id, class_id, level, until, since, decided_at, policy_version, measured, ends_below
         FROM value_classes WHERE account_id = ANY($1)",
        [accounts],
    );
    all.into_part(take_classes)
}

/// All classifications by entries of some accounts.
pub(super) fn all_classifications_of(accounts: Vec<Uuid>) -> ReadPart<States> {
    let all = selection!(
        "classifications",
        ClassificationSent,
        "SELECT account_id, account_seq, program_id, until, effective_at FROM classifications
         WHERE account_id = ANY($1)",
        [accounts],
    );
    all.into_part(|states: &mut States, rows: Vec<ClassificationSent>| {
        let state: &mut ClassesState = states.get_mut()?;
        for row in rows {
            let defect = |error: &str| {
                Defect::new(format!("classification {} of account {}: {error}", row.account_seq, row.account_id))
            };
            let key = (AccountId(row.account_id), row.account_seq);
            let classification = ClassificationRow {
                program_id: ProgramId::try_from(row.program_id).map_err(defect)?,
                until: row.until.to_jiff(),
                effective_at: row.effective_at.to_jiff(),
            };
            state.classifications.insert(key, classification);
        }
        Ok(())
    })
}
