//! The figures that Fader, Hardie and Lee published for the CDNOW sample, in the digits in which they did.

use purchase_models::{BgNbd, GammaGamma, Horizon, PurchaseSummary, discounted_purchases, lifetime_value};

use super::*;

/// The customer of whom the papers tell: two repeat purchases, the last in week 30.
fn customer() -> PurchaseSummary {
    PurchaseSummary::new(2, 30.43, 38.86).unwrap()
}

#[test]
fn purchases_of_cdnow_fit_with_the_published_parameters() {
    let fit = &CDNOW.0;
    assert_eq!(fit.customers, 2_357);
    assert_close(fit.model.r(), 0.2426, 0.00005);
    assert_close(fit.model.alpha(), 4.414, 0.0005);
    assert_close(fit.model.a(), 0.793, 0.0005);
    assert_close(fit.model.b(), 2.426, 0.0005);
    assert_close(fit.log_likelihood, -9_582.43, 0.005);
    assert!(!fit.on_bound && fit.iterations < 50, "{fit:?}");
}

/// The means are those of repeat purchases; with the first purchase among them, p would be 7.86.
#[test]
fn spend_of_cdnow_fits_with_the_published_parameters() {
    let fit = &CDNOW.1;
    assert_eq!(fit.customers, 946);
    assert_close(fit.model.p(), 6.25, 0.005);
    assert_close(fit.model.q(), 3.74, 0.005);
    assert_close(fit.model.gamma(), 15.44, 0.005);
    assert!(!fit.on_bound && fit.iterations < 50, "{fit:?}");
}

#[test]
fn expectations_of_cdnow_are_the_published_ones() {
    let model = CDNOW.0.model;
    assert_close(model.expected_purchases_of_new(1.0).unwrap(), 0.0532, 0.00005);
    assert_close(model.expected_purchases_of_new(78.0).unwrap(), 1.858, 0.0005);
    assert_close(model.probability_alive(&customer()), 0.73, 0.005);
    assert_close(model.expected_purchases(&customer(), 39.0).unwrap(), 1.226, 0.0005);
}

#[test]
fn the_cohort_of_cdnow_buys_about_as_expected() {
    let customers = read_cdnow();
    // As in the papers, who bought on the first day has been a customer for a day at its end.
    let begin = FIRST_DAY.yesterday().unwrap();
    let starts = customers.iter().map(|days| (weeks(begin, *days.keys().next().unwrap()), 1));
    let expected = CDNOW.0.model.expected_cohort_purchases(starts, 1.0, 78).unwrap();
    assert_eq!(expected.len(), 78);
    assert!(expected.is_sorted(), "what was bought is not bought back: {expected:?}");

    let bought = |week: f64| {
        let until = |days: &Days| days.keys().skip(1).filter(|day| weeks(begin, **day) <= week).count();
        f64::from(u32::try_from(customers.iter().map(until).sum::<usize>()).unwrap())
    };
    assert_close(expected[38] / bought(39.0), 1.0, 0.02);
    assert_close(expected[77] / bought(78.0), 1.0, 0.05);
}

#[test]
fn no_parameters_beside_those_of_a_fit_are_likelier() {
    let customers = read_cdnow();
    for (i, factor) in (0..4).flat_map(|i| [(i, 0.999), (i, 1.001)]) {
        let model = CDNOW.0.model;
        let mut near = [model.r(), model.alpha(), model.a(), model.b()];
        near[i] *= factor;
        let [r, alpha, a, b] = near;
        let likelihood = BgNbd::new(r, alpha, a, b).unwrap().log_likelihood(summaries(&customers)).unwrap();
        assert!(likelihood < CDNOW.0.log_likelihood, "{near:?} is likelier: {likelihood}");
    }
    for (i, factor) in (0..3).flat_map(|i| [(i, 0.999), (i, 1.001)]) {
        let model = CDNOW.1.model;
        let mut near = [model.p(), model.q(), model.gamma()];
        near[i] *= factor;
        let [p, q, gamma] = near;
        let likelihood = GammaGamma::new(p, q, gamma).unwrap().log_likelihood(spends(&customers)).unwrap();
        assert!(likelihood < CDNOW.1.log_likelihood, "{near:?} is likelier: {likelihood}");
    }
}

#[test]
fn lifetime_value_is_what_is_expected_where_nothing_is_discounted() {
    let (purchases, spend) = (CDNOW.0.model, CDNOW.1.model);
    let history = SpendSummary::new(2, 22.35).unwrap();
    let year = Horizon::new(52, 1.0, 0.0).unwrap();
    let expected = purchases.expected_purchases(&customer(), 52.0).unwrap();
    assert_close(discounted_purchases(&purchases, &customer(), &year), expected, 1e-12);
    let value = lifetime_value(&purchases, &spend, &customer(), Some(&history), &year).unwrap();
    assert_close(value, expected * spend.expected_spend(Some(&history)).unwrap(), 1e-9);

    // Two periods by hand
    let two = Horizon::new(2, 26.0, 0.1).unwrap();
    let half = purchases.expected_purchases(&customer(), 26.0).unwrap();
    assert_close(discounted_purchases(&purchases, &customer(), &two), half / 1.1 + (expected - half) / 1.21, 1e-12);
}

#[test]
fn expected_spend_lies_between_the_mean_of_the_customer_and_that_of_all() {
    let spend = CDNOW.1.model;
    let all = spend.expected_spend(None).unwrap();
    assert_close(all, spend.p() * spend.gamma() / (spend.q() - 1.0), 1e-9);
    let mut before = all;
    for purchases in [1, 2, 10, 100_000] {
        let found = spend.expected_spend(Some(&SpendSummary::new(purchases, 100.0).unwrap())).unwrap();
        assert!(found > before && found < 100.0, "{purchases} purchases lead to {found}");
        before = found;
    }
    assert_close(before, 100.0, 0.01);
}
