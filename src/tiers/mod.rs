//! Tiers: the standing of each customer, told with its reasons.

pub(crate) mod commands;
pub(crate) mod counting;
mod customer_tier;
pub(crate) mod deciding;
pub(crate) mod grpc;
pub(crate) mod model;
mod outlook;
pub(crate) mod overriding;
mod reading;
mod reevaluation;
mod simulation;
pub(crate) mod standing;
pub(crate) mod state;
mod statistics;
mod store;
pub(crate) mod walking;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use futures_util::stream::BoxStream;
use jiff::Timestamp;
use jiff::civil::Date;
use sqlx::postgres::PgConnectOptions;
use sqlx::{PgConnection, PgPool};

use crate::book::{
    Book, Capabilities, Command, Detail, Earnings, Entry, Instants, TierDetail, Writer, Written, read_all_with_dues,
};
use crate::customers::find_account;
use crate::customers::model::customer_not_found;
use crate::database::{BatchReader, StoreError};
use crate::error::{Error, Reason, Refusal};
use crate::ids::{AccountId, CustomerId, EntryId, PrincipalId, ProgramId, TierId};
use crate::money::Currency;
use crate::paging::PageRequest;
use crate::programs::model::{ProgramVersion, Tier, Which, program_not_found};
use crate::programs::tier_policy::windows::DayRange;
use crate::programs::{Catalogue, read_version};
use counting::{DayCount, History};
use reevaluation::commands::ReevaluateTiers;
use reevaluation::state::Progress;
use reevaluation::store::read_progress;
use simulation::{Question, Update};
use standing::Standing;
use statistics::Counted;
use store::FoundStanding;
use walking::Walks;

pub(crate) use customer_tier::{CustomerTier, SetBy};
pub(crate) use reevaluation::store::reevaluations_capability;
pub(crate) use reevaluation::worker::keep_reevaluating;
pub(crate) use store::capability;
pub(crate) use store::pages::{Listed, Population};

/// The use cases of tiers.
#[derive(Clone)]
pub(crate) struct Tiers {
    book: Book,
    pool: PgPool,
    instants: Instants,
    capabilities: Capabilities,
    catalogue: Catalogue,
    standings: BatchReader<(ProgramId, CustomerId), FoundStanding>,
    days: BatchReader<(AccountId, Date), Vec<(Date, DayCount)>>,
    overrides: BatchReader<EntryId, SetBy>,
    simulations: Walks,
    statistics: Walks,
}

impl Tiers {
    /// Tiers read from `pool`, and those of now from `lookups`, many at once. Simulations and statistics
    /// connect to the database themselves, and may take so long.
    #[must_use]
    pub(crate) fn new(
        book: Book,
        pool: PgPool,
        lookups: &PgPool,
        (database, limit): (&PgConnectOptions, Duration),
        instants: Instants,
        capabilities: Capabilities,
        catalogue: Catalogue,
    ) -> Self {
        let walks = |advice| Walks::new(database, limit, advice, instants.clone(), capabilities.clone());
        let (simulations, statistics) = (walks(simulation::ADVICE), walks(statistics::ADVICE));
        let standings = BatchReader::open("standings", lookups, &store::fetch_standings(instants.clock().clone()));
        let days = BatchReader::open("standing_days", lookups, &store::fetch_days());
        let overrides = BatchReader::open("overrides", lookups, &store::fetch_set_by());
        Self { book, pool, instants, capabilities, catalogue, standings, days, overrides, simulations, statistics }
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
            None => self.find_now(program_id, std::slice::from_ref(customer_id)).await?.pop().flatten(),
            Some(_) => {
                let as_of = self.instants.close("as_of", as_of).await?;
                self.find_as_of(program_id, customer_id, as_of).await?
            }
        };
        let Some((found, history)) = found else {
            // Says which of the two is unknown.
            find_account(&mut *self.pool.acquire().await?, program_id, customer_id).await?;
            return Err(customer_not_found(customer_id).into());
        };
        let set_by = self.find_set_by(&found).await?;
        self.explain(program_id, found, history, set_by, as_of).await
    }

    /// The tiers that many customers hold now, in their order: none where there is no such customer.
    ///
    /// # Errors
    /// If the program is unknown.
    pub(crate) async fn batch_get_customer_tiers(
        &self,
        program_id: &ProgramId,
        customer_ids: &[CustomerId],
    ) -> Result<Vec<Option<CustomerTier>>, Error> {
        let all = self.find_now(program_id, customer_ids).await?;
        if all.iter().all(Option::is_none) {
            let version = read_version(&mut *self.pool.acquire().await?, program_id, Which::Latest).await?;
            version.ok_or_else(|| program_not_found(program_id))?;
        }
        let overrides = all.iter().map(async |found| match found {
            Some((found, _)) => self.find_set_by(found).await,
            None => Ok(None),
        });
        let overrides = try_join_all(overrides).await?;
        let mut customer_tiers = Vec::with_capacity(all.len());
        for (found, set_by) in all.into_iter().zip(overrides) {
            customer_tiers.push(match found {
                Some((found, history)) => Some(self.explain(program_id, found, history, set_by, None).await?),
                None => None,
            });
        }
        Ok(customer_tiers)
    }

    /// How the override of a standing came about, if it has one.
    async fn find_set_by(&self, found: &FoundStanding) -> Result<Option<SetBy>, Error> {
        let FoundStanding { account_id, standing, .. } = found;
        match &standing.forced {
            Some(forced) => self.overrides.find(EntryId { account_id: *account_id, account_seq: forced.set_seq }).await,
            None => Ok(None),
        }
    }

    /// A standing with the policy that explains it.
    async fn explain(
        &self,
        program_id: &ProgramId,
        found: FoundStanding,
        history: History,
        set_by: Option<SetBy>,
        as_of: Option<Timestamp>,
    ) -> Result<CustomerTier, Error> {
        let FoundStanding { account_id, standing, current_version, told, decided, dues } = found;
        let policy = self.version(program_id, current_version).await?;
        let tier = match policy.program.tier(&standing.tier_id) {
            Some(tier) => tier.clone(),
            None => {
                // The one that an override gives was in the version that was in force as it was set.
                let given = set_by.as_ref().filter(|_| standing.own_tier_id() != &standing.tier_id);
                let version = given.map_or(standing.policy_version, |set_by| set_by.policy_version);
                self.tier_of(program_id, version, &standing.tier_id).await?
            }
        };
        let [changed, cause] =
            [standing.changed_seq, standing.cause_seq].map(|account_seq| EntryId { account_id, account_seq });
        let as_of = as_of.unwrap_or_else(|| self.instants.clock().present(told));
        let earned = decided.and_then(earned_in);
        Ok(CustomerTier { standing, history, earned, changed, cause, set_by, policy, tier, as_of, dues })
    }

    /// Carries out what somebody changes about a tier by hand: the entry, the currency of the program, and whether this
    /// was a repetition.
    ///
    /// # Errors
    /// Whatever the command refuses.
    pub(crate) async fn change_by_hand(
        &self,
        command: impl Command + 'static,
        writer: Writer,
    ) -> Result<(Entry, Currency, bool), Error> {
        let Written { entries, replayed, .. } = self.book.submit(command, writer).await?;
        let is_change = |entry: &Entry| {
            matches!(entry.detail, Detail::Tier(TierDetail::TierOverridden { .. } | TierDetail::TierReleased { .. }))
        };
        let entry = entries.into_iter().find(is_change);
        let entry = entry.ok_or_else(|| Error::Internal("an override came to no entry".to_owned()))?;
        let currency = self.version(&entry.program_id, entry.policy_version).await?.program.currency;
        Ok((entry, currency, replayed))
    }

    /// Begins to try a policy on the customers of a program. Dropping the stream ends it.
    ///
    /// # Errors
    /// If the program is unknown or has no such version, the document changes what cannot change, the instant lies ahead,
    /// or too many simulations run.
    pub(crate) async fn simulate_tier_policy(
        &self,
        question: Question,
        principal_id: PrincipalId,
    ) -> Result<BoxStream<'static, Result<Update, Error>>, Error> {
        simulation::begin(&self.simulations, question, principal_id).await
    }

    /// Begins to count who holds which tier. Dropping the stream ends it.
    ///
    /// # Errors
    /// If the program is unknown, the instant lies ahead, or too many count already.
    pub(crate) async fn list_tier_statistics(
        &self,
        request: statistics::Request,
        principal_id: PrincipalId,
    ) -> Result<BoxStream<'static, Result<Counted, Error>>, Error> {
        statistics::begin(&self.statistics, request, principal_id).await
    }

    /// Orders that a version is applied to every customer: the order as it is now, and whether this was a repetition.
    ///
    /// # Errors
    /// Whatever the command refuses.
    pub(crate) async fn reevaluate_tiers(
        &self,
        order: ReevaluateTiers,
        writer: Writer,
    ) -> Result<(Progress, bool), Error> {
        let program_id = order.program_id.clone();
        let Written { entries, replayed, .. } = self.book.submit(order, writer).await?;
        let entry = entries.first().ok_or_else(|| Error::Internal("an order came to no entry".to_owned()))?;
        Ok((self.get_tier_reevaluation(&program_id, entry.id).await?, replayed))
    }

    /// How far an order has come.
    ///
    /// # Errors
    /// If the program is unknown, or has no such order.
    pub(crate) async fn get_tier_reevaluation(
        &self,
        program_id: &ProgramId,
        entry_id: EntryId,
    ) -> Result<Progress, Error> {
        let mut connection = self.pool.acquire().await?;
        if let Some(progress) = read_progress(&mut connection, program_id, entry_id).await? {
            return Ok(progress);
        }
        let version = read_version(&mut connection, program_id, Which::Latest).await?;
        version.ok_or_else(|| program_not_found(program_id))?;
        let refusal =
            Refusal::new(Reason::ReevaluationNotFound, format!("the program has no re-evaluation {entry_id}"));
        Err(refusal.with("reevaluation_id", entry_id).into())
    }

    /// A tier that the program has no more, as a version had it.
    async fn tier_of(&self, program_id: &ProgramId, version: i32, tier_id: &TierId) -> Result<Tier, Error> {
        let tier = self.version(program_id, version).await?.program.tier(tier_id).cloned();
        tier.ok_or_else(|| Error::Internal(format!("version {version} of program {program_id} lacks a tier it gave")))
    }

    /// A version of a program, which is remembered.
    ///
    /// # Errors
    /// If it cannot be read, or there is none such.
    pub(crate) async fn version(&self, program_id: &ProgramId, version: i32) -> Result<Arc<ProgramVersion>, Error> {
        let key = (program_id.clone(), version);
        if let Some(known) = self.catalogue.get(&key) {
            return Ok(known);
        }
        let mut connection = self.pool.acquire().await?;
        let versions = self.catalogue.read(&mut connection, &[key]).await?;
        let found = versions.into_iter().next();
        found.ok_or_else(|| Error::Internal(format!("program {program_id} has no version {version}")))
    }

    /// Versions of a program, by their numbers. Those that there are not are left out.
    ///
    /// # Errors
    /// If they cannot be read.
    pub(crate) async fn versions(
        &self,
        program_id: &ProgramId,
        numbers: BTreeSet<i32>,
    ) -> Result<BTreeMap<i32, Arc<ProgramVersion>>, Error> {
        let keys: Vec<(ProgramId, i32)> = numbers.into_iter().map(|number| (program_id.clone(), number)).collect();
        let known: Option<Vec<_>> = keys.iter().map(|key| self.catalogue.get(key)).collect();
        let versions = match known {
            Some(known) => known,
            None => self.catalogue.read(&mut *self.pool.acquire().await?, &keys).await?,
        };
        Ok(versions.into_iter().map(|version| (version.version, version)).collect())
    }

    /// What time has done to an account by now that is not written.
    ///
    /// # Errors
    /// If the database cannot be read, or a due contradicts the rows.
    pub(crate) async fn find_dues(
        &self,
        connection: &mut PgConnection,
        account_id: AccountId,
    ) -> Result<Vec<Entry>, Error> {
        let read = read_all_with_dues(connection, &[account_id], self.instants.clock(), &self.capabilities).await?;
        Ok(read.applied_dues)
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
        let policy =
            read_version(connection, program_id, Which::Latest).await?.ok_or_else(|| program_not_found(program_id))?;
        let changes = store::list_changes(connection, account_id, before, page.limit()).await?;
        let (changes, next_page_token) = page.cut(changes, |change| change.id.account_seq.to_string());
        Ok((policy.program.currency, changes, next_page_token))
    }
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
        | Detail::Referral(_)
        | Detail::Complaint(_)
        | Detail::Goodwill(_)
        | Detail::Lifecycle(_)
        | Detail::Value(_) => None,
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

/// What was counted of an account on each day from one on, in their order, up to one of its entries.
///
/// # Errors
/// If the database cannot be read, or the entries contradict each other.
pub(crate) async fn read_days_at(
    snapshot: &mut PgConnection,
    account_id: AccountId,
    last: i64,
    from: Date,
) -> Result<Vec<(Date, DayCount)>, StoreError> {
    let needed = DayRange { from: Some(from), until: None };
    let found = store::past::read_standings_at(snapshot, &[(account_id, last)], |_| needed).await?;
    Ok(found.into_iter().next().map(|(_, _, history)| history.days).unwrap_or_default())
}
