//! What is stored about the next accounts, read together.

use std::collections::BTreeMap;

use sqlx::PgConnection;
use uuid::Uuid;

use super::store::{read_balances, scan};
use crate::book::{Account, Capabilities, States};
use crate::database::StoreError;
use crate::error::Defect;
use crate::ids::AccountId;

/// The most accounts whose rows are held at a time.
const MAX_ACCOUNTS: i64 = 1_000;
/// The most entries that these accounts may have together. An account with more is held alone.
const MAX_ENTRIES: i64 = 100_000;

/// Rows that cannot be understood.
pub(super) struct Unreadable {
    /// Why, for people.
    pub(super) why: String,
    /// Whether a newer version may understand them.
    pub(super) is_newer: bool,
}

impl From<StoreError> for Unreadable {
    fn from(error: StoreError) -> Self {
        let is_newer = matches!(&error, StoreError::Defect(defect) if defect.is_unknown());
        Self { why: error.to_string(), is_newer }
    }
}

/// What is stored about some accounts that follow each other.
pub(super) struct Chunk {
    pub(super) after: AccountId,
    pub(super) up_to: AccountId,
    pub(super) heads: BTreeMap<AccountId, Account>,
    pub(super) states: States,
    /// Accounts whose rows were read by themselves, because those of the chunk could not be.
    pub(super) apart: BTreeMap<AccountId, States>,
    /// Accounts whose rows or heads cannot be understood, and why.
    pub(super) unreadable: BTreeMap<AccountId, Unreadable>,
}

impl Chunk {
    /// Reads what is stored about the next accounts.
    pub(super) async fn load(
        connection: &mut PgConnection,
        capabilities: &Capabilities,
        after: AccountId,
    ) -> Result<Self, StoreError> {
        let mut rows = scan::scan_accounts(connection, after, MAX_ACCOUNTS).await?;
        let is_last = i64::try_from(rows.len()).is_ok_and(|count| count < MAX_ACCOUNTS);
        let count = count_fitting(&rows);
        let up_to = match rows.get(count - 1) {
            Some((account_id, _)) if count < rows.len() || !is_last => *account_id,
            // Entries of accounts without a head may come after the last head.
            _ => AccountId(Uuid::max()),
        };
        rows.truncate(count);
        let ids: Vec<AccountId> = rows.iter().map(|(account_id, _)| *account_id).collect();
        let mut chunk = Self {
            after,
            up_to,
            heads: BTreeMap::new(),
            states: capabilities.new_projections(),
            apart: BTreeMap::new(),
            unreadable: BTreeMap::new(),
        };
        for (account_id, head) in rows {
            match head {
                Ok(head) => drop(chunk.heads.insert(account_id, head)),
                Err(defect) => drop(chunk.unreadable.insert(account_id, StoreError::from(defect).into())),
            }
        }
        for (account_id, seq, balance) in read_balances(connection, &ids).await? {
            if let Some(head) = chunk.heads.get_mut(&account_id) {
                head.balances.push((seq, balance));
            }
        }
        match capabilities.load_whole(&mut chunk.states, &ids, connection).await {
            Ok(()) => {}
            Err(error) if error.is_of_a_row() => chunk.load_apart(connection, capabilities, &ids).await?,
            Err(error) => return Err(error),
        }
        Ok(chunk)
    }

    /// Reads each account's rows by themselves, to find those that cannot be understood.
    async fn load_apart(
        &mut self,
        connection: &mut PgConnection,
        capabilities: &Capabilities,
        ids: &[AccountId],
    ) -> Result<(), StoreError> {
        self.states = capabilities.new_projections();
        for account_id in ids {
            let mut own = capabilities.new_projections();
            match capabilities.load_whole(&mut own, &[*account_id], connection).await {
                Ok(()) => drop(self.apart.insert(*account_id, own)),
                Err(error) if error.is_of_a_row() => drop(self.unreadable.insert(*account_id, error.into())),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// How many of the accounts, from the first on, have no more entries together than a chunk may have; at least one.
fn count_fitting(rows: &[(AccountId, Result<Account, Defect>)]) -> usize {
    let mut entries = 0_i64;
    let mut count = 0;
    for (_, head) in rows {
        if let Ok(account) = head {
            entries = entries.saturating_add(account.head);
        }
        if entries > MAX_ENTRIES {
            break;
        }
        count += 1;
    }
    count.max(1)
}
