//! Lifecycles: where each customer stands in the relationship, by what is known of them and by time.

pub(crate) mod grpc;
mod model;
pub(crate) mod state;
mod store;

use std::collections::BTreeMap;

use jiff::Timestamp;
use sqlx::{PgConnection, PgPool};

use crate::book::{
    Actor, AsOf, Capabilities, Decision, DecisionError, Detail, Entry, EntryReason, Facts, Folded, Instants,
    LifecycleDetail, NewEntry, Position, begin_snapshot, read_as_of, read_with_dues,
};
use crate::customers::find_account;
use crate::customers::model::customer_not_found;
use crate::error::{Defect, Error};
use crate::ids::{AccountId, CustomerId, EntryId, ProgramId};
use crate::money::Currency;
use crate::programs::model::ProgramVersion;
use crate::programs::read_currency;
use model::{Foretold, decide, foretell, silence_of, take_in};
use state::LifecycleState;

pub(crate) use store::capability;

/// What a command posted on an account that decides where its customer stands.
struct Touched {
    facts: Facts,
    causes: Vec<EntryId>,
}

/// Decides anew where the customers stand whom a command has posted anything about: it is called at its end, and posts what
/// changes. The command lists [`LifecycleState`].
///
/// # Errors
/// [`DecisionError::NotLoaded`] if an account is not locked.
pub(crate) fn follow(decision: &mut Decision<'_>, policy: &ProgramVersion) -> Result<(), DecisionError> {
    let Some(lifecycle) = &policy.program.lifecycle else { return Ok(()) };
    let state: &LifecycleState = decision.state()?;
    let mut touched: BTreeMap<AccountId, Touched> = BTreeMap::new();
    for (id, new_entry) in decision.posted() {
        let known = || Touched { facts: state.facts(id.account_id), causes: Vec::new() };
        let touched = touched.entry(id.account_id).or_insert_with(known);
        if take_in(&mut touched.facts, &new_entry.detail) {
            touched.causes.push(id);
        }
    }
    for (account_id, Touched { facts, causes }) in touched {
        let account = decision.account(account_id)?;
        if causes.is_empty() || account.erased_at.is_some() {
            continue;
        }
        let row = state.get(account_id);
        let has_bought = facts.last_purchase_at > state.facts(account_id).last_purchase_at;
        let before = row.map(|row| row.position);
        let at = account.time_at(decision.at());
        let to = decide(lifecycle, before.as_ref(), &facts, has_bought, at);
        let silence = silence_of(lifecycle);
        if row.is_some_and(|row| row.position == to && row.silence == silence) {
            continue;
        }
        let new_entry = NewEntry {
            detail: LifecycleDetail::LifecycleDecided { before, to, by: Box::new(facts), silence }.into(),
            movement: None,
            actor: Actor::Rule,
            reason: EntryReason::Lifecycle,
            policy_version: policy.version,
            causes,
        };
        decision.post(account_id, new_entry)?;
    }
    Ok(())
}

/// The use cases of lifecycles.
#[derive(Clone)]
pub(crate) struct Lifecycles {
    pool: PgPool,
    instants: Instants,
    capabilities: Capabilities,
}

/// Where a customer stands, and why.
pub(crate) struct FoundLifecycle {
    /// The instant that it is for.
    pub as_of: Timestamp,
    pub currency: Currency,
    /// None, if nothing was decided by then.
    pub decided: Option<FoundDecision>,
}

/// A decision about where a customer stands.
pub(crate) struct FoundDecision {
    /// The entry; none of what time has done that is not written yet.
    pub entry_id: Option<EntryId>,
    pub decided_at: Timestamp,
    pub policy_version: i32,
    pub causes: Vec<EntryId>,
    pub before: Option<Position>,
    pub position: Position,
    /// Since when they are in the stage.
    pub since: Timestamp,
    /// What was known then.
    pub by: Facts,
    /// What silence will do, if nothing else happens: told of the present alone.
    pub forecast: Vec<Foretold>,
}

impl Lifecycles {
    /// Lifecycles read from `pool`.
    #[must_use]
    pub(crate) const fn new(pool: PgPool, instants: Instants, capabilities: Capabilities) -> Self {
        Self { pool, instants, capabilities }
    }

    /// Where a customer stands, now or at an instant.
    ///
    /// # Errors
    /// If the customer is unknown (then), or the instant lies ahead.
    pub(crate) async fn get_lifecycle(
        &self,
        program_id: &ProgramId,
        customer_id: &CustomerId,
        as_of: Option<Timestamp>,
    ) -> Result<FoundLifecycle, Error> {
        let mut connection = self.pool.acquire().await?;
        let currency = read_currency(&mut connection, program_id).await?;
        let account_id = find_account(&mut connection, program_id, customer_id).await?;
        let Some(at) = as_of else {
            let read = read_with_dues(&mut connection, account_id, self.instants.clock(), &self.capabilities).await?;
            let (folded, as_of) = read.ok_or_else(|| customer_not_found(customer_id))?;
            let decided = find_in(&folded, &mut connection, true).await?;
            return Ok(FoundLifecycle { as_of, currency, decided });
        };
        let as_of = self.instants.close("as_of", Some(at)).await?;
        let mut snapshot = begin_snapshot(&mut connection).await?;
        let decided = match read_as_of(&mut snapshot, account_id, as_of, &self.capabilities).await? {
            None => return Err(customer_not_found(customer_id).into()),
            Some(AsOf::Rows(folded)) => find_in(&folded, &mut snapshot, false).await?,
            Some(AsOf::Past(past)) => match store::find_decided(&mut snapshot, account_id, past.last).await? {
                None => None,
                Some((account_seq, since)) => {
                    let entry = store::read_decision(&mut snapshot, account_id, account_seq).await?;
                    Some(FoundDecision::of(&entry, since)?)
                }
            },
        };
        snapshot.commit().await?;
        Ok(FoundLifecycle { as_of, currency, decided })
    }
}

/// The decision about where a customer stands, who was read with what is due.
async fn find_in(folded: &Folded, connection: &mut PgConnection, is_now: bool) -> Result<Option<FoundDecision>, Error> {
    let account_id = folded.account.account_id;
    let Some(row) = folded.states.get::<LifecycleState>()?.get(account_id) else { return Ok(None) };
    let due = folded.applied_dues.iter().find(|due| due.id.account_seq == row.decided_seq);
    let mut found = match due {
        Some(due) => FoundDecision { entry_id: None, ..FoundDecision::of(due, row.since)? },
        None => {
            let entry = store::read_decision(connection, account_id, row.decided_seq).await?;
            FoundDecision::of(&entry, row.since)?
        }
    };
    if is_now && row.ended_at.is_none() {
        found.forecast = foretell(&row.position, &row.facts, &row.silence);
    }
    Ok(Some(found))
}

impl FoundDecision {
    fn of(entry: &Entry, since: Timestamp) -> Result<Self, Defect> {
        let Detail::Lifecycle(LifecycleDetail::LifecycleDecided { before, to, by, silence: _ }) = &entry.detail else {
            return Err(Defect::new(format!("entry {} decides no lifecycle", entry.id)));
        };
        Ok(Self {
            entry_id: Some(entry.id),
            decided_at: entry.effective_at,
            policy_version: entry.policy_version,
            causes: entry.causes.clone(),
            before: *before,
            position: *to,
            since,
            by: **by,
            forecast: Vec::new(),
        })
    }
}
