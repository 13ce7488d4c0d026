//! `goldbook import purchases`: what customers bought before, as history.

mod file;
mod tally;

use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use clap::Args;
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;

use self::file::{Purchase, Purchases, Setting};
use self::tally::Tally;
use super::{BROKEN, LINES_AHEAD, lines, locked};
use crate::cli::client::{Client, ClientOptions};
use crate::cli::output::{grouped, print};
use crate::cli::progress::Progress;
use crate::cli::{CliError, instant};
use crate::proto::fields::write_instant;
use crate::proto::{self, BatchRecordActivitiesRequest, Program, RecordActivityRequest, record_activity_request};

/// What `goldbook import purchases --help` says about the file.
pub(super) const FILE_HELP: &str = "\
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
which they happened, and if points vest or expire by time, import with a service
that runs with --dues-ms 0: what expired is written before what is told after.

A line that is refused is told with its number and does not stop the others. A
purchase counts once, so an import that was interrupted, or refused in part, is
simply repeated.

Example:
  goldbook import purchases --program cdnow examples/cdnow/purchases.csv

Exit status: 0 if every line is in the book now, 1 if any was refused.";

#[derive(Debug, Args)]
pub(super) struct PurchasesArgs {
    /// The purchases, a CSV file.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The program they belong to.
    #[arg(long = "program", value_name = "ID")]
    program_id: String,
    #[command(flatten)]
    client: ClientOptions,
}

/// Does what a `goldbook import purchases` command line asks for.
///
/// # Errors
/// If the file makes no sense, the service does not answer or refuses, or any line was refused.
pub(super) async fn run(args: PurchasesArgs) -> Result<(), CliError> {
    let client = args.client.connect().await?;
    let program = client.choose_program(Some(&args.program_id)).await?;
    let zone = instant::time_zone(&program.time_zone)?;
    let purchases = file::open(&args.file, Setting { currency_code: program.currency_code.clone(), zone })?;
    let file = args.file.clone();
    let total = tokio::task::spawn_blocking(move || lines::count(&file)).await.ok().flatten();

    let begun = Instant::now();
    let tally = Arc::new(Mutex::new(Tally::new()));
    let streamed = record(&client, &program, purchases, &tally, total).await;

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
    purchases: Purchases<File>,
    tally: &Arc<Mutex<Tally>>,
    total: Option<u64>,
) -> Result<(), CliError> {
    let (requests, stream) = mpsc::channel(LINES_AHEAD);
    let reader = LineReader {
        program_id: program.program_id.clone(),
        currency_code: program.currency_code.clone(),
        tally: Arc::clone(tally),
        requests,
    };
    let reading = tokio::task::spawn_blocking(move || reader.send_all(purchases));
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
    fn send_all(self, purchases: Purchases<File>) -> u64 {
        let mut sent = 0;
        for (number, line) in purchases {
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
