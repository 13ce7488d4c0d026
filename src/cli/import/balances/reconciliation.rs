//! Compares what a file holds with what became of its lines.

use std::collections::{BTreeMap, HashMap};

use comfy_table::{CellAlignment, Table};
use goldbook_api::v1::ImportBalancesResponse;
use goldbook_api::v1::import_balances_response::Outcome;

use super::super::refusals::Refusals;
use super::super::sending::Outcomes;
use super::file::{Balance, Count, Survey};
use crate::cli::output::{self, grouped};
use crate::cli::refusal::Refusal;
use goldbook_api::v1::ImportedOpening;

/// How many refused lines are told one by one.
const TOLD_REFUSALS: usize = 100;

/// Opening tiers of one tier.
#[derive(Clone, Copy, Debug, Default)]
struct TierCount {
    in_file: u64,
    imported: u64,
    before: u64,
    refused: u64,
    /// Of those in the book, how many customers hold a higher tier.
    higher: u64,
}

/// A line that was sent and has no answer yet.
#[derive(Debug)]
struct Sent {
    points: i64,
    tier_id: Option<String>,
}

/// The outcomes so far, and what the file holds.
#[derive(Debug)]
pub(super) struct Reconciliation {
    in_file: Count,
    imported: Count,
    before: Count,
    refused: Count,
    /// How many of the points imported now paid a debt.
    repaid: i128,
    tiers: BTreeMap<String, TierCount>,
    under_way: HashMap<u64, Sent>,
    refusals: Refusals,
}

impl Reconciliation {
    /// Begins without outcomes, for a file that was surveyed.
    pub(super) fn of(survey: &Survey) -> Self {
        let tier = |(tier_id, in_file): (&String, &u64)| {
            (tier_id.clone(), TierCount { in_file: *in_file, ..TierCount::default() })
        };
        Self {
            in_file: survey.count,
            imported: Count::default(),
            before: Count::default(),
            refused: Count::default(),
            repaid: 0,
            tiers: survey.tiers.iter().map(tier).collect(),
            under_way: HashMap::new(),
            refusals: Refusals::none(TOLD_REFUSALS),
        }
    }

    fn count_imported(&mut self, sent: &Sent, imported: &ImportedOpening) {
        // What the service says that it issued, not what was asked for.
        let count = if imported.replayed { &mut self.before } else { &mut self.imported };
        count.add(imported.points);
        if !imported.replayed {
            self.repaid += i128::from(imported.points_repaid);
        }
        let Some(tier_id) = &sent.tier_id else { return };
        let tier = self.tiers.entry(tier_id.clone()).or_default();
        if imported.replayed {
            tier.before += 1;
        } else {
            tier.imported += 1;
        }
        if *tier_id != imported.tier_id {
            tier.higher += 1;
        }
    }

    fn count_refused(&mut self, line: u64, sent: Sent, why: String) {
        self.refused.add(sent.points);
        self.refusals.add(line, why);
        if let Some(tier_id) = sent.tier_id {
            self.tiers.entry(tier_id).or_default().refused += 1;
        }
    }

    pub(super) const fn refused(&self) -> u64 {
        self.refused.lines
    }

    /// Whether every line and point of the file is accounted for.
    pub(super) fn adds_up(&self) -> bool {
        let points = self.imported.points + self.before.points + self.refused.points;
        let tiers = self.tiers.values().all(|tier| tier.in_file == tier.imported + tier.before + tier.refused);
        self.in_file == Count { lines: self.finished(), points } && tiers
    }

    /// The outcomes as tables, and whether they add up.
    pub(super) fn show(&self) -> String {
        let mut table = output::table(["", "lines", "points"]);
        for (name, count) in [
            ("in the file", self.in_file),
            ("imported now", self.imported),
            ("imported before", self.before),
            ("refused", self.refused),
        ] {
            table.add_row([name.to_owned(), grouped(count.lines), grouped(count.points)]);
        }
        align_counts(&mut table, 2);
        let mut text = table.to_string();
        if !self.tiers.is_empty() {
            let headings = ["tier", "in the file", "imported now", "imported before", "refused", "holds higher"];
            let mut table = output::table(headings);
            for (tier_id, tier) in &self.tiers {
                let TierCount { in_file, imported, before, refused, higher } = *tier;
                let counts = [in_file, imported, before, refused, higher].map(grouped);
                table.add_row([tier_id.clone()].into_iter().chain(counts));
            }
            align_counts(&mut table, 5);
            text.push_str(&format!("\n{table}"));
        }
        if self.repaid > 0 {
            text.push_str(&format!("\nOf the points imported now, {} paid what customers owed.", grouped(self.repaid)));
        }
        text.push_str(if self.adds_up() {
            "\nCheck: in the file = imported now + imported before + refused."
        } else {
            "\nCheck: what became of the lines does not add up to the file."
        });
        text.push_str(&self.refusals.list());
        text
    }
}

impl Outcomes<Balance, ImportBalancesResponse> for Reconciliation {
    fn note_sent(&mut self, line: u64, balance: &Balance) {
        let sent = Sent { points: balance.points(), tier_id: balance.tier_id().map(str::to_owned) };
        self.under_way.insert(line, sent);
    }

    fn refuse(&mut self, line: u64, why: String) {
        // The file was changed, since all its lines were good when it was surveyed.
        self.refused.add(0);
        self.refusals.add(line, why);
    }

    fn count(&mut self, answer: ImportBalancesResponse) {
        let line = answer.item_id.parse().unwrap_or_default();
        let Some(sent) = self.under_way.remove(&line) else { return };
        match answer.outcome {
            Some(Outcome::Imported(imported)) => self.count_imported(&sent, &imported),
            Some(Outcome::Error(status)) => self.count_refused(line, sent, why_refused(&Refusal::from_item(&status))),
            None => self.count_refused(line, sent, "the service's answer holds no outcome".to_owned()),
        }
    }

    fn finished(&self) -> u64 {
        self.imported.lines + self.before.lines + self.refused.lines
    }
}

/// Why a line was refused. Where the service's message speaks of a request, this speaks of the line.
fn why_refused(refusal: &Refusal) -> String {
    match refusal.reason() {
        Some(reason @ "IDEMPOTENCY_KEY_REUSED") => {
            format!("{reason}: the line changed since it was imported; what was imported stays in the book")
        }
        _ => refusal.summary(),
    }
}

/// Shows what a file holds.
pub(super) fn show_survey(survey: &Survey) -> String {
    let Count { lines, points } = survey.count;
    let mut text = format!("lines   {}\npoints  {}", grouped(lines), grouped(points));
    for (tier_id, count) in &survey.tiers {
        text.push_str(&format!("\ntier    {tier_id}: {}", grouped(*count)));
    }
    text
}

fn align_counts(table: &mut Table, count: usize) {
    for place in 1..=count {
        if let Some(column) = table.column_mut(place) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}
