//! The audit: reads the whole ledger from one snapshot, builds everything that is kept about it anew, and tells what
//! differs from what is stored. A repair writes rows anew from entries, never the other way.
//!
//! However large the ledger is, an audit holds the rows of some hundred accounts at a time, and a few thousand entries
//! that were read ahead.

mod chunk;
mod compare;
pub mod model;
mod repair;
mod store;

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

use crate::book::House;
use crate::book::store::scan::{self, ScannedEntry};
use crate::database::{by_key, by_scan, connect_alone};
use crate::ids::{AccountId, EntryId};
use crate::programs::model::Program;
use chunk::Chunk;
use compare::compare_activity;
use model::{Accepted, Check, Difference, Nature, Notes};
use repair::Repairer;

/// After how many entries what they name is looked up.
const PAGE: u64 = 20_000;

/// How many entries are handed on together, and how many such parcels are read ahead.
const PARCEL: usize = 256;
const PARCELS_AHEAD: usize = 8;

/// Whoever wants to know how an audit goes.
pub trait Listener: Send {
    /// It begins, with about so many entries before it.
    fn begin(&mut self, _entries: u64) {}

    /// So many entries have been read.
    fn read(&mut self, _entries: u64) {}

    /// Something differs.
    fn found(&mut self, difference: &Difference);

    /// An account's rows were built anew.
    fn repaired(&mut self, _account_id: AccountId) {}

    /// An account's rows were not built anew, because its entries are damaged.
    fn not_repaired(&mut self, _account_id: AccountId) {}
}

/// What an audit saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Entries read.
    pub entries: u64,
    /// Accounts compared.
    pub accounts: u64,
    /// Differences found.
    pub differences: u64,
    /// Those of them that are still there.
    pub remaining: u64,
    /// Accounts whose rows were built anew.
    pub repaired: u64,
}

/// Audits a database, in any role that may read everything; with `repair`, in its owner's.
///
/// # Errors
/// If the database cannot be read, or a repair cannot be written. Whatever is wrong in it is no error.
pub async fn audit(
    database: &PgConnectOptions,
    house: &House,
    repair: bool,
    listener: &mut dyn Listener,
) -> Result<Tally, sqlx::Error> {
    let mut scanning = connect_alone(&by_scan(database)).await?;
    let snapshot = store::begin_snapshot(&mut scanning).await?;
    let mut connection = connect_alone(&by_key(database)).await?;
    store::join_snapshot(&mut connection, &snapshot).await?;
    let repairer = if repair { Some(Repairer::connect(database, house.clone()).await?) } else { None };
    let total = scan::sum_heads(&mut connection).await?;
    listener.begin(u64::try_from(total).unwrap_or(0));
    let mut audit = Audit { connection, repairer, report: Report { house, listener, tally: Tally::default() } };
    let (mut entries, reading) = read_ahead(scanning);
    audit.go_through_accounts(&mut entries).await?;
    let scanning = reading.await.map_err(|_| sqlx::Error::WorkerCrashed)?;
    audit.look_for_strays().await?;
    let Audit { connection, report, .. } = audit;
    // All that was read is whole, even if a goodbye fails.
    let _ = tokio::join!(scanning.close(), connection.close());
    Ok(report.tally)
}

/// The ledger, of which the next entry can be looked at.
type Entries = Pin<Box<Peekable<BoxStream<'static, Result<ScannedEntry, sqlx::Error>>>>>;

/// Reads the ledger in a task of its own, so that entries are read and parsed while others are checked.
fn read_ahead(mut connection: PgConnection) -> (Entries, JoinHandle<PgConnection>) {
    let (sender, parcels) = mpsc::channel(PARCELS_AHEAD);
    let reading = tokio::spawn(async move {
        let mut parcels = scan::scan_entries(&mut connection).ready_chunks(PARCEL);
        while let Some(parcel) = parcels.next().await {
            // Nobody takes them once the audit failed.
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

/// What is told and counted.
struct Report<'a> {
    house: &'a House,
    listener: &'a mut dyn Listener,
    tally: Tally,
}

impl Report<'_> {
    fn tell(&mut self, difference: &Difference) {
        self.tally.differences += 1;
        self.tally.remaining += 1;
        self.listener.found(difference);
    }

    fn begin(&self, account_id: AccountId) -> Check {
        Check::new(account_id, (self.house)().into_projections())
    }

    /// Ends an account's check; whether its rows should be built anew, and how many differences that removes.
    fn finish(&mut self, check: Check, chunk: &Chunk) -> Option<(AccountId, u64)> {
        let account_id = check.account_id();
        self.tally.accounts += 1;
        if let Some(why) = chunk.unreadable.get(&account_id) {
            let what = format!("rows of account {} cannot be understood: {why}", account_id.0);
            self.tell(&Difference { account_id, nature: Nature::Projection, what });
            return Some((account_id, 1));
        }
        let mut differences = 0;
        let stored = chunk.apart.get(&account_id).unwrap_or(&chunk.states);
        let differs = check.finish(chunk.heads.get(&account_id), stored, &mut |difference| {
            differences += u64::from(difference.nature == Nature::Projection);
            self.tell(&difference);
        });
        differs.then_some((account_id, differences))
    }
}

impl Audit<'_> {
    async fn go_through_accounts(&mut self, entries: &mut Entries) -> Result<(), sqlx::Error> {
        let mut after = AccountId(Uuid::nil());
        loop {
            let chunk = Chunk::load(&mut self.connection, self.report.house, after).await?;
            after = chunk.up_to;
            self.check_chunk(chunk, entries).await?;
            if after.0.is_max() {
                return Ok(());
            }
        }
    }

    /// Goes through the entries of a chunk's accounts.
    async fn check_chunk(&mut self, chunk: Chunk, entries: &mut Entries) -> Result<(), sqlx::Error> {
        let heads: BTreeSet<AccountId> = chunk.heads.keys().chain(chunk.unreadable.keys()).copied().collect();
        let known: Vec<AccountId> = heads.iter().copied().collect();
        let dossiers = store::find_dossiers(&mut self.connection, &known).await?;
        let dossiers: BTreeSet<AccountId> = dossiers.into_iter().collect();
        let mut waiting = known.into_iter().peekable();
        let mut open: Option<Check> = None;
        let mut differing = Vec::new();
        let mut after = EntryId { account_id: chunk.after, account_seq: i64::MAX };
        let end = EntryId { account_id: chunk.up_to, account_seq: i64::MAX };
        while after < end {
            let mut notes = Notes::default();
            let mut count = 0;
            let mut place = end;
            // One that could not be read ends the audit.
            let is_next = |row: &Result<ScannedEntry, sqlx::Error>| {
                row.as_ref().map_or(true, |row| row.id.account_id <= chunk.up_to)
            };
            while count < PAGE
                && let Some(row) = entries.as_mut().next_if(is_next).await
            {
                let row = row?;
                count += 1;
                place = row.id;
                if open.as_ref().is_none_or(|check| check.account_id() != row.id.account_id) {
                    differing.extend(open.take().and_then(|check| self.report.finish(check, &chunk)));
                    // Heads before this account have no entries at all.
                    while let Some(account_id) = waiting.next_if(|account_id| *account_id <= row.id.account_id) {
                        if account_id < row.id.account_id {
                            let check = self.report.begin(account_id);
                            differing.extend(self.report.finish(check, &chunk));
                        }
                    }
                    open = Some(self.report.begin(row.id.account_id));
                }
                if let Some(check) = &mut open {
                    check.take(row, &mut notes, &mut |difference| self.report.tell(&difference));
                }
            }
            let up_to = if count < PAGE { end } else { place };
            self.look_up(notes, after, up_to, &dossiers).await?;
            self.report.tally.entries += count;
            self.report.listener.read(self.report.tally.entries);
            repair_all(self.repairer.as_mut(), &mut self.report, std::mem::take(&mut differing)).await?;
            after = up_to;
        }
        differing.extend(open.and_then(|check| self.report.finish(check, &chunk)));
        for account_id in waiting {
            let check = self.report.begin(account_id);
            differing.extend(self.report.finish(check, &chunk));
        }
        repair_all(self.repairer.as_mut(), &mut self.report, differing).await
    }

    /// Looks up what a page of entries names.
    async fn look_up(
        &mut self,
        notes: Notes,
        after: EntryId,
        up_to: EntryId,
        dossiers: &BTreeSet<AccountId>,
    ) -> Result<(), sqlx::Error> {
        let Notes { references, accepted, versions, crowded } = notes;
        self.compare_activities(&accepted, after, up_to, dossiers).await?;
        if !references.is_empty() {
            let named = references.iter().map(|(named, _)| *named);
            for place in store::find_missing_entries(&mut self.connection, named).await? {
                if let Some((named, by)) = references.get(place) {
                    self.damage(*by, format!("entry {by}: it names entry {named}, which does not exist"));
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
                self.damage(id, format!("entry {id}: its idempotency key was used before"));
            }
        }
        Ok(())
    }

    /// Compares a page's accepted activities with their rows, both in the same order.
    async fn compare_activities(
        &mut self,
        accepted: &[Accepted],
        after: EntryId,
        up_to: EntryId,
        dossiers: &BTreeSet<AccountId>,
    ) -> Result<(), sqlx::Error> {
        let mut accepted = accepted.iter().peekable();
        let report = &mut self.report;
        let mut tell = |id: EntryId, what: String| {
            report.tell(&Difference { account_id: id.account_id, nature: Nature::Source, what });
        };
        let mut rows = store::scan_activities(&mut self.connection, after, up_to);
        let mut next = rows.try_next().await?;
        loop {
            let (entry, row) = match (accepted.peek(), next.take()) {
                (None, None) => return Ok(()),
                (Some(entry), Some(row)) if entry.id < row.id => {
                    next = Some(row);
                    (accepted.next(), None)
                }
                (Some(entry), Some(row)) if entry.id == row.id => (accepted.next(), Some(row)),
                (_, Some(row)) => (None, Some(row)),
                (Some(_), None) => (accepted.next(), None),
            };
            match (entry, &row) {
                (Some(entry), Some(row)) => compare_activity(entry, row, |what| tell(entry.id, what)),
                // Whoever has no dossier was forgotten, with all that is erasable.
                (Some(entry), None) if dossiers.contains(&entry.id.account_id) => {
                    tell(entry.id, format!("entry {}: the row of its activity is missing", entry.id));
                }
                (None, Some(row)) => {
                    tell(row.id, format!("entry {}: an activity's row names it, and it accepted none", row.id));
                }
                _ => {}
            }
            if row.is_some() {
                next = rows.try_next().await?;
            }
        }
    }

    fn damage(&mut self, id: EntryId, what: String) {
        self.report.tell(&Difference { account_id: id.account_id, nature: Nature::Ledger, what });
    }

    fn tell_source(&mut self, account_id: AccountId, what: String) {
        self.report.tell(&Difference { account_id, nature: Nature::Source, what });
    }

    /// Looks for rows that no account led to.
    async fn look_for_strays(&mut self) -> Result<(), sqlx::Error> {
        store::plan_for_whole_tables(&mut self.connection).await?;
        let mut last: Option<(AccountId, u64)> = None;
        let mut rows = store::scan_headless_rows(&mut self.connection);
        while let Some(stray) = rows.try_next().await? {
            let account_id = stray.account_id;
            let what = format!("{} of account {}, which has no head", stray.what, account_id.0);
            self.report.tell(&Difference { account_id, nature: Nature::Projection, what });
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
            // What follows looks at rows that are right by now.
            store::renew_snapshot(&mut self.connection).await?;
            store::plan_for_whole_tables(&mut self.connection).await?;
        }
        let mut rows = store::scan_documents(&mut self.connection);
        while let Some((account_id, what, document)) = rows.try_next().await? {
            if let Err(error) = serde_json::from_value::<Program>(document) {
                let what = format!("the document of {what} cannot be understood: {error}");
                self.report.tell(&Difference { account_id, nature: Nature::Source, what });
            }
        }
        drop(rows);
        let mut rows = store::scan_stray_sources(&mut self.connection);
        while let Some(stray) = rows.try_next().await? {
            let what = format!("account {}: {}", stray.account_id.0, stray.what);
            self.report.tell(&Difference { account_id: stray.account_id, nature: Nature::Source, what });
        }
        Ok(())
    }
}

/// Builds the rows of accounts anew, if that is asked for; with each, how many differences that removes.
async fn repair_all(
    repairer: Option<&mut Repairer>,
    report: &mut Report<'_>,
    differing: impl IntoIterator<Item = (AccountId, u64)>,
) -> Result<(), sqlx::Error> {
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
