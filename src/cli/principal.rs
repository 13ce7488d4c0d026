//! `goldbook principal`: who called, as far as the database says what their ids stand for.

use clap::{Args, Subcommand};
use uuid::Uuid;

use super::database_args::DatabaseArgs;
use super::error::{CliError, with_causes};
use super::output::print;
use crate::access::erase_principal;
use crate::ids::PrincipalId;

const HELP: &str = "\
Each entry names who wrote it by an opaque id, its principal_id. This forgets what
one of these ids stands for, such as a colleague who has left; entries stay as
they are. A customer is erased with EraseCustomer, which does this as well.

End their sessions and keys first: a running service keeps the id of whoever is
no customer for as long as their token or key counts, and writes it on.

Examples:
  goldbook principal erase 019a2b3c-0000-7000-8000-000000000001";

/// Erase who a principal was.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct PrincipalArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Erase(EraseArgs),
}

/// Forget what the id of a principal stands for. It cannot be undone.
#[derive(Debug, Args)]
struct EraseArgs {
    /// The id, as entries and ListPrivilegedActions tell it.
    principal_id: Uuid,
    #[command(flatten)]
    database: DatabaseArgs,
}

/// Runs `goldbook principal`.
///
/// # Errors
/// If the database cannot be reached, or knows no such principal.
pub(crate) async fn run(args: PrincipalArgs) -> Result<(), CliError> {
    let Action::Erase(EraseArgs { principal_id, database }) = args.action;
    let mut connection = database.connect().await?;
    let erased = erase_principal(&mut connection, PrincipalId(principal_id)).await;
    if erased.map_err(|error| CliError::failed(with_causes(&error)))? {
        return print(format_args!("nothing says any more who {principal_id} was"));
    }
    Err(CliError::failed(format_args!("nothing says who {principal_id} is: they are unknown, or erased")))
}
