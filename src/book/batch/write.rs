//! The phase that writes: everything that changed, in one statement.

use sqlx::PgConnection;

use super::memory::Batch;
use crate::book::account::Account;
use crate::book::capability::Capabilities;
use crate::book::name::Name;
use crate::book::store;
use crate::database::StoreError;

impl Batch<'_> {
    /// Writes names, entries, heads, and the capabilities' rows.
    pub(super) async fn write(
        &self,
        capabilities: &Capabilities,
        connection: &mut PgConnection,
    ) -> Result<(), StoreError> {
        let unused = self.unused_names();
        if !unused.is_empty() {
            store::free_names(connection, &unused).await?;
        }
        let (opened, locked) = self.changed_accounts();
        let own = vec![
            store::insert_entries(&self.entries)?,
            store::accounts::update_accounts(&locked),
            store::accounts::insert_accounts(&opened),
            store::balances::insert_balances(opened.iter().chain(&locked).copied()),
        ];
        capabilities.write_with("INSERT ledger_entries", own, &self.states, connection).await
    }

    /// The names that this batch claimed for nothing: of accounts without entries, and those that no decision wants.
    fn unused_names(&self) -> Vec<Name> {
        let without_entries = self.opened_names.iter().filter(|name| !self.has_entries(name));
        let unwanted = self.claimed_names.difference(&self.wanted_names);
        without_entries.chain(unwanted).cloned().collect()
    }

    /// The changed accounts: the new ones, and those that are locked.
    fn changed_accounts(&self) -> (Vec<&Account>, Vec<&Account>) {
        let changed = self.changed.iter().filter_map(|account_id| self.accounts.get(account_id));
        changed.partition(|account| self.opened.contains(&account.account_id))
    }
}
