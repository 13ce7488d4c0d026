//! Trying a policy on all customers of a program: what it would make of their tiers as of an instant. Nothing is written.

pub(super) mod outcome;

use std::time::Duration;

use futures_util::stream::BoxStream;
use jiff::Timestamp;
use sqlx::PgConnection;
use sqlx::postgres::PgConnectOptions;

use self::outcome::{Move, Totals, Trial};
use super::deciding::calendar_of;
use super::standing::Standing;
use super::store::pages::{Population, count_customers};
use super::walking::{Needs, Unread, Walk, Walked, WalkedPage};
use crate::book::{Capabilities, DowngradeTime, Instants};
use crate::database::{ExportBounds, ExportPlaces, ExportReader, Halt, Outlet, by_key};
use crate::error::Error;
use crate::ids::{CustomerId, PrincipalId, ProgramId};
use crate::programs::model::{Program, ProgramVersion, Which, program_not_found};
use crate::programs::next::check_immutable;
use crate::programs::read_version;
use crate::programs::tier_policy::windows::DayRange;

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
        Self { places: ExportPlaces::new(by_key(database), bounds(limit)), instants, capabilities }
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

impl Needs for Trial {
    fn needed(&self, standing: &Standing) -> DayRange {
        let ended = standing.outlook.ends_at.filter(|ends_at| *ends_at <= self.at);
        let first = calendar_of(&self.policy, standing.enrolled_on).first_day_needed(self.at, ended);
        DayRange { from: first.into_iter().chain(self.year_begins()).min(), until: None }
    }
}

impl ExportReader for Reading {
    type Item = Update;

    fn name(&self) -> String {
        format!("a simulation of program {}", self.population.program_id)
    }

    async fn read(&mut self, connection: &mut PgConnection, outlet: &Outlet<Update>) -> Result<(), Halt> {
        let mut totals = Totals::default();
        let customers_total = self.customers_total;
        let mut walk = Walk::begin(&self.population, &self.capabilities, &self.trial);
        while let Some(page) = walk.next_page(connection).await? {
            let (moves, unread) = self.add(page, &mut totals);
            unread.iter().for_each(|(account_id, defect)| walk.leave_out(*account_id, defect));
            totals.left_out = walk.left_out;
            let customers_done = totals.customers + totals.left_out;
            outlet.send(Update { customers_done, customers_total, moves, totals: None }).await?;
        }
        let customers_done = totals.customers + totals.left_out;
        let totals = Some(Box::new((self.trial.clone(), totals)));
        outlet.send(Update { customers_done, customers_total, moves: Vec::new(), totals }).await
    }
}

impl Reading {
    /// Adds a page of customers; those who move, and those of whom too little was read.
    fn add(&self, page: WalkedPage, totals: &mut Totals) -> (Vec<(CustomerId, Move)>, Unread) {
        let (mut moves, mut unread) = (Vec::new(), Vec::new());
        for Walked { account_id, customer_id, standing, history } in page.customers {
            match self.trial.simulate(&standing, &history) {
                Ok(outcome) => {
                    totals.add(&self.trial, &outcome);
                    if self.tells_moves && outcome.moves.is_move() {
                        moves.push((customer_id, outcome.moves));
                    }
                }
                Err(not_read) => unread.push((account_id, not_read.into_defect(account_id))),
            }
        }
        (moves, unread)
    }
}
