//! A program and its versioned policies: everything else belongs to exactly one program.

pub mod grpc;
pub mod model;
pub mod points;
pub mod state;
mod store;

use std::any::TypeId;
use std::sync::Arc;

use sqlx::PgPool;
use tokio::time::Instant;

use crate::book::{
    Actor, Book, Command, CommandKey, Decision, DecisionError, Detail, EntryReason, Name, NameUse, NewEntry,
    ProgramDetail,
};
use crate::clock::Clock;
use crate::error::{Error, Reason, Refusal};
use crate::ids::ProgramId;
use crate::paging::PageRequest;
use model::{Program, ProgramVersion};
use state::{Current, ProgramsState};

pub use store::{Catalogue, capability, read_version, read_version_number_at};

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
    pub const fn new(book: Book, pool: PgPool, clock: Clock) -> Self {
        Self { book, pool, clock }
    }

    /// Puts a document in force as a new version, unless it says what is in force already.
    ///
    /// # Errors
    /// If the document changes what cannot change, or cannot be written.
    pub async fn apply_program(&self, program: Program, deadline: Option<Instant>) -> Result<Applied, Error> {
        let program_id = program.program_id.clone();
        let written = self.book.submit(ApplyProgram { program }, deadline).await?;
        let mut connection = self.pool.acquire().await?;
        let decided = written.entries.iter().find_map(|entry| match entry.detail {
            Detail::Program(ProgramDetail::ProgramApplied { version }) => Some(version),
            Detail::Customer(_) | Detail::Activity(_) | Detail::Points(_) | Detail::Tier(_) | Detail::Referral(_) => {
                None
            }
        });
        let version = read_version(&mut connection, &program_id, decided).await?;
        let version = version.ok_or_else(|| program_not_found(&program_id))?;
        let previous = match decided {
            Some(number) if number > 1 => read_version(&mut connection, &program_id, Some(number - 1)).await?,
            _ => None,
        };
        Ok(Applied { version, changed: decided.is_some(), previous })
    }

    /// Tells what applying a document would do.
    ///
    /// # Errors
    /// As [`apply_program`](Self::apply_program).
    pub async fn try_program(&self, program: Program) -> Result<Applied, Error> {
        let mut connection = self.pool.acquire().await?;
        let current = read_version(&mut connection, &program.program_id, None).await?;
        if let Some(current) = &current {
            check_immutable(&current.program, &program)?;
            if current.program == program {
                return Ok(Applied { version: current.clone(), changed: false, previous: Some(current.clone()) });
            }
        }
        let version = current.as_ref().map_or(1, |current| current.version.saturating_add(1));
        let version = ProgramVersion { program, version, applied_at: self.clock.now() };
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

    /// The versions in force, by program.
    ///
    /// # Errors
    /// If they cannot be read.
    pub async fn list_programs(&self, page: &PageRequest) -> Result<(Vec<ProgramVersion>, String), Error> {
        let mut connection = self.pool.acquire().await?;
        let versions = store::list_versions(&mut connection, page.after.as_deref(), page.limit()).await?;
        Ok(page.cut(versions, |version| version.program.program_id.to_string()))
    }
}

/// The refusal for a program that does not exist.
#[must_use]
pub fn program_not_found(program_id: &ProgramId) -> Refusal {
    Refusal::new(Reason::ProgramNotFound, format!("there is no program {program_id}")).with("program_id", program_id)
}

/// The version of its program that is in force as a command decides.
///
/// # Errors
/// A refusal if the program does not exist.
pub fn current_policy(decision: &Decision<'_>, program_id: &ProgramId) -> Result<Arc<ProgramVersion>, DecisionError> {
    let current = decision.state::<ProgramsState>()?.current(program_id);
    Ok(current.ok_or_else(|| program_not_found(program_id))?.policy.clone())
}

/// Amounts and calendars on the ledger would change their meaning.
fn check_immutable(current: &Program, new: &Program) -> Result<(), Refusal> {
    let refuse = |field: &str, is: String| {
        Refusal::new(Reason::ProgramFieldImmutable, format!("the {field} of a program cannot change; it is {is}"))
            .with("field", field)
            .with("current", is)
    };
    if current.currency != new.currency {
        return Err(refuse("currency_code", current.currency.code().to_owned()));
    }
    if current.time_zone != new.time_zone {
        return Err(refuse("time_zone", current.time_zone.to_string()));
    }
    Ok(())
}

/// Puts a program document in force.
struct ApplyProgram {
    program: Program,
}

impl Command for ApplyProgram {
    fn program_id(&self) -> &ProgramId {
        &self.program.program_id
    }

    fn names(&self) -> Vec<NameUse> {
        vec![NameUse::FindOrOpen(Name::program(&self.program.program_id))]
    }

    fn key(&self) -> Option<CommandKey> {
        // Applying the same document twice is naturally idempotent.
        None
    }

    fn states(&self) -> Vec<TypeId> {
        vec![TypeId::of::<ProgramsState>()]
    }

    fn decide(&self, decision: &mut Decision<'_>) -> Result<(), DecisionError> {
        let account = decision.find(&Name::program(&self.program.program_id))?.ok_or(DecisionError::NotLoaded)?;
        let current = decision.state::<ProgramsState>()?.current(&self.program.program_id);
        let version = match current {
            Some(Current { policy, .. }) if policy.program == self.program => return Ok(()),
            Some(Current { policy, .. }) => {
                check_immutable(&policy.program, &self.program)?;
                policy.version.saturating_add(1)
            }
            None => 1,
        };
        let account_id = account.account_id;
        let new_entry = NewEntry {
            detail: ProgramDetail::ProgramApplied { version }.into(),
            movement: None,
            actor: Actor::Caller,
            reason: EntryReason::ProgramApplied,
            policy_version: version,
            causes: Vec::new(),
        };
        decision.post(account_id, new_entry)?;
        let applied_at = account.time_at(decision.at());
        let version = ProgramVersion { program: self.program.clone(), version, applied_at };
        decision.keep(move |state: &mut ProgramsState| state.add_version(account_id, version));
        Ok(())
    }
}
