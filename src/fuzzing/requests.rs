//! Every request of the interface: read as a message, and parsed as its handler does before it asks the database.

use std::collections::HashMap;
use std::sync::LazyLock;

use goldbook_api::v1::{
    BatchGrantRewardsResponse, BatchRecordActivitiesResponse, ImportBalancesRequest, ImportBalancesResponse,
    batch_grant_rewards_response, batch_record_activities_response, import_balances_response,
};
use http::Request;
use prost::Message as _;
use tonic::Code;

use super::calls::{Outcome, body, call, frame, is_told_to_callers, messages, split_line};
use crate::access::grpc::METHODS;
use crate::access::method::Method;
use crate::proto::google;

static BY_NAME: LazyLock<HashMap<&str, &Method>> =
    LazyLock::new(|| METHODS.iter().map(|method| (method.name, method)).collect());
/// What stands between the messages of a stream.
const BETWEEN: &[u8] = b"\n--\n";

/// The name of a method on a line, and its message; of a stream also several, with a line `--` between two.
#[must_use]
pub fn requests(input: &[u8]) -> bool {
    let Some((name, rest)) = split_line(input) else { return false };
    let Some(method) = BY_NAME.get(name) else { return false };
    let is_stream = ["BatchGrant", "BatchRecord", "Import"].iter().any(|begin| name.contains(&format!(".{begin}")));
    let bytes = if is_stream { frame_each(rest) } else { frame(rest) };
    let outcome = send(method.path, &bytes);
    match &outcome.status {
        Some((Code::InvalidArgument | Code::OutOfRange | Code::Unavailable, _)) => assert!(!is_stream, "{outcome:?}"),
        Some((Code::Ok, _)) => check_items(name, &outcome.body),
        other => unreachable!("a request came to {other:?}"),
    }
    true
}

/// Calls a method without credentials or deadline.
pub(super) fn send(path: &str, bytes: &[u8]) -> Outcome {
    let request = Request::post(path).version(http::Version::HTTP_2).header("content-type", "application/grpc");
    match request.body(body(bytes, bytes.len())) {
        Ok(request) => call(request),
        Err(error) => unreachable!("a request cannot be made: {error}"),
    }
}

fn frame_each(mut rest: &[u8]) -> Vec<u8> {
    let mut framed = Vec::new();
    while let Some(end) = rest.windows(BETWEEN.len()).position(|window| window == BETWEEN) {
        let (message, behind) = rest.split_at(end);
        framed.extend(frame(message));
        rest = behind.strip_prefix(BETWEEN).unwrap_or_default();
    }
    framed.extend(frame(rest));
    framed
}

/// What a stream answers: no item is carried out, and none fails by the service's doing.
fn check_items(name: &str, body: &[u8]) {
    for message in messages(body) {
        if let Some(google::Status { code, message, .. }) = read_error(name, message) {
            assert!(is_told_to_callers(Code::from(code)), "an item of {name} came to {code}: {message}");
        }
    }
}

fn read_error(name: &str, message: &[u8]) -> Option<google::Status> {
    if name.ends_with("RecordActivities") {
        use batch_record_activities_response::Outcome;
        match BatchRecordActivitiesResponse::decode(message).ok()?.outcome? {
            Outcome::Error(status) => Some(status),
            Outcome::Recorded(_) => None,
        }
    } else if name.ends_with("GrantRewards") {
        use batch_grant_rewards_response::Outcome;
        match BatchGrantRewardsResponse::decode(message).ok()?.outcome? {
            Outcome::Error(status) => Some(status),
            Outcome::Granted(_) => None,
        }
    } else {
        use import_balances_response::Outcome;
        match ImportBalancesResponse::decode(message).ok()?.outcome? {
            Outcome::Error(status) => Some(status),
            Outcome::Imported(_) => None,
        }
    }
}

/// Openings whose lines were found good: the service finds nothing bad about them either.
pub(super) fn check_openings(openings: &[ImportBalancesRequest]) {
    if openings.is_empty() {
        return;
    }
    let bytes: Vec<u8> = openings.iter().flat_map(|opening| frame(&opening.encode_to_vec())).collect();
    let outcome = send("/goldbook.v1.ImportService/ImportBalances", &bytes);
    let answers = messages(&outcome.body);
    assert_eq!(answers.len(), openings.len(), "{:?}", outcome.status);
    for answer in answers {
        let status = read_error("", answer).unwrap_or_default();
        assert_eq!(Code::from(status.code), Code::Unavailable, "{}", status.message);
    }
}
