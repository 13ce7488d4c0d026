//! Puts samples together, and shows them to people.

use std::collections::BTreeMap;

use comfy_table::{Cell, CellAlignment, Table};

use super::super::output::{self, grouped};
use super::ratios::{Figure, RATIOS, Ratio};
use super::record::{Figures, Record, Round, Settings, Value};
use super::sample::Sample;
use super::trips::Trips;
use super::workload::Workload;

/// All measurements of a run.
#[derive(Default)]
pub(super) struct Report {
    samples: Vec<(u32, Sample)>,
    /// What was counted of round trips, each over so many calls.
    trips: BTreeMap<(u32, Workload), (u64, Trips)>,
}

impl Report {
    /// Adds a measurement, and tells of it.
    pub(super) fn add(&mut self, round: u32, sample: Sample) {
        let rate = grouped(whole(sample.per_second));
        eprintln!("round {round}, {} clients: {:14} {rate:>8} /s", sample.clients, sample.workload);
        self.samples.push((round, sample));
    }

    /// Adds what was counted of this many calls.
    pub(super) fn add_trips(&mut self, workload: Workload, clients: u32, calls: u64, trips: Trips) {
        let (all_calls, all_trips) = self.trips.entry((clients, workload)).or_default();
        *all_calls += calls;
        *all_trips = all_trips.plus(trips);
    }

    /// What was measured last of a workload, per second.
    pub(super) fn last_rate(&self, workload: Workload) -> Option<f64> {
        self.samples.iter().rev().find(|(_, sample)| sample.workload == workload).map(|(_, sample)| sample.per_second)
    }

    /// How many calls were not answered well.
    pub(super) fn errors(&self) -> u64 {
        self.samples.iter().map(|(_, sample)| sample.error_count()).sum()
    }

    /// All figures.
    pub(super) fn record(&self, settings: Settings) -> Record {
        let rounds = self.samples.iter().map(|(round, sample)| Round { round: *round, figures: Figures::of(sample) });
        let medians = self.medians();
        let ratios = ratios(&medians).into_iter().map(|(ratio, clients, value)| Value {
            name: ratio.name(),
            clients,
            ratio: value,
        });
        Record::new(settings, rounds.collect(), medians.iter().map(Figures::of).collect(), ratios.collect())
    }

    /// Medians and ratios for people.
    pub(super) fn text(&self) -> String {
        let medians = self.medians();
        let figures: Vec<Figures> = medians.iter().map(Figures::of).collect();
        let mut text = format!("{}\n{}", rates(&figures).trim_fmt(), costs(&figures).trim_fmt());
        text.push_str(&format!("\nall times in µs; errors: {}", grouped(self.errors())));
        for median in &medians {
            for (error, count) in &median.errors {
                text.push_str(&format!("\n  {} × {error} ({})", grouped(*count), median.workload));
            }
        }
        for median in &medians {
            if let Some(bytes) = median.most_memory {
                text.push_str(&format!("\n{}: {} MB of memory at most", median.workload, grouped(bytes / 1_000_000)));
            }
        }
        for (ratio, clients, value) in ratios(&medians) {
            text.push_str(&format!("\n{:<28} {value:>6.2} at {clients} clients", ratio.name()));
            if let Some(target) = ratio.target(clients) {
                let verdict = if ratio.reaches(value, target) { "" } else { ", missed" };
                text.push_str(&format!(" ({}{verdict})", ratio.bound(target)));
            }
        }
        text
    }

    /// For each number of clients and each workload the median rate, and all else of all rounds together.
    fn medians(&self) -> Vec<Sample> {
        let mut grouped: BTreeMap<(u32, Workload), Vec<&Sample>> = BTreeMap::new();
        for (_, sample) in &self.samples {
            grouped.entry((sample.clients, sample.workload)).or_default().push(sample);
        }
        let mut medians: Vec<Sample> = grouped.into_iter().map(|(key, rounds)| join(key, &rounds)).collect();
        for median in &mut medians {
            median.trips = self.trips.get(&(median.clients, median.workload)).copied();
        }
        medians
    }
}

fn join((clients, workload): (u32, Workload), rounds: &[&Sample]) -> Sample {
    let rate = median(rounds.iter().map(|round| round.per_second).collect());
    let mut all = Sample::new(workload, clients, rate, rounds.iter().map(|round| round.completed).sum());
    all.mean_micros = median(rounds.iter().map(|round| round.mean_micros).collect());
    for round in rounds {
        // Histograms of the same bounds always add up.
        let _ = all.latencies.add(&round.latencies);
        for (error, count) in &round.errors {
            *all.errors.entry(error.clone()).or_default() += count;
        }
    }
    all.most_memory = rounds.iter().filter_map(|round| round.most_memory).max();
    // Of calls that are all counted, or the use for each of them would be too low.
    all.cpu = rounds.iter().map(|round| round.cpu).reduce(|all, one| Some(all?.plus(&one?))).flatten();
    all
}

/// The middle of these, or between the two middle ones; 0 of none.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = |place: usize| values.get(place).copied().unwrap_or_default();
    f64::midpoint(at(values.len().saturating_sub(1) / 2), at(values.len() / 2))
}

/// Each ratio whose two sides were measured, with its clients and its value.
fn ratios(medians: &[Sample]) -> Vec<(&'static Ratio, u32, f64)> {
    let mut all = Vec::new();
    for ratio in RATIOS {
        let of = |workload| medians.iter().filter(move |sample| sample.workload == workload);
        for measured in of(ratio.measured).filter(|measured| ratio.is_made_at(measured.clients)) {
            let Some(baseline) = of(ratio.baseline).find(|baseline| baseline.clients == measured.clients) else {
                continue;
            };
            let at = |sample: &Sample, quantile| sample.latencies.value_at_quantile(quantile) as f64;
            let value = match ratio.figure {
                Figure::Rate => measured.per_second / baseline.per_second,
                Figure::Latency => at(measured, 0.5) / baseline.mean_micros,
                Figure::Tail => at(measured, 0.99) / at(baseline, 0.99),
            };
            if value.is_finite() && value > 0.0 {
                all.push((ratio, measured.clients, value));
            }
        }
    }
    all
}

/// How much was done, and how long it took.
fn rates(medians: &[Figures]) -> Table {
    let mut table = output::table(["", "Clients", "Calls/s", "Mean", "p50", "p90", "p99", "p99.9"]);
    for figures in medians {
        let mut row = vec![
            figures.workload.clone(),
            figures.clients.to_string(),
            grouped(whole(figures.per_second)),
            known((figures.mean_micros > 0.0).then(|| grouped(whole(figures.mean_micros)))),
        ];
        row.extend(match figures.latencies {
            Some(all) => [all.p50_micros, all.p90_micros, all.p99_micros, all.p999_micros].map(grouped),
            None => [(); 4].map(|()| known(None)),
        });
        table.add_row(row.into_iter().map(Cell::new));
    }
    arrange(&mut table);
    (1..=7).for_each(|column| output::keep_whole(&mut table, column, "999,999".len()));
    table
}

/// What a call costs: time of the processors, and round trips.
fn costs(medians: &[Figures]) -> Table {
    let mut table = output::table(["µs of CPU", "Clients", "Client", "Service", "Postgres", "Batch", "Trips", "/call"]);
    for figures in medians {
        let (cpu, trips) = (figures.cpu, figures.trips);
        let decimal = |value: Option<f64>| known(value.map(|value| format!("{value:.1}")));
        let row = [
            figures.workload.clone(),
            figures.clients.to_string(),
            decimal(cpu.map(|cpu| cpu.client_micros)),
            decimal(cpu.and_then(|cpu| cpu.service_micros)),
            decimal(cpu.and_then(|cpu| cpu.postgres_micros)),
            decimal(trips.map(|trips| trips.calls_per_transaction)),
            decimal(trips.map(|trips| trips.round_trips_per_transaction)),
            known(trips.map(|trips| format!("{:.2}", trips.round_trips_per_call))),
        ];
        table.add_row(row.into_iter().map(Cell::new));
    }
    arrange(&mut table);
    table
}

fn arrange(table: &mut Table) {
    output::keep_whole(table, 0, Workload::BesideStreams.name().len());
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
}

fn known(value: Option<String>) -> String {
    value.unwrap_or_else(|| "–".to_owned())
}

/// Rounded for people.
fn whole(value: f64) -> i64 {
    value.round() as i64
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::cpu::Usage;
    use super::*;

    fn sample(workload: Workload, clients: u32, per_second: f64, micros: &[u64]) -> Sample {
        let mut sample = Sample::new(workload, clients, per_second, micros.len().try_into().unwrap());
        micros.iter().for_each(|micros| sample.latencies.saturating_record(*micros));
        sample
    }

    fn report(samples: impl IntoIterator<Item = Sample>) -> Report {
        Report { samples: samples.into_iter().map(|sample| (1, sample)).collect(), ..Report::default() }
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median(vec![]), 0.0);
    }

    #[test]
    fn ratios_compare_medians_at_the_same_number_of_clients() {
        let report = report([
            sample(Workload::Grant, 64, 10.0, &[]),
            sample(Workload::Pgbench, 64, 100.0, &[]),
            sample(Workload::Grant, 64, 30.0, &[]),
            sample(Workload::Pgbench, 64, 40.0, &[]),
            sample(Workload::Grant, 64, 20.0, &[]),
            sample(Workload::Pgbench, 64, 50.0, &[]),
            sample(Workload::Tier, 64, 5.0, &[]),
            sample(Workload::Grant, 1, 7.0, &[]),
        ]);
        let found: Vec<_> =
            ratios(&report.medians()).iter().map(|(ratio, n, value)| (ratio.name(), *n, *value)).collect();
        assert_eq!(found, [("grant/pgbench".to_owned(), 64, 0.4)]);
    }

    #[test]
    fn the_latency_of_one_client_is_compared_with_a_mean() {
        let mut baseline = sample(Workload::Pgbench, 1, 1_000.0, &[]);
        baseline.mean_micros = 200.0;
        let report = report([sample(Workload::Grant, 1, 500.0, &[900, 1_000, 5_000]), baseline]);
        let record = report.record(Settings::default());
        let found: Vec<_> =
            record.ratios.iter().map(|value| (value.name.as_str(), value.clients, value.ratio)).collect();
        assert_eq!(found, [("grant/pgbench", 1, 0.5), ("grant p50/pgbench mean", 1, 5.0)]);
    }

    #[test]
    fn the_slow_calls_beside_a_flood_are_compared_with_those_of_the_same_caller_alone() {
        let fast = [vec![1_000; 98], vec![2_000; 2]].concat();
        let slow = [vec![1_000; 98], vec![5_000; 2]].concat();
        let report = report([
            sample(Workload::Quiet, 64, 900.0, &fast),
            sample(Workload::BesideCalls, 64, 300.0, &slow),
            sample(Workload::Quiet, 4, 900.0, &fast),
            sample(Workload::BesideStreams, 4, 900.0, &fast),
            // Nobody was measured alone beside so many.
            sample(Workload::BesideCalls, 256, 300.0, &slow),
        ]);
        let record = report.record(Settings::default());
        let found: Vec<_> = record.ratios.iter().map(|value| (value.name.as_str(), value.clients)).collect();
        assert_eq!(found, [("beside-calls p99/quiet p99", 64), ("beside-streams p99/quiet p99", 4)]);
        let values: Vec<_> = record.ratios.iter().map(|value| (value.ratio * 100.0).round()).collect();
        assert_eq!(values, [250.0, 100.0]);
    }

    #[test]
    fn latencies_errors_and_cpu_of_all_rounds_count() {
        let usage = |client, service: Option<u64>| {
            let service = service.map(Duration::from_micros);
            Some(Usage { client: Duration::from_micros(client), service, postgres: None })
        };
        let mut first = sample(Workload::Tier, 8, 1.0, &[100, 200]);
        first.cpu = usage(40, Some(100));
        let mut second = sample(Workload::Tier, 8, 2.0, &[300]);
        second.errors.insert("UNAVAILABLE: away".to_owned(), 3);
        second.cpu = usage(20, Some(50));
        let mut report = report([first, second]);
        report.add_trips(Workload::Tier, 8, 100, Trips { transactions: 10, round_trips: 40 });
        report.add_trips(Workload::Tier, 8, 100, Trips { transactions: 15, round_trips: 60 });
        let figures = &report.record(Settings::default()).medians[0];
        assert_eq!((figures.completed, figures.errors, figures.per_second), (3, 3, 1.5));
        let latencies = figures.latencies.unwrap();
        assert_eq!((latencies.p50_micros, latencies.max_micros), (200, 300));
        let cpu = figures.cpu.unwrap();
        assert_eq!((cpu.client_micros, cpu.service_micros, cpu.postgres_micros), (20.0, Some(50.0), None));
        let trips = figures.trips.unwrap();
        assert_eq!((trips.calls_per_transaction, trips.round_trips_per_transaction), (8.0, 4.0));
        assert_eq!(trips.round_trips_per_call, 0.5);
    }

    #[test]
    fn the_tables_show_a_baseline_of_which_little_is_known() {
        let mut baseline = sample(Workload::Pgbench, 64, 22_353.1, &[]);
        baseline.mean_micros = 2_863.0;
        let figures = [Figures::of(&baseline)];
        let shown = rates(&figures).trim_fmt();
        assert!(shown.contains("22,353") && shown.contains("2,863") && shown.contains('–'), "{shown}");
        let shown = costs(&figures).trim_fmt();
        assert!(shown.contains("pgbench") && shown.contains('–'), "{shown}");
    }
}
