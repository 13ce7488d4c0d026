//! What holds for all models and customers that the types allow.

use std::ops::Range;

use proptest::prelude::*;
use purchase_models::{
    BgNbd, GammaGamma, Horizon, MAX_PARAMETER, MAX_TIME, MIN_PARAMETER, PurchaseSummary, SpendSummary,
    discounted_purchases, lifetime_value,
};

use super::*;

/// Numbers of any size between two bounds, the bounds not seldom among them.
fn sizes(range: Range<f64>) -> impl Strategy<Value = f64> {
    let (least, most) = (range.start, range.end);
    prop_oneof![
        8 => (least.ln()..most.ln()).prop_map(move |ln| ln.exp().clamp(least, most)),
        1 => Just(least),
        1 => Just(most),
    ]
}

fn parameters() -> impl Strategy<Value = f64> {
    sizes(MIN_PARAMETER..MAX_PARAMETER)
}

fn models() -> impl Strategy<Value = BgNbd> {
    (parameters(), sizes(1e-14..1e15), parameters(), parameters())
        .prop_map(|(r, alpha, a, b)| BgNbd::new(r, alpha, a, b).unwrap())
}

fn customers() -> impl Strategy<Value = PurchaseSummary> {
    let purchases = prop_oneof![Just(0_u32), 1..20_u32, 1..=100_000_u32];
    (purchases, sizes(1e-9..1e10), sizes(1e-9..1e10)).prop_map(|(repeats, one, other)| {
        let last = if repeats == 0 { 0.0 } else { f64::min(one, other) };
        PurchaseSummary::new(repeats, last, f64::max(one, other)).unwrap()
    })
}

/// Customers among whom a fit makes sense, with some histories more than once.
fn crowds() -> impl Strategy<Value = Vec<(PurchaseSummary, u32)>> {
    let customer = (0..9_u32, 1..=40_u32, 1..=40_u32, 1..3_u32).prop_map(|(repeats, one, other, count)| {
        let last = if repeats == 0 { 0.0 } else { f64::from(one.min(other)) / 7.0 };
        (PurchaseSummary::new(repeats, last, f64::from(one.max(other)) / 7.0).unwrap(), count)
    });
    proptest::collection::vec(customer, 60..200)
}

proptest! {
    #[test]
    fn random_probabilities_lie_between_0_and_1(model in models(), customer in customers()) {
        let alive = model.probability_alive(&customer);
        prop_assert!((0.0..=1.0).contains(&alive), "{alive}");
    }

    #[test]
    fn random_expectations_are_finite_and_grow_with_time(model in models(), customer in customers(), t in sizes(1e-9..1e10)) {
        for expected in [
            &|ahead| model.expected_purchases(&customer, ahead).unwrap(),
            &|ahead| model.expected_purchases_of_new(ahead).unwrap(),
        ] as [&dyn Fn(f64) -> f64; 2] {
            prop_assert_eq!(expected(0.0), 0.0);
            let mut before = 0.0;
            for ahead in [t / 3.0, t / 2.0, t, (t * 1.01).min(MAX_TIME)] {
                let found = expected(ahead);
                prop_assert!(found.is_finite() && found >= before * (1.0 - 1e-11), "{before} then {found}");
                before = found;
            }
        }
    }

    #[test]
    fn random_likelihoods_are_finite(model in models(), customer in customers()) {
        prop_assert!(model.log_likelihood([(customer, 7)]).unwrap().is_finite());
    }

    #[test]
    fn random_values_are_finite_and_shrink_with_the_discount(
        model in models(),
        customer in customers(),
        (p, q, gamma) in (parameters(), parameters(), sizes(1e-13..1e19)),
        (paid_for, mean) in (1..=100_000_u32, sizes(1e-9..1e15)),
        periods in 1..40_u32,
        period in sizes(1e-9..1e8),
        rate in 0.0..10.0,
    ) {
        let free = Horizon::new(periods, period, 0.0).unwrap();
        let discounted = Horizon::new(periods, period, rate).unwrap();
        let [all, some] = [free, discounted].map(|horizon| discounted_purchases(&model, &customer, &horizon));
        prop_assert!(all.is_finite() && (0.0..=all).contains(&some), "{some} of {all}");

        let spend = GammaGamma::new(p, q, gamma).unwrap();
        let history = SpendSummary::new(paid_for, mean).unwrap();
        if let Ok(value) = lifetime_value(&model, &spend, &customer, Some(&history), &discounted) {
            prop_assert!(value.is_finite() && value >= 0.0, "{value}");
        }
        prop_assert_eq!(spend.expected_spend(None).is_ok(), q > 1.0);
        prop_assert!(spend.log_likelihood([(history, 1)]).unwrap().is_finite());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn random_orders_and_ways_to_count_lead_to_the_same_fit(crowd in crowds(), seed in any::<u64>()) {
        let mut shuffled: Vec<_> = crowd.iter().flat_map(|(customer, count)| vec![(*customer, 1); *count as usize]).collect();
        shuffled.sort_by_key(|(customer, _)| customer.observed().to_bits().wrapping_mul(seed | 1));
        prop_assert_eq!(BgNbd::fit(crowd.clone()), BgNbd::fit(shuffled));
        let backwards: Vec<_> = crowd.iter().rev().copied().collect();
        prop_assert_eq!(BgNbd::fit(crowd.clone()), BgNbd::fit(backwards));

        let spends = |crowd: &[(PurchaseSummary, u32)]| {
            let spend = |(customer, count): &(PurchaseSummary, u32)| {
                (SpendSummary::new(1 + customer.repeat_purchases(), 1.0 + customer.observed()).unwrap(), *count)
            };
            crowd.iter().map(spend).collect::<Vec<_>>()
        };
        let backwards: Vec<_> = spends(&crowd).into_iter().rev().collect();
        prop_assert_eq!(GammaGamma::fit(spends(&crowd)), GammaGamma::fit(backwards));
    }

    #[test]
    fn random_crowds_have_a_fit_and_no_likelier_model(crowd in crowds()) {
        let fit = BgNbd::fit(crowd.clone()).unwrap();
        prop_assert_eq!(fit.customers, crowd.iter().map(|(_, count)| u64::from(*count)).sum::<u64>());
        let again = fit.model.log_likelihood(crowd.clone()).unwrap();
        assert_close(again, fit.log_likelihood, 1e-9 * again.abs());
        for (r, alpha, a, b) in [(0.9, 1.0, 1.0, 1.0), (1.0, 0.9, 1.0, 1.0), (1.0, 1.0, 0.9, 1.0), (1.0, 1.0, 1.0, 0.9)] {
            let near = |part: f64, value: f64| (part * value).clamp(MIN_PARAMETER, MAX_PARAMETER);
            let model = fit.model;
            let other = BgNbd::new(near(r, model.r()), alpha * model.alpha(), near(a, model.a()), near(b, model.b()));
            let likelihood = other.unwrap().log_likelihood(crowd.clone()).unwrap();
            prop_assert!(likelihood <= fit.log_likelihood + 1e-6, "{likelihood} beside {fit:?}");
        }
    }

    #[test]
    fn random_units_of_time_lead_to_the_same_predictions(crowd in crowds(), unit in 0.01..1000.0) {
        let other = |customer: &PurchaseSummary| {
            let [last, observed] = [customer.last_purchase(), customer.observed()].map(|time| time * unit);
            PurchaseSummary::new(customer.repeat_purchases(), last, observed).unwrap()
        };
        let here = BgNbd::fit(crowd.clone()).unwrap().model;
        let there = BgNbd::fit(crowd.iter().map(|(customer, count)| (other(customer), *count))).unwrap().model;
        let (customer, _) = crowd[0];
        let found = there.expected_purchases(&other(&customer), 3.0 * unit).unwrap();
        assert_close(found, here.expected_purchases(&customer, 3.0).unwrap(), 1e-4);
        assert_close(there.probability_alive(&other(&customer)), here.probability_alive(&customer), 1e-4);
    }
}
