//! What answers and refusals say.

use tonic::Status;
use tonic_types::StatusExt as _;

/// `ErrorInfo.reason` of a refusal.
pub(crate) fn reason(status: &Status) -> String {
    let info = status.get_details_error_info().unwrap_or_else(|| panic!("no ErrorInfo in {status:?}"));
    assert_eq!(info.domain, "goldbook");
    info.reason
}

/// The fields that a `BadRequest` lists.
pub(crate) fn bad_fields(status: &Status) -> Vec<String> {
    assert_eq!(status.code(), tonic::Code::InvalidArgument, "{status:?}");
    let bad_request = status.get_details_bad_request().unwrap_or_else(|| panic!("no BadRequest in {status:?}"));
    bad_request.field_violations.into_iter().map(|violation| violation.field).collect()
}

/// The fields that a `BadRequest` lists, sorted.
#[track_caller]
pub(crate) fn sorted_bad_fields<T: std::fmt::Debug>(outcome: Result<T, Status>) -> Vec<String> {
    let mut fields = bad_fields(&outcome.unwrap_err());
    fields.sort();
    fields
}

/// Asserts that a call was refused with this status code for this reason.
#[track_caller]
pub(crate) fn assert_refused<T: std::fmt::Debug>(outcome: Result<T, Status>, code: tonic::Code, expected: &str) {
    let status = outcome.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (code, expected), "{status:?}");
    // As docs/errors.md promises of all but these.
    let facts = status.get_details_error_info().unwrap().metadata;
    assert_eq!(facts.is_empty(), ["AMOUNT_OVERFLOW", "PAGE_TOKEN_INVALID"].contains(&expected), "{status:?}");
}

/// Asserts that a refusal says this, and has these facts in its metadata.
#[track_caller]
pub(crate) fn assert_tells<T: std::fmt::Debug>(outcome: Result<T, Status>, message: &str, facts: &[(&str, &str)]) {
    let status = outcome.unwrap_err();
    assert!(status.message().contains(message), "{status:?}");
    let metadata = status.get_details_error_info().map(|info| info.metadata).unwrap_or_default();
    for (key, fact) in facts {
        assert_eq!(metadata.get(*key).map(String::as_str), Some(*fact), "{key} of {status:?}");
    }
}

/// Asserts that an item's error is what a single call was refused with.
#[track_caller]
pub(crate) fn assert_same_error(item: &tonic_types::Status, single: &Status) {
    assert_eq!((item.code, item.message.as_str()), (single.code().into(), single.message()));
    let whole: tonic_types::Status = prost::Message::decode(single.details()).unwrap();
    assert!(!item.details.is_empty());
    let types = |status: &tonic_types::Status| -> Vec<String> {
        status.details.iter().map(|detail| detail.type_url.clone()).collect()
    };
    assert_eq!(types(item), types(&whole));
    for (detail, expected) in item.details.iter().zip(&whole.details) {
        // The metadata of an `ErrorInfo` is a map, whose bytes come in any order.
        if detail.type_url.ends_with("google.rpc.ErrorInfo") {
            let read = |bytes: &[u8]| <tonic_types::pb::ErrorInfo as prost::Message>::decode(bytes).unwrap();
            assert_eq!(read(&detail.value), read(&expected.value));
        } else {
            assert_eq!(detail, expected);
        }
    }
}
