//! The promises of the crate, from outside: published figures, extreme customers, and properties of the models.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test's helper fails as the test does, by a panic")]

#[path = "purchase_models/cdnow.rs"]
mod cdnow;
#[path = "purchase_models/extremes.rs"]
mod extremes;
#[path = "purchase_models/naive.rs"]
mod naive;
#[path = "purchase_models/properties.rs"]
mod properties;
#[path = "purchase_models/refusals.rs"]
mod refusals;
#[path = "purchase_models/simulated.rs"]
mod simulated;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;

use jiff::civil::{Date, date};
use purchase_models::{BgNbd, Fit, GammaGamma, PurchaseSummary, SpendSummary};

/// The first day of the CDNOW sample. Customers came within the first twelve weeks.
const FIRST_DAY: Date = date(1997, 1, 1);

/// The last day that the models learn from, 39 weeks after the first began.
const LAST_LEARNED: Date = date(1997, 9, 30);

/// The fits to the CDNOW sample, made once for all tests.
static CDNOW: LazyLock<(Fit<BgNbd>, Fit<GammaGamma>)> = LazyLock::new(|| {
    let customers = read_cdnow();
    (BgNbd::fit(summaries(&customers)).unwrap(), GammaGamma::fit(spends(&customers)).unwrap())
});

/// What one customer paid on each day that the customer bought.
type Days = BTreeMap<Date, f64>;

/// The CDNOW sample, with the purchases of one day as one purchase.
fn read_cdnow() -> Vec<Days> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/cdnow/purchases.csv");
    let mut customers: BTreeMap<String, Days> = BTreeMap::new();
    for row in csv::Reader::from_path(path).unwrap().records().map(Result::unwrap) {
        let days = customers.entry(row[1].to_owned()).or_default();
        *days.entry(row[2].parse().unwrap()).or_default() += row[4].parse::<f64>().unwrap();
    }
    customers.into_values().collect()
}

fn weeks(from: Date, to: Date) -> f64 {
    f64::from((to - from).get_days()) / 7.0
}

/// What the model of purchases learns: each customer until the last day of it, in weeks.
fn summaries(customers: &[Days]) -> Vec<(PurchaseSummary, u32)> {
    let summary = |days: &Days| {
        let first = *days.keys().next().unwrap();
        let learned: Vec<Date> = days.keys().copied().filter(|day| *day <= LAST_LEARNED).collect();
        let repeats = u32::try_from(learned.len() - 1).unwrap();
        PurchaseSummary::new(repeats, weeks(first, *learned.last().unwrap()), weeks(first, LAST_LEARNED)).unwrap()
    };
    customers.iter().map(|days| (summary(days), 1)).collect()
}

/// What the model of spend learns: the mean of repeat purchases of those who made some, without the first purchase.
fn spends(customers: &[Days]) -> Vec<(SpendSummary, u32)> {
    let spend = |days: &Days| {
        let repeats: Vec<f64> =
            days.iter().skip(1).filter(|(day, _)| **day <= LAST_LEARNED).map(|(_, paid)| *paid).collect();
        let purchases = u32::try_from(repeats.len()).unwrap();
        (purchases > 0)
            .then(|| (SpendSummary::new(purchases, repeats.iter().sum::<f64>() / f64::from(purchases)).unwrap(), 1))
    };
    customers.iter().filter_map(spend).collect()
}

#[track_caller]
fn assert_close(found: f64, expected: f64, tolerance: f64) {
    assert!((found - expected).abs() <= tolerance, "{found} is not within {tolerance:e} of {expected}");
}
