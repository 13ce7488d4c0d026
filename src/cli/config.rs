//! `goldbook config`: checks a configuration file, and shows what holds with it.

use clap::{Args, Subcommand};

use super::config_file::FileSettings;
use super::error::CliError;
use super::output::print;
use super::serve::ServeArgs;

const HELP: &str = "\
A configuration file is TOML. Each flag of `goldbook serve` can stand in it by its
name, with _ for -; a flag on the command line and a variable of the environment
win over it. Issuers of tokens and certificates of callers stand in it alone:

  listen = \"0.0.0.0:50051\"
  tls_certificate = \"/etc/goldbook/tls.crt\"
  tls_key = \"/etc/goldbook/tls.key\"
  api_keys = true

  [[issuer]]
  issuer = \"https://login.example.com/realms/shop\"
  audience = [\"goldbook\"]
  customer_claim = \"customer_id\"
  roles_claim = \"realm_access.roles\"
  programs = [\"shop\"]

  [[certificate]]
  name = \"checkout\"
  uri = \"spiffe://shop/checkout\"
  roles = [\"service\"]
  programs = \"all\"

Examples:
  goldbook config check --config goldbook.toml
  goldbook config show --config goldbook.toml";

/// Check a configuration file, or show what holds with it.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct ConfigArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Check that a service would start with this configuration, as far as files and variables tell.
    Check(Box<ServeArgs>),
    /// Show what holds: the file, the environment and the flags together. Passwords are left out.
    Show(Box<ServeArgs>),
}

/// Runs `goldbook config`.
///
/// # Errors
/// If the configuration is wrong.
pub(crate) async fn run(args: ConfigArgs) -> Result<(), CliError> {
    match args.action {
        Action::Check(args) => {
            args.check().await?;
            print("the configuration is sound")
        }
        Action::Show(args) => {
            let file = FileSettings::read(args.config())?;
            let shown = toml::to_string_pretty(&file).map_err(CliError::failed)?;
            print(format_args!("{}\n{shown}", args.show()?).to_string().trim_end())
        }
    }
}
