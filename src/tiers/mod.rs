//! Tiers: the standing of each customer, told with its reasons.

pub(crate) mod grpc;
pub(crate) mod model;
pub(crate) mod state;
mod store;

use std::sync::Arc;

use jiff::Timestamp;
use sqlx::{PgConnection, PgPool};

use crate::book::{AsOf, Capabilities, Entry, Instants, begin_snapshot, read_as_of};
use crate::customers::find_account;
use crate::customers::model::customer_not_found;
use crate::database::{BatchReader, StoreError};
use crate::error::Error;
use crate::ids::{AccountId, CustomerId, EntryId, ProgramId};
use crate::paging::PageRequest;
use crate::programs::model::{ProgramVersion, Tier, program_not_found};
use crate::programs::{Catalogue, read_version_number_at};
use model::Standing;
use state::StandingsState;
use store::FoundStanding;

pub(crate) use store::capability;

/// The use cases of tiers.
#[derive(Clone)]
pub(crate) struct Tiers {
    pool: PgPool,
    instants: Instants,
    capabilities: Capabilities,
    catalogue: Catalogue,
    standings: BatchReader<(ProgramId, CustomerId), FoundStanding>,
}

/// A customer's standing, with the policy that explains it.
#[derive(Clone, Debug)]
pub(crate) struct CustomerTier {
    /// The tier held, with the progress to the next.
    pub standing: Standing,
    /// The entry that changed the tier.
    pub changed: EntryId,
    /// The entry that caused the change; the same, if nothing in the book did.
    pub cause: EntryId,
    /// The program version in force at `as_of`.
    pub policy: Arc<ProgramVersion>,
    /// The tier held: as the version in force has it, or else as the version that decided had it.
    pub tier: Tier,
    /// The instant that the answer is for.
    pub as_of: Timestamp,
}

impl Tiers {
    /// Tiers read from `pool`, and those of now from `lookups`, many at once.
    #[must_use]
    pub(crate) fn new(
        pool: PgPool,
        lookups: &PgPool,
        instants: Instants,
        capabilities: Capabilities,
        catalogue: Catalogue,
    ) -> Self {
        let standings = BatchReader::open("standings", lookups, &store::fetch_standings());
        Self { pool, instants, capabilities, catalogue, standings }
    }

    /// The tier a customer holds, now or at an instant.
    ///
    /// # Errors
    /// If the customer is unknown (then), or the instant lies ahead.
    pub(crate) async fn get_customer_tier(
        &self,
        program_id: &ProgramId,
        customer_id: &CustomerId,
        as_of: Option<Timestamp>,
    ) -> Result<CustomerTier, Error> {
        let found = match as_of {
            None => self.standings.find((program_id.clone(), customer_id.clone())).await?,
            Some(_) => {
                let as_of = self.instants.close("as_of", as_of).await?;
                self.find_as_of(program_id, customer_id, as_of).await?
            }
        };
        let Some(FoundStanding { account_id, standing, current_version, told }) = found else {
            // Says which of the two is unknown.
            find_account(&mut *self.pool.acquire().await?, program_id, customer_id).await?;
            return Err(customer_not_found(customer_id).into());
        };
        let policy = self.version(program_id, current_version).await?;
        let tier = match policy.program.tier(&standing.tier_id) {
            Some(tier) => tier.clone(),
            None => self.tier_when_decided(program_id, &standing).await?,
        };
        let [changed, cause] =
            [standing.changed_seq, standing.cause_seq].map(|account_seq| EntryId { account_id, account_seq });
        Ok(CustomerTier {
            standing,
            changed,
            cause,
            policy,
            tier,
            as_of: as_of.unwrap_or_else(|| self.instants.clock().present(told)),
        })
    }

    async fn find_as_of(
        &self,
        program_id: &ProgramId,
        customer_id: &CustomerId,
        as_of: Timestamp,
    ) -> Result<Option<FoundStanding>, Error> {
        let mut connection = self.pool.acquire().await?;
        let account_id = find_account(&mut connection, program_id, customer_id).await?;
        let mut snapshot = begin_snapshot(&mut connection).await?;
        let standing = match read_as_of(&mut snapshot, account_id, as_of, &self.capabilities).await? {
            None => None,
            Some(AsOf::Rows(folded)) => folded.states.get::<StandingsState>()?.get(account_id).cloned(),
            Some(AsOf::Past(past)) => store::read_standing_at(&mut snapshot, account_id, past.last).await?,
        };
        let current_version = read_version_number_at(&mut snapshot, program_id, as_of).await?;
        let current_version = current_version.ok_or_else(|| program_not_found(program_id))?;
        snapshot.commit().await?;
        Ok(standing.map(|standing| FoundStanding { account_id, standing, current_version, told: as_of }))
    }

    async fn tier_when_decided(&self, program_id: &ProgramId, standing: &Standing) -> Result<Tier, Error> {
        let decided = self.version(program_id, standing.policy_version).await?;
        let tier = decided.program.tier(&standing.tier_id).cloned();
        tier.ok_or_else(|| {
            let version = standing.policy_version;
            Error::Internal(format!("version {version} of program {program_id} lacks the tier that it gave"))
        })
    }

    async fn version(&self, program_id: &ProgramId, version: i32) -> Result<Arc<ProgramVersion>, Error> {
        let key = (program_id.clone(), version);
        if let Some(known) = self.catalogue.get(&key) {
            return Ok(known);
        }
        let mut connection = self.pool.acquire().await?;
        let versions = self.catalogue.read(&mut connection, &[key]).await?;
        let found = versions.into_iter().next();
        found.ok_or_else(|| Error::Internal(format!("program {program_id} has no version {version}")))
    }

    /// A page of a customer's changes of tier, the newest first.
    ///
    /// # Errors
    /// If the program or the customer is unknown, or the page token is bad.
    pub(crate) async fn list_tier_changes(
        &self,
        program_id: &ProgramId,
        customer_id: &CustomerId,
        page: &PageRequest,
    ) -> Result<(Vec<Entry>, String), Error> {
        let before = page.after_number()?;
        let connection: &mut PgConnection = &mut *self.pool.acquire().await?;
        let account_id = find_account(connection, program_id, customer_id).await?;
        let changes = store::list_changes(connection, account_id, before, page.limit()).await?;
        Ok(page.cut(changes, |change| change.id.account_seq.to_string()))
    }
}

/// The standing of an account, as it is written.
///
/// # Errors
/// If the database cannot be read.
pub(crate) async fn read_standing(
    connection: &mut PgConnection,
    account_id: AccountId,
) -> Result<Option<Standing>, StoreError> {
    store::read_standing(connection, account_id).await
}

/// The entries that changed an account's tier before one of its numbers, the newest first; at most `limit`.
///
/// # Errors
/// If the database cannot be read.
pub(crate) async fn read_tier_changes(
    connection: &mut PgConnection,
    account_id: AccountId,
    before: i64,
    limit: i64,
) -> Result<Vec<Entry>, StoreError> {
    store::list_changes(connection, account_id, Some(before), limit).await
}
