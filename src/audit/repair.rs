//! Building an account's rows anew from its entries, while the service runs.

use futures_util::TryStreamExt as _;
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection as _, PgConnection};

use super::mentions::Mentions;
use super::model::Check;
use super::report::Report;
use super::store::{AuditError, scan};
use crate::book::Capabilities;
use crate::database::{StoreError, Traced as _, by_key, connect_alone};
use crate::ids::AccountId;

/// Repairs accounts, one at a time, each in a transaction of its own.
pub(super) struct Repairer {
    connection: PgConnection,
    capabilities: Capabilities,
}

impl Repairer {
    pub(super) async fn connect(database: &PgConnectOptions, capabilities: Capabilities) -> Result<Self, AuditError> {
        // What is read after the lock must contain what was committed while the lock was awaited.
        let isolation = [("default_transaction_isolation", "read committed")];
        let mut connection = connect_alone(&by_key(database).options(isolation)).await?;
        // The caller learns this before the ledger is read, not after.
        if !scan::owns_tables(&mut connection).await? {
            return Err(AuditError::NotOwner);
        }
        Ok(Self { connection, capabilities })
    }

    /// The connection, which sees the present.
    pub(super) const fn connection(&mut self) -> &mut PgConnection {
        &mut self.connection
    }

    /// Writes an account's head and rows as its entries say they are. Returns whether that was done: it is not where
    /// the entries are damaged, since then nobody can tell what they said.
    pub(super) async fn repair(&mut self, account_id: AccountId) -> Result<bool, StoreError> {
        let mut transaction = self.connection.begin().traced("BEGIN").await?;
        // Others who write to the account wait for this lock. After it they read what is written below.
        let head = scan::lock_account(&mut transaction, account_id).await?.unwrap_or(0);
        let mut check = Check::new(account_id, self.capabilities.new_projections());
        // The audit looks up what entries name elsewhere; a repair does not.
        let mut mentions = Mentions::default();
        let mut rows = scan::scan_entries_of(&mut transaction, account_id);
        while let Some(row) = rows.try_next().await? {
            check.check_entry(row, &mut mentions, &mut |_| {});
            mentions.clear();
        }
        drop(rows);
        let folded = check.into_folded().filter(|(account, _)| {
            // A head beyond the last entry says that entries are gone. A new head would hide that.
            account.as_ref().map_or(0, |account| account.head) >= head
        });
        let Some((account, states)) = folded else {
            transaction.rollback().traced("ROLLBACK").await?;
            return Ok(false);
        };
        self.capabilities.delete_rows(account_id, &mut transaction).await?;
        match account {
            Some(account) => {
                scan::restore_account(&mut transaction, &account).await?;
                self.capabilities.write(&states, &mut transaction).await?;
            }
            None => scan::delete_account(&mut transaction, account_id).await?,
        }
        transaction.commit().traced("COMMIT").await?;
        Ok(true)
    }
}

/// Builds the rows of accounts anew, if a repair is asked for. Each account comes with how many differences that
/// removes.
pub(super) async fn repair_all(
    repairer: Option<&mut Repairer>,
    report: &mut Report<'_>,
    differing: impl IntoIterator<Item = (AccountId, u64)>,
) -> Result<(), StoreError> {
    let Some(repairer) = repairer else { return Ok(()) };
    for (account_id, differences) in differing {
        if repairer.repair(account_id).await? {
            report.tally.repaired += 1;
            report.tally.remaining = report.tally.remaining.saturating_sub(differences);
            report.listener.repaired(account_id);
        } else {
            report.listener.not_repaired(account_id);
        }
    }
    Ok(())
}
