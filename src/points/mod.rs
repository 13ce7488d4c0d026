//! Points: what grants make of them, who may spend them, and what time does to them.
//!
//! The room is cut by use: grants, holds, spending and undoing, each with its rules (`model.rs`) and its commands. All
//! of them move points of the same lots.

pub(crate) mod amount;
mod debts;
mod dues;
pub(crate) mod grants;
pub(crate) mod grpc;
pub(crate) mod holds;
pub(crate) mod lots;
mod settling;
pub(crate) mod spending;
pub(crate) mod state;
mod store;
pub(crate) mod subject;
pub(crate) mod undoing;
mod vesting;

use std::collections::BTreeMap;

use jiff::Timestamp;
use sqlx::{PgConnection, PgPool};

use crate::book::{
    AsOf, Balance, Book, Capabilities, Command, Depth, Entry, Instants, WithDues, Writer, Written,
    apply_dues_in_memory, begin_snapshot, read_as_of, read_with_dues,
};
use crate::customers::find_account;
use crate::customers::model::customer_not_found;
use crate::database::{BatchReader, StoreError};
use crate::error::{Error, Reason, Refusal};
use crate::ids::{AccountId, CustomerId, EntryId, ProgramId};
use crate::paging::{PageRequest, WINDOW};
use lots::{Hold, Lot, Lots, Next, ReadTo, Upcoming};
use state::PointsState;
use store::FoundBalance;
use subject::Subject;

pub(crate) use store::capability;

/// The use cases of points.
#[derive(Clone)]
pub(crate) struct PointsService {
    book: Book,
    pool: PgPool,
    instants: Instants,
    capabilities: Capabilities,
    balances: BatchReader<(ProgramId, CustomerId), FoundBalance>,
}

/// Where a customer's points are at an instant, and what time will do to them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BalanceAt {
    /// How many points are in each pocket.
    pub balance: Balance,
    /// What vests and what expires next.
    pub upcoming: Upcoming,
    /// The instant that the answer is for.
    pub as_of: Timestamp,
}

impl PointsService {
    /// Points written through `book` and read from `pool`; balances of now from `lookups`, many at once.
    #[must_use]
    pub(crate) fn new(
        book: Book,
        pool: PgPool,
        lookups: &PgPool,
        instants: Instants,
        capabilities: Capabilities,
    ) -> Self {
        let balances = BatchReader::open("balances", lookups, &store::fetch_balances());
        Self { book, pool, instants, capabilities, balances }
    }

    /// Carries out a command that moves points.
    ///
    /// # Errors
    /// The command's refusal, or that it could not be carried out.
    pub(crate) async fn carry_out(&self, command: impl Command + 'static, writer: Writer) -> Result<Written, Error> {
        self.book.submit(command, writer).await
    }

    /// Where a customer's points are, now or at an instant, and what time will do to them.
    ///
    /// # Errors
    /// If the customer is unknown (then), or the instant lies ahead.
    pub(crate) async fn get_balance(
        &self,
        program_id: &ProgramId,
        customer_id: &CustomerId,
        as_of: Option<Timestamp>,
    ) -> Result<BalanceAt, Error> {
        if as_of.is_none() {
            let found = self.balances.find((program_id.clone(), customer_id.clone())).await?;
            let Some(FoundBalance { account_id, balance, next_due_at, upcoming, told }) = found else {
                // Says which of the two is unknown.
                find_account(&mut *self.pool.acquire().await?, program_id, customer_id).await?;
                return Err(customer_not_found(customer_id).into());
            };
            let now = self.instants.clock().present(told);
            if next_due_at.is_none_or(|due_at| due_at > now) {
                return Ok(BalanceAt { balance, upcoming, as_of: now });
            }
            let mut connection = self.pool.acquire().await?;
            let mut snapshot = begin_snapshot(&mut connection).await?;
            let clock = self.instants.clock();
            let WithDues { mut accounts, states, until, .. } = apply_dues_in_memory(
                &mut snapshot,
                &[account_id],
                |told| clock.present(told),
                Depth::Due,
                &self.capabilities,
            )
            .await?;
            let account = accounts.pop().ok_or_else(|| customer_not_found(customer_id))?;
            let state: &PointsState = states.get()?;
            let upcoming = store::read_upcoming(&mut snapshot, account_id, state.lots()).await?;
            snapshot.commit().await?;
            return Ok(BalanceAt { balance: account.balance, upcoming, as_of: until });
        }
        let as_of = self.instants.close("as_of", as_of).await?;
        let mut connection = self.pool.acquire().await?;
        let account_id = find_account(&mut connection, program_id, customer_id).await?;
        let mut snapshot = begin_snapshot(&mut connection).await?;
        let found = read_as_of(&mut snapshot, account_id, as_of, &self.capabilities).await?;
        let (balance, upcoming) = match found.ok_or_else(|| customer_not_found(customer_id))? {
            AsOf::Rows(folded) => {
                let state: &PointsState = folded.states.get()?;
                (folded.account.balance, store::read_upcoming(&mut snapshot, account_id, state.lots()).await?)
            }
            AsOf::Past(past) => {
                let folded = past.fold(&mut snapshot, self.capabilities.new_states()).await?;
                let upcoming = match &folded {
                    Some(folded) => {
                        let state: &PointsState = folded.states.get()?;
                        state.lots().upcoming(account_id, ReadTo::default())
                    }
                    // Only the lots of that time would tell, and there are too many entries to make them of.
                    None => Upcoming { vesting: Next::Unknown, expiring: Next::Unknown },
                };
                (past.balance, upcoming)
            }
        };
        snapshot.commit().await?;
        Ok(BalanceAt { balance, upcoming, as_of })
    }

    /// A page of a customer's lots, the newest first, each with when its points expire.
    ///
    /// # Errors
    /// If the program or the customer is unknown, or the page token is bad.
    pub(crate) async fn list_lots(
        &self,
        subject: &Subject,
        open_only: bool,
        page: &PageRequest,
    ) -> Result<(Vec<(EntryId, Lot, Option<Timestamp>)>, String), Error> {
        let before = page.after_number()?.unwrap_or(i64::MAX);
        let mut connection = self.pool.acquire().await?;
        let account_id = find_account(&mut connection, &subject.program_id, &subject.customer_id).await?;
        let read = read_with_dues(&mut connection, account_id, self.instants.clock(), &self.capabilities).await?;
        let (folded, _) = read.ok_or_else(|| customer_not_found(&subject.customer_id))?;
        let due = folded.states.get::<PointsState>()?.lots();
        // Open lots may be far apart: a page looks at no more than so many, and may be short.
        let window_end =
            if open_only { store::find_lot_back(&mut connection, account_id, before, WINDOW).await? } else { None };
        let down_to = window_end.unwrap_or(0);
        // A due may have closed lots that are still open as written. That many additional ones are read.
        let closed = due.lots_of(account_id).filter(|(_, lot)| open_only && !lot.is_open()).count();
        let limit = page.limit().saturating_add(i64::try_from(closed).unwrap_or(i64::MAX));
        let lots = store::list_lots(&mut connection, account_id, open_only, before, down_to, limit).await?;
        let as_due = |(seq, lot): (i64, Lot)| {
            // What is due but not written yet shows.
            let lot = due.lot(account_id, seq).cloned().unwrap_or(lot);
            let expiry = due.expiry_of(account_id, &lot);
            (EntryId { account_id, account_seq: seq }, lot, expiry)
        };
        // Those that a due opens are the newest, and not written yet.
        let is_opened = |entry: &&Entry| entry.detail.makes_lot() && (down_to..before).contains(&entry.id.account_seq);
        let opened = folded.applied_dues.iter().rev().filter(is_opened);
        let opened =
            opened.filter_map(|entry| Some((entry.id.account_seq, due.lot(account_id, entry.id.account_seq)?.clone())));
        let mut lots: BTreeMap<i64, Lot> = opened.chain(lots).collect();
        let lots = std::iter::from_fn(|| lots.pop_last()).map(as_due).filter(|(_, lot, _)| !open_only || lot.is_open());
        let lots = lots.take(usize::try_from(page.limit()).unwrap_or(usize::MAX)).collect();
        let cursor = |(lot_id, ..): &(EntryId, Lot, Option<Timestamp>)| lot_id.account_seq.to_string();
        Ok(page.cut_by(lots, cursor, |_| 0, window_end.map(|end| end.to_string())))
    }

    /// A page of the entries that moved points of a lot, the oldest first.
    ///
    /// # Errors
    /// If the program, the customer or the lot is unknown, or the page token is bad.
    pub(crate) async fn list_lot_uses(
        &self,
        subject: &Subject,
        lot_id: EntryId,
        page: &PageRequest,
    ) -> Result<(Vec<Entry>, String), Error> {
        let after = page.after_number()?.unwrap_or(0);
        let mut connection = self.pool.acquire().await?;
        let account_id = find_account(&mut connection, &subject.program_id, &subject.customer_id).await?;
        let entries = if lot_id.account_id == account_id {
            store::list_lot_uses(&mut connection, lot_id, after, page.limit()).await?
        } else {
            None
        };
        let entries = entries.ok_or_else(|| {
            let refusal = Refusal::new(Reason::RewardNotFound, format!("the customer has no lot {lot_id}"));
            refusal.with("reward_id", lot_id)
        })?;
        Ok(page.cut(entries, |entry| entry.id.account_seq.to_string()))
    }
}

/// What tells when the lots of an account expire together.
///
/// # Errors
/// If the database cannot be read.
pub(crate) async fn read_common_expiry(
    connection: &mut PgConnection,
    account_id: AccountId,
) -> Result<Lots, StoreError> {
    store::read_common_expiry(connection, account_id).await
}

/// The lots that entries of an account made before one of its numbers, the newest first, each with when its points
/// expire; at most `limit`. They are as they are written.
///
/// # Errors
/// If the database cannot be read.
pub(crate) async fn read_lots(
    connection: &mut PgConnection,
    account_id: AccountId,
    common: &Lots,
    before: i64,
    limit: i64,
) -> Result<Vec<(EntryId, Lot, Option<Timestamp>)>, StoreError> {
    let lots = store::list_lots(connection, account_id, false, before, 0, limit).await?;
    let with_expiry = lots.into_iter().map(|(account_seq, lot)| {
        let expiry = common.expiry_of(account_id, &lot);
        (EntryId { account_id, account_seq }, lot, expiry)
    });
    Ok(with_expiry.collect())
}

/// The holds that entries of an account made before one of its numbers, the newest first, each with when it was made; at
/// most `limit`. They are as they are written.
///
/// # Errors
/// If the database cannot be read.
pub(crate) async fn read_holds(
    connection: &mut PgConnection,
    account_id: AccountId,
    before: i64,
    limit: i64,
) -> Result<Vec<(EntryId, Hold, Timestamp)>, StoreError> {
    store::list_holds(connection, account_id, before, limit).await
}
