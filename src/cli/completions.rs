//! `goldbook completions`: what a shell needs to complete commands, flags and their values.

use clap::{Args, Command};
use clap_complete::{Shell, generate};

use super::error::CliError;
use super::output;

const EXAMPLES: &str = "\
Examples:
  goldbook completions bash > /usr/share/bash-completion/completions/goldbook
  goldbook completions zsh > /usr/local/share/zsh/site-functions/_goldbook
  goldbook completions fish > ~/.config/fish/completions/goldbook.fish";

/// Write what a shell needs to complete commands and flags.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct CompletionsArgs {
    /// The shell.
    shell: Shell,
}

/// Runs `goldbook completions`.
///
/// # Errors
/// If standard output cannot be written.
pub(super) fn run(args: &CompletionsArgs, mut program: Command) -> Result<(), CliError> {
    let mut script = Vec::new();
    generate(args.shell, &mut program, "goldbook", &mut script);
    output::print(String::from_utf8_lossy(&script).trim_end())
}
