//! Rewards: what was granted to whom, and the life of a reward. For now, every reward is points.

pub(crate) mod grpc;
mod store;

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use sqlx::PgPool;

use crate::book::{Book, Entry, Writer, Written};
use crate::customers::find_account;
use crate::error::Error;
use crate::ids::{CustomerId, ProgramId};
use crate::paging::PageRequest;
use crate::points::PointsService;
use crate::points::grants::commands::{GrantReward, VestReward, Vested};

/// The use cases of rewards.
#[derive(Clone)]
pub(crate) struct Rewards {
    book: Book,
    pool: PgPool,
    points: PointsService,
}

/// A grant as its entry tells it.
#[derive(Clone, Debug)]
pub(crate) struct Reward {
    /// The entry that granted it.
    pub entry: Entry,
    /// What the caller wrote beside it; may be empty.
    pub note: String,
}

impl Rewards {
    /// Rewards written through `book` and read from `pool`. `points` answers what the service of rewards is asked about
    /// points.
    #[must_use]
    pub(crate) const fn new(book: Book, pool: PgPool, points: PointsService) -> Self {
        Self { book, pool, points }
    }

    /// Grants points by hand. Says whether it is a repetition.
    ///
    /// # Errors
    /// If the program or the customer is unknown, the key was used for something else, or the balance would overflow.
    pub(crate) async fn grant_reward(&self, grant: GrantReward, writer: Writer) -> Result<(Reward, bool), Error> {
        let (program_id, note) = (grant.subject.program_id.clone(), grant.note.clone());
        into_reward(self.book.submit(grant, writer).await, &program_id, note)
    }

    /// Queues one grant of a stream; the future is its outcome.
    ///
    /// # Errors
    /// If the book is closing.
    pub(crate) async fn enqueue_grant(
        &self,
        grant: GrantReward,
        writer: Writer,
    ) -> Result<BoxFuture<'static, Result<(Reward, bool), Error>>, Error> {
        let (program_id, note) = (grant.subject.program_id.clone(), grant.note.clone());
        self.book.enqueue(grant, writer, move |outcome| into_reward(outcome, &program_id, note)).await
    }

    /// Makes a reward's points available, since what it was granted for has happened. Returns the reward, when its
    /// points vested, and whether they had before.
    ///
    /// # Errors
    /// If there is no such reward, or its points do not wait for an event.
    pub(crate) async fn vest_reward(
        &self,
        vest: VestReward,
        writer: Writer,
    ) -> Result<(Reward, Timestamp, bool), Error> {
        let mut written = self.book.submit(vest, writer).await?;
        let Vested { entry, note, vested_at } = written.take_told()?;
        Ok((Reward { entry, note }, vested_at, written.entries.is_empty()))
    }

    /// A page of a customer's rewards, the newest first.
    ///
    /// # Errors
    /// If the program or the customer is unknown, or the page token is bad.
    pub(crate) async fn list_rewards(
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
        Ok(page.cut_by(
            rewards,
            |reward| reward.entry.id.account_seq.to_string(),
            |reward| reward.entry.bytes() + reward.note.len(),
            None,
        ))
    }
}

fn into_reward(outcome: Result<Written, Error>, program_id: &ProgramId, note: String) -> Result<(Reward, bool), Error> {
    let Written { entries, replayed, .. } = outcome?;
    // The grant is known by its first entry.
    let entry = entries.into_iter().next();
    let entry = entry.ok_or_else(|| Error::Internal(format!("program {program_id}: a grant wrote no entry")))?;
    Ok((Reward { entry, note }, replayed))
}
