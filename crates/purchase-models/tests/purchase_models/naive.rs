//! The formulas as the papers print them, which hold for moderate numbers only.

use libm::{lgamma, tgamma};
use proptest::prelude::*;
use purchase_models::{BgNbd, GammaGamma, PurchaseSummary, SpendSummary};

use super::assert_close;

fn beta(a: f64, b: f64) -> f64 {
    tgamma(a) * tgamma(b) / tgamma(a + b)
}

/// The Gauss hypergeometric function by its series, for 0 ≤ z < 1.
fn hypergeometric(a: f64, b: f64, c: f64, z: f64) -> f64 {
    let (mut term, mut sum, mut k) = (1.0, 1.0, 0.0);
    while f64::abs(term) > 1e-18 * f64::abs(sum) && k < 1e6 {
        term *= (a + k) * (b + k) / ((c + k) * (k + 1.0)) * z;
        sum += term;
        k += 1.0;
    }
    sum
}

/// Equation 3 of Fader, Hardie and Lee.
fn likelihood(model: &BgNbd, customer: &PurchaseSummary) -> f64 {
    let (r, alpha, a, b) = (model.r(), model.alpha(), model.a(), model.b());
    let x = f64::from(customer.repeat_purchases());
    let rates = tgamma(r + x) * alpha.powf(r) / tgamma(r);
    let alive = beta(a, b + x) / beta(a, b) * rates / (alpha + customer.observed()).powf(r + x);
    let gone = beta(a + 1.0, b + x - 1.0) / beta(a, b) * rates / (alpha + customer.last_purchase()).powf(r + x);
    if x > 0.0 { alive + gone } else { alive }
}

/// Equation 10 of Fader, Hardie and Lee, for a other than 1.
fn expected_purchases(model: &BgNbd, customer: &PurchaseSummary, t: f64) -> f64 {
    let (r, alpha, a, b) = (model.r(), model.alpha(), model.a(), model.b());
    let (x, until) = (f64::from(customer.repeat_purchases()), alpha + customer.observed());
    let series = hypergeometric(r + x, b + x, a + b + x - 1.0, t / (until + t));
    let while_alive = (a + b + x - 1.0) / (a - 1.0) * (1.0 - (until / (until + t)).powf(r + x) * series);
    let silence = (until / (alpha + customer.last_purchase())).powf(r + x);
    let gone = if x > 0.0 { a / (b + x - 1.0) * silence } else { 0.0 };
    while_alive / (1.0 + gone)
}

/// Equation 1a of Fader and Hardie (2013), as a logarithm.
fn spend_likelihood(model: &GammaGamma, customer: &SpendSummary) -> f64 {
    let (p, q, gamma) = (model.p(), model.q(), model.gamma());
    let (x, mean) = (f64::from(customer.purchases()), customer.mean());
    lgamma(p * x + q) - lgamma(p * x) - lgamma(q) + q * gamma.ln() + (p * x - 1.0) * mean.ln() + p * x * x.ln()
        - (p * x + q) * (gamma + x * mean).ln()
}

fn models() -> impl Strategy<Value = BgNbd> {
    (0.1..4.0, 0.5..20.0, 0.1..4.0, 0.1..6.0).prop_map(|(r, alpha, a, b)| BgNbd::new(r, alpha, a, b).unwrap())
}

fn customers() -> impl Strategy<Value = PurchaseSummary> {
    (0..12_u32, 0.01..1.0, 0.5..80.0).prop_map(|(repeats, part, observed)| {
        PurchaseSummary::new(repeats, if repeats == 0 { 0.0 } else { part * observed }, observed).unwrap()
    })
}

proptest! {
    #[test]
    fn random_likelihoods_are_those_of_the_printed_formula(model in models(), customer in customers()) {
        let found = model.log_likelihood([(customer, 3)]).unwrap();
        assert_close(found, 3.0 * likelihood(&model, &customer).ln(), 1e-9 * (1.0 + found.abs()));
    }

    #[test]
    fn random_expectations_are_those_of_the_printed_formula(
        model in models(), customer in customers(), t in 0.01..150.0,
    ) {
        prop_assume!((model.a() - 1.0).abs() > 0.05);
        let found = model.expected_purchases(&customer, t).unwrap();
        assert_close(found, expected_purchases(&model, &customer, t), 1e-9 * (1.0 + found));
        let new = PurchaseSummary::new(0, 0.0, 0.0).unwrap();
        let found = model.expected_purchases_of_new(t).unwrap();
        assert_close(found, expected_purchases(&model, &new, t), 1e-9 * (1.0 + found));
    }

    #[test]
    fn random_probabilities_are_the_part_of_the_likelihood_that_is_alive(model in models(), customer in customers()) {
        // Whoever is alive would have the same history with nothing to be gone by.
        let (r, alpha, a, b) = (model.r(), model.alpha(), model.a(), model.b());
        let x = f64::from(customer.repeat_purchases());
        let alive = beta(a, b + x) / beta(a, b) * tgamma(r + x) * alpha.powf(r) / tgamma(r)
            / (alpha + customer.observed()).powf(r + x);
        assert_close(model.probability_alive(&customer), alive / likelihood(&model, &customer), 1e-9);
    }

    #[test]
    fn random_spends_are_as_likely_as_the_printed_formula_says(
        p in 0.2..20.0, q in 0.2..20.0, gamma in 0.5..100.0, purchases in 1..30_u32, mean in 0.1..500.0,
    ) {
        let (model, customer) = (GammaGamma::new(p, q, gamma).unwrap(), SpendSummary::new(purchases, mean).unwrap());
        let found = model.log_likelihood([(customer, 2)]).unwrap();
        assert_close(found, 2.0 * spend_likelihood(&model, &customer), 1e-9 * (1.0 + found.abs()));
    }
}
