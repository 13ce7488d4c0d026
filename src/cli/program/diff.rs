//! `goldbook program diff`: who is affected how by a document, from a simulation on all customers.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use goldbook_api::v1::simulate_tier_policy_request::Policy;
use goldbook_api::v1::{
    DowngradeTime, Program, SimulateTierPolicyRequest, SimulateTierPolicyResponse, SimulatedMove, TierEndCount,
    TierSimulation,
};
use goldbook_api::values::write_instant;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::check::Checked;
use crate::cli::amount::{show_money, write_money};
use crate::cli::client::{ClientOptions, incomplete_answer};
use crate::cli::error::CliError;
use crate::cli::instant;
use crate::cli::output::{grouped, print};
use crate::cli::progress::Progress;

pub(super) const DIFF_HELP: &str = "\
Nothing is written. What it tells is what `goldbook program reevaluate` would do
at that moment, once the document is applied.

Examples:
  goldbook program diff shop.toml
  goldbook program diff shop.toml --downgrades at-once --as-of 2026-12-31
  goldbook program diff shop.toml --sample 5        5 of 100 customers, in less time
  goldbook program diff shop.toml --customers       also who moves, one a line
  goldbook program diff shop.toml --json";

#[derive(Debug, Args)]
pub(super) struct DiffArgs {
    /// The document, a TOML file.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// When tiers are lost that the document gives no more.
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = Downgrades::AtOwnEnd)]
    downgrades: Downgrades,
    /// Answer for the start of a day of the program, such as 2026-07-01, or for an instant. Now if absent.
    #[arg(long, value_name = "WHEN")]
    as_of: Option<String>,
    /// How many of 100 customers to look at: always the same ones.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..=100))]
    sample: Option<i32>,
    /// Also list who moves: customer, tier before, tier after and its last day, with tabs between.
    #[arg(long, conflicts_with = "json")]
    customers: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    client: ClientOptions,
}

/// When tiers are lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Downgrades {
    /// At once: everybody holds what they earn by the document.
    AtOnce,
    /// At each customer's own end; who has earned a higher tier gets it at once.
    AtOwnEnd,
}

impl From<Downgrades> for DowngradeTime {
    fn from(downgrades: Downgrades) -> Self {
        match downgrades {
            Downgrades::AtOnce => Self::AtOnce,
            Downgrades::AtOwnEnd => Self::AtOwnEnd,
        }
    }
}

pub(super) async fn run(args: DiffArgs) -> Result<(), CliError> {
    let checked = Checked::read_clean(&args.file, "nothing was tried")?;
    let program = checked.program.clone();
    let zone = instant::time_zone(&program.time_zone)?;
    let as_of = instant::parse_option("--as-of", args.as_of.as_deref(), &zone)?;
    let client = args.client.connect().await?;
    let request = SimulateTierPolicyRequest {
        program_id: program.program_id.clone(),
        policy: Some(Policy::Program(program.clone())),
        downgrades: DowngradeTime::from(args.downgrades).into(),
        as_of: as_of.map(write_instant),
        sample_percent: args.sample.unwrap_or_default(),
        summary_only: !args.customers,
    };
    let refused = |status| checked.in_words(&args.file, CliError::refused("cannot try the document")(status));
    let mut stream = client.tiers().simulate_tier_policy(request).await.map_err(refused)?.into_inner();
    let (mut bar, mut simulation) = (None, None);
    while let Some(message) = stream.message().await.map_err(refused)? {
        let SimulateTierPolicyResponse { progress, moves, simulation: told } = message;
        let progress = progress.unwrap_or_default();
        let shown = Progress::follow(&mut bar, "customers", progress.customers_done, progress.customers_total);
        for it in &moves {
            shown.suspend(|| print(show_move(it, &zone)))?;
        }
        simulation = told;
    }
    if let Some(bar) = bar {
        bar.end();
    }
    let simulation = simulation.ok_or_else(incomplete_answer)?;
    if args.json {
        return print(write_json(&simulation));
    }
    let as_of = instant::show(simulation.as_of.as_ref(), &zone);
    let share = args.sample.map(|percent| format!(", a sample of {percent} %")).unwrap_or_default();
    let customers = counted(simulation.customers);
    print(format_args!("{}: {customers} as of {as_of}{share}", program.program_id))?;
    for sentence in sentences(&simulation, &program, &zone) {
        print(format_args!("  {sentence}"))?;
    }
    Ok(())
}

fn show_move(it: &SimulatedMove, zone: &TimeZone) -> String {
    let until = last_day(it.valid_until.as_ref(), zone).map(|day| day.to_string()).unwrap_or_default();
    format!("{}\t{}\t{}\t{until}", it.customer_id, it.from_tier_id, it.to_tier_id)
}

fn counted(customers: i64) -> String {
    if customers == 1 { "1 customer".to_owned() } else { format!("{} customers", grouped(customers)) }
}

/// What happens to how many, in words.
fn sentences(simulation: &TierSimulation, program: &Program, zone: &TimeZone) -> Vec<String> {
    let rank = |tier_id: &str| program.tiers.iter().position(|tier| tier.tier_id == tier_id);
    let (mut told, mut staying) = (Vec::new(), 0);
    let s = |customers: i64| if customers == 1 { "s" } else { "" };
    for it in &simulation.moves {
        if it.from_tier_id == it.to_tier_id {
            staying += it.customers;
            continue;
        }
        let verb = match (rank(&it.from_tier_id), rank(&it.to_tier_id)) {
            (Some(from), Some(to)) if from < to => "rise",
            (Some(_), Some(_)) => "fall",
            _ => "go",
        };
        let customers = counted(it.customers);
        told.push(format!("{customers} {verb}{} from {} to {}", s(it.customers), it.from_tier_id, it.to_tier_id));
    }
    if staying > 0 {
        told.push(format!("{} keep{} the tier they hold", counted(staying), s(staying)));
    }
    for it in &simulation.ends {
        let would = match it.falling {
            0 => "all of them have earned it again".to_owned(),
            falling if falling == it.customers && falling == 1 => "who would not requalify".to_owned(),
            falling if falling == it.customers => "none of them would requalify".to_owned(),
            falling => format!("{} of them would not requalify", grouped(falling)),
        };
        let (customers, s) = (counted(it.customers), s(it.customers));
        told.push(format!("{customers} hold{s} {} until {}, {would}", it.tier_id, show_end(it, zone)));
    }
    for it in &simulation.benefits {
        for (customers, verb) in [(it.gaining, "gain"), (it.losing, "lose")] {
            if customers > 0 {
                told.push(format!("{} {verb}{} {}", counted(customers), s(customers), it.benefit_id));
            }
        }
    }
    for it in &simulation.packages {
        let each = if it.points > 0 { format!(", {} points", grouped(it.points)) } else { String::new() };
        let are = if it.customers == 1 { "is" } else { "are" };
        told.push(format!("{} {are} given the package {}{each}", counted(it.customers), it.package_id));
    }
    if let Some(worth) = simulation.package_liability.as_ref().filter(|worth| (worth.units, worth.nanos) != (0, 0)) {
        told.push(format!("the points in packages are worth {}", show_money(worth)));
    }
    if simulation.points_per_year != 0 {
        let points = grouped(i128::from(simulation.points_per_year).abs());
        let worth = simulation.liability_per_year.as_ref().map(|worth| format!(", {}", show_money(worth)));
        let (more, worth) = (if simulation.points_per_year > 0 { "more" } else { "fewer" }, worth.unwrap_or_default());
        told.push(format!("the purchases of a year earn {points} points {more}{worth}"));
    }
    if simulation.left_out > 0 {
        let is = if simulation.left_out == 1 { "is" } else { "are" };
        told.push(format!("{} could not be read, and {is} in none of these numbers", counted(simulation.left_out)));
    }
    told
}

/// The last local day before an end.
fn last_day(end: Option<&prost_types::Timestamp>, zone: &TimeZone) -> Option<Date> {
    let last = instant::from_wire(end?)?.checked_sub(SignedDuration::from_micros(1)).unwrap_or(Timestamp::MIN);
    Some(last.to_zoned(zone.clone()).date())
}

fn show_end(it: &TierEndCount, zone: &TimeZone) -> String {
    let show = |end| last_day(end, zone).map_or_else(|| "?".to_owned(), |day| day.strftime("%-d %B %Y").to_string());
    let (first, last) = (show(it.first_end.as_ref()), show(it.last_end.as_ref()));
    if first == last { first } else { format!("a day from {first} to {last}") }
}

fn write_json(simulation: &TierSimulation) -> Value {
    let moves = simulation.moves.iter().map(|it| {
        json!({"from_tier_id": it.from_tier_id, "to_tier_id": it.to_tier_id, "customers": it.customers,
               "overridden": it.overridden})
    });
    let ends = simulation.ends.iter().map(|it| {
        json!({"tier_id": it.tier_id, "first_end": instant::write(it.first_end.as_ref()),
               "last_end": instant::write(it.last_end.as_ref()), "customers": it.customers, "falling": it.falling})
    });
    let benefits = simulation
        .benefits
        .iter()
        .map(|it| json!({"benefit_id": it.benefit_id, "gaining": it.gaining, "losing": it.losing}));
    let packages = simulation
        .packages
        .iter()
        .map(|it| json!({"package_id": it.package_id, "customers": it.customers, "points": it.points}));
    json!({
        "as_of": instant::write(simulation.as_of.as_ref()),
        "customers": simulation.customers,
        "left_out": simulation.left_out,
        "moves": moves.collect::<Vec<_>>(),
        "ends": ends.collect::<Vec<_>>(),
        "benefits": benefits.collect::<Vec<_>>(),
        "packages": packages.collect::<Vec<_>>(),
        "package_liability": simulation.package_liability.as_ref().map(write_money),
        "points_per_year": simulation.points_per_year,
        "liability_per_year": simulation.liability_per_year.as_ref().map(write_money),
    })
}

#[cfg(test)]
mod tests {
    use goldbook_api::google::Money;
    use goldbook_api::v1::{BenefitChange, PackageCount, Tier, TierMoveCount};

    use super::*;

    fn program() -> Program {
        let tier = |id: &str| Tier { tier_id: id.to_owned(), ..Tier::default() };
        Program { tiers: ["member", "silver", "gold"].map(tier).to_vec(), ..Program::default() }
    }

    fn moves(from: &str, to: &str, customers: i64) -> TierMoveCount {
        let (from_tier_id, to_tier_id) = (from.to_owned(), to.to_owned());
        TierMoveCount { from_tier_id, to_tier_id, customers, overridden: 0 }
    }

    fn ends(tier_id: &str, first: &str, last: &str, customers: i64, falling: i64) -> TierEndCount {
        let [first_end, last_end] = [first, last].map(|at| Some(write_instant(at.parse().unwrap())));
        TierEndCount { tier_id: tier_id.to_owned(), first_end, last_end, customers, falling }
    }

    fn package(package_id: &str, customers: i64, points: i64) -> PackageCount {
        PackageCount { package_id: package_id.to_owned(), customers, points }
    }

    #[test]
    fn a_simulation_is_told_in_words() {
        let new_year = "2027-01-01T05:00:00Z";
        let simulation = TierSimulation {
            customers: 2_357,
            left_out: 1,
            moves: vec![
                moves("member", "member", 1_000),
                moves("member", "silver", 12),
                moves("silver", "silver", 1_344),
                moves("gold", "silver", 1),
                moves("bronze", "member", 2),
            ],
            ends: vec![
                ends("gold", new_year, new_year, 412, 38),
                ends("gold", "2027-02-01T05:00:00Z", "2027-02-28T05:00:00Z", 2, 0),
                ends("silver", new_year, new_year, 1, 1),
                ends("silver", "2028-01-01T05:00:00Z", "2028-01-01T05:00:00Z", 1_343, 1_343),
            ],
            benefits: vec![BenefitChange { benefit_id: "lounge".to_owned(), gaining: 12, losing: 1 }],
            packages: vec![package("silver-box", 12, 600), package("gift", 1, 0)],
            package_liability: Some(Money { currency_code: "USD".to_owned(), units: 6, nanos: 0 }),
            points_per_year: -1_234,
            liability_per_year: Some(Money { currency_code: "USD".to_owned(), units: -1_012, nanos: -340_000_000 }),
            ..TierSimulation::default()
        };
        let zone = instant::time_zone("America/New_York").unwrap();
        assert_eq!(
            sentences(&simulation, &program(), &zone),
            [
                "12 customers rise from member to silver",
                "1 customer falls from gold to silver",
                "2 customers go from bronze to member",
                "2,344 customers keep the tier they hold",
                "412 customers hold gold until 31 December 2026, 38 of them would not requalify",
                "2 customers hold gold until a day from 31 January 2027 to 27 February 2027, all of them have earned it again",
                "1 customer holds silver until 31 December 2026, who would not requalify",
                "1,343 customers hold silver until 31 December 2027, none of them would requalify",
                "12 customers gain lounge",
                "1 customer loses lounge",
                "12 customers are given the package silver-box, 600 points",
                "1 customer is given the package gift",
                "the points in packages are worth 6.00 USD",
                "the purchases of a year earn 1,234 points fewer, -1,012.34 USD",
                "1 customer could not be read, and is in none of these numbers",
            ]
        );
        let told = write_json(&simulation);
        assert_eq!(
            told["moves"][1],
            json!({"from_tier_id": "member", "to_tier_id": "silver", "customers": 12, "overridden": 0})
        );
        assert_eq!(told["ends"][0]["first_end"], json!(new_year));
        assert_eq!(told["liability_per_year"], json!({"amount": "-1012.34", "currency_code": "USD"}));
        assert_eq!(told["packages"][0], json!({"package_id": "silver-box", "customers": 12, "points": 600}));
        assert_eq!(told["package_liability"], json!({"amount": "6.00", "currency_code": "USD"}));
    }

    #[test]
    fn who_moves_is_a_line_with_the_last_day_of_the_tier() {
        let it = SimulatedMove {
            customer_id: "C1".to_owned(),
            from_tier_id: "member".to_owned(),
            to_tier_id: "silver".to_owned(),
            valid_until: Some(write_instant("2027-01-01T05:00:00Z".parse().unwrap())),
        };
        let zone = instant::time_zone("America/New_York").unwrap();
        assert_eq!(show_move(&it, &zone), "C1\tmember\tsilver\t2026-12-31");
        assert_eq!(show_move(&SimulatedMove { valid_until: None, ..it }, &zone), "C1\tmember\tsilver\t");
    }
}
