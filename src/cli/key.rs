//! `goldbook key`: the keys by which services prove who they are, in the database.

use std::collections::BTreeSet;

use clap::{Args, Subcommand};
use jiff::{SpanRelativeTo, Timestamp};
use sqlx::PgConnection;

use super::database_args::DatabaseArgs;
use super::error::{CliError, with_causes};
use super::output::{keep_whole, print, table};
use crate::access::key::{KEY_BEGIN, KEY_CHARS, KeptKey, KeyTerms, NewKey};
use crate::access::principal::ProgramSet;
use crate::access::role::Role;
use crate::access::{Kept, create_key, list_keys, read_present, revoke_key};
use crate::ids::ProgramId;

const HELP: &str = "\
A key is shown once, when it is made: the database keeps its hash alone. Callers
send it with each call, as the header `authorization: Bearer gbk_live_…`. The
service must run with --api-keys.

A name has at most two live keys. To replace one: create a second, give it to
whoever uses the first, and revoke the first once `key list` shows that it is no
longer used. A running service knows within 5 seconds.

Examples:
  goldbook key create checkout --role service --program cdnow
  goldbook key create auditors --role auditor --expires-after 90d
  goldbook key list
  goldbook key revoke gbk_live_4fZk9Qa1";

/// Create, list and revoke the keys by which services prove who they are.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct KeyArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Create(CreateArgs),
    List(ListArgs),
    Revoke(RevokeArgs),
}

/// Create a key, and show it this once.
#[derive(Debug, Args)]
struct CreateArgs {
    /// Whose key it is: 1 to 63 characters of a-z, 0-9 and `-`. Entries that it writes name this principal.
    #[arg(value_parser = parse_name)]
    name: String,
    /// A role that it gives: service, support, manager, auditor or admin. Can be given several times.
    #[arg(long = "role", value_name = "ROLE", required = true, value_parser = parse_role)]
    roles: Vec<Role>,
    /// A program in which it gives them; all programs, if none is given. Can be given several times.
    #[arg(long = "program", value_name = "PROGRAM", value_parser = parse_program)]
    programs: Vec<ProgramId>,
    /// How long it counts, such as 90d or 1y; without it, until it is revoked.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    expires_after: Option<jiff::Span>,
    #[command(flatten)]
    database: DatabaseArgs,
}

/// List all keys: those that count and those that were revoked or have expired.
#[derive(Debug, Args)]
struct ListArgs {
    #[command(flatten)]
    database: DatabaseArgs,
}

/// Revoke a key, by its beginning as `key list` shows it.
#[derive(Debug, Args)]
struct RevokeArgs {
    /// The beginning of the key: `gbk_live_` and 8 characters.
    prefix: String,
    #[command(flatten)]
    database: DatabaseArgs,
}

fn parse_name(text: &str) -> Result<String, &'static str> {
    goldbook_api::values::check_slug(text).map(|()| text.to_owned())
}

/// A key is no customer: those come with a token that names them.
fn parse_role(text: &str) -> Result<Role, &'static str> {
    let role = text.parse().ok().filter(|role| *role != Role::Customer);
    role.ok_or("must be service, support, manager, auditor or admin")
}

fn parse_program(text: &str) -> Result<ProgramId, &'static str> {
    ProgramId::try_from(text)
}

fn parse_duration(text: &str) -> Result<jiff::Span, String> {
    let span: jiff::Span = text.parse().map_err(|error: jiff::Error| error.to_string())?;
    if span.is_positive() { Ok(span) } else { Err("must be above zero".to_owned()) }
}

/// Runs `goldbook key`.
///
/// # Errors
/// If the database cannot be reached, or refuses.
pub(crate) async fn run(args: KeyArgs) -> Result<(), CliError> {
    match args.action {
        Action::Create(args) => create(args).await,
        Action::List(args) => list(&args).await,
        Action::Revoke(args) => revoke(&args).await,
    }
}

async fn create(args: CreateArgs) -> Result<(), CliError> {
    let programs = if args.programs.is_empty() {
        ProgramSet::All
    } else {
        ProgramSet::Only(args.programs.into_iter().collect::<BTreeSet<_>>())
    };
    let mut connection = args.database.connect().await?;
    let now = present(&mut connection).await?;
    let expires_at = args.expires_after.map(|span| end_of(now, span)).transpose()?;
    let roles: BTreeSet<Role> = args.roles.into_iter().collect();
    let terms = KeyTerms { name: args.name, roles: roles.into_iter().collect(), programs, expires_at };
    let key = NewKey::make(|len| rand::random_range(0..len));
    let kept = create_key(&mut connection, &key, &terms).await;
    match kept.map_err(|error| CliError::failed(with_causes(&error)))? {
        Kept::Yes => print(key.reveal()),
        Kept::TwoAreLive => Err(CliError::failed(format_args!(
            "{} has two live keys already: revoke one with `goldbook key revoke`",
            terms.name
        ))),
    }
}

/// The present by the clock that says when a key ends.
async fn present(connection: &mut PgConnection) -> Result<Timestamp, CliError> {
    read_present(connection).await.map_err(|error| CliError::failed(with_causes(&error)))
}

/// The instant so long after another one. Days and longer are counted in UTC.
fn end_of(now: Timestamp, span: jiff::Span) -> Result<Timestamp, CliError> {
    let begin = now.to_zoned(jiff::tz::TimeZone::UTC);
    let duration = span.to_duration(SpanRelativeTo::from(&begin));
    duration.and_then(|duration| now.checked_add(duration)).map_err(CliError::failed)
}

async fn list(args: &ListArgs) -> Result<(), CliError> {
    let mut connection = args.database.connect().await?;
    let keys = list_keys(&mut connection).await.map_err(|error| CliError::failed(with_causes(&error)))?;
    let now = present(&mut connection).await?;
    let mut lines = table(["key", "name", "roles", "programs", "state", "last used"]);
    for KeptKey { prefix, terms, revoked_at, last_used_at, .. } in keys {
        let state = match (revoked_at, terms.expires_at) {
            (Some(revoked_at), _) => format!("ended {}", minutes(revoked_at)),
            (None, Some(expires_at)) if expires_at <= now => format!("ended {}", minutes(expires_at)),
            (None, Some(expires_at)) => format!("until {}", minutes(expires_at)),
            (None, None) => "live".to_owned(),
        };
        let roles: Vec<&str> = terms.roles.iter().map(|role| role.as_str()).collect();
        let programs = match &terms.programs {
            ProgramSet::All => "all".to_owned(),
            ProgramSet::Only(programs) => programs.iter().map(ProgramId::as_str).collect::<Vec<_>>().join(" "),
        };
        let last_used = last_used_at.map_or_else(|| "never".to_owned(), minutes);
        lines.add_row([prefix, terms.name, roles.join(" "), programs, state, last_used]);
    }
    keep_whole(&mut lines, 0, KEY_BEGIN.len() + 8);
    print(lines)
}

/// An instant to the minute, in UTC.
fn minutes(at: Timestamp) -> String {
    at.strftime("%F %H:%MZ").to_string()
}

async fn revoke(args: &RevokeArgs) -> Result<(), CliError> {
    let is_whole = args.prefix.len() == KEY_BEGIN.len() + KEY_CHARS;
    if is_whole {
        return Err(CliError::usage("give the first 17 characters of the key alone, so that the rest stays a secret"));
    }
    let mut connection = args.database.connect().await?;
    let revoked = revoke_key(&mut connection, &args.prefix).await;
    if revoked.map_err(|error| CliError::failed(with_causes(&error)))? {
        return print(format_args!("{} is revoked; running services know within 5 seconds", args.prefix));
    }
    Err(CliError::failed(format_args!("no live key begins with {}", args.prefix)))
}
