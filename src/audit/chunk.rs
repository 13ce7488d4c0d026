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
pub(super) const MAX_ACCOUNTS: usize = 1_000;
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
    /// The accounts in order, if others may stand between them; otherwise all accounts up to the last are meant.
    pub(super) only: Vec<AccountId>,
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
        let limit = i64::try_from(MAX_ACCOUNTS).unwrap_or(i64::MAX);
        let mut rows = scan::scan_accounts(connection, after, limit).await?;
        let is_last = rows.len() < MAX_ACCOUNTS;
        let count = count_fitting(&rows);
        let up_to = match rows.get(count - 1) {
            Some((account_id, _)) if count < rows.len() || !is_last => *account_id,
            // Entries of accounts without a head may come after the last head.
            _ => AccountId(Uuid::max()),
        };
        rows.truncate(count);
        Self::load_rows(connection, capabilities, (after, up_to), rows).await
    }

    /// Reads what is stored about some accounts, in order, or about the first of them if they have many entries. Returns
    /// the others.
    pub(super) async fn load_some(
        connection: &mut PgConnection,
        capabilities: &Capabilities,
        mut accounts: Vec<AccountId>,
    ) -> Result<(Self, Vec<AccountId>), StoreError> {
        let mut rows = scan::read_accounts(connection, &accounts).await?;
        let others = split_off_others(&mut accounts, &mut rows);
        let before = AccountId(Uuid::nil());
        let bounds = (before, accounts.last().copied().unwrap_or(before));
        let chunk = Self::load_rows(connection, capabilities, bounds, rows).await?;
        Ok((Self { only: accounts, ..chunk }, others))
    }

    async fn load_rows(
        connection: &mut PgConnection,
        capabilities: &Capabilities,
        (after, up_to): (AccountId, AccountId),
        rows: Vec<(AccountId, Result<Account, Defect>)>,
    ) -> Result<Self, StoreError> {
        let ids: Vec<AccountId> = rows.iter().map(|(account_id, _)| *account_id).collect();
        let mut chunk = Self {
            after,
            up_to,
            only: Vec::new(),
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

/// Takes the accounts away that a chunk has no room for, and their heads. Not every account has a head.
fn split_off_others(
    accounts: &mut Vec<AccountId>,
    rows: &mut Vec<(AccountId, Result<Account, Defect>)>,
) -> Vec<AccountId> {
    let count = count_fitting(rows);
    let Some((first, _)) = rows.get(count) else { return Vec::new() };
    let others = accounts.split_off(accounts.partition_point(|account_id| account_id < first));
    rows.truncate(count);
    others
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::book::AccountKind;
    use crate::ids::ProgramId;

    fn id(number: u128) -> AccountId {
        AccountId(Uuid::from_u128(number))
    }

    #[test]
    fn accounts_with_many_entries_are_left_to_the_next_chunk_with_all_that_follow() {
        let head = |number: u128, head: i64| {
            let account = Account::empty(id(number), ProgramId::try_from("shop").unwrap(), AccountKind::Customer);
            (id(number), Ok(Account { head, ..account }))
        };
        let mut accounts: Vec<AccountId> = (1..=6).map(id).collect();
        // The third and the last have no head.
        let mut rows = vec![head(1, 1), head(2, MAX_ENTRIES - 1), head(4, 1), head(5, MAX_ENTRIES + 1)];
        let others = split_off_others(&mut accounts, &mut rows);
        assert_eq!((accounts, others, rows.len()), (vec![id(1), id(2), id(3)], vec![id(4), id(5), id(6)], 2));
        // One that has too many is alone.
        let (mut accounts, mut rows) = (vec![id(5), id(6)], vec![head(5, MAX_ENTRIES + 1), head(6, 1)]);
        let others = split_off_others(&mut accounts, &mut rows);
        assert_eq!((accounts, others, rows.len()), (vec![id(5)], vec![id(6)], 1));
        let (mut accounts, mut rows) = (vec![id(7), id(8)], Vec::new());
        assert_eq!((split_off_others(&mut accounts, &mut rows), accounts), (Vec::new(), vec![id(7), id(8)]));
    }
}
