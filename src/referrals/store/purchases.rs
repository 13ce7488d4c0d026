//! The SQL of a referee's purchases.

use async_trait::async_trait;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::book::store::{into_entries, select_entries};
use crate::book::{Entry, Scope, States, Store};
use crate::database::{StoreError, Traced as _};
use crate::ids::AccountId;
use crate::referrals::purchases::PurchasesState;

/// Reads entries of the ledger, and writes nothing.
pub(super) struct PurchasesStore;

#[async_trait]
impl Store for PurchasesStore {
    async fn load(&self, states: &mut States, scope: &Scope, connection: &mut PgConnection) -> Result<(), StoreError> {
        let state: &mut PurchasesState = states.get_mut()?;
        for entry in read_purchases_of_pending(connection, &scope.accounts).await? {
            state.add(&entry);
        }
        Ok(())
    }

    async fn write(&self, _states: &States, _connection: &mut PgConnection) -> Result<(), StoreError> {
        Ok(())
    }
}

async fn read_purchases_of_pending(
    connection: &mut PgConnection,
    accounts: &[AccountId],
) -> Result<Vec<Entry>, StoreError> {
    let ids: Vec<Uuid> = accounts.iter().map(|account| account.0).collect();
    let rows = select_entries!(
        "FROM referrals r
         JOIN ledger_entries e ON e.account_id = r.account_id AND e.account_seq > r.created_seq
          AND e.kind = 'activity_accepted'
         WHERE r.account_id = ANY($1) AND r.state = 'pending' ORDER BY e.account_id, e.account_seq",
        &ids,
    )
    .fetch_all(connection)
    .traced("SELECT ledger_entries")
    .await?;
    into_entries(rows)
}
