//! Tiers: the standing of each customer, told with its reasons.

pub(crate) mod counting;
pub(crate) mod deciding;
pub(crate) mod grpc;
pub(crate) mod model;
mod outlook;
pub(crate) mod standing;
pub(crate) mod state;
mod store;

use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;
use sqlx::{PgConnection, PgPool};

use crate::book::{
    AsOf, Capabilities, Detail, Earnings, Entry, Instants, TierDetail, begin_snapshot, read_as_of, read_with_dues,
};
use crate::customers::find_account;
use crate::customers::model::customer_not_found;
use crate::database::{BatchReader, StoreError};
use crate::error::Error;
use crate::ids::{AccountId, CustomerId, EntryId, ProgramId};
use crate::money::Currency;
use crate::paging::PageRequest;
use crate::programs::model::{ProgramVersion, Tier, program_not_found};
use crate::programs::tier_policy::windows::DayRange;
use crate::programs::{Catalogue, read_version, read_version_number_at};
use counting::{DayCount, History};
use standing::Standing;
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
    days: BatchReader<(AccountId, Date), Vec<(Date, DayCount)>>,
}

/// A customer's standing, with the policy that explains it.
#[derive(Clone, Debug)]
pub(crate) struct CustomerTier {
    /// The tier held.
    pub standing: Standing,
    /// What was counted for it.
    pub history: History,
    /// What earned the tier as it was reached or renewed: what was spent, and the rest.
    pub earned: Option<(i64, Earnings)>,
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
    /// What time has done to the account by then that is not written yet.
    pub dues: Vec<Entry>,
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
        let days = BatchReader::open("standing_days", lookups, &store::fetch_days());
        Self { pool, instants, capabilities, catalogue, standings, days }
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
            None => self.find_now(program_id, customer_id).await?,
            Some(_) => {
                let as_of = self.instants.close("as_of", as_of).await?;
                self.find_as_of(program_id, customer_id, as_of).await?
            }
        };
        let Some((FoundStanding { account_id, standing, current_version, told, decided, dues }, history)) = found
        else {
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
        let as_of = as_of.unwrap_or_else(|| self.instants.clock().present(told));
        let earned = decided.and_then(earned_in);
        Ok(CustomerTier { standing, history, earned, changed, cause, policy, tier, as_of, dues })
    }

    /// The present standing, with what was counted in the windows that matter now.
    async fn find_now(&self, program_id: &ProgramId, customer_id: &CustomerId) -> Result<Option<Found>, Error> {
        let Some(found) = self.standings.find((program_id.clone(), customer_id.clone())).await? else {
            return Ok(None);
        };
        let (standing, account_id) = (&found.standing, found.account_id);
        let now = self.instants.clock().present(found.told);
        if standing.outlook.decides_at.is_some_and(|decides_at| decides_at <= now) {
            return self.find_with_dues(program_id, account_id).await;
        }
        let policy = self.version(program_id, found.current_version).await?;
        let calendar = deciding::calendar_of(&policy, standing.enrolled_on);
        let mut history = History { totals: standing.totals, days: Vec::new(), read: vec![DayRange::ALL] };
        if let Some(first) = calendar.first_day_needed(now, standing.outlook.ends_at.filter(|ends_at| *ends_at <= now))
        {
            history.days = self.days.find((account_id, first)).await?.unwrap_or_default();
            history.read = vec![DayRange { from: Some(first), until: None }];
        }
        Ok(Some((found, history)))
    }

    /// The present standing of an account, where time has done something to it that is not written.
    async fn find_with_dues(&self, program_id: &ProgramId, account_id: AccountId) -> Result<Option<Found>, Error> {
        let mut connection = self.pool.acquire().await?;
        let read = read_with_dues(&mut connection, account_id, self.instants.clock(), &self.capabilities).await?;
        let Some((folded, now)) = read else { return Ok(None) };
        let state = folded.states.get::<StandingsState>()?;
        let Some(standing) = state.get(account_id).cloned() else { return Ok(None) };
        let history = state.history(account_id);
        let current_version = read_version_number_at(&mut connection, program_id, now).await?;
        let current_version = current_version.ok_or_else(|| program_not_found(program_id))?;
        let decided = decision_of(&standing, &folded.applied_dues, account_id, &mut connection).await?;
        let dues = folded.applied_dues;
        Ok(Some((FoundStanding { account_id, standing, current_version, told: now, decided, dues }, history)))
    }

    async fn find_as_of(
        &self,
        program_id: &ProgramId,
        customer_id: &CustomerId,
        as_of: Timestamp,
    ) -> Result<Option<Found>, Error> {
        let mut connection = self.pool.acquire().await?;
        let account_id = find_account(&mut connection, program_id, customer_id).await?;
        let mut snapshot = begin_snapshot(&mut connection).await?;
        let (found, dues) = match read_as_of(&mut snapshot, account_id, as_of, &self.capabilities).await? {
            None => (None, Vec::new()),
            Some(AsOf::Rows(folded)) => {
                let state = folded.states.get::<StandingsState>()?;
                let standing = state.get(account_id).cloned();
                (standing.map(|standing| (standing, state.history(account_id))), folded.applied_dues)
            }
            Some(AsOf::Past(past)) => {
                (store::read_standing_at(&mut snapshot, account_id, past.last).await?, Vec::new())
            }
        };
        let Some((standing, history)) = found else { return Ok(None) };
        let decided = decision_of(&standing, &dues, account_id, &mut snapshot).await?;
        let current_version = read_version_number_at(&mut snapshot, program_id, as_of).await?;
        let current_version = current_version.ok_or_else(|| program_not_found(program_id))?;
        snapshot.commit().await?;
        Ok(Some((FoundStanding { account_id, standing, current_version, told: as_of, decided, dues }, history)))
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
    ) -> Result<(Currency, Vec<Entry>, String), Error> {
        let before = page.after_number()?;
        let connection: &mut PgConnection = &mut *self.pool.acquire().await?;
        let account_id = find_account(connection, program_id, customer_id).await?;
        let policy = read_version(connection, program_id, None).await?.ok_or_else(|| program_not_found(program_id))?;
        let changes = store::list_changes(connection, account_id, before, page.limit()).await?;
        let (changes, next_page_token) = page.cut(changes, |change| change.id.account_seq.to_string());
        Ok((policy.program.currency, changes, next_page_token))
    }
}

/// A standing as a read finds it, with what was counted in the windows that matter.
type Found = (FoundStanding, History);

/// What the entry says that gave or renewed a tier: one that time brought in memory, or one that is written.
async fn decision_of(
    standing: &Standing,
    dues: &[Entry],
    account_id: AccountId,
    connection: &mut PgConnection,
) -> Result<Option<Detail>, Error> {
    let entry_id = EntryId { account_id, account_seq: standing.changed_seq };
    if let Some(due) = dues.iter().find(|due| due.id == entry_id) {
        return Ok(Some(due.detail.clone()));
    }
    Ok(store::read_decision(connection, entry_id).await?)
}

/// What earned the tier that an entry gave or renewed.
fn earned_in(detail: Detail) -> Option<(i64, Earnings)> {
    match detail {
        Detail::Tier(TierDetail::TierChanged { qualifying_spend, earned, .. }) => Some((qualifying_spend, earned?)),
        Detail::Tier(_)
        | Detail::Program(_)
        | Detail::Customer(_)
        | Detail::Activity(_)
        | Detail::Points(_)
        | Detail::Benefit(_)
        | Detail::Referral(_) => None,
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
