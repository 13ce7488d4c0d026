//! The targets that tell spans of this crate from others.

/// What spans of this crate have as the beginning of their target; other crates' spans do not become trace spans.
pub(super) const OURS: &str = env!("CARGO_CRATE_NAME");
/// The target of spans of single SQL statements, which are not made at all while nobody collects them.
pub(super) const SQL: &str = concat!(env!("CARGO_CRATE_NAME"), "::sql");
