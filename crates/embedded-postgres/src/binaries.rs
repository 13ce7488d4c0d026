//! Finds the PostgreSQL programs on this machine.

use std::cmp::Reverse;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs, io};

use super::account::{Account, command};
use super::error::{OtherMajor, StartError};

/// The oldest major version that is supported.
const OLDEST_MAJOR: u32 = 15;

/// A folder with usable programs.
#[derive(Clone, Debug)]
pub(super) struct Installation {
    major: u32,
    minor: u32,
    bin_dir: PathBuf,
}

impl Installation {
    fn version(&self) -> (u32, u32) {
        (self.major, self.minor)
    }

    pub(super) fn bin_dir(&self) -> &Path {
        &self.bin_dir
    }
}

/// The folder with the newest usable programs, PostgreSQL 15 or newer.
///
/// With `explicit`, that folder or none. Otherwise `pg_config --bindir`, the folders where Debian, Red Hat and
/// Homebrew put them, and `PATH`.
///
/// # Errors
///
/// [`StartError::NotFound`], or [`StartError::UnusableBinaries`] for an explicit folder; as root,
/// [`StartError::NoAccount`].
pub fn find_bin_dir(explicit: Option<&Path>) -> Result<PathBuf, StartError> {
    let account = Account::of_server()?;
    installations(explicit, account.as_ref())?
        .into_iter()
        .map(|installation| installation.bin_dir)
        .next()
        .ok_or(StartError::NotFound)
}

/// The installation to use for a cluster: the newest, or the newest of the major version that made the cluster, because
/// another one refuses its files.
pub(super) fn choose(
    explicit: Option<&Path>,
    account: Option<&Account>,
    cluster: &Path,
    cluster_major: Option<u32>,
) -> Result<Installation, StartError> {
    let found = installations(explicit, account)?;
    let newest = found.first().cloned();
    match cluster_major {
        None => newest.ok_or(StartError::NotFound),
        Some(major) => found.into_iter().find(|installation| installation.major == major).ok_or_else(|| {
            let other = newest.map(|newest| OtherMajor { major: newest.major, bin_dir: newest.bin_dir });
            StartError::OtherVersion { cluster: cluster.to_path_buf(), major, other }
        }),
    }
}

/// The usable installations, newest first.
fn installations(explicit: Option<&Path>, account: Option<&Account>) -> Result<Vec<Installation>, StartError> {
    if let Some(bin_dir) = explicit {
        return match inspect(bin_dir, account) {
            Ok(installation) => Ok(vec![installation]),
            Err(reason) => Err(StartError::UnusableBinaries { bin_dir: bin_dir.to_path_buf(), reason }),
        };
    }
    let mut found: Vec<_> = candidates().iter().filter_map(|bin_dir| inspect(bin_dir, account).ok()).collect();
    // Stable: of equal versions the first candidate wins, since links in PATH often show only some of the programs.
    found.sort_by_key(|installation| Reverse(installation.version()));
    Ok(found)
}

fn candidates() -> Vec<PathBuf> {
    let mut candidates = Vec::new();
    let pg_config = Command::new("pg_config").arg("--bindir").stdin(Stdio::null()).stderr(Stdio::null()).output();
    if let Ok(output) = pg_config {
        candidates.push(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
    }
    candidates.extend(children("/usr/lib/postgresql", "").into_iter().map(|version| version.join("bin")));
    candidates.extend(children("/usr", "pgsql-").into_iter().map(|version| version.join("bin")));
    candidates.extend(children("/opt/homebrew/opt", "postgresql").into_iter().map(|version| version.join("bin")));
    candidates.extend(children("/usr/local/opt", "postgresql").into_iter().map(|version| version.join("bin")));
    candidates.extend(env::var_os("PATH").iter().flat_map(env::split_paths));
    // Relative entries of PATH would mean another folder for the child, which works elsewhere.
    candidates.retain(|bin_dir| bin_dir.is_absolute());
    candidates
}

fn children(parent: &str, prefix: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix)).map(|entry| entry.path()).collect()
}

/// What a folder holds, or why it cannot be used. Runs `postgres` as the user who will run the server, so that
/// programs in a folder closed to that user count as unusable.
fn inspect(bin_dir: &Path, account: Option<&Account>) -> Result<Installation, String> {
    for program in ["postgres", "initdb"] {
        if !bin_dir.join(program).is_file() {
            return Err(format!("it holds no `{program}`"));
        }
    }
    let bin_dir = home_of_programs(bin_dir).map_err(|error| error.to_string())?;
    let output = command(&bin_dir.join("postgres"), account)
        .arg("--version")
        .output()
        .map_err(|error| format!("`postgres` cannot be run: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let (major, minor) = parse_version(&text).ok_or_else(|| "`postgres --version` tells no version".to_owned())?;
    if major < OLDEST_MAJOR {
        return Err(format!("it holds PostgreSQL {major}"));
    }
    Ok(Installation { major, minor, bin_dir })
}

/// The folder itself, or the one that its `postgres` is a link into, where `psql` and `pgbench` are too.
fn home_of_programs(bin_dir: &Path) -> io::Result<PathBuf> {
    let real = bin_dir.join("postgres").canonicalize()?.parent().map(Path::to_path_buf);
    match real.filter(|real| real.join("postgres").is_file() && real.join("initdb").is_file()) {
        Some(real) => Ok(real),
        None => bin_dir.canonicalize(),
    }
}

/// Reads `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`; before a release, `17beta1` or `18devel`.
fn parse_version(text: &str) -> Option<(u32, u32)> {
    let word = text.split_once("(PostgreSQL) ")?.1.split_whitespace().next()?;
    let mut numbers = word.split(|character: char| !character.is_ascii_digit()).map(str::parse);
    let major = numbers.next()?.ok()?;
    let minor = if word.contains('.') { numbers.next()?.ok()? } else { 0 };
    Some((major, minor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_releases_and_of_what_comes_before_are_read() {
        assert_eq!(parse_version("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n"), Some((15, 18)));
        assert_eq!(parse_version("postgres (PostgreSQL) 17beta1\n"), Some((17, 0)));
        assert_eq!(parse_version("postgres (PostgreSQL) 18devel\n"), Some((18, 0)));
        assert_eq!(parse_version("sh: postgres: not found\n"), None);
    }
}
