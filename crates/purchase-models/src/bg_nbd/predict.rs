//! What the BG/NBD model says of one customer.

use super::BgNbd;
use crate::bounds::{TimeError, time};
use crate::special::{purchases_while_alive, softplus};
use crate::summary::PurchaseSummary;

impl BgNbd {
    /// How likely it is that the customer will ever buy again: P(alive | x, t_x, T), between 0 and 1.
    ///
    /// A customer who never bought again is alive for certain, because customers go after repeat purchases only.
    pub fn probability_alive(&self, customer: &PurchaseSummary) -> f64 {
        if customer.repeat_purchases() == 0 {
            return 1.0;
        }
        let x = f64::from(customer.repeat_purchases());
        let silence = customer.observed() - customer.last_purchase();
        let growth = (silence / (self.alpha + customer.last_purchase())).ln_1p();
        let (_, alive) = softplus((self.b + x - 1.0).ln() - self.a.ln() - (self.r + x) * growth);
        alive
    }

    /// How many repeat purchases a new customer will make in the `time_ahead` of the first purchase, on average: E\[X(t)\].
    ///
    /// # Errors
    ///
    /// `time_ahead` is between 0 and [`MAX_TIME`](crate::MAX_TIME).
    pub fn expected_purchases_of_new(&self, time_ahead: f64) -> Result<f64, TimeError> {
        let ahead = time(time_ahead)?;
        Ok(purchases_while_alive(self.a, self.b, self.r, ahead / self.alpha))
    }

    /// How many purchases the customer will make in the `time_ahead` that follows what was watched, on average:
    /// E\[Y(t) | x, t_x, T\]. It is at least 0, and never shrinks as time grows but for the last digits.
    ///
    /// # Errors
    ///
    /// `time_ahead` is between 0 and [`MAX_TIME`](crate::MAX_TIME).
    pub fn expected_purchases(&self, customer: &PurchaseSummary, time_ahead: f64) -> Result<f64, TimeError> {
        Ok(self.purchases_within(customer, time(time_ahead)?))
    }

    /// [`expected_purchases`](Self::expected_purchases) within a time that is known to be within bounds.
    pub(crate) fn purchases_within(&self, customer: &PurchaseSummary, ahead: f64) -> f64 {
        // What the history says of the customer's rate and of the chance to be gone, given that the customer is not.
        let x = f64::from(customer.repeat_purchases());
        let w = ahead / (self.alpha + customer.observed());
        self.probability_alive(customer) * purchases_while_alive(self.a, self.b + x, self.r + x, w)
    }
}
