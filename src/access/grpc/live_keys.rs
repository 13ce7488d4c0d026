//! The API keys that count, kept in memory: asking the database for each call would cost as much as the call.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use jiff::Timestamp;
use sqlx::PgPool;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::recognized::{Known as KnownCaller, Proof};
use crate::access::key::{KeptKey, KeyHash, KeyTerms};
use crate::access::principal::Principal;
use crate::access::store::keys::{note_uses, read_live_keys};
use crate::error::Error;

/// How often keys are read anew: a revoked key counts for so long at most, while the database answers.
const REFRESH_INTERVAL: Duration = Duration::from_secs(5);
/// How often a key that is not known may have them read anew. Whoever shows one waits for it.
const UNKNOWN_INTERVAL: Duration = Duration::from_millis(250);

/// The keys that count.
#[derive(Clone, Debug)]
pub(super) struct LiveKeys(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    pool: PgPool,
    known: RwLock<Arc<Known>>,
    /// Held by whoever reads them anew.
    reading: Mutex<Readings>,
}

/// When keys were last read.
#[derive(Debug, Default)]
struct Readings {
    begun: Option<Instant>,
    /// When the last one began that came to its end.
    succeeded: Option<Instant>,
}

/// What was read of the keys.
#[derive(Debug, Default)]
struct Known {
    keys: HashMap<KeyHash, LiveKey>,
    /// What the database's clock told then, and when that was.
    told: Option<(Timestamp, Instant)>,
}

#[derive(Debug)]
struct LiveKey {
    key_id: Uuid,
    terms: KeyTerms,
    principal: Arc<Principal>,
    was_used: AtomicBool,
}

impl Known {
    /// Who shows a key, if it counts.
    fn find(&self, hash: &KeyHash) -> Option<Arc<Principal>> {
        let key = self.keys.get(hash)?;
        if let (Some(expires_at), Some((told, at))) = (key.terms.expires_at, self.told)
            && expires_at.duration_since(told).unsigned_abs() <= at.elapsed()
        {
            return None;
        }
        if !key.was_used.load(Ordering::Relaxed) {
            key.was_used.store(true, Ordering::Relaxed);
        }
        Some(Arc::clone(&key.principal))
    }

    /// The same with what was read now. A key that did not change keeps its principal.
    fn replace(&self, read: Vec<(KeyHash, KeptKey)>, told: Timestamp) -> Self {
        let live = |(hash, kept): (KeyHash, KeptKey)| {
            let earlier = self.keys.get(&hash).filter(|earlier| earlier.terms == kept.terms);
            let principal = earlier.map_or_else(|| Arc::new(kept.terms.principal()), |it| Arc::clone(&it.principal));
            // Used since the uses were noted.
            let was_used = AtomicBool::new(earlier.is_some_and(|it| it.was_used.load(Ordering::Relaxed)));
            (hash, LiveKey { key_id: kept.key_id, terms: kept.terms, principal, was_used })
        };
        Self { keys: read.into_iter().map(live).collect(), told: Some((told, Instant::now())) }
    }
}

/// A key that counted when its call began.
#[derive(Clone, Debug)]
struct KeyProof(LiveKeys, KeyHash);

impl Proof for KeyProof {
    fn counts(&self) -> bool {
        self.0.known().find(&self.1).is_some()
    }
}

impl LiveKeys {
    /// Keys that are read through `pool`. None is known yet.
    pub(super) fn new(pool: PgPool) -> Self {
        Self(Arc::new(Shared { pool, known: RwLock::default(), reading: Mutex::default() }))
    }

    /// Who shows a key, as far as it is known here.
    pub(super) fn find(&self, hash: KeyHash) -> Option<KnownCaller> {
        let principal = self.known().find(&hash)?;
        Some(KnownCaller { principal, proof: Some(Arc::new(KeyProof(self.clone(), hash))) })
    }

    /// Who shows a key that is not known here, once keys were read anew.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if they cannot be read: then nobody knows whether it counts.
    pub(super) async fn find_anew(&self, hash: KeyHash) -> Result<Option<KnownCaller>, Error> {
        let keys = self.clone();
        // A task of its own: a caller who goes away does not end the reading for those who wait for it, too.
        let reading = tokio::spawn(async move {
            let asked = Instant::now();
            let mut read = keys.0.reading.lock().await;
            // Whoever waited with others for one reading has it.
            if read.succeeded.is_none_or(|last| last < asked) {
                if let Some(last) = read.begun {
                    sleep(UNKNOWN_INTERVAL.saturating_sub(last.elapsed())).await;
                }
                keys.read(&mut read).await?;
            }
            Ok(keys.find(hash))
        });
        reading.await.unwrap_or(Err(Error::Unavailable))
    }

    fn known(&self) -> Arc<Known> {
        Arc::clone(&self.0.known.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads them anew, and notes which of those known so far were used.
    async fn read(&self, readings: &mut Readings) -> Result<(), Error> {
        let begun = Instant::now();
        readings.begun = Some(begun);
        let known = self.known();
        let mut connection = self.0.pool.acquire().await?;
        let used = known.keys.values().filter(|key| key.was_used.swap(false, Ordering::Relaxed));
        let used: Vec<Uuid> = used.map(|key| key.key_id).collect();
        if !used.is_empty()
            && let Err(error) = note_uses(&mut connection, &used).await
        {
            let unnoted = known.keys.values().filter(|key| used.contains(&key.key_id));
            unnoted.for_each(|key| key.was_used.store(true, Ordering::Relaxed));
            return Err(error.into());
        }
        let (read, told) = read_live_keys(&mut connection).await?;
        let readable = read.into_iter().filter_map(|key| {
            key.inspect_err(|defect| tracing::error!(%defect, "an API key cannot be understood and does not count"))
                .ok()
        });
        let replaced = Arc::new(known.replace(readable.collect(), told));
        *self.0.known.write().unwrap_or_else(PoisonError::into_inner) = replaced;
        readings.succeeded = Some(begun);
        Ok(())
    }

    /// Reads them anew from time to time, until it is dropped. While the database is away, those known so far count.
    pub(super) async fn keep_fresh(self) {
        loop {
            {
                let mut reading = self.0.reading.lock().await;
                // What fails here is logged where it became an error.
                let _ = self.read(&mut reading).await;
            }
            sleep(REFRESH_INTERVAL).await;
        }
    }
}
