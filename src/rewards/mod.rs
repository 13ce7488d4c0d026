//! Rewards: what was granted to whom, and the balance it makes. Points, for now.

pub mod grpc;
pub mod model;
pub mod store;

use std::any::TypeId;

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use sqlx::PgPool;
use tokio::time::Instant;

use crate::book::{
    Actor, Balance, Book, Command, CommandKey, Decision, Entry, EntryReason, Halt, House, Key, Name, NameUse, Written,
    fold,
};
use crate::clock::{Clock, refuse_future};
use crate::customers::{customer_not_found, find_account, require_customer};
use crate::database::Gather;
use crate::error::{Error, Reason};
use crate::ids::{CustomerId, IdempotencyKey, ProgramId};
use crate::paging::PageRequest;
use crate::programs::current_policy;
use crate::programs::store::ProgramShelf;
use model::{Points, grant};
use store::RewardShelf;

/// The use cases of rewards.
#[derive(Clone)]
pub struct Rewards {
    book: Book,
    pool: PgPool,
    clock: Clock,
    house: House,
    balances: Gather<(ProgramId, CustomerId), Balance>,
}

/// A grant as its entry tells it.
#[derive(Clone, Debug)]
pub struct Reward {
    /// The entry that granted it.
    pub entry: Entry,
    /// What the caller wrote beside it; may be empty.
    pub note: String,
}

impl Rewards {
    /// Rewards written through `book` and read from `pool`; balances of now from `lookups`, many at once.
    #[must_use]
    pub fn new(book: Book, pool: PgPool, lookups: &PgPool, clock: Clock, house: House) -> Self {
        let balances = Gather::open(lookups, &store::fetch_balances());
        Self { book, pool, clock, house, balances }
    }

    /// Grants points by hand. Says whether it is a repetition.
    ///
    /// # Errors
    /// If the program or the customer is unknown, the key was used for something else, or the balance would overflow.
    pub async fn grant_reward(&self, grant: GrantReward, deadline: Option<Instant>) -> Result<(Reward, bool), Error> {
        let note = grant.note.clone();
        into_reward(self.book.submit(grant, deadline).await, note)
    }

    /// Queues one grant of a stream; the future is its outcome.
    ///
    /// # Errors
    /// If the book is closing.
    pub async fn enqueue_grant(
        &self,
        grant: GrantReward,
    ) -> Result<BoxFuture<'static, Result<(Reward, bool), Error>>, Error> {
        let note = grant.note.clone();
        let outcome = self.book.enqueue(grant).await?;
        Ok(Box::pin(async move { into_reward(outcome.await, note) }))
    }

    /// Where a customer's points are, now or at an instant.
    ///
    /// # Errors
    /// If the customer is unknown (then), or the instant lies ahead.
    pub async fn get_balance(
        &self,
        program_id: &ProgramId,
        customer_id: &CustomerId,
        as_of: Option<Timestamp>,
    ) -> Result<(Balance, Timestamp), Error> {
        let now = self.clock.now();
        let Some(as_of) = as_of else {
            let found = self.balances.find((program_id.clone(), customer_id.clone())).await?;
            if let Some(balance) = found {
                return Ok((balance, now));
            }
            // Says which of the two is unknown.
            find_account(&mut *self.pool.acquire().await?, program_id, customer_id).await?;
            return Err(customer_not_found(customer_id).into());
        };
        refuse_future(as_of, now)?;
        let mut connection = self.pool.acquire().await?;
        let account_id = find_account(&mut connection, program_id, customer_id).await?;
        let folded = fold(&mut connection, account_id, as_of, (self.house)()).await?;
        let folded = folded.ok_or_else(|| customer_not_found(customer_id))?;
        Ok((folded.account.balance, as_of))
    }

    /// A page of a customer's rewards, the newest first.
    ///
    /// # Errors
    /// If the program or the customer is unknown, or the page token is bad.
    pub async fn list_rewards(
        &self,
        program_id: &ProgramId,
        customer_id: &CustomerId,
        page: &PageRequest,
    ) -> Result<(Vec<Reward>, String), Error> {
        let before = page.after_number()?;
        let mut connection = self.pool.acquire().await?;
        let account_id = find_account(&mut connection, program_id, customer_id).await?;
        let grants = store::list_grants(&mut connection, account_id, before, page.limit()).await?;
        let rewards = grants.into_iter().map(|(entry, note)| Reward { entry, note }).collect();
        Ok(page.cut(rewards, |reward| reward.entry.id.account_seq.to_string()))
    }
}

fn into_reward(outcome: Result<Written, Error>, note: String) -> Result<(Reward, bool), Error> {
    let Written { entries, replayed } = outcome?;
    let entry = entries.into_iter().next();
    let entry = entry.ok_or_else(|| Error::Internal("a grant wrote no entry".to_owned()))?;
    Ok((Reward { entry, note }, replayed))
}

/// Grants points by hand.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the fields are described in rewards.proto")]
pub struct GrantReward {
    pub program_id: ProgramId,
    pub customer_id: CustomerId,
    pub points: Points,
    pub reason: EntryReason,
    pub note: String,
    pub key: IdempotencyKey,
}

impl Command for GrantReward {
    fn program_id(&self) -> &ProgramId {
        &self.program_id
    }

    fn names(&self) -> Vec<NameUse> {
        vec![NameUse::Find(Name::customer(&self.program_id, &self.customer_id))]
    }

    fn key(&self) -> Option<CommandKey> {
        let points = self.points.get().to_be_bytes();
        let content: [&[u8]; 4] = [b"grant_reward", &points, self.reason.as_str().as_bytes(), self.note.as_bytes()];
        let key = Key::new("key", self.key.as_str(), &content);
        Some(CommandKey { key, reused: Reason::IdempotencyKeyReused })
    }

    fn shelves(&self) -> Vec<TypeId> {
        vec![TypeId::of::<ProgramShelf>(), TypeId::of::<RewardShelf>()]
    }

    fn decide(&self, decision: &mut Decision<'_>) -> Result<(), Halt> {
        let policy = current_policy(decision, &self.program_id)?;
        let account = require_customer(decision, &self.program_id, &self.customer_id)?;
        let post = grant(self.points, Actor::Caller, self.reason, policy.version, Vec::new());
        let entry_id = decision.post(account.account_id, post)?;
        if !self.note.is_empty() {
            let note = self.note.clone();
            decision.keep(move |shelf: &mut RewardShelf| shelf.add_note(entry_id, note));
        }
        Ok(())
    }
}
