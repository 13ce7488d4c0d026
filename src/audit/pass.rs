//! An audit on its way through the accounts: their entries, what is stored of them, and what entries name elsewhere.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::pin::Pin;

use futures_util::stream::{self, BoxStream, Peekable};
use futures_util::{StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use sqlx::PgConnection;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use uuid::Uuid;

use super::checks::ChunkChecks;
use super::chunk::{Chunk, MAX_ACCOUNTS};
use super::compare::compare_activity;
use super::mentions::{Accepted, Mentions};
use super::model::{Difference, DifferenceKind};
use super::repair::{Repairer, repair_all};
use super::report::Report;
use super::store::{self, projections, scan};
use crate::book::StoredEntry;
use crate::database::StoreError;
use crate::error::Defect;
use crate::ids::{AccountId, EntryId};
use crate::programs::model::Program;

/// How many entries are checked before the rows that they name are looked up.
const PAGE: u64 = 20_000;

/// How many entries are handed on together, and how many such parcels are read ahead.
const PARCEL: usize = 256;
const PARCELS_AHEAD: usize = 8;

/// Entries by account and number, of which the next can be looked at without removing it.
type Entries<'e> = Pin<Box<Peekable<BoxStream<'e, Result<StoredEntry, sqlx::Error>>>>>;

/// Reads the ledger in a task of its own, so that entries are read and parsed while others are checked.
fn read_ahead(mut connection: PgConnection) -> (Entries<'static>, JoinHandle<PgConnection>) {
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

/// An audit under way.
pub(super) struct Pass<'a> {
    /// Reads what stands beside the entries.
    pub(super) connection: PgConnection,
    pub(super) repairer: Option<Repairer>,
    pub(super) report: Report<'a>,
}

impl Pass<'_> {
    /// Goes through all accounts and all entries, which `scanning` reads. Returns that connection.
    pub(super) async fn go_through_all(&mut self, scanning: PgConnection) -> Result<PgConnection, StoreError> {
        let (mut entries, reading) = read_ahead(scanning);
        self.go_through_accounts(&mut entries).await?;
        let scanning =
            reading.await.map_err(|error| StoreError::from(Defect::new(format!("reading the ledger: {error}"))))?;
        self.look_for_strays().await?;
        Ok(scanning)
    }

    /// Goes through the accounts with an entry that was recorded after an instant: `finding` finds them, and `scanning`
    /// reads their entries.
    pub(super) async fn go_through_changed(
        &mut self,
        since: Timestamp,
        finding: &mut PgConnection,
        scanning: &mut PgConnection,
    ) -> Result<(), StoreError> {
        let mut changed = scan::scan_changed(finding, since);
        let mut next = Vec::new();
        loop {
            while next.len() < MAX_ACCOUNTS
                && let Some(account_id) = changed.try_next().await?
            {
                next.push(account_id);
            }
            if next.is_empty() {
                return Ok(());
            }
            let (chunk, rest) = Chunk::load_some(&mut self.connection, self.report.capabilities, next).await?;
            let mut entries: Entries<'_> = Box::pin(scan::scan_entries_of_all(scanning, &chunk.only).peekable());
            self.check_chunk(&chunk, &mut entries).await?;
            drop(entries);
            self.look_for_strays_of(&chunk.only).await?;
            next = rest;
        }
    }

    async fn go_through_accounts(&mut self, entries: &mut Entries<'_>) -> Result<(), StoreError> {
        let mut after = AccountId(Uuid::nil());
        loop {
            let chunk = Chunk::load(&mut self.connection, self.report.capabilities, after).await?;
            after = chunk.up_to;
            self.check_chunk(&chunk, entries).await?;
            if after.0.is_max() {
                return Ok(());
            }
        }
    }

    /// Checks the entries of a chunk's accounts, page by page.
    async fn check_chunk(&mut self, chunk: &Chunk, entries: &mut Entries<'_>) -> Result<(), StoreError> {
        let known: BTreeSet<AccountId> = chunk.heads.keys().chain(chunk.unreadable.keys()).copied().collect();
        let ids: Vec<AccountId> = known.iter().copied().collect();
        let dossiers: BTreeSet<AccountId> =
            store::find_dossiers(&mut self.connection, &ids).await?.into_iter().collect();
        let mut after = EntryId { account_id: chunk.after, account_seq: i64::MAX };
        let end = EntryId { account_id: chunk.up_to, account_seq: i64::MAX };
        let mut checks = ChunkChecks::begin(chunk, known);
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
            self.look_up(mentions, &Page { only: &chunk.only, after, up_to, dossiers: &dossiers }).await?;
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
    async fn look_up(&mut self, mentions: Mentions, page: &Page<'_>) -> Result<(), StoreError> {
        let Mentions { references, accepted, versions, crowded, newer } = mentions;
        self.compare_activities(&accepted, |id| newer.contains(&id), page).await?;
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
        page: &Page<'_>,
    ) -> Result<(), StoreError> {
        let mut accepted = accepted.iter().peekable();
        let report = &mut self.report;
        let mut tell = |id: EntryId, what: String| {
            report.tell(&Difference { account_id: id.account_id, kind: DifferenceKind::Source, what });
        };
        let mut rows = if page.only.is_empty() {
            store::scan_activities(&mut self.connection, page.after, page.up_to)
        } else {
            store::scan_activities_of(&mut self.connection, page.only, page.after, page.up_to)
        };
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
                (Some(entry), None) if page.dossiers.contains(&entry.id.account_id) => {
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
        look_at_documents(&mut self.connection, &mut self.report, None).await?;
        let tables = crate::book::TABLES.iter().chain(self.report.capabilities.tables());
        let mut rows = projections::scan_stray_rows(&mut self.connection, tables);
        while let Some(stray) = rows.try_next().await? {
            self.report.tell_stray(stray.account_id, &stray.what);
        }
        Ok(())
    }

    /// Looks for such rows of some accounts, as far as an index finds them.
    async fn look_for_strays_of(&mut self, accounts: &[AccountId]) -> Result<(), StoreError> {
        // After repairs the present counts, as they left it. Each statement sees whole transactions alone.
        let connection = match &mut self.repairer {
            Some(repairer) => repairer.connection(),
            None => &mut self.connection,
        };
        look_at_documents(connection, &mut self.report, Some(accounts)).await?;
        let tables = crate::book::TABLES.iter().chain(self.report.capabilities.tables());
        for stray in projections::find_stray_rows(connection, tables, accounts).await? {
            self.report.tell_stray(stray.account_id, &stray.what);
        }
        Ok(())
    }
}

/// Tells documents of programs that cannot be understood: all, or those of some programs' accounts.
async fn look_at_documents(
    connection: &mut PgConnection,
    report: &mut Report<'_>,
    accounts: Option<&[AccountId]>,
) -> Result<(), StoreError> {
    let mut rows = store::scan_documents(connection, accounts);
    while let Some((account_id, what, document)) = rows.try_next().await? {
        if let Err(error) = serde_json::from_value::<Program>(document) {
            let defect = Defect::unread(format_args!("the document of {what} cannot be understood"), &error);
            if defect.is_unknown() {
                report.tell_newer(&defect.to_string());
            } else {
                let what = defect.to_string();
                report.tell(&Difference { account_id, kind: DifferenceKind::Source, what });
            }
        }
    }
    Ok(())
}

/// Entries of a chunk whose rows are looked up together.
struct Page<'a> {
    /// The accounts of the chunk, if others may stand between them.
    only: &'a [AccountId],
    after: EntryId,
    up_to: EntryId,
    /// The accounts of the chunk with a dossier.
    dossiers: &'a BTreeSet<AccountId>,
}

/// Whether an entry is of an account up to this one. A failure counts as one, so that it ends the audit at once.
fn is_up_to(row: &Result<StoredEntry, sqlx::Error>, up_to: AccountId) -> bool {
    match row {
        Ok(row) => row.id.account_id <= up_to,
        Err(_) => true,
    }
}
