//! What is stored about the next accounts, read together.

use std::collections::BTreeMap;

use sqlx::PgConnection;
use uuid::Uuid;

use crate::book::store::scan;
use crate::book::{Account, Capabilities, States};
use crate::database::StoreError;
use crate::error::Defect;
use crate::ids::AccountId;

/// The most accounts whose rows are held at a time, and how many entries they may have together; an account with more
/// is held alone.
const CHUNK: (i64, i64) = (1_000, 100_000);

/// What is stored about some accounts that follow each other.
pub(super) struct Chunk {
    pub(super) after: AccountId,
    pub(super) up_to: AccountId,
    pub(super) heads: BTreeMap<AccountId, Account>,
    pub(super) states: States,
    /// Accounts whose rows were read by themselves, because those of the chunk could not be.
    pub(super) apart: BTreeMap<AccountId, States>,
    /// Accounts whose rows or heads cannot be understood, and why.
    pub(super) unreadable: BTreeMap<AccountId, String>,
}

impl Chunk {
    /// Reads what is stored about the next accounts.
    pub(super) async fn load(
        connection: &mut PgConnection,
        capabilities: &Capabilities,
        after: AccountId,
    ) -> Result<Self, StoreError> {
        let (most_accounts, most_entries) = CHUNK;
        let mut rows = scan::scan_accounts(connection, after, most_accounts).await?;
        let is_last = i64::try_from(rows.len()).is_ok_and(|count| count < most_accounts);
        let mut entries = 0_i64;
        let fits = |(_, head): &&(AccountId, Result<Account, Defect>)| {
            entries = entries.saturating_add(head.as_ref().map_or(0, |account| account.head));
            entries <= most_entries
        };
        let count = rows.iter().take_while(fits).count().max(1);
        let up_to = match rows.get(count - 1) {
            Some((account_id, _)) if count < rows.len() || !is_last => *account_id,
            // Entries of accounts without a head may come after the last head.
            _ => AccountId(Uuid::max()),
        };
        rows.truncate(count);
        let (mut heads, mut unreadable) = (BTreeMap::new(), BTreeMap::new());
        let ids: Vec<AccountId> = rows.iter().map(|(account_id, _)| *account_id).collect();
        for (account_id, head) in rows {
            match head {
                Ok(head) => drop(heads.insert(account_id, head)),
                Err(error) => drop(unreadable.insert(account_id, error.to_string())),
            }
        }
        let mut states = capabilities.new_projections();
        let mut apart = BTreeMap::new();
        match capabilities.load_whole(&mut states, &ids, connection).await {
            Ok(()) => {}
            Err(error) if is_unreadable(&error) => {
                states = capabilities.new_projections();
                for account_id in ids {
                    let mut own = capabilities.new_projections();
                    match capabilities.load_whole(&mut own, &[account_id], connection).await {
                        Ok(()) => drop(apart.insert(account_id, own)),
                        Err(error) if is_unreadable(&error) => {
                            unreadable.insert(account_id, error.to_string());
                        }
                        Err(error) => return Err(error),
                    }
                }
            }
            Err(error) => return Err(error),
        }
        Ok(Self { after, up_to, heads, states, apart, unreadable })
    }
}

/// Whether rows were read and not understood, as damaged ones are.
fn is_unreadable(error: &StoreError) -> bool {
    match error {
        StoreError::Defect(_) => true,
        StoreError::Database(error) => matches!(error, sqlx::Error::Decode(_) | sqlx::Error::ColumnDecode { .. }),
    }
}
