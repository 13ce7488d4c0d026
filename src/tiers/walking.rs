//! Going through the customers of a program with their standings as of an instant, page by page. Nothing is written.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Date;
use sqlx::PgConnection;
use sqlx::postgres::PgConnectOptions;
use uuid::Uuid;

use super::counting::History;
use super::standing::Standing;
use super::state::StandingsState;
use super::store::days;
use super::store::pages::{Listed, Population, Stored, count_customers, read_page, read_stored};
use super::store::past::read_standings_at;
use crate::book::{Capabilities, Depth, Entry, Instants, WithDues, apply_dues_in_memory, find_all_last_by};
use crate::database::{ExportBounds, ExportPlace, ExportPlaces, StoreError, by_key};
use crate::error::{Defect, Error, with_causes};
use crate::ids::{AccountId, CustomerId, PrincipalId, ProgramId};
use crate::programs::model::{ProgramVersion, program_not_found};
use crate::programs::read_version_at;
use crate::programs::tier_policy::windows::DayRange;

/// How many customers are held in memory at a time.
const PAGE: usize = 512;
/// Of how many customers at once what is due is applied.
const DUE_AT_ONCE: usize = 64;

/// How many ways are gone at a time, and how many of them for one caller.
const fn bounds(limit: Duration, advice: &'static str) -> ExportBounds {
    ExportBounds { at_a_time: 2, of_one: 1, items_ahead: 4, stall_limit: Duration::from_secs(600), limit, advice }
}

/// Begins ways through all customers, a few at a time.
#[derive(Clone)]
pub(super) struct Walks {
    places: ExportPlaces,
    instants: Instants,
    capabilities: Capabilities,
}

/// A way that has begun.
pub(super) struct Begun {
    /// Where it is read.
    pub(super) place: ExportPlace,
    pub(super) ground: Ground,
    /// The version in force at the instant.
    pub(super) current: ProgramVersion,
}

/// What a way goes through.
pub(super) struct Ground {
    pub(super) population: Population,
    /// How many customers there are; of a sample its share, about.
    pub(super) customers_total: i64,
    capabilities: Capabilities,
}

impl Walks {
    /// Ways that may take so long each, with advice for those whose way was ended.
    pub(super) fn new(
        database: &PgConnectOptions,
        limit: Duration,
        advice: &'static str,
        instants: Instants,
        capabilities: Capabilities,
    ) -> Self {
        Self { places: ExportPlaces::new(by_key(database), bounds(limit, advice)), instants, capabilities }
    }

    /// Begins a way through the customers of a program, or so many of 100 of them, as of an instant: now, if none is asked.
    ///
    /// # Errors
    /// If the program is unknown, the instant lies ahead, or too many go already.
    pub(super) async fn begin(
        &self,
        program_id: ProgramId,
        percent: i32,
        as_of: Option<Timestamp>,
        principal_id: PrincipalId,
    ) -> Result<Begun, Error> {
        let mut place = self.places.take(principal_id).await?;
        // Closed before the snapshot is made: so all that took effect by then is in it, and stays all.
        let as_of = self.instants.close("as_of", as_of).await?;
        place.begin_snapshot().await?;
        let current = read_version_at(&mut place.connection, &program_id, as_of).await?;
        let current = current.ok_or_else(|| program_not_found(&program_id))?;
        let population = Population { program_id, percent, as_of };
        let customers_total = count_customers(&mut place.connection, &population).await?;
        let ground = Ground { population, customers_total, capabilities: self.capabilities.clone() };
        Ok(Begun { place, ground, current })
    }
}

/// A customer as they were at the instant.
pub(crate) struct Walked {
    pub(crate) account_id: AccountId,
    pub(crate) customer_id: CustomerId,
    pub(crate) standing: Standing,
    /// What was counted on the days that are needed.
    pub(crate) history: History,
    /// Their last entry by the instant; the largest number, where there is no later one.
    pub(crate) last: i64,
}

/// A page of customers.
#[derive(Default)]
pub(crate) struct WalkedPage {
    pub(crate) customers: Vec<Walked>,
    /// What time had done to them by the instant that is not written.
    pub(crate) applied_dues: Vec<Entry>,
}

/// Customers of whom too little was read, which is a mistake of the program.
pub(super) type Unread = Vec<(AccountId, Defect)>;

/// Which days are needed of a standing.
pub(crate) trait Needs: Sync {
    fn needed(&self, standing: &Standing) -> DayRange;
}

/// A way through all customers.
pub(crate) struct Walk<'a, N> {
    population: &'a Population,
    capabilities: &'a Capabilities,
    needs: &'a N,
    /// The last customer who was passed.
    pub(crate) after: AccountId,
    /// How many customers could not be read so far. Each is named in the log, and holds up no other.
    pub(crate) left_out: i64,
    /// Those of the last page.
    pub(crate) left_out_last: Vec<AccountId>,
}

/// A standing with the days that are needed, and the last entry that it was told by.
type Found = (Standing, History, i64);

impl<'a, N: Needs> Walk<'a, N> {
    /// At the beginning.
    pub(super) const fn begin(ground: &'a Ground, needs: &'a N) -> Self {
        let Ground { population, capabilities, .. } = ground;
        Self::behind(population, capabilities, needs, AccountId(Uuid::nil()))
    }

    /// Behind a customer.
    pub(crate) const fn behind(
        population: &'a Population,
        capabilities: &'a Capabilities,
        needs: &'a N,
        after: AccountId,
    ) -> Self {
        Self { population, capabilities, needs, after, left_out: 0, left_out_last: Vec::new() }
    }

    /// The next page; none behind the last one.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub(crate) async fn next_page(&mut self, connection: &mut PgConnection) -> Result<Option<WalkedPage>, StoreError> {
        let listed = self.list(connection, PAGE).await?;
        if listed.is_empty() { Ok(None) } else { self.read(connection, listed).await.map(Some) }
    }

    /// Who comes next, at most so many and no more than fit in a page. They are passed.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub(crate) async fn list(
        &mut self,
        connection: &mut PgConnection,
        limit: usize,
    ) -> Result<Vec<Listed>, StoreError> {
        let limit = i64::try_from(limit.min(PAGE)).unwrap_or(i64::MAX);
        let listed = read_page(connection, self.population, self.after, limit).await?;
        self.after = listed.last().map_or(self.after, |last| last.account_id);
        Ok(listed)
    }

    /// Some customers, as they were at the instant.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub(crate) async fn read(
        &mut self,
        connection: &mut PgConnection,
        listed: Vec<Listed>,
    ) -> Result<WalkedPage, StoreError> {
        self.left_out_last.clear();
        let accounts: Vec<AccountId> = listed.iter().map(|listed| listed.account_id).collect();
        let mut stored = read_stored(connection, &accounts, self.population.as_of).await?;
        let (mut settled, mut due, mut ahead) = (Vec::new(), Vec::new(), Vec::new());
        let (mut names, mut page) = (Vec::new(), WalkedPage::default());
        for Listed { account_id, customer_id } in listed {
            let lacks = || Defect::new("the account has no head, or no standing");
            match (customer_id, stored.remove(&account_id).unwrap_or_else(|| Err(lacks()))) {
                (Err(error), _) | (_, Err(error)) => self.leave_out(account_id, &error),
                (Ok(customer_id), Ok(stored)) => {
                    names.push((account_id, customer_id));
                    match stored {
                        Stored::Settled(standing) => settled.push((account_id, *standing)),
                        Stored::Due => due.push(account_id),
                        Stored::Ahead(head) => ahead.push((account_id, head)),
                    }
                }
            }
        }
        for some in due.chunks(DUE_AT_ONCE) {
            let (standings, applied) = self.apply_dues(connection, some).await?;
            settled.extend(standings);
            page.applied_dues.extend(applied);
        }
        let mut found = self.read_days(connection, settled).await?;
        found.extend(self.rewind(connection, &ahead).await?);
        page.customers = names
            .into_iter()
            .filter_map(|(account_id, customer_id)| {
                let (standing, history, last) = found.remove(&account_id)?;
                Some(Walked { account_id, customer_id, standing, history, last })
            })
            .collect();
        Ok(page)
    }

    /// Names a customer in the log who cannot be read, and counts them.
    pub(crate) fn leave_out(&mut self, account_id: AccountId, error: &dyn std::error::Error) {
        let (program, failure) = (self.population.program_id.as_str(), with_causes(error));
        tracing::error!(failure, program, account_id = %account_id.0, "a customer cannot be read and is left out");
        self.left_out += 1;
        self.left_out_last.push(account_id);
    }

    /// Standings whose rows are those of the instant, with their days.
    async fn read_days(
        &self,
        connection: &mut PgConnection,
        settled: Vec<(AccountId, Standing)>,
    ) -> Result<BTreeMap<AccountId, Found>, StoreError> {
        let needed = |standing: &Standing| self.needs.needed(standing).from.unwrap_or(Date::MIN);
        let keys: Vec<(AccountId, Date)> =
            settled.iter().map(|(account_id, standing)| (*account_id, needed(standing))).collect();
        let all = days::fetch(&mut *connection, &keys).await?;
        let found = settled.into_iter().zip(all).map(|((account_id, standing), days)| {
            let read = vec![self.needs.needed(&standing)];
            let history = History { totals: standing.totals, days: days.unwrap_or_default(), read };
            (account_id, (standing, history, i64::MAX))
        });
        Ok(found.collect())
    }

    /// Standings to which time has done something by the instant that is not written, and what it has done.
    async fn apply_dues(
        &mut self,
        connection: &mut PgConnection,
        accounts: &[AccountId],
    ) -> Result<(Vec<(AccountId, Standing)>, Vec<Entry>), StoreError> {
        match self.apply_dues_to(connection, accounts).await {
            Err(error) if error.is_of_a_row() => {}
            outcome => return outcome,
        }
        let (mut standings, mut applied) = (Vec::with_capacity(accounts.len()), Vec::new());
        for account_id in accounts {
            match self.apply_dues_to(connection, &[*account_id]).await {
                Ok((found, more)) => {
                    standings.extend(found);
                    applied.extend(more);
                }
                Err(error) if error.is_of_a_row() => self.leave_out(*account_id, &error),
                Err(error) => return Err(error),
            }
        }
        Ok((standings, applied))
    }

    async fn apply_dues_to(
        &self,
        connection: &mut PgConnection,
        accounts: &[AccountId],
    ) -> Result<(Vec<(AccountId, Standing)>, Vec<Entry>), StoreError> {
        let as_of = self.population.as_of;
        let WithDues { states, applied_dues, .. } =
            apply_dues_in_memory(connection, accounts, |_| as_of, Depth::Due, self.capabilities).await?;
        let state = states.get::<StandingsState>()?;
        let lacks = |id: &AccountId| Defect::new(format!("account {} has no standing", id.0));
        let standings: Result<Vec<_>, Defect> =
            accounts.iter().map(|id| Ok((*id, state.get(*id).ok_or_else(|| lacks(id))?.clone()))).collect();
        Ok((standings?, applied_dues))
    }

    /// Standings to which something was written since, as they were.
    async fn rewind(
        &mut self,
        connection: &mut PgConnection,
        ahead: &[(AccountId, i64)],
    ) -> Result<Vec<(AccountId, Found)>, StoreError> {
        if ahead.is_empty() {
            return Ok(Vec::new());
        }
        let found = find_all_last_by(connection, ahead, self.population.as_of).await?;
        for (account_id, _) in ahead {
            if !found.contains_key(account_id) {
                self.leave_out(*account_id, &Defect::new("an entry of the account is missing"));
            }
        }
        // Who joined later had no entry by then.
        let lasts: Vec<(AccountId, i64)> = found.into_iter().filter(|(_, last)| *last > 0).collect();
        let needs = self.needs;
        let needed = |standing: &Standing| needs.needed(standing);
        let rewound = match read_standings_at(connection, &lasts, needed).await {
            Err(error) if error.is_of_a_row() => {
                let mut rewound = Vec::with_capacity(lasts.len());
                for (account_id, last) in &lasts {
                    match read_standings_at(connection, &[(*account_id, *last)], needed).await {
                        Ok(found) => rewound.extend(found),
                        Err(error) if error.is_of_a_row() => self.leave_out(*account_id, &error),
                        Err(error) => return Err(error),
                    }
                }
                rewound
            }
            outcome => outcome?,
        };
        let last_of: BTreeMap<AccountId, i64> = lasts.into_iter().collect();
        let rewound = rewound.into_iter().filter_map(|(account_id, standing, history)| {
            let last = last_of.get(&account_id)?;
            Some((account_id, (standing, history, *last)))
        });
        Ok(rewound.collect())
    }
}
