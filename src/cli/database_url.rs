//! The URL of a database as people give it. It may hold a password, so an error never repeats it.

use std::convert::Infallible;
use std::fmt;
use std::path::Path;
use std::str::FromStr;

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
    fn a_password_is_never_shown() {
        let url: DatabaseUrl = "postgres://goldbook:hunter2@db:5433/loyalty".parse().unwrap();
        assert_eq!(url.show().unwrap(), "postgres://goldbook:***@db:5433/loyalty");
        let wrong: DatabaseUrl = "postgres://goldbook:hunter2/x@db:port/loyalty".parse().unwrap();
        for told in [wrong.show().unwrap_err().to_string(), format!("{wrong:?}"), format!("{url:?}")] {
            assert!(!told.contains("hunter2"), "{told}");
        }
    }
}
