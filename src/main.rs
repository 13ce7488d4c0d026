//! The program: reads the command line, does what it says, and ends with the exit code that fits.

use std::process::ExitCode;
use std::time::Instant;

use goldbook::cli::{Cli, CliError};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[expect(clippy::disallowed_methods, reason = "how long the start takes, for the log")]
fn main() -> ExitCode {
    let begun = Instant::now();
    let ended = Cli::read().and_then(|cli| {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let runtime = runtime.map_err(|error| CliError::failed(format_args!("cannot start the runtime: {error}")))?;
        let ended = runtime.block_on(cli.run(begun));
        // A long calculation, whose caller is gone, must not hold up the end.
        runtime.shutdown_background();
        ended
    });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error.report();
            error.exit_code()
        }
    }
}
