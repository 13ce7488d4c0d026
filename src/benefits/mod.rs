//! Benefits: what a customer's standing entitles them to.

pub(crate) mod grpc;

use jiff::Timestamp;

use crate::error::Error;
use crate::ids::{CustomerId, ProgramId};
use crate::paging::PageRequest;
use crate::programs::benefits::Benefit;
use crate::tiers::{CustomerTier, Tiers};

/// The use cases of benefits.
#[derive(Clone)]
pub(crate) struct Benefits {
    tiers: Tiers,
}

impl Benefits {
    /// Benefits that follow from `tiers`.
    #[must_use]
    pub(crate) const fn new(tiers: Tiers) -> Self {
        Self { tiers }
    }

    /// A page of what a customer is entitled to, in the order of the program's document. It comes with the standing
    /// that entitles them.
    ///
    /// # Errors
    /// If the customer is unknown (then), the instant lies ahead, or the page token is bad.
    pub(crate) async fn list_customer_benefits(
        &self,
        program_id: &ProgramId,
        customer_id: &CustomerId,
        as_of: Option<Timestamp>,
        page: &PageRequest,
    ) -> Result<(CustomerTier, Vec<Benefit>, String), Error> {
        let after = page.after_number()?.unwrap_or(0);
        let customer_tier = self.tiers.get_customer_tier(program_id, customer_id, as_of).await?;
        let numbered = (1_i64..).zip(customer_tier.tier.benefits.iter().cloned());
        let rest = numbered.filter(|(number, _)| *number > after).collect();
        let (benefits, next_page_token) = page.cut(rest, |(number, _)| number.to_string());
        Ok((customer_tier, benefits.into_iter().map(|(_, benefit)| benefit).collect(), next_page_token))
    }
}
