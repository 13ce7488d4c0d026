//! An error answer of the service with all its details, as people read it.

use std::fmt;
use std::time::Duration;

use prost::Message as _;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, RpcStatusExt as _};

/// An error status with its details of `google.rpc`, and the id of its trace.
#[derive(Debug)]
pub struct Refusal {
    code: Code,
    message: String,
    details: ErrorDetails,
    trace_id: Option<String>,
}

impl Refusal {
    /// From the status that an RPC ended with.
    pub(super) fn from_status(status: &Status) -> Self {
        let packed = tonic_types::Status::decode(status.details()).unwrap_or_default();
        let request_id = packed.get_details_request_info().map(|info| info.request_id);
        Self {
            code: status.code(),
            message: status.message().to_owned(),
            details: packed.get_error_details(),
            trace_id: trace_id(status.metadata()).or(request_id),
        }
    }

    /// From the outcome of one item of a stream.
    pub(super) fn from_item(status: &tonic_types::Status) -> Self {
        Self {
            code: Code::from_i32(status.code),
            message: status.message.clone(),
            details: status.get_error_details(),
            trace_id: None,
        }
    }

    /// The same refusal with other names for its fields, where there are any.
    pub(super) fn with_fields_named(mut self, name: impl Fn(&str) -> Option<String>) -> Self {
        if let Some(request) = self.details.bad_request() {
            let mut violations = request.field_violations.clone();
            for violation in &mut violations {
                violation.field = name(&violation.field).unwrap_or_else(|| violation.field.clone());
            }
            self.details.set_bad_request(violations);
        }
        if let Some(mut info) = self.details.error_info().cloned() {
            if let Some(field) = info.metadata.get_mut("field")
                && let Some(name) = name(field)
            {
                *field = name;
            }
            self.details.set_error_info(info.reason, info.domain, info.metadata);
        }
        self
    }

    /// The stable reason, if the answer has one.
    pub(super) fn reason(&self) -> Option<&str> {
        self.details.error_info().map(|info| info.reason.as_str())
    }

    /// The answer on one line, for lists of many.
    pub(super) fn summary(&self) -> String {
        let mut line = self.reason().map_or_else(|| code_name(self.code), str::to_owned);
        let violations = self.details.bad_request().map(|request| request.field_violations.as_slice());
        match violations.unwrap_or_default() {
            [] => line.push_str(&format!(": {}", self.message)),
            violations => {
                for (separator, violation) in [": "].into_iter().chain(std::iter::repeat("; ")).zip(violations) {
                    line.push_str(&format!("{separator}{} {}", violation.field, violation.description));
                }
            }
        }
        line
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "  status   {}", code_name(self.code))?;
        let mut line = |name: &str, value: &str| {
            // If a message has several lines, the others begin below the first.
            write!(f, "\n  {name:<8} {}", value.replace('\n', "\n           "))
        };
        line("message", &self.message)?;
        if let Some(info) = self.details.error_info() {
            line("reason", &info.reason)?;
            let mut facts: Vec<_> = info.metadata.iter().collect();
            facts.sort();
            for (key, value) in facts {
                line("", &format!("{key} = {value}"))?;
            }
        }
        for violation in self.details.bad_request().iter().flat_map(|request| &request.field_violations) {
            line("field", &format!("{} {}", violation.field, violation.description))?;
        }
        for violation in self.details.precondition_failure().iter().flat_map(|failure| &failure.violations) {
            if self.reason() != Some(violation.r#type.as_str()) {
                line("state", &format!("{} {}: {}", violation.r#type, violation.subject, violation.description))?;
            }
        }
        for violation in self.details.quota_failure().iter().flat_map(|failure| &failure.violations) {
            line("limit", &format!("{}: {}", violation.subject, violation.description))?;
        }
        if let Some(delay) = self.details.retry_info().and_then(|info| info.retry_delay) {
            line("retry", &format!("after {}", show_delay(delay)))?;
        }
        if let Some(trace_id) = &self.trace_id {
            line("trace", trace_id)?;
        }
        Ok(())
    }
}

/// The id of the trace that an answer belongs to. The service sends it as W3C `traceparent`.
pub(super) fn trace_id(metadata: &tonic::metadata::MetadataMap) -> Option<String> {
    let traceparent = metadata.get("traceparent")?.to_str().ok()?;
    traceparent.split('-').nth(1).map(str::to_owned)
}

/// The code as the gRPC documentation writes it, such as `NOT_FOUND`.
pub(super) fn code_name(code: Code) -> String {
    let mut name = String::new();
    for letter in format!("{code:?}").chars() {
        if letter.is_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}

fn show_delay(delay: Duration) -> String {
    format!("{:?}", Duration::from_millis(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use tonic::metadata::MetadataMap;
    use tonic_types::StatusExt as _;

    use super::*;

    #[test]
    fn an_error_is_shown_with_reason_facts_every_field_and_its_trace() {
        let mut details = ErrorDetails::new();
        details.set_error_info("PROGRAM_NOT_FOUND", "goldbook", [("program_id".to_owned(), "nowhere".to_owned())]);
        details.add_bad_request_violation("program_id", "must not be empty");
        details.add_bad_request_violation("amount", "must be set");
        let mut metadata = MetadataMap::new();
        let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        metadata.insert("traceparent", traceparent.parse().unwrap());
        let status = Status::with_error_details_and_metadata(Code::NotFound, "no such program", details, metadata);

        let shown = Refusal::from_status(&status).to_string();
        let expected = "  status   NOT_FOUND
  message  no such program
  reason   PROGRAM_NOT_FOUND
           program_id = nowhere
  field    program_id must not be empty
  field    amount must be set
  trace    0af7651916cd43dd8448eb211c80319c";
        assert_eq!(shown, expected);
    }

    #[test]
    fn fields_can_be_told_by_other_names() {
        let mut details = ErrorDetails::with_bad_request_violation("program.points.hold_for", "is too long");
        details.set_error_info("PROGRAM_FIELD_IMMUTABLE", "goldbook", [("field".to_owned(), "time_zone".to_owned())]);
        let status = Status::with_error_details(Code::FailedPrecondition, "the time_zone cannot change", details);
        let name = |field: &str| (field == "time_zone").then(|| "shop.toml:4:13: time_zone".to_owned());
        let shown = Refusal::from_status(&status).with_fields_named(name).to_string();
        assert!(shown.contains("field = shop.toml:4:13: time_zone"), "{shown}");
        assert!(shown.contains("program.points.hold_for is too long"), "{shown}");
    }

    #[test]
    fn an_items_error_fits_one_line() {
        let packed = |details| {
            let status = Status::with_error_details(Code::InvalidArgument, "bad request", details);
            tonic_types::Status::decode(status.details()).unwrap()
        };
        let mut details = ErrorDetails::new();
        details.add_bad_request_violation("a", "must be set").add_bad_request_violation("b", "is too long");
        assert_eq!(Refusal::from_item(&packed(details)).summary(), "INVALID_ARGUMENT: a must be set; b is too long");
        let details = ErrorDetails::with_error_info("ACTIVITY_ID_REUSED", "goldbook", []);
        assert_eq!(Refusal::from_item(&packed(details)).summary(), "ACTIVITY_ID_REUSED: bad request");
    }

    #[test]
    fn codes_have_the_names_of_the_protocol() {
        assert_eq!(code_name(Code::InvalidArgument), "INVALID_ARGUMENT");
        assert_eq!(code_name(Code::Ok), "OK");
    }
}
