//! The configuration file: what every flag of `goldbook serve` has for a default, and what has no flag, since it is more
//! than one value.

use std::collections::BTreeSet;
use std::error::Error as _;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Command, Id};
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::error::CliError;
use crate::access::certificate::CertificateRule;
use crate::access::issuer::Issuer;
use crate::access::limits::Limits;

/// The flag that names the file.
const CONFIG_FLAG: &str = "config";

/// The settings that are lists of tables.
const LISTS: [&str; 2] = ["issuer", "certificate"];

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
        Self::of(read_table(path)?).map_err(|faults| wrong(path, &faults))
    }

    fn of(mut table: Table) -> Result<Self, Vec<String>> {
        table.retain(|name, value| is_of_settings(name, value));
        let settings: Self = table.try_into().map_err(|error| vec![tell_misfit(&error)])?;
        let faults = settings.find_faults();
        if faults.is_empty() { Ok(settings) } else { Err(faults) }
    }

    fn find_faults(&self) -> Vec<String> {
        let mut faults: Vec<String> = self.issuers.iter().flat_map(Issuer::find_faults).collect();
        faults.extend(self.certificates.iter().flat_map(CertificateRule::find_faults));
        let mut names = BTreeSet::new();
        let twice = self.issuers.iter().filter(|issuer| !names.insert(&issuer.issuer));
        faults.extend(twice.map(|issuer| format!("issuer {} is there twice", issuer.shown_name())));
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

fn wrong(path: &Path, faults: &[String]) -> CliError {
    CliError::usage(format_args!("{}: {}", path.display(), faults.join("\n")))
}

/// Tables, and lists of them, are settings; everything else is the default of a flag. Of an empty list only the name tells.
fn is_of_settings(name: &str, value: &Value) -> bool {
    let is_list = |items: &Vec<Value>| items.iter().any(Value::is_table) || items.is_empty() && LISTS.contains(&name);
    value.is_table() || value.as_array().is_some_and(is_list)
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
    let told = if message.contains("://") { told.replace(message, "a URL stands where none can") } else { told };
    told.trim_end().to_owned()
}

/// The same command, whose flags have what the file says for defaults: so the environment and the command line win.
///
/// # Errors
/// If the file cannot be read, or anything in it is wrong. All faults are told at once.
pub(super) fn with_defaults(mut command: Command, path: &Path) -> Result<Command, CliError> {
    let table = read_table(path)?;
    let mut faults = Vec::new();
    for (name, value) in table.iter().filter(|(name, value)| !is_of_settings(name, value)) {
        match find_default(&command, name, value) {
            Ok((id, texts)) => command = command.mut_arg(id, |flag| flag.default_values(texts)),
            Err(fault) => faults.push(fault),
        }
    }
    if faults.is_empty() {
        return Ok(command);
    }
    // What has no flag is looked at once the flags are right; here nobody comes to that.
    faults.extend(FileSettings::of(table).err().into_iter().flatten());
    Err(wrong(path, &faults))
}

/// The flag that a line of the file is about, and its default as texts. Else what is wrong with the line.
fn find_default(command: &Command, name: &str, value: &Value) -> Result<(Id, Vec<String>), String> {
    let flag = command.get_arguments().find(|flag| {
        let is_named = flag.get_long().is_some_and(|long| long.replace('-', "_") == name);
        is_named && name != CONFIG_FLAG && !flag.is_hide_set()
    });
    let flag = flag.ok_or_else(|| format!("there is no setting {name}"))?;
    let is_switch = matches!(flag.get_action(), ArgAction::SetTrue);
    let texts = match value {
        Value::String(text) => vec![text.clone()],
        Value::Integer(number) => vec![number.to_string()],
        Value::Boolean(is_on) if is_switch => vec![is_on.to_string()],
        Value::Array(items) if matches!(flag.get_action(), ArgAction::Append) => {
            let texts: Option<Vec<String>> = items.iter().map(|item| item.as_str().map(str::to_owned)).collect();
            texts.ok_or_else(|| format!("{name} must be a list of texts"))?
        }
        Value::Float(_) | Value::Boolean(_) | Value::Datetime(_) | Value::Array(_) | Value::Table(_) => {
            return Err(format!("{name} must be a text, a number, or for a switch true or false"));
        }
    };
    let fault = if is_switch { find_switch_fault(&texts) } else { find_value_fault(flag, &texts) };
    match fault {
        Some(fault) => Err(format!("{name}: {fault}")),
        None => Ok((flag.get_id().clone(), texts)),
    }
}

fn find_switch_fault(texts: &[String]) -> Option<String> {
    let is_known = |text: &String| text == "true" || text == "false";
    (!texts.iter().all(is_known)).then(|| "it must be true or false".to_owned())
}

/// What is wrong with the values of a flag, found out as on a command line with this flag alone. They are not repeated: one
/// that stands at the wrong flag may be secret.
fn find_value_fault(flag: &Arg, texts: &[String]) -> Option<String> {
    let name = flag.get_long()?;
    let line = texts.iter().map(|text| format!("--{name}={text}"));
    let alone = Command::new(CONFIG_FLAG).no_binary_name(true).arg(flag.clone());
    let error = alone.try_get_matches_from(line).err()?;
    Some(error.source().map_or_else(|| "it cannot have this value".to_owned(), ToString::to_string))
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
        assert_eq!(read("cors_origin = []\nissuer = []").unwrap(), FileSettings::default());
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
                .arg(Arg::new("lanes").long("lanes").default_value("2"))
                .arg(Arg::new("port").long("port").value_parser(clap::value_parser!(u16)))
                .arg(Arg::new("api_keys").long("api-keys").action(ArgAction::SetTrue))
                .arg(Arg::new("origins").long("cors-origin").action(ArgAction::Append));
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
        assert_eq!(parse("cors_origin = []\nissuer = []\ncertificate = []", &[]).unwrap().2, 0);
        assert!(parse("origin = []", &[]).unwrap_err().to_string().contains("there is no setting origin"));
        assert!(parse("lanes = []", &[]).unwrap_err().to_string().contains("lanes must be"));
        assert!(parse("lane = 4", &[]).unwrap_err().to_string().contains("there is no setting lane"));
        assert!(parse("lanes = [4]", &[]).unwrap_err().to_string().contains("lanes must be"));
        let text =
            "lane = 4\nlanes = [4]\nport = \"postgres://u:hunter2@db/x\"\napi_keys = \"maybe\"\n[limit]\n[limits]\n";
        let all = parse(text, &[]).unwrap_err().to_string();
        for fault in ["setting lane\n", "lanes must be", "port: invalid", "api_keys: it must", "unknown field `limit`"]
        {
            assert!(all.contains(fault), "{fault}: {all}");
        }
        assert!(!all.contains("hunter2"), "{all}");
    }
}
