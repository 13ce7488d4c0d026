//! A program and its versioned policies: everything else belongs to exactly one program.

pub(crate) mod agenda;
pub mod benefits;
pub mod channels;
pub(crate) mod commands;
pub mod complaints;
pub mod faults;
pub mod goodwill;
pub mod grpc;
pub mod lifecycle;
pub mod model;
pub(crate) mod next;
pub mod packages;
pub(crate) mod periods;
pub mod points;
pub mod retention;
pub mod satisfaction;
pub mod segments;
pub mod state;
mod store;
pub mod tier_policy;
pub mod value_classes;

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::{PgConnection, PgPool};

use crate::access::principal::ProgramSet;
use crate::book::{Book, Writer};
use crate::clock::Clock;
use crate::database::{Listed, StoreError, leave_out_unreadable};
use crate::error::Error;
use crate::ids::{AccountId, ProgramId, SegmentId};
use crate::money::Currency;
use crate::paging::PageRequest;
use agenda::Planned;
use commands::{ApplyProgram, Versions};
use model::{ProgramVersion, Which, program_not_found, version_not_found};
use next::{NextVersion, Terms, Tried, check_immutable};
use retention::ProgramRetention;

pub use store::{Catalogue, capability};

/// What a program's document may have, by which programs are looked for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Having {
    /// Packages on birthdays or anniversaries.
    Celebrations,
    /// Value classes, in this version or in any other.
    ValueClassesEver,
}

/// The use cases of programs.
#[derive(Clone)]
pub struct Programs {
    book: Book,
    pool: PgPool,
    clock: Clock,
}

/// What applying a document did, or would do.
#[derive(Clone, Debug)]
pub struct Applied {
    /// The latest version afterwards.
    pub version: ProgramVersion,
    /// Whether the document differs from the version before.
    pub changed: bool,
    /// The version before, if the document changed one or was only tried.
    pub previous: Option<ProgramVersion>,
}

impl Programs {
    /// Programs written through `book` and read from `pool`.
    #[must_use]
    pub const fn new(book: Book, pool: PgPool, clock: Clock) -> Self {
        Self { book, pool, clock }
    }

    /// Makes a document the next version, unless it says what the latest does already.
    ///
    /// # Errors
    /// If the document changes what cannot change, another version is the latest than the expected one, it cannot begin
    /// then, or it cannot be written.
    pub(crate) async fn apply_program(&self, apply: ApplyProgram, writer: Writer) -> Result<Applied, Error> {
        let mut written = self.book.submit(apply, writer).await?;
        let Versions { version, previous } = written.take_told()?;
        let changed = !written.entries.is_empty();
        Ok(Applied { version, changed, previous: previous.map(Arc::unwrap_or_clone) })
    }

    /// Tells what applying a document would do.
    ///
    /// # Errors
    /// As [`apply_program`](Self::apply_program).
    pub(crate) async fn try_program(&self, apply: ApplyProgram) -> Result<Applied, Error> {
        let ApplyProgram { program, expected_version, effective_from } = apply;
        let mut connection = self.pool.acquire().await?;
        let latest = read_version(&mut connection, &program.program_id, Which::Latest).await?.map(Arc::new);
        let (agenda, now) = store::read_agenda(&mut connection, &program.program_id, &self.clock).await?;
        let next = match latest.clone() {
            Some(latest) => NextVersion::after(latest, agenda),
            None => NextVersion::first(),
        };
        let is_new = next.changes(&program, Terms { expected_version, effective_from }, now)?;
        let previous = latest.map(Arc::unwrap_or_clone);
        match previous.clone().filter(|_| !is_new) {
            Some(version) => Ok(Applied { version, changed: false, previous }),
            None => {
                // It is not applied, so there is no instant; the wire leaves it out.
                let (applied_at, effective_from) = (now, effective_from.unwrap_or(now));
                let version = ProgramVersion { program, version: next.number, applied_at, effective_from };
                Ok(Applied { version, changed: true, previous })
            }
        }
    }

    /// One version of a program, or the one in force; and those that are to begin.
    ///
    /// # Errors
    /// If there is none.
    pub(crate) async fn get_program(
        &self,
        program_id: &ProgramId,
        version: Option<i32>,
    ) -> Result<(ProgramVersion, Vec<Planned>), Error> {
        let mut connection = self.pool.acquire().await?;
        let (agenda, now) = store::read_agenda(&mut connection, program_id, &self.clock).await?;
        let which = version.map_or(Which::InForce(Some(now)), Which::Number);
        let found = read_version(&mut connection, program_id, which).await?;
        let missing = || version.map_or_else(|| program_not_found(program_id), |it| version_not_found(program_id, it));
        let found = found.ok_or_else(missing)?;
        Ok((found, agenda.scheduled_after(now).collect()))
    }

    /// The versions in force of those of some programs that there are, by program.
    ///
    /// # Errors
    /// If they cannot be read.
    pub async fn list_programs(
        &self,
        programs: &ProgramSet,
        page: &PageRequest,
    ) -> Result<(Vec<ProgramVersion>, String), Error> {
        let after = page.after_with(|cursor| ProgramId::try_from(cursor).ok())?;
        let mut connection = self.pool.acquire().await?;
        let versions =
            store::lists::list_versions(&mut connection, programs, after.as_ref(), page.limit(), self.clock.shown())
                .await?;
        let bytes = |row: &Listed<ProgramVersion>| row.bytes(ProgramVersion::bytes);
        let (versions, next_page_token) = page.cut_by(versions, |row| row.cursor.clone(), bytes, None);
        Ok((leave_out_unreadable(versions), next_page_token))
    }
}

/// One version of a program.
///
/// # Errors
/// If the database cannot be read.
pub(crate) async fn read_version(
    connection: &mut PgConnection,
    program_id: &ProgramId,
    which: Which,
) -> Result<Option<ProgramVersion>, StoreError> {
    store::read_version(connection, program_id, which).await
}

/// The currency that a program counts in.
///
/// # Errors
/// If the program is unknown, or the database cannot be read.
pub(crate) async fn read_currency(connection: &mut PgConnection, program_id: &ProgramId) -> Result<Currency, Error> {
    let version = read_version(connection, program_id, Which::Latest).await?;
    Ok(version.ok_or_else(|| program_not_found(program_id))?.program.currency)
}

/// A page of the programs that do not keep everything for ever, by their ids. One that cannot be understood is there with
/// what is wrong.
///
/// # Errors
/// If the database cannot be read.
pub(crate) async fn list_retentions(
    connection: &mut PgConnection,
    after: &str,
    limit: i64,
    clock: &Clock,
) -> Result<Vec<Listed<ProgramRetention>>, StoreError> {
    store::lists::list_retentions(connection, after, limit, clock.shown()).await
}

/// A page of the versions in force whose documents have something, by program, and what the database's clock told. One that cannot
/// be understood is there with what is wrong.
///
/// # Errors
/// If the database cannot be read.
pub(crate) async fn list_having(
    connection: &mut PgConnection,
    having: Having,
    after: &str,
    limit: i64,
    clock: &Clock,
) -> Result<(Vec<Listed<ProgramVersion>>, Timestamp), StoreError> {
    store::lists::list_having(connection, having, after, limit, clock.shown()).await
}

/// The version that is tried beside the current one, as if it began at an instant.
///
/// # Errors
/// If the document cannot come behind the current one, or there is no such version.
pub(crate) async fn read_tried(
    connection: &mut PgConnection,
    (current, at): (&ProgramVersion, Timestamp),
    tried: Tried,
) -> Result<ProgramVersion, Error> {
    match tried {
        Tried::Document(program) => {
            check_immutable(&current.program, &program)?;
            Ok(ProgramVersion { program: *program, version: current.version, applied_at: at, effective_from: at })
        }
        Tried::Version(version) => {
            let program_id = &current.program.program_id;
            let found = store::read_version(connection, program_id, Which::Number(version)).await?;
            Ok(found.ok_or_else(|| version_not_found(program_id, version))?)
        }
    }
}

/// The version that was in force at an instant, however long ago; before the first was applied, the first.
///
/// # Errors
/// If the database cannot be read.
pub(crate) async fn read_version_at(
    connection: &mut PgConnection,
    program_id: &ProgramId,
    at: Timestamp,
) -> Result<Option<ProgramVersion>, StoreError> {
    match store::read_version_number_at(connection, program_id, at).await? {
        Some(number) => store::read_version(connection, program_id, Which::Number(number)).await,
        None => Ok(None),
    }
}

/// The number of the version that was in force at an instant; before the first was applied, the first.
///
/// # Errors
/// If the database cannot be read.
pub(crate) async fn read_version_number_at(
    connection: &mut PgConnection,
    program_id: &ProgramId,
    at: Timestamp,
) -> Result<Option<i32>, StoreError> {
    store::read_version_number_at(connection, program_id, at).await
}

/// The versions that were applied by the second of two instants, from the one that was in force at the first; at most
/// `limit`. Before the first was applied, that one was.
///
/// # Errors
/// If the database cannot be read.
pub(crate) async fn read_versions_between(
    connection: &mut PgConnection,
    program_id: &ProgramId,
    from: Timestamp,
    until: Timestamp,
    limit: i64,
) -> Result<Vec<ProgramVersion>, StoreError> {
    store::read_versions_between(connection, program_id, from, until, limit).await
}

/// Finds the customers of a segment, for whoever counts these alone.
#[async_trait]
pub(crate) trait SegmentFinder: Send + Sync {
    /// The accounts of the customers who are in a segment of a version at an instant, in a snapshot.
    ///
    /// # Errors
    /// If the version has no such segment, or there are too many customers in it, or too many to look at in time.
    async fn find_members(
        &self,
        snapshot: &mut PgConnection,
        policy: &ProgramVersion,
        segment_id: &SegmentId,
        as_of: Timestamp,
    ) -> Result<Vec<AccountId>, Error>;
}
