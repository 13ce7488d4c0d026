//! `goldbook customer export`: writes everything that is known of one customer to a file, for that person.

use std::io::{BufWriter, Write as _};
use std::path::PathBuf;

use clap::Args;
use goldbook_api::v1::ExportCustomerRequest;

use super::super::client::{Client, ClientOptions, incomplete_answer};
use super::super::error::CliError;
use super::super::export::destination::{Destination, unless_interrupted};

/// What an export tells that was interrupted.
const BROKEN: &str = "the export was interrupted; repeat it";

/// What `goldbook customer export --help` says after the options.
const HELP: &str = "\
The document is one JSON object. Its field `schema` names what it follows, which
is docs/schemas/customer-export-1.json. It tells nothing of other people.

Each export writes an entry on the customer's account, which says who was given
it and is in the document itself.

FILE appears when the export is whole, and not before: a file that was there
stays until then. Only its owner may read it.

Examples:
  goldbook customer export --program cdnow --customer C0001 --output C0001.json
  goldbook customer export --program cdnow --customer C0001 | jq .balance

Exit status: 0 if the whole document was written, 1 if not, 2 wrong usage.";

/// Write everything that is known of one customer to a file, for that person.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct ExportArgs {
    /// The id of the customer's program.
    #[arg(long = "program", value_name = "ID")]
    program_id: String,
    /// The business's own id of the customer.
    #[arg(long = "customer", value_name = "ID")]
    customer_id: String,
    /// Where the document goes; - is standard output.
    #[arg(long, value_name = "FILE", default_value = "-")]
    output: PathBuf,
    #[command(flatten)]
    client: ClientOptions,
}

/// Runs `goldbook customer export`.
///
/// # Errors
/// If the service does not answer or refuses, or the document cannot be written.
pub(super) async fn run(args: ExportArgs) -> Result<(), CliError> {
    let client = args.client.connect().await?;
    let destination = Destination::open(&args.output)?;
    let request = ExportCustomerRequest { program_id: args.program_id, customer_id: args.customer_id };
    unless_interrupted(destination.is_file(), write(&client, request, destination)).await
}

async fn write(client: &Client, request: ExportCustomerRequest, destination: Destination) -> Result<(), CliError> {
    let answer = client.customers().export_customer(request).await;
    let mut messages = answer.map_err(CliError::refused("cannot export the customer"))?.into_inner();
    let first = messages.message().await.map_err(CliError::refused(BROKEN))?.ok_or_else(incomplete_answer)?;
    first.as_of.ok_or_else(incomplete_answer)?;
    let failed = |error| destination.failure(&error);
    let mut writer = BufWriter::new(destination.writer()?);
    // Writing may block this thread. It has nothing else to do, and the connection runs on others.
    while let Some(message) = messages.message().await.map_err(CliError::refused(BROKEN))? {
        writer.write_all(&message.chunk).map_err(failed)?;
    }
    writer.flush().map_err(failed)?;
    drop(writer);
    destination.finish()
}
