//! The audit: reads the whole ledger from one snapshot, or what was written to since the last one, builds everything that
//! is kept about it anew, and tells what differs from what is stored. A repair writes rows anew from entries, never the
//! other way.
//!
//! However large the ledger is, an audit holds the rows of at most a thousand accounts at a time, and a few thousand
//! entries that were read ahead.

mod checks;
mod chunk;
mod compare;
mod mentions;
pub mod model;
mod pass;
mod record;
mod repair;
mod report;
mod store;

use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection as _, PgConnection};

use crate::book::{Capabilities, find_closed};
use crate::database::{StoreError, by_key, by_scan, connect_alone};
use pass::Pass;
use record::new_since;
use repair::Repairer;
use report::Report;
use store::{records, scan};

pub use record::{Extent, LastAudit, Record, Tally};
pub use report::Listener;
pub use store::AuditError;
pub(crate) use store::TABLES;

/// What an audit is to do.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// How much of the ledger it reads.
    pub extent: Extent,
    /// Whether it builds rows that differ anew.
    pub repair: bool,
}

/// What became of an audit that came to its end.
#[derive(Debug)]
pub struct Outcome {
    /// What it did.
    pub record: Record,
    /// Whether that is kept in the database. It cannot be where the role may only read, or on a standby; then the next
    /// audit of what is new begins where it would have without this one.
    pub remembered: Result<(), StoreError>,
}

/// Audits a database, and remembers there what came of it. The role must be one that may read everything; for a repair, it
/// must be the owner. An audit of what is new reads all if none before it was clean.
///
/// # Errors
/// If the database cannot be read, or a repair cannot be written. A difference is no error.
pub async fn audit(
    database: &PgConnectOptions,
    capabilities: &Capabilities,
    asked: Asked,
    listener: &mut dyn Listener,
) -> Result<Outcome, AuditError> {
    let mut connection = connect_alone(&by_key(database)).await?;
    // Before the snapshot is taken: it has all that was recorded by an instant that is closed.
    let seen = find_closed(&mut connection).await?;
    let since = match asked.extent {
        Extent::Full => None,
        Extent::SinceLast => records::find_covered(&mut connection).await?.map(new_since),
    };
    let mut scanning = connect_alone(&by_scan(database)).await?;
    let snapshot = store::begin_snapshot(&mut scanning).await?;
    store::join_snapshot(&mut connection, &snapshot).await?;
    let repairer = if asked.repair { Some(Repairer::connect(database, capabilities.clone()).await?) } else { None };
    let report = Report { capabilities, listener, tally: Tally::default() };
    let mut pass = Pass { connection, repairer, report };
    match since {
        None => {
            let total = scan::sum_heads(&mut pass.connection).await?;
            pass.report.listener.begin(u64::try_from(total).ok());
            scanning = pass.go_through_all(scanning).await?;
        }
        Some(since) => {
            pass.report.listener.begin(None);
            store::plan_for_new_entries(&mut scanning).await?;
            let mut entries = connect_alone(&by_key(database)).await?;
            store::join_snapshot(&mut entries, &snapshot).await?;
            pass.go_through_changed(since, &mut scanning, &mut entries).await?;
            let _ = entries.close().await;
        }
    }
    let Pass { mut connection, report, .. } = pass;
    // What is not known here is left to an audit of the version that wrote it.
    let covers = seen.closed.filter(|_| report.tally.newer == 0);
    let record = Record { since, covers, begun_at: seen.told, tally: report.tally };
    let remembered = remember(&mut connection, &record).await;
    // Everything was read, so it does not matter whether closing succeeds.
    let _ = tokio::join!(scanning.close(), connection.close());
    Ok(Outcome { record, remembered })
}

async fn remember(connection: &mut PgConnection, record: &Record) -> Result<(), StoreError> {
    store::end_snapshot(connection).await?;
    records::insert_record(connection, record, env!("CARGO_PKG_VERSION")).await
}

/// The last audit of each extent that came to its end, if there was one.
///
/// # Errors
/// If the database cannot be read.
pub async fn last_audits(connection: &mut PgConnection) -> Result<Vec<LastAudit>, StoreError> {
    records::read_last(connection).await
}
