//! What the fits of both models have in common: what comes out, why nothing may come out, and how customers are counted.

use std::cmp::Ordering;

use crate::optimum::Optimum;

/// The fewest customers to whom [`BgNbd`](crate::BgNbd) is fitted. Four parameters of fewer follow chance.
pub const MIN_CUSTOMERS: u64 = 50;

/// The fewest repeat buyers to whom [`GammaGamma`](crate::GammaGamma) is fitted.
pub const MIN_REPEAT_BUYERS: u64 = 30;

/// The most groups of customers who have one history. Whoever has more draws a sample, or measures time more roughly.
pub const MAX_GROUPS: usize = 2_000_000;

/// The most iterations of the search for the best parameters.
pub const MAX_ITERATIONS: u32 = 500;

/// Where the slope of the likelihood of one customer, over the logarithms of the parameters, counts as none. The search
/// mostly comes to far less. Where parameters are huge, rounding stops it before, without harm to predictions.
const FLAT: f64 = 1e-5;

/// The parameters under which the histories of the customers are likeliest. That the search converged, this value says by
/// being there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fit<M> {
    /// The model with these parameters.
    pub model: M,
    /// The logarithm of the likelihood of all customers together.
    pub log_likelihood: f64,
    /// How many customers there were.
    pub customers: u64,
    /// How many histories they had among them.
    pub groups: usize,
    /// How many iterations the search took.
    pub iterations: u64,
    /// Whether a parameter lies on its bound, because the likelihood grows towards zero or without an end. The customers
    /// then do not differ in what it tells of, or there is too little to tell by. Predictions hold all the same.
    pub on_bound: bool,
}

/// Why there is no fit.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum FitError {
    /// There are too few customers to tell parameters from chance.
    #[error("{found} customers are too few: a fit needs at least {least}")]
    TooFewCustomers {
        /// How many there are.
        found: u64,
        /// How many there must be.
        least: u64,
    },
    /// Nobody ever bought again, so nothing is known of repeat purchases.
    #[error("no customer has bought again yet")]
    NoRepeatPurchase,
    /// There are more different histories than [`MAX_GROUPS`].
    #[error(
        "the customers have more than {MAX_GROUPS} different histories: draw a sample, or measure time more roughly"
    )]
    TooManyGroups,
    /// The search ended where the likelihood still grows.
    #[error("no best parameters were found in {iterations} iterations: the likelihood still has a slope of {slope:e}")]
    NotConverged {
        /// How many iterations there were.
        iterations: u64,
        /// How much the logarithm of the likelihood still grows, for one customer and over the logarithm of a parameter.
        slope: f64,
    },
}

/// What can be counted: equal members are merged, and the order of members decides the order of adding up.
pub(crate) trait Countable: Copy {
    /// A total order in which only members that are alike are equal.
    fn order(&self, other: &Self) -> Ordering;
}

/// Members that are alike, and how many customers they are. The number is whole, and exact up to 2^53.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Group<K> {
    pub(crate) member: K,
    pub(crate) customers: f64,
}

/// Customers by history, in order.
#[derive(Debug)]
pub(crate) struct Groups<K> {
    pub(crate) groups: Vec<Group<K>>,
    pub(crate) customers: u64,
}

impl<K: Countable> Groups<K> {
    /// Counts customers. What is kept in memory meanwhile is bounded as what comes out is.
    pub(crate) fn count(members: impl IntoIterator<Item = (K, u32)>) -> Result<Self, FitError> {
        let mut groups = Vec::new();
        let mut customers = 0_u64;
        for (member, count) in members.into_iter().filter(|(_, count)| *count > 0) {
            customers = customers.saturating_add(u64::from(count));
            groups.push(Group { member, customers: f64::from(count) });
            if groups.len() >= 2 * MAX_GROUPS {
                merge(&mut groups)?;
            }
        }
        merge(&mut groups)?;
        groups.shrink_to_fit();
        Ok(Self { groups, customers })
    }

    /// As many as there are, or an error if that is too few.
    pub(crate) fn at_least(&self, least: u64) -> Result<(), FitError> {
        if self.customers < least {
            return Err(FitError::TooFewCustomers { found: self.customers, least });
        }
        Ok(())
    }

    /// How many customers there are, for dividing by.
    pub(crate) fn weight(&self) -> f64 {
        self.groups.iter().map(|group| group.customers).sum()
    }

    /// What the search came to, if it came to an end.
    pub(crate) fn fit<M, const N: usize>(
        &self,
        optimum: &Optimum<N>,
        model: M,
        log_likelihood: f64,
    ) -> Result<Fit<M>, FitError> {
        // A slope that is no number is none that is flat.
        if optimum.slope.is_nan() || optimum.slope > FLAT {
            return Err(FitError::NotConverged { iterations: optimum.iterations, slope: optimum.slope });
        }
        Ok(Fit {
            model,
            log_likelihood,
            customers: self.customers,
            groups: self.groups.len(),
            iterations: optimum.iterations,
            on_bound: optimum.on_bound,
        })
    }
}

/// Sorts groups, and makes those that are alike one. Whole numbers are added exactly, whatever the order was before.
fn merge<K: Countable>(groups: &mut Vec<Group<K>>) -> Result<(), FitError> {
    groups.sort_unstable_by(|left, right| left.member.order(&right.member));
    groups.dedup_by(|next, kept| {
        let alike = next.member.order(&kept.member).is_eq();
        if alike {
            kept.customers += next.customers;
        }
        alike
    });
    if groups.len() > MAX_GROUPS { Err(FitError::TooManyGroups) } else { Ok(()) }
}
