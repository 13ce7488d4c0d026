//! What operators see of the whole that no call shows: how late work in the background is, how old summaries are, what
//! expires soon, what is left of a disk. It is looked at from time to time, and shown until the next look.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::statvfs::statvfs;
use sqlx::PgPool;

use crate::access::next_key_expiry;
use crate::audit::{LastAudit, last_audits};
use crate::book::dues_lag;
use crate::customers::retention_age;
use crate::database::{self, StoreError};
use crate::error::with_causes;
use crate::liability::{Pace, summary_ages};
use crate::telemetry::metrics::registry::{
    API_KEY_EXPIRY, AUDIT_AGE, AUDIT_DIFFERENCES, AUDIT_NEWER, DATABASE_SIZE, DISK_FREE, DISK_SIZE, LIABILITY_AGE,
    SCHEMA, STUCK_ACCOUNTS, WORKER_LAG,
};
use crate::telemetry::metrics::{Reading, show};

/// How often it is looked.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);

/// What is looked at.
pub(super) struct Gauges {
    pub(super) pool: PgPool,
    /// Where the service's own database lives, if it has one.
    pub(super) data_dir: Option<PathBuf>,
    /// Whether dues are applied in the background.
    pub(super) applies_dues: bool,
    /// How old a summary of liability may become before it is late, if they are made in the background.
    pub(super) liability_pace: Option<Pace>,
    /// How often it is looked for customers without activity, if it is.
    pub(super) erase_of_inactive_every: Option<Duration>,
}

/// How late each work in the background is, in seconds.
type Lags = Vec<(&'static str, f64)>;

/// How long after one round of retention began the next one begins.
const RETENTION_ROUND: Duration = Duration::from_secs(24 * 60 * 60);

impl Gauges {
    /// Looks again and again, until it is dropped.
    #[expect(clippy::disallowed_methods, reason = "the pause between two looks")]
    pub(super) async fn keep_looking(self) {
        let mut last: Option<(Lags, Instant)> = None;
        let mut was_well = true;
        loop {
            if let Some(data_dir) = &self.data_dir {
                show_disk(data_dir);
            }
            match self.look().await {
                Ok(seen) => {
                    if !was_well {
                        tracing::info!("the gauges are read again");
                    }
                    was_well = true;
                    last = Some(seen);
                }
                // While nobody can look, ages go on growing, also of what was not late when it was last seen.
                Err(error) => {
                    if was_well {
                        tracing::warn!(error = with_causes(&error), "the gauges cannot be read; those of before go on");
                    }
                    was_well = false;
                    if let Some((lags, at)) = &last {
                        show_lags(lags, *at, |was, at| Reading::Age { was, at });
                    }
                }
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    async fn look(&self) -> Result<(Lags, Instant), StoreError> {
        let (dues, stuck) = dues_lag(&self.pool).await?;
        let (ages, oldest) = summary_ages(&self.pool).await?;
        let retention = retention_age(&self.pool).await?;
        let key_expiry = next_key_expiry(&self.pool).await?;
        let (size, schema) = database::measure(&self.pool).await?;
        let audits = last_audits(&mut *self.pool.acquire().await?).await?;

        let at = looked_at();
        let late = |age: f64, pace: Duration| (age - pace.as_secs_f64()).max(0.0);
        let liability = self.liability_pace.as_ref().map(|pace| late(oldest, pace.get()));
        let retention = self.erase_of_inactive_every.map(|every| late(retention, RETENTION_ROUND + every));
        let lags =
            [("dues", Some(dues).filter(|_| self.applies_dues)), ("liability", liability), ("retention", retention)];
        let lags: Lags = lags.into_iter().filter_map(|(worker, lag)| Some((worker, lag?))).collect();
        // One that is not late stays so until the next look.
        show_lags(&lags, at, |was, at| if was > 0.0 { Reading::Age { was, at } } else { Reading::Fixed(0.0) });
        show(&STUCK_ACCOUNTS, [(vec![], Reading::Fixed(stuck))]);
        show(
            &LIABILITY_AGE,
            ages.into_iter()
                .map(|(program_id, was)| (vec![("goldbook.program.id", program_id)], Reading::Age { was, at })),
        );
        show_audits(&audits, at);
        show(&API_KEY_EXPIRY, key_expiry.map(|was| (vec![], Reading::Left { was, at })));
        show(&DATABASE_SIZE, [(vec![], Reading::Fixed(size))]);
        #[expect(clippy::cast_precision_loss, reason = "the number of a migration is far below 2^53")]
        show(&SCHEMA, [(vec![], Reading::Fixed(schema as f64))]);
        Ok((lags, at))
    }
}

fn show_audits(audits: &[LastAudit], at: Instant) {
    let extent = |audit: &LastAudit| vec![("goldbook.audit", audit.extent.as_str().to_owned())];
    #[expect(clippy::cast_precision_loss, reason = "so many differences nobody tells apart")]
    let count = |audit: &LastAudit, count: u64| (extent(audit), Reading::Fixed(count as f64));
    let age = |audit: &LastAudit| (extent(audit), Reading::Age { was: audit.age.as_secs_f64(), at });
    show(&AUDIT_AGE, audits.iter().map(age));
    show(&AUDIT_DIFFERENCES, audits.iter().map(|audit| count(audit, audit.differences)));
    show(&AUDIT_NEWER, audits.iter().map(|audit| count(audit, audit.newer)));
}

fn show_lags(lags: &Lags, at: Instant, reading: impl Fn(f64, Instant) -> Reading) {
    let label = |worker: &str| vec![("goldbook.worker", worker.to_owned())];
    show(&WORKER_LAG, lags.iter().map(|(worker, lag)| (label(worker), reading(*lag, at))));
}

#[expect(clippy::disallowed_methods, reason = "ages grow from here on; nothing that is stored depends on it")]
fn looked_at() -> Instant {
    Instant::now()
}

#[expect(clippy::cast_precision_loss, reason = "a disk has far fewer than 2^53 bytes")]
fn show_disk(data_dir: &Path) {
    let Ok(file_system) = statvfs(data_dir) else { return };
    let bytes = |blocks: u64| (file_system.fragment_size() * blocks) as f64;
    show(&DISK_SIZE, [(vec![], Reading::Fixed(bytes(file_system.blocks())))]);
    show(&DISK_FREE, [(vec![], Reading::Fixed(bytes(file_system.blocks_available())))]);
}
