//! Statements: a customer's moves of points in a period, between what they had before and after.

use std::collections::BTreeMap;

use super::Ledger;
use super::store::TimeRange;
use super::store::statement::{list_moves, read_activity_ids, read_notes};
use crate::book::{
    Balance, Depth, Entry, EntryRange, apply_dues_in_memory, begin_snapshot, find_entries_in, read_balance_at,
    read_head,
};
use crate::customers::find_account;
use crate::customers::model::customer_not_found;
use crate::error::Error;
use crate::ids::{AccountId, ActivityId, CustomerId, ProgramId};
use crate::paging::{PageRequest, WINDOW, parse_number};

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
        let cursor = page.after_with(parse_cursor)?;
        let now = self.instants.close("end_time", range.until).await?;
        let mut connection = self.pool.acquire().await?;
        let account_id = find_account(&mut connection, program_id, customer_id).await?;
        let mut snapshot = begin_snapshot(&mut connection).await?;
        let account = read_head(&mut snapshot, account_id).await?;
        let account = account.ok_or_else(|| customer_not_found(customer_id))?;
        let due = if account.next_due_at.is_some_and(|due_at| due_at <= now) {
            let accounts = [account_id];
            apply_dues_in_memory(&mut snapshot, &accounts, |_| now, Depth::Due, &self.capabilities).await?.applied_dues
        } else {
            Vec::new()
        };
        let written = find_entries_in(&mut snapshot, &account, range.from, range.until).await?;
        let due = DueEntries::of(due, range);

        // The first page fixes where the statement ends. The cursor tells it to the pages after.
        let (after, last) = match cursor {
            Some((after, last)) => (after.max(written.first - 1), last),
            None => (written.first - 1, written.last.max(due.last_within())),
        };
        let last_written = last.min(written.last);
        let due_within: Vec<Entry> = due.within.into_iter().filter(|entry| entry.id.account_seq <= last).collect();

        let mut opening = read_balance_at(&mut snapshot, account_id, written.first - 1).await?;
        let mut closing = read_balance_at(&mut snapshot, account_id, last_written.max(written.first - 1)).await?;
        // What is due comes after all that is written.
        make_moves(&mut opening, &due.before)?;
        make_moves(&mut closing, &due.before)?;
        make_moves(&mut closing, &due_within)?;

        // Moves may be far apart: a page looks at no more than so many entries, and may be short.
        let window = EntryRange { first: after + 1, last: last_written.min(after + WINDOW) };
        let is_part = window.last < last_written;
        let mut entries = list_moves(&mut snapshot, account_id, window, page.limit()).await?;
        let written_count = entries.len();
        if !is_part {
            let room = usize::try_from(page.limit()).unwrap_or(usize::MAX).saturating_sub(written_count);
            entries.extend(due_within.into_iter().filter(|entry| entry.id.account_seq > after).take(room));
        }
        let lines = describe(&mut snapshot, account_id, entries, written_count).await?;
        snapshot.commit().await?;
        let cursor = |line: &StatementLine| format!("{}.{last}", line.entry.id.account_seq);
        let window_end = is_part.then(|| format!("{}.{last}", window.last));
        let (lines, next_page_token) = page.cut_by(lines, cursor, StatementLine::bytes, window_end);
        Ok(Statement { opening, closing, lines, next_page_token })
    }
}

impl StatementLine {
    /// About how many bytes it takes in a page.
    fn bytes(&self) -> usize {
        self.entry.bytes() + self.note.len() + self.author.len()
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
fn parse_cursor(cursor: &str) -> Option<(i64, i64)> {
    let (after, last) = cursor.split_once('.')?;
    Some((parse_number(after)?, parse_number(last)?)).filter(|(after, last)| after <= last)
}

/// Makes the moves of entries that follow a balance.
fn make_moves(balance: &mut Balance, entries: &[Entry]) -> Result<(), Error> {
    for entry in entries {
        if let Some(movement) = entry.movement {
            let damaged = |error| Error::Internal(format!("entry {}, which is due: {error}", entry.id));
            balance.make(movement).map_err(damaged)?;
        }
    }
    Ok(())
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
