//! `goldbook import purchases`: what customers bought before, as history.

mod file;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzzing;
mod tally;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use clap::Args;
use goldbook_api::v1::{
    self as proto, BatchRecordActivitiesRequest, Program, RecordActivityRequest, record_activity_request,
};
use goldbook_api::values::write_instant;

use self::file::{Purchase, Setting};
use self::tally::Tally;
use super::lines;
use super::sending::{Sending, locked};
use crate::cli::client::ClientOptions;
use crate::cli::error::CliError;
use crate::cli::instant;
use crate::cli::output::{grouped, print};

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

/// Runs `goldbook import purchases`.
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
    let currency_code = program.currency_code.clone();
    let sending = Sending {
        lines: purchases,
        write_request: move |line, purchase| write_request(&program, line, purchase),
        things: "purchases",
        total,
    };
    let call = async |requests| client.activities().batch_record_activities(requests).await;
    let sent = sending.send_all(&tally, call).await;

    let tally = locked(&tally);
    print(tally.summary(&currency_code, begun.elapsed()))?;
    sent?;
    if tally.refused() > 0 {
        let refused = grouped(tally.refused());
        return Err(CliError::Incomplete(format!("lines refused: {refused}; all others are in the book")));
    }
    Ok(())
}

/// Writes the request that records a purchase. Its item id is the number of its line.
fn write_request(program: &Program, line: u64, purchase: Purchase) -> BatchRecordActivitiesRequest {
    let amount = purchase.amount.to_money(&program.currency_code);
    let activity = RecordActivityRequest {
        program_id: program.program_id.clone(),
        customer_id: purchase.customer_id,
        activity_id: purchase.purchase_id,
        activity: Some(record_activity_request::Activity::Purchase(proto::Purchase {
            amount: Some(amount),
            margin: None,
        })),
        happened_at: Some(write_instant(purchase.happened_at)),
        enrol: true,
        as_history: true,
    };
    BatchRecordActivitiesRequest { item_id: line.to_string(), activity: Some(activity) }
}
