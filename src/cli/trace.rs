//! `goldbook trace`: from an entry to the command that wrote it, who gave that, its trace, and all its rows.

use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::database_args::DatabaseArgs;
use super::error::{CliError, with_causes};
use super::output::print;
use crate::access::principal::KnownPrincipal;
use crate::access::read_principals;
use crate::book::EntryRow;
use crate::ids::{AccountId, EntryId, PrincipalId};
use crate::ledger::read_command_of;
use crate::telemetry::TraceId;

const HELP: &str = "\
Tells the trace id of the call that wrote an entry, by which the collector of
traces finds the call and the log its lines; who called; and every row that was
written with it, on whatever accounts. It reads the database, in the service's
role, while the service runs or not.

Examples:
  goldbook trace 019a2b3c000070008000000000000001.12
  goldbook trace --json 019a2b3c000070008000000000000001.12

Exit status: 0 if there is such an entry; 1 if there is none, or the database
cannot be read; 2 for wrong usage, such as a text that is no entry's id.";

/// How long the database may take.
const LIMIT: Duration = Duration::from_secs(30);

/// Tell which call wrote an entry, and all that it wrote.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct TraceArgs {
    /// The entry, as the service names it in `entry_id`.
    entry_id: EntryId,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    database: DatabaseArgs,
}

/// Runs `goldbook trace`.
///
/// # Errors
/// If there is no such entry, or the database cannot be read.
pub(crate) async fn run(args: TraceArgs) -> Result<(), CliError> {
    let read = async {
        let mut connection = args.database.connect().await?;
        let rows = read_command_of(&mut connection, args.entry_id).await;
        let rows = rows.map_err(|error| CliError::failed(with_causes(&error)))?;
        let Some(first) = rows.first() else {
            return Err(CliError::failed(format_args!("the ledger has no entry {}", args.entry_id)));
        };
        let id = PrincipalId(first.principal_id);
        let known = read_principals(&mut connection, &[id]).await;
        let principal = known.map_err(|error| CliError::failed(with_causes(&error)))?.remove(&id);
        if args.json { print(write_json(first, &rows, principal)) } else { tell(first, &rows, principal) }
    };
    let late = || CliError::failed(format_args!("the database did not answer within {LIMIT:?}"));
    tokio::time::timeout(LIMIT, read).await.unwrap_or_else(|_| Err(late()))
}

fn id_of(row: &EntryRow) -> String {
    EntryId { account_id: AccountId(row.account_id), account_seq: row.account_seq }.to_string()
}

/// The trace's id in hexadecimal; what is stored as it is, where it is none.
fn trace_of(row: &EntryRow) -> String {
    let id = row.trace_id.as_slice().try_into().map(|bytes| TraceId(bytes).to_string());
    id.unwrap_or_else(|_| format!("{:02x?}", row.trace_id))
}

fn tell(first: &EntryRow, rows: &[EntryRow], principal: Option<KnownPrincipal>) -> Result<(), CliError> {
    let who = match principal {
        Some(KnownPrincipal { kind, issuer, subject }) => {
            let kind: &str = kind.into();
            let vouched = if issuer.is_empty() { String::new() } else { format!(", issuer {issuer}") };
            format!("{kind} {subject}{vouched} ({})", first.principal_id)
        }
        None if first.principal_id.is_nil() => "nobody: time alone".to_owned(),
        None => format!("not known any more ({})", first.principal_id),
    };
    print(format_args!("trace      {}", trace_of(first)))?;
    print(format_args!("command    {}", first.command_id))?;
    print(format_args!("program    {}", first.program_id))?;
    print(format_args!("recorded   {}", first.recorded_at.to_jiff()))?;
    print(format_args!("principal  {who}"))?;
    print(format_args!("rows       {}", rows.len()))?;
    for row in rows {
        let moved = match (&row.from_pocket, &row.to_pocket, row.points) {
            (Some(from), Some(to), Some(points)) => format!(", {points} points from {from} to {to}"),
            (_, _, _) => String::new(),
        };
        print(format_args!("\n{}\n  {} ({}, {}){moved}", id_of(row), row.kind, row.actor, row.reason))?;
        print(format_args!("  effective at {}, by version {}", row.effective_at.to_jiff(), row.policy_version))?;
        if !row.causes.is_empty() {
            print(format_args!("  caused by {}", row.causes.join(", ")))?;
        }
        print(format_args!("  {}", row.detail))?;
    }
    Ok(())
}

fn write_json(first: &EntryRow, rows: &[EntryRow], principal: Option<KnownPrincipal>) -> Value {
    let principal = principal.map(|KnownPrincipal { kind, issuer, subject }| {
        let kind: &str = kind.into();
        json!({"kind": kind, "issuer": issuer, "subject": subject})
    });
    let rows: Vec<Value> = rows
        .iter()
        .map(|row| {
            json!({
                "entry_id": id_of(row),
                "account_id": row.account_id,
                "kind": row.kind,
                "actor": row.actor,
                "reason": row.reason,
                "from_pocket": row.from_pocket,
                "to_pocket": row.to_pocket,
                "points": row.points,
                "policy_version": row.policy_version,
                "effective_at": row.effective_at.to_jiff().to_string(),
                "cause_entry_ids": row.causes,
                // As text, as the interface tells it: many readers do not count large numbers exactly.
                "detail_json": row.detail,
            })
        })
        .collect();
    json!({
        "trace_id": trace_of(first),
        "command_id": first.command_id,
        "program_id": first.program_id,
        "recorded_at": first.recorded_at.to_jiff().to_string(),
        "principal_id": first.principal_id,
        "principal": principal,
        "rows": rows,
    })
}
