//! The purchases of a referee, read again where a referral is converted by hand.

use std::collections::BTreeMap;

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::book::store::EntryRow;
use crate::book::{Defect, Detail, Earlier, Entry, Scope, State};
use crate::database::Traced as _;
use crate::ids::{AccountId, EntryId};

/// A purchase as the ledger tells it.
#[derive(Clone, Copy, Debug)]
pub struct Purchase {
    /// The entry that accepted it.
    pub id: EntryId,
    /// Money spent, in minor units.
    pub spend: i64,
    /// When the customer made it.
    pub happened_at: Timestamp,
}

/// The purchases of accounts since they were referred, in the order they were accepted: only for converting by hand.
#[derive(Default)]
pub struct PurchasesState(BTreeMap<AccountId, Vec<Purchase>>);

impl PurchasesState {
    /// An account's purchases, in the order they were accepted.
    #[must_use]
    pub fn purchases(&self, account_id: AccountId) -> &[Purchase] {
        self.0.get(&account_id).map_or(&[], Vec::as_slice)
    }

    fn add(&mut self, entry: &Entry) {
        if let Detail::ActivityAccepted { spend, happened_at, .. } = entry.detail {
            let purchase = Purchase { id: entry.id, spend, happened_at };
            self.0.entry(entry.id.account_id).or_default().push(purchase);
        }
    }
}

impl State for PurchasesState {
    fn load<'a>(
        &'a mut self,
        connection: &'a mut PgConnection,
        scope: &'a Scope,
        _earlier: Earlier<'a>,
    ) -> BoxFuture<'a, Result<(), sqlx::Error>> {
        Box::pin(async move {
            for entry in read_purchases_of_pending(connection, &scope.accounts).await? {
                self.add(&entry);
            }
            Ok(())
        })
    }

    fn apply(&mut self, entry: &Entry) -> Result<(), Defect> {
        self.add(entry);
        Ok(())
    }

    fn write<'a>(&'a mut self, _connection: &'a mut PgConnection) -> BoxFuture<'a, Result<(), sqlx::Error>> {
        Box::pin(async { Ok(()) })
    }
}

async fn read_purchases_of_pending(
    connection: &mut PgConnection,
    accounts: &[AccountId],
) -> Result<Vec<Entry>, sqlx::Error> {
    let ids: Vec<Uuid> = accounts.iter().map(|account| account.0).collect();
    let rows = sqlx::query_as!(
        EntryRow,
        "SELECT e.account_id, e.account_seq, e.program_id, e.from_pocket, e.to_pocket, e.points, e.detail,
                e.command_id, e.key_hash, e.fingerprint, e.actor, e.reason, e.policy_version, e.causes,
                e.trace_id, e.effective_at, e.recorded_at, e.content_hash
         FROM referrals r
         JOIN ledger_entries e ON e.account_id = r.account_id AND e.account_seq > r.created_seq
          AND e.kind = 'activity_accepted'
         WHERE r.account_id = ANY($1) AND r.state = 'pending' ORDER BY e.account_id, e.account_seq",
        &ids,
    )
    .fetch_all(connection)
    .traced("SELECT ledger_entries")
    .await?;
    rows.into_iter().map(Entry::try_from).collect()
}
