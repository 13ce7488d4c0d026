//! Where the keys are kept under which erased customers are known again.

use std::env::VarError;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::error::CliError;
use crate::customers::ErasureKeys;

/// The variable that holds keys without a file.
pub(super) const VARIABLE: &str = "GOLDBOOK_ERASURE_KEYS";
/// The file in the data directory of a service that was given none.
const OWN_FILE: &str = "erasure-keys";

/// The keys that are configured: those of a file, else those of the environment, else none.
///
/// # Errors
/// If the file cannot be read, or what is there is no list of keys. The keys are not told.
pub(super) fn read(file: Option<&Path>) -> Result<ErasureKeys, CliError> {
    if let Some(file) = file {
        return read_file(file);
    }
    let text = match std::env::var(VARIABLE) {
        Ok(text) => Zeroizing::new(text),
        Err(VarError::NotPresent) => return Ok(ErasureKeys::default()),
        Err(VarError::NotUnicode(_)) => return Err(CliError::usage(format_args!("{VARIABLE}: it is no text"))),
    };
    ErasureKeys::parse(&text).map_err(|what| CliError::usage(format_args!("{VARIABLE}: {what}")))
}

/// The key of a service that was given none, from its data directory. It is made at the first start.
///
/// # Errors
/// If the file cannot be read or written, or is no list of keys.
pub(super) fn find_or_make(data_dir: &Path) -> Result<ErasureKeys, CliError> {
    let path = data_dir.join(OWN_FILE);
    // Two services have one data directory never at a time: its Postgres sees to that.
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
        Ok(file) => {
            let written = write_new(file).and_then(|()| File::open(data_dir)?.sync_all());
            // What is half written would be read as no key at all at the next start.
            written.inspect_err(|_| drop(std::fs::remove_file(&path))).map_err(|error| failed(&path, &error))?;
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(failed(&path, &error)),
    }
    read_file(&path)
}

/// Whether the key of a service that was given none can be read, if it has one already.
///
/// # Errors
/// If the file cannot be read, or is no list of keys.
pub(super) fn check_own(data_dir: &Path) -> Result<(), CliError> {
    let path = data_dir.join(OWN_FILE);
    if path.exists() { read_file(&path).map(drop) } else { Ok(()) }
}

fn read_file(path: &Path) -> Result<ErasureKeys, CliError> {
    let text = std::fs::read_to_string(path).map(Zeroizing::new).map_err(|error| failed(path, &error))?;
    ErasureKeys::parse(&text).map_err(|what| CliError::usage(format_args!("{}: {what}", path.display())))
}

fn write_new(mut file: File) -> Result<(), std::io::Error> {
    let secret: Zeroizing<[u8; 32]> = Zeroizing::new(rand::random());
    let text = Zeroizing::new(STANDARD.encode(*secret));
    writeln!(file, "# By this key erased customers are known again. Keep it, and keep it secret.")?;
    writeln!(file, "first {}", *text)?;
    file.sync_all()
}

fn failed(path: &Path, error: &std::io::Error) -> CliError {
    CliError::usage(format_args!("{}: {error}", path.display()))
}
