//! Tokens of pages and of exports, and the cursors in them.

use goldbook_api::v1 as proto;
use prost::Message as _;
use tonic::Code;

use super::calls::{frame, messages, split_line};
use super::requests::send;
use crate::error::Fields;
use crate::paging::PageRequest;

const PROGRAM: &str = "shop";
const CUSTOMER: &str = "anna";

/// A list: its method, what its tokens are tied to, and a request for a page of it.
type List = (&'static str, &'static [&'static str], fn(String) -> Vec<u8>);

/// Makes a row of [`LISTS`] for a list about one customer.
macro_rules! of_customer {
    ($method:literal, $request:ident, $customer_id:ident, $list:literal $(, $filter:literal)*) => {
        ($method, &[$list, PROGRAM, CUSTOMER $(, $filter)*], |page_token| {
            let (program_id, $customer_id) = (PROGRAM.to_owned(), CUSTOMER.to_owned());
            proto::$request { program_id, $customer_id, page_token, ..Default::default() }.encode_to_vec()
        })
    };
}

/// Every list there is. What its tokens are tied to is spelled out once more: a token that a list does not take tries
/// nothing, which a test of this file would tell.
pub(super) const LISTS: &[List] = &[
    of_customer!("ActivityService/ListActivities", ListActivitiesRequest, customer_id, "activities"),
    of_customer!("BenefitService/ListCustomerBenefits", ListCustomerBenefitsRequest, customer_id, "benefits", ""),
    ("CustomerService/ListCustomers", &["customers", PROGRAM], |page_token| {
        proto::ListCustomersRequest { program_id: PROGRAM.to_owned(), page_token, ..Default::default() }.encode_to_vec()
    }),
    of_customer!(
        "LedgerService/ListEntries",
        ListEntriesRequest,
        customer_id,
        "entries",
        "EntryFilter { kinds: [], from: None, until: None, newest_first: false }"
    ),
    ("LedgerService/ExportEntries", &["export", PROGRAM, "None None"], |resume_token| {
        proto::ExportEntriesRequest { program_id: PROGRAM.to_owned(), resume_token, ..Default::default() }
            .encode_to_vec()
    }),
    of_customer!("LedgerService/GetStatement", GetStatementRequest, customer_id, "statement", "None None"),
    ("ProgramService/ListPrograms", &["programs"], |page_token| {
        proto::ListProgramsRequest { page_token, ..Default::default() }.encode_to_vec()
    }),
    of_customer!("ReferralService/ListReferrals", ListReferralsRequest, referrer_customer_id, "referrals"),
    of_customer!("RewardService/ListLots", ListLotsRequest, customer_id, "lots", "all"),
    ("RewardService/ListLotUses", &["lot uses", PROGRAM, CUSTOMER, LOT], |page_token| {
        let (program_id, customer_id, lot_id) = (PROGRAM.to_owned(), CUSTOMER.to_owned(), LOT.to_owned());
        proto::ListLotUsesRequest { program_id, customer_id, lot_id, page_token, ..Default::default() }.encode_to_vec()
    }),
    of_customer!("RewardService/ListRewards", ListRewardsRequest, customer_id, "rewards"),
    of_customer!("TierService/ListTierChanges", ListTierChangesRequest, customer_id, "tier_changes"),
];
const LOT: &str = "00000000000000000000000000000001.1";

/// The name of a list on a line, and a cursor or a token for it.
#[must_use]
pub fn page_tokens(input: &[u8]) -> bool {
    let Some((name, text)) = split_line(input) else { return false };
    let Some((method, filters, request)) = LISTS.iter().find(|(method, ..)| *method == name) else { return false };
    let Ok(text) = str::from_utf8(text) else { return false };
    let Some(first) = parse("", filters) else { return false };
    let token = first.token(text);
    let parsed = parse(&token, filters);
    // A cursor has no control characters, and a token its bounds.
    if let Some(page) = &parsed {
        assert_eq!(cursor_of(page).as_deref(), Some(text), "a token leads elsewhere");
        assert!(parse(&token, &["another list"]).is_none(), "a token counts for another list");
        let (begin, end) = token.split_at(token.len() / 2);
        assert!(parse(&format!("{begin}A{end}"), filters).is_none(), "a token that was changed counts");
    }
    // The text itself, taken for a token: there is one spelling of each.
    if let Some(page) = parse(text, filters).filter(|_| !text.is_empty()) {
        assert_eq!(cursor_of(&page).map(|cursor| first.token(&cursor)).as_deref(), Some(text));
    }
    for (token, may_count) in [(token.as_str(), parsed.is_some()), (text, true)] {
        let code = ask(method, request(token.to_owned()));
        match code {
            Some(Code::OutOfRange) => {}
            Some(Code::Unavailable) => assert!(may_count, "{method} takes {token}"),
            other => unreachable!("{method} came to {other:?}"),
        }
    }
    true
}

/// What a list says of a request without a database: that it is bad, or that the database is away.
pub(super) fn ask(method: &str, request: Vec<u8>) -> Option<Code> {
    let outcome = send(&format!("/goldbook.v1.{method}"), &frame(&request));
    assert!(messages(&outcome.body).is_empty(), "{method} answers without a database");
    outcome.status.map(|(code, _)| code)
}

pub(super) fn parse(token: &str, filters: &[&str]) -> Option<PageRequest> {
    PageRequest::parse(&mut Fields::default(), 0, token, filters).ok()
}

fn cursor_of(page: &PageRequest) -> Option<String> {
    page.after_with(|cursor| Some(cursor.to_owned())).ok().flatten()
}
