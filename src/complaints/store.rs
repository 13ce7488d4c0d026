//! The SQL of complaints.

mod metrics;
mod reads;
mod rows;

use std::collections::BTreeSet;

use async_trait::async_trait;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;
use uuid::Uuid;

use self::rows::{ComplaintRow, OwnerRow, StepSent, keyed_parts, named_parts, open_part, whole_parts};
use super::state::ComplaintsState;
use crate::book::{Capability, Depth, Scope, States, Store, Table, TableRights};
use crate::database::{ReadPart, StoreError, WritePart, sent_as, write_part};
use crate::ids::{AccountId, ProgramId};
use crate::programs::Catalogue;

pub(super) use metrics::{Counted, count};
pub(super) use reads::{DueFilter, DueRow, list_complaints, list_due, read_owner, read_steps};

/// The tables of complaints.
const TABLES: &[Table] = &[
    Table::source("complaint_owners", TableRights::AppendChangeAndRemove).with_strays(&[
        "SELECT t.account_id, format('the owner of complaint %s, which does not exist', t.opened_seq)
         FROM complaint_owners t
         WHERE NOT EXISTS (
             SELECT FROM complaints c WHERE c.account_id = t.account_id AND c.opened_seq = t.opened_seq
         )",
    ]),
    Table::projection("complaint_steps", "format('complaint step of entry %s', account_seq)"),
    Table::projection("complaints", "format('complaint of entry %s', opened_seq)"),
];

/// The room as the book knows it. Versions of programs that are read are remembered in `catalogue`.
#[must_use]
pub(crate) fn capability(catalogue: Catalogue) -> Capability {
    Capability::new(ComplaintsState::default, ComplaintsStore { catalogue }, TABLES)
}

struct ComplaintsStore {
    catalogue: Catalogue,
}

#[async_trait]
impl Store for ComplaintsStore {
    fn read_parts(&self, states: &States, scope: &Scope) -> Result<Vec<ReadPart<States>>, StoreError> {
        let state: &ComplaintsState = states.get()?;
        if scope.depth == Depth::Whole {
            let accounts: Vec<Uuid> = scope.accounts.iter().map(|account| account.0).collect();
            return Ok(whole_parts(accounts));
        }
        let needed: BTreeSet<AccountId> = state.asked.iter().chain(&scope.due).copied().collect();
        let mut parts = Vec::new();
        if !needed.is_empty() {
            parts.push(open_part(needed));
        }
        if !state.asked_complaints.is_empty() {
            parts.extend(named_parts(&state.asked_complaints));
        }
        if !state.asked_keys.is_empty() {
            parts.extend(keyed_parts(&state.asked_keys));
        }
        Ok(parts)
    }

    /// Reads the versions that clocks of these complaints were started by, where commands take steps of them.
    async fn load(&self, states: &mut States, _scope: &Scope, connection: &mut PgConnection) -> Result<(), StoreError> {
        let state: &mut ComplaintsState = states.get_mut()?;
        let named = state.asked_complaints.iter().filter_map(|key| state.complaints.get(key));
        let keys: BTreeSet<(ProgramId, i32)> = named.map(|it| (it.program_id.clone(), it.policy_version)).collect();
        let keys: Vec<(ProgramId, i32)> = keys.into_iter().collect();
        for version in self.catalogue.read(connection, &keys).await? {
            state.versions.insert((version.program.program_id.clone(), version.version), version);
        }
        Ok(())
    }

    fn write_parts(&self, states: &States) -> Result<Vec<WritePart>, StoreError> {
        let state: &ComplaintsState = states.get()?;
        let changed = state.changed.iter().filter_map(|key| Some(ComplaintRow::new(*key, state.complaints.get(key)?)));
        let steps = state.new_steps.iter().filter_map(|key| Some(StepSent::new(*key, state.steps.get(key)?)));
        let ended =
            state.ended.iter().map(|(account_id, at)| EndedRow { account_id: account_id.0, ended_at: at.to_sqlx() });
        let owners = state.changed_owners.iter().filter_map(|(account_id, opened_seq)| {
            let owner = state.owners.get(&(*account_id, *opened_seq))?.clone();
            Some(OwnerRow { account_id: account_id.0, opened_seq: *opened_seq, owner })
        });
        let erased: Vec<Uuid> = state.erased.iter().map(|account_id| account_id.0).collect();
        Ok(vec![
            upsert_complaints(changed.collect()),
            insert_steps(steps.collect()),
            end_unseen(ended.collect()),
            upsert_owners(owners.collect()),
            write_part!("DELETE FROM complaint_owners WHERE account_id = ANY($1::uuid[])", erased),
        ])
    }
}

/// Whose customer is erased, and when.
#[derive(sqlx::Encode)]
struct EndedRow {
    account_id: Uuid,
    ended_at: jiff_sqlx::Timestamp,
}

sent_as!(EndedRow, "sent_complaint_end");

fn upsert_complaints(rows: Vec<ComplaintRow>) -> WritePart {
    write_part!(
        "INSERT INTO complaints AS c (account_id, opened_seq, program_id, category_id, priority, channel, value_class_id, state, received_at,
             clock_started_at, policy_version, acknowledged_at, answered_at, paused_from, paused_until, acknowledge_by, answer_by,
             resolve_by, extended, late_since, missed, escalated, remedy, remedy_value, offered_at, resolved_at, outcome,
             handling_score, reopened, steps, ended_at)
         SELECT * FROM unnest($1::sent_complaint[])
         ON CONFLICT (account_id, opened_seq) DO UPDATE SET
             category_id = excluded.category_id, priority = excluded.priority,
             value_class_id = excluded.value_class_id, state = excluded.state,
             clock_started_at = excluded.clock_started_at, policy_version = excluded.policy_version,
             acknowledged_at = excluded.acknowledged_at, answered_at = excluded.answered_at, paused_from = excluded.paused_from,
             paused_until = excluded.paused_until, acknowledge_by = excluded.acknowledge_by, answer_by = excluded.answer_by,
             resolve_by = excluded.resolve_by, extended = excluded.extended, late_since = excluded.late_since,
             missed = excluded.missed, escalated = excluded.escalated, remedy = excluded.remedy,
             remedy_value = excluded.remedy_value, offered_at = excluded.offered_at, resolved_at = excluded.resolved_at,
             outcome = excluded.outcome, handling_score = excluded.handling_score, reopened = excluded.reopened,
             steps = excluded.steps, ended_at = excluded.ended_at",
        rows,
    )
}

fn insert_steps(rows: Vec<StepSent>) -> WritePart {
    write_part!(
        "INSERT INTO complaint_steps (account_id, account_seq, opened_seq, program_id, taken_at, kind, category_id, acknowledged,
             answered, took, was_late, missed, outcome, handling_score)
         SELECT * FROM unnest($1::sent_complaint_step[])",
        rows,
    )
}

/// Ends the open complaints of customers who are erased, of which none was read.
fn end_unseen(rows: Vec<EndedRow>) -> WritePart {
    write_part!(
        "UPDATE complaints AS c
         SET ended_at = u.ended_at, acknowledge_by = NULL, answer_by = NULL, resolve_by = NULL
         FROM unnest($1::sent_complaint_end[]) AS u
         WHERE c.account_id = u.account_id AND c.resolved_at IS NULL AND c.ended_at IS NULL",
        rows,
    )
}

fn upsert_owners(rows: Vec<OwnerRow>) -> WritePart {
    write_part!(
        "INSERT INTO complaint_owners AS o (account_id, opened_seq, owner)
         SELECT * FROM unnest($1::sent_complaint_owner[])
         ON CONFLICT (account_id, opened_seq) DO UPDATE SET owner = excluded.owner",
        rows,
    )
}
