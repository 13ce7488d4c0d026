//! Statements: a customer's moves of points in a period, between what they had before and after.

use std::collections::BTreeMap;

use super::Ledger;
use super::store::TimeRange;
use super::store::statement::{
    EntryRange, Flow, find_entries_in, list_moves, read_activity_ids, read_notes, sum_flows,
};
use crate::book::{Balance, Depth, Entry, WithDues, apply_dues_in_memory, begin_snapshot};
use crate::customers::find_account;
use crate::customers::model::customer_not_found;
use crate::error::{Error, Reason, Refusal};
use crate::ids::{AccountId, ActivityId, CustomerId, ProgramId};
use crate::paging::PageRequest;

/// A page of a statement.
#[derive(Clone, Debug)]
pub struct Statement {
    /// Where the points were before the period.
    pub opening: Balance,
    /// Where the points were at its end.
    pub closing: Balance,
    /// The moves of this page.
    pub lines: Vec<StatementLine>,
    /// Leads to the next page; empty on the last.
    pub next_page_token: String,
}

/// A move of points, with what is known about it beside the ledger.
#[derive(Clone, Debug)]
pub struct StatementLine {
    /// The entry that moved the points.
    pub entry: Entry,
    /// Whether the entry is written. If not, it is due.
    pub is_written: bool,
    /// The business's own name of the activity that caused it.
    pub activity_id: Option<ActivityId>,
    /// What the caller wrote beside it; may be empty.
    pub note: String,
    /// Who adjusted the points by hand; may be empty.
    pub author: String,
}

impl Ledger {
    /// A page of a customer's statement over a period. A period without an end lasts until now and includes it.
    ///
    /// # Errors
    /// If the program or the customer is unknown, the period ends in the future, or the page token is bad.
    pub async fn get_statement(
        &self,
        program_id: &ProgramId,
        customer_id: &CustomerId,
        range: TimeRange,
        page: &PageRequest,
    ) -> Result<Statement, Error> {
        let cursor = page.after.as_deref().map(parse_cursor).transpose()?;
        let until = self.instants.close("end_time", range.until).await?;
        let mut connection = self.pool.acquire().await?;
        let account_id = find_account(&mut connection, program_id, customer_id).await?;
        let mut snapshot = begin_snapshot(&mut connection).await?;
        let WithDues { accounts, applied_dues: due, .. } =
            apply_dues_in_memory(&mut snapshot, &[account_id], |_| until, Depth::Due, &self.capabilities).await?;
        if accounts.is_empty() {
            return Err(customer_not_found(customer_id).into());
        }
        let written = find_entries_in(&mut snapshot, account_id, range).await?;
        let due = DueEntries::of(due, range);

        // The first page fixes where the statement ends. The cursor tells it to the pages after.
        let (after, last) = match cursor {
            Some(cursor) => cursor,
            None => (written.first - 1, written.last.max(due.last_within())),
        };
        let last_written = last.min(written.last);
        let due_within: Vec<Entry> = due.within.into_iter().filter(|entry| entry.id.account_seq <= last).collect();

        let before = EntryRange { first: 1, last: written.first - 1 };
        let mut flows = sum_flows(&mut snapshot, account_id, before).await?;
        flows.extend(due.before.iter().filter_map(Flow::of));
        let opening = balance_of(account_id, &flows)?;
        let within = EntryRange { first: written.first, last: last_written };
        flows.extend(sum_flows(&mut snapshot, account_id, within).await?);
        flows.extend(due_within.iter().filter_map(Flow::of));
        let closing = balance_of(account_id, &flows)?;

        // What is due comes after all that is written.
        let left = EntryRange { first: after + 1, last: last_written };
        let mut entries = list_moves(&mut snapshot, account_id, left, page.limit()).await?;
        let written_count = entries.len();
        let room = usize::try_from(page.limit()).unwrap_or(usize::MAX).saturating_sub(written_count);
        entries.extend(due_within.into_iter().filter(|entry| entry.id.account_seq > after).take(room));
        let (entries, next_page_token) = page.cut(entries, |entry| format!("{}.{last}", entry.id.account_seq));
        let lines = describe(&mut snapshot, account_id, entries, written_count).await?;
        snapshot.commit().await?;
        Ok(Statement { opening, closing, lines, next_page_token })
    }
}

/// The entries that are due and not written yet, as a statement sees them. Those after its period are left out.
struct DueEntries {
    before: Vec<Entry>,
    within: Vec<Entry>,
}

impl DueEntries {
    fn of(due: Vec<Entry>, range: TimeRange) -> Self {
        let (mut before, mut within) = (Vec::new(), Vec::new());
        for entry in due {
            if range.from.is_some_and(|from| entry.effective_at < from) {
                before.push(entry);
            } else if range.until.is_none_or(|until| entry.effective_at < until) {
                within.push(entry);
            }
        }
        Self { before, within }
    }

    /// The number of the last entry within the period; 0 if there is none.
    fn last_within(&self) -> i64 {
        self.within.iter().map(|entry| entry.id.account_seq).max().unwrap_or(0)
    }
}

/// Reads from a cursor after which entry the page begins, and with which entry the statement ends.
fn parse_cursor(cursor: &str) -> Result<(i64, i64), Error> {
    let parsed = cursor.split_once('.').and_then(|(after, last)| Some((after.parse().ok()?, last.parse().ok()?)));
    let invalid = || Refusal::new(Reason::PageTokenInvalid, "the page token is not one that this list returned");
    parsed.ok_or_else(|| invalid().into())
}

/// Adds up moves between the pockets of an account.
fn balance_of(account_id: AccountId, flows: &[Flow]) -> Result<Balance, Error> {
    let mut sums = [0_i128; 8];
    for flow in flows {
        flow.add_to(&mut sums);
    }
    let damaged =
        || Error::Internal(format!("account {}: the entries of a statement contradict each other", account_id.0));
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

/// Adds to entries what is stored beside the ledger: the activities that caused them, and callers' notes. The first
/// `written_count` entries are written, the others are due.
async fn describe(
    connection: &mut sqlx::PgConnection,
    account_id: AccountId,
    entries: Vec<Entry>,
    written_count: usize,
) -> Result<Vec<StatementLine>, Error> {
    let own_causes = |entry: &Entry| -> Vec<i64> {
        let own = entry.causes.iter().filter(|cause| cause.account_id == account_id);
        own.map(|cause| cause.account_seq).collect()
    };
    let causes: Vec<i64> = entries.iter().flat_map(own_causes).collect();
    let seqs: Vec<i64> = entries.iter().map(|entry| entry.id.account_seq).collect();
    let activities: BTreeMap<i64, ActivityId> = read_activity_ids(connection, account_id, &causes).await?;
    let mut notes = read_notes(connection, account_id, &seqs).await?;
    let mut lines = Vec::with_capacity(entries.len());
    for (place, entry) in entries.into_iter().enumerate() {
        // The last cause is the nearest: for points that a refund takes back, it is the refund.
        let activity_id = own_causes(&entry).iter().rev().find_map(|cause| activities.get(cause).cloned());
        let (note, author) = notes.remove(&entry.id.account_seq).unwrap_or_default();
        lines.push(StatementLine { activity_id, note, author, is_written: place < written_count, entry });
    }
    Ok(lines)
}
