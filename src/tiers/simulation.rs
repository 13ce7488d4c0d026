//! Trying a policy on all customers of a program: what it would make of their tiers as of an instant. Nothing is written.

pub(super) mod outcome;

use futures_util::stream::BoxStream;
use jiff::Timestamp;
use sqlx::PgConnection;

use self::outcome::{Move, Totals, Trial};
use super::deciding::calendar_of;
use super::standing::Standing;
use super::walking::{Begun, Ground, Needs, Unread, Walk, Walked, WalkedPage, Walks};
use crate::book::DowngradeTime;
use crate::database::{ExportReader, Halt, Outlet};
use crate::error::Error;
use crate::ids::{CustomerId, PrincipalId, ProgramId};
use crate::programs::next::Tried;
use crate::programs::read_tried;
use crate::programs::tier_policy::windows::DayRange;

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

/// How far a simulation has come.
pub(crate) struct Update {
    pub(crate) customers_done: i64,
    pub(crate) customers_total: i64,
    pub(crate) moves: Vec<(CustomerId, Move)>,
    /// What it came to: with the last one.
    pub(crate) totals: Option<Box<(Trial, Totals)>>,
}

/// What whoever asks for a simulation that was ended can do.
pub(super) const ADVICE: &str = "try a sample, or a summary alone";

/// Begins a simulation. Dropping the stream ends it.
pub(super) async fn begin(
    walks: &Walks,
    question: Question,
    principal_id: PrincipalId,
) -> Result<BoxStream<'static, Result<Update, Error>>, Error> {
    let Question { program_id, tried, downgrades, as_of, percent, tells_moves } = question;
    let Begun { mut place, ground, current } = walks.begin(program_id, percent, as_of, principal_id).await?;
    let at = ground.population.as_of;
    let policy = read_tried(&mut place.connection, (&current, at), tried).await?;
    let trial = Trial { policy, current: current.program, downgrades, at };
    Ok(place.start(Reading { ground, trial, tells_moves }))
}

/// The reading side of a simulation.
struct Reading {
    ground: Ground,
    trial: Trial,
    tells_moves: bool,
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
        format!("a simulation of program {}", self.ground.population.program_id)
    }

    async fn read(&mut self, connection: &mut PgConnection, outlet: &Outlet<Update>) -> Result<(), Halt> {
        let mut totals = Totals::default();
        let customers_total = self.ground.customers_total;
        let mut walk = Walk::begin(&self.ground, &self.trial);
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
        for Walked { account_id, customer_id, standing, history, last: _ } in page.customers {
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
