//! How likely histories of purchases are under given parameters, and how that changes with them.

use std::cmp::Ordering;

use crate::fit::{Countable, Group, Groups};
use crate::special::softplus;
use crate::summary::PurchaseSummary;

/// By purchases first and the time watched next: what depends on these alone is worked out once for each.
impl Countable for PurchaseSummary {
    fn order(&self, other: &Self) -> Ordering {
        self.repeat_purchases()
            .cmp(&other.repeat_purchases())
            .then_with(|| self.observed().total_cmp(&other.observed()))
            .then_with(|| self.last_purchase().total_cmp(&other.last_purchase()))
    }
}

/// Customers, with the longest time watched as the unit of time, so that the search does not depend on the caller's unit.
pub(super) struct Scaled<'a> {
    groups: &'a [Group<PurchaseSummary>],
    unit: f64,
    customers: f64,
    /// All repeat purchases. Each of them has a density, which is one by time.
    purchases: f64,
}

/// What adds up over customers: the logarithm of the likelihood, and its derivatives by r, alpha, a and b.
#[derive(Clone, Copy, Default)]
struct Sum {
    value: f64,
    r: f64,
    alpha: f64,
    a: f64,
    b: f64,
}

impl<'a> Scaled<'a> {
    pub(super) fn new(groups: &'a Groups<PurchaseSummary>) -> Self {
        let longest = groups.groups.iter().map(|group| group.member.observed()).fold(0.0, f64::max);
        Self {
            groups: &groups.groups,
            unit: if longest > 0.0 { longest } else { 1.0 },
            customers: groups.weight(),
            purchases: groups.groups.iter().map(|g| g.customers * f64::from(g.member.repeat_purchases())).sum(),
        }
    }

    /// The unit of time, in the caller's unit.
    pub(super) fn unit(&self) -> f64 {
        self.unit
    }

    /// The logarithm of the likelihood of all customers in the caller's unit, out of the objective.
    pub(super) fn log_likelihood(&self, objective: f64) -> f64 {
        -objective * self.customers - self.purchases * self.unit.ln()
    }

    /// The negative logarithm of the likelihood of one customer on average, and its derivatives.
    pub(super) fn objective(&self, [r, alpha, a, b]: [f64; 4]) -> (f64, [f64; 4]) {
        let mut total = Sum::default();
        let mut counts = Counts::new(r, a, b);
        for bought in self.groups.chunk_by(|left, right| same(left, right, PurchaseSummary::repeat_purchases)) {
            let Some(purchases) = bought.first().map(|group| group.member.repeat_purchases()) else { continue };
            counts.advance_to(purchases);
            total.add(bought.iter().map(|group| group.customers).sum(), &counts.sum);
            for watched in bought.chunk_by(|left, right| same(left, right, PurchaseSummary::observed)) {
                self.add_watched(watched, f64::from(purchases), [r, alpha, a, b], &mut total);
            }
        }
        let one = -1.0 / self.customers;
        (total.value * one, [total.r * one, total.alpha * one, total.a * one, total.b * one])
    }

    /// Adds customers who bought equally often and were watched equally long.
    fn add_watched(&self, watched: &[Group<PurchaseSummary>], x: f64, [r, alpha, a, b]: [f64; 4], total: &mut Sum) {
        let Some(observed) = watched.first().map(|group| group.member.observed() / self.unit) else { return };
        let until_end = alpha + observed;
        // Whoever is alive made no purchase from the last until the end.
        let growth = (observed / alpha).ln_1p();
        let alive = Sum {
            value: -r * growth - x * until_end.ln(),
            r: -growth,
            // r / alpha − (r + x) / (alpha + T)
            alpha: (r * observed / alpha - x) / until_end,
            ..Sum::default()
        };
        total.add(watched.iter().map(|group| group.customers).sum(), &alive);
        if x == 0.0 {
            return;
        }
        let ln_odds = a.ln() - (b + x - 1.0).ln();
        for group in watched {
            let last = group.member.last_purchase() / self.unit;
            let (silence, until_last) = (observed - last, alpha + last);
            let growth = (silence / until_last).ln_1p();
            // How much likelier the silence is if the customer is gone.
            let (value, gone) = softplus(ln_odds + (r + x) * growth);
            let gone_or_alive = Sum {
                value,
                r: gone * growth,
                alpha: -gone * (r + x) * silence / (until_end * until_last),
                a: gone / a,
                b: -gone / (b + x - 1.0),
            };
            total.add(group.customers, &gone_or_alive);
        }
    }
}

fn same<T: PartialEq>(
    left: &Group<PurchaseSummary>,
    right: &Group<PurchaseSummary>,
    of: impl Fn(&PurchaseSummary) -> T,
) -> bool {
    of(&left.member) == of(&right.member)
}

impl Sum {
    fn add(&mut self, customers: f64, part: &Self) {
        self.value += customers * part.value;
        self.r += customers * part.r;
        self.alpha += customers * part.alpha;
        self.a += customers * part.a;
        self.b += customers * part.b;
    }
}

/// What depends on the number of purchases alone: the logarithm of Γ(r + x) / Γ(r) · B(a, b + x) / B(a, b). As x is whole,
/// that is a product of x factors, which needs no gamma function and loses no digits for great parameters.
struct Counts {
    r: f64,
    a: f64,
    b: f64,
    purchases: u32,
    sum: Sum,
}

impl Counts {
    fn new(r: f64, a: f64, b: f64) -> Self {
        Self { r, a, b, purchases: 0, sum: Sum::default() }
    }

    /// Goes on to a number of purchases that is not smaller than the last.
    fn advance_to(&mut self, purchases: u32) {
        while self.purchases < purchases {
            let i = f64::from(self.purchases);
            let (rate, stay, any) = (self.r + i, self.b + i, self.a + self.b + i);
            // ln(stay / any), exact also where staying is almost certain
            self.sum.value += rate.ln() - (self.a / stay).ln_1p();
            self.sum.r += 1.0 / rate;
            self.sum.a -= 1.0 / any;
            self.sum.b += self.a / (stay * any);
            self.purchases += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Scaled;
    use crate::fit::Groups;
    use crate::summary::PurchaseSummary;

    proptest! {
        #[test]
        fn random_slopes_are_those_of_the_likelihood(
            parameters in [0.1..5.0, 0.1..5.0, 0.1..5.0, 0.1..5.0],
            repeats in 0..9_u32,
            last in 0.1..20.0,
            silence in 0.0..20.0,
        ) {
            let bought = PurchaseSummary::new(1 + repeats, last, last + silence).unwrap();
            let silent = PurchaseSummary::new(0, 0.0, 9.0).unwrap();
            let groups = Groups::count([(bought, 2), (silent, 3)]).unwrap();
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
