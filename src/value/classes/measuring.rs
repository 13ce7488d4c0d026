//! Measuring all customers of a program, page by page. It is the same for what is written and for what is tried.

use std::sync::Arc;

use jiff::Timestamp;
use sqlx::PgConnection;
use tokio::task::spawn_blocking;
use uuid::Uuid;

use super::model::{Days, MAX_CLASSED, Measured, Measuring, Outcome, Roll, TooMany};
use super::store::{Candidate, read_page, renew_lease};
use crate::book::ValueMeasure;
use crate::database::StoreError;
use crate::error::{Defect, Error, with_causes};
use crate::ids::{AccountId, ProgramId};
use crate::programs::model::ProgramVersion;
use crate::programs::value_classes::ValueClassPolicy;
use crate::value::find_model;

/// How many customers are measured together.
const PAGE: usize = 512;

/// The customers of a program, as they are measured.
#[derive(Clone)]
pub(super) struct Census {
    pub(super) program_id: ProgramId,
    pub(super) measuring: Arc<Measuring>,
    /// By what was recorded by then.
    pub(super) as_of: Timestamp,
}

/// A customer with what was measured of them.
pub(super) type Weighed = (Candidate, Measured);

/// Customers by their accounts.
pub(super) struct Page {
    /// Those of whom it can be told what they are worth.
    pub(super) customers: Vec<Weighed>,
    /// The last account of all.
    pub(super) last: AccountId,
}

/// Whether whoever measures has a lease on the program's round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lease {
    /// They do, and say so again with each page.
    Renewed,
    Absent,
}

impl Census {
    /// A census by a policy: none, where there is no model of what customers will spend that it asks for.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub(super) async fn begin(
        connection: &mut PgConnection,
        version: &ProgramVersion,
        policy: &ValueClassPolicy,
        (days, as_of): (Days, Timestamp),
    ) -> Result<Option<Self>, StoreError> {
        let program_id = version.program.program_id.clone();
        let model = match policy.measure {
            ValueMeasure::Spend | ValueMeasure::Margin => None,
            ValueMeasure::ExpectedValue => {
                let found = find_model(connection, &program_id, None, Some(as_of)).await?;
                let Some(found) = found.filter(|found| found.model.spend.is_some()) else { return Ok(None) };
                Some(found.model)
            }
        };
        let measuring = Measuring { measure: policy.measure, currency: version.program.currency, days, model };
        Ok(Some(Self { program_id, measuring: Arc::new(measuring), as_of }))
    }

    /// The customers behind one; none behind the last.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub(super) async fn measure_page(
        &self,
        connection: &mut PgConnection,
        after: AccountId,
    ) -> Result<Option<Page>, StoreError> {
        let limit = i64::try_from(PAGE).unwrap_or(i64::MAX);
        let when = (self.measuring.days, self.measuring.earliest(), self.as_of);
        let candidates = read_page(connection, &self.program_id, when, after, limit).await?;
        let Some(last) = candidates.last().map(|candidate| candidate.account_id) else { return Ok(None) };
        let measuring = self.measuring.clone();
        // What customers will buy takes long to calculate.
        let customers = calculate(move || {
            let weigh = |candidate: Candidate| match measuring.measure(candidate.bought.as_ref()) {
                Ok(measured) => Some((candidate, measured?)),
                Err(defect) => {
                    let failure = with_causes(&defect);
                    tracing::error!(account_id = %candidate.account_id.0, failure, "a customer cannot be measured");
                    None
                }
            };
            candidates.into_iter().filter_map(weigh).collect()
        });
        Ok(Some(Page { customers: customers.await?, last }))
    }

    /// Where the classes of a policy begin, with everybody counted.
    ///
    /// # Errors
    /// If the database cannot be read, or there are more customers than can be classed.
    pub(super) async fn class(
        &self,
        connection: &mut PgConnection,
        policy: &ValueClassPolicy,
        lease: Lease,
    ) -> Result<Outcome, Error> {
        let mut roll = Roll::new(MAX_CLASSED);
        let mut after = AccountId(Uuid::nil());
        while let Some(page) = self.measure_page(connection, after).await? {
            if lease == Lease::Renewed {
                renew_lease(connection, &self.program_id).await?;
            }
            after = page.last;
            for (candidate, measured) in &page.customers {
                roll.add(*measured, candidate.held.as_ref()).map_err(|TooMany| {
                    Error::Exhausted(format!("the program has more than {MAX_CLASSED} customers who can be of a class"))
                })?;
            }
        }
        let policy = policy.clone();
        Ok(calculate(move || roll.class(&policy)).await?)
    }
}

/// Calculates where no other call waits for it.
async fn calculate<T: Send + 'static>(calculation: impl FnOnce() -> T + Send + 'static) -> Result<T, Defect> {
    spawn_blocking(calculation).await.map_err(|error| Defect::new(format!("a calculation ended early: {error}")))
}
