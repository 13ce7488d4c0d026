//! Value: how recently, how often and for how much customers bought, what they will buy by a model, and whether they stay.

pub(crate) mod classes;
pub(crate) mod commands;
mod fitting;
pub(crate) mod grpc;
mod model;
mod reading;
mod retention;
pub(crate) mod state;
mod store;

use std::sync::Arc;

use jiff::civil::Date;
use jiff::{Timestamp, ToSpan as _};
use sqlx::postgres::PgConnectOptions;
use sqlx::{PgConnection, PgPool};

use crate::book::{Book, Detail, Entry, Instants, ProgramDetail, ValueModel, Writer, Written, begin_snapshot};
use crate::customers::{find_account, find_entries_by};
use crate::database::{ExportBounds, ExportPlaces, StoreError, by_scan};
use crate::error::{Defect, Error, Reason, Refusal};
use crate::ids::{CustomerId, PrincipalId, ProgramId, SegmentId};
use crate::money::Currency;
use crate::programs::model::{ProgramVersion, Which, program_not_found};
use crate::programs::periods::divide;
use crate::programs::points::CalendarPeriod;
use crate::programs::{SegmentFinder, read_version, read_version_at};
use crate::tiers::read_days_at;
use commands::{FitQuestion, KeepModel};
use fitting::{Backtest, FittingError, Rules};
use model::{Forecast, PurchaseHistory, ScoreClass, Scored};
use reading::{Counted, Counting, blocking, within};
use retention::Retention;

pub(crate) use classes::store::classes_capability;
pub(crate) use classes::worker::keep_classing_customers;
pub(crate) use model::EARLIEST;
pub(crate) use reading::within as counted_within;
pub(crate) use store::{capability, models_capability};

/// The use cases of value.
#[derive(Clone)]
pub(crate) struct Value {
    book: Book,
    pool: PgPool,
    instants: Instants,
    counts: ExportPlaces,
    segments: Arc<dyn SegmentFinder>,
}

/// What a customer is worth.
pub(crate) struct CustomerValue {
    /// The instant that it is for.
    pub as_of: Timestamp,
    /// The local day of that.
    pub today: Date,
    pub currency: Currency,
    /// What they bought; none, if nothing.
    pub bought: Option<PurchaseHistory>,
    /// What they will buy; none, if nothing can be said.
    pub forecast: Option<Forecast>,
}

/// A model that was fitted, and the entry that says so.
pub(crate) struct FoundModel {
    pub entry: Entry,
    pub model: ValueModel,
}

/// What is asked about how well a model tells who leaves. The fields are described in value.proto.
#[derive(Clone, Debug)]
pub(crate) struct BacktestQuestion {
    pub program_id: ProgramId,
    pub from: Option<Date>,
    pub until: Option<Date>,
    /// A quarter of all days, if absent.
    pub holdout_days: Option<i32>,
    pub rules: Rules,
}

/// What is asked about classes of customers. The fields are described in value.proto.
#[derive(Clone, Debug)]
pub(crate) struct ScoresQuestion {
    pub program_id: ProgramId,
    pub until: Option<Date>,
    pub scores: i64,
    pub after_days: i32,
    pub as_of: Option<Timestamp>,
}

/// The classes of a program's customers.
pub(crate) struct Scores {
    pub scored: Scored,
    pub classes: Vec<ScoreClass>,
    pub currency: Currency,
}

/// What is asked about whether customers stay. The fields are described in value.proto.
#[derive(Clone, Debug)]
pub(crate) struct RetentionQuestion {
    pub program_id: ProgramId,
    pub from: Option<Date>,
    pub until: Option<Date>,
    pub each: CalendarPeriod,
    pub as_of: Option<Timestamp>,
    /// Only what its customers bought; all, if absent.
    pub segment_id: Option<SegmentId>,
}

/// Whether a program's customers stay.
pub(crate) struct FoundRetention {
    pub as_of: Timestamp,
    pub currency: Currency,
    pub retention: Retention,
}

impl Value {
    /// Value read from `pool`, and models written to `book`. Whoever counts all customers connects to the database itself.
    #[must_use]
    pub(crate) fn new(
        book: Book,
        pool: PgPool,
        database: &PgConnectOptions,
        instants: Instants,
        segments: Arc<dyn SegmentFinder>,
    ) -> Self {
        Self { book, pool, instants, counts: ExportPlaces::new(by_scan(database), ExportBounds::COUNTS), segments }
    }

    /// What a customer is worth, now or at an instant.
    ///
    /// # Errors
    /// If the customer is unknown (then), or the instant lies ahead.
    pub(crate) async fn get_customer_value(
        &self,
        program_id: &ProgramId,
        customer_id: &CustomerId,
        as_of: Option<Timestamp>,
    ) -> Result<CustomerValue, Error> {
        let mut connection = self.pool.acquire().await?;
        let account_id = find_account(&mut connection, program_id, customer_id).await?;
        let Some(as_of) = as_of else {
            let mut snapshot = begin_snapshot(&mut connection).await?;
            let (bought, told) = store::read_bought(&mut snapshot, account_id).await?;
            let policy = read_version(&mut snapshot, program_id, Which::Latest).await?;
            let latest = find_model(&mut snapshot, program_id, None, None).await?;
            snapshot.commit().await?;
            let as_of = self.instants.clock().present(told);
            return CustomerValue::of(bought, latest, &policy.ok_or_else(|| program_not_found(program_id))?, as_of);
        };
        let as_of = self.instants.close("as_of", Some(as_of)).await?;
        let mut snapshot = begin_snapshot(&mut connection).await?;
        let (account, range) = find_entries_by(&mut snapshot, (account_id, customer_id), Some(as_of)).await?;
        let bought = if range.last == account.head {
            store::read_bought(&mut snapshot, account_id).await?.0
        } else {
            PurchaseHistory::on(&read_days_at(&mut snapshot, account_id, range.last, EARLIEST).await?)
        };
        let policy = read_version_at(&mut snapshot, program_id, as_of).await?;
        let latest = find_model(&mut snapshot, program_id, None, Some(as_of)).await?;
        snapshot.commit().await?;
        CustomerValue::of(bought, latest, &policy.ok_or_else(|| program_not_found(program_id))?, as_of)
    }

    /// Fits a model and puts it in force. Says whether that had been done before.
    ///
    /// # Errors
    /// If the program is unknown, the days are none, or what was bought tells too little.
    pub(crate) async fn fit_value_model(
        &self,
        question: FitQuestion,
        writer: Writer,
    ) -> Result<(FoundModel, bool), Error> {
        // Whoever asks again gets the first answer, whatever was bought since, and counts nothing for it.
        let not_yet = Refusal::new(Reason::ValueModelNotFitted, "it was not fitted under this key");
        let repeated = KeepModel { question: question.clone(), model: Err(not_yet) };
        match self.book.submit(repeated, writer).await {
            Ok(written) => return Ok((FoundModel::in_answer(written)?, true)),
            Err(Error::Refused(refusal)) if refusal.reason == Reason::ValueModelNotFitted => {}
            Err(error) => return Err(error),
        }
        let days = (question.from, question.until, question.holdout_days);
        let counting = self.count(&question.program_id, None, writer.principal_id).await?;
        let (learned, Counted { window, currency, slot }) = counting.learn(&question.program_id, days, 0).await?;
        let fitted = blocking(slot, move || fitting::fit(&learned, &window, currency)).await?;
        let model = match fitted {
            Err(FittingError::Defect(defect)) => return Err(defect.into()),
            Err(FittingError::Refused(refusal)) => Err(refusal),
            Ok(fitted) => Ok(ValueModel {
                version: 0,
                from: window.from,
                until: window.learned_until,
                as_of: window.as_of,
                customers: fitted.customers,
                repeat_buyers: fitted.repeat_buyers,
                purchases: fitted.purchases,
                spend: fitted.spend,
                holdout: fitted.holdout,
                horizon_days: question.horizon_days,
                discount: question.discount,
            }),
        };
        let written = self.book.submit(KeepModel { question, model }, writer).await?;
        let replayed = written.replayed;
        Ok((FoundModel::in_answer(written)?, replayed))
    }

    /// A version of a program's model; the latest, if none is said.
    ///
    /// # Errors
    /// If the program is unknown, or has no such model.
    pub(crate) async fn get_value_model(
        &self,
        program_id: &ProgramId,
        version: Option<i32>,
    ) -> Result<FoundModel, Error> {
        let mut connection = self.pool.acquire().await?;
        let program = read_version(&mut connection, program_id, Which::Latest).await?;
        program.ok_or_else(|| program_not_found(program_id))?;
        let found = find_model(&mut connection, program_id, version, None).await?;
        found.ok_or_else(|| {
            let what =
                version.map_or_else(|| "no value model yet".to_owned(), |version| format!("no value model {version}"));
            let refusal = Refusal::new(Reason::ValueModelNotFound, format!("the program has {what}"));
            refusal.with("version", version.map_or_else(|| "latest".to_owned(), |version| version.to_string())).into()
        })
    }

    /// How well rules would have told who leaves, for the window that they are tried on.
    ///
    /// # Errors
    /// As of [`Self::fit_value_model`].
    pub(crate) async fn get_value_backtest(
        &self,
        question: BacktestQuestion,
        principal_id: PrincipalId,
    ) -> Result<(Backtest, Timestamp, (Date, Date)), Error> {
        let BacktestQuestion { program_id, from, until, holdout_days, rules } = question;
        let days = (from, until, holdout_days);
        let counting = self.count(&program_id, None, principal_id).await?;
        let (learned, Counted { window, slot, .. }) = counting.learn(&program_id, days, 1).await?;
        let test = blocking(slot, move || fitting::backtest(&learned, &window, &rules)).await??;
        Ok((test, window.as_of, (window.learned_until, window.until)))
    }

    /// The customers of a program by recency, frequency and monetary value, with what became of them.
    ///
    /// # Errors
    /// If the program is unknown, or the instant lies ahead.
    pub(crate) async fn get_score_classes(
        &self,
        question: ScoresQuestion,
        principal_id: PrincipalId,
    ) -> Result<Scores, Error> {
        let ScoresQuestion { program_id, until, scores, after_days, as_of } = question;
        let counting = self.count(&program_id, as_of, principal_id).await?;
        let tomorrow = counting.require_begun(until)?;
        let Counting { mut place, as_of, policy } = counting;
        let until = until.unwrap_or_else(|| tomorrow.saturating_sub(after_days.days()));
        // Days that have not come tell nothing yet.
        let after_until = until.saturating_add(after_days.days()).min(tomorrow);
        let scored = Scored { until, after_until, as_of, scores };
        let classes = within(store::score(&mut place.connection, &program_id, &scored)).await?;
        Ok(Scores { scored, classes, currency: policy.program.currency })
    }

    /// Whether the customers of a program stay, period by period.
    ///
    /// # Errors
    /// If the program is unknown, the instant lies ahead, or the period has no days or too many parts.
    pub(crate) async fn get_retention(
        &self,
        question: RetentionQuestion,
        principal_id: PrincipalId,
    ) -> Result<FoundRetention, Error> {
        let RetentionQuestion { program_id, from, until, each, as_of, segment_id } = question;
        let counting = self.count(&program_id, as_of, principal_id).await?;
        counting.require_begun(until)?;
        let Counting { mut place, as_of, policy } = counting;
        let today = policy.program.day_of(as_of);
        let days = divide(today, (from, until), None).map_err(|violation| Error::Invalid(vec![violation]))?;
        // Periods are those of the calendar, from the first day of the one that `from` lies in.
        let (from, until) = days.first().copied().unwrap_or((today, today));
        let from = each.first_day(from);
        let periods = divide(today, (Some(from), Some(until)), Some(each));
        let periods = periods.map_err(|violation| Error::Invalid(vec![violation]))?;
        let before = each.first_day(from.saturating_sub(1.day()));
        let first_days: Vec<Date> = std::iter::once(before).chain(periods.iter().map(|(first, _)| *first)).collect();
        let days = (first_days.as_slice(), until);
        let counted = async {
            let members = match &segment_id {
                None => None,
                Some(id) => Some(self.segments.find_members(&mut place.connection, &policy, id, as_of).await?),
            };
            let connection = &mut place.connection;
            let counted = store::count_cohorts(connection, &program_id, days, members.as_deref(), as_of).await;
            counted.map_err(Error::from)
        };
        let parts = within(counted).await?;
        Ok(FoundRetention { as_of, currency: policy.program.currency, retention: Retention::of(&periods, &parts) })
    }

    /// Takes a place to count in, as of an instant.
    async fn count(
        &self,
        program_id: &ProgramId,
        as_of: Option<Timestamp>,
        principal_id: PrincipalId,
    ) -> Result<Counting, Error> {
        Counting::begin((&self.counts, &self.instants), program_id, as_of, principal_id).await
    }
}

async fn find_model(
    connection: &mut PgConnection,
    program_id: &ProgramId,
    version: Option<i32>,
    as_of: Option<Timestamp>,
) -> Result<Option<FoundModel>, StoreError> {
    let entry = store::find_model(connection, program_id, version, as_of).await?;
    Ok(entry.map(FoundModel::of).transpose()?)
}

impl CustomerValue {
    fn of(
        bought: Option<PurchaseHistory>,
        latest: Option<FoundModel>,
        policy: &ProgramVersion,
        as_of: Timestamp,
    ) -> Result<Self, Error> {
        let (today, currency) = (policy.program.day_of(as_of), policy.program.currency);
        let forecast = latest.zip(bought.as_ref());
        let forecast =
            forecast.map(|(latest, bought)| Forecast::of(&latest.model, bought, today, currency)).transpose()?;
        Ok(Self { as_of, today, currency, bought, forecast })
    }
}

impl FoundModel {
    fn of(entry: Entry) -> Result<Self, Defect> {
        let Detail::Program(ProgramDetail::ValueModelFitted { model }) = &entry.detail else {
            return Err(Defect::new(format!("entry {} fits no model", entry.id)));
        };
        let model = ValueModel::clone(model);
        Ok(Self { entry, model })
    }

    fn in_answer(written: Written) -> Result<Self, Defect> {
        let entry = written.entries.into_iter().next();
        Self::of(entry.ok_or_else(|| Defect::new("a model came to no entry".to_owned()))?)
    }
}
