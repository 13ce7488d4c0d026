//! Functions that no library has in the form in which the models stay exact.

use std::f64::consts::TAU;

use libm::lgamma;

/// From where on the series of Stirling is as exact as `f64`.
const LARGE: f64 = 16.0;

/// The most terms that [`mean_over_negative_binomial`] is asked to add up; the quadrature takes no longer from there on.
const MOST_TERMS: f64 = 4_000.0;

/// What is negligible beside 1, with some room.
const NEGLIGIBLE: f64 = 1e-17;

/// Where the logistic function differs from 0 or 1 by less than what is negligible.
const SATURATED: f64 = 40.0;

/// The derivative of the logarithm of the gamma function, for positive z.
pub(crate) fn digamma(z: f64) -> f64 {
    // ψ(z) = ψ(z + 1) − 1/z leads to where the derivative of Stirling's series is exact.
    let (mut large, mut sum) = (z, 0.0);
    while large < LARGE {
        sum -= 1.0 / large;
        large += 1.0;
    }
    let square = 1.0 / (large * large);
    let coefficients = [-1.0 / 132.0, 1.0 / 240.0, -1.0 / 252.0, 1.0 / 120.0, -1.0 / 12.0];
    sum + large.ln() - 0.5 / large + coefficients.iter().fold(0.0, |part, coefficient| (part + coefficient) * square)
}

/// The logarithm of the beta function, also of great numbers, of whose gamma functions it is a small difference.
pub(crate) fn ln_beta(left: f64, right: f64) -> f64 {
    let (small, large) = if left < right { (left, right) } else { (right, left) };
    let sum = small + large;
    if large < LARGE {
        return lgamma(small) + lgamma(large) - lgamma(sum);
    }
    // ln Γ(large) − ln Γ(large + small), the great parts of which cancel on paper.
    let ratio = small - (large - 0.5) * (small / large).ln_1p() - small * sum.ln() + stirling(large) - stirling(sum);
    if small < LARGE {
        return lgamma(small) + ratio;
    }
    // ln Γ(small) joins in: what is left of the great parts is ln(small / sum).
    (small - 0.5) * (small / sum).ln() - (large - 0.5) * (small / large).ln_1p() - 0.5 * sum.ln()
        + 0.5 * TAU.ln()
        + stirling(small)
        + stirling(large)
        - stirling(sum)
}

/// What Stirling's formula for ln Γ(z) leaves out, from [`LARGE`] on.
fn stirling(z: f64) -> f64 {
    let square = 1.0 / (z * z);
    let coefficients = [1.0 / 1188.0, -1.0 / 1680.0, 1.0 / 1260.0, -1.0 / 360.0, 1.0 / 12.0];
    coefficients.iter().fold(0.0, |sum, coefficient| sum * square + coefficient) / z
}

/// ln(1 + e^v) and its derivative e^v / (1 + e^v), for any v.
pub(crate) fn softplus(v: f64) -> (f64, f64) {
    let small = (-v.abs()).exp();
    let derivative = if v < 0.0 { small / (1.0 + small) } else { 1.0 / (1.0 + small) };
    (v.max(0.0) + small.ln_1p(), derivative)
}

/// How many purchases a customer who is alive will make in a time of `w`, on average over the customers it may be:
///
/// the mean of (1 − (1 + pw)^−R) / p over p from a beta distribution with parameters `a` and `b`.
///
/// There, p is the chance to be gone after a purchase. The rate of purchases is gamma distributed with shape `shape` (R)
/// and rate 1, which is what time is measured by. With c = a + b − 1 and z = w / (1 + w), the papers write
///
/// c / (a − 1) · (1 − (1 − z)^R · ₂F₁(R, b; c; z)),
///
/// in which great numbers cancel, and which is 0/0 at a = 1. As (1 − z)^R · (R)ₖ/k! · zᵏ are the probabilities of a
/// negative binomial distribution, that is also the mean over that distribution of
///
/// hₖ = c / (a − 1) · (1 − (b)ₖ / (c)ₖ) = the sum of (b)ⱼ / (a + b)ⱼ over j < k,
///
/// where everything is positive and nothing cancels. Its terms are added up while they are few, otherwise the mean over p
/// is taken by quadrature. Both are exact to some 12 digits.
pub(crate) fn purchases_while_alive(a: f64, b: f64, shape: f64, w: f64) -> f64 {
    if w <= 0.0 {
        return 0.0;
    }
    let few = terms(shape, w) <= MOST_TERMS;
    let mean = if few { mean_over_negative_binomial(a, b, shape, w) } else { mean_over_beta(a, b, shape, w) };
    // Nobody buys more than who is never gone. Rounding may say otherwise in the last digit.
    mean.min(shape * w)
}

/// After how many terms the probabilities end: the mean, some standard deviations, and the tail, which falls off as zᵏ.
fn terms(shape: f64, w: f64) -> f64 {
    shape * w + 9.0 * (shape * w * (1.0 + w)).sqrt() + SATURATED * (1.0 + w)
}

/// The series of [`purchases_while_alive`].
fn mean_over_negative_binomial(a: f64, b: f64, shape: f64, w: f64) -> f64 {
    let z = w / (1.0 + w);
    // The weights are proportional to the probabilities, and divided by their sum in the end: the first of them may be
    // too small for a number.
    let (mut weight, mut purchases, mut alive) = (1.0_f64, 0.0_f64, 1.0_f64);
    let (mut weights, mut sum) = (weight, 0.0_f64);
    let mut k = 0.0_f64;
    while k < 2.0 * MOST_TERMS {
        let ratio = z * (shape + k) / (k + 1.0);
        weight *= ratio;
        purchases += alive;
        alive *= (b + k) / (a + b + k);
        k += 1.0;
        weights += weight;
        sum += weight * purchases;
        if weights > 1e200 {
            (weight, weights, sum) = (weight * 1e-200, weights * 1e-200, sum * 1e-200);
        }
        // From here on, each term is at most `falling` times the one before.
        let falling = z * ((shape + k) / (k + 1.0)).max(1.0) * (1.0 + alive / purchases);
        if falling < 1.0 && weight * purchases * falling < (1.0 - falling) * NEGLIGIBLE * sum {
            break;
        }
    }
    sum / weights
}

/// The quadrature of [`purchases_while_alive`]: the trapezoidal rule over v, where p = 1 / (1 + e^−v).
///
/// The integrand is analytic around the real axis and falls off exponentially on both sides, so the rule is exact to the
/// last digits once its step is well below the width of what it adds up. Where p is 0 or 1 to the last digit, what is
/// left of the sum is a geometric series.
fn mean_over_beta(a: f64, b: f64, shape: f64, w: f64) -> f64 {
    let step = (0.5 / (a * b / (a + b) + shape / 4.0).sqrt()).min(0.2);
    let mode = (a / b).ln();
    let top = a * mode - (a + b) * softplus(mode).0;
    // The weight of v, as a part of the greatest, and what would be bought by the chance that belongs to v.
    let at = |v: f64| {
        let (ln_one_plus, p) = softplus(v);
        ((a * v - (a + b) * ln_one_plus - top).exp(), -(-shape * (p * w).ln_1p()).exp_m1() / p)
    };
    let (weight, value) = at(mode);
    let (mut weights, mut sum) = (weight, weight * value);
    // Below this, pw is so small that the value is Rw to the last digit, and p as small.
    let lowest = -SATURATED - (w * (1.0 + shape)).ln_1p();
    for (direction, end, fall) in [(1.0, SATURATED, b), (-1.0, lowest, a)] {
        let mut v = mode;
        loop {
            v += direction * step;
            let (weight, value) = at(v);
            let beyond = (v - end) * direction >= 0.0;
            let tail = if beyond { 1.0 / -(-fall * step).exp_m1() } else { 1.0 };
            weights += weight * tail;
            sum += weight * value * tail;
            let over = weight <= NEGLIGIBLE * step * weights && weight * value <= NEGLIGIBLE * step * sum;
            if beyond || over {
                break;
            }
        }
    }
    sum / weights
}

#[cfg(test)]
mod tests {
    use libm::lgamma;
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn assert_close(found: f64, expected: f64, relative: f64) {
        let tolerance = relative * (1.0 + expected.abs());
        assert!((found - expected).abs() <= tolerance, "{found} is not within {tolerance:e} of {expected}");
    }

    /// A mean over p by the rule of Simpson, where the density is zero at both ends.
    fn integral(a: f64, b: f64, shape: f64, w: f64) -> f64 {
        let at = |p: f64| p.powf(a - 2.0) * (1.0 - p).powf(b - 1.0) * (1.0 - (1.0 + p * w).powf(-shape));
        let parts = 20_000;
        let sum: f64 = (1..parts).map(|i| f64::from(2 + i % 2 * 2) * at(f64::from(i) / f64::from(parts))).sum();
        sum / (3.0 * f64::from(parts)) / (lgamma(a) + lgamma(b) - lgamma(a + b)).exp()
    }

    #[test]
    fn digamma_is_known_at_one_and_a_half() {
        let euler = 0.577_215_664_901_532_9;
        assert_close(digamma(1.0), -euler, 1e-15);
        assert_close(digamma(0.5), -euler - 4.0_f64.ln(), 1e-15);
        assert_close(digamma(1e5), 11.512_920_464_961_896, 1e-15);
    }

    #[test]
    fn softplus_is_exact_where_it_is_small_and_where_it_is_great() {
        assert_eq!(softplus(1e300), (1e300, 1.0));
        assert_eq!(softplus(-1e300), (0.0, 0.0));
        assert_close(softplus(0.0).0, 2.0_f64.ln(), 1e-15);
        assert_close(softplus(-50.0).0 / (-50.0_f64).exp(), 1.0, 1e-15);
    }

    proptest! {
        #[test]
        fn random_logarithms_of_beta_are_differences_of_those_of_gamma(a in 0.01..60.0, b in 0.01..60.0) {
            assert_close(ln_beta(a, b), lgamma(a) + lgamma(b) - lgamma(a + b), 1e-12);
            prop_assert_eq!(ln_beta(a, b), ln_beta(b, a));
        }

        #[test]
        fn random_logarithms_of_great_beta_follow_its_recurrence(a in 1.0..1e7, b in 1.0..1e7) {
            // B(a + 1, b) = B(a, b) · a / (a + b)
            let change = ln_beta(a + 1.0, b) - ln_beta(a, b);
            assert_close(change, -(b / a).ln_1p(), 1e-14 * (a + b) + 1e-12);
        }

        #[test]
        fn random_slopes_of_the_logarithm_of_gamma_are_digamma(z in 0.1..100.0) {
            let step = 1e-4 * f64::min(z, 1.0);
            assert_close((lgamma(z + step) - lgamma(z - step)) / (2.0 * step), digamma(z), 1e-6);
        }

        #[test]
        fn random_means_by_series_and_by_quadrature_are_the_same(
            a in -6.0..6.0, b in -6.0..6.0, shape in -6.0..6.0, w in -12.0..4.0,
        ) {
            let [a, b, shape, w] = [a, b, shape, w].map(f64::exp);
            prop_assume!(terms(shape, w) <= MOST_TERMS);
            let series = mean_over_negative_binomial(a, b, shape, w);
            let quadrature = mean_over_beta(a, b, shape, w);
            assert_close(series / quadrature, 1.0, 1e-11);
        }

        #[test]
        fn random_means_are_those_of_an_integral(a in 4.0..9.0, b in 4.0..9.0, shape in 0.1..20.0, w in 0.01..20.0) {
            assert_close(purchases_while_alive(a, b, shape, w), integral(a, b, shape, w), 1e-9);
        }
    }

    #[test]
    fn a_mean_has_no_gap_where_a_is_one() {
        let at = |a: f64| purchases_while_alive(a, 2.4, 1.2, 3.0);
        assert_close(at(1.0), (at(1.0 - 1e-6) + at(1.0 + 1e-6)) / 2.0, 1e-11);
    }
}
