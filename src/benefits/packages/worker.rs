//! Giving packages for days of customers, in the background.

use std::time::Duration;

use futures_util::future::join_all;
use jiff::Timestamp;
use jiff::civil::Date;
use sqlx::PgPool;
use tracing::Instrument as _;

use super::commands::GivePackage;
use super::days::{dates_of, days_before};
use super::store::rounds::{
    Celebrant, Round, end_other_rounds, find_anniversaries, find_birthdays, lock_round, move_round,
};
use crate::book::{Book, Occasion};
use crate::clock::{Clock, END_OF_TIME};
use crate::database::{StoreError, Traced as _};
use crate::error::{Error, Reason, with_causes};
use crate::points::subject::Subject;
use crate::programs::list_celebrating;
use crate::programs::model::Program;
use crate::programs::points::CalendarPeriod;
use crate::telemetry::{self, metrics};

/// How many customers are gone through together.
const PAGE: usize = 256;
/// How many programs are read at a time.
const PROGRAMS: i64 = 64;
/// How many days are made up for after no service ran.
const MAX_DAYS_LATE: i32 = 31;
/// The pauses before those customers are tried again whom nothing can be given at the moment, such as since somebody holds
/// their accounts.
const PAUSES: [Duration; 3] = [Duration::from_millis(20), Duration::from_millis(100), Duration::from_millis(500)];

/// Why not everybody was given what there is for them.
#[derive(Debug, thiserror::Error)]
enum PackagesError {
    /// The programs or the customers could not be read.
    #[error(transparent)]
    Read(#[from] StoreError),
    /// A customer could not be given anything now.
    #[error(transparent)]
    Command(Error),
}

impl From<sqlx::Error> for PackagesError {
    fn from(error: sqlx::Error) -> Self {
        Self::Read(error.into())
    }
}

/// Gives what programs have for birthdays and anniversaries, again and again, until it is dropped. Each time it goes through
/// all customers who have their day, since a birth date may be told, and a tier reached, on the day itself.
#[expect(clippy::disallowed_methods, reason = "the pause between two rounds")]
pub(crate) async fn keep_giving_packages(pool: PgPool, book: Book, clock: Clock, every: Duration) {
    let worker = Worker { pool, book, clock };
    let mut was_well = true;
    loop {
        let span = tracing::info_span!(parent: None, "benefits.packages");
        let outcome = worker.give_all().instrument(span.clone()).await;
        if outcome.is_err() {
            telemetry::fail_span(&span, "round_failed");
        }
        drop(span);
        match &outcome {
            Ok(()) if !was_well => tracing::info!("packages are given again"),
            Err(error) if was_well => {
                tracing::warn!(failure = with_causes(error), "packages cannot be given; trying on");
            }
            _ => {}
        }
        was_well = outcome.is_ok();
        metrics::count_round("packages", was_well);
        tokio::time::sleep(every).await;
    }
}

/// What the work needs.
struct Worker {
    pool: PgPool,
    book: Book,
    clock: Clock,
}

/// What became of one customer.
enum Outcome {
    /// They were given what there is for them, or there is nothing.
    Done,
    /// Nothing can be given to them at the moment.
    NotNow(Error),
}

/// Whether a round goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    GoesOn,
    Rests,
}

impl Worker {
    /// Goes through all programs that give something on days. One that fails holds up no other.
    async fn give_all(&self) -> Result<(), PackagesError> {
        let (mut failed, mut programs, mut after) = (None, Vec::new(), Some(String::new()));
        while let Some(program_id) = after.take() {
            let mut connection = self.pool.acquire().await?;
            let (versions, told) = list_celebrating(&mut connection, &program_id, PROGRAMS, &self.clock).await?;
            drop(connection);
            after = versions.last().map(|listed| listed.cursor.clone());
            let now = self.clock.present(told);
            for listed in versions {
                let Ok(program_id) = listed.cursor.as_str().try_into() else { continue };
                programs.push(program_id);
                // One that only a newer version understands waits for that.
                let Ok(version) = listed.item else { continue };
                failed = self.give_in(&version.program, now).await.err().or(failed);
            }
        }
        end_other_rounds(&mut *self.pool.acquire().await?, &programs).await?;
        failed.map_or(Ok(()), Err)
    }

    /// Goes through pages until today's customers are through, or somebody else is at it.
    async fn give_in(&self, program: &Program, now: Timestamp) -> Result<(), PackagesError> {
        let mut failed = None;
        loop {
            let (pace, error) = self.give_page(program, now).await?;
            failed = error.or(failed);
            if pace == Pace::Rests {
                return failed.map_or(Ok(()), Err);
            }
        }
    }

    /// Goes through the next page of a round: whether it goes on, and whether a customer could not be given anything now.
    /// Today comes again, but a day that is past is held up by such a one.
    async fn give_page(
        &self,
        program: &Program,
        now: Timestamp,
    ) -> Result<(Pace, Option<PackagesError>), PackagesError> {
        let today = program.day_of(now);
        let mut transaction = self.pool.begin().traced("BEGIN").await?;
        let round = lock_round(&mut transaction, &program.program_id, today).await?;
        // The clock may have been set back: then the day comes again.
        let round = round.map(|round| not_too_late(round, today)).filter(|round| round.day <= today);
        let Some(round) = round else { return Ok((Pace::Rests, None)) };
        let is_past = round.day < today;
        let (celebrants, is_last) = find_page(&mut transaction, program, round).await?;
        let outcomes = self.give(program, round.day.year(), &celebrants).await;
        let error = outcomes.into_iter().find_map(|outcome| match outcome {
            Outcome::Done => None,
            Outcome::NotNow(error) => Some(PackagesError::Command(error)),
        });
        let is_held_up = is_past && error.is_some();
        let next = match (is_held_up, is_last) {
            (true, _) => round,
            (false, false) => Round { after: celebrants.last().map(|it| it.account_id).or(round.after), ..round },
            (false, true) if is_past => Round { day: round.day.tomorrow().unwrap_or(today), after: None },
            (false, true) => Round { after: None, ..round },
        };
        move_round(&mut transaction, &program.program_id, next).await?;
        transaction.commit().traced("COMMIT").await?;
        let rests = is_held_up || (is_last && !is_past);
        Ok((if rests { Pace::Rests } else { Pace::GoesOn }, error))
    }

    /// Gives customers what there is for them: what became of each.
    #[expect(clippy::disallowed_methods, reason = "the pause before what cannot be done at the moment is tried again")]
    async fn give(&self, program: &Program, year: i16, celebrants: &[Celebrant]) -> Vec<Outcome> {
        let mut outcomes = join_all(celebrants.iter().map(|it| self.give_one(program, year, it))).await;
        for pause in PAUSES {
            if !outcomes.iter().any(|outcome| matches!(outcome, Outcome::NotNow(_))) {
                break;
            }
            tokio::time::sleep(pause).await;
            let again = celebrants.iter().zip(outcomes).map(async |(celebrant, outcome)| match outcome {
                Outcome::NotNow(_) => self.give_one(program, year, celebrant).await,
                Outcome::Done => Outcome::Done,
            });
            outcomes = join_all(again).await;
        }
        outcomes
    }

    async fn give_one(&self, program: &Program, year: i16, celebrant: &Celebrant) -> Outcome {
        let leave_out = |error: &dyn std::error::Error| {
            let failure = with_causes(error);
            tracing::error!(account_id = %celebrant.account_id.0, failure, "a customer is not given a package");
            Outcome::Done
        };
        let customer_id = match &celebrant.customer_id {
            Ok(customer_id) => customer_id.clone(),
            Err(defect) => return leave_out(defect),
        };
        let subject = Subject { program_id: program.program_id.clone(), customer_id };
        match self.book.submit_in_background(GivePackage { subject, occasion: celebrant.occasion, year }).await {
            Ok(_) => Outcome::Done,
            // The customer was erased meanwhile.
            Err(Error::Refused(refusal)) if refusal.reason == Reason::CustomerNotFound => Outcome::Done,
            // A service of the newer version understands what it wrote.
            Err(error) if error.is_of_the_moment() || matches!(error, Error::Newer(_)) => Outcome::NotNow(error),
            Err(error) => leave_out(&error),
        }
    }
}

/// The next customers of a round who have the day, by their accounts, and whether there are no more behind.
async fn find_page(
    connection: &mut sqlx::PgConnection,
    program: &Program,
    Round { day, after }: Round,
) -> Result<(Vec<Celebrant>, bool), StoreError> {
    let limit = i64::try_from(PAGE).unwrap_or(i64::MAX);
    let (id, year) = (&program.program_id, day.year());
    let mut celebrants = Vec::new();
    if program.has_packages_for(Occasion::Birthday) {
        let joined_before = begins_at(program, day.tomorrow().ok());
        let dates = dates_of(day);
        celebrants.extend(find_birthdays(connection, id, &dates, (year, joined_before), after, limit).await?);
    }
    if program.has_packages_for(Occasion::EnrolmentAnniversary) {
        let days = days_before(day).into_iter();
        let spans = days.map(|it| (begins_at(program, Some(it)), begins_at(program, it.tomorrow().ok())));
        let spans: Vec<(Timestamp, Timestamp)> = spans.collect();
        celebrants.extend(find_anniversaries(connection, id, &spans, year, after, limit).await?);
    }
    celebrants.sort_by_key(|celebrant| celebrant.account_id);
    Ok(cut(celebrants))
}

/// The first of the customers who have a day, and whether these are all. Whoever has two days at once stays whole.
fn cut(mut celebrants: Vec<Celebrant>) -> (Vec<Celebrant>, bool) {
    let Some(first_left_out) = celebrants.get(PAGE).map(|celebrant| celebrant.account_id) else {
        // Of each kind a whole page was asked for.
        let is_last = celebrants.len() < PAGE;
        return (celebrants, is_last);
    };
    celebrants.truncate(PAGE);
    celebrants.retain(|celebrant| celebrant.account_id != first_left_out);
    (celebrants, false)
}

/// The first instant of a local day; the end of time beyond the calendar.
fn begins_at(program: &Program, day: Option<Date>) -> Timestamp {
    let begins_at = day.and_then(|day| CalendarPeriod::Day.begins_at(day, &program.time_zone.0));
    begins_at.unwrap_or(END_OF_TIME).min(END_OF_TIME)
}

/// The round, but for days that are too long ago.
fn not_too_late(round: Round, today: Date) -> Round {
    let first = today.checked_sub(jiff::Span::new().days(MAX_DAYS_LATE)).unwrap_or(today);
    if round.day < first { Round { day: first, after: None } } else { round }
}
