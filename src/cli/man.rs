//! `goldbook man`: the manual of every command, made of what its help is made of.

use std::fs;
use std::path::PathBuf;

use clap::{Args, Command};
use clap_mangen::Man;

use super::error::CliError;
use super::output;

const EXAMPLES: &str = "\
Examples:
  goldbook man --output /usr/local/share/man/man1
  man goldbook-serve";

/// Write the manual: a page for the program, and one for each of its commands.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ManArgs {
    /// The folder to write the pages to; it is made if it is not there.
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
}

/// Runs `goldbook man`.
///
/// # Errors
/// If a page cannot be written.
pub(super) fn run(args: &ManArgs, mut program: Command) -> Result<(), CliError> {
    program.build();
    let failed = |error: std::io::Error| CliError::failed(format!("{}: {error}", args.output.display()));
    fs::create_dir_all(&args.output).map_err(failed)?;
    let mut pages = 0_usize;
    let mut commands = vec![program];
    while let Some(command) = commands.pop() {
        let shown = command.get_subcommands().filter(|inner| !inner.is_hide_set() && inner.get_name() != "help");
        commands.extend(shown.cloned());
        // Built above, so that an inner command knows its whole name, such as `goldbook-import-purchases`.
        let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
        let mut page = Vec::new();
        Man::new(command).render(&mut page).map_err(failed)?;
        fs::write(args.output.join(format!("{name}.1")), page).map_err(failed)?;
        pages += 1;
    }
    output::print(format_args!("{pages} pages are in {}", args.output.display()))
}
