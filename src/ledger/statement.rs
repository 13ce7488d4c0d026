//! Statements: a customer's moves of points in a period, between what they had before and after.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::Ledger;
use super::store::statement::{Flow, Stretch, list_moves, read_activity_ids, read_notes, stretch_of, sum_flows};
use crate::book::{Balance, Depth, Detail, Entry, EntryReason, Movement, Pocket, apply_dues_in_memory, begin_snapshot};
use crate::clock::refuse_future_in;
use crate::customers::{customer_not_found, find_account};
use crate::error::{Error, Reason, Refusal};
use crate::ids::{AccountId, ActivityId, CustomerId, EntryId, ProgramId};
use crate::paging::PageRequest;

/// A page of a statement.
#[derive(Clone, Debug)]
pub struct Statement {
    /// Where the points were before.
    pub opening: Balance,
    /// Where they were afterwards.
    pub closing: Balance,
    /// The moves of this page.
    pub lines: Vec<Line>,
    /// Leads to the next page; empty on the last.
    pub next_page_token: String,
}

/// A move of points, with what is known about it beside the ledger.
#[derive(Clone, Debug)]
pub struct Line {
    /// The entry.
    pub entry: Entry,
    /// Whether it is written, or only due.
    pub is_written: bool,
    /// The business's own name of the activity that caused it.
    pub activity_id: Option<ActivityId>,
    /// What the caller wrote beside it; may be empty.
    pub note: String,
    /// Who did it by hand; may be empty.
    pub author: String,
}

impl Ledger {
    /// A page of a customer's statement over `[from, until)`; up to now and including it, if `until` is absent.
    ///
    /// # Errors
    /// If the program or the customer is unknown, the period ends in the future, or the page token is bad.
    pub async fn get_statement(
        &self,
        program_id: &ProgramId,
        customer_id: &CustomerId,
        from: Option<Timestamp>,
        until: Option<Timestamp>,
        page: &PageRequest,
    ) -> Result<Statement, Error> {
        let now = self.clock.now();
        if let Some(until) = until {
            refuse_future_in("end_time", until, now)?;
        }
        let cursor = page.after.as_deref().map(parse_cursor).transpose()?;
        let mut connection = self.pool.acquire().await?;
        let account_id = find_account(&mut connection, program_id, customer_id).await?;
        let mut snapshot = begin_snapshot(&mut connection).await?;
        let (accounts, _, due) =
            apply_dues_in_memory(&mut snapshot, &[account_id], now, Depth::Due, &self.capabilities).await?;
        accounts.first().ok_or_else(|| customer_not_found(customer_id))?;
        let is_in = |entry: &&Entry| {
            from.is_none_or(|from| entry.effective_at >= from) && until.is_none_or(|until| entry.effective_at < until)
        };
        let written = stretch_of(&mut snapshot, account_id, from, until).await?;
        let due_last = due.iter().filter(is_in).map(|entry| entry.id.account_seq).max();
        let first = written.first;
        let last = cursor.map_or(written.last.max(due_last.unwrap_or(0)), |(_, last)| last);

        let is_before = |entry: &&Entry| from.is_some_and(|from| entry.effective_at < from);
        let mut flows = sum_flows(&mut snapshot, account_id, Stretch { first: 1, last: first - 1 }).await?;
        flows.extend(due.iter().filter(is_before).filter_map(Flow::of));
        let opening = balance_of(&flows)?;
        flows.extend(sum_flows(&mut snapshot, account_id, Stretch { first, last: last.min(written.last) }).await?);
        let due: Vec<Entry> = due.into_iter().filter(|entry| is_in(&entry) && entry.id.account_seq <= last).collect();
        flows.extend(due.iter().filter_map(Flow::of));
        let closing = balance_of(&flows)?;

        let after = cursor.map_or(first - 1, |(after, _)| after);
        let stretch = Stretch { first: after + 1, last: last.min(written.last) };
        let mut entries = list_moves(&mut snapshot, account_id, stretch, page.limit()).await?;
        let written_count = entries.len();
        let room = usize::try_from(page.limit()).unwrap_or(usize::MAX).saturating_sub(written_count);
        entries.extend(due.into_iter().filter(|entry| entry.id.account_seq > after).take(room));
        let (entries, next_page_token) = page.cut(entries, |entry| format!("{}.{last}", entry.id.account_seq));
        let lines = describe(&mut snapshot, account_id, entries, written_count).await?;
        snapshot.commit().await?;
        Ok(Statement { opening, closing, lines, next_page_token })
    }
}

/// Where a page ended, and where the statement ends.
fn parse_cursor(cursor: &str) -> Result<(i64, i64), Error> {
    let parsed = cursor.split_once('.').and_then(|(after, last)| Some((after.parse().ok()?, last.parse().ok()?)));
    let invalid = || Refusal::new(Reason::PageTokenInvalid, "the page token is not one that this list returned");
    parsed.ok_or_else(|| invalid().into())
}

/// Adds up moves between pockets.
fn balance_of(flows: &[Flow]) -> Result<Balance, Error> {
    let mut sums = [0_i128; 8];
    for flow in flows {
        flow.add_to(&mut sums);
    }
    let damaged = || Error::Internal("the entries of a statement contradict each other".to_owned());
    let count = |sum: i128| i64::try_from(sum).ok().filter(|count| *count >= 0).ok_or_else(damaged);
    let [issued, owed, pending, available, held, redeemed, expired, cancelled] = sums;
    Ok(Balance {
        issued: count(issued)?,
        owed: count(owed)?,
        pending: count(pending)?,
        available: count(available)?,
        held: count(held)?,
        redeemed: count(redeemed)?,
        expired: count(expired)?,
        cancelled: count(cancelled)?,
    })
}

/// Adds to entries what is known beside the ledger: the activities behind them, and callers' notes.
async fn describe(
    connection: &mut sqlx::PgConnection,
    account_id: AccountId,
    entries: Vec<Entry>,
    written_count: usize,
) -> Result<Vec<Line>, Error> {
    let own_causes = |entry: &Entry| -> Vec<i64> {
        let own = entry.causes.iter().filter(|cause: &&EntryId| cause.account_id == account_id);
        own.map(|cause| cause.account_seq).collect()
    };
    let causes: Vec<i64> = entries.iter().flat_map(own_causes).collect();
    let seqs: Vec<i64> = entries.iter().map(|entry| entry.id.account_seq).collect();
    let activities: BTreeMap<i64, ActivityId> = read_activity_ids(connection, account_id, &causes).await?;
    let mut notes = read_notes(connection, account_id, &seqs).await?;
    let describe = |(place, entry): (usize, Entry)| {
        // The last cause is the nearest: of what a refund takes back, the refund.
        let activity_id = own_causes(&entry).iter().rev().find_map(|cause| activities.get(cause).cloned());
        let (note, author) = notes.remove(&entry.id.account_seq).unwrap_or_default();
        Line { activity_id, note, author, is_written: place < written_count, entry }
    };
    Ok(entries.into_iter().enumerate().map(describe).collect())
}

/// What a move is, in words.
#[must_use]
pub fn words_for(entry: &Entry) -> &'static str {
    match (&entry.detail, entry.reason) {
        (Detail::PointsGranted { .. }, EntryReason::Purchase) => "Points for a purchase",
        (Detail::PointsGranted { .. }, EntryReason::ReferralReferrer) => "Points for bringing a customer",
        (Detail::PointsGranted { .. }, EntryReason::ReferralReferee) => "Points for coming by a referral",
        (Detail::PointsGranted { .. }, EntryReason::Goodwill) => "Points as a gesture of goodwill",
        (Detail::PointsGranted { .. }, EntryReason::Promotion) => "Points of a promotion",
        (Detail::PointsGranted { .. }, EntryReason::Correction) => "Points to correct a mistake",
        (Detail::PointsGranted { .. }, _) => "Points granted",
        (Detail::PointsImported { .. }, _) => "Points taken over from another system",
        (Detail::PointsVested { .. }, EntryReason::EventHappened) => {
            "Points available: what they were granted for happened"
        }
        (Detail::PointsVested { .. }, _) => "Points available",
        (Detail::VestingMissed { .. }, _) => "Points cancelled: what they were granted for did not happen in time",
        (Detail::PointsExpired { .. }, _) => "Points expired",
        (Detail::PointsRedeemed { .. }, _) => "Points redeemed",
        (Detail::PointsHeld { .. }, _) => "Points set aside",
        (Detail::PointsReleased { .. }, EntryReason::TimeReached) => "Points returned: the hold ended",
        (Detail::PointsReleased { .. }, _) => "Points returned from a hold",
        (Detail::PointsAdjusted { terms: Some(_), .. }, _) => "Points added by hand",
        (Detail::PointsAdjusted { terms: None, .. }, _) => "Points taken by hand",
        (Detail::EntryReversed { .. }, EntryReason::Refund) => "Points taken back for a refund",
        (Detail::EntryReversed { .. }, _) => words_for_reversal(entry.movement),
        (Detail::DebtIncurred { .. }, EntryReason::Refund) => "Points owed for a refund",
        (Detail::DebtIncurred { .. }, _) => "Points owed for a reversal",
        (Detail::DebtRepaid { .. }, _) => "Points used to pay what was owed",
        _ => "Points moved",
    }
}

fn words_for_reversal(movement: Option<Movement>) -> &'static str {
    match movement.map(|movement| (movement.from, movement.to)) {
        Some((Pocket::Redeemed, Pocket::Expired)) => "Redemption undone: the points had expired meanwhile",
        Some((Pocket::Redeemed, _)) => "Points returned: a redemption was undone",
        Some((Pocket::Expired, Pocket::Available)) => "Expired points reinstated",
        Some((Pocket::Cancelled, Pocket::Expired)) => "Points taken by hand given back: they had expired meanwhile",
        Some((Pocket::Cancelled, _)) => "Points taken by hand given back",
        _ => "Points taken back: a grant was undone",
    }
}
