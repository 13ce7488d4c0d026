//! Making the summaries: what the customers of all programs have at one instant, from one snapshot, however busy the book
//! is. Nothing is locked for that.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use jiff::Timestamp;
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection as _, PgConnection, PgPool};
use tokio::time::Instant;
use tracing::Instrument as _;
use uuid::Uuid;

use super::model::{Summary, Sums, horizons_of, superseded_on};
use super::store::{self, Unsettled};
use crate::book::{
    Account, Capabilities, Depth, Folded, Instants, States, WithDues, apply_dues_in_memory, begin_snapshot, fold,
};
use crate::database::{StoreError, connect_alone};
use crate::error::{Defect, Error, with_causes};
use crate::ids::{AccountId, ProgramId};
use crate::points::state::PointsState;
use crate::programs::model::Zone;
use crate::programs::read_version_at;
use crate::telemetry::{self, metrics};

/// The pause before the next summary is so many times as long as the last one took. So a large database is not always
/// busy with summaries.
const REST_FACTOR: u32 = 20;
/// How many entries the accounts may have, all together, whose rows are held in memory at a time.
const MAX_ENTRIES: i64 = 20_000;
/// How often the lease is renewed while a summary is made: a third of the time that it lasts.
const RENEW_EVERY: Duration = Duration::from_secs(10);
/// How long every summary is kept. Of older ones, only the last of each day is.
const KEPT_WHOLE: jiff::SignedDuration = jiff::SignedDuration::from_hours(48);
/// How far back of that summaries are looked through for those that need not be kept.
const THINNED_OUT: jiff::SignedDuration = jiff::SignedDuration::from_hours(24 * 400);

/// Why no summary was made.
#[derive(Debug, thiserror::Error)]
enum SummingError {
    /// The database cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The instant was not closed.
    #[error(transparent)]
    Instant(#[from] Error),
    /// Another service has taken over.
    #[error("the lease on making summaries ended before the summary was made")]
    LeaseLost,
}

impl From<sqlx::Error> for SummingError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

/// Makes summaries again and again, until it is dropped. Of several services on one database, one makes them at a time.
#[expect(
    clippy::disallowed_methods,
    reason = "the pause between two summaries, and a name out of which no time is read"
)]
pub(crate) async fn keep_summing_up(
    database: PgConnectOptions,
    pool: PgPool,
    capabilities: Capabilities,
    instants: Instants,
    (every, pace): (Duration, Pace),
) {
    let maker = Maker { database, pool, capabilities, instants, every, name: Uuid::now_v7() };
    let mut was_well = true;
    loop {
        let begun = Instant::now();
        let span = tracing::info_span!(parent: None, "liability.sum_up");
        let outcome = maker.sum_up_if_old().instrument(span.clone()).await;
        if outcome.is_err() {
            telemetry::fail_span(&span, "round_failed");
        }
        drop(span);
        match &outcome {
            Ok(()) if !was_well => tracing::info!("liability is summed up again"),
            Err(error) if was_well => {
                tracing::warn!(error = with_causes(error), "liability cannot be summed up; trying on");
            }
            _ => {}
        }
        was_well = outcome.is_ok();
        metrics::count_round("liability", was_well);
        let took = begun.elapsed();
        let rest = every.max(took * REST_FACTOR);
        // The next summary is of the instant after the rest, and is there once it has been made.
        pace.set(rest + took * 2);
        tokio::time::sleep(rest).await;
    }
}

/// How old a summary may become before the next one is late, by how long the last one took.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pace(Arc<AtomicU64>);

impl Pace {
    fn set(&self, pace: Duration) {
        self.0.store(u64::try_from(pace.as_millis()).unwrap_or(u64::MAX), Relaxed);
    }

    /// That age; none before the first summary.
    pub(crate) fn get(&self) -> Duration {
        Duration::from_millis(self.0.load(Relaxed))
    }
}

/// How old the newest summary of each of the first hundred programs is, in seconds, and of the oldest one of the first
/// thousand. A program without one counts from its first version on.
///
/// # Errors
/// If the database cannot be read.
pub(crate) async fn summary_ages(pool: &PgPool) -> Result<(Vec<(String, f64)>, f64), StoreError> {
    store::read_summary_ages(&mut *pool.acquire().await?).await
}

/// A service that makes summaries when it is its turn.
struct Maker {
    database: PgConnectOptions,
    pool: PgPool,
    capabilities: Capabilities,
    instants: Instants,
    every: Duration,
    /// The name under which it takes the lease.
    name: Uuid,
}

impl Maker {
    async fn sum_up_if_old(&self) -> Result<(), SummingError> {
        if !store::take_lease(&mut *self.pool.acquire().await?, self.name).await? {
            return Ok(());
        }
        let outcome = tokio::select! {
            outcome = self.sum_up() => outcome,
            lost = self.renew_lease() => Err(lost),
        };
        // One that is not given back ends by itself.
        if let Ok(mut connection) = self.pool.acquire().await {
            let _ = store::end_lease(&mut connection, self.name).await;
        }
        outcome
    }

    /// Renews the lease until that fails.
    #[expect(clippy::disallowed_methods, reason = "the pause between two renewals")]
    async fn renew_lease(&self) -> SummingError {
        loop {
            tokio::time::sleep(RENEW_EVERY).await;
            let renewed = async { store::take_lease(&mut *self.pool.acquire().await?, self.name).await }.await;
            match renewed {
                Ok(true) => {}
                Ok(false) => return SummingError::LeaseLost,
                Err(error) => return error.into(),
            }
        }
    }

    /// Sums up every program as of now, unless that was done lately.
    async fn sum_up(&self) -> Result<(), SummingError> {
        let (last, told) = store::last_taken_at(&mut *self.pool.acquire().await?).await?;
        let age = last.map(|last| self.instants.clock().present(told).duration_since(last));
        let half = jiff::SignedDuration::try_from(self.every / 2).unwrap_or_default();
        if age.is_some_and(|age| age >= jiff::SignedDuration::ZERO && age < half) {
            return Ok(());
        }
        let mut connection = connect_alone(&self.database).await?;
        let at = self.instants.close("as_of", None).await?;
        // The snapshot is made by the first statement in it: after the instant was closed. So everything that took
        // effect by then is in it, and what took effect later can be told from it.
        let mut snapshot = begin_snapshot(&mut connection).await?;
        let totals = sum_programs(&mut snapshot, at, &self.capabilities).await?;
        snapshot.commit().await?;
        let summaries = totals.iter().map(|(program, total)| (program.as_str(), &total.summary));
        store::insert_summaries(&mut connection, summaries).await?;
        thin_out(&mut connection, &totals, at).await?;
        // The summaries are written: an error while closing changes nothing.
        let _ = connection.close().await;
        Ok(())
    }
}

/// Removes summaries of days that have passed, but for the last of each local day.
async fn thin_out(connection: &mut PgConnection, totals: &Totals, at: Timestamp) -> Result<(), sqlx::Error> {
    let before = at.saturating_sub(KEPT_WHOLE).unwrap_or(at);
    let since = before.saturating_sub(THINNED_OUT).unwrap_or(before);
    let mut superseded = Vec::new();
    for (program, total) in totals {
        let taken = store::list_taken(connection, program, since, before).await?;
        superseded.extend(superseded_on(&taken, &total.time_zone.0).map(|taken_at| (program.as_str(), taken_at)));
    }
    if superseded.is_empty() { Ok(()) } else { store::remove(connection, superseded.into_iter()).await }
}

/// Every program's sums, by its id.
type Totals = BTreeMap<String, Total>;

/// A program's sums as they grow.
struct Total {
    time_zone: Zone,
    horizons: [Timestamp; 3],
    summary: Summary,
}

impl Total {
    /// Adds an account as it was at the instant.
    fn add(&mut self, account: &Account, states: &States) -> Result<(), Defect> {
        let state: &PointsState = states.get()?;
        self.summary.sums += account.balance;
        for (_, lot) in state.lots().lots_of(account.account_id) {
            let points = i128::from(lot.available) + i128::from(lot.held);
            let expiry = state.lots().expiry_of(account.account_id, lot);
            for (slot, horizon) in self.summary.expiring.iter_mut().zip(self.horizons) {
                if points > 0 && expiry.is_some_and(|expiry| expiry <= horizon) {
                    *slot += points;
                }
            }
        }
        Ok(())
    }
}

/// Sums up all programs. One that cannot be read is named in the log, and holds up no other.
async fn sum_programs(
    snapshot: &mut PgConnection,
    at: Timestamp,
    capabilities: &Capabilities,
) -> Result<Totals, StoreError> {
    let mut totals = Totals::new();
    for program in store::list_programs(snapshot).await? {
        match begin_total(snapshot, &program, at).await {
            Ok(total) => {
                totals.insert(program, total);
            }
            Err(error) if error.is_of_a_row() => {
                tracing::error!(failure = with_causes(&error), program, "the liability of a program is not summed up");
            }
            Err(error) => return Err(error),
        }
    }
    for (program, sums) in store::sum_settled(snapshot, at).await? {
        if let Some(total) = totals.get_mut(&program) {
            total.summary.sums += sums;
        }
    }
    let horizons = totals.iter().map(|(program, total)| (program.as_str(), total.horizons));
    for (program, expiring) in store::sum_expiring(snapshot, at, horizons).await? {
        if let Some(total) = totals.get_mut(&program) {
            total.summary.expiring = expiring;
        }
    }
    store::open_unsettled(snapshot, at).await?;
    loop {
        let accounts = store::fetch_unsettled(snapshot).await?;
        if accounts.is_empty() {
            return Ok(totals);
        }
        let mut rest = accounts.as_slice();
        while !rest.is_empty() {
            let (together, later) = rest.split_at(count_together(rest));
            add_unsettled(snapshot, at, capabilities, together, &mut totals).await?;
            rest = later;
        }
    }
}

/// How many of the first accounts are held in memory at a time: a very large one is alone.
fn count_together(accounts: &[Unsettled]) -> usize {
    let mut entries = 0_i64;
    let fits = |account: &&Unsettled| {
        entries = entries.saturating_add(account.head);
        entries <= MAX_ENTRIES
    };
    accounts.iter().take_while(fits).count().max(1)
}

async fn begin_total(snapshot: &mut PgConnection, program: &str, at: Timestamp) -> Result<Total, StoreError> {
    let program_id = ProgramId::try_from(program).map_err(|error| Defect::new(format!("the program's id: {error}")))?;
    let version = read_version_at(snapshot, &program_id, at).await?;
    let program = version.ok_or_else(|| Defect::new("the program has no version in force".to_owned()))?.program;
    let summary = Summary { taken_at: at, sums: Sums::default(), expiring: [0; 3], left_out: 0 };
    let (time_zone, horizons) = (program.time_zone.clone(), horizons_of(&program, at));
    Ok(Total { time_zone, horizons, summary })
}

/// Adds accounts on which something is due by the instant, or to which something was written since. One that cannot be
/// read is named in the log and counted, and holds up no other.
async fn add_unsettled(
    snapshot: &mut PgConnection,
    at: Timestamp,
    capabilities: &Capabilities,
    accounts: &[Unsettled],
    totals: &mut Totals,
) -> Result<(), StoreError> {
    let due: Vec<AccountId> =
        accounts.iter().filter(|account| !account.is_ahead).map(|account| account.account_id).collect();
    // Together, since mostly all can be read; where one cannot, each is read alone to find which.
    let together = match read_due(snapshot, &due, at, capabilities).await {
        Ok(read) => Some(read),
        Err(error) if error.is_of_a_row() => None,
        Err(error) => return Err(error),
    };
    for Unsettled { account_id, program, is_ahead, .. } in accounts {
        let Some(total) = totals.get_mut(program) else { continue };
        let added = match &together {
            Some((accounts, states)) if !is_ahead => accounts
                .binary_search_by_key(account_id, |account| account.account_id)
                .map_or(Ok(()), |place| accounts.get(place).map_or(Ok(()), |account| total.add(account, states)))
                .map_err(StoreError::from),
            _ => add_alone(snapshot, at, capabilities, (*account_id, *is_ahead), total).await,
        };
        match added {
            Ok(()) => {}
            Err(error) if error.is_of_a_row() => {
                total.summary.left_out += 1;
                let failure = with_causes(&error);
                tracing::error!(failure, program, account_id = %account_id.0, "liability leaves out an account");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Adds one account. What was written since is undone by folding it from its entries.
async fn add_alone(
    snapshot: &mut PgConnection,
    at: Timestamp,
    capabilities: &Capabilities,
    (account_id, is_ahead): (AccountId, bool),
    total: &mut Total,
) -> Result<(), StoreError> {
    if is_ahead {
        let folded = fold(snapshot, account_id, at, capabilities.new_states()).await?;
        let Some(Folded { account, states, .. }) = folded else { return Ok(()) };
        return Ok(total.add(&account, &states)?);
    }
    let (accounts, states) = read_due(snapshot, &[account_id], at, capabilities).await?;
    Ok(accounts.iter().try_for_each(|account| total.add(account, &states))?)
}

async fn read_due(
    snapshot: &mut PgConnection,
    accounts: &[AccountId],
    at: Timestamp,
    capabilities: &Capabilities,
) -> Result<(Vec<Account>, States), StoreError> {
    let WithDues { accounts, states, .. } =
        apply_dues_in_memory(snapshot, accounts, |_| at, Depth::Whole, capabilities).await?;
    Ok((accounts, states))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_held_together_up_to_a_bound_and_a_very_large_one_alone() {
        let of = |heads: &[i64]| -> Vec<usize> {
            let account = |head: &i64| Unsettled {
                account_id: AccountId(Uuid::nil()),
                program: String::new(),
                head: *head,
                is_ahead: false,
            };
            let accounts: Vec<Unsettled> = heads.iter().map(account).collect();
            let (mut rest, mut sizes) = (accounts.as_slice(), Vec::new());
            while !rest.is_empty() {
                let count = count_together(rest);
                sizes.push(count);
                rest = &rest[count..];
            }
            sizes
        };
        assert_eq!(of(&[]), [0; 0]);
        assert_eq!(of(&[MAX_ENTRIES - 1, 1, 1]), [2, 1]);
        assert_eq!(of(&[3, i64::MAX, i64::MAX, 3, 4]), [1, 1, 1, 2]);
    }
}
