//! What requests of the ledger have in common.

use crate::error::Fields;
use crate::ledger::store::TimeRange;
use crate::proto::fields::parse_optional_instant;

/// How many kinds a request may name.
pub(super) const MAX_KINDS: usize = 50;

/// An instant of a request, with the name of its field.
pub(super) type Bound<'a> = (&'static str, Option<&'a prost_types::Timestamp>);

/// Parses a range of instants, whose end must be later than its beginning.
pub(super) fn parse_time_range(fields: &mut Fields, begin: Bound<'_>, end: Bound<'_>) -> TimeRange {
    let from = parse_optional_instant(fields, begin.0, begin.1);
    let until = parse_optional_instant(fields, end.0, end.1);
    if let (Some(from), Some(until)) = (from, until)
        && until <= from
    {
        fields.refuse(end.0, format!("must be later than {}", begin.0));
    }
    TimeRange { from, until }
}
