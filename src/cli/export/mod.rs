//! `goldbook export`: writes the entries of a program to a file for other programs.

pub(super) mod destination;
mod rows;

use std::path::PathBuf;

use clap::Args;
use goldbook_api::v1::{ExportEntriesRequest, ExportEntriesResponse};
use goldbook_api::values::write_instant;
use tonic::{Code, Streaming};

use self::destination::{Destination, unless_interrupted};
use self::rows::{Format, Rows};
use super::client::{Client, ClientOptions, incomplete_answer};
use super::error::CliError;
use super::instant;
use super::output::grouped;
use super::progress::Progress;

/// What an export tells that was interrupted.
const BROKEN: &str = "the export was interrupted; repeat it";

/// What `goldbook export --help` says after the options.
const HELP: &str = "\
Each entry is one row; a customer's entries stand together, in their order. All
are of one moment: what is written meanwhile is not half in it.

Columns of csv, which has a header, and names in jsonl, one object a line:
  entry_id         names the entry
  account_id       the account it happened to
  account_seq      its number there: 1, 2, 3 without a gap
  program_id       the program
  customer_id      whose account it is; empty for the program's own, for pots,
                   and for a customer who was forgotten
  kind             what happened, such as points_granted
  from_pocket      the pocket that points left, such as issued; empty if none
                   moved
  to_pocket        the pocket that they entered, such as available
  points           how many
  principal_id     who called; all zeros where time alone wrote it
  actor            caller, rule or time: on whose initiative
  reason           why, as a code
  policy_version   the version of the program that decided
  cause_entry_ids  the entries that caused it; in csv with a space between, in
                   jsonl a list
  command_id       the command that wrote it
  trace_id         the trace that wrote it
  effective_at     when it took effect, in UTC
  recorded_at      when it was written, in UTC
  content_hash     SHA-256 over the row, in hexadecimal
  detail           the results that it carries, as JSON
What else is empty in csv is null in jsonl.

The service records who exports: each export is an entry on the program's own
account, which later ones have.

FILE appears when the export is whole, and not before: a file that was there
stays until then. Only its owner may read it.

Examples:
  goldbook export --program cdnow --output entries.csv
  goldbook export --program cdnow --from 1997-01-01 --until 1997-02-01
  goldbook export --program cdnow --format jsonl | jq .kind

Exit status: 0 if every entry was written, 1 if not, 2 wrong usage.";

/// Write a program's ledger entries to a file, as CSV or JSON Lines.
///
/// In JSON, whole numbers beyond 2^53 are strings, since many readers would not count them exactly.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct ExportArgs {
    /// The id of the program whose entries are written.
    #[arg(long = "program", value_name = "ID")]
    program_id: String,
    /// Only what took effect at this instant or later: 1997-01-18T15:30:00-05:00, or the beginning of a day in the
    /// program's time zone: 1997-01-18.
    #[arg(long, value_name = "INSTANT")]
    from: Option<String>,
    /// Only what took effect before this instant, or before this day.
    #[arg(long, value_name = "INSTANT")]
    until: Option<String>,
    /// How the rows are written.
    #[arg(long, value_enum, default_value = "csv")]
    format: Format,
    /// Where the rows go; - is standard output.
    #[arg(long, value_name = "FILE", default_value = "-")]
    output: PathBuf,
    #[command(flatten)]
    client: ClientOptions,
}

/// Runs `goldbook export`.
///
/// # Errors
/// If the command line makes no sense, the service does not answer or refuses, or the rows cannot be written.
pub(crate) async fn run(args: ExportArgs) -> Result<(), CliError> {
    let client = args.client.connect().await?;
    let program = client.choose_program(Some(&args.program_id)).await?;
    let zone = instant::time_zone(&program.time_zone)?;
    let (from, until) = instant::parse_period(args.from.as_deref(), args.until.as_deref(), &zone)?;
    let destination = Destination::open(&args.output)?;
    let request = ExportEntriesRequest {
        program_id: program.program_id,
        start_time: from.map(write_instant),
        end_time: until.map(write_instant),
        resume_token: String::new(),
    };
    let is_file = destination.is_file();
    let count = unless_interrupted(is_file, write(&client, request, args.format, destination)).await?;
    eprintln!("{} entries exported", grouped(count));
    Ok(())
}

/// The first message of an export, and the stream of the others.
async fn begin(
    client: &Client,
    request: &ExportEntriesRequest,
) -> Result<(ExportEntriesResponse, Streaming<ExportEntriesResponse>), CliError> {
    let answer = client.ledger().export_entries(request.clone()).await;
    let mut messages = answer.map_err(CliError::refused("cannot export the entries"))?.into_inner();
    let first = messages.message().await.map_err(CliError::refused(BROKEN))?.ok_or_else(incomplete_answer)?;
    Ok((first, messages))
}

/// Writes every entry of an export, and returns how many there were. The service ends one after some time; another then
/// goes on behind the last entry, without what happened since the first one's moment.
async fn write(
    client: &Client,
    mut request: ExportEntriesRequest,
    format: Format,
    destination: Destination,
) -> Result<u64, CliError> {
    let (first, mut messages) = begin(client, &request).await?;
    let total = u64::try_from(first.entries_total).map_err(|_| incomplete_answer())?;
    let moment = first.as_of.map(|at| (at.seconds, at.nanos)).ok_or_else(incomplete_answer)?;
    let failed = |error| destination.failure(&error);
    let mut rows = Rows::begin(format, destination.writer()?).map_err(failed)?;
    let mut progress = destination.is_file().then(|| Progress::begin("entries", Some(total)));
    let (mut count, mut has_moved) = (0, false);
    // Writing may block this thread. It has nothing else to do, and the connection runs on others.
    loop {
        let message = match messages.message().await {
            Ok(Some(message)) => message,
            Ok(None) => break,
            Err(status) if has_moved && status.code() == Code::ResourceExhausted => {
                messages = begin(client, &request).await?.1;
                has_moved = false;
                continue;
            }
            Err(status) => return Err(CliError::refused(BROKEN)(status)),
        };
        for entry in &message.entries {
            if entry.effective_at.is_none_or(|at| (at.seconds, at.nanos) > moment) {
                continue;
            }
            let cells = rows::cells(entry).ok_or_else(incomplete_answer)?;
            rows.write(cells).map_err(failed)?;
            count += 1;
        }
        (request.resume_token, has_moved) = (message.resume_token, true);
        if let Some(progress) = &mut progress {
            progress.set(count);
        }
    }
    if let Some(progress) = progress {
        progress.end();
    }
    if count != total {
        let (count, total) = (grouped(count), grouped(total));
        return Err(CliError::failed(format_args!("{BROKEN}: {count} entries came, and there are {total}")));
    }
    rows.end().map_err(failed)?;
    destination.finish()?;
    Ok(count)
}
