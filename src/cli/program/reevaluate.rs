//! `goldbook program reevaluate`: applies the version in force to every customer.

use std::time::Duration;

use clap::Args;
use goldbook_api::v1::{DowngradeTime, GetTierReevaluationRequest, ReevaluateTiersRequest, TierReevaluation};
use tokio::time::sleep;
use uuid::Uuid;

use super::diff::Downgrades;
use crate::cli::client::{Client, ClientOptions, incomplete_answer};
use crate::cli::error::CliError;
use crate::cli::output::{grouped, print};
use crate::cli::progress::Progress;

pub(super) const REEVALUATE_HELP: &str = "\
Applying a document moves nobody: new decisions go by it. This decides every
customer's standing by it. The service does it in the background and goes on
after a crash; ending this command ends nothing.

Examples:
  goldbook program diff shop.toml                          who would move
  goldbook program apply shop.toml
  goldbook program reevaluate shop --downgrades at-own-end
  goldbook program reevaluate shop --resume 019a2b3c000070008000000000000001.12

Exit status: 0 once every customer was decided; 1 if it was refused, or another
version came into force meanwhile, or customers could not be decided.";

/// How often to look how far it is.
const LOOK_EVERY: Duration = Duration::from_millis(250);

#[derive(Debug, Args)]
pub(super) struct ReevaluateArgs {
    /// The program's id.
    #[arg(value_name = "PROGRAM")]
    program_id: String,
    /// When tiers are lost that the version gives no more.
    #[arg(long, value_name = "WHEN", value_enum, required_unless_present = "resume")]
    downgrades: Option<Downgrades>,
    /// Refuse unless this version is in force.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    version: Option<i32>,
    /// Order it, and do not wait until it is done.
    #[arg(long)]
    no_wait: bool,
    /// Order nothing, and wait for one that was ordered before.
    #[arg(long, value_name = "ID", conflicts_with_all = ["downgrades", "version", "no_wait"])]
    resume: Option<String>,
    #[command(flatten)]
    client: ClientOptions,
}

pub(super) async fn run(args: ReevaluateArgs) -> Result<(), CliError> {
    let client = args.client.connect().await?;
    let reevaluation = match (args.resume, args.downgrades) {
        (Some(reevaluation_id), _) => look(&client, &args.program_id, &reevaluation_id).await?,
        (None, Some(downgrades)) => order(&client, &args.program_id, args.version, downgrades).await?,
        (None, None) => return Err(CliError::usage("say --downgrades or --resume")),
    };
    let id = &reevaluation.reevaluation_id;
    if args.no_wait {
        return print(format_args!("{}: ordered by version {}: {id}", args.program_id, reevaluation.version));
    }
    // For `--resume`, whatever becomes of this command.
    eprintln!("ordered by version {}: {id}", reevaluation.version);
    let mut progress = Progress::begin("customers", None);
    let ended = loop {
        let now = look(&client, &args.program_id, id).await?;
        progress.set(u64::try_from(now.customers_done).unwrap_or_default());
        if now.ended_at.is_some() {
            break now;
        }
        sleep(LOOK_EVERY).await;
    };
    progress.end();
    let told = format!("{}: {}", args.program_id, summary(&ended));
    if ended.superseded || ended.left_out > 0 { Err(CliError::failed(told)) } else { print(told) }
}

async fn order(
    client: &Client,
    program_id: &str,
    version: Option<i32>,
    downgrades: Downgrades,
) -> Result<TierReevaluation, CliError> {
    let version = match version {
        Some(version) => version,
        None => client.get_program(program_id, 0).await?.version,
    };
    let request = ReevaluateTiersRequest {
        program_id: program_id.to_owned(),
        version,
        downgrades: DowngradeTime::from(downgrades).into(),
        idempotency_key: Uuid::now_v7().to_string(),
    };
    let answer = client.tiers().reevaluate_tiers(request).await;
    let answer = answer.map_err(CliError::refused("cannot order the re-evaluation"))?.into_inner();
    answer.reevaluation.ok_or_else(incomplete_answer)
}

async fn look(client: &Client, program_id: &str, reevaluation_id: &str) -> Result<TierReevaluation, CliError> {
    let request =
        GetTierReevaluationRequest { program_id: program_id.to_owned(), reevaluation_id: reevaluation_id.to_owned() };
    let answer = client.tiers().get_tier_reevaluation(request).await;
    let answer = answer.map_err(CliError::refused("cannot read the re-evaluation"))?.into_inner();
    answer.reevaluation.ok_or_else(incomplete_answer)
}

/// What it came to, in words.
fn summary(ended: &TierReevaluation) -> String {
    let TierReevaluation { customers_done, raised, lowered, redecided, left_out, version, .. } = ended;
    let [done, raised, lowered, redecided, left_out] =
        [customers_done, raised, lowered, redecided, left_out].map(|count| grouped(*count));
    let customers = if ended.customers_done == 1 { "customer" } else { "customers" };
    let mut told = format!(
        "{done} {customers} decided by version {version}: {raised} raised, {lowered} lowered, {redecided} with another end"
    );
    if ended.left_out > 0 {
        told.push_str(&format!("; {left_out} left out, which `goldbook audit` names"));
    }
    if ended.superseded {
        told.push_str("; another version came into force before the last one");
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outcome_is_told_in_words() {
        let ended = TierReevaluation {
            version: 3,
            customers_done: 2_357,
            raised: 12,
            lowered: 3,
            redecided: 1_040,
            ..TierReevaluation::default()
        };
        let told = "2,357 customers decided by version 3: 12 raised, 3 lowered, 1,040 with another end";
        assert_eq!(summary(&ended), told);
        let superseded = TierReevaluation { superseded: true, left_out: 1, ..ended };
        let more = "; 1 left out, which `goldbook audit` names; another version came into force before the last one";
        assert_eq!(summary(&superseded), format!("{told}{more}"));
    }
}
