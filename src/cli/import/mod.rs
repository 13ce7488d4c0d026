//! `goldbook import`: history from files, through the same RPCs that everyone uses.

mod csv_file;
mod tally;

use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use clap::{Args, Subcommand};
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;

use self::csv_file::{Purchase, Purchases, Setting};
use self::tally::Tally;
use super::client::{Client, ClientOptions};
use super::output::{grouped, print};
use super::progress::Progress;
use super::{CliError, instant};
use crate::proto::fields::write_instant;
use crate::proto::{self, BatchRecordActivitiesRequest, Program, RecordActivityRequest, record_activity_request};

/// How many lines are read ahead of the stream. It is the stream that holds the reading back, as far as the service is
/// behind; this only keeps the two from waiting for each other.
const LINES_AHEAD: usize = 256;

/// What `goldbook import purchases --help` says about the file.
const FILE_HELP: &str = "\
The file is CSV with a header. These columns are read, in any order, and others
are ignored:
  purchase_id    the business's own id of the purchase, unique within its
                 customer
  customer_id    the business's own id of the customer, who is enrolled if the
                 program does not have them yet
  purchased_on   a day such as 1997-01-18, which counts from its first instant
                 in the program's time zone, or an instant such as
                 1997-01-18T15:30:00-05:00
  amount         what was paid, such as 29.33, in the program's currency; the
                 column's name may say so: amount_usd

Each purchase takes effect at its own time, or at that of the customer's last
ledger entry where this is later. So put a customer's purchases in the order in
which they happened.

A line that is refused is told with its number and does not stop the others. A
purchase counts once, so an import that was interrupted, or refused in part, is
simply repeated.

Example:
  goldbook import purchases --program cdnow examples/cdnow/purchases.csv

Exit status: 0 if every line is in the book now, 1 if any was refused.";

/// Bring in what happened before, from files.
#[derive(Debug, Args)]
pub struct ImportArgs {
    #[command(subcommand)]
    command: ImportCommand,
}

#[derive(Debug, Subcommand)]
enum ImportCommand {
    /// Record purchases from a CSV file, as history.
    #[command(after_help = FILE_HELP)]
    Purchases(PurchasesArgs),
}

#[derive(Debug, Args)]
struct PurchasesArgs {
    /// The purchases, a CSV file.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The program they belong to.
    #[arg(long = "program", value_name = "ID")]
    program_id: String,
    #[command(flatten)]
    client: ClientOptions,
}

/// Does what a `goldbook import` command line asks for.
///
/// # Errors
/// If the file makes no sense, the service does not answer or refuses, or any line was refused.
pub async fn run(args: ImportArgs) -> Result<(), CliError> {
    let ImportCommand::Purchases(args) = args.command;
    let client = args.client.connect().await?;
    let program = client.choose_program(Some(&args.program_id)).await?;
    let zone = instant::time_zone(&program.time_zone)?;
    let lines = Purchases::open(&args.file, Setting { currency_code: program.currency_code.clone(), zone })?;
    let file = args.file.clone();
    let total = tokio::task::spawn_blocking(move || csv_file::count_lines(&file)).await.ok().flatten();

    let begun = Instant::now();
    let tally = Arc::new(Mutex::new(Tally::new()));
    let streamed = record(&client, &program, lines, &tally, total).await;

    let tally = locked(&tally);
    print(tally.summary(&program.currency_code, begun.elapsed()))?;
    streamed?;
    if tally.refused() > 0 {
        let refused = grouped(tally.refused());
        return Err(CliError::Incomplete(format!("lines refused: {refused}; all others are in the book")));
    }
    Ok(())
}

/// Streams all lines to the service and counts what becomes of them.
async fn record(
    client: &Client,
    program: &Program,
    lines: Purchases<File>,
    tally: &Arc<Mutex<Tally>>,
    total: Option<u64>,
) -> Result<(), CliError> {
    const BROKEN: &str = "the import was interrupted; repeat it, since what is in the book counts once";

    let (requests, stream) = mpsc::channel(LINES_AHEAD);
    let reader = LineReader {
        program_id: program.program_id.clone(),
        currency_code: program.currency_code.clone(),
        tally: Arc::clone(tally),
        requests,
    };
    let reading = tokio::task::spawn_blocking(move || reader.send_all(lines));
    let answer = client.activities().batch_record_activities(ReceiverStream::new(stream)).await;
    let mut outcomes = answer.map_err(CliError::refused(BROKEN))?.into_inner();
    let mut progress = Progress::begin("purchases", total);
    let mut answered = 0;
    while let Some(outcome) = outcomes.next().await {
        let outcome = outcome.map_err(CliError::refused(BROKEN))?;
        answered += 1;
        let mut tally = locked(tally);
        tally.count(outcome);
        progress.set(tally.finished());
    }
    progress.end();
    let sent = reading.await.map_err(|error| CliError::failed(format_args!("reading the file failed: {error}")))?;
    if sent == answered {
        return Ok(());
    }
    let open = grouped(sent.saturating_sub(answered));
    Err(CliError::failed(format_args!("{BROKEN}: {open} lines have no answer")))
}

/// Reads lines where it may block, and hands them to the stream.
struct LineReader {
    program_id: String,
    currency_code: String,
    tally: Arc<Mutex<Tally>>,
    requests: mpsc::Sender<BatchRecordActivitiesRequest>,
}

impl LineReader {
    /// Sends every line that is a purchase and counts the others as refused; returns how many were sent. Ends early if
    /// the stream is closed.
    fn send_all(self, lines: Purchases<File>) -> u64 {
        let mut sent = 0;
        for (number, line) in lines {
            match line {
                Ok(purchase) => {
                    if self.requests.blocking_send(self.request(number, purchase)).is_err() {
                        break;
                    }
                    sent += 1;
                }
                Err(why) => locked(&self.tally).refuse(number, why),
            }
        }
        sent
    }

    fn request(&self, number: u64, purchase: Purchase) -> BatchRecordActivitiesRequest {
        let amount = purchase.amount.to_money(&self.currency_code);
        let activity = RecordActivityRequest {
            program_id: self.program_id.clone(),
            customer_id: purchase.customer_id,
            activity_id: purchase.purchase_id,
            activity: Some(record_activity_request::Activity::Purchase(proto::Purchase { amount: Some(amount) })),
            happened_at: Some(write_instant(purchase.happened_at)),
            enrol: true,
            as_history: true,
        };
        BatchRecordActivitiesRequest { item_id: number.to_string(), activity: Some(activity) }
    }
}

/// The tally, also after a panic elsewhere: it is complete after every count.
fn locked(tally: &Mutex<Tally>) -> MutexGuard<'_, Tally> {
    tally.lock().unwrap_or_else(PoisonError::into_inner)
}
