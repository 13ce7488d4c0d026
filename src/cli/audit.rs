//! `goldbook audit`: checks in the database that everything that is kept is what the ledger says.

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;

use super::database_args::{Patience, tell_waiting};
use super::database_url::{DatabaseUrl, find_database};
use super::error::CliError;
use super::error::with_causes;
use super::output::{grouped, print};
use super::progress::Progress;
use crate::audit::model::Difference;
use crate::audit::{Asked, Extent, Listener, Outcome, Tally, audit};
use crate::capabilities::capabilities;
use crate::customers::ErasureKeys;
use crate::database::check_schema;
use crate::embedded_postgres::{OWNER_ROLE, SERVICE_ROLE};
use crate::ids::AccountId;
use crate::programs::Catalogue;

/// What `goldbook audit --help` says after the options.
const HELP: &str = "\
Reads every entry of the ledger from one snapshot, builds balances, lots, holds,
tiers, referrals and all else that is kept beside it anew, in the code that
wrote it, and tells each difference: where, what, and by how much. (Summaries of
the liability are reports of their time, and not among it.) It also
checks that no entry is missing or changed (numbers without a gap, content
hashes), that points are conserved after each, that idempotency keys were used
once, and that names, dossiers and activities belong to entries that exist.

The service may run meanwhile, and is not held up.

--since-last reads the accounts that were written to since the last audit after
which nothing differed, each from its first entry, so that it can run every hour
however large the ledger is. It does not see what was changed without an entry on
accounts that were not written to: let an audit of everything run every week.
Where no audit was clean before, it reads everything.

--repair builds the rows of accounts that differ anew from their entries, one
account at a time, while the service runs. Entries are never changed: an account
whose entries are damaged is told and left as it is. It needs the owner's role.

Examples:
  goldbook audit
  goldbook audit --since-last
  goldbook audit --database-url postgres://goldbook_service@db/goldbook
  goldbook audit --repair --database-url postgres://goldbook_owner@db/goldbook

What a newer version wrote and this one does not know is told and counted apart:
it is proven by its hash, and not compared or repaired. The newer version can.

Exit status: 0 if nothing differs, or all that did is repaired; 1 if anything
does, or is a newer version's and was not compared; 2 for wrong usage, or if the audit could not come to its end.";

/// Check that everything kept is what the ledger's entries say, and repair what is not.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct AuditArgs {
    /// The database: in the service's role, or with --repair in the owner's. Without it, the one that a service runs in
    /// the data directory.
    #[arg(long, env = "GOLDBOOK_DATABASE_URL", value_name = "URL", hide_env_values = true)]
    database_url: Option<DatabaseUrl>,
    /// The data directory of a running service with a database of its own.
    #[arg(long, env = "GOLDBOOK_DATA_DIR", value_name = "DIR", default_value = ".goldbook")]
    data_dir: PathBuf,
    /// Read the accounts that were written to since the last audit that was clean, not all.
    #[arg(long)]
    since_last: bool,
    /// Build rows that differ anew from the entries.
    #[arg(long)]
    repair: bool,
    /// How many differences to tell; all are counted.
    #[arg(long, value_name = "N", default_value_t = 100)]
    max_differences: u64,
    #[command(flatten)]
    patience: Patience,
}

/// Runs `goldbook audit`.
///
/// # Errors
/// If anything differs, or the audit cannot come to its end.
pub(crate) async fn run(args: AuditArgs) -> Result<(), CliError> {
    let not_run = |why: String| CliError::NotRun(format!("the audit did not come to its end: {why}"));
    let role = if args.repair { OWNER_ROLE } else { SERVICE_ROLE };
    let database = find_database(args.database_url.as_ref(), &args.data_dir, role);
    let database = database.map_err(|error| CliError::NotRun(error.to_string()))?;
    let check = args.patience.wait_for(&database, async || check_schema(&database).await, tell_waiting);
    check.await.map_err(|error| not_run(with_causes(&error)))?;
    let capabilities = capabilities(&Catalogue::default(), ErasureKeys::default());
    let begun = Instant::now();
    let mut teller = Teller { progress: None, left: args.max_differences, failed: None };
    let extent = if args.since_last { Extent::SinceLast } else { Extent::Full };
    let asked = Asked { extent, repair: args.repair };
    let outcome = audit(&database, &capabilities, asked, &mut teller).await;
    if let Some(progress) = teller.progress.take() {
        progress.end();
    }
    let outcome = outcome.map_err(|error| not_run(with_causes(&error)))?;
    let tally = outcome.record.tally;
    let told = match teller.failed {
        None => summarize(&tally, begun.elapsed().as_secs_f64(), args.max_differences)
            .and_then(|()| tell_what_is_covered(&outcome, extent)),
        Some(error) => Err(error),
    };
    match told {
        // The answer is the exit code, even if the reader of the output has left.
        Ok(()) | Err(CliError::ReaderLeft) => {}
        Err(error) => return Err(error),
    }
    match tally.remaining {
        0 if tally.newer > 0 => Err(CliError::Incomplete("a newer version's rows were not compared".to_owned())),
        0 => Ok(()),
        1 => Err(CliError::Incomplete("1 difference".to_owned())),
        differences => Err(CliError::Incomplete(format!("{} differences", grouped(differences)))),
    }
}

fn summarize(tally: &Tally, seconds: f64, told: u64) -> Result<(), CliError> {
    let Tally { entries, accounts, differences, repaired, remaining, newer } = *tally;
    if differences > told {
        print(format_args!("… and {} more", grouped(differences - told)))?;
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "a rate for people"
    )]
    let rate = (entries as f64 / seconds.max(0.001)) as u64;
    print(format_args!(
        "{} entries of {} accounts in {seconds:.1} s, {} entries/s",
        grouped(entries),
        grouped(accounts),
        grouped(rate)
    ))?;
    if newer > 0 {
        let of = "accounts or programs hold what a newer version wrote, and were not compared: audit with that one";
        print(format_args!("{} {of}", grouped(newer)))?;
    }
    if differences == 0 {
        return print(if newer == 0 { "nothing differs" } else { "nothing else differs" });
    }
    if repaired > 0 {
        print(format_args!("{} accounts repaired, {} differences remain", grouped(repaired), grouped(remaining)))?;
    }
    Ok(())
}

/// Says which part of the ledger was read, and where the next audit of what is new begins.
fn tell_what_is_covered(outcome: &Outcome, asked: Extent) -> Result<(), CliError> {
    let record = &outcome.record;
    match record.since {
        Some(since) => print(format_args!("read: accounts with entries recorded after {since}"))?,
        None if asked == Extent::SinceLast => print("read: everything, since no audit before was clean")?,
        None => print("read: everything")?,
    }
    match record.covers {
        Some(covers) => print(format_args!("covers: entries recorded by {covers}"))?,
        None if record.tally.newer > 0 => {
            print("covers: nothing for the next --since-last, since not all was compared")?;
        }
        None => print(
            "covers: nothing for the next --since-last, since this role does not see which batches are under way",
        )?,
    }
    if let Err(error) = &outcome.remembered {
        // What was found is the answer all the same, and a standby can be audited, too.
        eprintln!("not remembered, so the next --since-last begins where it would have: {}", with_causes(error));
    }
    Ok(())
}

/// Prints differences as they are found.
struct Teller {
    progress: Option<Progress>,
    /// How many more to print.
    left: u64,
    /// Why printing failed. The audit goes on nevertheless, for its exit code.
    failed: Option<CliError>,
}

impl Teller {
    fn tell(&mut self, line: &str) {
        if self.failed.is_some() {
            return;
        }
        let printing = || print(line);
        let printed = match &self.progress {
            Some(progress) => progress.suspend(printing),
            None => printing(),
        };
        self.failed = printed.err();
    }
}

impl Listener for Teller {
    fn begin(&mut self, entries: Option<u64>) {
        self.progress = Some(Progress::begin("entries", entries));
    }

    fn read(&mut self, entries: u64) {
        if let Some(progress) = &mut self.progress {
            progress.set(entries);
        }
    }

    fn newer(&mut self, what: &str) {
        if self.left > 0 {
            self.left -= 1;
            self.tell(&format!("of a newer version: {what}"));
        }
    }

    fn found(&mut self, difference: &Difference) {
        if self.left > 0 {
            self.left -= 1;
            self.tell(&difference.what);
        }
    }

    fn repaired(&mut self, account_id: AccountId) {
        self.tell(&format!("account {}: repaired", account_id.0));
    }

    fn not_repaired(&mut self, account_id: AccountId) {
        self.tell(&format!("account {}: not repaired, since its entries are damaged", account_id.0));
    }
}
