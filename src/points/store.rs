//! The SQL of lots and what goes with them, and of notes beside entries.

mod earned;
mod load;
mod lots;
mod reads;
mod rows;
mod writes;

use std::any::TypeId;

use async_trait::async_trait;
use sqlx::PgConnection;

use super::state::PointsState;
use crate::book::{Capability, Scope, States, Store, Table, TableRights};
use crate::database::{Part, StoreError};
use crate::programs::state::ProgramsState;

pub(super) use reads::{FoundBalance, fetch_balances, find_lot_back, list_lot_uses, list_lots, read_upcoming};

/// The tables of points.
const TABLES: &[Table] = &[
    Table::projection("lots", "format('lot %s', lot_seq)"),
    Table::projection("lot_uses", "format('uses of lot %s up to entry %s', lot_seq, last_seq)"),
    Table::projection("holds", "format('hold %s', hold_seq)"),
    Table::projection("earnings", "'earnings'"),
    Table::projection("reversals", "format('reversal of entry %s', entry_seq)"),
    Table::source("entry_notes", TableRights::Append).with_strays(&[
        "SELECT t.account_id, format('a note beside entry %s, which does not exist', t.account_seq)
         FROM entry_notes t
         LEFT JOIN ledger_entries e ON e.account_id = t.account_id AND e.account_seq = t.account_seq
         WHERE e.account_id IS NULL",
    ]),
];

/// The room as the book knows it. Its state is loaded behind that of programs.
#[must_use]
pub(crate) fn capability() -> Capability {
    Capability::new(PointsState::default, PointsStore, TABLES)
}

struct PointsStore;

#[async_trait]
impl Store for PointsStore {
    fn reads(&self) -> Vec<TypeId> {
        vec![TypeId::of::<ProgramsState>()]
    }

    async fn load(&self, states: &mut States, scope: &Scope, connection: &mut PgConnection) -> Result<(), StoreError> {
        if scope.accounts.is_empty() {
            return Ok(());
        }
        let programs: &ProgramsState = states.get_loaded()?;
        let keeps_earnings = load::keeps_earnings(scope, programs);
        let versions = load::capped_versions(scope, programs);
        let state = states.get_mut()?;
        load::load(state, keeps_earnings, scope, connection).await?;
        if !versions.is_empty() {
            earned::load(state, &versions, connection).await?;
        }
        Ok(())
    }

    fn parts(&self, states: &States) -> Result<Vec<Part>, StoreError> {
        let state: &PointsState = states.get()?;
        Ok(writes::lot_parts(&state.lots)?)
    }

    async fn write(&self, states: &States, connection: &mut PgConnection) -> Result<(), StoreError> {
        let state: &PointsState = states.get()?;
        writes::write(connection, &state.lots).await?;
        if !state.notes.is_empty() {
            writes::insert_notes(connection, &state.notes).await?;
        }
        Ok(())
    }
}
