//! The configuration file: what every flag of `goldbook serve` has for a default, and what has no flag, since it is more
//! than one value.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::{ArgAction, ArgMatches, Command};
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::error::CliError;
use crate::access::certificate::CertificateRule;
use crate::access::issuer::Issuer;
use crate::access::limits::Limits;

/// The flag that names the file.
const CONFIG_FLAG: &str = "config";

/// What of the file has no flag.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct FileSettings {
    /// The issuers whose tokens count.
    #[serde(rename = "issuer")]
    pub(super) issuers: Vec<Issuer>,
    /// The certificates of callers that count.
    #[serde(rename = "certificate")]
    pub(super) certificates: Vec<CertificateRule>,
    /// How often callers may call, by role.
    pub(super) limits: Limits,
}

impl FileSettings {
    /// Reads them from a file; all are absent without one.
    ///
    /// # Errors
    /// If the file cannot be read, or anything in it is wrong. All faults are told at once.
    pub(super) fn read(path: Option<&Path>) -> Result<Self, CliError> {
        let Some(path) = path else { return Ok(Self::default()) };
        let mut table = read_table(path)?;
        table.retain(|_, value| is_of_settings(value));
        let wrong = |fault: String| CliError::usage(format_args!("{}: {fault}", path.display()));
        let settings: Self = table.try_into().map_err(|error| wrong(tell_misfit(&error)))?;
        let faults = settings.find_faults();
        if faults.is_empty() { Ok(settings) } else { Err(wrong(faults.join("\n"))) }
    }

    fn find_faults(&self) -> Vec<String> {
        let mut faults: Vec<String> = self.issuers.iter().flat_map(Issuer::find_faults).collect();
        faults.extend(self.certificates.iter().flat_map(CertificateRule::find_faults));
        let mut names = BTreeSet::new();
        let twice = self.issuers.iter().filter(|issuer| !names.insert(&issuer.issuer));
        faults.extend(twice.map(|issuer| format!("issuer {} is there twice", issuer.issuer)));
        let mut peers = Vec::new();
        for rule in &self.certificates {
            if let Some(peer) = rule.peer() {
                if peers.contains(&peer) {
                    faults.push(format!("certificate {}: another one has the same name in it", rule.name));
                }
                peers.push(peer);
            }
        }
        faults
    }
}

/// Tables, and lists of them, are settings; everything else is the default of a flag. A list that is empty says nothing.
fn is_of_settings(value: &Value) -> bool {
    value.is_table()
        || value.as_array().is_some_and(Vec::is_empty)
        || value.as_array().is_some_and(|items| items.iter().any(Value::is_table))
}

fn read_table(path: &Path) -> Result<Table, CliError> {
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|error| CliError::usage(format_args!("{}: {error}", path.display())))?;
    text.parse().map_err(|error| CliError::usage(format_args!("{}: {}", path.display(), tell_syntax(&error, &text))))
}

/// What is wrong with the text of a file, and where. The error's own words repeat the line, which may hold a password.
fn tell_syntax(error: &toml::de::Error, text: &str) -> String {
    let message = error.message();
    let Some(before) = error.span().and_then(|span| text.get(..span.start)) else {
        return format!("it is not TOML: {message}");
    };
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|character| *character != '\n').count() + 1;
    format!("it is not TOML at line {line}, column {column}: {message}")
}

/// What of a file is no setting, and where. A value that is of another kind is repeated, but no URL: it may hold a password.
fn tell_misfit(error: &toml::de::Error) -> String {
    let (told, message) = (error.to_string(), error.message());
    if message.contains("://") { told.replace(message, "a URL stands where none can") } else { told }
}

/// The same command, whose flags have what the file says for defaults: so the environment and the command line win.
///
/// # Errors
/// If the file cannot be read, or names what is no flag, or gives it more or less than one value.
pub(super) fn with_defaults(mut command: Command, path: &Path) -> Result<Command, CliError> {
    let wrong = |fault: String| CliError::usage(format_args!("{}: {fault}", path.display()));
    for (name, value) in read_table(path)? {
        if is_of_settings(&value) {
            continue;
        }
        let flag = command.get_arguments().find(|flag| {
            let is_named = flag.get_long().is_some_and(|long| long.replace('-', "_") == name);
            is_named && name != CONFIG_FLAG && !flag.is_hide_set()
        });
        let Some(flag) = flag else { return Err(wrong(format!("there is no setting {name}"))) };
        let id = flag.get_id().clone();
        if let (Value::Array(items), ArgAction::Append) = (&value, flag.get_action()) {
            let texts: Option<Vec<String>> = items.iter().map(|item| item.as_str().map(str::to_owned)).collect();
            let texts = texts.ok_or_else(|| wrong(format!("{name} must be a list of texts")))?;
            command = command.mut_arg(id, |flag| flag.default_values(texts));
            continue;
        }
        let default: String = match value {
            Value::String(text) => text,
            Value::Integer(number) => number.to_string(),
            Value::Boolean(is_on) if matches!(flag.get_action(), ArgAction::SetTrue) => is_on.to_string(),
            Value::Float(_) | Value::Boolean(_) | Value::Datetime(_) | Value::Array(_) | Value::Table(_) => {
                return Err(wrong(format!("{name} must be a text, a number, or for a switch true or false")));
            }
        };
        command = command.mut_arg(id, |flag| flag.default_value(default));
    }
    Ok(command)
}

/// The file that the command line or the environment names.
pub(super) fn config_of(matches: &ArgMatches) -> Option<PathBuf> {
    let (name, mut inner) = matches.subcommand()?;
    if name == "config" {
        inner = inner.subcommand()?.1;
    }
    inner.try_get_one::<PathBuf>(CONFIG_FLAG).ok().flatten().cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<FileSettings, CliError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        FileSettings::read(Some(file.path()))
    }

    const ISSUER: &str =
        "[[issuer]]\nissuer = \"https://a\"\naudience = [\"x\"]\nroles_claim = \"r\"\nprograms = \"all\"\n";

    #[test]
    fn settings_are_read_and_flags_are_left_to_others() {
        let rule =
            "[[certificate]]\nname = \"till\"\ndns = \"Till.Shop\"\nroles = [\"service\"]\nprograms = [\"shop\"]\n";
        let settings = read(&format!("listen = \"127.0.0.1:1\"\napi_keys = true\n{ISSUER}{rule}")).unwrap();
        assert_eq!((settings.issuers.len(), settings.certificates.len()), (1, 1));
        let shown = toml::to_string_pretty(&settings).unwrap();
        assert_eq!(read(&shown).unwrap(), settings);
    }

    #[test]
    fn faults_are_told_all_at_once() {
        let told = |text: &str| read(text).unwrap_err().to_string();
        assert!(told(&format!("{ISSUER}{ISSUER}")).contains("issuer https://a is there twice"));
        let two = told(
            "[[issuer]]\nissuer = \"\"\naudience = []\n[[certificate]]\nname = \"\"\nroles = []\nprograms = \"all\"",
        );
        for fault in
            ["has no name", "`audience`", "`customer_claim`", "`programs` or", "either `uri` or `dns`", "`roles`"]
        {
            assert!(two.contains(fault), "{fault}: {two}");
        }
        for (text, fault) in [
            ("[[issuers]]\nissuer = \"a\"", "unknown field `issuers`"),
            (&format!("{ISSUER}secret = 1"), "unknown field `secret`"),
            (&format!("{ISSUER}[issuer.roles]\nboss = \"boss\""), "roles"),
            ("listen =", "TOML"),
        ] {
            assert!(told(text).contains(fault), "{fault}: {}", told(text));
        }
    }

    #[test]
    fn what_is_wrong_is_told_without_the_text_around_it() {
        let told = |text: &str| read(text).unwrap_err().to_string();
        let syntax = told("lanes = 2\n\ndatabase_url = \"postgres://u:hunter2@db/x\nlisten = \"127.0.0.1:1\"");
        assert!(syntax.contains("line 3, column") && !syntax.contains("hunter2"), "{syntax}");
        for text in [
            "database_url = postgres://u:hunter2@db/x",
            "\"postgres://u:hunter2@db/x\"",
            &format!("{ISSUER}keys = \"https://u:hunter2@db/x\""),
            &format!("{ISSUER}customer_claim = [\"https://u:hunter2@db/x\"]"),
            &format!("{ISSUER}[issuer.keys]\nfile = [\"https://u:hunter2@db/x\"]"),
            "[[issuer]]\naudience = \"https://u:hunter2@db/x\"",
        ] {
            assert!(!told(text).contains("hunter2"), "{text}: {}", told(text));
        }
        let misplaced = told(&format!("{ISSUER}keys = \"https://u:hunter2@db/x\""));
        assert!(misplaced.contains("a URL stands where none can\nin `issuer"), "{misplaced}");
    }

    #[test]
    fn a_file_gives_flags_their_defaults_and_the_command_line_wins() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let parse = |text: &str, args: &[&str]| {
            std::fs::write(file.path(), text).unwrap();
            let command = Command::new("serve")
                .arg(clap::Arg::new("lanes").long("lanes").default_value("2"))
                .arg(clap::Arg::new("api_keys").long("api-keys").action(ArgAction::SetTrue))
                .arg(clap::Arg::new("origins").long("cors-origin").action(ArgAction::Append));
            let command = with_defaults(command, file.path())?;
            let matches = command.get_matches_from([&["serve"], args].concat());
            let origins = matches.get_many::<String>("origins").into_iter().flatten().count();
            Ok::<_, CliError>((
                matches.get_one::<String>("lanes").unwrap().clone(),
                matches.get_flag("api_keys"),
                origins,
            ))
        };
        assert_eq!(parse("", &[]).unwrap(), ("2".to_owned(), false, 0));
        assert_eq!(parse("lanes = 4\napi_keys = true", &[]).unwrap(), ("4".to_owned(), true, 0));
        assert_eq!(parse("lanes = 4", &["--lanes", "8"]).unwrap(), ("8".to_owned(), false, 0));
        assert_eq!(parse("cors_origin = [\"a\", \"b\"]", &[]).unwrap().2, 2);
        assert!(parse("lane = 4", &[]).unwrap_err().to_string().contains("there is no setting lane"));
        assert!(parse("lanes = [4]", &[]).unwrap_err().to_string().contains("lanes must be"));
    }
}
