//! What is measured in which order, by the arguments.

use std::num::NonZeroU32;

use super::args::{BenchArgs, Method};
use super::load::Window;
use super::workload::{Site, Workload};

/// What is measured in turn, in each round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stage {
    /// How many call at the same time: clients, or streams.
    pub(super) clients: u32,
    pub(super) workloads: Vec<Workload>,
}

impl Stage {
    fn of(clients: u32, workloads: impl IntoIterator<Item = Workload>) -> Self {
        Self { clients, workloads: workloads.into_iter().collect() }
    }

    pub(super) fn is_at(&self, site: Site) -> bool {
        self.workloads.iter().any(|workload| workload.site() == site)
    }
}

impl BenchArgs {
    fn wants(&self, method: Method) -> bool {
        // It makes a run a quarter longer, and what it tells changes only when lanes do.
        let is_usual = method != Method::Fairness;
        self.only.contains(&method) || (self.only.is_empty() && is_usual)
    }

    /// All stages, in order. Each workload is measured next to its baseline.
    pub(super) fn stages(&self) -> Vec<Stage> {
        let mut stages: Vec<Stage> =
            self.clients.iter().map(|clients| Stage::of(clients.get(), self.single_calls())).collect();
        if self.wants(Method::Grant) && !self.clients.contains(&NonZeroU32::MIN) {
            stages.push(Stage::of(1, [Workload::Grant, Workload::Pgbench]));
        }
        if self.wants(Method::Stream) {
            stages.extend(self.streams.iter().map(|n| Stage::of(n.get(), [Workload::Stream, Workload::Raw])));
        }
        if self.wants(Method::Fairness) {
            let quiet_and = |n: &NonZeroU32, beside| Stage::of(n.get(), [Workload::Quiet, beside]);
            stages.extend(self.clients.iter().map(|n| quiet_and(n, Workload::BesideCalls)));
            stages.extend(self.streams.iter().map(|n| quiet_and(n, Workload::BesideStreams)));
        }
        if self.large.is_some() {
            let first = |numbers: &[NonZeroU32]| numbers.first().map_or(1, |number| number.get());
            if self.wants(Method::Grant) {
                stages.push(Stage::of(first(&self.clients), [Workload::GrantEmpty, Workload::GrantLarge]));
            }
            if self.wants(Method::Stream) {
                stages.push(Stage::of(first(&self.streams), [Workload::StreamEmpty, Workload::StreamLarge]));
            }
        }
        if self.many_customers.is_some() && self.wants(Method::Tier) {
            stages.push(Stage::of(1, [Workload::Simulate, Workload::CountTiers]));
        }
        let has_database = self.address.is_none() || self.database_url.is_some();
        for stage in &mut stages {
            stage.workloads.retain(|workload| match workload.site() {
                Site::Postgres => has_database,
                // Keys can be made in a database of its own only.
                Site::Keyed | Site::OtherCaller => self.address.is_none(),
                // Another service needs to be told where the database is.
                Site::Unmeasured => self.address.is_none(),
                Site::Main | Site::Echo | Site::Empty | Site::Large | Site::ManyCustomers => true,
            });
        }
        stages.retain(|stage| !stage.workloads.is_empty());
        stages
    }

    fn single_calls(&self) -> Vec<Workload> {
        let writes = [Method::Grant, Method::Redeem, Method::Purchase, Method::Conversion, Method::UseBenefit];
        let is_any_wanted = writes.into_iter().any(|method| self.wants(method));
        [
            (Workload::GrantKeyed, self.wants(Method::Grant)),
            (Workload::Grant, self.wants(Method::Grant)),
            (Workload::GrantUnmeasured, self.wants(Method::Grant)),
            (Workload::Pgbench, is_any_wanted),
            (Workload::GrantOne, self.wants(Method::Grant)),
            (Workload::Redeem, self.wants(Method::Redeem)),
            (Workload::TierKeyed, self.wants(Method::Tier)),
            (Workload::Tier, self.wants(Method::Tier)),
            (Workload::TierMany, self.wants(Method::Tier) && self.many_customers.is_some()),
            (Workload::Echo, self.wants(Method::Tier)),
            (Workload::Purchase, self.wants(Method::Purchase)),
            (Workload::Conversion, self.wants(Method::Conversion)),
            (Workload::UseBenefit, self.wants(Method::UseBenefit)),
            (Workload::RedeemFew, self.wants(Method::Redeem)),
            (Workload::RedeemMany, self.wants(Method::Redeem)),
        ]
        .into_iter()
        .filter_map(|(workload, is_wanted)| is_wanted.then_some(workload))
        .collect()
    }

    pub(super) fn window(&self) -> Window {
        Window { warmup: self.warmup, measured: self.seconds }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: BenchArgs,
    }

    fn stages(line: &[&str]) -> Vec<Stage> {
        Line::try_parse_from([&["bench"], line].concat()).unwrap().args.stages()
    }

    #[test]
    fn each_method_brings_its_baseline() {
        use Workload::{
            BesideCalls, BesideStreams, Conversion, CountTiers, Echo, Grant, GrantEmpty, GrantKeyed, GrantLarge,
            GrantOne, GrantUnmeasured, Pgbench, Purchase, Quiet, Raw, Redeem, RedeemFew, RedeemMany, Simulate, Stream,
            StreamEmpty, StreamLarge, Tier, TierKeyed, TierMany, UseBenefit,
        };
        let writes = [GrantKeyed, Grant, GrantUnmeasured, Pgbench, GrantOne, Redeem];
        let others = [TierKeyed, Tier, Echo, Purchase, Conversion, UseBenefit, RedeemFew, RedeemMany];
        let all = [&writes[..], &others].concat();
        let latency = || Stage::of(1, [Grant, Pgbench]);
        let streams = |clients| Stage::of(clients, [Stream, Raw]);
        assert_eq!(stages(&[]), [Stage::of(64, all.clone()), latency(), streams(4)]);
        let several = stages(&["--clients", "64,256", "--streams", "1,8", "--large"]);
        let empty_and_large = [Stage::of(64, [GrantEmpty, GrantLarge]), Stage::of(1, [StreamEmpty, StreamLarge])];
        let expected = [Stage::of(64, all.clone()), Stage::of(256, all), latency(), streams(1), streams(8)];
        assert_eq!(several, [&expected[..], &empty_and_large].concat());
        assert_eq!(stages(&["--only", "tier"]), [Stage::of(64, [TierKeyed, Tier, Echo])]);
        let many = stages(&["--only", "tier,stream", "--many-customers"]);
        let ways = Stage::of(1, [Simulate, CountTiers]);
        assert_eq!(many, [Stage::of(64, [TierKeyed, Tier, TierMany, Echo]), streams(4), ways]);
        assert_eq!(stages(&["--only", "stream", "--many-customers"]), [streams(4)]);
        assert_eq!(stages(&["--only", "stream"]), [streams(4)]);
        assert_eq!(stages(&["--only", "conversion"]), [Stage::of(64, [Pgbench, Conversion])]);
        let alone = Stage::of(1, [GrantKeyed, Grant, GrantUnmeasured, Pgbench, GrantOne]);
        assert_eq!(stages(&["--only", "grant", "--clients", "1"]), [alone]);
        let fairness = stages(&["--only", "fairness", "--clients", "8,64"]);
        let beside_calls = |clients| Stage::of(clients, [Quiet, BesideCalls]);
        assert_eq!(fairness, [beside_calls(8), beside_calls(64), Stage::of(4, [Quiet, BesideStreams])]);
        let running = ["--address", "http://localhost:1", "--only", "purchase"];
        assert_eq!(stages(&running), [Stage::of(64, [Purchase])]);
        let with_database = [&running[..], &["--database-url", "postgres://x"]].concat();
        assert_eq!(stages(&with_database), [Stage::of(64, [Pgbench, Purchase])]);
        let without_keys = ["--address", "http://localhost:1", "--only", "tier,fairness"];
        assert_eq!(stages(&without_keys), [Stage::of(64, [Tier, Echo])]);
        assert_eq!(stages(&["--address", "http://localhost:1", "--only", "fairness"]), []);
    }

    #[test]
    fn nonsense_is_refused() {
        for line in [
            &["--clients", "0"][..],
            &["--streams", "0"],
            &["--seconds", "0"],
            &["--seconds", "-1"],
            &["--seconds", "nan"],
            &["--warmup", "1e9"],
            &["--large", "0"],
            &["--large", "--address", "http://localhost:1"],
            &["--many-customers", "0"],
            &["--many-customers", "--address", "http://localhost:1"],
            &["--database-url", "x"],
            &["--only", "echo"],
        ] {
            assert!(Line::try_parse_from([&["bench"], line].concat()).is_err(), "{line:?}");
        }
    }
}
