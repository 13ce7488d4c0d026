//! The SQL of a referee's purchases.

use async_trait::async_trait;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::book::store::{into_entries, select_entries};
use crate::book::{Depth, Entry, Scope, States, Store};
use crate::database::{StoreError, Traced as _};
use crate::referrals::purchases::PurchasesState;

/// Reads entries of the ledger, and writes nothing.
pub(super) struct PurchasesStore;

#[async_trait]
impl Store for PurchasesStore {
    async fn load(&self, states: &mut States, scope: &Scope, connection: &mut PgConnection) -> Result<(), StoreError> {
        let state: &mut PurchasesState = states.get_mut()?;
        for entry in read_purchases_of_pending(connection, scope).await? {
            state.add(&entry);
        }
        Ok(())
    }
}

async fn read_purchases_of_pending(connection: &mut PgConnection, scope: &Scope) -> Result<Vec<Entry>, StoreError> {
    // A fold and an audit read them all; a batch has a bound.
    let most = if scope.depth == Depth::Asked { scope.most_rows() } else { i64::MAX - 1 };
    let ids: Vec<Uuid> = scope.accounts.iter().map(|account| account.0).collect();
    let rows = select_entries!(
        "FROM unnest($1::uuid[]) AS u (account_id)
         CROSS JOIN LATERAL (
             SELECT created_seq FROM referrals r WHERE r.account_id = u.account_id AND r.state = 'pending' OFFSET 0
         ) r
         CROSS JOIN LATERAL (
             SELECT * FROM ledger_entries e
             WHERE e.account_id = u.account_id AND e.account_seq > r.created_seq AND e.kind = 'activity_accepted'
             ORDER BY e.account_seq OFFSET 0
         ) e
         LIMIT $2",
        &ids,
        most + 1,
    )
    .fetch_all(connection)
    .traced("SELECT ledger_entries")
    .await?;
    if i64::try_from(rows.len()).is_ok_and(|count| count > most) {
        return Err(StoreError::TooManyRows { most });
    }
    into_entries(rows)
}
