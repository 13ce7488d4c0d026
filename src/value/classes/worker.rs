//! Deciding about all customers at the end of each period, in the background.

use std::sync::Arc;
use std::time::Duration;

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp, ToSpan as _};
use sqlx::pool::PoolConnection;
use sqlx::{PgConnection, PgPool, Postgres};

use super::commands::{ClassCustomers, DecideClass};
use super::measuring::{Census, Lease, Weighed};
use super::model::{Classed, Standard, days_before, is_end};
use super::store::{Round, find_classification, lease_round, move_round, read_round};
use crate::book::{Book, Detail, Entry, Instants, ProgramDetail};
use crate::database::StoreError;
use crate::error::{Defect, Error, Reason, with_causes};
use crate::points::subject::Subject;
use crate::programs::model::{Program, ProgramVersion};
use crate::programs::points::CalendarPeriod;
use crate::programs::value_classes::ValueClassPolicy;
use crate::programs::{Having, list_having, read_version_at};
use crate::rounds::{Rounds, try_patiently};

/// How many months back an end is looked for: years have one in these.
const MONTHS_BACK: i32 = 12;
/// How many programs are read at a time.
const PROGRAMS: i64 = 64;
/// For how many times as long as a round took the next one is waited for, if that is longer than usual, and for how long at
/// most.
const REST: u32 = 20;
const MAX_REST: Duration = Duration::from_mins(10);

/// Classes customers again and again, until it is dropped.
pub(crate) async fn keep_classing_customers(pool: PgPool, book: Book, instants: Instants, every: Duration) {
    let worker = Worker { pool, book, instants };
    let rounds = Rounds {
        worker: "value_classes",
        fails: "customers cannot be classed; trying on",
        is_well: "customers are classed again",
    };
    let span = || tracing::info_span!(parent: None, "value.classes");
    rounds.keep_going(span, || worker.class_all(), |took| every.max((took * REST).min(MAX_REST))).await;
}

/// What the work needs.
struct Worker {
    pool: PgPool,
    book: Book,
    instants: Instants,
}

/// What there is to do at the end of a period.
struct Work {
    /// Where the round has come to, if there is one.
    seen: Option<Round>,
    round: Round,
    /// The version that was in force as the period ended.
    policy: Arc<ProgramVersion>,
    /// The last instant of the period.
    as_of: Timestamp,
}

/// What a step has come to: where the round is, whether it goes on, and who could not be written to.
struct Step {
    round: Round,
    goes_on: bool,
    error: Option<Error>,
}

impl Worker {
    /// Goes through all programs that have classes, or had. One that fails holds up no other.
    async fn class_all(&self) -> Result<(), Error> {
        let (mut failed, mut after) = (None, Some(String::new()));
        while let Some(program_id) = after.take() {
            let mut connection = self.connect().await?;
            let clock = self.instants.clock();
            let page = list_having(&mut connection, Having::ValueClassesEver, &program_id, PROGRAMS, clock).await;
            let (versions, told) = page?;
            drop(connection);
            after = versions.last().map(|listed| listed.cursor.clone());
            let now = clock.present(told);
            for listed in versions {
                // One that only a newer version understands waits for that.
                let Ok(version) = listed.item else { continue };
                failed = self.class_in(&version, now).await.err().or(failed);
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Does the steps of the last end until all customers are decided about, or somebody else is at it.
    async fn class_in(&self, current: &ProgramVersion, now: Timestamp) -> Result<(), Error> {
        let program_id = &current.program.program_id;
        let Some(work) = self.find_work(current, now).await? else { return Ok(()) };
        if !lease_round(&mut *self.connect().await?, program_id, (work.seen, work.round)).await? {
            return Ok(());
        }
        let (mut round, mut failed) = (work.round, None);
        loop {
            let step = self.carry_out(&work, round).await;
            // What failed is begun anew by whoever comes next.
            let (next, goes_on) = step.as_ref().map_or((round, false), |step| (step.round, step.goes_on));
            move_round(&mut *self.connect().await?, program_id, (next, goes_on)).await?;
            failed = step?.error.or(failed);
            if !goes_on {
                return failed.map_or(Ok(()), Err);
            }
            round = next;
        }
    }

    async fn connect(&self) -> Result<PoolConnection<Postgres>, StoreError> {
        Ok(self.pool.acquire().await?)
    }

    /// What there is to do at the last end of a program, if anything is.
    async fn find_work(&self, current: &ProgramVersion, now: Timestamp) -> Result<Option<Work>, Error> {
        let mut connection = self.connect().await?;
        let seen = read_round(&mut connection, &current.program.program_id).await?;
        let Some((until, as_of)) = find_end(&mut connection, current, now, seen).await? else { return Ok(None) };
        let same = seen.filter(|seen| seen.until == until);
        let round = same.unwrap_or(Round::begin(until));
        // Once the instant is closed, nobody changes any more what was in force.
        let as_of = self.instants.close("as_of", Some(as_of)).await?;
        let policy = read_version_at(&mut connection, &current.program.program_id, as_of).await?;
        Ok(policy.map(|policy| Work { seen, round, policy: Arc::new(policy), as_of }))
    }

    /// Tells where classes begin, or decides about the next customers.
    async fn carry_out(&self, work: &Work, round: Round) -> Result<Step, Error> {
        let Work { policy, as_of, .. } = work;
        let program_id = &policy.program.program_id;
        let done = |round| Step { round: Round { is_done: true, ..round }, goes_on: false, error: None };
        let Some(classes) = &policy.program.value_classes else { return Ok(done(round)) };
        let mut connection = self.connect().await?;
        let when = (days_before(classes, round.until), *as_of);
        let Some(census) = Census::begin(&mut connection, policy, classes, when).await? else {
            tracing::warn!(%program_id, until = %round.until, "no customers are classed: the program has no model of spend");
            return Ok(done(round));
        };
        let found = find_classification(&mut connection, program_id, Some(round.until)).await?;
        let Some(entry) = found else {
            let outcome = census.class(&mut connection, classes, Lease::Renewed).await?;
            let (program_id, version) = (program_id.clone(), policy.version);
            let classification = outcome.classification(&census.measuring);
            self.book.submit_in_background(ClassCustomers { program_id, version, classification }).await?;
            return Ok(Step { round, goes_on: true, error: None });
        };
        let classed = Arc::new(classed_by(&entry, policy, classes, &census)?);
        let Some(page) = census.measure_page(&mut connection, round.after).await? else {
            // Whoever was left out is gone through again.
            let again = Step { round: Round::begin(round.until), goes_on: false, error: None };
            return Ok(if round.has_left { again } else { done(round) });
        };
        drop(connection);
        let is_news = |(candidate, measured): &&Weighed| classed.decide(*measured, candidate.held.as_ref()).is_some();
        let changing: Vec<Weighed> = page.customers.iter().filter(is_news).cloned().collect();
        let decide = |weighed| self.decide(&classed, weighed);
        let outcomes = try_patiently(&changing, decide, |outcome| outcome.is_err()).await;
        let error = outcomes.into_iter().find_map(Result::err);
        let has_left = round.has_left || error.is_some();
        Ok(Step { round: Round { after: page.last, has_left, ..round }, goes_on: true, error })
    }

    /// Decides about a customer. It is an error if that is not possible at the moment.
    async fn decide(&self, classed: &Arc<Classed>, (candidate, measured): &Weighed) -> Result<(), Error> {
        let account_id = candidate.account_id;
        let leave_out = |error: &dyn std::error::Error| {
            let failure = with_causes(error);
            tracing::error!(account_id = %account_id.0, failure, "the class of a customer is not decided");
            Ok(())
        };
        let customer_id = match &candidate.customer_id {
            Ok(customer_id) => customer_id.clone(),
            Err(defect) => return leave_out(defect),
        };
        let subject = Subject { program_id: classed.policy.program.program_id.clone(), customer_id };
        let command = DecideClass { subject, account_id, measured: *measured, classed: classed.clone() };
        match self.book.submit_in_background(command).await {
            Ok(_) => Ok(()),
            // The customer was erased meanwhile.
            Err(Error::Refused(refusal)) if refusal.reason == Reason::CustomerNotFound => Ok(()),
            // A service of the newer version understands what it wrote.
            Err(error) if error.is_of_the_moment() || matches!(error, Error::Newer(_)) => Err(error),
            Err(error) => leave_out(&error),
        }
    }
}

/// The last end of a period by now, by the version that was in force as it came, and the last instant before it; none, if it
/// has been dealt with.
async fn find_end(
    connection: &mut PgConnection,
    current: &ProgramVersion,
    now: Timestamp,
    seen: Option<Round>,
) -> Result<Option<(Date, Timestamp)>, StoreError> {
    let Program { program_id, time_zone, .. } = &current.program;
    let mut until = CalendarPeriod::Month.first_day(current.program.day_of(now));
    for _ in 0..MONTHS_BACK {
        if seen.is_some_and(|seen| seen.until == until && seen.is_done) {
            return Ok(None);
        }
        let ends_at = CalendarPeriod::begin_of_day(Some(until), &time_zone.0);
        let as_of = ends_at.checked_sub(SignedDuration::from_micros(1)).unwrap_or(ends_at);
        let version = read_version_at(connection, program_id, as_of).await?;
        let Some(version) = version.filter(|version| version.effective_from <= as_of) else { return Ok(None) };
        if version.program.value_classes.is_some_and(|classes| is_end(&classes, until)) {
            return Ok(Some((until, as_of)));
        }
        until = CalendarPeriod::Month.first_day(until.saturating_sub(1.day()));
    }
    Ok(None)
}

/// What customers are decided by, as a classification tells it.
fn classed_by(
    entry: &Entry,
    policy: &Arc<ProgramVersion>,
    classes: &ValueClassPolicy,
    census: &Census,
) -> Result<Classed, Defect> {
    let Detail::Program(ProgramDetail::CustomersClassed { classification }) = &entry.detail else {
        return Err(Defect::new(format!("entry {} classes no customers", entry.id)));
    };
    let standard = Standard { classes: classification.classes.clone(), ends_to_fall: classes.ends_to_fall() };
    Ok(Classed { entry_id: entry.id, policy: policy.clone(), days: census.measuring.days, standard })
}
