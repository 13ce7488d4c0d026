//! Where things stand: the locked data directory, the cluster, the socket and the log, and who owns them.

use std::fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};
use std::{env, fs, io, process};

use nix::unistd::{AccessFlags, Uid, access};
use ring::digest::{SHA256, digest};
use tempfile::TempDir;

use super::account::{Account, give};
use super::error::StartError;
use super::{Options, leftover};

/// Below this, in a directory of the application's name, root puts a cluster when the server's user cannot enter the
/// data directory.
const ROOT_HOME: &str = "/var/lib";

/// The longest path of a socket that every system takes: Linux allows 107 bytes, macOS 103.
const LONGEST_SOCKET_PATH: usize = 100;

/// The log is set aside at a start when it has grown beyond this many bytes.
const LONGEST_LOG: u64 = 16 * 1024 * 1024;

/// The places of one application, which has them to itself until this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) account: Option<Account>,
    pub(super) data_dir: PathBuf,
    /// May not exist yet.
    pub(super) cluster: PathBuf,
    pub(super) socket_dir: PathBuf,
    pub(super) log: PathBuf,
    /// Removed when dropped; holds the socket when the data directory's path cannot hold one.
    _short_socket_dir: Option<TempDir>,
    _locks: Vec<Lock>,
}

impl Place {
    /// Creates and locks what is needed, and finds or chooses the cluster's place; touches nothing in the cluster.
    pub(super) fn prepare(options: &Options) -> Result<Self, StartError> {
        let data_dir = create_data_dir(&options.data_dir)?;
        let application = options.application.name;
        let mut locks = vec![lock(&data_dir)?];
        let link = data_dir.join("postgres");
        let (account, home) = match fs::symlink_metadata(&link) {
            Ok(metadata) if metadata.is_symlink() => {
                let target = fs::read_link(&link).map_err(StartError::file("read", &link))?;
                let home = data_dir.join(target).parent().map(Path::to_path_buf).unwrap_or_default();
                (account_of_existing(&link)?, home)
            }
            Ok(_) => (account_of_existing(&link)?, data_dir.clone()),
            Err(_) => {
                let account = Account::of_server()?;
                match &account {
                    Some(account) if !account.can_enter(&data_dir) => {
                        let home = home_elsewhere(application, &data_dir, account, options.throwaway)?;
                        locks.push(lock(&home)?);
                        move_in(&home, &link, account)?;
                        (Some(account.clone()), home)
                    }
                    _ => (account, data_dir.clone()),
                }
            }
        };
        if let Some(account) = account.as_ref().filter(|account| !account.can_enter(&home)) {
            return Err(StartError::Unreachable { account: account.name().to_owned(), directory: home });
        }
        // A link that stood here already: nobody else may work behind it either.
        if home != data_dir && locks.len() == 1 {
            locks.push(lock(&home)?);
        }
        let cluster = canonical_below(&home, &link)?;
        let (socket_dir, short_socket_dir) = socket_dir(application, &home, &data_dir, account.as_ref())?;
        let log = data_dir.join("postgres.log");
        Ok(Self { account, data_dir, cluster, socket_dir, log, _short_socket_dir: short_socket_dir, _locks: locks })
    }

    /// Opens the log for appending. This process opens it and Postgres inherits it, so that it can stand in a directory
    /// that only this process can enter.
    pub(super) fn open_log(&self) -> Result<File, StartError> {
        if fs::metadata(&self.log).is_ok_and(|metadata| metadata.len() > LONGEST_LOG) {
            let old = self.data_dir.join("postgres.log.1");
            fs::rename(&self.log, old).map_err(StartError::file("set aside", &self.log))?;
        }
        let opened = OpenOptions::new().create(true).append(true).read(true).mode(0o600).open(&self.log);
        opened.map_err(StartError::file("open", &self.log))
    }
}

/// Makes sure that a data directory can be used, or be made where there is none; touches nothing.
///
/// # Errors
///
/// [`StartError::File`], when it is no directory or this process may not write there.
pub fn check_data_dir(data_dir: &Path) -> Result<(), StartError> {
    let is_there = |path: &Path| path != Path::new("") && path.exists();
    // The first one that exists: the directory itself, or where it would be made.
    let nearest = data_dir.ancestors().find(|path| is_there(path)).unwrap_or(Path::new("."));
    let fail = StartError::file("write to", nearest);
    if !nearest.is_dir() {
        return Err(fail(io::ErrorKind::NotADirectory.into()));
    }
    access(nearest, AccessFlags::W_OK | AccessFlags::X_OK).map_err(|error| fail(error.into()))
}

/// A new directory for a throw-away cluster, which the server's user can enter also when root makes it.
///
/// # Errors
///
/// When the system's temporary directory cannot be written.
pub fn throwaway_dir() -> io::Result<TempDir> {
    let directory = tempfile::Builder::new().prefix("postgres-").tempdir()?;
    // After the fact, because the mode at creation is subject to the umask.
    fs::set_permissions(directory.path(), Permissions::from_mode(own_mode()))?;
    Ok(directory)
}

/// Our own directories are closed, except that root's let the server's user through to what is below.
fn own_mode() -> u32 {
    if Uid::effective().is_root() { 0o711 } else { 0o700 }
}

fn create_data_dir(data_dir: &Path) -> Result<PathBuf, StartError> {
    let missing: Vec<_> = data_dir.ancestors().take_while(|path| *path != Path::new("") && !path.exists()).collect();
    for path in missing.into_iter().rev() {
        create_dir(path, own_mode())?;
    }
    data_dir.canonicalize().map_err(StartError::file("enter", data_dir))
}

/// Creates one directory with exactly this mode, whatever the umask; leaves an existing one as it is.
fn create_dir(path: &Path, mode: u32) -> Result<(), StartError> {
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => {
            fs::set_permissions(path, Permissions::from_mode(mode)).map_err(StartError::file("set the mode of", path))
        }
        Err(_) if path.is_dir() => Ok(()),
        Err(error) => Err(StartError::file("create", path)(error)),
    }
}

/// A directory's lock, which the system releases when this process ends, however it ends.
///
/// It is unlocked and not only closed: a child process that is just being started shares all open files until it runs
/// its program, and would keep the lock for that moment.
#[derive(Debug)]
struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // What cannot be unlocked is closed next.
        let _ = self.0.unlock();
    }
}

/// Takes the directory's lock.
fn lock(directory: &Path) -> Result<Lock, StartError> {
    let path = directory.join("lock");
    let opened = OpenOptions::new().create(true).truncate(false).read(true).write(true).mode(0o600).open(&path);
    let mut file = opened.map_err(StartError::file("open", &path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            // Only for the message; without the number it is as true.
            let _ = file.read_to_string(&mut holder);
            let holder = holder.lines().next().map(|pid| format!(" (process {pid})")).unwrap_or_default();
            return Err(StartError::InUse { directory: directory.to_path_buf(), holder });
        }
        Err(TryLockError::Error(error)) => return Err(StartError::file("lock", &path)(error)),
    }
    file.set_len(0)
        .and_then(|()| writeln!(file, "{}", process::id()))
        .map_err(StartError::file("write", &path))
        .map(|()| Lock(file))
}

/// The account for what stands at `link` already; a link whose target is not there yet was made for the server's user.
fn account_of_existing(link: &Path) -> Result<Option<Account>, StartError> {
    match fs::metadata(link) {
        Ok(_) => Account::of_owner(link),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Account::of_server(),
        Err(error) => Err(StartError::file("look at", link)(error)),
    }
}

/// Makes the directory below [`ROOT_HOME`] that belongs to this data directory.
fn home_elsewhere(
    application: &str,
    data_dir: &Path,
    account: &Account,
    throwaway: bool,
) -> Result<PathBuf, StartError> {
    let unreachable =
        |directory: &Path| StartError::Unreachable { account: account.name().to_owned(), directory: directory.into() };
    // What nobody will need must not stay behind in a place where nobody looks for it.
    if throwaway {
        return Err(unreachable(data_dir));
    }
    let parent = Path::new(ROOT_HOME);
    fs::create_dir_all(parent).map_err(StartError::file("create", parent))?;
    let root = parent.join(application);
    create_dir(&root, 0o755)?;
    let home = root.join(short_hash(data_dir));
    create_dir(&home, 0o711)?;
    if account.can_enter(&home) { Ok(home) } else { Err(unreachable(&home)) }
}

/// Points the data directory at its new home. A cluster that stands there already has lost its data directory, so a new
/// one is wanted. The old one is set aside and not removed, because data is never removed unasked.
fn move_in(home: &Path, link: &Path, account: &Account) -> Result<(), StartError> {
    let cluster = home.join("postgres");
    if let Ok(cluster) = cluster.canonicalize() {
        leftover::stop_and_clear(&cluster, &home.join("socket"))?;
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map(|since| since.as_secs()).unwrap_or_default();
        let aside = home.join(format!("postgres.set-aside-{seconds}"));
        fs::rename(&cluster, &aside).map_err(StartError::file("set aside", &cluster))?;
        tracing::warn!(
            aside = %aside.display(),
            "the data directory is new, but had a database before: it is set aside; remove it if it is not needed"
        );
    }
    symlink(&cluster, link).map_err(StartError::file("create", link))?;
    tracing::info!(
        data_dir = %link.parent().unwrap_or(link).display(),
        database = %cluster.display(),
        "user `{}`, who has to run Postgres because root may not, cannot enter the data directory; \
         the database is put where that user can",
        account.name()
    );
    Ok(())
}

/// The cluster's path without links, also before it exists: the form in which a server names its directory.
fn canonical_below(home: &Path, link: &Path) -> Result<PathBuf, StartError> {
    let target = fs::read_link(link).unwrap_or_else(|_| link.to_path_buf());
    let name = target.file_name().unwrap_or("postgres".as_ref());
    let home = home.canonicalize().map_err(StartError::file("enter", home))?;
    let cluster = home.join(name);
    Ok(cluster.canonicalize().unwrap_or(cluster))
}

/// The directory of the Unix socket, closed to everyone but the server's user and root: whoever can open the socket is
/// let in without a password. A path too long for a socket is replaced by a private directory for temporary files.
fn socket_dir(
    application: &str,
    home: &Path,
    data_dir: &Path,
    account: Option<&Account>,
) -> Result<(PathBuf, Option<TempDir>), StartError> {
    let usual = home.join("socket");
    if fits_socket(&usual) {
        create_dir(&usual, 0o700)?;
        give(&usual, account)?;
        if home != data_dir {
            point(&data_dir.join("socket"), &usual)?;
        }
        return Ok((usual, None));
    }
    let prefix = format!("{application}-");
    let can_hold = |parent: &Path| {
        // As long as the name will be.
        fits_socket(&parent.join(format!("{prefix}123456"))) && account.is_none_or(|account| account.can_enter(parent))
    };
    let parent = Some(env::temp_dir()).filter(|parent| can_hold(parent)).unwrap_or_else(|| PathBuf::from("/tmp"));
    // Closed from its first moment, since others can write beside it.
    let closed = Permissions::from_mode(0o700);
    let short = tempfile::Builder::new().prefix(&prefix).permissions(closed).tempdir_in(&parent);
    let short = short.map_err(StartError::file("create a directory in", &parent))?;
    give(short.path(), account)?;
    point(&data_dir.join("socket"), short.path())?;
    Ok((short.path().to_path_buf(), Some(short)))
}

/// Makes or renews a link by which a person finds the socket; a directory in its place is left alone.
fn point(link: &Path, target: &Path) -> Result<(), StartError> {
    if link.is_symlink() {
        fs::remove_file(link).map_err(StartError::file("remove", link))?;
    }
    if link.exists() { Ok(()) } else { symlink(target, link).map_err(StartError::file("create", link)) }
}

/// Whether a socket in this directory has a path that the system takes, and so do its clients: sqlx wants UTF-8, and
/// libpq takes a comma for the end of one host in a list.
fn fits_socket(directory: &Path) -> bool {
    let fits = directory.join(".s.PGSQL.5432").as_os_str().len() <= LONGEST_SOCKET_PATH;
    fits && directory.to_str().is_some_and(|text| !text.contains(','))
}

fn short_hash(path: &Path) -> String {
    let digest = digest(&SHA256, path.as_os_str().as_bytes());
    digest.as_ref().iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    #[test]
    fn a_lock_given_back_is_free_even_while_a_starting_process_shares_its_file() {
        let directory = tempfile::tempdir().unwrap();
        let held = lock(directory.path()).unwrap();
        assert!(matches!(lock(directory.path()), Err(StartError::InUse { .. })));
        let _shared = held.0.try_clone().unwrap();
        drop(held);
        lock(directory.path()).unwrap();
    }

    #[test]
    fn a_path_of_exactly_one_hundred_bytes_fits_a_socket() {
        let directory = PathBuf::from(format!("/{}", "d".repeat(LONGEST_SOCKET_PATH - "//.s.PGSQL.5432".len())));
        assert!(fits_socket(&directory));
        assert!(!fits_socket(&directory.join("d")));
    }

    #[test]
    fn a_path_that_a_client_misreads_does_not_fit_a_socket() {
        assert!(fits_socket(Path::new("/home/an owner/100% \"odd\"")));
        assert!(!fits_socket(Path::new("/home/one,two")));
        assert!(!fits_socket(Path::new(OsStr::from_bytes(b"/home/\xff"))));
    }

    #[test]
    fn a_short_hash_tells_directories_apart() {
        assert_eq!(short_hash(Path::new("/root/a")).len(), 12);
        assert_ne!(short_hash(Path::new("/root/a")), short_hash(Path::new("/root/b")));
    }
}
