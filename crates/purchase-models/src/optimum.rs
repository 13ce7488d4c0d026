//! The search for the parameters under which a likelihood is greatest.

use std::array;
use std::convert::Infallible;

use basin::{BoxBounds, ConstraintDescription, ConstraintSet, Constraints, CostFunction, Executor, FirstOrderState};
use basin::{Gradient, Lbfgsb};

use crate::bounds::{MAX_PARAMETER, MIN_PARAMETER};
use crate::fit::MAX_ITERATIONS;

/// The slope at which the search is content. What is left may be rounding, at which the search stops as well.
const CONTENT: f64 = 1e-10;

/// How many steps the search remembers, to guess how the slope changes: about as many as there are parameters.
const MEMORY: usize = 5;

/// What is to become small: its value, and its derivative by each parameter.
pub(crate) type Objective<'a, const N: usize> = dyn Fn([f64; N]) -> (f64, [f64; N]) + 'a;

/// Where the search ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Optimum<const N: usize> {
    pub(crate) parameters: [f64; N],
    /// The logarithms of the parameters.
    logs: [f64; N],
    /// The objective there.
    pub(crate) value: f64,
    /// The steepest slope over the logarithm of a parameter, not counting those that only lead beyond a bound.
    pub(crate) slope: f64,
    pub(crate) iterations: u64,
    /// Whether a parameter lies on its bound.
    pub(crate) on_bound: bool,
}

/// Finds the parameters, all between [`MIN_PARAMETER`] and [`MAX_PARAMETER`], at which `objective` is smallest.
///
/// The objective tells its value and its derivative by each parameter. It is searched over the logarithms of the
/// parameters, by L-BFGS-B from one fixed start, so the same objective always gives the same parameters.
pub(crate) fn minimize<const N: usize>(objective: &Objective<'_, N>) -> Optimum<N> {
    let search = Search { objective, lower: vec![MIN_PARAMETER.ln(); N], upper: vec![MAX_PARAMETER.ln(); N] };
    let mut best = search.end(&[0.0; N], 0);
    // Where the objective is almost flat, what the search remembers can lead it nowhere. It then forgets and goes on.
    while best.iterations < u64::from(MAX_ITERATIONS) {
        let end = search.run(&best);
        if end.value >= best.value && end.slope >= best.slope || end.value.is_nan() {
            break;
        }
        best = end;
        if best.slope <= CONTENT {
            break;
        }
    }
    best
}

/// An objective, as the solver wants it.
#[derive(Clone)]
struct Search<'a, const N: usize> {
    objective: &'a Objective<'a, N>,
    lower: Vec<f64>,
    upper: Vec<f64>,
}

impl<const N: usize> Search<'_, N> {
    fn parameters(&self, logs: &[f64]) -> [f64; N] {
        array::from_fn(|i| logs.get(i).map_or(1.0, |log| log.exp().clamp(MIN_PARAMETER, MAX_PARAMETER)))
    }

    fn at(&self, logs: &[f64]) -> (f64, Vec<f64>) {
        let parameters = self.parameters(logs);
        let (value, gradient) = (self.objective)(parameters);
        (value, gradient.iter().zip(parameters).map(|(slope, parameter)| slope * parameter).collect())
    }

    /// Searches on from where the search has come to.
    fn run(&self, from: &Optimum<N>) -> Optimum<N> {
        let solver = Lbfgsb::new()
            .with_m_capacity(MEMORY)
            .with_absolute_projected_gradient_tolerance(CONTENT)
            .with_relative_cost_reduction_tolerance(0.0);
        let start = FirstOrderState::new(from.logs.to_vec());
        let left = u64::from(MAX_ITERATIONS).saturating_sub(from.iterations);
        // Only bounds that contradict each other are an error of the solver, and these do not.
        match Executor::new(self.clone(), solver, start).max_iter(left).run() {
            Ok(end) => self.end(end.best_param(), from.iterations + end.iter()),
            Err(_) => *from,
        }
    }

    fn end(&self, logs: &[f64], iterations: u64) -> Optimum<N> {
        let (value, gradient) = self.at(logs);
        let mut end = Optimum {
            parameters: self.parameters(logs),
            logs: array::from_fn(|i| logs.get(i).copied().unwrap_or(0.0)),
            value,
            slope: 0.0,
            iterations,
            on_bound: false,
        };
        for (((log, slope), lower), upper) in logs.iter().zip(gradient).zip(&self.lower).zip(&self.upper) {
            let (at_lower, at_upper) = (log <= lower, log >= upper);
            end.on_bound |= at_lower || at_upper;
            let leads_beyond = (at_lower && slope > 0.0) || (at_upper && slope < 0.0);
            // `f64::max` would drop what is no number.
            if !leads_beyond && (slope.is_nan() || slope.abs() > end.slope) {
                end.slope = slope.abs();
            }
        }
        end
    }
}

impl<const N: usize> CostFunction for Search<'_, N> {
    type Param = Vec<f64>;
    type Output = f64;
    type Error = Infallible;

    fn cost(&self, param: &Vec<f64>) -> Result<f64, Infallible> {
        Ok(self.at(param).0)
    }
}

impl<const N: usize> Gradient for Search<'_, N> {
    type Gradient = Vec<f64>;

    fn gradient(&self, param: &Vec<f64>) -> Result<Vec<f64>, Infallible> {
        Ok(self.at(param).1)
    }

    fn cost_and_gradient(&self, param: &Vec<f64>) -> Result<(f64, Vec<f64>), Infallible> {
        Ok(self.at(param))
    }
}

impl<const N: usize> Constraints for Search<'_, N> {
    type Set = ConstraintSet<BoxBounds<Vec<f64>>>;

    fn constraints(&self) -> <Self::Set as ConstraintDescription>::Borrowed<'_> {
        ConstraintSet::new().with_bounds(BoxBounds::new(Some(&self.lower), Some(&self.upper)))
    }
}
