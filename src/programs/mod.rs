//! A program and its versioned policies: everything else belongs to exactly one program.

pub mod benefits;
pub(crate) mod commands;
pub mod grpc;
pub mod model;
pub mod points;
pub mod retention;
pub mod state;
mod store;
pub mod tier_policy;

use std::sync::Arc;

use jiff::Timestamp;
use sqlx::{PgConnection, PgPool};

use crate::access::principal::ProgramSet;
use crate::book::{Book, Writer};
use crate::database::{Listed, StoreError, leave_out_unreadable};
use crate::error::Error;
use crate::ids::ProgramId;
use crate::paging::PageRequest;
use commands::{ApplyProgram, Versions};
use model::{Program, ProgramVersion, check_expected, check_immutable, program_not_found};
use retention::ProgramRetention;

pub use store::{Catalogue, capability};

/// The use cases of programs.
#[derive(Clone)]
pub struct Programs {
    book: Book,
    pool: PgPool,
}

/// What applying a document did, or would do.
#[derive(Clone, Debug)]
pub struct Applied {
    /// The version in force afterwards.
    pub version: ProgramVersion,
    /// Whether the document differs from the version before.
    pub changed: bool,
    /// The version before, if the document changed one or was only tried.
    pub previous: Option<ProgramVersion>,
}

impl Programs {
    /// Programs written through `book` and read from `pool`.
    #[must_use]
    pub const fn new(book: Book, pool: PgPool) -> Self {
        Self { book, pool }
    }

    /// Puts a document in force as a new version, unless it says what is in force already.
    ///
    /// # Errors
    /// If the document changes what cannot change, another version is in force than the expected one, or the document
    /// cannot be written.
    pub async fn apply_program(
        &self,
        program: Program,
        expected_version: Option<i32>,
        writer: Writer,
    ) -> Result<Applied, Error> {
        let mut written = self.book.submit(ApplyProgram { program, expected_version }, writer).await?;
        let Versions { version, previous } = written.take_told()?;
        let changed = !written.entries.is_empty();
        Ok(Applied { version, changed, previous: previous.map(Arc::unwrap_or_clone) })
    }

    /// Tells what applying a document would do.
    ///
    /// # Errors
    /// As [`apply_program`](Self::apply_program).
    pub async fn try_program(&self, program: Program, expected_version: Option<i32>) -> Result<Applied, Error> {
        let mut connection = self.pool.acquire().await?;
        let current = read_version(&mut connection, &program.program_id, None).await?;
        if let Some(current) = current.as_ref().filter(|current| current.program == program) {
            return Ok(Applied { version: current.clone(), changed: false, previous: Some(current.clone()) });
        }
        let in_force = current.as_ref().map_or(0, |current| current.version);
        check_expected(&program.program_id, expected_version, in_force)?;
        if let Some(current) = &current {
            check_immutable(&current.program, &program)?;
        }
        let version = in_force.saturating_add(1);
        // It is not applied, so there is no instant; the wire leaves it out.
        let version = ProgramVersion { program, version, applied_at: Timestamp::UNIX_EPOCH };
        Ok(Applied { version, changed: true, previous: current })
    }

    /// One version of a program, or the one in force.
    ///
    /// # Errors
    /// If there is none.
    pub async fn get_program(&self, program_id: &ProgramId, version: Option<i32>) -> Result<ProgramVersion, Error> {
        let mut connection = self.pool.acquire().await?;
        let found = read_version(&mut connection, program_id, version).await?;
        found.ok_or_else(|| program_not_found(program_id).into())
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
        let versions = store::list_versions(&mut connection, programs, after.as_ref(), page.limit()).await?;
        let bytes = |row: &Listed<ProgramVersion>| row.bytes(ProgramVersion::bytes);
        let (versions, next_page_token) = page.cut_by(versions, |row| row.cursor.clone(), bytes, None);
        Ok((leave_out_unreadable(versions), next_page_token))
    }
}

/// One version of a program, or the one in force.
///
/// # Errors
/// If the database cannot be read.
pub(crate) async fn read_version(
    connection: &mut PgConnection,
    program_id: &ProgramId,
    version: Option<i32>,
) -> Result<Option<ProgramVersion>, StoreError> {
    store::read_version(connection, program_id, version).await
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
) -> Result<Vec<Listed<ProgramRetention>>, StoreError> {
    store::list_retentions(connection, after, limit).await
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

/// The versions that were in force between two instants, the first of them first; at most `limit`. Before the first was
/// applied, that one was.
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
