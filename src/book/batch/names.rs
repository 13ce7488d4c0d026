//! Whose the names of a batch's commands are, and who takes the free ones.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::PgConnection;

use super::{Batch, Failure};
use crate::book::account::{Account, AccountKind};
use crate::book::name::{Name, NameSpace, NameUse};
use crate::book::store;
use crate::ids::AccountId;

impl Batch<'_> {
    /// Finds out whose the names are, and takes the free ones that commands want.
    pub(super) async fn resolve(&mut self, connection: &mut PgConnection) -> Result<(), Failure> {
        let jobs = self.jobs;
        let distinct: BTreeSet<&Name> = jobs.iter().flat_map(|job| &job.names).map(NameUse::name).collect();
        self.find(connection, &distinct.into_iter().collect::<Vec<_>>()).await?;

        let mut opening = BTreeMap::new();
        for name_use in jobs.iter().flat_map(|job| &job.names) {
            if let NameUse::FindOrOpen(name) = name_use
                && !self.names.contains_key(name)
            {
                opening.entry(name.clone()).or_insert_with(AccountId::generate);
            }
        }
        self.opening = self.claim(connection, &opening).await?;
        for (name, account_id) in opening.into_iter().filter(|(name, _)| self.opening.contains(name)) {
            let kind = if name.space == NameSpace::Program { AccountKind::Program } else { AccountKind::Customer };
            self.accounts.insert(account_id, Account::empty(account_id, name.program_id, kind));
            self.opened.insert(account_id);
        }

        let mut taking = BTreeMap::new();
        for job in jobs {
            let owner = self.scope_of(job);
            for name_use in &job.names {
                if let (NameUse::Claim(name), Some(owner)) = (name_use, owner)
                    && !self.names.contains_key(name)
                {
                    taking.entry(name.clone()).or_insert(owner);
                }
            }
        }
        self.taking = self.claim(connection, &taking).await?;
        Ok(())
    }

    async fn find(&mut self, connection: &mut PgConnection, names: &[&Name]) -> Result<(), Failure> {
        for (place, account_id) in store::find_names(connection, names).await? {
            if let Some(name) = names.get(place) {
                self.names.insert((*name).clone(), account_id);
            }
        }
        Ok(())
    }

    /// Takes free names; those that someone else took meanwhile are found again, with their owner.
    async fn claim(
        &mut self,
        connection: &mut PgConnection,
        claims: &BTreeMap<Name, AccountId>,
    ) -> Result<BTreeSet<Name>, Failure> {
        let mut taken = BTreeSet::new();
        if claims.is_empty() {
            return Ok(taken);
        }
        let won: BTreeSet<(String, String, String)> =
            store::claim_names(connection, claims).await?.into_iter().collect();
        let mut lost = Vec::new();
        for (name, account_id) in claims {
            let key = (name.program_id.as_str().to_owned(), name.space.as_str().to_owned(), name.name.clone());
            if won.contains(&key) {
                self.names.insert(name.clone(), *account_id);
                taken.insert(name.clone());
            } else {
                lost.push(name);
            }
        }
        if !lost.is_empty() {
            self.find(connection, &lost).await?;
        }
        Ok(taken)
    }
}
