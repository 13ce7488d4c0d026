//! How many customers hold which tier as of an instant, who is about to move, and what became of tiers month by month.

pub(super) mod tally;

use futures_util::stream::BoxStream;
use jiff::{SignedDuration, Timestamp};
use sqlx::PgConnection;

use self::tally::{Months, Survey, Tally, Upcoming};
use super::deciding::calendar_of;
use super::standing::Standing;
use super::store::moves::count_moves;
use super::walking::{Begun, Ground, Needs, Unread, Walk, Walked, WalkedPage, Walks};
use crate::database::{ExportReader, Halt, Outlet};
use crate::error::Error;
use crate::ids::{AccountId, CustomerId, PrincipalId, ProgramId};
use crate::programs::tier_policy::windows::DayRange;

/// What to count.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) program_id: ProgramId,
    pub(crate) as_of: Option<Timestamp>,
    /// Within how many days somebody must move to be about to.
    pub(crate) within_days: i32,
    /// Of how many months what became of tiers is counted.
    pub(crate) months: i32,
    /// Whether customers who are about to move are told.
    pub(crate) tells_customers: bool,
}

/// How far it has come.
pub(crate) struct Counted {
    pub(crate) customers_done: i64,
    pub(crate) customers_total: i64,
    pub(crate) upcoming: Vec<(CustomerId, Upcoming)>,
    /// What it came to: with the last one.
    pub(crate) tally: Option<Box<(Survey, Tally)>>,
}

/// What whoever asks for statistics that were ended can do.
pub(super) const ADVICE: &str = "ask again when less is going on";

/// Begins to count. Dropping the stream ends it.
pub(super) async fn begin(
    walks: &Walks,
    request: Request,
    principal_id: PrincipalId,
) -> Result<BoxStream<'static, Result<Counted, Error>>, Error> {
    let Request { program_id, as_of, within_days, months, tells_customers } = request;
    let Begun { place, ground, current: version } = walks.begin(program_id, 100, as_of, principal_id).await?;
    let at = ground.population.as_of;
    let horizon = at.saturating_add(SignedDuration::from_hours(24 * i64::from(within_days))).unwrap_or(at);
    let survey = Survey { months: Months::until(at, months, &version.program.time_zone.0), version, at, horizon };
    Ok(place.start(Reading { ground, survey, tells_customers }))
}

/// The reading side.
struct Reading {
    ground: Ground,
    survey: Survey,
    tells_customers: bool,
}

impl Needs for Survey {
    fn needed(&self, standing: &Standing) -> DayRange {
        let ended = standing.outlook.ends_at.filter(|ends_at| *ends_at <= self.at);
        let first = calendar_of(&self.version, standing.enrolled_on).first_day_needed(self.at, ended);
        DayRange { from: Some(first.unwrap_or_else(|| self.version.program.day_of(self.at))), until: None }
    }
}

impl ExportReader for Reading {
    type Item = Counted;

    fn name(&self) -> String {
        format!("the statistics of tiers of program {}", self.ground.population.program_id)
    }

    async fn read(&mut self, connection: &mut PgConnection, outlet: &Outlet<Counted>) -> Result<(), Halt> {
        let mut tally = Tally::default();
        let customers_total = self.ground.customers_total;
        let mut walk = Walk::begin(&self.ground, &self.survey);
        while let Some(page) = walk.next_page(connection).await? {
            let accounts: Vec<AccountId> = page.customers.iter().map(|customer| customer.account_id).collect();
            let written = count_moves(connection, &accounts, &self.survey.months, self.survey.at).await?;
            tally.add_moves(written);
            let (upcoming, unread) = self.add(page, &mut tally);
            unread.iter().for_each(|(account_id, defect)| walk.leave_out(*account_id, defect));
            tally.left_out = walk.left_out;
            let customers_done = tally.customers + tally.left_out;
            outlet.send(Counted { customers_done, customers_total, upcoming, tally: None }).await?;
        }
        let customers_done = tally.customers + tally.left_out;
        let tally = Some(Box::new((self.survey.clone(), tally)));
        outlet.send(Counted { customers_done, customers_total, upcoming: Vec::new(), tally }).await
    }
}

impl Reading {
    /// Adds a page of customers; those who are about to move, and those of whom too little was read.
    fn add(&self, page: WalkedPage, tally: &mut Tally) -> (Vec<(CustomerId, Upcoming)>, Unread) {
        tally.add_dues(&self.survey, &page.applied_dues);
        let (mut upcoming, mut unread) = (Vec::new(), Vec::new());
        for Walked { account_id, customer_id, standing, history, last: _ } in page.customers {
            match self.survey.upcoming(&standing, &history) {
                Ok(next) => {
                    tally.add(&standing, next.as_ref());
                    upcoming.extend(next.filter(|_| self.tells_customers).map(|next| (customer_id, next)));
                }
                Err(not_read) => unread.push((account_id, not_read.into_defect(account_id))),
            }
        }
        (upcoming, unread)
    }
}
