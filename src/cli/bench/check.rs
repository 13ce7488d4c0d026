//! `goldbook bench-check`: compares two runs by their ratios.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use comfy_table::{Cell, CellAlignment};

use super::super::error::CliError;
use super::super::output::{self, print};
use super::ratios::Ratio;
use super::record::{Record, Value};

/// Compare two runs of `bench` by their ratios.
///
/// Numbers of one machine say little about another, so only ratios to the baselines of the same run are compared. Which
/// there are, and what each must come to, is told in docs/performance.md.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  goldbook bench --json old.json
  goldbook bench-check old.json new.json

Exit status: 0 if no ratio became worse by more than the tolerance, each reaches
its target, and none is missing that the old run has; 1 otherwise; 2 if a file
cannot be read.")]
pub(crate) struct BenchCheckArgs {
    /// The record of the run to compare with.
    old: PathBuf,
    /// The record of the run to judge.
    new: PathBuf,
    /// By how many percent a ratio may become worse.
    #[arg(long, value_name = "PERCENT", default_value_t = 10, value_parser = clap::value_parser!(u32).range(0..=100))]
    tolerance: u32,
}

/// What is to be said of one ratio.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Good,
    /// It became worse by more than the tolerance.
    Worse,
    /// It does not reach its target.
    Short,
    /// Only the old run has it.
    Missing,
}

impl Verdict {
    const fn words(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Worse => "worse",
            Self::Short => "short of target",
            Self::Missing => "missing",
        }
    }
}

/// One ratio of both runs.
#[derive(Debug)]
struct Compared {
    ratio: &'static Ratio,
    clients: u32,
    old: Option<f64>,
    new: Option<f64>,
    verdict: Verdict,
}

/// Compares the files, and prints what came of it.
///
/// # Errors
/// If a file cannot be read, or the new run is not good enough.
pub(crate) fn run(args: &BenchCheckArgs) -> Result<(), CliError> {
    let (old, new) = (Record::read(&args.old)?, Record::read(&args.new)?);
    for (record, path) in [(&old, &args.old), (&new, &args.new)] {
        if record.build == "debug" {
            eprintln!("{} is of a debug build: it says little about a release build", path.display());
        }
        let errors: u64 = record.medians.iter().map(|figures| figures.errors).sum();
        if errors > 0 {
            eprintln!("{}: {errors} calls were not answered well", path.display());
        }
    }
    if old.cores != new.cores || !old.settings.are_like(&new.settings) {
        eprintln!("the two runs have different settings, or machines of another size");
    }
    let compared = compare(&old, &new, f64::from(args.tolerance) / 100.0)?;
    print(table(&compared))?;
    match compared.iter().filter(|compared| compared.verdict != Verdict::Good).count() {
        0 => Ok(()),
        bad => Err(CliError::Incomplete(format!("{bad} of {} ratios are not good enough", compared.len()))),
    }
}

/// Every ratio of either run. There must be one.
fn compare(old: &Record, new: &Record, tolerance: f64) -> Result<Vec<Compared>, CliError> {
    let (old, new) = (by_name(old)?, by_name(new)?);
    let mut keys: Vec<&(usize, u32)> = old.keys().chain(new.keys()).collect();
    keys.sort();
    keys.dedup();
    if keys.is_empty() {
        return Err(CliError::NotRun("neither run has a ratio".to_owned()));
    }
    Ok(keys
        .into_iter()
        .filter_map(|key| {
            let (old, new) = (old.get(key), new.get(key));
            let (ratio, _) = new.or(old)?;
            let (old, new) = (old.map(|(_, value)| *value), new.map(|(_, value)| *value));
            let verdict = judge(ratio, key.1, old, new, tolerance);
            Some(Compared { ratio, clients: key.1, old, new, verdict })
        })
        .collect())
}

type ByName = BTreeMap<(usize, u32), (&'static Ratio, f64)>;

/// The ratios of a run by their places in the table and their clients.
fn by_name(record: &Record) -> Result<ByName, CliError> {
    let find = |Value { name, clients, ratio }: &Value| {
        let known = Ratio::place(name).filter(|_| ratio.is_finite() && *ratio > 0.0);
        let (place, known) = known.ok_or_else(|| CliError::NotRun(format!("a record says {name} = {ratio}")))?;
        Ok(((place, *clients), (known, *ratio)))
    };
    record.ratios.iter().map(find).collect()
}

fn judge(ratio: &Ratio, clients: u32, old: Option<f64>, new: Option<f64>, tolerance: f64) -> Verdict {
    let Some(new) = new else { return Verdict::Missing };
    if ratio.target(clients).is_some_and(|target| !ratio.reaches(new, target)) {
        return Verdict::Short;
    }
    if old.is_some_and(|old| ratio.loss(old, new) > tolerance) { Verdict::Worse } else { Verdict::Good }
}

fn table(compared: &[Compared]) -> String {
    let mut table = output::table(["Ratio", "Clients", "Old", "New", "Change", "Target", ""]);
    for Compared { ratio, clients, old, new, verdict } in compared {
        let shown = |value: &Option<f64>| value.map_or("–".to_owned(), |value| format!("{value:.3}"));
        let change =
            old.zip(*new).map_or("–".to_owned(), |(old, new)| format!("{:+.1} %", (new / old - 1.0) * 100.0));
        let target = ratio.target(*clients).map_or("–".to_owned(), |target| ratio.bound(target));
        let cells = [ratio.name(), clients.to_string(), shown(old), shown(new), change, target];
        table.add_row(cells.into_iter().chain([verdict.words().to_owned()]).map(Cell::new));
    }
    for column in table.column_iter_mut().skip(1).take(5) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.trim_fmt()
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::record;
    use super::*;

    /// The verdict on each ratio, by its name.
    fn verdicts(old: &[(&str, u32, f64)], new: &[(&str, u32, f64)]) -> Vec<(String, u32, Verdict)> {
        let compared = compare(&record(old), &record(new), 0.1).unwrap();
        compared.iter().map(|compared| (compared.ratio.name(), compared.clients, compared.verdict)).collect()
    }

    fn verdict(name: &str, clients: u32, old: f64, new: f64) -> Verdict {
        verdicts(&[(name, clients, old)], &[(name, clients, new)])[0].2
    }

    #[test]
    fn a_ratio_may_become_worse_by_the_tolerance_and_no_more() {
        assert_eq!(verdict("grant/pgbench", 64, 0.60, 0.60), Verdict::Good);
        assert_eq!(verdict("grant/pgbench", 64, 0.60, 0.55), Verdict::Good);
        assert_eq!(verdict("grant/pgbench", 64, 0.60, 0.53), Verdict::Worse);
        assert_eq!(verdict("grant/pgbench", 64, 0.60, 0.90), Verdict::Good);
        // Of latencies, less is better.
        assert_eq!(verdict("grant p50/pgbench mean", 1, 4.0, 4.3), Verdict::Good);
        assert_eq!(verdict("grant p50/pgbench mean", 1, 4.0, 4.5), Verdict::Worse);
        assert_eq!(verdict("grant p50/pgbench mean", 1, 4.0, 2.0), Verdict::Good);
        assert_eq!(verdict("beside-calls p99/quiet p99", 64, 2.0, 2.1), Verdict::Good);
        assert_eq!(verdict("beside-calls p99/quiet p99", 64, 2.0, 2.3), Verdict::Worse);
    }

    #[test]
    fn a_ratio_must_reach_its_target_at_its_number_of_clients() {
        assert_eq!(verdict("grant/pgbench", 64, 0.44, 0.44), Verdict::Short);
        assert_eq!(verdict("grant/pgbench", 256, 0.50, 0.55), Verdict::Short);
        assert_eq!(verdict("grant/pgbench", 8, 0.10, 0.10), Verdict::Good);
        assert_eq!(verdict("stream/raw-200", 3, 0.44, 0.44), Verdict::Short);
        assert_eq!(verdict("grant p50/pgbench mean", 1, 6.5, 6.1), Verdict::Short);
        assert_eq!(verdict("beside-streams p99/quiet p99", 4, 4.0, 3.1), Verdict::Short);
        assert_eq!(verdict("tier-keyed/tier", 8, 0.89, 0.89), Verdict::Short);
    }

    #[test]
    fn a_ratio_of_one_run_alone_is_missing_or_judged_by_its_target() {
        let found = verdicts(
            &[("tier/echo", 64, 0.7), ("grant/pgbench", 64, 0.5)],
            &[("grant/pgbench", 64, 0.5), ("grant/pgbench", 256, 0.5), ("redeem-400/redeem-5", 64, 0.9)],
        );
        let expected = [
            ("grant/pgbench", 64, Verdict::Good),
            ("grant/pgbench", 256, Verdict::Short),
            ("tier/echo", 64, Verdict::Missing),
            ("redeem-400/redeem-5", 64, Verdict::Good),
        ];
        assert_eq!(found, expected.map(|(name, clients, verdict)| (name.to_owned(), clients, verdict)));
    }

    #[test]
    fn what_cannot_be_compared_is_not_compared() {
        let good = record(&[("grant/pgbench", 64, 0.5)]);
        for bad in [record(&[("grant/none", 64, 0.5)]), record(&[("grant/pgbench", 64, 0.0)])] {
            for (old, new) in [(&good, &bad), (&bad, &good)] {
                assert!(matches!(compare(old, new, 0.1), Err(CliError::NotRun(_))));
            }
        }
        assert!(matches!(compare(&record(&[]), &record(&[]), 0.1), Err(CliError::NotRun(_))));
    }

    #[test]
    fn the_table_tells_both_runs_and_the_target() {
        let old = record(&[("grant/pgbench", 64, 0.5), ("tier/echo", 64, 0.7)]);
        let new = record(&[("grant/pgbench", 64, 0.4)]);
        let shown = table(&compare(&old, &new, 0.1).unwrap());
        for word in ["0.500", "0.400", "-20.0 %", "≥ 0.45", "short of target", "missing"] {
            assert!(shown.contains(word), "{word}: {shown}");
        }
    }
}
