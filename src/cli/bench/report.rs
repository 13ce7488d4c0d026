//! Shows what was measured, as JSON lines for programs and as a table for people.

use std::collections::BTreeMap;
use std::thread::available_parallelism;

use comfy_table::{Cell, CellAlignment, Table};
use hdrhistogram::Histogram;
use serde::Serialize;

use super::super::error::CliError;
use super::super::output::{self, grouped, print};
use super::workload::Workload;

/// The largest latency that is recorded. Longer ones count as this one.
const LARGEST_MICROS: u64 = 60_000_000;

/// The ratios that are shown: a workload and its baseline.
const RATIOS: [(Workload, Workload); 4] = [
    (Workload::Grant, Workload::Pgbench),
    (Workload::Redeem, Workload::Pgbench),
    (Workload::Purchase, Workload::Pgbench),
    (Workload::Tier, Workload::Echo),
];

/// One measurement of one workload.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    workload: Workload,
    clients: u32,
    pub(super) per_second: f64,
    pub(super) completed: u64,
    pub(super) mean_micros: f64,
    /// In microseconds. Empty if only the mean is known.
    pub(super) latencies: Histogram<u64>,
    /// How often each error came.
    pub(super) errors: BTreeMap<String, u64>,
}

impl Sample {
    pub(super) fn new(workload: Workload, clients: u32, per_second: f64, completed: u64) -> Self {
        Self {
            workload,
            clients,
            per_second,
            completed,
            mean_micros: 0.0,
            latencies: histogram(),
            errors: BTreeMap::new(),
        }
    }

    fn error_count(&self) -> u64 {
        self.errors.values().sum()
    }
}

/// An empty histogram, which keeps three digits of every latency.
#[expect(clippy::expect_used, reason = "the bounds are constants that the library takes")]
fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LARGEST_MICROS, 3).expect("these bounds are valid")
}

/// A line of JSON.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Line<'a> {
    Run {
        version: &'a str,
        build: &'a str,
        cores: usize,
        address: &'a str,
    },
    Round {
        round: u32,
        #[serde(flatten)]
        numbers: Numbers,
    },
    Median {
        rounds: usize,
        #[serde(flatten)]
        numbers: Numbers,
    },
    Ratio {
        name: String,
        clients: u32,
        ratio: f64,
    },
}

#[derive(Serialize)]
struct Numbers {
    workload: String,
    clients: u32,
    per_second: f64,
    completed: u64,
    errors: u64,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    error_counts: BTreeMap<String, u64>,
    mean_micros: f64,
    #[serde(flatten)]
    quantiles: Option<Quantiles>,
}

#[derive(Clone, Copy, Serialize)]
struct Quantiles {
    p50_micros: u64,
    p90_micros: u64,
    p99_micros: u64,
    #[serde(rename = "p99.9_micros")]
    p999_micros: u64,
    max_micros: u64,
}

impl Quantiles {
    fn of(latencies: &Histogram<u64>) -> Option<Self> {
        (!latencies.is_empty()).then(|| Self {
            p50_micros: latencies.value_at_quantile(0.5),
            p90_micros: latencies.value_at_quantile(0.9),
            p99_micros: latencies.value_at_quantile(0.99),
            p999_micros: latencies.value_at_quantile(0.999),
            max_micros: latencies.max(),
        })
    }
}

impl Numbers {
    fn of(sample: &Sample) -> Self {
        Self {
            workload: sample.workload.to_string(),
            clients: sample.clients,
            per_second: sample.per_second,
            completed: sample.completed,
            errors: sample.error_count(),
            error_counts: sample.errors.clone(),
            mean_micros: sample.mean_micros,
            quantiles: Quantiles::of(&sample.latencies),
        }
    }
}

/// All measurements of a run.
pub(super) struct Report {
    as_json: bool,
    samples: Vec<Sample>,
}

impl Report {
    /// Begins a report, and prints what is measured.
    pub(super) fn begin(as_json: bool, address: &str) -> Result<Self, CliError> {
        let report = Self { as_json, samples: Vec::new() };
        let build = if cfg!(debug_assertions) { "debug" } else { "release" };
        let cores = available_parallelism().map_or(1, usize::from);
        report.line(&Line::Run { version: env!("CARGO_PKG_VERSION"), build, cores, address })?;
        Ok(report)
    }

    /// Adds a measurement, and prints it.
    pub(super) fn add(&mut self, round: u32, sample: Sample) -> Result<(), CliError> {
        let rate = grouped(whole(sample.per_second));
        eprintln!("round {round}, {} clients: {:8} {rate:>8} /s", sample.clients, sample.workload);
        self.line(&Line::Round { round, numbers: Numbers::of(&sample) })?;
        self.samples.push(sample);
        Ok(())
    }

    /// How many calls were not answered well.
    pub(super) fn errors(&self) -> u64 {
        self.samples.iter().map(Sample::error_count).sum()
    }

    /// Prints medians and ratios.
    pub(super) fn finish(&self) -> Result<(), CliError> {
        let medians = medians(&self.samples);
        for (rounds, median) in &medians {
            self.line(&Line::Median { rounds: *rounds, numbers: Numbers::of(median) })?;
        }
        let medians: Vec<Sample> = medians.into_iter().map(|(_, median)| median).collect();
        let ratios = ratios(&medians);
        for (name, clients, ratio) in &ratios {
            self.line(&Line::Ratio { name: name.clone(), clients: *clients, ratio: *ratio })?;
        }
        let mut text = table(&medians).trim_fmt();
        text.push_str(&format!("\nlatencies in µs; errors: {}", grouped(self.errors())));
        for median in &medians {
            for (error, count) in &median.errors {
                text.push_str(&format!("\n  {} × {error} ({})", grouped(*count), median.workload));
            }
        }
        for (name, clients, ratio) in ratios {
            text.push_str(&format!("\n{name:<17} {ratio:.2} at {clients} clients"));
        }
        if self.as_json {
            eprintln!("{text}");
            return Ok(());
        }
        print(text)
    }

    fn line(&self, line: &Line<'_>) -> Result<(), CliError> {
        if !self.as_json {
            return Ok(());
        }
        let json = serde_json::to_string(line);
        print(json.map_err(|error| CliError::failed(format_args!("cannot write JSON: {error}")))?)
    }
}

/// For each number of clients and each workload the number of its rounds, the median rate, and the latencies and errors
/// of all of them together.
fn medians(samples: &[Sample]) -> Vec<(usize, Sample)> {
    let mut grouped: BTreeMap<(u32, Workload), Vec<&Sample>> = BTreeMap::new();
    for sample in samples {
        grouped.entry((sample.clients, sample.workload)).or_default().push(sample);
    }
    grouped
        .into_iter()
        .map(|((clients, workload), rounds)| {
            let rate = median(rounds.iter().map(|round| round.per_second).collect());
            let mut all = Sample::new(workload, clients, rate, rounds.iter().map(|round| round.completed).sum());
            all.mean_micros = median(rounds.iter().map(|round| round.mean_micros).collect());
            for round in &rounds {
                // Histograms of the same bounds always add up.
                let _ = all.latencies.add(&round.latencies);
                for (error, count) in &round.errors {
                    *all.errors.entry(error.clone()).or_default() += count;
                }
            }
            (rounds.len(), all)
        })
        .collect()
}

/// The middle of these, or between the two middle ones; 0 of none.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = |place: usize| values.get(place).copied().unwrap_or_default();
    f64::midpoint(at(values.len().saturating_sub(1) / 2), at(values.len() / 2))
}

/// Name, clients and value of each ratio whose two sides were measured.
fn ratios(medians: &[Sample]) -> Vec<(String, u32, f64)> {
    let mut ratios = Vec::new();
    for measured in medians {
        for (_, baseline) in RATIOS.into_iter().filter(|(workload, _)| *workload == measured.workload) {
            let other = medians
                .iter()
                .find(|other| other.workload == baseline && other.clients == measured.clients)
                .filter(|other| other.per_second > 0.0);
            if let Some(other) = other {
                let name = format!("{}/{baseline}", measured.workload);
                ratios.push((name, measured.clients, measured.per_second / other.per_second));
            }
        }
    }
    ratios
}

fn table(medians: &[Sample]) -> Table {
    let headings = ["", "Clients", "Calls/s", "Mean", "p50", "p90", "p99", "p99.9"];
    let mut table = output::table(headings);
    for sample in medians {
        let mut row = vec![
            sample.workload.to_string(),
            sample.clients.to_string(),
            grouped(whole(sample.per_second)),
            grouped(whole(sample.mean_micros)),
        ];
        row.extend(match Quantiles::of(&sample.latencies) {
            Some(all) => [all.p50_micros, all.p90_micros, all.p99_micros, all.p999_micros].map(grouped),
            None => [(); 4].map(|()| "–".to_owned()),
        });
        table.add_row(row.into_iter().map(Cell::new));
    }
    output::keep_whole(&mut table, 0, "purchase".len());
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// Rounded for people.
fn whole(value: f64) -> i64 {
    value.round() as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(workload: Workload, clients: u32, per_second: f64, micros: &[u64]) -> Sample {
        let mut sample = Sample::new(workload, clients, per_second, micros.len().try_into().unwrap());
        micros.iter().for_each(|micros| sample.latencies.saturating_record(*micros));
        sample
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median(vec![]), 0.0);
    }

    #[test]
    fn ratios_compare_medians_at_the_same_number_of_clients() {
        let samples = [
            sample(Workload::Grant, 64, 10.0, &[]),
            sample(Workload::Pgbench, 64, 100.0, &[]),
            sample(Workload::Grant, 64, 30.0, &[]),
            sample(Workload::Pgbench, 64, 40.0, &[]),
            sample(Workload::Grant, 64, 20.0, &[]),
            sample(Workload::Pgbench, 64, 50.0, &[]),
            sample(Workload::Tier, 64, 5.0, &[]),
            sample(Workload::Grant, 1, 7.0, &[]),
        ];
        let medians: Vec<Sample> = medians(&samples).into_iter().map(|(_, median)| median).collect();
        assert_eq!(ratios(&medians), [("grant/pgbench".to_owned(), 64, 0.4)]);
    }

    #[test]
    fn latencies_and_errors_of_all_rounds_count() {
        let mut second = sample(Workload::Tier, 8, 2.0, &[300]);
        second.errors.insert("UNAVAILABLE: away".to_owned(), 3);
        let medians = medians(&[sample(Workload::Tier, 8, 1.0, &[100, 200]), second]);
        let (rounds, all) = &medians[0];
        assert_eq!((*rounds, all.completed, all.error_count()), (2, 3, 3));
        assert_eq!((all.latencies.min(), all.latencies.max()), (100, 300));
        let json = serde_json::to_value(Numbers::of(all)).unwrap();
        assert_eq!((&json["p50_micros"], &json["errors"]), (&200.into(), &3.into()));
    }

    #[test]
    fn the_table_shows_a_baseline_of_which_only_the_mean_is_known() {
        let mut baseline = sample(Workload::Pgbench, 64, 22_353.1, &[]);
        baseline.mean_micros = 2_863.0;
        let shown = table(&[baseline]).trim_fmt();
        assert!(shown.contains("22,353") && shown.contains("2,863") && shown.contains('–'), "{shown}");
    }
}
