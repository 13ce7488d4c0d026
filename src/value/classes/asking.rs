//! What is asked about value classes.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::Date;

use super::measuring::{Census, Lease};
use super::model::{Outcome, classification_in, days_before};
use super::state::ClassRow;
use super::store::{find_class, find_classification};
use crate::book::{Classification, Entry, begin_snapshot};
use crate::customers::{find_account, find_entries_by};
use crate::error::{Error, Reason, Refusal};
use crate::ids::{CustomerId, EntryId, PrincipalId, ProgramId, ValueClassId};
use crate::money::Currency;
use crate::programs::next::Tried;
use crate::programs::{read_currency, read_tried};
use crate::value::Value;
use crate::value::reading::{Counting, within};

/// The class of a customer at an instant.
pub(crate) struct FoundClass {
    pub(in crate::value) as_of: Timestamp,
    pub(in crate::value) currency: Currency,
    /// The entry that decided, and what; none, if nothing was decided by then.
    pub(in crate::value) decided: Option<(EntryId, ClassRow)>,
}

/// How the customers of a program were classed, and the entry that tells it.
pub(crate) struct FoundClassification {
    pub(in crate::value) entry: Entry,
    pub(in crate::value) currency: Currency,
    pub(in crate::value) classification: Classification,
}

/// What a policy would do, if the period ended.
pub(crate) struct Simulated {
    pub(in crate::value) as_of: Timestamp,
    pub(in crate::value) currency: Currency,
    pub(in crate::value) classification: Classification,
    /// How many customers would go from a class, or from none, to another.
    pub(in crate::value) moves: BTreeMap<(Option<ValueClassId>, ValueClassId), i64>,
    /// How many would be below the class that they keep.
    pub(in crate::value) below: i64,
}

impl Value {
    /// The class of a customer, now or at an instant.
    ///
    /// # Errors
    /// If the customer is unknown (then), or the instant lies ahead.
    pub(in crate::value) async fn get_value_class(
        &self,
        program_id: &ProgramId,
        customer_id: &CustomerId,
        as_of: Option<Timestamp>,
    ) -> Result<FoundClass, Error> {
        let mut connection = self.pool.acquire().await?;
        let currency = read_currency(&mut connection, program_id).await?;
        let account_id = find_account(&mut connection, program_id, customer_id).await?;
        let Some(as_of) = as_of else {
            let (decided, told) = find_class(&mut connection, account_id, None).await?;
            return Ok(FoundClass { as_of: self.instants.clock().present(told), currency, decided });
        };
        let as_of = self.instants.close("as_of", Some(as_of)).await?;
        let mut snapshot = begin_snapshot(&mut connection).await?;
        let (_, range) = find_entries_by(&mut snapshot, (account_id, customer_id), Some(as_of)).await?;
        let (decided, _) = find_class(&mut snapshot, account_id, Some(range.last)).await?;
        snapshot.commit().await?;
        Ok(FoundClass { as_of, currency, decided })
    }

    /// How the customers of a program were classed at an end: at the last one, if none is said, and there is one.
    ///
    /// # Errors
    /// If the program is unknown, or its customers were not classed at the end that is asked for.
    pub(in crate::value) async fn get_value_classification(
        &self,
        program_id: &ProgramId,
        until: Option<Date>,
    ) -> Result<Option<FoundClassification>, Error> {
        let mut connection = self.pool.acquire().await?;
        let currency = read_currency(&mut connection, program_id).await?;
        let entry = find_classification(&mut connection, program_id, until).await?;
        let Some(entry) = entry else {
            let not_found = |until: Date| {
                let message = format!("no customers were classed at the end before {until}");
                Err(Refusal::new(Reason::ValueClassificationNotFound, message).with("until", until).into())
            };
            return until.map_or(Ok(None), not_found);
        };
        let classification = classification_in(&entry)?.clone();
        Ok(Some(FoundClassification { entry, currency, classification }))
    }

    /// What a policy would do if the period that an instant lies in ended with its day. Nothing is written.
    ///
    /// # Errors
    /// If the program or the version is unknown, the document is of another program or has no classes, or the customers are not
    /// counted in time.
    pub(in crate::value) async fn simulate_value_classes(
        &self,
        program_id: &ProgramId,
        tried: Tried,
        principal_id: PrincipalId,
    ) -> Result<Simulated, Error> {
        let counting = self.count(program_id, None, principal_id).await?;
        let tomorrow = counting.require_begun(None)?;
        let Counting { mut place, as_of, policy: current } = counting;
        let version = read_tried(&mut place.connection, (&current, as_of), tried).await?;
        let classes = version.program.value_classes.as_ref().ok_or_else(|| {
            Refusal::new(Reason::ValueClassesNotSet, "what is tried says nothing of value classes")
                .with("program_id", program_id)
        })?;
        let when = (days_before(classes, tomorrow), as_of);
        let census = Census::begin(&mut place.connection, &version, classes, when).await?;
        let no_model = || {
            Refusal::new(
                Reason::ValueModelNotFound,
                "the program has no value model that tells what customers will spend",
            )
            .with("version", "latest")
        };
        let census = census.ok_or_else(no_model)?;
        let outcome = within(census.class(&mut place.connection, classes, Lease::Absent)).await?;
        let classification = outcome.classification(&census.measuring);
        let Outcome { moves, below, .. } = outcome;
        Ok(Simulated { as_of, currency: version.program.currency, classification, moves, below })
    }
}
