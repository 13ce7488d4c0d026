//! Giving packages for days of customers, in the background.

use std::sync::Arc;
use std::time::Duration;

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use sqlx::PgPool;

use super::commands::GivePackage;
use super::days::{dates_of, days_before};
use super::store::rounds::{
    Celebrant, Round, end_rounds, find_anniversaries, find_birthdays, list_rounds, lock_round, move_round, read_open,
};
use crate::book::{Book, Occasion};
use crate::clock::Clock;
use crate::database::{StoreError, Traced as _};
use crate::error::{Error, Reason, with_causes};
use crate::ids::{AccountId, ProgramId, TierId};
use crate::points::subject::Subject;
use crate::programs::model::{Program, ProgramVersion, Which};
use crate::programs::points::CalendarPeriod;
use crate::programs::{Having, list_having, read_version, read_version_number_at};
use crate::rounds::{Rounds, rest_behind, try_patiently};

/// How many customers are looked at together.
const PAGE: usize = 512;
/// How many programs are read at a time.
const PROGRAMS: i64 = 64;
/// How many days are made up for after no service ran.
const MAX_DAYS_LATE: i32 = 31;
/// What a day begins with.
const FIRST: Occasion = Occasion::Birthday;
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
pub(crate) async fn keep_giving_packages(pool: PgPool, book: Book, clock: Clock, every: Duration) {
    let worker = Worker { pool, book, clock };
    let rounds = Rounds {
        worker: "packages",
        fails: "packages cannot be given; trying on",
        is_well: "packages are given again",
    };
    let span = || tracing::info_span!(parent: None, "benefits.packages");
    rounds.keep_going(span, || worker.give_all(), |took| rest_behind(took, every)).await;
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
        // Those that end below are among these: others may begin meanwhile.
        let mut ended = list_rounds(&mut *self.pool.acquire().await?).await?;
        let (mut failed, mut after) = (None, Some(String::new()));
        while let Some(program_id) = after.take() {
            let mut connection = self.pool.acquire().await?;
            let (versions, told) =
                list_having(&mut connection, Having::Celebrations, &program_id, PROGRAMS, &self.clock).await?;
            drop(connection);
            after = versions.last().map(|listed| listed.cursor.clone());
            let now = self.clock.present(told);
            for listed in versions {
                ended.remove(&listed.cursor);
                // One that only a newer version understands waits for that.
                let Ok(version) = listed.item else { continue };
                failed = self.give_in(&Arc::new(version), now).await.err().or(failed);
            }
        }
        if !ended.is_empty() {
            end_rounds(&mut *self.pool.acquire().await?, ended).await?;
        }
        failed.map_or(Ok(()), Err)
    }

    /// Goes through pages until today's customers are through, or somebody else is at it.
    async fn give_in(&self, current: &Arc<ProgramVersion>, now: Timestamp) -> Result<(), PackagesError> {
        let mut failed = None;
        loop {
            let (pace, error) = self.give_page(current, now).await?;
            failed = error.or(failed);
            if pace == Pace::Rests {
                return failed.map_or(Ok(()), Err);
            }
        }
    }

    /// Goes through the next page of a round: whether it goes on, and whether a customer could not be given anything now.
    /// Such a one holds up nobody: the day is gone through again.
    async fn give_page(
        &self,
        current: &Arc<ProgramVersion>,
        now: Timestamp,
    ) -> Result<(Pace, Option<PackagesError>), PackagesError> {
        let program_id = &current.program.program_id;
        let today = current.program.day_of(now);
        let mut transaction = self.pool.begin().traced("BEGIN").await?;
        let round = lock_round(&mut transaction, program_id, today).await?;
        let Some(mut round) = round.map(|round| in_reach(round, today)) else { return Ok((Pace::Rests, None)) };
        let of_the_day = match round.day < today {
            true => Some(read_version_of(&mut transaction, current, round.day).await?),
            false => None,
        };
        let program = &of_the_day.as_ref().unwrap_or(current).program;
        let celebrants = find_page(&mut transaction, program, round).await?;
        let open = find_open(&mut transaction, program, round, &celebrants, now).await?;
        let give = |celebrant| self.give_one((program_id, of_the_day.clone()), round, celebrant);
        let outcomes = try_patiently(&open, give, |outcome| matches!(outcome, Outcome::NotNow(_))).await;
        let error = outcomes.into_iter().find_map(|outcome| match outcome {
            Outcome::Done => None,
            Outcome::NotNow(error) => Some(PackagesError::Command(error)),
        });
        if error.is_some() || round.day == today {
            round.again_from = round.again_from.or(Some(round.day));
        }
        let (next, pace) = behind(round, &celebrants, today);
        move_round(&mut transaction, program_id, next).await?;
        transaction.commit().traced("COMMIT").await?;
        Ok((pace, error))
    }

    async fn give_one(
        &self,
        (program_id, policy): (&ProgramId, Option<Arc<ProgramVersion>>),
        round: Round,
        celebrant: &Celebrant,
    ) -> Outcome {
        let leave_out = |error: &dyn std::error::Error| {
            let failure = with_causes(error);
            tracing::error!(account_id = %celebrant.account_id.0, failure, "a customer is not given a package");
            Outcome::Done
        };
        let customer_id = match &celebrant.customer_id {
            Ok(customer_id) => customer_id.clone(),
            Err(defect) => return leave_out(defect),
        };
        let subject = Subject { program_id: program_id.clone(), customer_id };
        let (account_id, occasion, day) = (celebrant.account_id, round.occasion, round.day);
        let command = GivePackage { subject, account_id, policy, occasion, day };
        match self.book.submit_in_background(command).await {
            Ok(_) => Outcome::Done,
            // The customer was erased meanwhile.
            Err(Error::Refused(refusal)) if refusal.reason == Reason::CustomerNotFound => Outcome::Done,
            // A service of the newer version understands what it wrote.
            Err(error) if error.is_of_the_moment() || matches!(error, Error::Newer(_)) => Outcome::NotNow(error),
            Err(error) => leave_out(&error),
        }
    }
}

/// The version that was in force as a day ended: what is made up for is what that one says.
async fn read_version_of(
    connection: &mut sqlx::PgConnection,
    current: &Arc<ProgramVersion>,
    day: Date,
) -> Result<Arc<ProgramVersion>, StoreError> {
    let (program, (_, ends_at)) = (&current.program, span_of(&current.program, day));
    let last = ends_at.checked_sub(SignedDuration::from_micros(1)).unwrap_or(ends_at);
    let number = read_version_number_at(connection, &program.program_id, last).await?;
    let Some(number) = number.filter(|number| *number != current.version) else { return Ok(current.clone()) };
    let version = read_version(connection, &program.program_id, Which::Number(number)).await?;
    Ok(version.map_or_else(|| current.clone(), Arc::new))
}

/// The next customers of a round who have the day; fewer than a page, if there are no more behind.
async fn find_page(
    connection: &mut sqlx::PgConnection,
    program: &Program,
    Round { day, occasion, after, .. }: Round,
) -> Result<Vec<Celebrant>, StoreError> {
    let limit = i64::try_from(PAGE).unwrap_or(i64::MAX);
    if !program.has_packages_for(occasion) {
        return Ok(Vec::new());
    }
    match occasion {
        Occasion::Birthday => find_birthdays(connection, &program.program_id, &dates_of(day), after, limit).await,
        Occasion::EnrolmentAnniversary => {
            let spans: Vec<_> = days_before(day).into_iter().map(|day| span_of(program, day)).collect();
            find_anniversaries(connection, &program.program_id, &spans, after, limit).await
        }
        // No round is for that.
        Occasion::TierReached => Ok(Vec::new()),
    }
}

/// Those of a page who may be given something: they were there by the end of the day.
async fn find_open(
    connection: &mut sqlx::PgConnection,
    program: &Program,
    Round { day, occasion, .. }: Round,
    celebrants: &[Celebrant],
    now: Timestamp,
) -> Result<Vec<Celebrant>, StoreError> {
    let own = || program.packages.iter().filter(|package| package.occasion == occasion);
    let is_for_any = own().any(|package| package.tier_ids.is_empty());
    let tiers = (!is_for_any).then(|| own().flat_map(|package| &package.tier_ids).map(TierId::as_str).collect());
    let (_, ends_at) = span_of(program, day);
    let there = celebrants.iter().filter(|celebrant| celebrant.joined_at < ends_at);
    let accounts: Vec<AccountId> = there.clone().map(|celebrant| celebrant.account_id).collect();
    let open = read_open(connection, &accounts, (occasion, day.year()), tiers, now).await?;
    Ok(there.filter(|celebrant| open.contains(&celebrant.account_id)).cloned().collect())
}

/// When a local day begins and ends.
fn span_of(program: &Program, day: Date) -> (Timestamp, Timestamp) {
    let begin_of = |day| CalendarPeriod::begin_of_day(day, &program.time_zone.0);
    (begin_of(Some(day)), begin_of(day.tomorrow().ok()))
}

/// Where a round goes on behind a page: with its next customers, with what else there is on the day, with the next day, or,
/// after a rest, with the first day that has to be gone through again.
fn behind(round: Round, celebrants: &[Celebrant], today: Date) -> (Round, Pace) {
    match celebrants.last() {
        Some(last) if celebrants.len() >= PAGE => {
            (Round { after: Some((last.joined_at, last.account_id)), ..round }, Pace::GoesOn)
        }
        Some(_) | None if round.occasion == FIRST => {
            (Round { occasion: Occasion::EnrolmentAnniversary, after: None, ..round }, Pace::GoesOn)
        }
        Some(_) | None => match round.day.tomorrow() {
            Ok(day) if day <= today => {
                // Today is not over.
                let again_from = round.again_from.or((day == today).then_some(today));
                (Round { day, again_from, occasion: FIRST, after: None }, Pace::GoesOn)
            }
            Ok(_) | Err(_) => (begin_on(round.again_from.unwrap_or(today)), Pace::Rests),
        },
    }
}

/// A round that begins on a day.
const fn begin_on(day: Date) -> Round {
    Round { day, again_from: None, occasion: FIRST, after: None }
}

/// The round, but for days that are too long ago, and for those to come: if the clock was set forward and back, today is
/// looked through once more, and nobody is given anything twice.
fn in_reach(round: Round, today: Date) -> Round {
    let first = today.checked_sub(jiff::Span::new().days(MAX_DAYS_LATE)).unwrap_or(today);
    let again_from = round.again_from.map(|day| day.clamp(first, today));
    let day = round.day.clamp(first, today);
    if day == round.day { Round { again_from, ..round } } else { begin_on(again_from.unwrap_or(day)) }
}
