//! The only place where an [`Error`] becomes a gRPC status.

use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::database::{FailureKind, StoreError};
use crate::error::{Error, Reason, Refusal, Violation, with_causes};
use crate::telemetry::{self, metrics};

/// `ErrorInfo.domain` of every refusal.
pub(crate) const ERROR_DOMAIN: &str = "goldbook";
/// When to try again where something passes by itself.
const RETRY_DELAY: Duration = Duration::from_millis(500);
/// The shortest time that a caller is told to wait.
const LEAST_RETRY_DELAY: Duration = Duration::from_millis(10);

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        match error {
            Error::Invalid(violations) => list_violations(violations),
            Error::Unreadable(why) => Self::invalid_argument(format!("the body is no message of this method: {why}")),
            Error::Refused(refusal) => refuse(refusal),
            Error::Overloaded => retry(Code::ResourceExhausted, "too much is waiting; try again"),
            Error::Limited { what, retry_after } => {
                metrics::count_limit(what);
                let message = format!("the caller has reached its limit of {what}; try again later");
                let details = ErrorDetails::with_retry_info(Some(retry_after.max(LEAST_RETRY_DELAY)));
                Self::with_error_details(Code::ResourceExhausted, message, details)
            }
            Error::Exhausted(message) => retry(Code::ResourceExhausted, &message),
            Error::Unavailable => retry(Code::Unavailable, "the database is not available; try again"),
            Error::IssuerAway => {
                retry(Code::Unavailable, "the keys of the token's issuer cannot be fetched now; try again")
            }
            Error::Newer(what) => {
                telemetry::warn_of_newer(&what);
                let reason = Reason::WrittenByNewerVersion;
                telemetry::record_reason(reason.name());
                metrics::count_refusal(reason.name());
                let message = "a newer version of the service wrote what this is about; try again, which may reach one";
                let mut details = ErrorDetails::with_retry_info(Some(RETRY_DELAY));
                details.set_error_info(reason.name(), ERROR_DOMAIN, std::collections::HashMap::<String, String>::new());
                Self::with_error_details(code_of(reason), message, details)
            }
            Error::InstantOpen(instant) => {
                let why = "and what is answered for an instant must not change afterwards";
                let message = format!("writes that began before {instant} are still under way, {why}; try again");
                retry(Code::Unavailable, &message)
            }
            Error::DeadlineExceeded => {
                Self::deadline_exceeded("the deadline passed before the work began; nothing was written")
            }
            Error::Internal(failure) => {
                // The one place where it is logged; the caller gets the trace id and nothing else.
                tracing::error!(%failure, "a request failed");
                hide_failure()
            }
            Error::InternalLogged(_) => hide_failure(),
        }
    }
}

/// All that a caller is told of a failure: the trace by which it is found in the log.
fn hide_failure() -> Status {
    let trace_id = telemetry::trace_id(&tracing::Span::current());
    Status::internal(format!("internal error, trace {trace_id}"))
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        StoreError::from(error).into()
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        if let StoreError::Defect(defect) = error {
            return defect.into();
        }
        match error.kind() {
            kind @ (FailureKind::Conflict | FailureKind::Locked | FailureKind::TooMuch | FailureKind::Away) => {
                // The caller is told to come again, and not why. So this is the one place where the cause is logged.
                tracing::warn!(failure = with_causes(&error), ?kind, "a call cannot use the database");
                Self::Unavailable
            }
            FailureKind::Other => Self::Internal(with_causes(&error)),
        }
    }
}

/// The outcome of one item of a batch: the status that a single call would have ended with.
#[must_use]
pub(crate) fn to_rpc_status(error: Error) -> tonic_types::Status {
    let status = Status::from(error);
    // The details of a status are this very message, encoded; one without details is just its code.
    prost::Message::decode(status.details()).ok().filter(|decoded: &tonic_types::Status| decoded.code != 0).unwrap_or(
        tonic_types::Status { code: status.code().into(), message: status.message().to_owned(), details: Vec::new() },
    )
}

/// Every bad field, as far as the response headers that carry them may grow: clients bound those, usually at 8 KiB. The
/// message stands in them twice, once with up to three bytes for each of its own, and the details grow by a third.
fn list_violations(violations: Vec<Violation>) -> Status {
    const MAX_MESSAGE_BYTES: usize = 512;
    const MAX_DETAIL_BYTES: usize = 3_072;
    /// What a violation takes beside its texts.
    const VIOLATION_BYTES: usize = 10;
    let (count, mut bytes) = (violations.len(), 0);
    let mut details = ErrorDetails::new();
    let mut first = None;
    for (i, Violation { field, description }) in violations.into_iter().enumerate() {
        let (field, description) = (shorten(field, MAX_DETAIL_BYTES / 4), shorten(description, MAX_DETAIL_BYTES / 4));
        bytes += field.len() + description.len() + VIOLATION_BYTES;
        if bytes > MAX_DETAIL_BYTES {
            details.add_bad_request_violation("", format!("and {} more bad fields", count - i));
            break;
        }
        first.get_or_insert_with(|| shorten(format!("{field} {description}"), MAX_MESSAGE_BYTES));
        details.add_bad_request_violation(field, description);
    }
    let message = match (first, count) {
        (Some(first), 1) => format!("bad request: {first}"),
        (Some(first), _) => format!("bad request: {first}; and {} more bad fields", count - 1),
        (None, _) => format!("bad request: {count} bad fields"),
    };
    Status::with_error_details(Code::InvalidArgument, message, details)
}

/// A text that may repeat what a caller sent, or its beginning.
fn shorten(text: String, max_bytes: usize) -> String {
    match text.get(..text.floor_char_boundary(max_bytes)) {
        Some(begin) if begin.len() < text.len() => format!("{begin}…"),
        _ => text,
    }
}

fn retry(code: Code, message: &str) -> Status {
    Status::with_error_details(code, message, ErrorDetails::with_retry_info(Some(RETRY_DELAY)))
}

fn refuse(refusal: Refusal) -> Status {
    let Refusal { reason, message, metadata } = refusal;
    telemetry::record_reason(reason.name());
    metrics::count_refusal(reason.name());
    let mut details = ErrorDetails::new();
    let code = code_of(reason);
    let fact = |key: &str| metadata.iter().find(|(name, _)| *name == key).map(|(_, value)| value.clone());
    if let Some(resource) = resource_of(reason) {
        details.set_resource_info(resource, fact(resource).unwrap_or_default(), "", message.clone());
    }
    if code == Code::FailedPrecondition {
        let subject = metadata.first().map(|(_, value)| value.clone()).unwrap_or_default();
        details.add_precondition_failure_violation(reason.name(), subject, message.clone());
    }
    let metadata = metadata.into_iter().map(|(key, value)| (key.to_owned(), value));
    details.set_error_info(reason.name(), ERROR_DOMAIN, metadata.collect::<std::collections::HashMap<_, _>>());
    Status::with_error_details(code, message, details)
}

/// The status code of each reason. No wildcard: a new reason does not compile until it has one.
#[must_use]
#[expect(clippy::too_many_lines, reason = "one line for each reason")]
pub(crate) const fn code_of(reason: Reason) -> Code {
    match reason {
        Reason::ProgramNotFound
        | Reason::CustomerNotFound
        | Reason::TierNotFound
        | Reason::CampaignNotFound
        | Reason::ReferralCodeNotFound
        | Reason::ReferralNotFound
        | Reason::EntryNotFound
        | Reason::RewardNotFound
        | Reason::HoldNotFound
        | Reason::BenefitNotFound
        | Reason::BenefitUseNotFound
        | Reason::ReevaluationNotFound
        | Reason::FactorNotFound
        | Reason::ComplaintCategoryNotFound
        | Reason::ComplaintNotFound
        | Reason::ValueModelNotFound
        | Reason::ValueClassificationNotFound
        | Reason::SegmentNotFound
        | Reason::EntitlementNotFound => Code::NotFound,
        Reason::CustomerAlreadyExists
        | Reason::IdempotencyKeyReused
        | Reason::ActivityIdReused
        | Reason::SurveyAnswered
        | Reason::AlreadyReferred => Code::AlreadyExists,
        Reason::NotAuthenticated => Code::Unauthenticated,
        Reason::NotPermitted => Code::PermissionDenied,
        Reason::EtagMismatch | Reason::ProgramVersionMismatch => Code::Aborted,
        Reason::WrittenByNewerVersion => Code::Unavailable,
        Reason::InstantInFuture | Reason::InstantNotAhead | Reason::PageTokenInvalid => Code::OutOfRange,
        Reason::ProgramFieldImmutable
        | Reason::VersionNotScheduled
        | Reason::CustomerErased
        | Reason::PointsHeld
        | Reason::ErasureKeyMissing
        | Reason::CurrencyMismatch
        | Reason::AmountOverflow
        | Reason::ProgramVersionNotInForce
        | Reason::ReevaluationUnderWay
        | Reason::TierNotOverridden
        | Reason::CampaignNotActive
        | Reason::ReferralCodeExpired
        | Reason::OwnReferralCode
        | Reason::NotANewCustomer
        | Reason::ReferralExpired
        | Reason::NotQualified
        | Reason::RewardNotPending
        | Reason::HoldEnded
        | Reason::InsufficientPoints
        | Reason::RedemptionOutsideLimits
        | Reason::EarningCapExceeded
        | Reason::BenefitNotEntitled
        | Reason::BenefitNotUsable
        | Reason::BenefitQuotaExhausted
        | Reason::EntitlementEnded
        | Reason::TooManyEntitlements
        | Reason::ComplaintState
        | Reason::TooManyComplaints
        | Reason::TooManyComplaintSteps
        | Reason::GoodwillNotOffered
        | Reason::GoodwillLimitExceeded
        | Reason::EntryNotReversible
        | Reason::EntryAlreadyReversed
        | Reason::ReversalExceedsOriginal
        | Reason::NothingToReverse
        | Reason::ReinstatementClosed
        | Reason::PurchaseUnknown
        | Reason::RefundExceedsPurchase
        | Reason::TooManyLots
        | Reason::ValueModelNotFitted
        | Reason::ValueClassesNotSet
        | Reason::LiabilityUnknown => Code::FailedPrecondition,
    }
}

/// The metadata key that names what was not found or exists already.
#[expect(clippy::too_many_lines, reason = "one line for each reason")]
const fn resource_of(reason: Reason) -> Option<&'static str> {
    match reason {
        Reason::ProgramNotFound => Some("program_id"),
        Reason::CustomerNotFound | Reason::CustomerAlreadyExists | Reason::ReferralNotFound => Some("customer_id"),
        Reason::TierNotFound => Some("tier_id"),
        Reason::CampaignNotFound => Some("campaign_id"),
        Reason::ReferralCodeNotFound => Some("code"),
        Reason::EntryNotFound => Some("entry_id"),
        Reason::RewardNotFound => Some("reward_id"),
        Reason::HoldNotFound => Some("hold_id"),
        Reason::BenefitNotFound => Some("benefit_id"),
        Reason::BenefitUseNotFound => Some("use_id"),
        Reason::ReevaluationNotFound => Some("reevaluation_id"),
        Reason::EntitlementNotFound => Some("entitlement_id"),
        Reason::FactorNotFound => Some("factor_id"),
        Reason::ComplaintCategoryNotFound => Some("category_id"),
        Reason::ComplaintNotFound => Some("complaint_id"),
        Reason::ValueModelNotFound => Some("version"),
        Reason::ValueClassificationNotFound => Some("until"),
        Reason::SegmentNotFound => Some("segment_id"),
        // These name nothing that a request could ask for by its id.
        Reason::ProgramFieldImmutable
        | Reason::VersionNotScheduled
        | Reason::ValueModelNotFitted
        | Reason::ValueClassesNotSet
        | Reason::CustomerErased
        | Reason::PointsHeld
        | Reason::ErasureKeyMissing
        | Reason::EtagMismatch
        | Reason::IdempotencyKeyReused
        | Reason::ActivityIdReused
        | Reason::SurveyAnswered
        | Reason::InstantInFuture
        | Reason::ProgramVersionMismatch
        | Reason::CurrencyMismatch
        | Reason::AmountOverflow
        | Reason::ProgramVersionNotInForce
        | Reason::ReevaluationUnderWay
        | Reason::TierNotOverridden
        | Reason::CampaignNotActive
        | Reason::ReferralCodeExpired
        | Reason::OwnReferralCode
        | Reason::AlreadyReferred
        | Reason::NotANewCustomer
        | Reason::ReferralExpired
        | Reason::NotQualified
        | Reason::RewardNotPending
        | Reason::HoldEnded
        | Reason::InsufficientPoints
        | Reason::RedemptionOutsideLimits
        | Reason::EarningCapExceeded
        | Reason::BenefitNotEntitled
        | Reason::BenefitNotUsable
        | Reason::BenefitQuotaExhausted
        | Reason::EntitlementEnded
        | Reason::TooManyEntitlements
        | Reason::ComplaintState
        | Reason::TooManyComplaints
        | Reason::TooManyComplaintSteps
        | Reason::GoodwillNotOffered
        | Reason::GoodwillLimitExceeded
        | Reason::InstantNotAhead
        | Reason::EntryNotReversible
        | Reason::EntryAlreadyReversed
        | Reason::ReversalExceedsOriginal
        | Reason::NothingToReverse
        | Reason::ReinstatementClosed
        | Reason::PurchaseUnknown
        | Reason::RefundExceedsPurchase
        | Reason::TooManyLots
        | Reason::LiabilityUnknown
        | Reason::NotAuthenticated
        | Reason::NotPermitted
        | Reason::WrittenByNewerVersion
        | Reason::PageTokenInvalid => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_reasons_and_their_codes_are_those_of_the_code() {
        let page = include_str!("../docs/errors.md");
        let documented: Vec<(&str, &str)> = page
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.split_once("` | `"))
            .map(|(reason, rest)| (reason, rest.split('`').next().unwrap_or_default()))
            .collect();
        let coded: Vec<(&str, String)> = Reason::ALL
            .iter()
            .map(|reason| {
                let mut name = String::new();
                for letter in format!("{:?}", code_of(*reason)).chars() {
                    if letter.is_uppercase() && !name.is_empty() {
                        name.push('_');
                    }
                    name.push(letter.to_ascii_uppercase());
                }
                (reason.name(), name)
            })
            .collect();
        let coded: Vec<(&str, &str)> = coded.iter().map(|(reason, code)| (*reason, code.as_str())).collect();
        assert_eq!(documented, coded);
    }

    #[test]
    fn an_internal_error_says_nothing_but_the_trace() {
        let status = Status::from(Error::Internal("password of the database".to_owned()));
        assert_eq!(status.code(), Code::Internal);
        assert!(status.message().starts_with("internal error, trace "));
    }
    #[test]
    fn a_list_of_bad_fields_fits_in_the_headers_that_clients_take() {
        let violation =
            |field: &str, description: &str| Violation { field: field.to_owned(), description: description.to_owned() };
        let long = ["p".repeat(100_000), "ü".repeat(100_000), "%".repeat(4_000)];
        let mut lists = vec![vec![violation("a", "b"); 10_000], vec![violation("name", &" ".repeat(200)); 100]];
        lists.extend(long.iter().flat_map(|text| [vec![violation("a", text); 9], vec![violation(text, "is bad")]]));
        for violations in lists {
            let (count, field) = (violations.len(), violations[0].field.clone());
            let status = list_violations(violations);
            let details = status.get_error_details();
            let told = details.bad_request().unwrap().field_violations.first().unwrap();
            assert!(field.starts_with(told.field.trim_end_matches('…')), "the first is told");
            let headers = status.into_http::<tonic::body::Body>().into_parts().0.headers;
            let size: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum();
            assert!(size < 7 * 1024, "{count} bad fields such as {}… take {size} bytes", &field[..1]);
        }
    }
}
