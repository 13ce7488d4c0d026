//! Making the summaries: what a program's customers have at one instant, from one snapshot, however busy the book is.

use std::time::Duration;

use jiff::Timestamp;
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection as _, PgConnection, PgPool};
use tokio::time::Instant;
use tracing::Instrument as _;

use super::model::{Summary, horizons_of};
use super::store;
use crate::book::{Capabilities, Defect, Depth, apply_dues_in_memory, begin_snapshot};
use crate::clock::Clock;
use crate::database::{StoreError, connect_alone};
use crate::error::with_causes;
use crate::ids::ProgramId;
use crate::points::state::PointsState;
use crate::programs::model::Program;
use crate::programs::read_version;

/// How many accounts with something due have their dues applied in memory at a time.
const PAGE: i64 = 256;
/// The pause before the next summary is so many times as long as the last one took. So a large database is not always
/// busy with summaries.
const REST_FACTOR: u32 = 20;
/// How long every summary is kept. Of older ones, only the last of each day is.
const KEPT_WHOLE: jiff::SignedDuration = jiff::SignedDuration::from_hours(48);

/// Makes summaries again and again, until it is dropped. Of several services on one database, one makes them at a time.
#[expect(clippy::disallowed_methods, reason = "the pause between two summaries, which grows with how long one takes")]
pub(crate) async fn keep_summing_up(
    database: PgConnectOptions,
    pool: PgPool,
    capabilities: Capabilities,
    clock: Clock,
    every: Duration,
) {
    let mut was_well = true;
    loop {
        let begun = Instant::now();
        let span = tracing::info_span!(parent: None, "liability.sum_up");
        let outcome = sum_up_if_old(&database, &pool, &capabilities, &clock, every).instrument(span).await;
        match &outcome {
            Ok(()) if !was_well => tracing::info!("liability is summed up again"),
            Err(error) if was_well => {
                tracing::warn!(error = with_causes(error), "liability cannot be summed up; trying on");
            }
            _ => {}
        }
        was_well = outcome.is_ok();
        tokio::time::sleep(every.max(begun.elapsed() * REST_FACTOR)).await;
    }
}

async fn sum_up_if_old(
    database: &PgConnectOptions,
    pool: &PgPool,
    capabilities: &Capabilities,
    clock: &Clock,
    every: Duration,
) -> Result<(), StoreError> {
    let last = store::last_taken_at(&mut *pool.acquire().await?).await?;
    let age = last.map(|last| clock.now().duration_since(last));
    let half = jiff::SignedDuration::try_from(every / 2).unwrap_or_default();
    if age.is_some_and(|age| age >= jiff::SignedDuration::ZERO && age < half) {
        return Ok(());
    }
    sum_up(database, capabilities, clock).await.map(|_| ())
}

/// Sums up every program as of now, and says what instant that is.
///
/// Writers wait for a moment. While all accounts are locked, no batch is under way: what took effect before the instant
/// is committed, and what is written afterwards takes effect later. The sums are then taken from the snapshot of that
/// moment, while writers go on. What is due but was not written yet is done in memory.
///
/// # Errors
/// If the database cannot be read, or writers do not pause for long.
pub(crate) async fn sum_up(
    database: &PgConnectOptions,
    capabilities: &Capabilities,
    clock: &Clock,
) -> Result<Timestamp, StoreError> {
    let (mut gate, mut reader) = (connect_alone(database).await?, connect_alone(database).await?);
    let mut snapshot = begin_snapshot(&mut reader).await?;
    let locked = store::lock_all_accounts(&mut gate).await?;
    let at = clock.now();
    store::start_snapshot(&mut snapshot).await?;
    locked.rollback().await?;
    let mut summaries = Vec::new();
    for program_id in store::list_programs(&mut snapshot).await? {
        let version = read_version(&mut snapshot, &program_id, None)
            .await?
            .ok_or_else(|| Defect::new(format!("program {program_id} has no version in force")))?;
        let summary = sum_program(&mut snapshot, &program_id, &version.program, at, capabilities).await?;
        summaries.push((program_id, version.program.time_zone.to_string(), summary));
    }
    snapshot.commit().await?;
    for (program_id, time_zone, summary) in summaries {
        store::insert_summary(&mut gate, &program_id, &summary).await?;
        store::thin_out(&mut gate, &program_id, &time_zone, at.saturating_sub(KEPT_WHOLE).unwrap_or(at)).await?;
    }
    // The summaries are written: an error while closing changes nothing.
    let _ = tokio::join!(gate.close(), reader.close());
    Ok(at)
}

async fn sum_program(
    snapshot: &mut PgConnection,
    program_id: &ProgramId,
    program: &Program,
    at: Timestamp,
    capabilities: &Capabilities,
) -> Result<Summary, StoreError> {
    let horizons = horizons_of(program, at);
    let mut sums = store::sum_accounts(snapshot, program_id, at).await?;
    let mut expiring = store::sum_expiring(snapshot, program_id, at, horizons).await?;
    let mut after = store::BEFORE_ALL;
    loop {
        let due = store::list_due(snapshot, program_id, at, after, PAGE).await?;
        let Some(last) = due.last() else { break };
        after = *last;
        let (accounts, states, _) = apply_dues_in_memory(snapshot, &due, at, Depth::Whole, capabilities).await?;
        let state: &PointsState = states.get()?;
        for account in accounts {
            sums += account.balance;
            for (_, lot) in state.lots().lots_of(account.account_id) {
                let points = i128::from(lot.available) + i128::from(lot.held);
                let expiry = state.lots().expiry_of(account.account_id, lot);
                for (slot, horizon) in expiring.iter_mut().zip(horizons) {
                    if points > 0 && expiry.is_some_and(|expiry| expiry <= horizon) {
                        *slot += points;
                    }
                }
            }
        }
    }
    Ok(Summary { taken_at: at, sums, expiring })
}
