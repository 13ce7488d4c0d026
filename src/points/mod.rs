//! Points: what grants make of them, who may spend them, and what time does to them.
//!
//! The room is cut by use: grants, holds, spending and undoing, each with its rules (`model.rs`) and its commands. All
//! of them move points of the same lots.

pub(crate) mod amount;
mod debts;
mod dues;
pub(crate) mod grants;
pub(crate) mod holds;
pub(crate) mod lots;
mod settling;
pub(crate) mod spending;
pub(crate) mod state;
mod store;
pub(crate) mod subject;
pub(crate) mod undoing;
mod vesting;

use jiff::Timestamp;
use sqlx::PgPool;
use tokio::time::Instant;

use crate::book::{
    Actor, Balance, Book, Capabilities, Command, Detail, Entry, Folded, Instants, PointsDetail, Written, fold,
    read_with_dues,
};
use crate::customers::find_account;
use crate::customers::model::customer_not_found;
use crate::database::BatchReader;
use crate::error::{Error, Reason, Refusal};
use crate::ids::{CustomerId, EntryId, ProgramId};
use crate::paging::PageRequest;
use holds::commands::EndHold;
use lots::{Lot, Upcoming};
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

impl BalanceAt {
    fn of(folded: &Folded, as_of: Timestamp) -> Result<Self, Error> {
        let state: &PointsState = folded.states.get()?;
        let upcoming = state.lots().upcoming(folded.account.account_id);
        Ok(Self { balance: folded.account.balance, upcoming, as_of })
    }
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
        let balances = BatchReader::open(lookups, &store::fetch_balances());
        Self { book, pool, instants, capabilities, balances }
    }

    /// Carries out a command that moves points.
    ///
    /// # Errors
    /// The command's refusal, or that it could not be carried out.
    pub(crate) async fn carry_out(
        &self,
        command: impl Command + 'static,
        deadline: Option<Instant>,
    ) -> Result<Written, Error> {
        self.book.submit(command, deadline).await
    }

    /// Captures or releases a hold.
    ///
    /// # Errors
    /// As [`carry_out`](Self::carry_out); of a hold that has ended, how and when it did.
    pub(crate) async fn end_hold(&self, ending: EndHold, deadline: Option<Instant>) -> Result<Written, Error> {
        let hold_id = ending.hold_id;
        match self.book.submit(ending, deadline).await {
            Err(Error::Refused(refusal)) if refusal.reason == Reason::HoldEnded => {
                // The entries say how the hold ended. If they cannot be read, the refusal leaves that out.
                let end = self.read_hold_end(hold_id).await.ok().flatten();
                Err(end.map_or(refusal, |end| hold_ended(hold_id, &end)).into())
            }
            outcome => outcome,
        }
    }

    async fn read_hold_end(&self, hold_id: EntryId) -> Result<Option<Entry>, Error> {
        let mut connection = self.pool.acquire().await?;
        Ok(store::find_hold_end(&mut connection, hold_id).await?)
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
            let read = read_with_dues(&mut connection, account_id, self.instants.clock(), &self.capabilities).await?;
            let (folded, now) = read.ok_or_else(|| customer_not_found(customer_id))?;
            return BalanceAt::of(&folded, now);
        }
        let as_of = self.instants.close("as_of", as_of).await?;
        let mut connection = self.pool.acquire().await?;
        let account_id = find_account(&mut connection, program_id, customer_id).await?;
        let folded = fold(&mut connection, account_id, as_of, self.capabilities.new_states()).await?;
        let folded = folded.ok_or_else(|| customer_not_found(customer_id))?;
        BalanceAt::of(&folded, as_of)
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
        // A due may have closed lots that are still open as written. That many additional lots are read.
        let closed = due.lots_of(account_id).filter(|(_, lot)| open_only && !lot.is_open()).count();
        let limit = page.limit().saturating_add(i64::try_from(closed).unwrap_or(i64::MAX));
        let lots = store::list_lots(&mut connection, account_id, open_only, before, limit).await?;
        let as_due = |(seq, lot): (i64, Lot)| {
            // What is due but not written yet shows.
            let lot = due.lot(account_id, seq).cloned().unwrap_or(lot);
            let expiry = due.expiry_of(account_id, &lot);
            (EntryId { account_id, account_seq: seq }, lot, expiry)
        };
        let lots = lots.into_iter().map(as_due).filter(|(_, lot, _)| !open_only || lot.is_open());
        let lots = lots.take(usize::try_from(page.limit()).unwrap_or(usize::MAX)).collect();
        Ok(page.cut(lots, |(lot_id, ..)| lot_id.account_seq.to_string()))
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
        let is_own = lot_id.account_id == account_id && store::has_lot(&mut connection, lot_id).await?;
        if !is_own {
            let refusal = Refusal::new(Reason::RewardNotFound, format!("the customer has no lot {lot_id}"));
            return Err(refusal.with("reward_id", lot_id).into());
        }
        let entries = store::list_lot_uses(&mut connection, lot_id, after, page.limit()).await?;
        Ok(page.cut(entries, |entry| entry.id.account_seq.to_string()))
    }
}

/// The refusal to end a hold that ended with an entry.
fn hold_ended(hold_id: EntryId, end: &Entry) -> Refusal {
    let is_captured = matches!(end.detail, Detail::Points(PointsDetail::PointsRedeemed { .. }));
    let (words, ending) = match (is_captured, end.actor) {
        (true, Actor::Caller | Actor::Rule | Actor::Time) => ("was captured", "captured"),
        (false, Actor::Caller | Actor::Rule) => ("was released", "released"),
        (false, Actor::Time) => ("ended by itself", "expired"),
    };
    let ended_at = end.effective_at;
    let refusal = Refusal::new(Reason::HoldEnded, format!("the hold {words} at {ended_at}"));
    refusal.with("hold_id", hold_id).with("ending", ending).with("ended_at", ended_at)
}
