//! `goldbook program`: checks, applies, shows and lists programs as documents.

mod benefit_table;
mod check;
mod complaints_table;
mod diff;
mod difference;
mod document;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzzing;
mod goodwill_table;
mod lifecycle_table;
mod nearest;
mod notes;
mod package_table;
mod points_table;
mod read;
mod read_benefits;
mod read_points;
mod read_tiers;
mod reevaluate;
mod satisfaction_table;
mod segments_table;
mod syntax;
mod table;
mod tier_policy_table;
mod value_classes_table;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use goldbook_api::v1::{ApplyProgramRequest, ApplyProgramResponse, Program, ProgramVersion};
use goldbook_api::values::write_instant;
use jiff::Timestamp;

pub(super) use self::check::Checked;
use self::check::{CHECK_HELP, CheckArgs};
use self::diff::{DIFF_HELP, DiffArgs};
use self::document::Document;
use self::reevaluate::{REEVALUATE_HELP, ReevaluateArgs};
use super::client::{Client, ClientOptions, incomplete_answer};
use super::error::CliError;
use super::instant;
use super::output::{self, Style, print};

/// What `goldbook program apply --help` says about the document.
const DOCUMENT_HELP: &str = r#"The document:
  program_id = "shop"                # names the program for ever: a-z, 0-9 and -
  display_name = "The Shop"
  currency = "USD"                   # ISO 4217; cannot change after the first version
  time_zone = "America/New_York"     # of the IANA database; cannot change either
  points_per_unit = "1"              # points for one whole unit spent, an exact decimal in quotes

  [points]                           # optional, as everything in it: points are free of rules if absent
  point_value = "0.01"               # what one point is worth, in the currency
  hold_for = "P7D"                   # how long a hold lasts
  clawback = "allow_debt"            # or "within_balance", "unspent_only": what a reversal takes
  vesting = { after = "P14D" }       # or "immediate", { at = 2026-01-01T00:00:00Z }, { on_event_within = "P30D" }
  expiry = { after = "P1Y", round_to = "quarter" }   # or "never", { at = … }, { sliding = "P1Y" }
  redemption = { minimum = 100, step = 50, maximum = 10000 }
  earning = { per_transaction = 5000, per_period = [{ period = "month", points = 20000 }] }
  reinstatement = { within = "P30D", valid_for = "P90D" }

  [retention]                        # optional, as everything in it: what is absent is kept for ever
  notes_days = 365                   # days without activity after which notes beside entries are erased
  dossier_days = 1095                # and the dossier with its consents

  [tier_policy]                      # optional, as everything in it: the whole life counts, and tiers are kept, if absent
  window = { calendar = "year" }     # or "half", …, { rolling = "P1Y" }, "enrolment_year", "lifetime"
  upgrade = "at_once"                # or "at_period_end"
  kept = "until_end_of_next_period"  # or "until_end_of_period", "while_condition_holds", { for = "P1Y" }, "always"
  at_end = "one_step"                # or "drop_to_earned": where a tier is not earned again
  grace = "P30D"                     # for how long it can still be saved
  on_refund = "at_once"              # or "at_period_end"

  [[tiers]]                          # lowest first; the first is zero
  tier_id = "member"
  display_name = "Member"
  threshold = "0.00"                 # spend within the window that reaches it, in the currency, in quotes
  # or: condition = { any_of = [{ spend = "500.00" }, { all_of = [{ active_days = 12 }, { referrals = 1 }] }] }

  [[tiers.benefits]]                 # the tier above; it inherits nothing from lower ones
  benefit_id = "early-access"
  display_name = "Early access"
  description = "New titles a day before everyone else."   # optional
  kind = { early_access = "P1D" }    # optional; or { pass = "lounge" }, { earn_rate_multiplier = "1.5" }, …
  quota = { limit = 4, per = "year", counts_companions = true }   # optional; or "month", "tier_period", "lifetime", …

  [[extras]]                         # optional: benefits that no tier gives, for grants and packages
  benefit_id = "cake"
  display_name = "A piece of cake"

  [[packages]]                       # optional: what is given by itself
  package_id = "welcome"
  display_name = "Welcome"
  occasion = "tier_reached"          # or "birthday", "enrolment_anniversary"
  tier_ids = ["member"]              # optional; whichever tier it is if absent
  points = 100                       # optional, as benefits; one of them is there
  benefits = [{ benefit_id = "cake", quantity = 1, valid_for = "P30D" }]

  [satisfaction]                     # optional, as everything in it: what customers are asked
  minimum_answers = 30               # from how few answers no index is made
  acsi_weights = { satisfaction = "1", expectation = "1", ideal = "1" }
  factors = [{ factor_id = "delivery", display_name = "Delivery" }]

  [complaints]                       # optional, as everything in it: how complaints are dealt with
  hours = { monday = ["09:00-12:00", "13:00-17:30"], tuesday = ["09:00-17:30"] }   # Monday to Friday, 9 to 5, if absent
  special_days = [{ date = 2026-12-25 }, { date = 2026-12-24, hours = ["09:00-12:00"] }]   # without hours: a holiday
  categories = [{ category_id = "delivery", display_name = "Delivery" }]

  [[complaints.deadlines]]           # the first that fits a complaint counts
  category_ids = ["delivery"]        # optional; whichever it is, or none, if absent
  priorities = ["high"]              # optional; or "normal", "low"
  value_class_ids = ["best"]         # optional; whichever class the customer is of, or none, if absent
  acknowledgement = { business_hours = 4 }         # optional, as answer and resolution; one of them is there
  answer = { business_days = 5 }                   # or { days = 14 }, { weeks = 2 }
  resolution = { business_days = 15 }
  extended_resolution = { business_days = 35 }     # optional: if it is given more time, from the same start

  [value_classes]                    # optional: how customers are put into classes by what they are worth
  measure = "margin"                 # or "spend", "expected_value"
  each = "quarter"                   # or "month", "year": at whose ends
  periods = 4                        # optional: how many of them are looked at; those of a year if absent
  falls_after = 2                    # optional: at how many ends in a row somebody is below their class to lose it; 1 if absent
  levels = { many_customers = 1000, few_customers = 50, high_margin = "100.00", low_margin = "10.00" }   # optional

  [[value_classes.classes]]          # highest first
  class_id = "best"
  display_name = "Best"
  top_percent = 20                   # or least = "500.00": from where on it is reached
  keep_top_percent = 25              # optional; or keep_least = "400.00": from where on it is kept
  level = "partner"                  # optional; or "proactive", "accountable", "reactive", "basic"

  [[value_classes.classes]]          # the last is that of everybody else
  class_id = "rest"
  display_name = "Rest"

  [[segments]]                       # optional: groups of customers that are asked for by name
  segment_id = "quiet-golfers"
  display_name = "Golfers who have gone quiet"

  [[segments.clauses]]               # all of them hold of who is in it; each is about one thing
  attribute = "sport"                # or tiers, value_classes, levels, stages, languages, region_codes, interests, consents
  values = ["golf"]                  # optional; whichever it is if absent

  [[segments.clauses]]
  amount = "spend"                   # or "margin"; or count = "purchases", "active_days", "points", "referrals", …
  at_least = "500.00"                # or at_most, or both; a number beside count
  days = 365                         # optional; the whole life if absent

  [[segments.clauses]]
  since = "last_purchase"            # or "first_purchase", "joined", "tier_change"
  at_least_days = 60                 # or at_most_days, or both

  [[segments.clauses]]
  coming = "birthday"                # or important_date = "wedding"
  within_days = 14                   # 1 is today alone
  negated = true                     # optional: of whom it does not hold

  [[campaigns]]
  campaign_id = "friends"
  display_name = "Bring a friend"
  starts_at = 2026-03-01T00:00:00-05:00   # optional, as ends_at
  conversion = "first_purchase"      # or "manual": converted by ConvertReferral
  minimum_purchase = "10.00"         # optional; zero if absent
  convert_within_days = 90           # optional; 0 sets no limit
  referrer_points = 500
  referee_points = 250

Examples:
  goldbook program check shop.toml               tell all mistakes, without a service
  goldbook program apply --dry-run shop.toml     show what would change
  goldbook program apply shop.toml               show it and apply it
  goldbook program apply shop.toml --effective-from 2027-01-01    from the new year on

An unchanged document changes nothing; a changed one becomes the next version. docs/programs.md says more of points,
tiers, benefits, packages, satisfaction, complaints, value classes, segments and retention."#;

/// Check, apply, show and list loyalty programs.
///
/// A program is one document: currency, time zone, what becomes of points, how long personal data is kept, tiers with their
/// benefits, packages, campaigns. It is applied as a whole, and every change becomes a new version, which never changes again.
#[derive(Debug, Args)]
pub(crate) struct ProgramArgs {
    #[command(subcommand)]
    command: ProgramCommand,
}

#[derive(Debug, Subcommand)]
enum ProgramCommand {
    /// Tell every mistake in documents, with its line. No service is needed.
    #[command(after_help = CHECK_HELP)]
    Check(CheckArgs),
    /// Make a document the next version of its program, after showing what it changes.
    #[command(after_help = DOCUMENT_HELP)]
    Apply(ApplyArgs),
    /// Tell in words who would be affected how by a document: which customers rise and fall, and what that changes.
    #[command(after_help = DIFF_HELP)]
    Diff(DiffArgs),
    /// Decide every customer's tier by the version in force, which by itself moves nobody.
    #[command(after_help = REEVALUATE_HELP)]
    Reevaluate(ReevaluateArgs),
    /// Print a program's document as TOML, ready to be applied again.
    #[command(after_help = "Example:\n  goldbook program show cdnow --version 1 > cdnow-1.toml")]
    Show(ShowArgs),
    /// List the programs in the versions that are in force.
    List(ListArgs),
}

#[derive(Debug, Args)]
struct ApplyArgs {
    /// The document, a TOML file.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Only check the document and show what it would change.
    #[arg(long)]
    dry_run: bool,
    /// Refuse unless this version is the latest; 0 if the program must be new.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(0..))]
    expected_version: Option<i32>,
    /// Let the version begin then: on a day of the program, such as 2026-07-01, or at an instant. At once if absent.
    #[arg(long, value_name = "WHEN")]
    effective_from: Option<String>,
    #[command(flatten)]
    client: ClientOptions,
}

#[derive(Debug, Args)]
struct ShowArgs {
    /// The program's id.
    #[arg(value_name = "PROGRAM")]
    program_id: String,
    /// The version to show; the one in force if absent.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    version: Option<i32>,
    #[command(flatten)]
    client: ClientOptions,
}

#[derive(Debug, Args)]
struct ListArgs {
    #[command(flatten)]
    client: ClientOptions,
}

/// Runs `goldbook program`.
///
/// # Errors
/// If a document has mistakes, or the service does not answer or refuses.
pub(crate) async fn run(args: ProgramArgs) -> Result<(), CliError> {
    match args.command {
        ProgramCommand::Check(args) => check::run(&args),
        ProgramCommand::Apply(args) => apply(args).await,
        ProgramCommand::Diff(args) => diff::run(args).await,
        ProgramCommand::Reevaluate(args) => reevaluate::run(args).await,
        ProgramCommand::Show(args) => show(args).await,
        ProgramCommand::List(args) => list(args).await,
    }
}

async fn apply(args: ApplyArgs) -> Result<(), CliError> {
    // The document is checked first: its mistakes are told without a service.
    let checked = Checked::read_clean(&args.file, "nothing was applied")?;
    let client = args.client.connect().await?;
    let program = checked.program.clone();
    let program_id = program.program_id.clone();

    // What only the service knows is told of the lines that it is about.
    let in_document = |error| checked.in_words(&args.file, error);
    let zone = instant::time_zone(&program.time_zone)?;
    let effective_from = instant::parse_option("--effective-from", args.effective_from.as_deref(), &zone)?;
    let effective_from = effective_from.map(write_instant);
    let request = ApplyProgramRequest { effective_from, ..request(program) };
    let trial = ApplyProgramRequest { validate_only: true, expected_version: args.expected_version, ..request.clone() };
    let trial = send(&client, trial).await.map_err(in_document)?;
    if !trial.changed {
        let version = version_number(trial.version.as_ref());
        return print(format_args!("{program_id}: unchanged (version {version})"));
    }
    let shown = version_number(trial.previous.as_ref());
    print(show_difference(trial)?)?;
    if args.dry_run {
        return print(format_args!("{program_id}: not applied, because of --dry-run"));
    }

    // What is applied is what was shown: if somebody else was faster, their change is not undone unseen.
    let request = ApplyProgramRequest { expected_version: Some(shown), ..request };
    let applied = send(&client, request).await.map_err(in_document)?;
    let version = version_number(applied.version.as_ref());
    if !applied.changed {
        return print(format_args!("{program_id}: unchanged (version {version}); someone else applied it just now"));
    }
    match &args.effective_from {
        None => print(format_args!("{program_id}: applied as version {version}")),
        Some(_) => {
            let from = applied.version.and_then(|version| version.effective_from);
            let from = from.as_ref().and_then(instant::from_wire).ok_or_else(incomplete_answer)?;
            print(format_args!("{program_id}: applied as version {version}, in force from {from}"))
        }
    }
}

/// A request that applies a document at once, whatever the latest version is.
pub(super) fn request(program: Program) -> ApplyProgramRequest {
    ApplyProgramRequest { program: Some(program), ..ApplyProgramRequest::default() }
}

/// Applies a document, or has it checked only.
pub(super) async fn send(client: &Client, request: ApplyProgramRequest) -> Result<ApplyProgramResponse, CliError> {
    let answer = client.programs().apply_program(request).await;
    Ok(answer.map_err(CliError::refused("cannot apply the program"))?.into_inner())
}

/// Shows what a trial changes. Both versions come from the service, which writes them alike: spelling alone, such as
/// `1.50` for `1.5`, is no difference.
fn show_difference(trial: ApplyProgramResponse) -> Result<String, CliError> {
    let to_toml = |version: Option<ProgramVersion>| match version.and_then(|version| version.program) {
        Some(program) => Document::from_proto(program)?.to_toml(),
        None => Ok(String::new()),
    };
    let old_name = match version_number(trial.previous.as_ref()) {
        0 => "nothing: the program is new".to_owned(),
        number => format!("version {number}"),
    };
    let new_name = format!("version {}", version_number(trial.version.as_ref()));
    let (old, new) = (to_toml(trial.previous)?, to_toml(trial.version)?);
    let shown = difference::show((&old_name, &old), (&new_name, &new), Style::of_stdout());
    Ok(shown.trim_end().to_owned())
}

/// The number of a version, 0 for none.
fn version_number(version: Option<&ProgramVersion>) -> i32 {
    version.map_or(0, |version| version.version)
}

async fn show(args: ShowArgs) -> Result<(), CliError> {
    let client = args.client.connect().await?;
    let version = client.get_program(&args.program_id, args.version.unwrap_or_default()).await?;
    let program = version.program.ok_or_else(incomplete_answer)?;
    let applied_at = version.applied_at.as_ref().and_then(instant::from_wire).unwrap_or(Timestamp::UNIX_EPOCH);
    let begins = version.effective_from.as_ref().and_then(instant::from_wire).filter(|begins| *begins > applied_at);
    let begins = begins.map(|begins| format!(", in force from {begins}")).unwrap_or_default();
    let toml = Document::from_proto(program)?.to_toml()?;
    print(format_args!(
        "# {}, version {}, applied at {applied_at}{begins}\n\n{}",
        args.program_id,
        version.version,
        toml.trim_end()
    ))
}

async fn list(args: ListArgs) -> Result<(), CliError> {
    let versions = args.client.connect().await?.list_programs().await?;
    if versions.is_empty() {
        return print("no program yet; apply one, such as: goldbook program apply examples/cdnow/program.toml");
    }
    let mut table = output::table(["Program", "Name", "Version", "Applied", "Currency", "Tiers"]);
    for version in versions {
        let program = version.program.ok_or_else(incomplete_answer)?;
        let applied = instant::show(version.applied_at.as_ref(), &instant::time_zone(&program.time_zone)?);
        table.add_row([
            program.program_id,
            program.display_name,
            version.version.to_string(),
            applied,
            program.currency_code,
            program.tiers.len().to_string(),
        ]);
    }
    print(table.trim_fmt())
}
