//! How likely mean amounts are under given parameters, and how that changes with them.

use std::cmp::Ordering;

use crate::fit::{Countable, Group, Groups};
use crate::special::{digamma, ln_beta};
use crate::summary::SpendSummary;

/// By purchases first: what depends on these alone is worked out once for each.
impl Countable for SpendSummary {
    fn order(&self, other: &Self) -> Ordering {
        self.purchases().cmp(&other.purchases()).then_with(|| self.mean().total_cmp(&other.mean()))
    }
}

/// Customers, with the mean of their means as the unit of amounts, so that the search does not depend on the currency.
pub(super) struct Scaled<'a> {
    groups: &'a [Group<SpendSummary>],
    unit: f64,
    customers: f64,
    /// The logarithms of all means. They add to the likelihood and have nothing to do with the parameters.
    ln_means: f64,
}

impl<'a> Scaled<'a> {
    pub(super) fn new(groups: &'a Groups<SpendSummary>) -> Self {
        let customers = groups.weight();
        Self {
            groups: &groups.groups,
            unit: groups.groups.iter().map(|group| group.customers / customers * group.member.mean()).sum(),
            customers,
            ln_means: groups.groups.iter().map(|group| group.customers * group.member.mean().ln()).sum(),
        }
    }

    /// The unit of amounts, in the caller's currency.
    pub(super) fn unit(&self) -> f64 {
        self.unit
    }

    /// The logarithm of the likelihood of all customers in the caller's currency, out of the objective.
    pub(super) fn log_likelihood(&self, objective: f64) -> f64 {
        -objective * self.customers - self.ln_means
    }

    /// The negative logarithm of the likelihood of one customer on average, without what does not depend on parameters,
    /// and its derivatives by p, q and gamma.
    pub(super) fn objective(&self, [p, q, gamma]: [f64; 3]) -> (f64, [f64; 3]) {
        let (mut value, mut by_p, mut by_q, mut by_gamma) = (0.0, 0.0, 0.0, 0.0);
        let digamma_q = digamma(q);
        for bought in self.groups.chunk_by(|left, right| left.member.purchases() == right.member.purchases()) {
            let Some(purchases) = bought.first().map(|group| f64::from(group.member.purchases())) else { continue };
            let px = p * purchases;
            let (constant, digamma_px, digamma_sum) = (ln_beta(px, q), digamma(px), digamma(px + q));
            for group in bought {
                // With S as all that the customer paid, px · ln(S / (gamma + S)) and q · ln(gamma / (gamma + S)).
                let paid = purchases * group.member.mean() / self.unit;
                let (own, all) = ((gamma / paid).ln_1p(), (paid / gamma).ln_1p());
                value -= group.customers * (constant + px * own + q * all);
                by_p += group.customers * purchases * (digamma_sum - digamma_px - own);
                by_q += group.customers * (digamma_sum - digamma_q - all);
                by_gamma += group.customers * (q * paid / gamma - px) / (paid + gamma);
            }
        }
        let one = -1.0 / self.customers;
        (value * one, [by_p * one, by_q * one, by_gamma * one])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Scaled;
    use crate::fit::Groups;
    use crate::summary::SpendSummary;

    proptest! {
        #[test]
        fn random_slopes_are_those_of_the_likelihood(
            parameters in [0.1..9.0, 0.1..9.0, 0.1..9.0], purchases in 1..9_u32, mean in 0.1..200.0,
        ) {
            let customers = [(purchases, mean, 2), (1, 9.0, 3)].map(|(number, paid, count)| {
                (SpendSummary::new(number, paid).unwrap(), count)
            });
            let groups = Groups::count(customers).unwrap();
            let scaled = Scaled::new(&groups);
            let (_, slopes) = scaled.objective(parameters);
            for (i, slope) in slopes.into_iter().enumerate() {
                let at = |step: f64| {
                    let mut moved = parameters;
                    moved[i] += step;
                    scaled.objective(moved).0
                };
                let measured = (at(1e-5) - at(-1e-5)) / 2e-5;
                prop_assert!((measured - slope).abs() < 1e-6 * (1.0 + slope.abs()), "{i}: {measured} is not {slope}");
            }
        }
    }
}
