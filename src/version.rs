//! Which program this is.

/// The version of Goldbook, as `Cargo.toml` has it.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit of the sources, if whoever built the program named one by the variable `GOLDBOOK_COMMIT`.
pub const COMMIT: Option<&str> = match option_env!("GOLDBOOK_COMMIT") {
    Some(commit) if !commit.is_empty() => Some(commit),
    Some(_) | None => None,
};
