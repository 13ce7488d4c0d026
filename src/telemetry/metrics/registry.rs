//! Every metric there is: `docs/metrics.md` lists the same, held by a test, and instruments are made of nothing else.

/// What a metric measures, and how.
#[derive(Debug)]
pub struct Metric {
    /// Its name, as OpenTelemetry writes it.
    pub name: &'static str,
    /// What kind of instrument it is.
    pub kind: Kind,
    /// Its unit in UCUM; none if it counts nothing.
    pub unit: &'static str,
    /// What it tells, in a sentence.
    pub what: &'static str,
    /// The attributes that its series may have.
    pub attributes: &'static [&'static str],
    /// The values of its only attribute, if they are few and known.
    pub values: &'static [&'static str],
}

/// A kind of instrument.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// It only grows, from the start of the process.
    Counter,
    /// It goes up and down.
    UpDownCounter,
    /// It is what was last seen.
    Gauge,
    /// How values are spread over buckets with these upper bounds.
    Histogram(&'static [f64]),
}

/// Upper bounds of buckets of durations, in seconds.
pub const SECONDS: &[f64] = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Upper bounds of buckets of how many came together: no batch has more than 256.
const GATHERED: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

/// Lists the metrics once.
macro_rules! metrics {
    ($($(#[$doc:meta])* $constant:ident: $kind:expr, $name:literal, $unit:literal, [$($attribute:literal $(= ($($value:literal)|+))?),*], $what:literal;)*) => {
        $(
            $(#[$doc])*
            #[doc = $what]
            pub const $constant: Metric = Metric {
                name: $name,
                kind: $kind,
                unit: $unit,
                what: $what,
                attributes: &[$($attribute),*],
                values: &[$($($($value,)+)?)*],
            };
        )*
        /// All metrics, in the order in which the page lists them.
        pub const REGISTRY: &[&Metric] = &[$(&$constant),*];
    };
}

metrics! {
    CALL_DURATION: Kind::Histogram(SECONDS), "rpc.server.call.duration", "s",
        ["rpc.system.name", "rpc.method", "rpc.response.status_code", "error.type"],
        "How long calls took, streams until their end.";
    ACTIVE_CALLS: Kind::UpDownCounter, "goldbook.rpc.active", "{call}", [], "Calls and streams under way.";
    REFUSALS: Kind::Counter, "goldbook.refusals", "{refusal}", ["goldbook.reason"],
        "Refusals with a reason, of calls and of items of batches and streams.";
    AUTHENTICATION_FAILURES: Kind::Counter, "goldbook.authentication.failures", "{call}",
        ["goldbook.credential" = ("none" | "api_key" | "token" | "certificate")],
        "Calls whose caller did not prove who it is, by what it showed.";
    LIMITS_HIT: Kind::Counter, "goldbook.limits.hit", "{call}",
        ["goldbook.limit" = ("waiting commands" | "waiting reads" | "exports under way" | "calls under way" | "reads" | "writes" | "exports")],
        "Calls that were turned away because a limit of the caller's or of the service's was reached.";
    OPEN_CONNECTIONS: Kind::UpDownCounter, "goldbook.connections.open", "{connection}", [],
        "Connections of callers that are open.";
    WAITING: Kind::UpDownCounter, "goldbook.lane.waiting", "{command}", ["goldbook.origin"],
        "Commands that no batch has taken yet.";
    LANE_WAIT: Kind::Histogram(SECONDS), "goldbook.lane.wait.duration", "s", ["goldbook.origin"],
        "How long commands waited until a batch took them.";
    BATCH_SIZE: Kind::Histogram(GATHERED), "goldbook.batch.size", "{command}", [],
        "How many commands a batch carried out.";
    BATCH_DURATION: Kind::Histogram(SECONDS), "goldbook.batch.duration", "s", ["goldbook.outcome"],
        "How long a try of a batch took, from its first statement to the end of its transaction.";
    PHASE_DURATION: Kind::Histogram(SECONDS), "goldbook.batch.phase.duration", "s", ["goldbook.batch.phase"],
        "How long the phases of batches took.";
    RETRIES: Kind::Counter, "goldbook.batch.retries", "{batch}", ["goldbook.cause" = ("conflict" | "connection")],
        "Batches that were tried again as they were.";
    SPLITS: Kind::Counter, "goldbook.batch.splits", "{batch}", [], "Batches that were tried again in parts.";
    POSTPONEMENTS: Kind::Counter, "goldbook.command.postponements", "{command}",
        ["goldbook.cause" = ("batch" | "account" | "name" | "order")],
        "Commands that a later batch had to carry out.";
    LOOKUPS: Kind::Histogram(GATHERED), "goldbook.read.batch.size", "{lookup}", ["goldbook.read"],
        "How many reads one statement answered.";
    ENTRIES: Kind::Counter, "goldbook.entries.written", "{entry}", ["goldbook.program.id"],
        "Entries that this service wrote.";
    POINTS_GRANTED: Kind::Counter, "goldbook.points.granted", "{point}", ["goldbook.program.id"],
        "Points that were granted, whatever became of them.";
    POINTS_REDEEMED: Kind::Counter, "goldbook.points.redeemed", "{point}", ["goldbook.program.id"],
        "Points that were spent, also where they were given back later.";
    POINTS_EXPIRED: Kind::Counter, "goldbook.points.expired", "{point}", ["goldbook.program.id"],
        "Points that expired.";
    CONVERSIONS: Kind::Counter, "goldbook.referrals.converted", "{referral}", ["goldbook.program.id"],
        "Referrals that converted.";
    TIER_CHANGES: Kind::Counter, "goldbook.tiers.changed", "{change}", ["goldbook.program.id"],
        "Changes of a customer's tier, the first one on joining among them.";
    WORKER_ROUNDS: Kind::Counter, "goldbook.worker.rounds", "{round}", ["goldbook.worker", "goldbook.outcome"],
        "Rounds of work in the background.";
    WORKER_LAG: Kind::Gauge, "goldbook.worker.lag", "s", ["goldbook.worker"],
        "For how long the oldest thing has been waiting that work in the background is late with.";
    STUCK_ACCOUNTS: Kind::Gauge, "goldbook.accounts.stuck", "{account}", [],
        "Accounts that are set aside because what is due on them cannot be written.";
    LIABILITY_AGE: Kind::Gauge, "goldbook.liability.age", "s", ["goldbook.program.id"],
        "How old the newest summary of a program's liability is.";
    STATEMENT_DURATION: Kind::Histogram(SECONDS), "db.client.operation.duration", "s",
        ["db.system.name", "db.operation.name", "db.collection.name", "error.type"],
        "How long statements took; a collection is named where there is exactly one.";
    CONNECTIONS: Kind::UpDownCounter, "db.client.connection.count", "{connection}",
        ["db.client.connection.pool.name", "db.client.connection.state"],
        "Connections to the database that a pool has.";
    MOST_CONNECTIONS: Kind::UpDownCounter, "db.client.connection.max", "{connection}",
        ["db.client.connection.pool.name"], "The most connections that a pool may have.";
    DATABASE_REACHABLE: Kind::Gauge, "goldbook.database.reachable", "", [],
        "Whether the database answers: 1, or 0 while it is away.";
    DATABASE_SIZE: Kind::Gauge, "goldbook.database.size", "By", [], "How much of a disk the database takes.";
    DISK_SIZE: Kind::Gauge, "goldbook.disk.size", "By", [],
        "The size of the file system with the service's own database; absent where it has none.";
    DISK_FREE: Kind::Gauge, "goldbook.disk.free", "By", [],
        "What is free on the file system with the service's own database; absent where it has none.";
    AUDIT_AGE: Kind::Gauge, "goldbook.audit.age", "s", ["goldbook.audit"],
        "How long ago the last audit came to its end; absent before the first.";
    AUDIT_DIFFERENCES: Kind::Gauge, "goldbook.audit.differences", "{difference}", ["goldbook.audit"],
        "How many differences the last audit found and did not repair; absent before the first.";
    AUDIT_NEWER: Kind::Gauge, "goldbook.audit.newer", "{account}", ["goldbook.audit"],
        "How many accounts, and versions of programs, the last audit did not compare, since a newer version wrote to them; absent before the first.";
    CERTIFICATE_EXPIRY: Kind::Gauge, "goldbook.certificate.expiry", "s", [],
        "The time left until the certificate of the listener expires, below zero afterwards; absent without TLS.";
    API_KEY_EXPIRY: Kind::Gauge, "goldbook.api_key.expiry", "s", [],
        "The time left until the next API key expires; absent where none has an end.";
    SPANS: Kind::Counter, "goldbook.telemetry.spans", "{span}", ["goldbook.outcome" = ("exported" | "dropped" | "given_up")],
        "Spans that a collector took, that were dropped, or that `--always-sample` could not wait for.";
    MEMORY: Kind::UpDownCounter, "process.memory.usage", "By", [], "The memory that the process has in use.";
    CPU_TIME: Kind::Counter, "process.cpu.time", "s", ["cpu.mode"], "The time of processors that the process took.";
    FILE_DESCRIPTORS: Kind::UpDownCounter, "process.unix.file_descriptor.count", "{file_descriptor}", [],
        "File descriptors that the process has open.";
    UPTIME: Kind::Gauge, "process.uptime", "s", [], "For how long the process has been running.";
    BUILD: Kind::Gauge, "goldbook.build.info", "", ["goldbook.version", "goldbook.commit"],
        "Which build this is; always 1.";
    SCHEMA: Kind::Gauge, "goldbook.schema.version", "", [], "The newest migration of the database's schema.";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn table() -> String {
        let mut table = String::new();
        for metric in REGISTRY {
            let kind = match metric.kind {
                Kind::Counter => "counter",
                Kind::UpDownCounter => "up-down counter",
                Kind::Gauge => "gauge",
                Kind::Histogram(_) => "histogram",
            };
            let attributes: Vec<String> = metric.attributes.iter().map(|name| format!("`{name}`")).collect();
            let unit = if metric.unit.is_empty() { String::new() } else { format!("`{}`", metric.unit) };
            let cells = [
                format!("`{}`", metric.name),
                format!("`{}`", super::super::exposition::family_of(metric.name, metric.unit)),
                kind.to_owned(),
                unit,
                attributes.join(", "),
                metric.what.to_owned(),
            ];
            table += &format!("| {} |\n", cells.join(" | "));
        }
        table
    }

    #[test]
    fn the_page_lists_every_metric() {
        let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md")).unwrap();
        let table = table();
        assert!(page.contains(&table), "docs/metrics.md must have exactly these rows in one table:\n{table}");
    }

    #[test]
    fn names_are_unique_and_bounds_ascend() {
        let names: BTreeSet<_> = REGISTRY.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), REGISTRY.len());
        for metric in REGISTRY {
            if let Kind::Histogram(bounds) = metric.kind {
                assert!(bounds.is_sorted_by(|a, b| a < b), "{}", metric.name);
            }
        }
    }
}
