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
use crate::database::{ReadPart, StoreError, WritePart};
use crate::programs::state::ProgramsState;

pub(super) use reads::{
    FoundBalance, fetch_balances, find_lot_back, list_holds, list_lot_uses, list_lots, read_common_expiry,
    read_upcoming,
};

/// The tables of points.
const TABLES: &[Table] = &[
    Table::projection("lots", "format('lot %s', lot_seq)"),
    Table::projection("lot_uses", "format('uses of lot %s up to entry %s', lot_seq, last_seq)"),
    Table::projection("holds", "format('hold %s', hold_seq)"),
    Table::projection("earnings", "'earnings'"),
    Table::projection("reversals", "format('reversal of entry %s', entry_seq)"),
    Table::source("entry_notes", TableRights::AppendAndRemove).with_strays(&[
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

    fn read_parts(&self, states: &States, scope: &Scope) -> Result<Vec<ReadPart<States>>, StoreError> {
        Ok(load::parts(states.get()?, states.get_loaded()?, scope))
    }

    async fn load(&self, states: &mut States, scope: &Scope, connection: &mut PgConnection) -> Result<(), StoreError> {
        if scope.accounts.is_empty() {
            return Ok(());
        }
        let programs: &ProgramsState = states.get_loaded()?;
        let has_earnings = load::needs_earnings(states.get()?, programs, scope);
        let versions = load::capped_versions(scope, programs);
        let state: &mut PointsState = states.get_mut()?;
        state.lots.has_unread_earnings = !has_earnings;
        load::load(state, scope, connection).await?;
        if !versions.is_empty() {
            earned::load(state, &versions, scope, connection).await?;
        }
        Ok(())
    }

    fn write_parts(&self, states: &States) -> Result<Vec<WritePart>, StoreError> {
        Ok(writes::parts(states.get()?)?)
    }
}
