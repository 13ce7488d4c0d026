//! Which measurements are compared with which, and what must come of it: the one place that says so.
//!
//! `docs/performance.md` shows the same targets to people, and a test compares the two.

use super::workload::Workload;

/// A measurement by its baseline of the same run. Unlike its parts, it can be compared between machines.
#[derive(Debug)]
pub(super) struct Ratio {
    pub(super) measured: Workload,
    pub(super) baseline: Workload,
    pub(super) figure: Figure,
    targets: &'static [Target],
}

/// What of the two is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Figure {
    /// Calls, rows or items per second: the more the better.
    Rate,
    /// The median latency of one client by the mean latency of one: the less the better.
    Latency,
    /// The 99th percentiles of latencies: the less the better.
    Tail,
}

/// What a ratio must come to.
#[derive(Clone, Copy, Debug)]
struct Target {
    /// At this number of clients; at any, if absent.
    clients: Option<u32>,
    value: f64,
}

const fn at(clients: u32, value: f64) -> Target {
    Target { clients: Some(clients), value }
}

const fn always(value: f64) -> Target {
    Target { clients: None, value }
}

const fn rate(measured: Workload, baseline: Workload, targets: &'static [Target]) -> Ratio {
    Ratio { measured, baseline, figure: Figure::Rate, targets }
}

const fn tail(measured: Workload, baseline: Workload, targets: &'static [Target]) -> Ratio {
    Ratio { measured, baseline, figure: Figure::Tail, targets }
}

/// All ratios, in the order of tables.
pub(super) const RATIOS: &[Ratio] = &[
    rate(Workload::Grant, Workload::Pgbench, &[at(64, 0.45), at(256, 0.60)]),
    rate(Workload::Redeem, Workload::Pgbench, &[at(64, 0.35), at(256, 0.50)]),
    rate(Workload::Purchase, Workload::Pgbench, &[at(64, 0.35), at(256, 0.50)]),
    rate(Workload::Conversion, Workload::Pgbench, &[at(64, 0.25), at(256, 0.25)]),
    rate(Workload::Tier, Workload::Echo, &[at(64, 0.60), at(256, 0.60)]),
    rate(Workload::Stream, Workload::Raw, &[always(0.45)]),
    rate(Workload::GrantOne, Workload::Grant, &[at(64, 1.0)]),
    rate(Workload::RedeemMany, Workload::RedeemFew, &[always(0.8)]),
    rate(Workload::GrantLarge, Workload::GrantEmpty, &[always(0.9)]),
    rate(Workload::StreamLarge, Workload::StreamEmpty, &[always(0.8)]),
    rate(Workload::GrantKeyed, Workload::Grant, &[always(0.9)]),
    rate(Workload::Grant, Workload::GrantUnmeasured, &[always(0.97)]),
    rate(Workload::TierKeyed, Workload::Tier, &[always(0.9)]),
    rate(Workload::TierMany, Workload::Tier, &[always(0.8)]),
    Ratio { measured: Workload::Grant, baseline: Workload::Pgbench, figure: Figure::Latency, targets: &[at(1, 6.0)] },
    tail(Workload::BesideCalls, Workload::Quiet, &[always(3.0)]),
    tail(Workload::BesideStreams, Workload::Quiet, &[always(3.0)]),
];

impl Ratio {
    /// Its name in tables and records.
    pub(super) fn name(&self) -> String {
        match self.figure {
            Figure::Rate => format!("{}/{}", self.measured, self.baseline),
            Figure::Latency => format!("{} p50/{} mean", self.measured, self.baseline),
            Figure::Tail => format!("{} p99/{} p99", self.measured, self.baseline),
        }
    }

    /// The ratio of this name, and its place in the order.
    pub(super) fn place(name: &str) -> Option<(usize, &'static Self)> {
        RATIOS.iter().enumerate().find(|(_, ratio)| ratio.name() == name)
    }

    /// Whether it is made of measurements with this number of clients.
    pub(super) fn is_made_at(&self, clients: u32) -> bool {
        self.figure != Figure::Latency || clients == 1
    }

    /// What it must come to at this number of clients.
    pub(super) fn target(&self, clients: u32) -> Option<f64> {
        self.targets.iter().find(|target| target.clients.is_none_or(|at| at == clients)).map(|target| target.value)
    }

    pub(super) fn reaches(&self, value: f64, target: f64) -> bool {
        match self.figure {
            Figure::Rate => value >= target,
            Figure::Latency | Figure::Tail => value <= target,
        }
    }

    /// By which share it became worse; below zero if it became better.
    pub(super) fn loss(&self, old: f64, new: f64) -> f64 {
        match self.figure {
            Figure::Rate => 1.0 - new / old,
            Figure::Latency | Figure::Tail => new / old - 1.0,
        }
    }

    /// A target in words.
    pub(super) fn bound(&self, target: f64) -> String {
        match self.figure {
            Figure::Rate => format!("≥ {target:.2}"),
            Figure::Latency | Figure::Tail => format!("≤ {target:.2}"),
        }
    }

    /// Every target, with its number of clients.
    #[cfg(test)]
    fn targets(&self) -> impl Iterator<Item = (Option<u32>, f64)> {
        self.targets.iter().map(|target| (target.clients, target.value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = include_str!("../../../docs/performance.md");

    #[test]
    fn every_ratio_has_a_name_of_its_own_and_a_target() {
        for (number, ratio) in RATIOS.iter().enumerate() {
            let name = ratio.name();
            assert_eq!(Ratio::place(&name).map(|(place, _)| place), Some(number), "{name}");
            assert!(ratio.targets().count() > 0, "{name}");
        }
        assert!(Ratio::place("grant/echo").is_none());
    }

    #[test]
    fn the_page_shows_the_targets_of_the_code() {
        let shown: Vec<&str> = PAGE.lines().filter(|line| line.contains("| ≥ ") || line.contains("| ≤ ")).collect();
        let targets = RATIOS.iter().flat_map(|ratio| ratio.targets().map(move |target| (ratio, target)));
        let expected: Vec<String> = targets
            .map(|(ratio, (clients, value))| {
                let clients = clients.map_or("any".to_owned(), |clients| clients.to_string());
                format!("| `{}` | {clients} | {} |", ratio.name(), ratio.bound(value))
            })
            .collect();
        assert_eq!(shown, expected);
    }

    #[test]
    fn a_rate_must_not_fall_and_a_latency_must_not_grow() {
        let find = |name: &str| Ratio::place(name).unwrap().1;
        let (rate, latency) = (find("grant/pgbench"), find("grant p50/pgbench mean"));
        assert!(rate.reaches(0.45, 0.45) && !rate.reaches(0.44, 0.45));
        assert!(latency.reaches(6.0, 6.0) && !latency.reaches(6.1, 6.0));
        assert!(rate.loss(0.4, 0.3) > 0.24 && rate.loss(0.3, 0.4) < 0.0);
        assert!(latency.loss(4.0, 5.0) > 0.24 && latency.loss(5.0, 4.0) < 0.0);
        assert_eq!((rate.target(64), rate.target(256), rate.target(8)), (Some(0.45), Some(0.60), None));
        assert!(latency.is_made_at(1) && !latency.is_made_at(64) && rate.is_made_at(64));
        let tail = find("beside-calls p99/quiet p99");
        assert!(tail.reaches(3.0, 3.0) && !tail.reaches(3.1, 3.0) && tail.loss(2.0, 2.5) > 0.24);
        assert!(tail.is_made_at(64) && tail.target(64) == Some(3.0));
    }
}
