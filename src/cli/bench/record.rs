//! What a run leaves behind for programs: all its figures, as one JSON document.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::super::error::CliError;
use super::super::export::destination::Destination;
use super::sample::Sample;

/// The version of the document. Another meaning of a field, or of a name in it, is another version.
const SCHEMA: u32 = 1;

/// All figures of a run.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(super) struct Record {
    schema: u32,
    /// The version of this program.
    pub(super) version: String,
    /// `release` or `debug`.
    pub(super) build: String,
    pub(super) cores: usize,
    pub(super) settings: Settings,
    /// Every measurement, in order.
    pub(super) rounds: Vec<Round>,
    /// All rounds of a workload together.
    pub(super) medians: Vec<Figures>,
    pub(super) ratios: Vec<Value>,
}

/// How it was measured.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(super) struct Settings {
    pub(super) seconds: f64,
    pub(super) warmup: f64,
    pub(super) rounds: u32,
    pub(super) customers: u32,
    pub(super) connections: u32,
    /// Absent if none was filled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) large: Option<Filled>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) many_customers: Option<Filled>,
}

/// A ledger that was filled.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(super) struct Filled {
    pub(super) customers: u32,
    pub(super) entries: u64,
    pub(super) seconds: f64,
}

/// One measurement.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(super) struct Round {
    pub(super) round: u32,
    #[serde(flatten)]
    pub(super) figures: Figures,
}

/// What is known of a workload at a number of clients.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(super) struct Figures {
    pub(super) workload: String,
    pub(super) clients: u32,
    pub(super) per_second: f64,
    pub(super) completed: u64,
    pub(super) errors: u64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) error_counts: BTreeMap<String, u64>,
    pub(super) mean_micros: f64,
    /// Absent where only the mean is known, and where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) latencies: Option<Quantiles>,
    /// Absent where the machine does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) cpu: Option<CpuPerCall>,
    /// Absent where it was not counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) trips: Option<TripsPerCall>,
    /// The most that the service had in memory. Absent where it was not measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) most_memory_bytes: Option<u64>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub(super) struct Quantiles {
    pub(super) p50_micros: u64,
    pub(super) p90_micros: u64,
    pub(super) p99_micros: u64,
    #[serde(rename = "p99.9_micros")]
    pub(super) p999_micros: u64,
    pub(super) max_micros: u64,
}

/// Microseconds of the processors for each call, row or item.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub(super) struct CpuPerCall {
    pub(super) client_micros: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) service_micros: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) postgres_micros: Option<f64>,
}

/// How calls come to the database, by a measurement of its own.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub(super) struct TripsPerCall {
    /// The size of a batch: calls for each transaction.
    pub(super) calls_per_transaction: f64,
    pub(super) round_trips_per_transaction: f64,
    pub(super) round_trips_per_call: f64,
}

/// What a ratio came to.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(super) struct Value {
    pub(super) name: String,
    pub(super) clients: u32,
    pub(super) ratio: f64,
}

impl Settings {
    /// Whether both measured the same in the same way. How long something took to fill is no way of measuring.
    pub(super) fn are_like(&self, other: &Self) -> bool {
        let without_time = |settings: &Self| Self {
            large: settings.large.clone().map(|filled| Filled { seconds: 0.0, ..filled }),
            many_customers: settings.many_customers.clone().map(|filled| Filled { seconds: 0.0, ..filled }),
            ..settings.clone()
        };
        without_time(self) == without_time(other)
    }
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

impl Figures {
    pub(super) fn of(sample: &Sample) -> Self {
        let each = |whole: f64, count: u64| whole / count.max(1) as f64;
        let cpu = sample.cpu.filter(|_| sample.completed > 0).map(|used| CpuPerCall {
            client_micros: each(used.client.as_secs_f64() * 1e6, sample.completed),
            service_micros: used.service.map(|used| each(used.as_secs_f64() * 1e6, sample.completed)),
            postgres_micros: used.postgres.map(|used| each(used.as_secs_f64() * 1e6, sample.completed)),
        });
        let counted = sample.trips.filter(|(calls, trips)| *calls > 0 && trips.transactions > 0);
        let trips = counted.map(|(calls, trips)| TripsPerCall {
            calls_per_transaction: each(calls as f64, trips.transactions),
            round_trips_per_transaction: each(trips.round_trips as f64, trips.transactions),
            round_trips_per_call: each(trips.round_trips as f64, calls),
        });
        Self {
            workload: sample.workload.to_string(),
            clients: sample.clients,
            per_second: sample.per_second,
            completed: sample.completed,
            errors: sample.error_count(),
            error_counts: sample.errors.clone(),
            mean_micros: sample.mean_micros,
            latencies: Quantiles::of(&sample.latencies),
            cpu,
            trips,
            most_memory_bytes: sample.most_memory,
        }
    }
}

impl Record {
    pub(super) fn new(settings: Settings, rounds: Vec<Round>, medians: Vec<Figures>, ratios: Vec<Value>) -> Self {
        let build = if cfg!(debug_assertions) { "debug" } else { "release" };
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let (version, build) = (env!("CARGO_PKG_VERSION").to_owned(), build.to_owned());
        Self { schema: SCHEMA, version, build, cores, settings, rounds, medians, ratios }
    }

    /// Writes it all to its destination.
    pub(super) fn write(&self, destination: Destination) -> Result<(), CliError> {
        let json = serde_json::to_string_pretty(self);
        let json = json.map_err(|error| CliError::failed(format_args!("cannot write JSON: {error}")))?;
        let mut writer = destination.writer()?;
        let written = writeln!(writer, "{json}").and_then(|()| writer.flush());
        written.map_err(|error| destination.failure(&error))?;
        destination.finish()
    }

    /// Reads the file of a run.
    ///
    /// # Errors
    /// [`CliError::NotRun`] if there is none, it is no record, or one of another version.
    pub(super) fn read(path: &Path) -> Result<Self, CliError> {
        let unreadable = |why: &dyn std::fmt::Display| CliError::NotRun(format!("{}: {why}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|error| unreadable(&error))?;
        Self::parse(&text).map_err(|why| unreadable(&why))
    }

    fn parse(text: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Versioned {
            schema: u32,
        }
        let no_record = |error| format!("this is no record of `goldbook bench --json`: {error}");
        let Versioned { schema } = serde_json::from_str(text).map_err(no_record)?;
        if schema != SCHEMA {
            return Err(format!("this is a record of version {schema}, and only version {SCHEMA} is known"));
        }
        serde_json::from_str(text).map_err(no_record)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A record with nothing but these ratios.
    pub(in super::super) fn record(ratios: &[(&str, u32, f64)]) -> Record {
        let ratios = ratios.iter().map(|(name, clients, ratio)| Value {
            name: (*name).to_owned(),
            clients: *clients,
            ratio: *ratio,
        });
        Record::new(Settings::default(), Vec::new(), Vec::new(), ratios.collect())
    }

    #[test]
    fn a_record_reads_back_as_it_was_written() {
        let latencies = Quantiles { p50_micros: 1, p90_micros: 2, p99_micros: 3, p999_micros: 4, max_micros: 5 };
        let figures = Figures {
            workload: "grant".to_owned(),
            clients: 64,
            per_second: 8_800.123_456_789,
            completed: 88_001,
            errors: 2,
            error_counts: [("UNAVAILABLE: away".to_owned(), 2)].into(),
            mean_micros: 7_200.5,
            latencies: Some(latencies),
            cpu: Some(CpuPerCall { client_micros: 27.0, service_micros: Some(56.5), postgres_micros: None }),
            trips: Some(TripsPerCall {
                calls_per_transaction: 16.0,
                round_trips_per_transaction: 9.0,
                round_trips_per_call: 0.5625,
            }),
            most_memory_bytes: Some(60_000_000),
        };
        let settings = Settings {
            large: Some(Filled { customers: 300_000, entries: 3_000_000, seconds: 140.0 }),
            many_customers: Some(Filled { customers: 1_000_000, entries: 5_000_000, seconds: 300.0 }),
            ..Settings::default()
        };
        let ratios = record(&[("grant/pgbench", 64, 0.27)]).ratios;
        let bare = Figures {
            latencies: None,
            cpu: None,
            trips: None,
            most_memory_bytes: None,
            error_counts: BTreeMap::new(),
            ..figures.clone()
        };
        let written =
            Record::new(settings, vec![Round { round: 1, figures: figures.clone() }], vec![figures, bare], ratios);

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.json");
        written.write(Destination::open(&path).unwrap()).unwrap();
        assert_eq!(Record::read(&path).unwrap(), written);
    }

    #[test]
    fn settings_are_like_others_whatever_time_filling_took() {
        let filled = |entries, seconds| Settings {
            large: Some(Filled { customers: 10, entries, seconds }),
            ..Settings::default()
        };
        assert!(filled(100, 1.0).are_like(&filled(100, 2.0)));
        assert!(!filled(100, 1.0).are_like(&filled(200, 1.0)) && !filled(100, 1.0).are_like(&Settings::default()));
    }

    #[test]
    fn what_is_no_record_of_this_version_is_not_read() {
        let written = serde_json::to_string(&record(&[])).unwrap();
        assert!(Record::parse(&written).is_ok());
        let newer = written.replacen("\"schema\":1", "\"schema\":2", 1);
        assert!(Record::parse(&newer).unwrap_err().contains("version 2"));
        for text in ["", "{}", "[]", &written[..written.len() - 1], "{\"schema\":1}"] {
            assert!(Record::parse(text).unwrap_err().contains("no record"), "{text}");
        }
        let missing = Record::read(Path::new("/nowhere/run.json")).unwrap_err();
        assert!(matches!(missing, CliError::NotRun(_)), "{missing}");
    }
}
