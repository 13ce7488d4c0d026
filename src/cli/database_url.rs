//! The URL of a database as people give it. It may hold a password, so an error never repeats it.

use std::convert::Infallible;
use std::fmt;
use std::path::Path;
use std::str::FromStr;

use clap::parser::ValueSource;
use clap::{ArgMatches, Command};
use sqlx::postgres::PgConnectOptions;
use zeroize::Zeroizing;

use super::error::CliError;
use crate::embedded_postgres::connect_options_of_running;

/// The URL of a database. It is not looked at before it is used: the command line would show a wrong one.
#[derive(Clone)]
pub(crate) struct DatabaseUrl(Zeroizing<String>);

impl FromStr for DatabaseUrl {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(Zeroizing::new(text.to_owned())))
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DatabaseUrl(…)")
    }
}

impl DatabaseUrl {
    /// How to connect.
    ///
    /// # Errors
    /// If it is no URL of a database.
    pub(crate) fn options(&self) -> Result<PgConnectOptions, CliError> {
        let wrong = "a database's URL is wrong: it must be postgres://USER:PASSWORD@HOST:PORT/NAME, in which the \
                     characters of USER and PASSWORD that a URL has a meaning for are percent-encoded";
        self.0.parse().map_err(|_| CliError::usage(wrong))
    }

    /// The URL without the password.
    ///
    /// # Errors
    /// As [`options`](Self::options).
    pub(crate) fn show(&self) -> Result<String, CliError> {
        let options = self.options()?;
        let (user, host, port) = (options.get_username(), options.get_host(), options.get_port());
        Ok(format!("postgres://{user}:***@{host}:{port}/{}", options.get_database().unwrap_or(user)))
    }
}

/// Refuses a command line in which the URL of a database has a password: process lists show it to everyone.
///
/// # Errors
/// If one has. It says where a password can stand.
pub(super) fn refuse_passwords(command: &Command, matches: &ArgMatches) -> Result<(), CliError> {
    for flag in command.get_arguments() {
        let Some(name) = flag.get_long().filter(|name| name.ends_with("database-url")) else { continue };
        let id = flag.get_id().as_str();
        if matches.value_source(id) != Some(ValueSource::CommandLine) {
            continue;
        }
        let mut urls = matches.get_raw(id).into_iter().flatten();
        if urls.any(|url| has_password(&url.to_string_lossy())) {
            let variable = flag.get_env().map(|variable| variable.to_string_lossy());
            let elsewhere = variable.map(|variable| format!("give the URL in {variable}, or ")).unwrap_or_default();
            return Err(CliError::usage(format_args!(
                "--{name}: process lists show a password on the command line to everyone: {elsewhere}leave the \
                 password out of it, and let it be in PGPASSWORD or in the file ~/.pgpass",
            )));
        }
    }
    let inner = matches.subcommand().and_then(|(name, inner)| Some((command.find_subcommand(name)?, inner)));
    inner.map_or(Ok(()), |(command, inner)| refuse_passwords(command, inner))
}

/// Whether a URL holds a password, also where its characters are not encoded as they must be.
fn has_password(url: &str) -> bool {
    let (_, rest) = url.split_once("://").unwrap_or_default();
    let before_parameters = rest.split('?').next().and_then(|start| start.rsplit_once('@'));
    let user = before_parameters.or_else(|| rest.rsplit_once('@')).map(|(user, _)| user);
    user.is_some_and(|user| user.contains(':')) || url.contains("password=")
}

/// The database that is named, or else the one that a service runs in the data directory, in this role.
///
/// # Errors
/// If the URL is wrong, or no service runs one there.
pub(crate) fn find_database(
    named: Option<&DatabaseUrl>,
    data_dir: &Path,
    role: &str,
) -> Result<PgConnectOptions, CliError> {
    if let Some(named) = named {
        return named.options();
    }
    connect_options_of_running(data_dir, role).map_err(|error| {
        CliError::failed(format_args!(
            "no service runs a database in {} ({error}): name one with --database-url, or the directory with --data-dir",
            data_dir.display()
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_found_wherever_it_is_in_a_url() {
        for url in [
            "postgres://u:hunter2@db:5433/loyalty",
            "postgres://u:hunter2/3@db/loyalty",
            "postgres://u:hunter2?3@db/loyalty",
            "postgres://u:hunter2#3@db/loyalty",
            "postgres://u:p@ss@db/loyalty",
            "postgres://u@db/loyalty?sslmode=require&password=hunter2",
            "host=db password=hunter2",
        ] {
            assert!(has_password(url), "{url}");
        }
        for url in [
            "postgres://u@db:5433/loyalty",
            "postgres://db/loyalty",
            "postgres://u@%2Frun%2Fpg:5432/loyalty?sslmode=disable",
            "postgres://u@[::1]:5432/loyalty",
            "postgres://[::1]:5432/loyalty",
            "postgres://u@localhost/loyalty?host=/run/a:b",
        ] {
            assert!(!has_password(url), "{url}");
        }
    }

    #[test]
    fn a_password_is_never_shown() {
        let url: DatabaseUrl = "postgres://goldbook:hunter2@db:5433/loyalty".parse().unwrap();
        assert_eq!(url.show().unwrap(), "postgres://goldbook:***@db:5433/loyalty");
        let wrong: DatabaseUrl = "postgres://goldbook:hunter2/x@db:port/loyalty".parse().unwrap();
        for told in [wrong.show().unwrap_err().to_string(), format!("{wrong:?}"), format!("{url:?}")] {
            assert!(!told.contains("hunter2"), "{told}");
        }
    }
}
