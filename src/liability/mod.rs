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

pub(crate) use summing::{Pace, keep_summing_up, summary_ages};

use crate::book::Instants;
use crate::error::{Error, Reason, Refusal};
use crate::ids::ProgramId;
use crate::programs::model::Which;
use crate::programs::model::{ProgramVersion, program_not_found};
use crate::programs::{read_version, read_version_at};
use model::Summary;

pub(crate) use store::TABLES;

/// The use cases of liability.
#[derive(Clone)]
pub(crate) struct Liability {
    pool: PgPool,
    instants: Instants,
}

impl Liability {
    /// Liability read from `pool`.
    #[must_use]
    pub(crate) const fn new(pool: PgPool, instants: Instants) -> Self {
        Self { pool, instants }
    }

    /// The newest summary of a program that is no later than the asked instant, or than now if none is asked, and the
    /// program version of that time.
    ///
    /// # Errors
    /// If the program is unknown, there is no such summary, or the instant lies ahead.
    pub(crate) async fn get_liability(
        &self,
        program_id: &ProgramId,
        asked_instant: Option<Timestamp>,
    ) -> Result<(Summary, ProgramVersion), Error> {
        let as_of = match asked_instant {
            Some(_) => Some(self.instants.close("as_of", asked_instant).await?),
            None => None,
        };
        let mut connection = self.pool.acquire().await?;
        let Some(summary) = store::read_summary(&mut connection, program_id, as_of).await? else {
            let version = read_version(&mut connection, program_id, Which::Latest).await?;
            version.ok_or_else(|| program_not_found(program_id))?;
            let by = as_of.map(|as_of| format!(" by {as_of}")).unwrap_or_default();
            let message = format!("nothing was summed up{by}; it is done from time to time");
            return Err(Refusal::new(Reason::LiabilityUnknown, message).with("program_id", program_id).into());
        };
        let version = read_version_at(&mut connection, program_id, summary.taken_at).await?;
        Ok((summary, version.ok_or_else(|| program_not_found(program_id))?))
    }
}
