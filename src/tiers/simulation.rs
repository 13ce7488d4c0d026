//! Trying a policy on all customers of a program: what it would make of their tiers as of an instant. Nothing is written.

pub(super) mod outcome;

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::stream::BoxStream;
use jiff::Timestamp;
use jiff::civil::Date;
use sqlx::PgConnection;
use sqlx::postgres::PgConnectOptions;
use uuid::Uuid;

use self::outcome::{Move, Totals, Trial};
use super::counting::History;
use super::deciding::calendar_of;
use super::standing::Standing;
use super::state::StandingsState;
use super::store::days;
use super::store::pages::{Listed, Population, Stored, count_customers, read_page};
use super::store::past::read_standings_at;
use crate::book::{Capabilities, Depth, DowngradeTime, Instants, WithDues, apply_dues_in_memory, find_all_last_by};
use crate::database::{ExportBounds, ExportPlaces, ExportReader, Halt, Outlet, StoreError, by_scan};
use crate::error::{Error, with_causes};
use crate::ids::{AccountId, CustomerId, PrincipalId, ProgramId};
use crate::programs::model::{Program, ProgramVersion, Which, program_not_found};
use crate::programs::next::check_immutable;
use crate::programs::read_version;
use crate::programs::tier_policy::windows::DayRange;

/// How many customers are held in memory at a time.
const PAGE: usize = 512;
/// Of how many customers at once what is due is applied.
const DUE_AT_ONCE: usize = 64;

/// What simulations may take.
const fn bounds(limit: Duration) -> ExportBounds {
    let advice = "try a sample, or a summary alone";
    ExportBounds { at_a_time: 2, of_one: 1, items_ahead: 4, stall_limit: Duration::from_secs(600), limit, advice }
}

/// The policy to try.
#[derive(Clone, Debug)]
pub(crate) enum Tried {
    /// A document.
    Document(Box<Program>),
    /// A version of the program.
    Version(i32),
}

/// What to try, on whom.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    pub(crate) program_id: ProgramId,
    pub(crate) tried: Tried,
    pub(crate) downgrades: DowngradeTime,
    pub(crate) as_of: Option<Timestamp>,
    pub(crate) percent: i32,
    /// Whether customers who move are told.
    pub(crate) tells_moves: bool,
}

/// Begins simulations, a few at a time.
#[derive(Clone)]
pub(super) struct Simulations {
    places: ExportPlaces,
    instants: Instants,
    capabilities: Capabilities,
}

/// How far a simulation has come.
pub(crate) struct Update {
    pub(crate) customers_done: i64,
    pub(crate) customers_total: i64,
    pub(crate) moves: Vec<(CustomerId, Move)>,
    /// What it came to: with the last one.
    pub(crate) totals: Option<Box<(Trial, Totals)>>,
}

impl Simulations {
    pub(super) fn new(
        database: &PgConnectOptions,
        limit: Duration,
        instants: Instants,
        capabilities: Capabilities,
    ) -> Self {
        Self { places: ExportPlaces::new(by_scan(database), bounds(limit)), instants, capabilities }
    }

    /// Begins a simulation. Dropping the stream ends it.
    pub(super) async fn begin(
        &self,
        question: Question,
        principal_id: PrincipalId,
    ) -> Result<BoxStream<'static, Result<Update, Error>>, Error> {
        let Question { program_id, tried, downgrades, as_of, percent, tells_moves } = question;
        let mut place = self.places.take(principal_id).await?;
        // Closed before the snapshot is made: so all that took effect by then is in it, and stays all.
        let as_of = self.instants.close("as_of", as_of).await?;
        place.begin_snapshot().await?;
        let connection = &mut place.connection;
        let current = read_version(connection, &program_id, Which::InForce(Some(as_of))).await?;
        let current = current.ok_or_else(|| program_not_found(&program_id))?;
        let policy = match tried {
            Tried::Document(program) => {
                check_immutable(&current.program, &program)?;
                ProgramVersion { program: *program, version: current.version, applied_at: as_of, effective_from: as_of }
            }
            Tried::Version(version) => {
                let found = read_version(connection, &program_id, Which::Number(version)).await?;
                found.ok_or_else(|| program_not_found(&program_id))?
            }
        };
        let population = Population { program_id, percent, as_of };
        let customers_total = count_customers(connection, &population).await?;
        let trial = Trial { policy, current: current.program, downgrades, at: as_of };
        let capabilities = self.capabilities.clone();
        Ok(place.start(Reading { population, trial, tells_moves, customers_total, capabilities }))
    }
}

/// The reading side of a simulation.
struct Reading {
    population: Population,
    trial: Trial,
    tells_moves: bool,
    customers_total: i64,
    capabilities: Capabilities,
}

/// A standing as it was at the instant, with the days that matter.
type Found = (Standing, History);

impl ExportReader for Reading {
    type Item = Update;

    fn name(&self) -> String {
        format!("a simulation of program {}", self.population.program_id)
    }

    async fn read(&mut self, connection: &mut PgConnection, outlet: &Outlet<Update>) -> Result<(), Halt> {
        let (mut totals, mut after) = (Totals::default(), AccountId(Uuid::nil()));
        let customers_total = self.customers_total;
        loop {
            let limit = i64::try_from(PAGE).unwrap_or(i64::MAX);
            let page = read_page(connection, &self.population, after, limit).await?;
            let Some(last) = page.last() else { break };
            after = last.account_id;
            let moves = self.simulate_page(connection, page, &mut totals).await?;
            let customers_done = totals.customers + totals.left_out;
            outlet.send(Update { customers_done, customers_total, moves, totals: None }).await?;
        }
        let customers_done = totals.customers + totals.left_out;
        let totals = Some(Box::new((self.trial.clone(), totals)));
        outlet.send(Update { customers_done, customers_total, moves: Vec::new(), totals }).await
    }
}

impl Reading {
    /// Adds a page of customers; those who move.
    async fn simulate_page(
        &self,
        connection: &mut PgConnection,
        page: Vec<Listed>,
        totals: &mut Totals,
    ) -> Result<Vec<(CustomerId, Move)>, StoreError> {
        let (mut found, mut due, mut ahead) = (BTreeMap::new(), Vec::new(), Vec::new());
        let mut settled = Vec::new();
        for listed in &page {
            match &listed.row {
                Stored::Settled(Ok(standing)) => settled.push((listed.account_id, Standing::clone(standing))),
                Stored::Settled(Err(error)) => self.leave_out(listed.account_id, error, totals),
                Stored::Due => due.push(listed.account_id),
                Stored::Ahead => ahead.push((listed.account_id, listed.head)),
            }
        }
        for some in due.chunks(DUE_AT_ONCE) {
            settled.extend(self.apply_dues(connection, some, totals).await?);
        }
        self.read_days(connection, settled, &mut found).await?;
        self.rewind(connection, &ahead, &mut found, totals).await?;
        let mut moves = Vec::new();
        for Listed { account_id, customer_id, .. } in page {
            let Some((standing, history)) = found.remove(&account_id) else { continue };
            let outcome = match (customer_id, self.trial.simulate(&standing, &history)) {
                (Ok(customer_id), Ok(outcome)) => (customer_id, outcome),
                (Err(error), _) => {
                    self.leave_out(account_id, &error, totals);
                    continue;
                }
                (_, Err(not_read)) => return Err(not_read.into_defect(account_id).into()),
            };
            totals.add(&self.trial, &outcome.1);
            if self.tells_moves && outcome.1.moves.is_move() {
                moves.push((outcome.0, outcome.1.moves));
            }
        }
        Ok(moves)
    }

    fn leave_out(&self, account_id: AccountId, error: &dyn std::error::Error, totals: &mut Totals) {
        let (program, failure) = (self.population.program_id.as_str(), with_causes(error));
        tracing::error!(failure, program, account_id = %account_id.0, "a simulation leaves out a customer");
        totals.left_out += 1;
    }

    /// The days that are needed of a customer.
    fn needed(&self, standing: &Standing) -> DayRange {
        let (policy, at) = (&self.trial.policy, self.population.as_of);
        let ended = standing.outlook.ends_at.filter(|ends_at| *ends_at <= at);
        let first = calendar_of(policy, standing.enrolled_on).first_day_needed(at, ended);
        DayRange { from: first.into_iter().chain(self.trial.year_begins()).min(), until: None }
    }

    /// Adds the days of standings whose rows are those of the instant.
    async fn read_days(
        &self,
        connection: &mut PgConnection,
        settled: Vec<(AccountId, Standing)>,
        found: &mut BTreeMap<AccountId, Found>,
    ) -> Result<(), StoreError> {
        let keys: Vec<(AccountId, Date)> = settled
            .iter()
            .map(|(account_id, standing)| (*account_id, self.needed(standing).from.unwrap_or(Date::MIN)))
            .collect();
        let all = days::fetch(&mut *connection, &keys).await?;
        for ((account_id, standing), days) in settled.into_iter().zip(all) {
            let read = vec![self.needed(&standing)];
            let history = History { totals: standing.totals, days: days.unwrap_or_default(), read };
            found.insert(account_id, (standing, history));
        }
        Ok(())
    }

    /// Standings to which time has done something by the instant that is not written. One that cannot be read holds up no
    /// other.
    async fn apply_dues(
        &self,
        connection: &mut PgConnection,
        accounts: &[AccountId],
        totals: &mut Totals,
    ) -> Result<Vec<(AccountId, Standing)>, StoreError> {
        match self.apply_dues_to(connection, accounts).await {
            Err(error) if error.is_of_a_row() => {}
            outcome => return outcome,
        }
        let mut standings = Vec::with_capacity(accounts.len());
        for account_id in accounts {
            match self.apply_dues_to(connection, &[*account_id]).await {
                Ok(found) => standings.extend(found),
                Err(error) if error.is_of_a_row() => self.leave_out(*account_id, &error, totals),
                Err(error) => return Err(error),
            }
        }
        Ok(standings)
    }

    async fn apply_dues_to(
        &self,
        connection: &mut PgConnection,
        accounts: &[AccountId],
    ) -> Result<Vec<(AccountId, Standing)>, StoreError> {
        let as_of = self.population.as_of;
        let WithDues { states, .. } =
            apply_dues_in_memory(connection, accounts, |_| as_of, Depth::Due, &self.capabilities).await?;
        let state = states.get::<StandingsState>()?;
        Ok(accounts.iter().filter_map(|account_id| Some((*account_id, state.get(*account_id)?.clone()))).collect())
    }

    /// Adds standings to which something was written since, as they were. One that cannot be read holds up no other.
    async fn rewind(
        &self,
        connection: &mut PgConnection,
        ahead: &[(AccountId, i64)],
        found: &mut BTreeMap<AccountId, Found>,
        totals: &mut Totals,
    ) -> Result<(), StoreError> {
        if ahead.is_empty() {
            return Ok(());
        }
        let lasts = find_all_last_by(connection, ahead, self.population.as_of).await?;
        let rewound = match read_standings_at(connection, &lasts, |standing| self.needed(standing)).await {
            Err(error) if error.is_of_a_row() => {
                let mut rewound = Vec::with_capacity(lasts.len());
                for (account_id, last) in lasts {
                    let one = [(account_id, last)];
                    match read_standings_at(connection, &one, |standing| self.needed(standing)).await {
                        Ok(found) => rewound.extend(found),
                        Err(error) if error.is_of_a_row() => self.leave_out(account_id, &error, totals),
                        Err(error) => return Err(error),
                    }
                }
                rewound
            }
            outcome => outcome?,
        };
        found.extend(rewound.into_iter().map(|(account_id, standing, history)| (account_id, (standing, history))));
        Ok(())
    }
}
