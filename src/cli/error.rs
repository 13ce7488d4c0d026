//! Why a command failed, told so that the reader knows what to do next.

use std::fmt;
use std::process::ExitCode;

use tonic::Status;

use super::refusal::Refusal;

/// What a failed command tells on standard error before the process ends.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The command line, or a file that it names, makes no sense.
    #[error("{0}")]
    Usage(String),
    /// Nothing was done, so that nothing is known of what was asked; for commands whose answer is their exit code.
    #[error("{0}")]
    NotRun(String),
    /// The service answered with an error.
    #[error("{attempt}: the service says no\n{refusal}")]
    Refused {
        /// What was attempted, such as `cannot apply the program`.
        attempt: String,
        /// The answer, complete.
        refusal: Box<Refusal>,
    },
    /// Something else came in the way.
    #[error("{0}")]
    Failed(String),
    /// All was done and told, but part of it was refused.
    #[error("{0}")]
    Incomplete(String),
    /// Whoever read the output has enough of it, as `head` does: nothing to tell, and no failure.
    #[error("nobody reads the output any more")]
    ReaderLeft,
}

impl CliError {
    /// Wrong usage: exit code 2.
    pub fn usage(message: impl fmt::Display) -> Self {
        Self::Usage(message.to_string())
    }

    /// A failure of any other kind: exit code 1.
    pub fn failed(message: impl fmt::Display) -> Self {
        Self::Failed(message.to_string())
    }

    /// For `map_err` on an RPC: what was attempted, and the answer with all its details.
    pub fn refused(attempt: &str) -> impl FnOnce(Status) -> Self {
        move |status| Self::Refused { attempt: attempt.to_owned(), refusal: Box::new(Refusal::from_status(&status)) }
    }

    /// What to end the process with.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::ReaderLeft => ExitCode::SUCCESS,
            Self::Usage(_) | Self::NotRun(_) => ExitCode::from(2),
            Self::Refused { .. } | Self::Failed(_) | Self::Incomplete(_) => ExitCode::FAILURE,
        }
    }

    /// Tells the error on standard error.
    pub fn report(&self) {
        if !matches!(self, Self::ReaderLeft) {
            eprintln!("error: {self}");
        }
    }
}

/// An error with its causes on one line, because the outer ones often say no more than that something failed.
#[must_use]
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !message.contains(&text) {
            message.push_str(": ");
            message.push_str(&text);
        }
        cause = error.source();
    }
    message
}
