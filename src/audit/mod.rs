//! The audit: reads the whole ledger from one snapshot, builds everything that is kept about it anew, and tells what
//! differs from what is stored. A repair writes rows anew from entries, never the other way.
//!
//! However large the ledger is, an audit holds the rows of at most a thousand accounts at a time, and a few thousand
//! entries that were read ahead.

mod chunk;
mod compare;
mod mentions;
pub mod model;
mod repair;
mod report;
mod store;

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::pin::Pin;

use futures_util::stream::{self, BoxStream, Peekable};
use futures_util::{StreamExt as _, TryStreamExt as _};
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection as _, PgConnection};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use uuid::Uuid;

use crate::book::Capabilities;
use crate::book::StoredEntry;
use crate::database::{StoreError, by_key, by_scan, connect_alone};
use crate::error::Defect;
use crate::ids::{AccountId, EntryId};
use crate::programs::model::Program;
use chunk::Chunk;
use compare::compare_activity;
use mentions::{Accepted, Mentions};
use model::{Check, Difference, DifferenceKind};
use repair::Repairer;
use report::Report;
use store::{projections, scan};

pub use report::{Listener, Tally};
pub use store::AuditError;

/// How many entries are checked before the rows that they name are looked up.
const PAGE: u64 = 20_000;

/// How many entries are handed on together, and how many such parcels are read ahead.
const PARCEL: usize = 256;
const PARCELS_AHEAD: usize = 8;

/// Audits a database. The role must be one that may read everything; with `repair`, it must be the owner.
///
/// # Errors
/// If the database cannot be read, or a repair cannot be written. A difference is no error.
pub async fn audit(
    database: &PgConnectOptions,
    capabilities: &Capabilities,
    repair: bool,
    listener: &mut dyn Listener,
) -> Result<Tally, AuditError> {
    let mut scanning = connect_alone(&by_scan(database)).await?;
    let snapshot = store::begin_snapshot(&mut scanning).await?;
    let mut connection = connect_alone(&by_key(database)).await?;
    store::join_snapshot(&mut connection, &snapshot).await?;
    let repairer = if repair { Some(Repairer::connect(database, capabilities.clone()).await?) } else { None };
    let total = scan::sum_heads(&mut connection).await?;
    listener.begin(u64::try_from(total).unwrap_or(0));
    let mut audit = Audit { connection, repairer, report: Report { capabilities, listener, tally: Tally::default() } };
    let (mut entries, reading) = read_ahead(scanning);
    audit.go_through_accounts(&mut entries).await?;
    let scanning =
        reading.await.map_err(|error| StoreError::from(Defect::new(format!("reading the ledger: {error}"))))?;
    audit.look_for_strays().await?;
    let Audit { connection, report, .. } = audit;
    // Everything was read, so it does not matter whether closing succeeds.
    let _ = tokio::join!(scanning.close(), connection.close());
    Ok(report.tally)
}

/// The entries of the ledger, of which the next can be looked at without removing it.
type Entries = Pin<Box<Peekable<BoxStream<'static, Result<StoredEntry, sqlx::Error>>>>>;

/// Reads the ledger in a task of its own, so that entries are read and parsed while others are checked.
fn read_ahead(mut connection: PgConnection) -> (Entries, JoinHandle<PgConnection>) {
    let (sender, parcels) = mpsc::channel(PARCELS_AHEAD);
    let reading = tokio::spawn(async move {
        let mut parcels = scan::scan_entries(&mut connection).ready_chunks(PARCEL);
        while let Some(parcel) = parcels.next().await {
            // Nobody receives them any more once the audit has failed.
            if sender.send(parcel).await.is_err() {
                break;
            }
        }
        drop(parcels);
        connection
    });
    let entries = ReceiverStream::new(parcels).flat_map(stream::iter).boxed();
    (Box::pin(entries.peekable()), reading)
}

struct Audit<'a> {
    /// Reads what stands beside the entries.
    connection: PgConnection,
    repairer: Option<Repairer>,
    report: Report<'a>,
}

impl Audit<'_> {
    async fn go_through_accounts(&mut self, entries: &mut Entries) -> Result<(), StoreError> {
        let mut after = AccountId(Uuid::nil());
        loop {
            let chunk = Chunk::load(&mut self.connection, self.report.capabilities, after).await?;
            after = chunk.up_to;
            self.check_chunk(chunk, entries).await?;
            if after.0.is_max() {
                return Ok(());
            }
        }
    }

    /// Checks the entries of a chunk's accounts, page by page.
    async fn check_chunk(&mut self, chunk: Chunk, entries: &mut Entries) -> Result<(), StoreError> {
        let known: BTreeSet<AccountId> = chunk.heads.keys().chain(chunk.unreadable.keys()).copied().collect();
        let ids: Vec<AccountId> = known.iter().copied().collect();
        let dossiers: BTreeSet<AccountId> =
            store::find_dossiers(&mut self.connection, &ids).await?.into_iter().collect();
        let mut after = EntryId { account_id: chunk.after, account_seq: i64::MAX };
        let end = EntryId { account_id: chunk.up_to, account_seq: i64::MAX };
        let mut checks = ChunkChecks { chunk: &chunk, waiting: known, open: None, differing: Vec::new() };
        while after < end {
            let mut mentions = Mentions::default();
            let mut count = 0;
            let mut last = end;
            while count < PAGE
                && let Some(row) = entries.as_mut().next_if(|row| is_up_to(row, chunk.up_to)).await
            {
                let row = row?;
                count += 1;
                last = row.id;
                let check = checks.move_to(row.id.account_id, &mut self.report);
                check.check_entry(row, &mut mentions, &mut |difference| self.report.tell(&difference));
            }
            let up_to = if count < PAGE { end } else { last };
            self.look_up(mentions, after, up_to, &dossiers).await?;
            self.report.tally.entries += count;
            self.report.listener.read(self.report.tally.entries);
            let differing = std::mem::take(&mut checks.differing);
            repair_all(self.repairer.as_mut(), &mut self.report, differing).await?;
            after = up_to;
        }
        let differing = checks.finish_all(&mut self.report);
        repair_all(self.repairer.as_mut(), &mut self.report, differing).await
    }

    /// Looks up what a page of entries names.
    async fn look_up(
        &mut self,
        mentions: Mentions,
        after: EntryId,
        up_to: EntryId,
        dossiers: &BTreeSet<AccountId>,
    ) -> Result<(), StoreError> {
        let Mentions { references, accepted, versions, crowded, newer } = mentions;
        let is_newer = |id: EntryId| newer.contains(&id);
        self.compare_activities(&accepted, is_newer, after, up_to, dossiers).await?;
        if !references.is_empty() {
            let named = references.iter().map(|(named, _)| *named);
            for place in store::find_missing_entries(&mut self.connection, named).await? {
                if let Some((named, by)) = references.get(place) {
                    self.tell_damage(*by, format!("entry {by}: it names entry {named}, which does not exist"));
                }
            }
        }
        if !versions.is_empty() {
            let named = versions.iter().map(|(_, program_id, version)| (program_id, *version));
            for place in store::find_missing_versions(&mut self.connection, named).await? {
                if let Some((by, program_id, version)) = versions.get(place) {
                    let what = format!("entry {by}: version {version} of program {program_id} has no document");
                    self.tell_source(by.account_id, what);
                }
            }
        }
        for account_id in crowded {
            for account_seq in scan::find_doubled_keys(&mut self.connection, account_id).await? {
                let id = EntryId { account_id, account_seq };
                self.tell_damage(id, format!("entry {id}: its idempotency key was used before"));
            }
        }
        Ok(())
    }

    /// Compares a page's accepted activities with their rows, both in the same order.
    async fn compare_activities(
        &mut self,
        accepted: &[Accepted],
        is_newer: impl Fn(EntryId) -> bool,
        after: EntryId,
        up_to: EntryId,
        dossiers: &BTreeSet<AccountId>,
    ) -> Result<(), StoreError> {
        let mut accepted = accepted.iter().peekable();
        let report = &mut self.report;
        let mut tell = |id: EntryId, what: String| {
            report.tell(&Difference { account_id: id.account_id, kind: DifferenceKind::Source, what });
        };
        let mut rows = store::scan_activities(&mut self.connection, after, up_to);
        let mut next = rows.try_next().await?;
        loop {
            let order = match (accepted.peek(), &next) {
                (None, None) => return Ok(()),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(entry), Some(row)) => entry.id.cmp(&row.id),
            };
            let entry = if order.is_le() { accepted.next() } else { None };
            let row = if order.is_ge() { next.take() } else { None };
            match (entry, &row) {
                (Some(entry), Some(row)) => compare_activity(entry, row, |what| tell(entry.id, what)),
                // A customer without a dossier was forgotten, and the rows of their activities were erased.
                (Some(entry), None) if dossiers.contains(&entry.id.account_id) => {
                    tell(entry.id, format!("entry {}: the row of its activity is missing", entry.id));
                }
                (None, Some(row)) if !is_newer(row.id) => {
                    tell(row.id, format!("entry {}: an activity's row names it, and it accepted none", row.id));
                }
                _ => {}
            }
            if row.is_some() {
                next = rows.try_next().await?;
            }
        }
    }

    fn tell_damage(&mut self, id: EntryId, what: String) {
        self.report.tell(&Difference { account_id: id.account_id, kind: DifferenceKind::Ledger, what });
    }

    fn tell_source(&mut self, account_id: AccountId, what: String) {
        self.report.tell(&Difference { account_id, kind: DifferenceKind::Source, what });
    }

    /// Looks for rows that are not reached from any account.
    async fn look_for_strays(&mut self) -> Result<(), StoreError> {
        store::plan_for_whole_tables(&mut self.connection).await?;
        let mut last: Option<(AccountId, u64)> = None;
        let tables = crate::book::TABLES.iter().chain(self.report.capabilities.tables());
        let mut rows = projections::scan_headless_rows(&mut self.connection, tables);
        while let Some(stray) = rows.try_next().await? {
            let account_id = stray.account_id;
            let what = format!("{} of account {}, which has no head", stray.what, account_id.0);
            self.report.tell(&Difference { account_id, kind: DifferenceKind::Projection, what });
            last = match last {
                Some((of, differences)) if of == account_id => Some((of, differences + 1)),
                other => {
                    repair_all(self.repairer.as_mut(), &mut self.report, other).await?;
                    Some((account_id, 1))
                }
            };
        }
        drop(rows);
        repair_all(self.repairer.as_mut(), &mut self.report, last).await?;
        if self.report.tally.repaired > 0 {
            // The statements that follow must see the rows as they were repaired.
            store::renew_snapshot(&mut self.connection).await?;
            store::plan_for_whole_tables(&mut self.connection).await?;
        }
        let mut rows = store::scan_documents(&mut self.connection);
        while let Some((account_id, what, document)) = rows.try_next().await? {
            if let Err(error) = serde_json::from_value::<Program>(document) {
                let what = format_args!("the document of {what} cannot be understood");
                let defect = Defect::unread(what, &error);
                if defect.is_unknown() {
                    self.report.tell_newer(&defect.to_string());
                } else {
                    let what = defect.to_string();
                    self.report.tell(&Difference { account_id, kind: DifferenceKind::Source, what });
                }
            }
        }
        drop(rows);
        let tables = crate::book::TABLES.iter().chain(self.report.capabilities.tables());
        let mut rows = projections::scan_stray_rows(&mut self.connection, tables);
        while let Some(stray) = rows.try_next().await? {
            let what = format!("account {}: {}", stray.account_id.0, stray.what);
            self.report.tell(&Difference { account_id: stray.account_id, kind: DifferenceKind::Source, what });
        }
        Ok(())
    }
}

/// Whether an entry is of an account up to this one. A failure counts as one, so that it ends the audit at once.
fn is_up_to(row: &Result<StoredEntry, sqlx::Error>, up_to: AccountId) -> bool {
    match row {
        Ok(row) => row.id.account_id <= up_to,
        Err(_) => true,
    }
}

/// The checks of a chunk's accounts, one after the other.
struct ChunkChecks<'a> {
    chunk: &'a Chunk,
    /// The accounts with a head whose check has not begun.
    waiting: BTreeSet<AccountId>,
    /// The account whose entries are being read.
    open: Option<Check>,
    /// Accounts whose rows differ, each with how many differences a repair removes.
    differing: Vec<(AccountId, u64)>,
}

impl ChunkChecks<'_> {
    /// The check of an account that is the same as before or comes after it. Ends the checks of all accounts before it.
    fn move_to(&mut self, account_id: AccountId, report: &mut Report<'_>) -> &mut Check {
        let is_open = self.open.as_ref().is_some_and(|check| check.account_id() == account_id);
        if !is_open {
            self.finish_open(report);
            self.finish_waiting(report, |waiting| waiting < account_id);
            self.waiting.remove(&account_id);
        }
        self.open.get_or_insert_with(|| report.begin(account_id))
    }

    /// Ends the checks of all accounts. Returns those that are not repaired yet.
    fn finish_all(mut self, report: &mut Report<'_>) -> Vec<(AccountId, u64)> {
        self.finish_open(report);
        self.finish_waiting(report, |_| true);
        self.differing
    }

    fn finish_open(&mut self, report: &mut Report<'_>) {
        if let Some(check) = self.open.take() {
            self.differing.extend(report.finish(check, self.chunk));
        }
    }

    /// Checks accounts that have a head and no entries.
    fn finish_waiting(&mut self, report: &mut Report<'_>, is_due: impl Fn(AccountId) -> bool) {
        while let Some(account_id) = self.waiting.first().copied().filter(|waiting| is_due(*waiting)) {
            self.waiting.remove(&account_id);
            let check = report.begin(account_id);
            self.differing.extend(report.finish(check, self.chunk));
        }
    }
}

/// Builds the rows of accounts anew, if a repair is asked for. Each account comes with how many differences that
/// removes.
async fn repair_all(
    repairer: Option<&mut Repairer>,
    report: &mut Report<'_>,
    differing: impl IntoIterator<Item = (AccountId, u64)>,
) -> Result<(), StoreError> {
    let Some(repairer) = repairer else { return Ok(()) };
    for (account_id, differences) in differing {
        if repairer.repair(account_id).await? {
            report.tally.repaired += 1;
            report.tally.remaining = report.tally.remaining.saturating_sub(differences);
            report.listener.repaired(account_id);
        } else {
            report.listener.not_repaired(account_id);
        }
    }
    Ok(())
}
