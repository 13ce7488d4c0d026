//! Satisfaction: what customers say, of one customer and of all together. Feedback itself is an activity.

pub(crate) mod grpc;
pub(crate) mod index;
pub(crate) mod model;
pub(crate) mod state;
mod store;

use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;
use sqlx::postgres::PgConnectOptions;
use sqlx::{PgConnection, PgPool};

use crate::book::{EntryRange, Instants, begin_snapshot};
use crate::customers::{find_account, find_entries_by};
use crate::database::{ExportBounds, ExportPlaces, StoreError, by_scan};
use crate::error::Error;
use crate::ids::{AccountId, CustomerId, FactorId, PrincipalId, ProgramId, SegmentId};
use crate::programs::model::{ProgramVersion, Which, program_not_found};
use crate::programs::periods::divide;
use crate::programs::points::CalendarPeriod;
use crate::programs::{SegmentFinder, read_version, read_version_at};
use index::Tally;
use model::{LOOKED_AT, Said};
use state::Feedback;
use store::{Counted, count};

pub(crate) use store::capability;

/// The use cases of satisfaction.
#[derive(Clone)]
pub(crate) struct Satisfaction {
    pool: PgPool,
    instants: Instants,
    counts: ExportPlaces,
    segments: Arc<dyn SegmentFinder>,
}

/// How satisfied a customer is.
pub(crate) struct CustomerSatisfaction {
    /// The instant that it is for.
    pub as_of: Timestamp,
    /// What they said.
    pub said: Said,
    /// Whose answers they are.
    pub account_id: AccountId,
    /// The version in force then.
    pub policy: ProgramVersion,
}

/// For which days an index is asked.
#[derive(Clone, Debug)]
pub(crate) struct IndexQuestion {
    pub program_id: ProgramId,
    /// The first day; a year before `until`, if absent.
    pub from: Option<Date>,
    /// The first day after them; after the present one, if absent.
    pub until: Option<Date>,
    /// By what they are divided; not at all, if absent.
    pub each: Option<CalendarPeriod>,
    pub as_of: Option<Timestamp>,
    /// Only what its customers said; all, if absent.
    pub segment_id: Option<SegmentId>,
}

/// What a program's customers said.
pub(crate) struct Indexes {
    /// The instant that it is for.
    pub as_of: Timestamp,
    /// The first day of each part and the first day after it, with what was counted.
    pub parts: Vec<((Date, Date), Tally)>,
    /// The version in force then.
    pub policy: ProgramVersion,
}

impl Satisfaction {
    /// Satisfaction read from `pool`. Indexes connect to the database themselves.
    #[must_use]
    pub(crate) fn new(
        pool: PgPool,
        database: &PgConnectOptions,
        instants: Instants,
        segments: Arc<dyn SegmentFinder>,
    ) -> Self {
        Self { pool, instants, counts: ExportPlaces::new(by_scan(database), ExportBounds::COUNTS), segments }
    }

    /// How satisfied a customer is, now or at an instant.
    ///
    /// # Errors
    /// If the customer is unknown (then), or the instant lies ahead.
    pub(crate) async fn get_satisfaction(
        &self,
        program_id: &ProgramId,
        customer_id: &CustomerId,
        as_of: Option<Timestamp>,
    ) -> Result<CustomerSatisfaction, Error> {
        let is_past = as_of.is_some();
        let as_of = self.instants.close("as_of", as_of).await?;
        let mut connection = self.pool.acquire().await?;
        let account_id = find_account(&mut connection, program_id, customer_id).await?;
        let mut snapshot = begin_snapshot(&mut connection).await?;
        // Now, all that was written counts, also where the clock went back since.
        let by = Some(as_of).filter(|_| is_past);
        let (_, range) = find_entries_by(&mut snapshot, (account_id, customer_id), by).await?;
        let said = Said::of(store::read_feedback(&mut snapshot, account_id, range, LOOKED_AT).await?);
        let policy = if is_past {
            read_version_at(&mut snapshot, program_id, as_of).await?
        } else {
            read_version(&mut snapshot, program_id, Which::Latest).await?
        };
        let policy = policy.ok_or_else(|| program_not_found(program_id))?;
        snapshot.commit().await?;
        Ok(CustomerSatisfaction { as_of, said, account_id, policy })
    }

    /// What the customers of a program said on the days of a period, part by part.
    ///
    /// # Errors
    /// If the program is unknown, the instant lies ahead, the period has no days or too many parts, or too many count already.
    pub(crate) async fn get_satisfaction_index(
        &self,
        question: IndexQuestion,
        principal_id: PrincipalId,
    ) -> Result<Indexes, Error> {
        let IndexQuestion { program_id, from, until, each, as_of, segment_id } = question;
        let mut place = self.counts.take(principal_id).await?;
        let as_of = self.instants.close("as_of", as_of).await?;
        place.begin_snapshot().await?;
        let policy = read_version_at(&mut place.connection, &program_id, as_of).await?;
        let policy = policy.ok_or_else(|| program_not_found(&program_id))?;
        let days = divide(policy.program.day_of(as_of), (from, until), each);
        let days = days.map_err(|violation| Error::Invalid(vec![violation]))?;
        let first_days: Vec<Date> = days.iter().map(|(first, _)| *first).collect();
        let until = days.last().map_or(Date::MIN, |(_, until)| *until);
        let factors: Vec<&FactorId> = policy.program.satisfaction.factors.iter().map(|it| &it.factor_id).collect();
        let members = match &segment_id {
            None => None,
            Some(id) => Some(self.segments.find_members(&mut place.connection, &policy, id, as_of).await?),
        };
        let counted = Counted {
            program_id: &program_id,
            first_days: &first_days,
            until,
            as_of,
            factors: &factors,
            members: members.as_deref(),
        };
        let tallies = count(&mut place.connection, &counted).await?;
        Ok(Indexes { as_of, parts: days.into_iter().zip(tallies).collect(), policy })
    }
}

/// What an account said, by the entries of a range that accepted it, the last first; at most `limit`.
///
/// # Errors
/// If the database cannot be read.
pub(crate) async fn read_feedback(
    connection: &mut PgConnection,
    account_id: AccountId,
    range: EntryRange,
    limit: i64,
) -> Result<Vec<(i64, Feedback)>, StoreError> {
    store::read_feedback(connection, account_id, range, limit).await
}
