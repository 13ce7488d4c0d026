//! The command line: what a person at a terminal does with Goldbook, as a server's operator or as one of its clients.
//!
//! `serve`, `config`, `migrate`, `audit`, `trace`, `principal` and `key` are the server's side, and know the database. Everything else is a client like
//! any other: it talks to a running service over gRPC and knows nothing that the protos do not say.

mod amount;
mod audit;
mod bars;
mod bench;
mod client;
mod completions;
mod config;
mod config_file;
mod criteria;
mod customer;
mod database_args;
mod database_url;
mod demo;
mod erasure_keys;
mod error;
mod export;
mod import;
mod instant;
mod key;
mod man;
mod migrate;
mod output;
mod principal;
mod program;
mod progress;
mod refusal;
mod segments;
mod serve;
mod statement;
pub mod statement_line;
mod statements;
mod telemetry_args;
mod tiers;
mod trace;
mod value;
mod version;
mod wait;

use std::time::Instant;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

pub use error::CliError;
#[cfg(any(test, fuzzing))]
pub(crate) use {import::fuzzing::read_import, program::fuzzing::read_document};

/// What `goldbook --help` says after the list of commands.
const FIRST_STEPS: &str = "\
First steps:
  goldbook serve            start the service, with a database of its own
  goldbook program check examples/programs/shop.toml
  goldbook program apply examples/cdnow/program.toml
  goldbook import purchases --program cdnow examples/cdnow/purchases.csv
  goldbook import balances --program cdnow --enrol balances.csv
  goldbook export --program cdnow --output entries.csv
  goldbook customer C0001   what the book knows about one customer
  goldbook customer export --program cdnow --customer C0001 --output C0001.json
  goldbook statement C0001  every move of the customer's points
  goldbook demo             a referral from code to reward, step by step

Every command has a help text of its own: goldbook import purchases --help

Environment:
  GOLDBOOK_ADDRESS   where the client commands find the service
  NO_COLOR           set to anything: no colour

Exit status: 0 done; 1 refused, failed, or done in part; 2 wrong usage.";

/// Goldbook: the loyalty book of record.
///
/// One gRPC service that knows a program's customers, the tier each one holds and why, who brought whom and what was
/// granted for it, with an immutable ledger row behind every answer.
#[derive(Debug, Parser)]
#[command(name = "goldbook", after_help = FIRST_STEPS, after_long_help = FIRST_STEPS, max_term_width = 100)]
#[command(arg_required_else_help = true, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// Print the version of this program.
    #[arg(short = 'V', long, required = true)]
    version: bool,

    /// With --version: also the commit, how it was built, the schema that it needs and the data that came with it.
    #[arg(long, requires = "version")]
    verbose: bool,

    #[command(subcommand)]
    command: Option<Command>,
}

/// A command's help comes from the comment on its arguments. A comment on a variant here would replace it.
#[derive(Debug, Subcommand)]
enum Command {
    Serve(Box<serve::ServeArgs>),
    Migrate(migrate::MigrateArgs),
    Audit(audit::AuditArgs),
    Key(key::KeyArgs),
    Principal(principal::PrincipalArgs),
    Trace(trace::TraceArgs),
    Config(config::ConfigArgs),
    Program(program::ProgramArgs),
    Import(import::ImportArgs),
    Export(export::ExportArgs),
    Customer(customer::CustomerArgs),
    Tiers(tiers::TiersArgs),
    Segments(segments::SegmentsArgs),
    Value(value::ValueArgs),
    Statement(statements::StatementArgs),
    Demo(demo::DemoArgs),
    Bench(Box<bench::args::BenchArgs>),
    BenchCheck(bench::check::BenchCheckArgs),
    Wait(wait::WaitArgs),
    Completions(completions::CompletionsArgs),
    Man(man::ManArgs),
    /// The baseline that `bench` compares reads with; it starts this by itself.
    #[command(hide = true)]
    BenchEcho(bench::echo::EchoArgs),
}

impl Cli {
    /// Reads the command line, with what a configuration file says for what the command line leaves out. Ends the program
    /// where the command line is wrong or asks for help.
    ///
    /// # Errors
    /// If the configuration file is wrong, or a password stands on the command line.
    pub fn read() -> Result<Self, CliError> {
        let command = Self::command();
        let given = command.clone().get_matches();
        database_url::refuse_passwords(&command, &given)?;
        let Some(path) = config_file::config_of(&given) else {
            return Self::from_arg_matches(&given).map_err(|error| error.exit());
        };
        let mut faults = None;
        let with_file = |serve: clap::Command| match config_file::with_defaults(serve.clone(), &path) {
            Ok(serve) => serve,
            Err(fault) => {
                faults = Some(fault);
                serve
            }
        };
        let command = if given.subcommand_name() == Some("config") {
            let inner = given.subcommand_matches("config").and_then(clap::ArgMatches::subcommand_name);
            let inner = inner.unwrap_or_default().to_owned();
            command.mut_subcommand("config", |config| config.mut_subcommand(inner, with_file))
        } else {
            command.mut_subcommand("serve", with_file)
        };
        match faults {
            Some(fault) => Err(fault),
            None => Self::from_arg_matches(&command.get_matches()).map_err(|error| error.exit()),
        }
    }

    /// Runs the command of a process that began at this time.
    ///
    /// # Errors
    /// If the command failed. [`CliError::exit_code`] is what the process should end with.
    pub async fn run(self, begun: Instant) -> Result<(), CliError> {
        let Some(command) = self.command else {
            return output::print(if self.verbose { version::verbose() } else { version::short() });
        };
        match command {
            Command::Serve(args) => serve::run(*args, begun).await,
            Command::Migrate(args) => migrate::run(args).await,
            Command::Audit(args) => audit::run(args).await,
            Command::Key(args) => key::run(args).await,
            Command::Principal(args) => principal::run(args).await,
            Command::Trace(args) => trace::run(args).await,
            Command::Config(args) => config::run(args).await,
            Command::Program(args) => program::run(args).await,
            Command::Import(args) => import::run(args).await,
            Command::Export(args) => export::run(args).await,
            Command::Customer(args) => customer::run(args).await,
            Command::Tiers(args) => tiers::run(args).await,
            Command::Segments(args) => segments::run(args).await,
            Command::Value(args) => value::run(args).await,
            Command::Statement(args) => statements::run(args).await,
            Command::Demo(args) => demo::run(args).await,
            Command::Bench(args) => bench::run(*args).await,
            Command::BenchCheck(args) => bench::check::run(&args),
            Command::Wait(args) => wait::run(args).await,
            Command::Completions(args) => completions::run(&args, Self::command()),
            Command::Man(args) => man::run(&args, Self::command()),
            Command::BenchEcho(args) => bench::echo::run(args).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn no_command_takes_a_password_on_its_line() {
        let command = Cli::command();
        let lines = [
            ("serve --database-url", "GOLDBOOK_DATABASE_URL"),
            ("serve --owner-database-url", "GOLDBOOK_OWNER_DATABASE_URL"),
            ("config check --database-url", "GOLDBOOK_DATABASE_URL"),
            ("config show --owner-database-url", "GOLDBOOK_OWNER_DATABASE_URL"),
            ("migrate --database-url", "GOLDBOOK_OWNER_DATABASE_URL"),
            ("audit --database-url", "GOLDBOOK_DATABASE_URL"),
            ("key list --database-url", "GOLDBOOK_DATABASE_URL"),
            ("key create till --role service --database-url", "GOLDBOOK_DATABASE_URL"),
            ("bench --address http://localhost:1 --database-url", "~/.pgpass"),
        ];
        for (line, elsewhere) in lines {
            let read = |url: &str| {
                let line = format!("goldbook {line} {url}");
                let matches = command.clone().try_get_matches_from(line.split(' ')).unwrap();
                database_url::refuse_passwords(&command, &matches)
            };
            read("postgres://goldbook_owner@localhost/goldbook").unwrap();
            let told = read("postgres://goldbook_owner:hunter2@localhost/goldbook").unwrap_err().to_string();
            assert!(told.contains(elsewhere) && told.contains("PGPASSWORD") && !told.contains("hunter2"), "{told}");
        }
    }

    /// The names in code spans of a cell.
    fn names_in(cell: &str) -> Vec<String> {
        cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    }

    #[test]
    fn the_readme_lists_every_flag_of_serve_with_its_variable() {
        let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
        let (_, section) = readme.split_once("\n## Configuration\n").unwrap();
        let (section, _) = section.split_once("\n## ").unwrap();
        let rows = section.lines().filter_map(|line| line.strip_prefix('|')?.split_once('|'));
        let rows: Vec<(Vec<String>, Vec<String>)> =
            rows.map(|(flags, rest)| (names_in(flags), names_in(rest.split('|').next().unwrap()))).collect();
        // A row of several flags has their variables in the same order.
        let listed = rows.iter().flat_map(|(flags, variables)| {
            flags.iter().enumerate().map(|(place, flag)| (flag.clone(), variables.get(place).cloned()))
        });
        let listed: BTreeSet<(String, Option<String>)> = listed.collect();
        let command = Cli::command();
        let flags = command.find_subcommand("serve").unwrap().get_arguments().filter(|flag| !flag.is_hide_set());
        let known = flags.map(|flag| {
            let variable = flag.get_env().map(|variable| variable.to_str().unwrap().to_owned());
            (format!("--{}", flag.get_long().unwrap()), variable)
        });
        assert_eq!(listed, known.collect());
        let without_flag = erasure_keys::VARIABLE.to_owned();
        assert!(rows.iter().any(|(_, variables)| variables.contains(&without_flag)), "{without_flag}");
    }

    #[test]
    fn every_visible_command_and_option_has_a_help_text() {
        fn check(command: &clap::Command) {
            assert!(command.get_about().is_some(), "{} has no help text", command.get_name());
            for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
                let name = argument.get_id();
                assert!(argument.get_help().is_some(), "{} {name} has no help text", command.get_name());
            }
            command.get_subcommands().for_each(check);
        }
        check(&Cli::command());
    }
}
