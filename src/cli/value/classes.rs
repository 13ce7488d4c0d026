//! `goldbook value classes`: where the value classes of a program begin and how many customers are of each, or would be.

use std::path::PathBuf;

use clap::Args;
use goldbook_api::google::Money;
use goldbook_api::v1::simulate_value_classes_request::Policy;
use goldbook_api::v1::{
    ClassifiedValueClass, GetValueClassificationRequest, SimulateValueClassesRequest, SimulateValueClassesResponse,
    ValueClassification,
};
use jiff::civil::Date;
use serde_json::{Value, json};

use super::common::{CommonArgs, align, parse_day, show_day, to_wire, write_day};
use crate::cli::amount::{show_money, write_money};
use crate::cli::error::CliError;
use crate::cli::instant;
use crate::cli::output::{grouped, print, words};
use crate::cli::program::Checked;

/// Show where value classes began at the end of a period and how many customers were of each, or what a document would do.
#[derive(Debug, Args)]
pub(crate) struct ClassesArgs {
    #[command(flatten)]
    common: CommonArgs,
    /// The end, as the first day after the period; the last one if absent.
    #[arg(long, value_name = "DAY", value_parser = parse_day, conflicts_with = "file")]
    until: Option<Date>,
    /// Try a document, a TOML file, as if the present period ended today. Nothing is written.
    #[arg(long = "try", value_name = "FILE", conflicts_with = "program_id")]
    file: Option<PathBuf>,
}

/// Runs `goldbook value classes`.
///
/// # Errors
/// If the service does not answer or refuses.
pub(super) async fn run(args: ClassesArgs) -> Result<(), CliError> {
    match &args.file {
        Some(file) => simulate(&args, file).await,
        None => show(&args).await,
    }
}

async fn show(args: &ClassesArgs) -> Result<(), CliError> {
    let client = args.common.client.connect().await?;
    let program = client.choose_program(args.common.program_id.as_deref()).await?;
    let zone = instant::time_zone(&program.time_zone)?;
    let request = GetValueClassificationRequest { program_id: program.program_id, until: args.until.map(to_wire) };
    let answer = client.value().get_value_classification(request).await;
    let found = answer.map_err(CliError::refused("cannot show the classes"))?.into_inner();
    if args.common.json {
        return print(json!({
            "classification": found.classification.as_ref().map(write_classification),
            "entry_id": found.entry_id,
            "classed_at": instant::write(found.classed_at.as_ref()),
            "policy_version": found.policy_version,
        }));
    }
    let Some(classification) = &found.classification else {
        return print(
            "No customers were classed yet: they are at the end of each period, if the program has value classes.",
        );
    };
    let classed_at = instant::show(found.classed_at.as_ref(), &zone);
    print(format_args!("{} (classed {classed_at})", headline(classification)))?;
    print(classes_table(classification))
}

async fn simulate(args: &ClassesArgs, file: &std::path::Path) -> Result<(), CliError> {
    let checked = Checked::read_clean(file, "nothing was tried")?;
    let client = args.common.client.connect().await?;
    let (program_id, policy) = (checked.program.program_id.clone(), Some(Policy::Program(checked.program.clone())));
    let answer = client.value().simulate_value_classes(SimulateValueClassesRequest { program_id, policy }).await;
    let refused = |status| checked.in_words(file, CliError::refused("cannot try the document")(status));
    let found = answer.map_err(refused)?.into_inner();
    if args.common.json {
        return print(write_simulated(&found));
    }
    let classification = found.classification.clone().unwrap_or_default();
    print(format_args!("{}, if the period ended today", headline(&classification)))?;
    print(classes_table(&classification))?;
    print(moves_told(&found))
}

fn headline(classification: &ValueClassification) -> String {
    let measure = words(classification.measure().as_str_name(), "VALUE_MEASURE_");
    let model = classification.model_version;
    let by = if model > 0 { format!("{measure} of model {model}") } else { measure };
    let (from, until) = (show_day(classification.from.as_ref()), show_day(classification.until.as_ref()));
    let ranked = grouped(classification.ranked_customers);
    format!("{ranked} customers who are worth anything, by {by} from {from} to before {until}")
}

fn classes_table(classification: &ValueClassification) -> String {
    let amount = |money: &Option<Money>| money.as_ref().map_or_else(|| "–".to_owned(), show_money);
    let rows = classification.classes.iter().map(|it| {
        let (customers, margin) = (grouped(it.customers), amount(&it.margin));
        [it.class_id.clone(), level_of(it), amount(&it.from), amount(&it.keep), customers, margin]
    });
    align(["Class", "Level", "From", "Kept from", "Customers", "Margin"], 2, rows.collect())
}

/// The level in words; a dash where the program does not say.
fn level_of(class: &ClassifiedValueClass) -> String {
    let level = words(class.level().as_str_name(), "RELATIONSHIP_LEVEL_");
    if level == "unspecified" { "–".to_owned() } else { level }
}

fn moves_told(found: &SimulateValueClassesResponse) -> String {
    let mut told = if found.moves.is_empty() { "Nobody would move.".to_owned() } else { "Who would move:".to_owned() };
    for it in &found.moves {
        let from = if it.from_class_id.is_empty() { "no class" } else { it.from_class_id.as_str() };
        told.push_str(&format!("\n  {from} → {}: {}", it.to_class_id, grouped(it.customers)));
    }
    if found.customers_below > 0 {
        told.push_str(&format!("\n{} would keep a class that they are below.", grouped(found.customers_below)));
    }
    told
}

fn write_classification(classification: &ValueClassification) -> Value {
    let money = |money: &Option<Money>| money.as_ref().map(write_money);
    let classes = classification.classes.iter().map(|it| {
        json!({
            "class_id": it.class_id,
            "level": Some(level_of(it)).filter(|level| level != "–"),
            "from": money(&it.from),
            "keep": money(&it.keep),
            "customers": it.customers,
            "margin": money(&it.margin),
        })
    });
    json!({
        "from": write_day(classification.from.as_ref()),
        "until": write_day(classification.until.as_ref()),
        "measure": words(classification.measure().as_str_name(), "VALUE_MEASURE_"),
        "model_version": Some(classification.model_version).filter(|version| *version > 0),
        "ranked_customers": classification.ranked_customers,
        "classes": classes.collect::<Vec<_>>(),
    })
}

fn write_simulated(found: &SimulateValueClassesResponse) -> Value {
    let moves = found.moves.iter().map(|it| {
        let from = Some(&it.from_class_id).filter(|from| !from.is_empty());
        json!({"from_class_id": from, "to_class_id": it.to_class_id, "customers": it.customers})
    });
    json!({
        "as_of": instant::write(found.as_of.as_ref()),
        "classification": found.classification.as_ref().map(write_classification),
        "moves": moves.collect::<Vec<_>>(),
        "customers_below": found.customers_below,
    })
}

#[cfg(test)]
mod tests {
    use goldbook_api::v1::{RelationshipLevel, ValueClassMove, ValueMeasure};

    use super::*;

    fn classification() -> ValueClassification {
        let money = |units| Some(Money { currency_code: "USD".to_owned(), units, nanos: 0 });
        let date = |month| Some(goldbook_api::google::Date { year: 2026, month, day: 1 });
        ValueClassification {
            from: date(1),
            until: date(2),
            measure: ValueMeasure::ExpectedValue.into(),
            model_version: 3,
            ranked_customers: 1_234,
            classes: vec![
                ClassifiedValueClass {
                    class_id: "key".to_owned(),
                    from: money(100),
                    keep: money(80),
                    customers: 9,
                    margin: money(-5),
                    level: RelationshipLevel::Partner.into(),
                },
                ClassifiedValueClass { class_id: "other".to_owned(), customers: 1_225, ..Default::default() },
            ],
        }
    }

    #[test]
    fn classes_are_told_in_lines_and_as_json() {
        let headline = headline(&classification());
        let expected =
            "1,234 customers who are worth anything, by expected value of model 3 from 2026-01-01 to before 2026-02-01";
        assert_eq!(headline, expected);
        let expected = "Class  Level          From  Kept from  Customers     Margin\n\
                        key    partner  100.00 USD  80.00 USD          9  -5.00 USD\n\
                        other  –                 –          –      1,225          –";
        assert_eq!(classes_table(&classification()), expected);
        let written = write_classification(&classification());
        assert_eq!(
            (&written["classes"][0]["level"], &written["classes"][1]["level"]),
            (&json!("partner"), &Value::Null)
        );
    }

    #[test]
    fn moves_are_told_class_by_class() {
        let step = |from: &str, to: &str, customers| ValueClassMove {
            from_class_id: from.to_owned(),
            to_class_id: to.to_owned(),
            customers,
        };
        let moves = vec![step("", "key", 1), step("key", "other", 2_000)];
        let found = SimulateValueClassesResponse { moves, customers_below: 7, ..Default::default() };
        let expected =
            "Who would move:\n  no class → key: 1\n  key → other: 2,000\n7 would keep a class that they are below.";
        assert_eq!(moves_told(&found), expected);
        assert_eq!(moves_told(&SimulateValueClassesResponse::default()), "Nobody would move.");
    }
}
