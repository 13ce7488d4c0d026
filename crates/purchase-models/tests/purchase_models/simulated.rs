//! Customers who buy as the models say, by chance of one seed, are seen through.

use purchase_models::{BgNbd, GammaGamma, PurchaseSummary, SpendSummary};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rand_distr::{Beta, Distribution, Exp, Gamma};

use super::assert_close;

const CUSTOMERS: u32 = 40_000;

/// One customer who is watched for so long; how often the customer buys in as much time again comes with it.
fn customer(model: &BgNbd, observed: f64, chance: &mut StdRng) -> (PurchaseSummary, u32) {
    let rate = Gamma::new(model.r(), 1.0 / model.alpha()).unwrap().sample(chance);
    let gone = Beta::new(model.a(), model.b()).unwrap().sample(chance);
    let wait = Exp::new(rate).unwrap();
    let (mut now, mut last, mut repeats, mut later) = (0.0, 0.0, 0, 0);
    loop {
        now += wait.sample(chance);
        if now > 2.0 * observed {
            break;
        }
        if now <= observed {
            (last, repeats) = (now, repeats + 1);
        } else {
            later += 1;
        }
        if chance.random_bool(gone) {
            break;
        }
    }
    (PurchaseSummary::new(repeats, last, observed).unwrap(), later)
}

#[test]
fn random_customers_of_a_model_lead_back_to_its_parameters() {
    for (r, alpha, a, b) in [(0.25, 4.0, 0.8, 2.5), (1.5, 10.0, 1.2, 3.0)] {
        let model = BgNbd::new(r, alpha, a, b).unwrap();
        let mut chance = StdRng::seed_from_u64(7);
        let crowd: Vec<_> = (0..CUSTOMERS).map(|i| customer(&model, 20.0 + f64::from(i % 30), &mut chance)).collect();
        let found = BgNbd::fit(crowd.iter().map(|(customer, _)| (*customer, 1))).unwrap();
        assert_close(found.model.r() / r, 1.0, 0.05);
        assert_close(found.model.alpha() / alpha, 1.0, 0.08);
        assert_close(found.model.a() / a, 1.0, 0.12);
        assert_close(found.model.b() / b, 1.0, 0.15);

        let later: f64 = crowd.iter().map(|(_, later)| f64::from(*later)).sum();
        let ahead = |customer: &PurchaseSummary| found.model.expected_purchases(customer, customer.observed()).unwrap();
        let expected: f64 = crowd.iter().map(|(customer, _)| ahead(customer)).sum();
        assert_close(expected / later, 1.0, 0.03);
    }
}

#[test]
fn random_spend_of_a_model_leads_back_to_its_parameters() {
    let (p, q, gamma) = (6.0, 4.0, 15.0);
    let mut chance = StdRng::seed_from_u64(7);
    let crowd: Vec<_> = (0..CUSTOMERS)
        .map(|i| {
            let purchases = 1 + i % 5;
            let rate = Gamma::new(q, 1.0 / gamma).unwrap().sample(&mut chance);
            let paid: f64 = Gamma::new(p * f64::from(purchases), 1.0 / rate).unwrap().sample(&mut chance);
            (SpendSummary::new(purchases, paid / f64::from(purchases)).unwrap(), 1)
        })
        .collect();
    let found = GammaGamma::fit(crowd).unwrap();
    assert_close(found.model.p() / p, 1.0, 0.05);
    assert_close(found.model.q() / q, 1.0, 0.05);
    assert_close(found.model.gamma() / gamma, 1.0, 0.08);
    assert_close(found.model.expected_spend(None).unwrap(), p * gamma / (q - 1.0), 0.3);
}
