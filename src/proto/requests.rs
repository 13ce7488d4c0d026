//! What requests of many methods have in common: the customer, the page, and the end of parsing.

use jiff::Timestamp;

use crate::error::{Error, Fields};
use crate::ids::{CustomerId, ProgramId, SegmentId};
use crate::paging::PageRequest;
use crate::proto;
use crate::proto::fields::parse_optional_instant;

/// Parses the customer whom a request is about, in the fields `program_id` and `customer_id`.
pub(crate) fn parse_customer(
    fields: &mut Fields,
    program_id: impl Into<String>,
    customer_id: impl Into<String>,
) -> Option<(ProgramId, CustomerId)> {
    let program_id = fields.check("program_id", ProgramId::try_from(program_id.into()));
    let customer_id = fields.check("customer_id", CustomerId::try_from(customer_id.into()));
    program_id.zip(customer_id)
}

/// Parses a request that is about one customer at an instant, if one is said, and nothing else.
///
/// # Errors
/// All bad fields.
pub(crate) fn parse_customer_at(
    program_id: String,
    customer_id: String,
    as_of: Option<&prost_types::Timestamp>,
) -> Result<(ProgramId, CustomerId, Option<Timestamp>), Error> {
    let mut fields = Fields::default();
    let as_of = parse_optional_instant(&mut fields, "as_of", as_of);
    let customer = parse_customer(&mut fields, program_id, customer_id);
    let (program_id, customer_id) = fields.finish_with(customer)?;
    Ok((program_id, customer_id, as_of))
}

/// Parses the segment whose customers alone a request is about, in the field `segment_id`; all, if it is empty.
pub(crate) fn parse_optional_segment(fields: &mut Fields, segment_id: String) -> Option<SegmentId> {
    if segment_id.is_empty() {
        return None;
    }
    fields.check("segment_id", SegmentId::try_from(segment_id))
}

/// A request for a page of a list about one customer.
pub(crate) trait CustomerList {
    /// The fields that all such requests have.
    fn common_fields(&self) -> CommonFields<'_>;
}

/// The fields that all requests for a page of a list about one customer have.
pub(crate) struct CommonFields<'a> {
    program_id: &'a str,
    customer_id: &'a str,
    /// What the field of the customer is called.
    customer_field: &'static str,
    page_size: i32,
    page_token: &'a str,
}

/// Makes requests a [`CustomerList`]: each with the field that names the customer.
macro_rules! customer_lists {
    ($($request:ident by $customer_id:ident,)*) => {$(
        impl CustomerList for proto::$request {
            fn common_fields(&self) -> CommonFields<'_> {
                CommonFields {
                    program_id: &self.program_id,
                    customer_id: &self.$customer_id,
                    customer_field: stringify!($customer_id),
                    page_size: self.page_size,
                    page_token: &self.page_token,
                }
            }
        }
    )*};
}

customer_lists! {
    GetStatementRequest by customer_id,
    ListActivitiesRequest by customer_id,
    ListComplaintsRequest by customer_id,
    ListCustomerBenefitsRequest by customer_id,
    ListEntriesRequest by customer_id,
    ListLotUsesRequest by customer_id,
    ListLotsRequest by customer_id,
    ListReferralsRequest by referrer_customer_id,
    ListRewardsRequest by customer_id,
    ListTierChangesRequest by customer_id,
}

/// Parses the customer and the page of a list's request. A page token is only good for the same `list`, customer and
/// `filters`.
///
/// # Errors
/// If the page token is one of another list. Bad fields are noted in `fields`.
pub(crate) fn parse_customer_list(
    fields: &mut Fields,
    request: &impl CustomerList,
    list: &str,
    filters: &[&str],
) -> Result<(Option<(ProgramId, CustomerId)>, PageRequest), Error> {
    let CommonFields { program_id, customer_id, customer_field, page_size, page_token } = request.common_fields();
    let filters = [&[list, program_id, customer_id], filters].concat();
    let page = PageRequest::parse(fields, page_size, page_token, &filters)?;
    let program_id = fields.check("program_id", ProgramId::try_from(program_id));
    let customer_id = fields.check(customer_field, CustomerId::try_from(customer_id));
    Ok((program_id.zip(customer_id), page))
}
