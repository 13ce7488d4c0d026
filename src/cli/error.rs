//! Why a command failed, in words that tell the reader what to do next.

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
    /// The command could not find out what it was asked. Its exit code differs from that of a bad answer.
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
    /// Something else failed.
    #[error("{0}")]
    Failed(String),
    /// The command came to its end, but part of it was refused.
    #[error("{0}")]
    Incomplete(String),
    /// Nobody reads the output any more, as when `head` has read enough. This is no failure, and nothing is told.
    #[error("nobody reads the output any more")]
    ReaderLeft,
}

impl CliError {
    /// The error of wrong usage, with exit code 2.
    pub(crate) fn usage(message: impl fmt::Display) -> Self {
        Self::Usage(message.to_string())
    }

    /// The error of any other failure, with exit code 1.
    pub fn failed(message: impl fmt::Display) -> Self {
        Self::Failed(message.to_string())
    }

    /// For `map_err` on an RPC: makes the error from what was attempted and the service's answer.
    pub(crate) fn refused(attempt: &str) -> impl FnOnce(Status) -> Self {
        move |status| Self::Refused { attempt: attempt.to_owned(), refusal: Box::new(Refusal::from_status(&status)) }
    }

    /// The exit code of the process.
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

/// An error with its causes on one line. The outer error often says no more than that something failed.
#[must_use]
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
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
