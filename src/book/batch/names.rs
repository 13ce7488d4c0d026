//! The first phase: finds and locks the accounts of the commands' names, and claims free names.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::PgConnection;

use super::memory::Batch;
use crate::book::account::Account;
use crate::book::account_kind::AccountKind;
use crate::book::capability::Capabilities;
use crate::book::job::Job;
use crate::book::name::{Name, NameSpace, NameUse};
use crate::book::store;
use crate::book::store::accounts::WantedName;
use crate::database::StoreError;
use crate::ids::AccountId;

impl Batch<'_> {
    /// Finds and locks the accounts of the commands' names and those related to them, and claims the free names that
    /// commands may want.
    pub(super) async fn find_names(
        &mut self,
        capabilities: &Capabilities,
        connection: &mut PgConnection,
    ) -> Result<(), StoreError> {
        let jobs = self.jobs;
        let with_related = jobs.iter().filter(|job| capabilities.have_related(&job.states));
        self.names_with_related = with_related.flat_map(Job::own_names).collect();
        // Who carries a key is the owner of the command's first name.
        let mut names: BTreeSet<(&Name, Option<[u8; 32]>)> = BTreeSet::new();
        for job in jobs {
            for (place, name) in job.own_names().enumerate() {
                names.insert((name, (place == 0).then_some(job.key.key.hash)));
            }
        }
        let wanted: Vec<WantedName<'_>> = names.into_iter().map(|(name, hash)| self.want(name, hash)).collect();
        let accounts: BTreeSet<AccountId> = self.jobs.iter().flat_map(|job| job.command.accounts()).collect();
        let accounts: Vec<AccountId> = accounts.into_iter().collect();
        self.find_and_lock(&wanted, &accounts, connection).await?;
        self.open_accounts(connection).await?;
        // Only now, since the owner of a claimed name may be an account that was just opened.
        let claims = self.names_to_claim();
        self.claimed_names = self.claim_names(&claims, connection).await?;
        Ok(())
    }

    /// Opens an account for each free name that a command would open one for.
    async fn open_accounts(&mut self, connection: &mut PgConnection) -> Result<(), StoreError> {
        let mut new_accounts = BTreeMap::new();
        for name_use in self.jobs.iter().flat_map(|job| &job.names) {
            if let NameUse::FindOrOpen(name) = name_use
                && !self.names.contains_key(name)
            {
                new_accounts.entry(name.clone()).or_insert_with(AccountId::generate);
            }
        }
        self.opened_names = self.claim_names(&new_accounts, connection).await?;
        for (name, account_id) in new_accounts {
            // A name that another batch won meanwhile has an account already.
            if self.opened_names.contains(&name) {
                let kind = kind_of_account(name.space);
                self.accounts.insert(account_id, Account::empty(account_id, name.program_id, kind));
                self.opened.insert(account_id);
            }
        }
        Ok(())
    }

    /// The free names that commands ask for, each with the account of the first command that does.
    fn names_to_claim(&self) -> BTreeMap<Name, AccountId> {
        let mut claims = BTreeMap::new();
        for job in self.jobs {
            let Some(owner) = self.scope_of(job) else { continue };
            for name_use in &job.names {
                if let NameUse::Claim(name) = name_use
                    && !self.names.contains_key(name)
                {
                    claims.entry(name.clone()).or_insert(owner);
                }
            }
        }
        claims
    }

    /// Claims free names for accounts: the names that were won. Those that another batch won meanwhile are found again,
    /// with their owner.
    async fn claim_names(
        &mut self,
        claims: &BTreeMap<Name, AccountId>,
        connection: &mut PgConnection,
    ) -> Result<BTreeSet<Name>, StoreError> {
        if claims.is_empty() {
            return Ok(BTreeSet::new());
        }
        let rows: BTreeSet<(String, String, String)> =
            store::claim_names(connection, claims).await?.into_iter().collect();
        let (mut won, mut lost) = (BTreeSet::new(), Vec::new());
        for (name, account_id) in claims {
            let row = (name.program_id.as_str().to_owned(), name.space.as_str().to_owned(), name.name.clone());
            if rows.contains(&row) {
                self.names.insert(name.clone(), *account_id);
                won.insert(name.clone());
            } else {
                lost.push(name);
            }
        }
        if !lost.is_empty() {
            self.find_lost(&lost, connection).await?;
        }
        Ok(won)
    }

    /// Finds and locks the accounts of names that another batch won meanwhile.
    async fn find_lost(&mut self, names: &[&Name], connection: &mut PgConnection) -> Result<(), StoreError> {
        let jobs = self.jobs;
        let mut wanted = Vec::with_capacity(names.len());
        for name in names {
            wanted.push(self.want(name, None));
            let carriers = jobs.iter().filter(|job| job.own_names().next() == Some(*name));
            let keys: BTreeSet<[u8; 32]> = carriers.map(|job| job.key.key.hash).collect();
            wanted.extend(keys.into_iter().map(|hash| self.want(name, Some(hash))));
        }
        self.find_and_lock(&wanted, &[], connection).await
    }

    /// A name whose owner's account is locked.
    fn want<'n>(&self, name: &'n Name, key_hash: Option<[u8; 32]>) -> WantedName<'n> {
        WantedName { name, key_hash, is_locked: true, with_related: self.names_with_related.contains(name) }
    }
}

/// What kind of account is opened for a name.
const fn kind_of_account(space: NameSpace) -> AccountKind {
    match space {
        NameSpace::Program => AccountKind::Program,
        NameSpace::Customer | NameSpace::ReferralCode => AccountKind::Customer,
        NameSpace::Pot => AccountKind::Pot,
    }
}
