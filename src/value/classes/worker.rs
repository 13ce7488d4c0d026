//! Deciding about all customers at the end of each period, in the background.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use sqlx::{PgPool, Postgres, Transaction};

use super::commands::{ClassCustomers, DecideClass};
use super::measuring::{Census, Weighed};
use super::model::{Classed, Standard, days_before, last_end};
use super::store::{Round, find_classification, lock_round, move_round};
use crate::book::{Book, Detail, Entry, Instants, ProgramDetail};
use crate::database::{StoreError, Traced as _};
use crate::error::{Defect, Error, Reason, with_causes};
use crate::points::subject::Subject;
use crate::programs::model::ProgramVersion;
use crate::programs::points::CalendarPeriod;
use crate::programs::value_classes::ValueClassPolicy;
use crate::programs::{Having, list_having, read_version_at};
use crate::rounds::{Rounds, try_patiently};

/// How many programs are read at a time.
const PROGRAMS: i64 = 64;
/// About how many customers are decided at a time.
const AT_ONCE: usize = 256;
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
    round: Round,
    policy: Arc<ProgramVersion>,
    /// The last instant of the period.
    as_of: Timestamp,
}

/// Whether a round goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    GoesOn,
    Rests,
}

impl Worker {
    /// Goes through all programs that have classes. One that fails holds up no other.
    async fn class_all(&self) -> Result<(), Error> {
        let (mut failed, mut after) = (None, Some(String::new()));
        while let Some(program_id) = after.take() {
            let mut connection = self.pool.acquire().await.map_err(StoreError::from)?;
            let clock = self.instants.clock();
            let page = list_having(&mut connection, Having::ValueClasses, &program_id, PROGRAMS, clock).await;
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
        while self.step(current, now).await? == Pace::GoesOn {}
        Ok(())
    }

    /// Tells where classes begin, or decides about the next customers.
    async fn step(&self, current: &ProgramVersion, now: Timestamp) -> Result<Pace, Error> {
        let mut transaction = self.pool.begin().await.map_err(StoreError::from)?;
        let Some(work) = find_work(&mut transaction, current, now).await? else { return Ok(Pace::Rests) };
        let round = match &work.policy.program.value_classes {
            Some(classes) => self.carry_out(&mut transaction, &work, classes).await?,
            None => Round { is_done: true, ..work.round },
        };
        move_round(&mut transaction, &current.program.program_id, round).await?;
        transaction.commit().traced("COMMIT").await.map_err(StoreError::from)?;
        Ok(if round.is_done { Pace::Rests } else { Pace::GoesOn })
    }

    /// Carries out a step: where the round has come to then.
    async fn carry_out(
        &self,
        transaction: &mut Transaction<'_, Postgres>,
        work: &Work,
        classes: &ValueClassPolicy,
    ) -> Result<Round, Error> {
        let Work { round, policy, as_of } = work;
        let program_id = &policy.program.program_id;
        let as_of = self.instants.close("as_of", Some(*as_of)).await?;
        let when = (days_before(classes, round.until), as_of);
        let done = Round { is_done: true, ..*round };
        let Some(census) = Census::begin(transaction, policy, classes, when).await? else {
            tracing::warn!(%program_id, until = %round.until, "no customers are classed: the program has no model of spend");
            return Ok(done);
        };
        let found = find_classification(transaction, program_id, Some(round.until), None).await?;
        let Some(entry) = found else {
            let classification = census.class(transaction, classes).await?.classification(&census.measuring);
            let (program_id, version) = (program_id.clone(), policy.version);
            self.book.submit_in_background(ClassCustomers { program_id, version, classification }).await?;
            return Ok(*round);
        };
        let classed = Arc::new(classed_by(&entry, policy, classes, &census)?);
        let page = census.measure_page(transaction, round.after).await?;
        let Some((last, _)) = page.last() else { return Ok(done) };
        let after = last.account_id;
        let changing: Vec<Weighed> = page
            .into_iter()
            .filter(|(candidate, measured)| classed.decide(*measured, candidate.held.as_ref()).is_some())
            .collect();
        for some in changing.chunks(AT_ONCE) {
            let decide = |weighed| self.decide(&classed, weighed);
            let outcomes = try_patiently(some, decide, |outcome| outcome.is_err()).await;
            outcomes.into_iter().collect::<Result<(), Error>>()?;
        }
        Ok(Round { after, ..*round })
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

/// Locks the round of a program: what there is to do, if anything is.
async fn find_work(
    transaction: &mut Transaction<'_, Postgres>,
    current: &ProgramVersion,
    now: Timestamp,
) -> Result<Option<Work>, Error> {
    let program_id = &current.program.program_id;
    let Some(classes) = &current.program.value_classes else { return Ok(None) };
    let until = last_end(classes, current.program.day_of(now));
    let ends_at = CalendarPeriod::begin_of_day(Some(until), &current.program.time_zone.0);
    let as_of = ends_at.checked_sub(SignedDuration::from_micros(1)).unwrap_or(ends_at);
    let number = read_version_at(transaction, program_id, as_of).await?;
    // What decides is what was in force as the period ended, and ends that are none of its periods are not looked at.
    let in_force = number.filter(|version| version.effective_from <= as_of);
    let is_end = |version: &ProgramVersion| {
        let classes = version.program.value_classes.as_ref();
        classes.is_some_and(|classes| last_end(classes, until) == until)
    };
    let Some(policy) = in_force.filter(is_end) else { return Ok(None) };
    let Some(round) = lock_round(transaction, program_id, until).await? else { return Ok(None) };
    let round = if round.until < until { Round::begin(until) } else { round };
    // If the clock was set back, a later end has been looked at.
    let has_more = round.until == until && !round.is_done;
    Ok(has_more.then(|| Work { round, policy: Arc::new(policy), as_of }))
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
