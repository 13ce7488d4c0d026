//! Deciding about all customers at the end of each period, in the background.

use std::sync::Arc;
use std::time::Duration;

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp, ToSpan as _};
use sqlx::pool::PoolConnection;
use sqlx::{PgConnection, PgPool, Postgres};

use super::commands::{ClassCustomers, DecideClass};
use super::measuring::{Census, Lease, Page, Weighed};
use super::model::{Classed, Standard, classification_in, days_before, is_end};
use super::store::{Round, find_classification, lease_round, move_round, read_round};
use crate::book::{Book, Entry, Instants};
use crate::database::StoreError;
use crate::error::{Defect, Error, Reason, with_causes};
use crate::points::subject::Subject;
use crate::programs::model::{Program, ProgramVersion};
use crate::programs::points::CalendarPeriod;
use crate::programs::value_classes::ValueClassPolicy;
use crate::programs::{Having, list_having, read_version_at};
use crate::rounds::{Rounds, rest_behind, try_patiently};

/// How many months back an end is looked for: years have one in these.
const MONTHS_BACK: i32 = 12;
/// How many programs are read at a time.
const PROGRAMS: i64 = 64;

/// Classes customers again and again, until it is dropped.
pub(crate) async fn keep_classing_customers(pool: PgPool, book: Book, instants: Instants, every: Duration) {
    let worker = Worker { pool, book, instants };
    let rounds = Rounds {
        worker: "value_classes",
        fails: "customers cannot be classed; trying on",
        is_well: "customers are classed again",
    };
    let span = || tracing::info_span!(parent: None, "value.classes");
    rounds.keep_going(span, || worker.class_all(), |took| rest_behind(took, every)).await;
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
        let mut round = work.round;
        let outcome = self.carry_out(&work, &mut round).await;
        // Whatever became of it, the next one goes on from here.
        move_round(&mut *self.connect().await?, program_id, (round, false)).await?;
        outcome
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

    /// Tells where classes begin, and decides about all customers behind those that were decided about.
    async fn carry_out(&self, work: &Work, round: &mut Round) -> Result<(), Error> {
        let Work { policy, as_of, .. } = work;
        let program_id = &policy.program.program_id;
        let Some(classes) = &policy.program.value_classes else {
            round.is_done = true;
            return Ok(());
        };
        let when = (days_before(classes, round.until), *as_of);
        let Some(census) = Census::begin(&mut *self.connect().await?, policy, classes, when).await? else {
            tracing::warn!(%program_id, until = %round.until, "no customers are classed: the program has no model of spend");
            round.is_done = true;
            return Ok(());
        };
        let entry = self.tell(&census, policy, classes).await?;
        let classed = Arc::new(classed_by(&entry, policy, classes, &census)?);
        let mut failed = None;
        loop {
            let page = census.measure_page(&mut *self.connect().await?, round.after).await?;
            let Some(page) = page else { break };
            failed = self.decide_page(&classed, &page).await.err().or(failed);
            round.has_left |= failed.is_some();
            round.after = page.last;
            move_round(&mut *self.connect().await?, program_id, (*round, true)).await?;
        }
        // Whoever was left out is gone through again.
        *round = if round.has_left { Round::begin(round.until) } else { Round { is_done: true, ..*round } };
        failed.map_or(Ok(()), Err)
    }

    /// The entry that tells where classes begin: it is written, unless it was before.
    async fn tell(&self, census: &Census, policy: &ProgramVersion, classes: &ValueClassPolicy) -> Result<Entry, Error> {
        let mut connection = self.connect().await?;
        let until = census.measuring.days.until;
        if let Some(entry) = find_classification(&mut connection, &census.program_id, Some(until)).await? {
            return Ok(entry);
        }
        let outcome = census.class(&mut connection, classes, Lease::Renewed).await?;
        drop(connection);
        let (program_id, version) = (census.program_id.clone(), policy.version);
        let classification = outcome.classification(&census.measuring);
        let told = self.book.submit_in_background(ClassCustomers { program_id, version, classification }).await?;
        let entry = told.entries.into_iter().next();
        Ok(entry.ok_or_else(|| Defect::new("a classification came to no entry"))?)
    }

    /// Decides about the customers of a page of whom there is something new to say. It is an error if that is not possible of one
    /// at the moment.
    async fn decide_page(&self, classed: &Arc<Classed>, page: &Page) -> Result<(), Error> {
        let is_news = |(candidate, measured): &&Weighed| classed.decide(*measured, candidate.held.as_ref()).is_some();
        let changing: Vec<Weighed> = page.customers.iter().filter(is_news).cloned().collect();
        let decide = |weighed| self.decide(classed, weighed);
        let outcomes = try_patiently(&changing, decide, |outcome| outcome.is_err()).await;
        outcomes.into_iter().collect()
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
    let classification = classification_in(entry)?;
    let standard = Standard { classes: classification.classes.clone(), ends_to_fall: classes.ends_to_fall() };
    Ok(Classed { entry_id: entry.id, policy: policy.clone(), days: census.measuring.days, standard })
}
