//! Liability: what a program owes its customers in points, for finance.
//!
//! The answer comes from summaries. They are made from time to time, each from one snapshot, so that nobody who asks
//! waits for a scan. Each summary says which instant it is for. Everything that took effect by then is in it, and
//! nothing later.

pub(crate) mod grpc;
pub(crate) mod model;
mod store;
mod summing;

use jiff::Timestamp;
use sqlx::PgPool;

pub(crate) use summing::keep_summing_up;

use crate::clock::{Clock, refuse_future};
use crate::error::{Error, Reason, Refusal};
use crate::ids::ProgramId;
use crate::programs::model::{ProgramVersion, program_not_found};
use crate::programs::{read_version, read_version_number_at};
use model::Summary;

pub(crate) use store::TABLES;

/// The use cases of liability.
#[derive(Clone)]
pub(crate) struct Liability {
    pool: PgPool,
    clock: Clock,
}

impl Liability {
    /// Liability read from `pool`.
    #[must_use]
    pub(crate) const fn new(pool: PgPool, clock: Clock) -> Self {
        Self { pool, clock }
    }

    /// The newest summary of a program that is no later than `as_of`, and the program version of that time.
    ///
    /// # Errors
    /// If the program is unknown, there is no such summary, or the instant lies ahead.
    pub(crate) async fn get_liability(
        &self,
        program_id: &ProgramId,
        as_of: Option<Timestamp>,
    ) -> Result<(Summary, ProgramVersion), Error> {
        let now = self.clock.now();
        let as_of = as_of.unwrap_or(now);
        refuse_future(as_of, now)?;
        let mut connection = self.pool.acquire().await?;
        let Some(summary) = store::read_summary(&mut connection, program_id, as_of).await? else {
            let version = read_version(&mut connection, program_id, None).await?;
            version.ok_or_else(|| program_not_found(program_id))?;
            let message = format!("nothing was summed up by {as_of}; it is done from time to time");
            let refusal = Refusal::new(Reason::LiabilityUnknown, message).with("program_id", program_id);
            return Err(refusal.with("as_of", as_of).into());
        };
        let number = read_version_number_at(&mut connection, program_id, summary.taken_at).await?;
        let version = read_version(&mut connection, program_id, number).await?;
        Ok((summary, version.ok_or_else(|| program_not_found(program_id))?))
    }
}
