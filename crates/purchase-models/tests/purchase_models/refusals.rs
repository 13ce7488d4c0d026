//! What is no customer, no model, no horizon or no crowd is refused, and says why.

use purchase_models::{
    BgNbd, CohortError, FitError, GammaGamma, Horizon, HorizonError, MAX_GROUPS, MAX_PURCHASES, MAX_STARTS, NoMean,
    PurchaseSummary, SpendSummary, SummaryError,
};

#[test]
fn what_is_no_history_of_purchases_is_refused() {
    let new = PurchaseSummary::new;
    assert_eq!(new(MAX_PURCHASES + 1, 1.0, 2.0), Err(SummaryError::TooManyPurchases { purchases: MAX_PURCHASES + 1 }));
    assert_eq!(new(1, 3.0, 2.0), Err(SummaryError::LastAfterEnd { last_purchase: 3.0, observed: 2.0 }));
    assert_eq!(new(1, 0.0, 2.0), Err(SummaryError::ZeroWithoutZero { repeat_purchases: 1, last_purchase: 0.0 }));
    assert_eq!(new(0, 1.0, 2.0), Err(SummaryError::ZeroWithoutZero { repeat_purchases: 0, last_purchase: 1.0 }));
    for time in [-1.0, f64::INFINITY, 2e10, 1e-10] {
        assert_eq!(new(0, 0.0, time), Err(SummaryError::Time { time }));
    }
    assert!(matches!(new(1, f64::NAN, 2.0), Err(SummaryError::Time { .. })));
    assert!(new(0, 0.0, 0.0).is_ok() && new(0, -0.0, -0.0).is_ok() && new(1, 2.0, 2.0).is_ok());
}

#[test]
fn what_is_no_history_of_amounts_is_refused() {
    assert_eq!(SpendSummary::new(0, 1.0), Err(SummaryError::NoPurchase));
    for mean in [0.0, -1.0, f64::INFINITY, 1e16] {
        assert_eq!(SpendSummary::new(1, mean), Err(SummaryError::Amount { mean }));
    }
    assert!(matches!(SpendSummary::new(1, f64::NAN), Err(SummaryError::Amount { .. })));
    assert!(matches!(SpendSummary::new(MAX_PURCHASES + 1, 1.0), Err(SummaryError::TooManyPurchases { .. })));
}

#[test]
fn parameters_beyond_their_bounds_are_refused() {
    let error = BgNbd::new(1.0, 1.0, 0.0, 1.0).unwrap_err();
    assert_eq!(error.to_string(), "parameter a is 0, but must be between 1e-5 and 1e5");
    assert_eq!(BgNbd::new(1.0, f64::INFINITY, 1.0, 1.0).unwrap_err().name, "alpha");
    assert_eq!(GammaGamma::new(1.0, 1.0, f64::NAN).unwrap_err().name, "gamma");
}

#[test]
fn times_beyond_their_bounds_are_refused() {
    let model = BgNbd::new(1.0, 1.0, 1.0, 1.0).unwrap();
    let customer = PurchaseSummary::new(0, 0.0, 1.0).unwrap();
    for time in [-1.0, f64::NAN, 2e10] {
        assert!(model.expected_purchases(&customer, time).is_err());
        assert!(model.expected_purchases_of_new(time).is_err());
        assert!(matches!(model.expected_cohort_purchases([(time, 1)], 1.0, 1), Err(CohortError::Time(_))));
        assert!(matches!(Horizon::new(1, time, 0.0), Err(HorizonError::Time(_))));
    }
    assert_eq!(Horizon::new(0, 1.0, 0.0), Err(HorizonError::Periods { periods: 0 }));
    assert_eq!(Horizon::new(1_201, 1.0, 0.0), Err(HorizonError::Periods { periods: 1_201 }));
    assert_eq!(Horizon::new(1, 1.0, -0.1), Err(HorizonError::DiscountRate { discount_rate: -0.1 }));
    assert!(matches!(Horizon::new(1_200, 1e9, 0.0), Err(HorizonError::Time(_))));
    assert!(Horizon::new(1, 1.0, f64::NAN).is_err());
}

#[test]
fn a_cohort_without_bounds_is_refused() {
    let model = BgNbd::new(1.0, 1.0, 1.0, 1.0).unwrap();
    assert_eq!(
        model.expected_cohort_purchases([(0.0, 1)], 1.0, 1_201),
        Err(CohortError::TooManyPeriods { periods: 1_201 })
    );
    let starts = |count: usize| (0..u32::try_from(count).unwrap()).map(|i| (f64::from(i), 1));
    assert_eq!(model.expected_cohort_purchases(starts(MAX_STARTS + 1), 1.0, 1), Err(CohortError::TooManyStarts));
    assert!(model.expected_cohort_purchases(starts(MAX_STARTS).chain(starts(MAX_STARTS)), 1.0, 1).is_ok());
    assert_eq!(model.expected_cohort_purchases([], 1.0, 2), Ok(vec![0.0, 0.0]));
}

#[test]
fn a_crowd_that_is_too_small_or_never_bought_again_has_no_fit() {
    let silent = PurchaseSummary::new(0, 0.0, 1.0).unwrap();
    let once = PurchaseSummary::new(1, 0.5, 1.0).unwrap();
    assert_eq!(BgNbd::fit([]), Err(FitError::TooFewCustomers { found: 0, least: 50 }));
    assert_eq!(BgNbd::fit([(once, 49), (silent, 0)]), Err(FitError::TooFewCustomers { found: 49, least: 50 }));
    assert_eq!(BgNbd::fit([(silent, 50)]), Err(FitError::NoRepeatPurchase));
    let spend = SpendSummary::new(1, 20.0).unwrap();
    assert_eq!(GammaGamma::fit([(spend, 29)]), Err(FitError::TooFewCustomers { found: 29, least: 30 }));
}

#[test]
fn a_crowd_of_too_many_histories_has_no_fit_and_takes_no_more_memory() {
    let bounded = u32::try_from(MAX_GROUPS).unwrap();
    let customers = (1..).map(|i: u32| {
        assert!(i <= 2 * bounded, "more were taken than can be counted");
        (PurchaseSummary::new(0, 0.0, f64::from(i)).unwrap(), 1)
    });
    assert_eq!(BgNbd::fit(customers), Err(FitError::TooManyGroups));
}

#[test]
fn a_spend_without_a_mean_is_told() {
    let model = GammaGamma::new(0.25, 0.5, 10.0).unwrap();
    assert_eq!(model.expected_spend(None), Err(NoMean { q: 0.5 }));
    let history = |purchases| SpendSummary::new(purchases, 10.0).unwrap();
    assert_eq!(model.expected_spend(Some(&history(2))), Err(NoMean { q: 0.5 }));
    // Enough purchases of one's own make up for it.
    assert!(model.expected_spend(Some(&history(20))).unwrap() > 0.0);
    let one = GammaGamma::new(1.0, 1.0, 10.0).unwrap();
    assert_eq!(
        one.expected_spend(None).unwrap_err().to_string(),
        "the spend of customers has no mean under a model with q = 1"
    );
}
