//! `goldbook import balances`: the points and tiers that customers bring along from another system.

mod file;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzzing;
mod reconciliation;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use clap::Args;
use goldbook_api::v1::{
    ExpiryRule, ImportBalancesRequest, OpeningLot, OpeningTier, Program, expiry_rule, import_balances_request,
    opening_lot,
};
use goldbook_api::values::write_instant;
use jiff::Timestamp;

use self::file::{Balance, Entry, Expiry, Opening, Setting, Survey, Vesting};
use self::reconciliation::{Reconciliation, show_survey};
use super::sending::{Sending, locked, reading_failed};
use crate::cli::client::ClientOptions;
use crate::cli::error::CliError;
use crate::cli::output::{grouped, print};

/// What `goldbook import balances --help` says about the file.
pub(super) const FILE_HELP: &str = "\
The file is CSV with a header. Each line is an opening lot or an opening tier;
a customer who brings both has a line for each. These columns are read, in any
order, and others are ignored; one that no line needs may be missing:
  line_id           the line's own id in the other system, unique within its
                    customer: it is imported once, however often the file is
  customer_id       the business's own id of the customer
  points            of a lot: how many, 1 or more
  vests_at          of a lot: when the points become available; empty, or passed
                    already: at once
  vest_by           of a lot, instead: until when what the points were granted
                    for must happen, or else they are cancelled
  expires_at        of a lot: when the points expire, which must lie ahead, or
                    never; empty: as the program says
  tier_id           of a tier: one of the program's
  qualifying_spend  of a tier: lifetime spend, such as 1029.33, in the program's
                    currency, added to what the customer has; empty: none; the
                    column's name may say the currency: qualifying_spend_usd

Instants are a day such as 2026-01-18, which counts from its first instant in
the program's time zone, or an instant such as 2026-01-18T15:30:00-05:00.

The whole file is checked first, with every reason why a line is bad, and nothing
is sent if any is. Then
a line that the service refuses is told with its number and does not stop the
others. At the end the file is reconciled with what became of its lines. An
import that was interrupted, or refused in part, is simply repeated.

Example:
  goldbook import balances --program cdnow --enrol balances.csv

Exit status: 0 if every line is in the book now, or a dry run found nothing
bad; 1 if any line is bad or was refused; 2 if the file cannot be read.";

#[derive(Debug, Args)]
pub(super) struct BalancesArgs {
    /// The opening lots and tiers, a CSV file.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The program that takes them over.
    #[arg(long = "program", value_name = "ID")]
    program_id: String,
    /// Enrol customers whom the program does not have yet; otherwise their lines are refused.
    #[arg(long)]
    enrol: bool,
    /// Check the whole file and send nothing; terms that have passed are bad then. Whether customers are enrolled and
    /// lines are in the book already, the import itself tells.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    client: ClientOptions,
}

/// Runs `goldbook import balances`.
///
/// # Errors
/// If the file makes no sense, the service does not answer or refuses, or any line was refused.
pub(super) async fn run(args: BalancesArgs) -> Result<(), CliError> {
    let client = args.client.connect().await?;
    let program = client.choose_program(Some(&args.program_id)).await?;
    let setting = Setting::of(&program)?;
    // A pipe would be empty the second time.
    if args.file.metadata().is_ok_and(|file| !file.is_file()) {
        return Err(CliError::usage(format_args!(
            "{}: must be a file, since it is read twice: to check all of it before anything is sent",
            args.file.display()
        )));
    }
    // Terms that have passed are bad only on lines that were not imported before. A dry run takes all lines for such.
    let surveyed = if args.dry_run { setting.clone().at(Timestamp::now()) } else { setting.clone() };
    let balances = file::open(&args.file, surveyed)?;
    let survey = tokio::task::spawn_blocking(move || Survey::of(balances)).await.map_err(reading_failed)?;
    if survey.bad.count() > 0 {
        let bad = grouped(survey.bad.count());
        print(format!("{}{}", show_survey(&survey), survey.bad.list()))?;
        return Err(CliError::Incomplete(format!("bad lines: {bad}; nothing was sent")));
    }
    if args.dry_run {
        return print(format!("{}\nNothing is wrong with the file itself. Nothing was sent.", show_survey(&survey)));
    }

    let balances = file::open(&args.file, setting)?;
    let reconciliation = Arc::new(Mutex::new(Reconciliation::of(&survey)));
    let sending = Sending {
        lines: balances.map(|(line, entry)| (line, entry.and_then(Entry::into_balance))),
        write_request: move |line, balance| write_request(&program, args.enrol, line, balance),
        things: "lines",
        total: Some(survey.count.lines),
    };
    let call = async |requests| client.imports().import_balances(requests).await;
    let sent = sending.send_all(&reconciliation, call).await;
    let reconciliation = locked(&reconciliation);
    print(reconciliation.show())?;
    sent?;
    if !reconciliation.adds_up() {
        return Err(CliError::failed("the file changed while it was imported; repeat the import"));
    }
    if reconciliation.refused() > 0 {
        let refused = grouped(reconciliation.refused());
        return Err(CliError::Incomplete(format!("lines refused: {refused}; all others are in the book")));
    }
    Ok(())
}

/// Writes the request that imports a line. Its item id is the number of the line.
fn write_request(program: &Program, enrol: bool, line: u64, balance: Balance) -> ImportBalancesRequest {
    let opening = match balance.opening {
        Opening::Lot { points, vesting, expiry } => {
            let vesting = match vesting {
                Vesting::AtOnce => None,
                Vesting::At(at) => Some(opening_lot::Vesting::VestsAt(write_instant(at))),
                Vesting::OnEventBy(at) => Some(opening_lot::Vesting::VestBy(write_instant(at))),
            };
            let rule = match expiry {
                Expiry::ByProgram => None,
                Expiry::Never => Some(expiry_rule::Rule::Never(())),
                Expiry::At(at) => Some(expiry_rule::Rule::At(write_instant(at))),
            };
            let expiry = rule.map(|rule| ExpiryRule { rule: Some(rule) });
            import_balances_request::Opening::Lot(OpeningLot { points, vesting, expiry })
        }
        Opening::Tier { tier_id, qualifying_spend } => {
            let qualifying_spend = qualifying_spend.map(|spend| spend.to_money(&program.currency_code));
            import_balances_request::Opening::Tier(OpeningTier { tier_id, qualifying_spend })
        }
    };
    ImportBalancesRequest {
        item_id: line.to_string(),
        program_id: program.program_id.clone(),
        customer_id: balance.customer_id,
        enrol,
        idempotency_key: balance.line_id,
        opening: Some(opening),
    }
}
