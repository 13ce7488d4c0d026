//! Who may do what: who calls, which roles they have in which programs, and what a role may call.
//!
//! A request goes through here twice. The layer tells from its headers or its connection who calls, and admission, which
//! every handler begins with, whether they may send this message. What may be sent is one table, in
//! `grpc/methods.rs`.

mod allowance;
pub mod certificate;
pub mod grpc;
mod hash;
pub mod issuer;
pub mod key;
pub mod limits;
pub mod method;
mod permission;
pub mod principal;
pub mod role;
mod store;
mod token;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use sqlx::{Connection as _, PgConnection, PgPool};
use tokio::time::Instant;
use uuid::Uuid;

use crate::clock::Clock;
use crate::database::StoreError;
use crate::error::Error;
use crate::ids::PrincipalId;

use key::{KeptKey, KeyChange, KeyChangesWanted, KeyTerms, NewKey};
use principal::KnownPrincipal;

pub(crate) use store::TABLES;
pub use store::keys::Kept;

/// How long a list waits for changes of keys that are under way.
const WAIT_LIMIT: Duration = Duration::from_secs(2);
/// The pause between two looks: about as long as such a change takes.
const PAUSE: Duration = Duration::from_millis(3);

/// How many principals are looked at together.
const PAGE: i64 = 512;

/// Removes the principals of customers who do not exist, such as those who were erased and whose app called once more. It
/// looks at each principal once a day, whichever service does.
///
/// # Errors
/// If the database cannot be read or written.
pub(crate) async fn forget_strangers(pool: &PgPool, clock: &Clock) -> Result<(), StoreError> {
    loop {
        let mut connection = pool.acquire().await?;
        if !store::forget_page(&mut connection, clock, PAGE).await? {
            return Ok(());
        }
    }
}

/// Keeps a new key by its hash.
///
/// # Errors
/// If the database cannot be read or written.
pub async fn create_key(connection: &mut PgConnection, key: &NewKey, terms: &KeyTerms) -> Result<Kept, StoreError> {
    #[expect(clippy::disallowed_methods, reason = "names a key; no time is read out of it")]
    let key_id = Uuid::now_v7();
    let mut transaction = connection.begin().await?;
    let kept = store::keys::insert_key(&mut transaction, key_id, (key.hash(), &key.prefix()), terms).await?;
    match kept {
        Kept::Yes => transaction.commit().await?,
        Kept::TwoAreLive => transaction.rollback().await?,
    }
    Ok(kept)
}

/// The present by the database's clock, which says when a key ends.
///
/// # Errors
/// If the database cannot be read.
pub async fn read_present(connection: &mut PgConnection) -> Result<Timestamp, StoreError> {
    store::keys::read_present(connection).await
}

/// Every key that was ever made.
///
/// # Errors
/// If the database cannot be read.
pub async fn list_keys(connection: &mut PgConnection) -> Result<Vec<KeptKey>, StoreError> {
    store::keys::list_keys(connection).await
}

/// Revokes the live key that begins so, if there is one.
///
/// # Errors
/// If the database cannot be read or written.
pub async fn revoke_key(connection: &mut PgConnection, prefix: &str) -> Result<bool, StoreError> {
    store::keys::revoke_key(connection, prefix).await
}

/// Changes that somebody made to keys, the newest first, and at most so many.
///
/// # Errors
/// If the database cannot be read.
pub(crate) async fn list_key_changes(
    connection: &mut PgConnection,
    wanted: KeyChangesWanted<'_>,
    limit: i64,
) -> Result<Vec<KeyChange>, StoreError> {
    Ok(store::keys::list_key_changes(connection, wanted, limit).await?)
}

/// Waits until every change of a key can be seen that says it was made by an instant, which has passed. Keys are not
/// written by lanes, so [`Instants`](crate::book::Instants) know nothing of them.
///
/// # Errors
/// [`Error::InstantOpen`] if one that is under way does not end.
#[expect(
    clippy::disallowed_methods,
    reason = "the pause between two looks, and their end; nothing stored knows of them"
)]
pub(crate) async fn wait_for_key_changes(connection: &mut PgConnection, instant: Timestamp) -> Result<(), Error> {
    let give_up = Instant::now() + WAIT_LIMIT;
    while store::keys::are_keys_being_changed(connection).await? {
        if Instant::now() >= give_up {
            tracing::warn!(%instant, "a list waits in vain for a change of API keys that is under way");
            return Err(Error::InstantOpen(instant));
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

/// Forgets what the id of a principal stands for. Says whether anything did.
///
/// # Errors
/// If the database cannot be read or written.
pub async fn erase_principal(connection: &mut PgConnection, id: PrincipalId) -> Result<bool, StoreError> {
    Ok(store::delete_principal(connection, id).await?)
}

/// What ids of principals stand for; of those who are not erased.
///
/// # Errors
/// If the database cannot be read.
pub(crate) async fn read_principals(
    connection: &mut PgConnection,
    ids: &[PrincipalId],
) -> Result<BTreeMap<PrincipalId, KnownPrincipal>, StoreError> {
    let mut known = BTreeMap::new();
    for (id, principal) in store::read_principals(connection, ids).await? {
        match principal {
            Ok(principal) => drop(known.insert(id, principal)),
            Err(defect) => tracing::error!(failure = %defect, "a list leaves out who a principal is"),
        }
    }
    Ok(known)
}

/// The seconds that are left until the next API key expires that still counts; none where none of them has an end.
///
/// # Errors
/// If the database cannot be read.
pub(crate) async fn next_key_expiry(pool: &PgPool) -> Result<Option<f64>, StoreError> {
    store::keys::read_next_expiry(&mut *pool.acquire().await?).await
}
