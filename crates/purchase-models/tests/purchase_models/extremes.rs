//! Customers and crowds of which nobody thought when the model was made.

use purchase_models::{BgNbd, GammaGamma, Horizon, PurchaseSummary, SpendSummary, discounted_purchases};

use super::*;

/// The busiest customer of a shop: every other day, until yesterday.
fn busiest() -> PurchaseSummary {
    PurchaseSummary::new(221, 103.428_57, 103.571_43).unwrap()
}

/// So many customers who never bought again, watched for so many weeks.
fn silent(observed: f64, count: u32) -> (PurchaseSummary, u32) {
    (PurchaseSummary::new(0, 0.0, observed).unwrap(), count)
}

#[test]
fn the_busiest_customer_is_alive_and_goes_on() {
    let model = CDNOW.0.model;
    assert_close(model.probability_alive(&busiest()), 0.997, 0.003);
    let expected = model.expected_purchases(&busiest(), 1.0).unwrap();
    // 221 purchases in 104 weeks
    assert_close(expected, 2.05, 0.1);
    for ahead in [1e-9, 52.0, 5_200.0, 1e6, 1e10] {
        assert!(model.expected_purchases(&busiest(), ahead).unwrap().is_finite());
    }
    let centuries = Horizon::new(1_200, 52.0, 0.1).unwrap();
    assert!(discounted_purchases(&model, &busiest(), &centuries).is_finite());
    assert!(model.log_likelihood([(busiest(), 1)]).unwrap().is_finite());
}

#[test]
fn a_busy_customer_who_falls_silent_is_gone() {
    let silent = PurchaseSummary::new(221, 50.0, 103.571_43).unwrap();
    let model = CDNOW.0.model;
    assert!(model.probability_alive(&silent) < 1e-20);
    assert!(model.expected_purchases(&silent, 1e10).unwrap() < 1e-10);
}

#[test]
fn a_fit_takes_the_busiest_customer_in() {
    let customers = read_cdnow();
    let fit = BgNbd::fit(summaries(&customers).into_iter().chain([(busiest(), 1)])).unwrap();
    assert!(fit.log_likelihood.is_finite() && !fit.on_bound, "{fit:?}");
    assert!(fit.model.expected_purchases(&busiest(), 39.0).unwrap() > 10.0);
}

#[test]
fn customers_who_are_all_alike_have_a_fit_on_the_bound() {
    let alike = PurchaseSummary::new(4, 18.0, 20.0).unwrap();
    let fit = BgNbd::fit([(alike, 1_000)]).unwrap();
    assert!(fit.on_bound, "{fit:?}");
    assert_close(fit.model.expected_purchases(&alike, 5.0).unwrap(), 1.0, 0.2);
}

#[test]
fn one_customer_who_bought_again_among_many_is_enough_for_a_fit() {
    let once = PurchaseSummary::new(1, 3.0, 10.0).unwrap();
    let fit = BgNbd::fit([silent(10.0, 5_000), (once, 1)]).unwrap();
    assert_close(fit.model.expected_purchases_of_new(10.0).unwrap() * 5_001.0, 1.0, 0.2);
}

#[test]
fn numbers_of_any_size_have_a_fit() {
    let crowd = |unit: f64, busy: u32| {
        let bought = |repeats: u32, last: f64| (PurchaseSummary::new(repeats, last * unit, unit).unwrap(), 40);
        [silent(unit, 100), bought(1, 0.3), bought(2, 0.9), bought(busy, 0.8), silent(0.0, 3)]
    };
    for (unit, busy) in [(1e-8, 3), (1e10, 3), (1.0, 100_000), (1e-8, 100_000)] {
        let fit = BgNbd::fit(crowd(unit, busy)).unwrap();
        assert!(fit.log_likelihood.is_finite(), "{fit:?}");
        assert!(fit.model.expected_purchases_of_new(unit).unwrap().is_finite());
    }
}

#[test]
fn amounts_of_any_size_have_a_fit() {
    let customers = read_cdnow();
    let here = CDNOW.1;
    for unit in [1e-9, 1e-6, 1e12] {
        let scaled = spends(&customers).into_iter().map(|(customer, count)| {
            (SpendSummary::new(customer.purchases(), (customer.mean() * unit).max(1e-9)).unwrap(), count)
        });
        let there = GammaGamma::fit(scaled).unwrap();
        if unit > 1e-9 {
            assert_close(there.model.gamma() / unit, here.model.gamma(), 1e-4);
            assert_close(there.model.q(), here.model.q(), 1e-4);
        }
    }
}

#[test]
fn customers_who_all_pay_the_same_have_a_fit_that_expects_it() {
    let fit = GammaGamma::fit((1..50).map(|purchases| (SpendSummary::new(purchases, 20.0).unwrap(), 1))).unwrap();
    assert!(fit.on_bound, "{fit:?}");
    assert_close(fit.model.expected_spend(None).unwrap(), 20.0, 0.01);
}
